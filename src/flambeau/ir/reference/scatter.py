"""Reading and writing at computed indices: gather, scatter, embedding, advanced indexing."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ir.reference._common import HALF_TYPES, check_range, highest, lowest, owned, widen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "embedding",
    "embedding_gradient",
    "gather",
    "index",
    "index_add",
    "index_put",
    "index_select",
    "scatter",
    "scatter_add",
    "scatter_reduce",
]

Indices = tuple["np.ndarray | None", ...]


def gather(x: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    """``out[i][j] = x[index[i][j]][j]`` (for ``dim=0``), in the shape of ``index``.

    ``index`` may be shorter than ``x`` along the other axes. Raises ``OutOfRangeError``.

    >>> gather(np.array([[1, 2], [3, 4]]), np.array([[1, 0]]), 0)
    array([[3, 2]])
    """
    if x.ndim == 0:
        return gather(x.reshape(1), index.reshape(-1), 0).reshape(index.shape)
    dim %= x.ndim
    check_range(index, x.shape[dim], dim)
    return np.take_along_axis(_cropped(x, index.shape, dim), index, dim)


def scatter(base: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int) -> np.ndarray:
    """A copy of ``base`` with ``out[index[i][j]][j] = src[i][j]`` (for ``dim=0``).

    ``src`` is as large as ``index`` or larger, or 0-dim. Of several writes to one place the last
    stays.

    >>> scatter(np.zeros((2, 2)), np.array([[1, 0]]), np.array([[5.0, 6.0]]), 0)
    array([[0., 6.],
           [5., 0.]])
    """
    out, index, src, dim = _prepare(base, index, src, dim)
    if index.size:
        np.put_along_axis(_cropped(out, index.shape, dim), index, src, dim)
    return out.reshape(base.shape)


def scatter_add(base: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int) -> np.ndarray:
    """A copy of ``base`` with ``out[index[i][j]][j] += src[i][j]`` (for ``dim=0``).

    Sums of float32 and narrower are made in float64.

    >>> scatter_add(np.zeros(3), np.array([1, 1, 2]), np.array([5.0, 6.0, 7.0]), 0)
    array([ 0., 11.,  7.])
    """
    out, index, src, dim = _prepare(base, index, src, dim)
    if index.size:
        src = np.broadcast_to(src, index.shape)
        out = _added(out, _places(out.shape, index, dim), src.ravel())
    return out.reshape(base.shape)


def scatter_reduce(
    base: np.ndarray,
    index: np.ndarray,
    src: np.ndarray,
    dim: int,
    reduce: str,
    include_self: bool = True,
) -> np.ndarray:
    """A copy of ``base`` with the sources of each place reduced into it.

    ``reduce`` is "sum", "prod", "mean", "amax" or "amin". Unless ``include_self``, a place that
    any source goes to forgets its own value. The mean of integers is rounded down.

    >>> scatter_reduce(np.ones(2), np.array([0, 0]), np.array([4.0, 7.0]), 0, "mean")
    array([4., 1.])
    """
    if reduce not in _REDUCERS:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    dtype = base.dtype
    out, index, src, dim = _prepare(base, index, src, dim)
    if not index.size:
        return out.reshape(base.shape)
    out, src = widen(out), widen(np.broadcast_to(src, index.shape)).ravel()
    places = _places(out.shape, index, dim)
    start, combine = _REDUCERS[reduce]
    flat = out.reshape(-1)
    if not include_self:
        flat[places] = start(out.dtype)
    if combine is np.add:
        out = _added(out, places, src)
    else:
        combine.at(flat, places, src)
    if reduce == "mean":
        count = np.bincount(places, minlength=out.size).reshape(out.shape)
        count = np.maximum(count + include_self, 1)
        out = out // count if out.dtype.kind in "iu" else out / count.astype(out.dtype)
    return out.astype(dtype, copy=False).reshape(base.shape)


_REDUCERS: dict[str, tuple[Callable[[np.dtype], object], np.ufunc]] = {
    "sum": (lambda _: 0, np.add),
    "mean": (lambda _: 0, np.add),
    "prod": (lambda _: 1, np.multiply),
    "amax": (lowest, np.maximum),
    "amin": (highest, np.minimum),
}


def index_select(x: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    """The entries ``index`` (0- or 1-dim) of ``x`` along ``dim``.

    >>> index_select(np.array([[1, 2, 3]]), np.array([2, 2]), 1)
    array([[3, 3]])
    """
    if x.ndim == 0:
        check_range(index, 1, 0)
        return x.copy()
    dim %= x.ndim
    check_range(index, x.shape[dim], dim)
    return np.take(x, index.reshape(-1), axis=dim)


def index_add(
    base: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int, alpha: float = 1
) -> np.ndarray:
    """A copy of ``base`` with ``alpha * src``'s entries along ``dim`` added at ``index``.

    >>> index_add(np.zeros((3, 1)), np.array([2, 2]), np.array([[1.0], [2.0]]), 0)
    array([[0.],
           [0.],
           [3.]])
    """
    if alpha != 1:
        src = src * np.asarray(alpha, src.dtype)
    if base.ndim == 0:
        check_range(index, 1, 0)
        return base + src.reshape(()) if index.size else base.copy()
    dim %= base.ndim
    check_range(index, base.shape[dim], dim)
    # Whole entries move, so the places of the first one serve for all.
    lead, step = prod(base.shape[:dim]), prod(base.shape[dim + 1 :])
    rows = np.arange(lead)[:, None] * base.shape[dim] + index.reshape(1, -1)
    places = rows[..., None] * step + np.arange(step)
    return _added(base.copy(), places.ravel(), np.ascontiguousarray(src).ravel())


def embedding(weight: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The rows of ``weight`` at ``index``: shape ``(*index, *weight.shape[1:])``.

    >>> embedding(np.array([[1.0], [2.0]]), np.array([1, 0, 1]))
    array([[2.],
           [1.],
           [2.]])
    """
    check_range(index, weight.shape[0], 0)
    return np.take(weight, index, axis=0)


def embedding_gradient(g: np.ndarray, index: np.ndarray, *, rows: int) -> np.ndarray:
    """The transpose of ``embedding``: the entries of ``g`` added to the rows they came from.

    Shapes: ``g`` is ``(*index, *features)``; the result is ``(rows, *features)``.

    >>> embedding_gradient(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1]), rows=2)
    array([[2.],
           [5.]])
    """
    features = g.shape[index.ndim :]
    base = np.zeros((rows, *features), g.dtype)
    return index_add(base, index.reshape(-1), g.reshape(index.size, *features), 0)


def index(x: np.ndarray, indices: Indices) -> np.ndarray:
    """Advanced indexing: an integer array an axis, or None for the whole axis.

    The arrays broadcast together; negative indices count from the end.

    >>> index(np.array([[1, 2], [3, 4]]), (None, np.array([-1])))
    array([[2],
           [4]])
    """
    return owned(np.asarray(x[_checked(x.shape, indices)]), x)


def index_put(
    base: np.ndarray, indices: Indices, values: np.ndarray, accumulate: bool = False
) -> np.ndarray:
    """A copy of ``base`` with ``values`` written, or added, at ``index(base, indices)``.

    >>> index_put(np.zeros(2), (np.array([1, 1]),), np.array([3.0, 4.0]), accumulate=True)
    array([0., 7.])
    """
    key = _checked(base.shape, indices)
    if not accumulate:
        out = base.copy()
        out[key] = values
        return out
    places = np.asarray(np.arange(base.size).reshape(base.shape)[key])
    values = np.broadcast_to(values, places.shape)
    return _added(base.copy(), places.ravel(), values.ravel())


def _checked(shape: Sequence[int], indices: Indices) -> tuple[np.ndarray | slice, ...]:
    if len(indices) > len(shape):
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
    for dim, at in enumerate(indices):
        if at is not None:
            check_range(at, shape[dim], dim, -shape[dim])
    return tuple(slice(None) if at is None else at for at in indices)


def _prepare(
    base: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """A contiguous copy of the base, and index and source of one shape and at least one axis."""
    src = np.asarray(src, base.dtype)
    if base.ndim == 0:
        index, src = index.reshape(-1), src.reshape(-1)
        check_range(index, 1, 0)
        return np.array(base, order="C").reshape(1), index, src[: index.size], 0
    dim %= base.ndim
    check_range(index, base.shape[dim], dim)
    if src.ndim:
        src = src[tuple(slice(0, n) for n in index.shape)]
    return np.array(base, order="C"), index, src, dim


def _cropped(x: np.ndarray, shape: Sequence[int], dim: int) -> np.ndarray:
    return x[tuple(slice(None) if a == dim else slice(0, n) for a, n in enumerate(shape))]


def _places(shape: Sequence[int], index: np.ndarray, dim: int) -> np.ndarray:
    """The flat place in an array of ``shape`` of each entry of ``index``, as one row."""
    steps = [prod(shape[a + 1 :]) for a in range(len(shape))]
    places = index.astype(np.int64, copy=False) * steps[dim]
    for a, n in enumerate(index.shape):
        if a != dim and n > 1:
            places = places + (np.arange(n) * steps[a]).reshape(-1, *(1,) * (index.ndim - a - 1))
    return places.ravel()


def _added(out: np.ndarray, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``out`` with ``values`` added at flat ``places``, in order; ``out`` may be overwritten.

    ``np.add.at`` takes 2 ns an element of flat arrays; many additions to a place, and those of half
    precisions, are made in double, by ``bincount``.
    """
    dtype = out.dtype
    if dtype == np.complex64 or dtype == np.complex128:
        real = _added(out.real.copy(), places, values.real)
        return real + np.asarray(1j, dtype) * _added(out.imag.copy(), places, values.imag)
    if dtype in HALF_TYPES or (dtype == np.float32 and places.size >= 8 * out.size):
        total = np.bincount(places, weights=values.astype(np.float64), minlength=out.size)
        return (out + total.reshape(out.shape)).astype(dtype)
    out = np.ascontiguousarray(out)
    np.add.at(out.reshape(-1), places, values.astype(dtype, copy=False))
    return out
