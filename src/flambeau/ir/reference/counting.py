"""Distinct elements and how many there are: unique, bincount, histograms."""

from __future__ import annotations

from math import prod

import numpy as np

from flambeau.ir.reference._common import HALF_TYPES, widen

__all__ = ["bincount", "histc", "unique", "unique_consecutive"]

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]


def unique(x: np.ndarray, dim: int | None = None) -> Triple:
    """The distinct elements in order, where each element of ``x`` went, and their counts.

    With ``dim``: the distinct slices across it, in lexicographic order. Each NaN is one of a kind.

    >>> unique(np.array([3, 1, 3]))
    (array([1, 3]), array([1, 0, 1]), array([1, 2]))
    """
    if dim is not None:
        slices = np.moveaxis(x, dim, 0)
        rows = widen(slices.reshape(len(slices), prod(slices.shape[1:])))
        order = np.lexsort(rows.T[::-1]) if rows.shape[1] else np.arange(len(rows))
        new = _new(rows[order])
        values = np.moveaxis(slices[order[new]], 0, dim)
        inverse = np.empty(len(rows), np.int64)
        inverse[order] = np.cumsum(new) - 1
        return np.ascontiguousarray(values), inverse, _run_lengths(new)
    table = _table(x)
    if table is not None:
        at, span = table
        counts = np.bincount(at, minlength=span)
        seen = np.flatnonzero(counts)
        order = np.cumsum(counts > 0) - 1
        return _moved_back(seen, x), order[at].reshape(x.shape), counts[seen]
    values, inverse, counts = np.unique(
        widen(x).reshape(-1), return_inverse=True, return_counts=True, equal_nan=False
    )
    return (
        values.astype(x.dtype, copy=False),
        inverse.reshape(x.shape).astype(np.int64, copy=False),
        counts.astype(np.int64, copy=False),
    )


def distinct(x: np.ndarray) -> np.ndarray:
    """The distinct elements in order, each NaN one of a kind; of equals, the first.

    >>> distinct(np.array([3, 1, 3]))
    array([1, 3])
    """
    if x.dtype.kind not in "iub":
        flat = widen(x).reshape(-1)
        values = distinct_consecutive(np.sort(flat))
        zero = np.flatnonzero(values == 0)
        if zero.size:
            # There are two, and sorting keeps no order of theirs.
            values[zero] = flat[np.argmax(flat == 0)]
        return values.astype(x.dtype, copy=False)
    table = _table(x)
    if table is None:
        return distinct_consecutive(np.sort(x, axis=None))
    at, span = table
    seen = np.zeros(span, bool)
    seen[at] = True
    return _moved_back(np.flatnonzero(seen), x)


def _table(x: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Integers as distances from the least, and how many such there can be.

    None where a table of all of them is no faster than sorting.
    """
    if x.dtype.kind not in "iub" or not x.size:
        return None
    low, high = int(x.min()), int(x.max())
    span = high - low + 1
    if span > 2 * x.size + 256:
        return None
    # Of fewer bits, the distance may be none of the type.
    wide = x.reshape(-1) if x.dtype.itemsize == 8 else x.reshape(-1).astype(np.int64)
    return (wide - wide.dtype.type(low)).astype(np.int64, copy=False), span


def _moved_back(places: np.ndarray, x: np.ndarray) -> np.ndarray:
    low = x.min().astype(np.int64) if x.dtype.itemsize < 8 else x.min()
    return (places.astype(low.dtype) + low).astype(x.dtype)


def distinct_consecutive(x: np.ndarray) -> np.ndarray:
    """The elements, flattened, without those equal to the one before.

    >>> distinct_consecutive(np.array([1, 1, 2, 1]))
    array([1, 2, 1])
    """
    flat = x.reshape(-1)
    return flat[np.flatnonzero(_new(flat))]


def _new(rows: np.ndarray) -> np.ndarray:
    """Whether elements (or rows) differ from the one before."""
    new = np.ones(len(rows), bool)
    if rows.ndim == 1:
        np.not_equal(rows[1:], rows[:-1], out=new[1:])
    else:
        new[1:] = (rows[1:] != rows[:-1]).any(1)
    return new


def unique_consecutive(x: np.ndarray, dim: int | None = None) -> Triple:
    """``x`` with runs of equals (along ``dim``, or flattened) made one; inverse; run lengths.

    >>> unique_consecutive(np.array([1, 1, 2, 1]))
    (array([1, 2, 1]), array([0, 0, 1, 2]), array([2, 1, 1]))
    """
    slices = x.reshape(-1) if dim is None else np.moveaxis(x, dim, 0)
    new = _new(slices if dim is None else slices.reshape(len(slices), prod(slices.shape[1:])))
    inverse = np.cumsum(new) - 1
    values = slices[new]
    if dim is None:
        return values, inverse.reshape(x.shape), _run_lengths(new)
    return np.ascontiguousarray(np.moveaxis(values, 0, dim)), inverse, _run_lengths(new)


def _run_lengths(new: np.ndarray) -> np.ndarray:
    return np.diff(np.append(np.flatnonzero(new), len(new)))


def bincount(x: np.ndarray, weights: np.ndarray | None = None, minlength: int = 0) -> np.ndarray:
    """How often each of 0, 1, ... occurs in ``x`` (int64), or the sum of its weights.

    Sums of float32 weights are float32, of all others float64.

    >>> bincount(np.array([0, 2, 2]))
    array([1, 0, 2])
    """
    if x.ndim != 1 or x.dtype.kind not in "iu" or (x.size and x.min() < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError(f"minlength should be >= 0, but got {minlength}")
    if weights is None:
        return np.bincount(x, minlength=minlength).astype(np.int64, copy=False)
    if weights.shape != x.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    if x.size == 0:
        return np.zeros(minlength, np.int64)
    kind = np.float32 if weights.dtype == np.float32 else np.float64
    sums = np.bincount(x, weights=weights.astype(np.float64), minlength=minlength)
    return sums.astype(kind, copy=False)


def histc(x: np.ndarray, bins: int = 100, min: float = 0, max: float = 0) -> np.ndarray:
    """How many elements lie in each of ``bins`` equal parts of ``[min, max]``, in ``x``'s type.

    With ``min == max`` the range is that of the data, or one to each side of a single value.
    Elements outside are not counted. Raises ``RuntimeError`` if the range is not finite.

    >>> histc(np.array([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    array([0., 2., 1., 0.])
    """
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    kind = np.dtype(np.float32) if x.dtype in HALF_TYPES else x.dtype
    data = x.reshape(-1).astype(kind, copy=False)
    low, high = kind.type(min), kind.type(max)
    if low == high and data.size:
        low, high = data.min(), data.max()
    if low == high:
        low, high = low - kind.type(1), high + kind.type(1)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"torch.histc: range of [{low}, {high}] is not finite")
    if not low < high:
        raise RuntimeError("torch.histc: max must be larger than min")
    data = data[(data >= low) & (data <= high)]
    if kind.kind == "f":
        place = ((data - low) * kind.type(bins) / (high - low)).astype(np.int64)
    else:
        place = (data - low).astype(np.int64) * bins // (int(high) - int(low))
    counts = np.bincount(np.minimum(place, bins - 1), minlength=bins)
    return counts.astype(x.dtype)
