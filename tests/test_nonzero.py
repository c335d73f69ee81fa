"""Places of what is not zero, found by native code, and masks as indices, beside PyTorch."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch

import flambeau
from compiled import needs_native
from flambeau.run.compiler import nonzero

DTYPES = [
    "bool", "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
    "uint16", "uint64",
]  # fmt: skip
SHAPES = [
    (5000,), (40_001,), (100, 77), (3, 40_000), (5000, 3), (8192, 1), (1, 64), (63,),
    (7, 9, 130), (64, 64, 2), (1, 1, 8192), (2, 3, 4, 5, 67),
]  # fmt: skip


@pytest.fixture
def native(monkeypatch):
    """As soon as it is asked for."""
    monkeypatch.setenv("FLAMBEAU_TIER", "compile")


def sparse_array(g, shape, dtype, density):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    drawn = g.integers(1, 4, shape) * np.where(dtype.startswith(("f", "i", "bf")), -1, 1)
    array = np.where(g.random(shape) < density, drawn, 0).astype(kind)
    if dtype.startswith(("float", "bfloat")):
        array.reshape(-1)[::50] = -0.0
        array.reshape(-1)[7::90] = np.nan
        array.reshape(-1)[9::90] = np.finfo(np.float32).tiny if dtype == "float32" else np.inf
    return array


@needs_native
@pytest.mark.parametrize("dtype", DTYPES)
def test_places_are_those_numpy_finds(dtype, native):
    g = np.random.default_rng(0)
    for shape in SHAPES if dtype in ("bool", "float32") else SHAPES[:5]:
        for density in (0, 0.02, 0.5, 1):
            array = sparse_array(g, shape, dtype, density)
            for a in (array, np.asfortranarray(array), array[::-1]):
                (flat,) = nonzero.found(a, 1)
                assert flat.dtype == np.int64
                assert np.array_equal(flat, np.flatnonzero(a))
                columns = nonzero.found(a, a.ndim)
                assert len(columns) == a.ndim
                assert all(map(np.array_equal, columns, np.nonzero(a)))
                (rows,) = nonzero.found(a, a.ndim, True)
                assert np.array_equal(rows, np.argwhere(a))


@needs_native
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_it_out(threads, native):
    g = np.random.default_rng(1)
    before = flambeau.get_num_threads()
    flambeau.set_num_threads(threads)
    try:
        for shape in ((300_000,), (500, 600), (20, 30_000), (100_000, 3)):
            a = g.random(shape) < 0.3
            for _ in range(3):
                assert np.array_equal(flambeau.from_numpy(a).nonzero().numpy(), np.argwhere(a))
    finally:
        flambeau.set_num_threads(before)


def test_what_no_kernel_knows_is_left_to_numpy(native):
    a = np.random.default_rng(2).random((80, 90)) < 0.5
    assert nonzero.found(a.astype(np.complex64), 2) is None
    assert flambeau.from_numpy(a.astype(np.complex64)).nonzero().tolist() == np.argwhere(a).tolist()


def both(call):
    """What a call gives in each library: values and the gradient of what it is given."""
    found = []
    for m in (torch, flambeau):
        g = np.random.default_rng(3)
        x = m.from_numpy(g.standard_normal((30, 40, 5)).astype(np.float32)).requires_grad_()
        masks = [m.from_numpy(g.random(s) < 0.5) for s in ((30, 40), (30, 40, 5), (30,), (40, 5))]
        y = call(m, x, *masks)
        weights = m.arange(y.numel(), dtype=m.float32).reshape(y.shape)
        (y * weights).sum().backward()
        found.append((y.detach().numpy(), x.grad.numpy(), type(y.grad_fn).__name__))
    return found


INDICES = [
    lambda m, a, b, c, d: a, lambda m, a, b, c, d: b, lambda m, a, b, c, d: c,
    lambda m, a, b, c, d: (slice(None), d), lambda m, a, b, c, d: (..., d),
    lambda m, a, b, c, d: (a, m.tensor([1])), lambda m, a, b, c, d: (a, slice(1, 3)),
    lambda m, a, b, c, d: (a, 2), lambda m, a, b, c, d: (None, a), lambda m, a, b, c, d: (a, None),
    lambda m, a, b, c, d: (a, m.arange(int(a.sum())) % 5), lambda m, a, b, c, d: (2, d),
    lambda m, a, b, c, d: (m.tensor([[1], [2]]), d), lambda m, a, b, c, d: (b, None),
    lambda m, a, b, c, d: (c, slice(None), m.tensor([1])), lambda m, a, b, c, d: a & ~a,
    lambda m, a, b, c, d: (m.tensor(True), a), lambda m, a, b, c, d: a.t().contiguous().t(),
]  # fmt: skip


@pytest.mark.parametrize("which", range(len(INDICES)))
def test_masks_choose(which):
    index = INDICES[which]
    theirs, ours = both(lambda m, x, *masks: x[index(m, *masks)])
    assert np.array_equal(ours[0], theirs[0]) and ours[0].shape == theirs[0].shape
    assert np.array_equal(ours[1], theirs[1])
    assert ours[2] == theirs[2]


@pytest.mark.parametrize("which", range(len(INDICES)))
def test_masks_are_written_to(which):
    def written(m, x, *masks):
        y = x * 2
        at = index(m, *masks)
        z = x.detach()[at]
        y[at] = m.arange(z.numel(), dtype=m.float32).reshape(z.shape)
        return y

    index = INDICES[which]
    theirs, ours = both(written)
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])


VALUES = [
    lambda m, x: 3.5, lambda m, x: m.tensor(2), lambda m, x: m.tensor([[4.0]]),
    lambda m, x: x.sum() * 0.01, lambda m, x: x[0, 0, 0], lambda m, x: True,
]  # fmt: skip


@pytest.mark.parametrize("value", range(len(VALUES)))
@pytest.mark.parametrize("which", range(3))
def test_one_value_fills_where_a_mask_holds(which, value):
    def filled(m, x, *masks):
        y = x * 2
        y[masks[which]] = VALUES[value](m, x)
        return y

    theirs, ours = both(filled)
    np.testing.assert_allclose(ours[0], theirs[0], 1e-5, 1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], 1e-5, 1e-4)
    assert ours[2] == theirs[2] == "IndexPutBackward0"


def test_filling_by_a_mask_runs_nothing():
    x = flambeau.arange(12.0).reshape(3, 4) * 1
    mask = x > 4
    x[mask] = 0.0
    # Neither the mask's values nor the result's were needed.
    assert mask._storage is None
    assert x.tolist() == [[0, 1, 2, 3], [4, 0, 0, 0], [0, 0, 0, 0]]


def test_a_mask_of_its_own_elements_fills():
    for m in (torch, flambeau):
        a = m.tensor([1.0, -2.0, 3.0])
        a[a < 0] = a[0]
        assert a.tolist() == [1, 1, 3]
        b = m.tensor([True, False, True])
        b[b] = False
        assert b.tolist() == [False] * 3


REFUSED = [
    lambda m: m.zeros(3, 4).__setitem__(m.tensor([True]), 1.0),
    lambda m: m.zeros(3, 4).__setitem__(m.zeros(3, 5) > 0, 1.0),
    lambda m: m.zeros(3).__setitem__(m.zeros(3, 1) > 0, 1.0),
    lambda m: m.zeros(3).__setitem__(m.ones(3) > 0, 1j),
    lambda m: m.zeros(3).__setitem__(m.ones(3) > 0, m.tensor(1j)),
    lambda m: m.zeros(3, dtype=m.uint8).__setitem__(m.ones(3) > 0, 300),
    lambda m: m.zeros(3, 4)[m.zeros(3, 5) > 0],
    lambda m: m.zeros(3, 4, 5)[m.ones(3, 4) > 0, m.tensor([1, 2, 3])],
]


@pytest.mark.parametrize("which", range(len(REFUSED)))
def test_what_pytorch_refuses(which):
    said = []
    for m in (torch, flambeau):
        with pytest.raises((IndexError, RuntimeError)) as e:
            REFUSED[which](m)
        said.append(e.value)
    assert isinstance(said[1], type(said[0])) and str(said[1]) == str(said[0])
