"""Memory of a program: an arena for temporaries, arrays for outputs that are used again."""

from __future__ import annotations

import threading
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ALIGN", "Arena", "Pool", "arena", "layout"]

ALIGN = 64


def layout(lives: Mapping[int, tuple[int, int, int]]) -> tuple[dict[int, int], int]:
    """Offsets for buffers given as (bytes, first step, last step), and the bytes they take in all.

    Each has its memory for as long as it is needed. Largest first, each at the lowest offset where
    nothing that lives at the same time lies.
    """
    count = len(lives)
    # Of those placed: where each begins and ends, its first and last step.
    starts, ends, firsts, lasts = np.zeros((4, count), np.int64)
    offsets: dict[int, int] = {}
    total = 0
    ordered = sorted(lives.items(), key=lambda item: -item[1][0])
    for n, (slot, (size, first, last)) in enumerate(ordered):
        size = -(-size // ALIGN) * ALIGN
        meets = np.flatnonzero((lasts[:n] >= first) & (firsts[:n] <= last))
        meets = meets[np.argsort(starts[meets], kind="stable")]
        # Up to where memory is taken before each of them, and behind the last.
        free_from = np.maximum.accumulate(np.concatenate(([0], ends[meets])))
        fits = np.flatnonzero(free_from[:-1] + size <= starts[meets])
        at = int(free_from[fits[0] if fits.size else -1])
        offsets[slot] = at
        starts[n], ends[n], firsts[n], lasts[n] = at, at + size, first, last
        total = max(total, at + size)
    return offsets, total


class Arena(threading.local):
    """One thread's memory for temporaries: nothing in it outlives a launch."""

    def __init__(self) -> None:
        self.array = np.empty(0, np.uint8)
        self.base = 0
        self.size = 0

    def at_least(self, size: int) -> int:
        """Its address, aligned, with room for ``size`` bytes."""
        if size > self.size or not self.base:
            self.array = np.empty(size + ALIGN, np.uint8)
            self.size = size
            self.base = -(-self.array.ctypes.data // ALIGN) * ALIGN
        return self.base


arena = Arena()


# What ``map`` over a list counts of an array that only the list holds.
FREE = next(map(getrefcount, [np.empty(1)]))


class Pool:
    """Arrays for some outputs, each handed out again when nobody holds it any more."""

    __slots__ = ("places", "part", "shapes", "turns", "free", "sets")

    def __init__(self, places: list[int], shapes: Sequence[tuple[Any, Any]], turns: int) -> None:
        self.places = places
        # The places in one piece, if they are.
        whole = places == [*range(places[0], places[-1] + 1)]
        self.part = slice(places[0], places[-1] + 1) if whole else None
        self.shapes = [shapes[k] for k in places]
        # So many sets take turns.
        self.turns = turns
        self.free = (FREE,) * len(places)
        self.sets: list[list[np.ndarray]] = []

    def fill(self, outs: list[Any]) -> None:
        """Puts an array in each place."""
        sets = self.sets
        found = None
        try:
            # A thread takes a set out, so that no other gets what it finds free.
            found = sets.pop(0)
        except IndexError:
            pass
        if found is None:
            found = [np.empty(*s) for s in self.shapes]
        elif tuple(map(getrefcount, found)) != self.free:
            if len(sets) + 1 < self.turns:
                sets.append(found)
                found = [np.empty(*s) for s in self.shapes]
            else:
                for i, s in enumerate(self.shapes):
                    if getrefcount(found[i]) > FREE:
                        found[i] = np.empty(*s)
        if self.part is not None:
            outs[self.part] = found
        else:
            for k, a in zip(self.places, found):
                outs[k] = a
        sets.append(found)
