"""Arithmetic on the places of elements: NumPy arrays of indices."""

from __future__ import annotations

import math

import numpy as np

import flambeau
from flambeau.tensor import Tensor


def array_of(index: Tensor) -> np.ndarray:
    """The value of an index tensor, to be read only."""
    return index._value()._array()


def index_tensor(array: np.ndarray, dtype: object = None) -> Tensor:
    """An int64 tensor (or one of ``dtype``) on the array."""
    made = flambeau.from_numpy(np.ascontiguousarray(array, np.int64))
    return made if dtype is None or dtype is flambeau.int64 else made.to(dtype)


def flat(indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The row-major number of each column of ``indices`` (dimensions, count)."""
    keys = np.zeros(indices.shape[1], np.int64)
    for row, size in zip(indices, shape, strict=True):
        keys = keys * size + row
    return keys


def unflat(keys: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of :func:`flat`."""
    rows = []
    for size in reversed(shape):
        rows.append(keys % max(size, 1))
        keys = keys // max(size, 1)
    return np.stack(rows[::-1]) if rows else np.zeros((0, len(keys)), np.int64)


def unique(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys in order, and the place of each key among them."""
    found, inverse = np.unique(keys, return_inverse=True)
    return found, inverse.reshape(-1)


def in_order(keys: np.ndarray) -> bool:
    """Whether keys grow strictly: neither order nor duplicates are left to settle."""
    return bool((keys[1:] > keys[:-1]).all())


def compressed(rows: np.ndarray, count: int) -> np.ndarray:
    """Where each of ``count`` rows begins among sorted ``rows``, and the end: ``count + 1``."""
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int64)


def expanded(starts: np.ndarray) -> np.ndarray:
    """The inverse of :func:`compressed`: the row of each element."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def matched(wanted: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each wanted key its place among sorted ``keys`` (0 if it is none), and whether it is."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found = keys[at] == wanted
    return np.where(found, at, 0), found


def merged(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where the keys of two lists go when the lists are merged, first ``a``'s then ``b``'s.

    From the front, the smaller of the two heads is taken, and both at once if they are equal. Lists
    in order give every key once; PyTorch merges those out of order in the same way.
    """
    if in_order(a) and in_order(b):
        return unique(np.concatenate([a, b]))[1]
    left, right = [*a.tolist(), None], [*b.tolist(), None]
    first, second = [], []
    i = j = at = 0
    while left[i] is not None or right[j] is not None:
        x, y = left[i], right[j]
        if y is None or (x is not None and x <= y):
            first.append(at)
            i += 1
        if x is None or (y is not None and y <= x):
            second.append(at)
            j += 1
        at += 1
    return np.array(first + second, np.int64)


def summed(values: Tensor, group: np.ndarray, count: int) -> Tensor:
    """Rows of ``values`` added up by group: ``(count, *values.shape[1:])``."""
    shape = (count, *values.shape[1:])
    at = index_tensor(group)
    if values.dtype is flambeau.bool:
        return summed(values.to(flambeau.int64), group, count) > 0
    return flambeau.zeros(shape, dtype=values.dtype).index_add(0, at, values)


def taken(values: Tensor, at: np.ndarray) -> Tensor:
    """The rows of ``values`` at places."""
    return values.index_select(0, index_tensor(at))


def volume(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
