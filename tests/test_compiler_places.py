"""Gathering, scattering and indexing by arrays have kernels, and do what PyTorch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from compiled import kernels_of, needs_native
from own_draws import own_draw, rng  # noqa: F401  (a fixture)

pytestmark = needs_native
KINDS = frozenset(
    {"gather", "scatter", "scatter_add", "index", "index_put", "argcummax", "argcummin",
     "embedding", "embedding_gradient"}
)  # fmt: skip


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    """Everything is compiled at its first run; what this is about may call no reference."""
    with kernels_of(monkeypatch, KINDS):
        yield


def compare(f, *arrays, gradients=True):
    """Results, and gradients of the floating-point arrays."""
    found = []
    for mod in (flambeau, torch):
        given = [mod.tensor(a) for a in arrays]
        floats = [t for t in given if t.is_floating_point()]
        if gradients:
            for t in floats:
                t.requires_grad_()
        out = f(mod, *given)
        row = [out.detach().tolist()]
        if gradients:
            (
                out * mod.arange(out.numel(), dtype=out.dtype).reshape(out.shape).cos()
            ).sum().backward()
            row += [t.grad.tolist() for t in floats]
        found.append(row)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def array(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, index", [((9,), (4,)), ((5, 7), (3, 7)), ((3, 17, 6), (2, 40, 5))])
def test_along_an_axis(shape, index, dtype):
    for dim in range(len(shape)):
        # No longer than the values along the other axes.
        size = tuple(n if d == dim else min(n, shape[d]) for d, n in enumerate(index))
        i = rng.integers(0, shape[dim], size)
        compare(lambda mod, x, i, d=dim: x.gather(d, i), array(*shape, dtype=dtype), i)
        compare(
            lambda mod, x, s, i, d=dim: x.scatter_add(d, i, s),
            array(*shape, dtype=dtype), array(*size, dtype=dtype), i,
        )  # fmt: skip
        # Each place once: of several writes to one, any may stay.
        once = np.argsort(rng.random(shape), axis=dim)
        compare(
            lambda mod, x, s, i, d=dim: x.scatter(d, i, s),
            array(*shape, dtype=dtype), array(*shape, dtype=dtype), once,
        )  # fmt: skip
        compare(lambda mod, x, i, d=dim: x.scatter(d, i, 2.5), array(*shape, dtype=dtype), i)


@pytest.mark.parametrize("width", [1, 3, 16, 37])
def test_by_arrays(width):
    x = array(6, 5, width)
    i = rng.integers(-6, 6, (4, 3))
    j = rng.integers(-5, 5, (4, 3))
    compare(lambda mod, x, i: x[i], x, i)
    compare(lambda mod, x, j: x[:, j], x, j)
    compare(lambda mod, x, i, j: x[i, j], x, i, j)
    compare(lambda mod, x, i: x[:, :, i], array(3, 4, 6), i)
    compare(lambda mod, x, v, j: x.index_put((j,), v), array(5, width), array(4, 3, width), j)
    compare(
        lambda mod, x, v, i, j: x.index_put((i, j), v, accumulate=True),
        x, array(4, 3, width), i, j,
    )  # fmt: skip


def test_everything_else_that_is_moved():
    i = rng.integers(0, 4, (3, 5))
    for dtype in (np.int64, np.int32, np.int8, np.bool_, np.float16):
        x = (array(4, 5) * 3).astype(dtype)
        compare(lambda mod, x, i: x.gather(0, i), x, i, gradients=False)
        compare(lambda mod, x, i: x[i], x, i, gradients=False)
    x = rng.integers(0, 9, (4, 5))
    compare(lambda mod, x, i: x.scatter_add(0, i, mod.ones_like(i)), x, i, gradients=False)


def test_parts_and_turned_values_are_read_where_they_lie():
    i = rng.integers(0, 5, (3, 4))
    compare(lambda mod, x, i: x.T[1:].gather(0, i.T[:3, :3]), array(6, 7), i)
    compare(lambda mod, x, i: x[1:, ::2][i], array(6, 7), i)


@pytest.mark.parametrize("kind", ["gather", "scatter", "index"])
def test_a_place_that_is_not_there_is_refused(kind):
    x = flambeau.arange(6.0).reshape(2, 3)
    for bad in (2, -3):
        # Computed, so that only the kernel sees it.
        i = flambeau.full((1, 3), bad) * 1
        with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
            if kind == "gather":
                y = x.gather(0, i)
            elif kind == "scatter":
                y = x.scatter(0, i, 1.0)
            else:
                y = x[i]
            y.tolist()
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("n", [1, 5, 8, 19])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.float16])
def test_the_last_axis_is_gone_through_in_vectors(n, dtype):
    x = (100 * array(3, 2, 11)).astype(dtype)
    index = rng.integers(0, 11, (3, 2, n))
    line = rng.integers(-11, 11, n)
    compare(lambda _, x, i: x.gather(2, i), x, index, gradients=False)
    compare(lambda _, x, i: x[..., i], x, line, gradients=False)
    compare(lambda _, x, i: x.index_select(-1, i), x, line % 11, gradients=False)


def test_a_place_of_the_last_axis_that_does_not_exist_is_refused():
    x, index = flambeau.ones(2, 5), flambeau.tensor([[0, 1, 5], [0, 1, 2]])
    with pytest.raises(RuntimeError, match="index 5 is out of bounds"):
        x.gather(1, index).sum().item()
    with pytest.raises(IndexError, match="out of"):
        (x * 2)[:, flambeau.tensor([1, -6])].sum().item()


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_extrema_so_far(name, dtype, dim):
    x = rng.integers(0, 9, (3, 19, 4)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        x[0, 5, 1] = x[0, 8, 1] = x[1, 0, 3] = np.nan
        x[2, 3, 0] = np.inf
    for part in (0, 1):
        compare(lambda _, x, part=part: getattr(x, name)(dim)[part], x, gradients=False)


@pytest.mark.parametrize("padding", [None, 0, 2, -1])
@pytest.mark.parametrize("width", [1, 8, 19])
def test_a_row_of_padding_learns_nothing(width, padding):
    index = rng.integers(0, 5, (4, 7))
    index[1] = 0 if padding is None else padding % 5

    def look_up(mod, index, table):
        return mod.nn.functional.embedding(index, table, padding_idx=padding)

    compare(look_up, index, array(5, width))
    compare(look_up, index.astype(np.int32), array(5, width, dtype=np.float64))
