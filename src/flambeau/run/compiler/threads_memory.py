"""The block of memory, ``ROOT``, that the pool's threads and compiled code share.

Compiled code knows it by address.
"""

from __future__ import annotations

import numpy as np

__all__ = ["FIELDS", "MAX_THREADS", "ROOT", "ROOT_ADDRESS", "WORD", "aligned", "root", "set_root"]

MAX_THREADS = 256

# What the word "tail" says: there is none; it runs; it is done, but the pool is not given back yet.
TAIL_NONE, TAIL_RUNS, TAIL_DONE = 0, 1, 2

# Words of ROOT (8 bytes each). What different threads write lies in different cache lines.
FIELDS = {
    "generation": 0,
    "stop": 1,
    "sleepers": 8,
    "next": 16,
    "function": 24,
    "pointers": 25,
    "units": 26,
    "chunk": 27,
    "active": 32,
    "lock": 40,
    "tail": 44,
    "epoch": 48,
    "workers": 49,
    "watch": 50,  # turns
    "watch_alone": 60,
    "futex": 51,
    "syscall": 52,
    "nanosleep": 53,
    "nap": 54,  # and 55: a timespec
    "yield": 56,
    "scratch_bytes": 57,
    "pending": 58,
    "begin": 59,
    "chores": 61,  # where chores.py's ring is
    "python": 64,  # launch_driver.py's: addresses of Python's functions and types
    "scratch": 96,  # a pointer a thread
}
WORD = {name: 8 * word for name, word in FIELDS.items()}


def aligned(size: int) -> np.ndarray:
    """``size`` zero bytes that begin at a multiple of 64."""
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


ROOT = aligned(8 * (FIELDS["scratch"] + MAX_THREADS)).view(np.int64)
ROOT_ADDRESS = ROOT.ctypes.data


def root(name: str) -> int:
    """A word of ROOT."""
    return int(ROOT[FIELDS[name]])


def set_root(name: str, value: int) -> None:
    """Sets a word of ROOT."""
    ROOT[FIELDS[name]] = value
