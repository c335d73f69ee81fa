"""Images sampled at the points of a grid, uneven pooling, distances: kernels beside PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import flambeau
from compiled import agree, kernels_of, needs_native, results
from flambeau.ir.primitive import PRIMITIVES
from own_draws import own_draw, rng  # noqa: F401  (a fixture)

NAMES = frozenset(
    {"sample", "sample_spread", "sample_weigh", "adaptive_max_pool", "fractional_max_pool",
     "euclidean_distances"}
)  # fmt: skip


def array(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


@pytest.fixture(params=["compiled", pytest.param("interpreted")])
def tier(request, monkeypatch):
    if request.param == "interpreted":
        # The first run of a program walks its entries.
        yield request.param
    else:
        if needs_native.args[0]:
            pytest.skip(needs_native.kwargs["reason"])
        with kernels_of(monkeypatch, NAMES):
            yield request.param


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_a_grid(tier, mode, padding):
    for d, align, dtype in [(2, False, np.float32), (2, True, np.float64), (3, False, np.float64)]:
        if d == 3 and mode == "bicubic":
            continue
        for channels, points in [(1, 5), (3, 7), (4, 16), (5, 33)]:
            x = array(2, channels, *(4, 5, 6)[:d], dtype=dtype)
            # Some points lie outside the image.
            grid = 1.3 * array(2, *(1,) * (d - 1), points, d, dtype=dtype)
            agree(
                lambda m, a, g, align=align: m.nn.functional.grid_sample(
                    a, g, mode, padding, align
                ),
                x, grid, rtol=2e-4, atol=1e-3,
            )  # fmt: skip


def test_what_lies_outside_is_not_read(tier):
    x = np.full((1, 2, 3, 3), np.inf, np.float32)
    grid = np.array([[[[5.0, 5.0], [-7.0, 0.3], [0.1, -4.0]]]], np.float32)
    for align in (False, True):
        out = results(
            lambda m, a, g, align=align: m.nn.functional.grid_sample(a, g, align_corners=align),
            x, grid, gradients=False,
        )  # fmt: skip
        assert [o[0].reshape(-1).tolist() for o in out] == [[0.0] * 6] * 2


def test_second_gradients_of_a_grid():
    # Numbers of its own, whichever tests ran before.
    draw = np.random.default_rng(3)
    x, grid = draw.standard_normal((1, 2, 4, 4)), 0.7 * draw.standard_normal((1, 2, 3, 2))
    found = []
    for m in (flambeau, torch):
        a, g = (m.from_numpy(v.copy()).requires_grad_() for v in (x, grid))
        out = m.nn.functional.grid_sample(a, g, align_corners=False)
        first = m.autograd.grad((out**2).sum(), (a, g), create_graph=True)
        found.append((a, g, first))
    for ours, theirs in zip(found[0][2], found[1][2], strict=True):
        np.testing.assert_allclose(
            ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-10, atol=1e-12
        )

    # PyTorch has no second gradients here: differences of the first.
    def value(a, g):
        a, g = (flambeau.from_numpy(v).requires_grad_() for v in (a, g))
        out = flambeau.nn.functional.grid_sample(a, g, align_corners=False)
        one, two = flambeau.autograd.grad((out**2).sum(), (a, g))
        return ((one**2).sum() + (two**3).sum()).item()

    a, g, (one, two) = found[0]
    ((one**2).sum() + (two**3).sum()).backward()
    for gradient, which in ((a.grad, 0), (g.grad, 1)):
        for at in ((0, 0, 1, 1), (0, 1, 2, 1)):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [x.copy(), grid.copy()]
                moved[which][at] += step
                ends.append(value(*moved))
            assert gradient[at].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_the_three_sides_of_a_sum():
    x, w = array(2, 3, 6, dtype=np.float64), array(2, 2, 5, dtype=np.float64)
    places = rng.integers(-1, 6, (2, 2, 5))
    g = array(2, 3, 5, dtype=np.float64)
    sample, spread, weigh = (
        PRIMITIVES[n].reference for n in ("sample", "sample_spread", "sample_weigh")
    )
    total = (g * sample(x, w, places)).sum()
    assert total == pytest.approx((x * spread(g, w, places, size=6)).sum())
    assert total == pytest.approx((w * weigh(g, x, places)).sum())


DIRECT = "donot_use_mm_for_euclid_dist"
WINDOWS = {
    1: ((13,), [(5,), (13,), (1,), (20,)]),
    2: ((9, 11), [(3, 4), (9, 2), (7, 7), (1, 1), (12, 13)]),
    3: ((5, 6, 7), [(2, 4, 3), (5, 1, 7)]),
}


@pytest.mark.parametrize("d, dtype", list(itertools.product((1, 2, 3), (np.float32, np.float64))))
def test_uneven_windows(tier, d, dtype):
    size, outputs = WINDOWS[d]
    x = array(2, 3, *size, dtype=dtype)
    ties = np.round(2 * x) / 2
    ties[rng.random(x.shape) < 0.1] = np.nan
    ties[rng.random(x.shape) < 0.2] = -np.inf
    for output, given in itertools.product(outputs, (x, ties)):
        name = f"adaptive_max_pool{d}d"
        agree(
            lambda m, a, n=name, o=output: getattr(m.nn.functional, n)(a, o, return_indices=True),
            given,
        )


@pytest.mark.parametrize("d, dtype", list(itertools.product((2, 3), (np.float32, np.float64))))
def test_windows_at_drawn_places(tier, d, dtype):
    x = array(2, 3, *(9, 11, 12)[:d], dtype=dtype)
    x[0, 0, 2] = np.nan
    for kernel, output in [((2, 3, 2), (3, 4, 5)), ((1, 1, 1), (1, 2, 3)), ((3, 2, 5), (5, 1, 2))]:
        drawn = rng.random((2, 3, d)).astype(dtype)
        agree(
            lambda m, a, s, k=kernel, o=output: getattr(
                m.nn.functional, f"fractional_max_pool{d}d"
            )(a, k[:d], output_size=o[:d], return_indices=True, _random_samples=s.detach()),
            x, drawn.astype(dtype), gradients=False,
        )  # fmt: skip


def test_distances(tier):
    for dtype in (np.float32, np.float64):
        for a, b in [
            ((30, 7), (27, 7)), ((2, 31, 5), (2, 40, 5)), ((26, 100), (65, 100)),
            ((3, 1, 30, 4), (2, 33, 4)), ((1, 3), (50, 3)),
        ]:  # fmt: skip
            x, y = array(*a, dtype=dtype), array(*b, dtype=dtype)
            # A distance of zero has the gradient zero.
            y[..., 0, :] = x[..., 0, :] if x.ndim == y.ndim else y[..., 0, :]
            agree(lambda m, p, q: m.cdist(p, q, compute_mode=DIRECT), x, y, rtol=2e-4, atol=1e-3)
