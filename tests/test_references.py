"""The NumPy references of indexing, sorting and counting agree with PyTorch, on random shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flambeau.ir import reference as R
from random_arrays import (
    FLOATS,
    HALVES,
    SEEDS,
    Draw,
    agree,
    oracle,
    quiet,  # noqa: F401  (a fixture that is always on)
    same,
)

# ---- gather and scatter ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_gather_and_scatter(seed):
    draw = Draw(seed)
    dtype = draw.pick(np.float32, np.float64, np.int64, np.complex64, *HALVES)
    d = draw.int(1, 3)
    dim = draw.int(-d, d - 1)
    shape = draw.ints(1, 5, d)
    other = list(draw.int(0, n) for n in shape)
    other[dim] = draw.int(0, 7)
    index = draw.index(shape[dim], other)
    x, src = draw.array(shape, dtype), draw.array([n + draw.int(0, 1) for n in other], dtype)
    tx, ti, ts = oracle(x), oracle(index), oracle(src)
    same(R.gather(x, index, dim), tx.gather(dim, ti))
    agree(R.scatter_add(x, index, src, dim), tx.scatter_add(dim, ti, ts))
    once = np.argsort(draw.rng.random(shape), axis=dim)
    same(R.scatter(x, once, x * 2, dim), tx.scatter(dim, oracle(once), tx * 2))
    same(R.scatter(x, index, np.asarray(3, dtype), dim), tx.scatter(dim, ti, 3))
    if np.dtype(dtype).kind == "c":
        return
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for include in (True, False):
            ours = R.scatter_reduce(x, index, src, dim, reduce, include)
            agree(ours, tx.scatter_reduce(dim, ti, ts, reduce, include_self=include))


@pytest.mark.parametrize("seed", SEEDS)
def test_whole_entries(seed):
    draw = Draw(seed)
    dtype = draw.pick(np.float32, np.float64, np.int64, np.complex128, *HALVES)
    d = draw.int(1, 3)
    dim = draw.int(-d, d - 1)
    shape = draw.ints(1, 5, d)
    index = draw.index(shape[dim], draw.int(0, 9))
    x = draw.array(shape, dtype)
    tx, ti = oracle(x), oracle(index)
    same(R.index_select(x, index, dim), tx.index_select(dim, ti))
    src = draw.array([len(index) if a == dim % d else n for a, n in enumerate(shape)], dtype)
    agree(R.index_add(x, index, src, dim), tx.index_add(dim, ti, oracle(src)))
    agree(R.index_add(x, index, src, dim, 2), tx.index_add(dim, ti, oracle(src), alpha=2))


def test_scatters_of_scalars():
    x, at = np.array(3.0), np.array(0)
    assert R.gather(x, at, 0) == 3 and R.gather(x, at, 0).shape == ()
    assert R.scatter(x, at, np.array(5.0), 0) == 5
    assert R.scatter_add(x, at, np.array(5.0), 0) == 8
    assert R.scatter_reduce(x, at, np.array(5.0), 0, "prod") == 15
    assert R.index_add(x, np.array([0]), np.array(5.0), 0) == 8
    assert R.index_select(x, np.array([0]), 0).shape == ()


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES], ids=str)
@pytest.mark.parametrize("rows", [5, 5000])
def test_embedding(dtype, rows):
    draw = Draw(rows)
    weight, index = draw.array((rows, 4), dtype), draw.index(rows, (3, 7))
    tw = oracle(weight).requires_grad_()
    y = F.embedding(oracle(index), tw)
    same(R.embedding(weight, index), y)
    g = draw.array((3, 7, 4), dtype)
    (gw,) = torch.autograd.grad(y, tw, oracle(g))
    agree(R.embedding_gradient(g, index, rows=rows), gw)
    assert R.embedding(weight, index[:0]).shape == (0, 7, 4)
    assert not R.embedding_gradient(g[:0], index[:0], rows=rows).any()


def test_many_additions_to_one_place_are_accurate():
    g = np.full((200_000, 1), 0.1, np.float32)
    total = R.embedding_gradient(g, np.zeros(200_000, np.int64), rows=2)
    assert total[0, 0] == np.float32(200_000 * np.float64(np.float32(0.1)))


KEYS = [
    (np.array([1, -1]),),
    (None, np.array([0, 2, 2])),
    (np.array([[0], [1]]), np.array([0, 2, 2])),
    (np.array([0, 1, 0]), None, np.array([3, 1, 3])),
    (None, np.array(1), np.array([1, 1])),
    (np.array(1), np.array(2), np.array(3)),
    (np.zeros((0,), np.int64),),
    (None,),
]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.complex64])
def test_indexing_by_arrays(key, dtype):
    draw = Draw(3)
    x = draw.array((2, 3, 4), dtype)
    tkey = tuple(slice(None) if k is None else oracle(k) for k in key)
    tx = oracle(x)
    same(R.index(x, key), tx[tkey])
    values = draw.array(tuple(tx[tkey].shape), dtype)
    expected = tx.clone()
    expected[tkey] = 5
    same(R.index_put(x, key, np.asarray(5, dtype)), expected)
    flat = tuple(k for k in tkey)
    if not any(isinstance(k, slice) for k in flat):
        expected = tx.index_put(flat, oracle(values), accumulate=True)
        agree(R.index_put(x, key, values, accumulate=True), expected)
    else:
        expected = x.copy()
        np.add.at(expected, tuple(slice(None) if k is None else k for k in key), values)
        agree(R.index_put(x, key, values, accumulate=True), expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, i: R.gather(x, i, 0),
        lambda x, i: R.scatter(x, i, x[:1, :1], 0),
        lambda x, i: R.scatter_add(x, i, x[:1, :1], 0),
        lambda x, i: R.scatter_reduce(x, i, x[:1, :1], 0, "amax"),
        lambda x, i: R.index_add(x, i[0], x[:1], 0),
        lambda x, i: R.index_select(x, i[0], 0),
        lambda x, i: R.embedding(x, i),
        lambda x, i: R.index(x, (i,)),
        lambda x, i: R.index_put(x, (i,), x[0]),
    ],
)
@pytest.mark.parametrize("bad", [5, -4])
def test_out_of_range(call, bad):
    x = np.zeros((3, 4))
    with pytest.raises(IndexError, match=f"^index {bad} is out of bounds for dimension 0 with siz"):
        call(x, np.array([[bad]]))


# ---- order -------------------------------------------------------------------------------------


def order_case(seed, nan=True):
    draw = Draw(seed)
    d = draw.int(1, 3)
    shape, dim = draw.ints(1, 9, d), draw.int(-d, d - 1)
    dtype = draw.pick(np.float32, np.float64, np.int64, np.uint8, *HALVES)
    if dtype == np.uint8:
        x = draw.rng.integers(0, 9, shape).astype(dtype)
    else:
        x = draw.coarse(shape, dtype)
    if nan and np.dtype(dtype).kind not in "iu" and seed % 2:
        x[draw.rng.random(shape) < 0.2] = np.nan
    return draw, x, dim


@pytest.mark.parametrize("seed", SEEDS)
def test_sort_and_select(seed):
    draw, x, dim = order_case(seed)
    tx, n = oracle(x), x.shape[dim]
    for descending in (False, True):
        values, indices = R.sort(x, dim, descending)
        theirs = torch.sort(tx, dim=dim, descending=descending, stable=True)
        same(values, theirs.values)
        same(indices, theirs.indices)
    k = draw.int(1, n)
    for largest in (True, False):
        values, indices = R.topk(x, k, dim, largest)
        same(values, torch.topk(tx, k, dim, largest).values)
        same(np.take_along_axis(x, indices, dim), values)
    for keepdim in (True, False):
        picks = [
            (R.kthvalue(x, k, dim, keepdim), torch.kthvalue(tx, k, dim, keepdim)),
            (R.median(x, dim, keepdim), torch.median(tx, dim, keepdim)),
            (R.nanmedian(x, dim, keepdim), torch.nanmedian(tx, dim, keepdim)),
        ]
        for (values, indices), theirs in picks:
            same(values, theirs.values)
            assert indices.shape == values.shape and indices.dtype == np.int64
            if keepdim:
                same(np.take_along_axis(x, indices, dim), values)
    same(R.median(x)[0], tx.median())
    same(R.nanmedian(x)[0], tx.nanmedian())


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("special", [0.0, np.nan, np.inf])
def test_topk_of_long_rows(special, largest):
    draw = Draw(0)
    x = draw.array((4, 300))
    x[draw.rng.random(x.shape) < 0.01] = special
    for k in (0, 1, 5):
        values, indices = R.topk(x, k, 1, largest)
        same(values, torch.topk(oracle(x), k, 1, largest).values)
        same(np.take_along_axis(x, indices, 1), values)


@pytest.mark.parametrize("seed", SEEDS)
def test_mode_and_running_extremes(seed):
    _, x, dim = order_case(seed)
    tx = oracle(x)
    for ours, theirs in ((R.cummax, torch.cummax), (R.cummin, torch.cummin)):
        values, indices = ours(x, dim)
        expected = theirs(tx, dim)
        same(values, expected.values)
        same(indices, expected.indices)
    _, x, dim = order_case(seed, nan=False)
    values, indices = R.mode(x, dim)
    expected = torch.mode(oracle(x), dim)
    same(values, expected.values)
    same(indices, expected.indices)


def test_order_of_scalars_and_of_nothing():
    x = np.array(2.0)
    for pair in (R.sort(x), R.median(x), R.mode(x), R.cummax(x), R.kthvalue(x, 1), R.topk(x, 1)):
        assert pair[0] == 2 and pair[1] == 0 and pair[0].shape == pair[1].shape == ()
    none = np.zeros((0, 3))
    assert R.sort(none)[1].shape == R.cummin(none, 0)[1].shape == (0, 3)
    assert R.mode(none)[0].shape == R.median(none, 1)[0].shape == (0,)
    assert np.isnan(R.median(np.zeros(0))[0])
    with pytest.raises(RuntimeError, match="selected index k out of range"):
        R.topk(np.zeros(3), 4)
    with pytest.raises(RuntimeError, match="selected number k out of range for dimension 0"):
        R.kthvalue(np.zeros(3), 4, 0)
    with pytest.raises(IndexError, match="non-zero size"):
        R.median(none, 0)


@pytest.mark.parametrize("seed", range(20))
def test_searchsorted(seed):
    draw = Draw(seed)
    lead = draw.ints(1, 3, draw.int(0, 2))
    ordered = np.sort(draw.coarse((*lead, draw.int(0, 8))), -1)
    values = draw.coarse((*lead, draw.int(0, 5)))
    shuffle = np.argsort(draw.rng.random(ordered.shape), -1)
    mixed = np.take_along_axis(ordered, shuffle, -1)
    sorter = np.argsort(mixed, -1)
    for right in (False, True):
        theirs = torch.searchsorted(oracle(ordered), oracle(values), right=right)
        same(R.searchsorted(ordered, values, right=right), theirs)
        same(R.searchsorted(mixed, values, right=right, sorter=sorter), theirs)


@pytest.mark.parametrize("seed", range(30))
def test_unique(seed):
    _, x, dim = order_case(seed, nan=False)
    x = np.abs(x) % 3 if x.dtype.kind != "V" else x
    tx = oracle(np.ascontiguousarray(x))
    for at in (None, dim):
        for ours, theirs in ((R.unique, torch.unique), (R.unique_consecutive, None)):
            theirs = theirs or torch.unique_consecutive
            expected = theirs(tx, return_inverse=True, return_counts=True, dim=at)
            for mine, other in zip(ours(x, at), expected, strict=True):
                same(mine, other)


def test_unique_nans_are_distinct():
    x = np.array([np.nan, 1, np.nan])
    expected = torch.unique(oracle(x), return_inverse=True, return_counts=True)
    values, _, counts = R.unique(x)
    same(values, expected[0])
    same(counts, expected[2])


def test_counts():
    draw = Draw(0)
    x, weights = draw.index(6, 50), draw.array((50,), np.float32)
    same(R.bincount(x), torch.bincount(oracle(x)))
    same(R.bincount(x, minlength=9), torch.bincount(oracle(x), minlength=9))
    for w in (weights, weights.astype(np.float64), x):
        agree(R.bincount(x, w), torch.bincount(oracle(x), oracle(w)))
    same(R.bincount(x[:0], minlength=2), torch.bincount(oracle(x[:0]), minlength=2))
    with pytest.raises(RuntimeError, match="bincount only supports 1-d non-negative"):
        R.bincount(np.array([-1]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_histc(dtype):
    draw = Draw(1)
    x = draw.array((40, 30), dtype)
    for args in ((), (10,), (7, -1, 2), (12, 0.5, 0.5), (100, -0.3, 3.7)):
        same(R.histc(x, *args), torch.histc(oracle(x), *args))
    steps = np.arange(-20, 21).astype(dtype) / dtype(10)
    same(R.histc(steps, 20, -1, 1), torch.histc(oracle(steps), 20, -1, 1))
    ones = np.ones(5, dtype)
    same(R.histc(ones, 4), torch.histc(oracle(ones), 4))
    with pytest.raises(RuntimeError, match="is not finite"):
        R.histc(np.array([np.nan, 1], dtype))
