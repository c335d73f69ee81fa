"""Memory of a program: temporaries share one arena, each for as long as it is needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALIGN", "Arena", "arena", "layout"]

ALIGN = 64


def layout(lives: Mapping[int, tuple[int, int, int]]) -> tuple[dict[int, int], int]:
    """Offsets for buffers given as (bytes, first step, last step), and the bytes they take in all.

    Largest first, each at the lowest offset where nothing that lives at the same time lies.
    """
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[int, int] = {}
    total = 0
    for slot, (size, first, last) in sorted(lives.items(), key=lambda item: -item[1][0]):
        size = -(-size // ALIGN) * ALIGN
        at = 0
        for start, end, _, _ in sorted(p for p in placed if not (p[3] < first or last < p[2])):
            if at + size <= start:
                break
            at = max(at, end)
        offsets[slot] = at
        placed.append((at, at + size, first, last))
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
