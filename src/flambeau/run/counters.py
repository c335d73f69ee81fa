"""The words in which native programs count their runs: side by side, so all are summed at once.

A program that is gone keeps its word: what it did was done.
"""

from __future__ import annotations

from threading import Lock

import numpy as np

__all__ = ["counter", "total", "weigh"]

# Words of a block.
_BLOCK = 1 << 12

_lock = Lock()
# Words, whether each counts, and what a run of it weighs.
_blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
_used = _BLOCK


def counter() -> np.ndarray:
    """A new word, 0, as an array of one element."""
    global _used
    with _lock:
        if _used == _BLOCK:
            _blocks.append((*np.zeros((3, _BLOCK), np.int64),))
            _used = 0
        _used += 1
        return _blocks[-1][0][_used - 1 : _used]


def weigh(word: np.ndarray, weight: int) -> None:
    """From now on what this word counts is in the total."""
    for words, counts, weights in _blocks:
        at = (word.ctypes.data - words.ctypes.data) // word.itemsize
        if 0 <= at < _BLOCK:
            counts[at], weights[at] = 1, weight


def total() -> tuple[int, int]:
    """The sum of all that count, and of each times its weight.

    >>> word = counter()
    >>> weigh(word, 5)
    >>> before = total()
    >>> word += 2
    >>> [now - then for now, then in zip(total(), before)]
    [2, 10]
    """
    runs = sum(int(words @ counts) for words, counts, _ in _blocks)
    return runs, sum(int(words @ weights) for words, _, weights in _blocks)
