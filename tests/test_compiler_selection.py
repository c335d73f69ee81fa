"""Selecting the best, running extremes, choosing a class: the kernels do what PyTorch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
import native_loops
from compiled import agree, kernels_of, needs_native
from flambeau.run.compiler import loops

pytestmark = needs_native
NAMES = frozenset({"argtopk", "argcummax", "argcummin", "gather", "scatter", "scatter_add", "nll"})
DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"]


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    with kernels_of(monkeypatch, NAMES):
        yield


def samples(shape, dtype):
    """Numbers, numbers with many equals, and those with NaN, infinities and both zeros."""
    g = np.random.default_rng(0)
    plain = torch.from_numpy(40 * g.standard_normal(shape)).to(getattr(torch, dtype))
    yield plain
    yield torch.from_numpy(np.round(3 * g.standard_normal(shape))).to(plain.dtype)
    if plain.is_floating_point():
        odd = plain.round() / 16
        for value in ("nan", "inf", "-inf", "-0.0", "0.0"):
            odd[g.random(shape) < 0.1] = float(value)
        yield odd


def ours(x):
    if x.dtype is torch.bfloat16:
        return flambeau.from_numpy(x.float().numpy()).to(flambeau.bfloat16)
    return flambeau.from_numpy(x.numpy().copy())


def same_pair(name, x, *args):
    theirs = getattr(torch, name)(x, *args)
    found = getattr(flambeau, name)(ours(x), *args)
    np.testing.assert_array_equal(found[1].numpy(), theirs[1].numpy())
    np.testing.assert_array_equal(found[0].double().numpy(), theirs[0].double().numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_best_of_long_rows(dtype):
    # Of equals those that PyTorch's heap keeps, in its order.
    for shape, dim, k in [
        ((3, 640), 1, 10),
        ((2, 193, 3), 1, 3),
        ((70, 5), 0, 1),
        ((1000,), 0, 15),
    ]:
        for x in samples(shape, dtype):
            for largest in (True, False):
                same_pair("topk", x, k, dim, largest, largest)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_best_of_short_rows(dtype):
    for shape, dim, k in [((6, 10), 1, 5), ((3, 100), 1, 7), ((2, 33, 2), 1, 33), ((300,), 0, 60)]:
        for x in samples(shape, dtype):
            for largest in (True, False):
                same_pair("topk", x, k, dim, largest, True)
                same_pair("topk", x, k, dim, largest, False)


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_the_best_so_far(name, dtype):
    for shape, dim in [((3, 67), 1), ((2, 64), -1), ((2, 30, 3), 1), ((33, 21), 0), ((1,), 0)]:
        for x in samples(shape, dtype):
            same_pair(name, x, dim)


def test_gradients_go_where_values_came_from():
    x = np.random.default_rng(1).standard_normal((4, 200)).astype(np.float32)
    agree(lambda m, a: m.topk(a, 3).values, x)
    agree(lambda m, a: m.cummax(a, 1).values, x)
    agree(lambda m, a: m.cummin(a, 0).values, x.astype(np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.float64, np.int32])
def test_scattering_along_rows(dtype):
    g = np.random.default_rng(2)
    x, source = (10 * g.standard_normal((5, 30)).astype(dtype) for _ in range(2))
    for k in (30, 9, 3):
        # Several to one place: of those that are not added up the last one stays.
        index = g.integers(0, 30, (5, k))
        agree(lambda m, a, i, s: a.scatter(1, i, s), x, index, source, gradients=False)
        agree(lambda m, a, i, s: a.scatter_add(1, i, s), x, index, source, atol=1e-4,
              gradients=False)  # fmt: skip
        agree(lambda m, a, i: a.scatter(1, i, 3), x, index, gradients=False)
        agree(lambda m, a, i: m.zeros_like(a).scatter(1, i, 2), x, index, gradients=False)


def test_a_place_that_does_not_exist_is_refused():
    x = flambeau.zeros(4, 30)
    for wrong in (-1, 30):
        index = flambeau.full((4, 30), 0)
        index[2, 7] = wrong
        for call in (x.scatter, x.scatter_add):
            with pytest.raises((IndexError, RuntimeError)):
                call(1, index, x).tolist()


def test_along_a_broadcast_dimension():
    g = np.random.default_rng(3)
    x = g.standard_normal((6, 40)).astype(np.float32)
    agree(lambda m, a, i: m.take_along_dim(a, i[:, None], 1), x, g.integers(-40, 40, 6))
    agree(lambda m, a, i: m.take_along_dim(a, i[None], 0), x, g.integers(0, 6, 40))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_score_of_a_class(reduction, dtype):
    g = np.random.default_rng(4)
    for rows, classes, ignore in [(5, 3, -100), (100, 10, 1), (8, 2, 0), (1001, 7, -100)]:
        x = g.standard_normal((rows, classes)).astype(dtype)
        target = g.integers(0, classes, rows)
        target[::3] = ignore
        agree(
            lambda m, a, t, i=ignore: m.nn.functional.nll_loss(
                a, t, ignore_index=i, reduction=reduction
            ),
            x, target,
        )  # fmt: skip
    with pytest.raises((IndexError, RuntimeError)):
        x = flambeau.zeros(9, 3)
        flambeau.nn.functional.nll_loss(x, flambeau.full((9,), 3)).item()


def test_python_loops_as_native_code():
    run = loops.native(native_loops, "numbers", 0, 2)
    for n in range(0, 40, 3):
        for limit in (5, 60, 10**6):
            assert run(n, limit) == native_loops.numbers(n, limit)
