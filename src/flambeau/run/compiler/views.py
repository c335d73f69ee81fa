"""Views: how the elements of a value lie in a buffer, as index arithmetic instead of copies."""

from __future__ import annotations

import math
from typing import NamedTuple

from flambeau.run.compiler.sizes import divides

__all__ = ["View", "contiguous", "row_major"]


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a contiguous array."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return tuple(strides)


class View(NamedTuple):
    """Element ``i`` of ``shape`` lies at ``offset + sum(i[d] * strides[d])``, in elements.

    ``moving`` adds run-time offsets: (slot of an integer, elements for each unit of it).
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    moving: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def is_whole(self, size: int) -> bool:
        """Whether this is a buffer of ``size`` elements in its own order."""
        return (
            self.offset == 0
            and not self.moving
            and self.size == size
            and (size == 0 or self._ordered())
        )

    def _ordered(self) -> bool:
        expected = 1
        for n, s in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1:
                if s != expected:
                    return False
                expected *= n
        return True

    def permute(self, dims: tuple[int, ...]) -> View:
        return self._replace(
            shape=tuple([self.shape[d] for d in dims]),
            strides=tuple([self.strides[d] for d in dims]),
        )

    def broadcast(self, shape: tuple[int, ...]) -> View:
        """Repeated to ``shape``, new dimensions first."""
        if shape == self.shape:
            return self
        lead = len(shape) - len(self.shape)
        strides = tuple(
            [0] * lead
            + [
                0 if n == 1 and m != 1 else s
                for n, m, s in zip(self.shape, shape[lead:], self.strides, strict=True)
            ]
        )
        return self._replace(shape=shape, strides=strides)

    def slice(self, dims: tuple, starts: tuple, sizes: tuple, steps: tuple) -> View:
        """Every step-th position; a start is a number or (slot,) of a run-time one."""
        shape, strides = list(self.shape), list(self.strides)
        offset, moving = self.offset, list(self.moving)
        for d, start, n, step in zip(dims, starts, sizes, steps, strict=True):
            if isinstance(start, tuple):
                if strides[d]:
                    moving.append((start[0], strides[d]))
            else:
                offset += start * strides[d]
            shape[d] = n
            strides[d] *= step
        return View(tuple(shape), tuple(strides), offset, tuple(moving))

    def flip(self, dims: tuple[int, ...]) -> View:
        offset, strides = self.offset, list(self.strides)
        for d in dims:
            offset += (self.shape[d] - 1) * strides[d]
            strides[d] = -strides[d]
        return self._replace(strides=tuple(strides), offset=offset)

    def reshape(self, shape: tuple[int, ...]) -> View | None:
        """The same elements in row-major order under another shape; None if no strides do that."""
        if shape == self.shape:
            return self
        if 0 in shape:
            return self._replace(shape=shape, strides=(0,) * len(shape))
        old = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1]
        strides: list[int] = []
        position = 0
        room, step = 1, 0  # of the old dimensions not yet given out: elements, innermost stride
        # Runs of old dimensions that lie in order are one dimension, cut as the new shape says.
        merged: list[tuple[int, int]] = []
        for n, s in old:
            if merged and merged[-1][1] == n * s:
                merged[-1] = (merged[-1][0] * n, s)
            else:
                merged.append((n, s))
        for n in shape:
            if n == 1:
                strides.append(0)
                continue
            if room == 1:
                if position == len(merged):
                    return None
                room, step = merged[position]
                position += 1
            if not divides(n, room):
                return None
            room //= n
            strides.append(step * room)
        if room != 1 or position != len(merged):
            return None
        return self._replace(shape=shape, strides=tuple(strides))


def contiguous(shape: tuple[int, ...]) -> View:
    return View(shape, row_major(shape))
