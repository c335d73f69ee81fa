"""Positions in order with equals placed as PyTorch places them; NaN counts as the greatest.

NumPy finds the order. Only where equals make it ambiguous are the rows gone through again as
``introsort`` describes: by Python if there is little to do, else by native code.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ir.reference import introsort

if TYPE_CHECKING:
    from collections.abc import Callable

SORT, TOP, TOP_UNORDERED, SELECT = range(4)
# So many elements are done before native code would have been loaded.
_FEW = 512
# ``std::sort`` makes insertions, which keep equals in order, up to this length.
_INSERTED = 16
# From this length on PyTorch sorts one row of integers by digits, which keeps equals in order.
BY_DIGITS = 32768


@cache
def _native() -> Callable[..., int]:
    from flambeau.run.compiler import loops, sorting_steps  # upward: Python is too slow for loops

    return loops.native(introsort, "order_rows", 2, 4, sorting_steps.quicker(64))


def arranged(ranks: np.ndarray, task: int, count: int = 0) -> np.ndarray:
    """Where the elements of rows of integers went when a task of ``introsort`` was done.

    >>> arranged(np.array([[2, 0, 1]]), SORT)
    array([[1, 2, 0]])
    """
    rows, size = ranks.shape
    keys = np.array(ranks, np.int64, order="C")
    places = np.empty(ranks.shape, np.int64)
    places[...] = np.arange(size)
    if keys.size > _FEW:
        _native()(keys.ctypes.data, places.ctypes.data, rows, size, task, count)
        return places
    found = places.reshape(-1).tolist()
    introsort.order_rows(keys.reshape(-1).tolist(), found, rows, size, task, count)
    return np.array(found, np.int64).reshape(rows, size)


def alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether elements are equal or both NaN."""
    same = a == b
    return same if a.dtype.kind in "iub" else same | (np.isnan(a) & np.isnan(b))


def stable_order(rows: np.ndarray, descending: bool) -> np.ndarray:
    """The positions that sort along the last axis; equals keep their order."""
    if not descending:
        return np.argsort(rows, axis=-1, kind="stable").astype(np.int64, copy=False)
    # Turning around before and after keeps equals in order.
    order = np.argsort(rows[..., ::-1], axis=-1, kind="stable")
    return (rows.shape[-1] - 1 - order[..., ::-1]).astype(np.int64, copy=False)


def _again(rows: np.ndarray, descending: bool, task: int, count: int = 0) -> np.ndarray:
    """Rows by their places in order, equal for equals, and a task done on these."""
    order = stable_order(rows, descending)
    steps = np.zeros(rows.shape, np.int64)
    steps[:, 1:] = ~_repeated(rows, order)
    ranks = np.empty_like(steps)
    np.put_along_axis(ranks, order, np.cumsum(steps, -1), -1)
    return arranged(ranks, task, count)


def _repeated(rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Whether what comes next in order is equal."""
    ordered = np.take_along_axis(rows, order, -1)
    return alike(ordered[..., 1:], ordered[..., :-1])


def order(rows: np.ndarray, descending: bool, one_dim: bool = False) -> np.ndarray:
    """``torch.argsort`` of each row, where it is not asked to be stable."""
    found = stable_order(rows, descending)
    size = rows.shape[-1]
    by_digits = one_dim and not descending and rows.dtype.kind in "iu" and size >= BY_DIGITS
    if size <= _INSERTED or by_digits:
        return found
    ties = _repeated(rows, found).any(-1)
    if ties.any():
        found[ties] = _again(rows[ties], descending, SORT)
    return found


def top(rows: np.ndarray, found: np.ndarray, largest: bool, ordered: bool) -> np.ndarray:
    """``torch.topk`` of each row, whose best ``found`` has in order, of equals any."""
    size, count = rows.shape[-1], found.shape[-1]
    if not count:
        return found
    if not ordered and count * 64 > size:
        return _again(rows, largest, TOP_UNORDERED, count)[:, :count]
    values = np.take_along_axis(rows, found, -1)
    last = values[:, -1:]
    taken = alike(values, last).sum(-1)
    ties = alike(values[:, 1:], values[:, :-1]).any(-1) | (alike(rows, last).sum(-1) > taken)
    if ties.any():
        found = found.copy()
        found[ties] = _again(rows[ties], largest, TOP, count)[:, :count]
    return found


def kth(rows: np.ndarray, found: np.ndarray, count: int) -> np.ndarray:
    """``torch.kthvalue`` of each row, the ``count``-th of which (from 1) ``found`` has."""
    values = np.take_along_axis(rows, found, -1)
    ties = alike(rows, values).sum(-1) > 1
    if ties.any():
        found = found.copy()
        found[ties] = _again(rows[ties], False, SELECT, count - 1)[:, count - 1 : count]
    return found
