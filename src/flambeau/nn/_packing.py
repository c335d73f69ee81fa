"""Where the elements of packed sequences lie among all steps of all sequences.

A packed layout has another number of elements for each set of lengths, all steps of all sequences
one for each length of the longest: programs that work on these are the same from batch to batch,
and lengths are data that they read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from flambeau import dtypes
from flambeau.tensor import Tensor, concrete

__all__ = ["Padded", "Places", "places_of"]

# All steps of all sequences are worth it up to this many times as many as there are elements.
WASTE = 4


class Places:
    """T steps of N sequences, the longest first, and the elements of their packed layout.

    ``into[reverse]`` (T * N) are the packed elements that the steps take, in either direction;
    sequences that have ended take one of their own again. ``out[reverse]`` (elements) are the
    steps that the packed elements come from, ``turned`` (T * N) the steps of the other direction,
    ``last`` (N) the last one of each sequence, ``real`` (T, N, 1) which are not after an end.
    """

    def __init__(self, batch_sizes: tuple[int, ...]) -> None:
        sizes = np.array(batch_sizes)
        self.steps, self.count, total = len(sizes), batch_sizes[0], int(sizes.sum())
        starts = np.cumsum(sizes) - sizes
        rows = np.arange(self.count)
        self.lengths = (sizes[:, None] > rows).sum(0)
        at = np.arange(self.steps)[:, None]
        ahead, back = np.minimum(at, self.lengths - 1), np.maximum(self.lengths - 1 - at, 0)
        real = at < self.lengths
        self.into = [_data(starts[t] + rows) for t in (ahead, back)]
        self.out = [_data((t * self.count + rows)[real]) for t in (at + 0 * back, back)]
        self.turned = _data(back * self.count + rows)
        self.last = _data((self.lengths - 1) * self.count + rows)
        self.real = concrete(np.ascontiguousarray(real[..., None]), dtypes.bool_)
        self.worth = self.steps * self.count <= WASTE * total
        self._ahead = ahead

    def within(self, order: list[int], steps: int, batch_first: bool) -> Tensor:
        """Rows of (N, steps) or (steps, N) sequences for all steps of them in this order."""
        if batch_first:
            return _data(np.array(order) * steps + self._ahead)
        return _data(np.array(order) + len(order) * self._ahead)


def _data(values: np.ndarray) -> Tensor:
    """Integers as data, in one dimension."""
    return concrete(np.ascontiguousarray(values.reshape(-1), np.int64), dtypes.int64)


places_of = lru_cache(64)(Places)


class Padded(NamedTuple):
    """Packed sequences as all steps of all sequences: ``value`` is (T, N, *).

    What comes after a sequence's end is anything that is finite if its elements are.
    """

    value: Tensor
    places: Places

    def packed(self) -> Tensor:
        """The elements, one step after the other."""
        flat = self.value.reshape(-1, *self.value.shape[2:])
        return flat.index_select(0, self.places.out[False])
