"""Order: sorting, selection, running extremes. NaN counts as the greatest, as in PyTorch."""

from __future__ import annotations

import numpy as np

from flambeau.ir.reference import equals
from flambeau.ir.reference._common import widen

__all__ = [
    "argsort",
    "cummax",
    "cummin",
    "kthvalue",
    "median",
    "mode",
    "nanmedian",
    "searchsorted",
    "sort",
    "topk",
]

# From this length on a selection beats a sort.
_WORTH_SELECTING = 64

Pair = tuple[np.ndarray, np.ndarray]


def argsort(
    x: np.ndarray, dim: int = -1, descending: bool = False, stable: bool = True
) -> np.ndarray:
    """The indices (int64) that sort ``x`` along ``dim``; equals keep their order if ``stable``.

    >>> argsort(np.array([1.0, np.nan, 0.0, 1.0]), descending=True)
    array([1, 0, 3, 2])
    """
    if x.ndim == 0:
        return np.zeros((), np.int64)
    rows = np.moveaxis(widen(x), dim, -1)
    if stable or not x.size:
        found = equals.stable_order(rows, descending)
    else:
        flat = rows.reshape(-1, rows.shape[-1])
        found = equals.order(flat, descending, x.ndim == 1).reshape(rows.shape)
    return np.ascontiguousarray(np.moveaxis(found, -1, dim))


def sort(x: np.ndarray, dim: int = -1, descending: bool = False, stable: bool = False) -> Pair:
    """``x`` sorted along ``dim``, and the indices it came from.

    >>> sort(np.array([3, 1, 2]))
    (array([1, 2, 3]), array([1, 2, 0]))
    """
    order = argsort(x, dim, descending, stable)
    return _taken(x, order, dim), order


def topk(x: np.ndarray, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Pair:
    """The ``k`` greatest (or least) elements along ``dim`` and their indices, best first.

    Raises ``RuntimeError`` if there are
    fewer than ``k``.

    >>> topk(np.array([3, 1, 2]), 2)
    (array([3, 2]), array([0, 2]))
    """
    if k < 0 or k > (x.shape[dim] if x.ndim else 1):
        raise RuntimeError("selected index k out of range")
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    order = _best(x, k, dim, largest)
    if order.size:
        rows, found = (np.moveaxis(v, dim, -1) for v in (widen(x), order))
        flat = equals.top(rows.reshape(-1, rows.shape[-1]), found.reshape(-1, k), largest, sorted)
        order = np.ascontiguousarray(np.moveaxis(flat.reshape(found.shape), -1, dim))
    return _taken(x, order, dim), order


def _best(x: np.ndarray, k: int, dim: int, largest: bool) -> np.ndarray:
    """The positions of the ``k`` best, in order; of equals any."""
    n = x.shape[dim]
    # NaN is what both argmax and argmin of NumPy return, but the least is no NaN.
    if k == 1 and n and (largest or not np.isnan(widen(x)).any()):
        order = (np.argmax if largest else np.argmin)(widen(x), axis=dim, keepdims=True)
        return order.astype(np.int64, copy=False)
    if n < _WORTH_SELECTING or 8 * k > n or k == 0:
        return np.take(argsort(x, dim, largest), range(k), axis=dim)
    part = _beyond_threshold(x, k, largest) if dim % x.ndim == x.ndim - 1 else None
    if part is None:
        part = np.argpartition(widen(x), n - k if largest else k - 1, axis=dim)
        part = np.take(part, range(n - k, n) if largest else range(k), axis=dim)
    return np.take_along_axis(part, argsort(_taken(x, part, dim), dim, largest), dim)


def _beyond_threshold(x: np.ndarray, k: int, largest: bool) -> np.ndarray | None:
    """The places of the k greatest (least) along the last axis, in order of place.

    None where equals (or NaN) at the threshold leave a choice. To partition values and look for
    those beyond the k-th is several times as fast as to partition places.
    """
    wide = widen(x)
    n = wide.shape[-1]
    rows = wide.reshape(-1, n)
    at = n - k if largest else k - 1
    limit = np.partition(rows, at, axis=-1)[:, at, None]
    found = np.flatnonzero(rows >= limit if largest else rows <= limit)
    if len(found) != k * len(rows):
        return None
    places = found.reshape(len(rows), k)
    line, within = np.divmod(places, n)
    if (line != np.arange(len(rows))[:, None]).any():
        return None
    return within.reshape(*x.shape[:-1], k)


def kthvalue(x: np.ndarray, k: int, dim: int = -1, keepdim: bool = False) -> Pair:
    """The ``k``-th least element (from 1) along ``dim``, and its index.

    >>> kthvalue(np.array([3, 1, 2]), 2)
    (array(2), array(2))
    """
    if not 1 <= k <= (x.shape[dim] if x.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}")
    if x.ndim == 0:
        return _selected(x, np.zeros((), np.int64), 0, keepdim)
    order = np.take(np.argpartition(widen(x), k - 1, axis=dim), [k - 1], axis=dim)
    if x.size:
        rows, found = (np.moveaxis(v, dim, -1) for v in (widen(x), order))
        flat = equals.kth(rows.reshape(-1, rows.shape[-1]), found.reshape(-1, 1), k)
        order = np.ascontiguousarray(np.moveaxis(flat.reshape(found.shape), -1, dim))
    return _selected(x, order, dim, keepdim)


def median(x: np.ndarray, dim: int | None = None, keepdim: bool = False) -> Pair:
    """The lower of the middle elements along ``dim`` (or of all), and its index.

    A row with a NaN has the median NaN, at its first one. The median of nothing at all is NaN.

    >>> median(np.array([4.0, 1.0, 3.0, 2.0]))
    (array(2.), array(3))
    """
    return _median(x, dim, keepdim, skip_nan=False)


def nanmedian(x: np.ndarray, dim: int | None = None, keepdim: bool = False) -> Pair:
    """``median`` of what is not NaN.

    >>> nanmedian(np.array([4.0, np.nan, 3.0]))
    (array(3.), array(2))
    """
    return _median(x, dim, keepdim, skip_nan=True)


def _median(x: np.ndarray, dim: int | None, keepdim: bool, skip_nan: bool) -> Pair:
    if dim is None:
        x, dim, keepdim = x.reshape(-1), 0, False
        if x.size == 0:
            if x.dtype.kind in "iub":
                return np.array(np.iinfo(x.dtype).min, x.dtype), np.zeros((), np.int64)
            return np.array(np.nan, x.dtype), np.zeros((), np.int64)
    if x.ndim == 0:
        return _selected(x, np.zeros((), np.int64), 0, keepdim)
    if x.shape[dim] == 0:
        raise IndexError(f"median(): Expected reduction dim {dim % x.ndim} to have non-zero size.")
    wide = widen(x)
    nan = np.isnan(wide)
    middle = (x.shape[dim] - 1) // 2
    if not nan.any():
        return _selected(x, _ranked(wide, middle, dim), dim, keepdim)
    order = argsort(wide, dim)
    counts = nan.sum(dim, keepdims=True)
    rank = np.maximum(x.shape[dim] - counts - 1, 0) // 2
    if not skip_nan:
        # NaNs come last in order, so the first of them follows the numbers.
        rank = np.where(counts > 0, x.shape[dim] - counts, middle)
    return _selected(x, np.take_along_axis(order, rank, dim), dim, keepdim)


def _ranked(x: np.ndarray, rank: int, dim: int) -> np.ndarray:
    """The position of the element of a rank (from 0) along ``dim``; equals follow their order."""
    value = np.take(np.partition(x, rank, axis=dim), [rank], axis=dim)
    same = x == value
    left = rank - (x < value).sum(dim, keepdims=True)
    return (same & (np.cumsum(same, dim) > left)).argmax(dim, keepdims=True)


def mode(x: np.ndarray, dim: int = -1, keepdim: bool = False) -> Pair:
    """The most frequent element along ``dim`` (the least of several), and its last index.

    >>> mode(np.array([2, 1, 2, 1, 3]))
    (array(1), array(3))
    """
    if x.ndim == 0:
        return _selected(x, np.zeros((), np.int64), 0, keepdim)
    n = x.shape[dim]
    if n == 0:
        raise IndexError(f"mode(): Expected reduction dim {dim % x.ndim} to have non-zero size.")
    # As 2-dim, so that PyTorch's sort of one long row by digits is not what is meant.
    rows = np.moveaxis(x, dim, -1)
    order = argsort(rows.reshape(-1, n), -1, stable=False).reshape(rows.shape)
    ordered = np.take_along_axis(np.moveaxis(widen(x), dim, -1), order, -1)
    # The length of the run of equals that ends at each place.
    at = np.arange(n)
    starts = np.ones(ordered.shape, bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    length = at - np.maximum.accumulate(np.where(starts, at, 0), -1)
    best = np.take_along_axis(order, length.argmax(-1, keepdims=True), -1)
    return _selected(x, np.moveaxis(best, -1, dim), dim, keepdim)


def cummax(x: np.ndarray, dim: int = -1) -> Pair:
    """The greatest element so far along ``dim``, and the last index it was seen at.

    >>> cummax(np.array([1, 3, 2, 3]))
    (array([1, 3, 3, 3]), array([0, 1, 1, 3]))
    """
    return _running(x, dim, np.maximum)


def cummin(x: np.ndarray, dim: int = -1) -> Pair:
    """The least element so far along ``dim``, and the last index it was seen at.

    >>> cummin(np.array([3, 1, 2, 1]))
    (array([3, 1, 1, 1]), array([0, 1, 1, 3]))
    """
    return _running(x, dim, np.minimum)


def _running(x: np.ndarray, dim: int, extreme: np.ufunc) -> Pair:
    if x.ndim == 0 or x.size == 0:
        return x.copy(), np.zeros(x.shape, np.int64)
    wide = widen(x)
    best = extreme.accumulate(wide, axis=dim)
    at = np.arange(x.shape[dim]).reshape(-1, *(1,) * (x.ndim - 1 - dim % x.ndim))
    seen = (wide == best) | np.isnan(wide)
    index = np.maximum.accumulate(np.where(seen, at, 0), axis=dim)
    return np.take_along_axis(x, index, dim), index


def searchsorted(
    ordered: np.ndarray,
    values: np.ndarray,
    *,
    right: bool = False,
    sorter: np.ndarray | None = None,
) -> np.ndarray:
    """Where ``values`` would go into rows that are in order, before their equals or after (int64).

    Shapes: ``ordered`` is 1-dim, or has the leading axes of ``values``.

    >>> searchsorted(np.array([1, 3, 5]), np.array([3, 6]), right=True)
    array([2, 3])
    """
    side = "right" if right else "left"
    ordered, values = widen(ordered), widen(values)
    if sorter is not None:
        ordered = np.take_along_axis(ordered, sorter, -1)
    if ordered.ndim <= 1:
        return np.asarray(np.searchsorted(ordered, values, side)).astype(np.int64, copy=False)
    if ordered.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 "
            "dimensions of boundaries tensor and input value tensor must match, but we got "
            f"boundaries tensor {list(ordered.shape)} and input value tensor {list(values.shape)}"
        )
    out = np.empty(values.shape, np.int64)
    for row in np.ndindex(ordered.shape[:-1]):
        out[row] = np.searchsorted(ordered[row], values[row], side)
    return out


def _taken(x: np.ndarray, order: np.ndarray, dim: int) -> np.ndarray:
    return np.take_along_axis(x, order, dim) if x.ndim else x.copy()


def _selected(x: np.ndarray, order: np.ndarray, dim: int, keepdim: bool) -> Pair:
    """Values and indices at one place along ``dim``, without that axis unless ``keepdim``."""
    values = _taken(x, order, dim)
    if keepdim or x.ndim == 0:
        return values, order
    return np.asarray(values.squeeze(dim)), np.asarray(order.squeeze(dim))
