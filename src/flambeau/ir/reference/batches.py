"""Parts of a batch of matrices, shared out among threads.

A part is worked on by one thread, with BLAS on that thread alone: what comes out depends neither on
how many threads there are nor on who took which part.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ir.reference import blas

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["share", "stack", "together"]

# What work must be in all (floating-point operations) to be worth waking a thread, some 50 us.
_WORTH = 4e6
# What one matrix must be worth for several threads of BLAS to be faster than one where most of the
# work is panels: of 128 rows QR took 0.58 and singular values 0.68 of the time on one thread.
_PANELS = 3e8
# Parts a thread: one that is held up leaves its later ones to others.
_PARTS = 8

_helpers: dict[int, ThreadPoolExecutor] = {}
# Whether this thread is at a part already.
_here = threading.local()


def _forget() -> None:
    """In a child, which has none of the threads."""
    _helpers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _helper(count: int) -> ThreadPoolExecutor:
    found = _helpers.get(count)
    if found is None:
        from concurrent.futures import ThreadPoolExecutor  # 5 ms, for who asks

        for old in list(_helpers):
            # Another thread may be here, too.
            if (unused := _helpers.pop(old, None)) is not None:
                unused.shutdown(wait=False)
        found = _helpers[count] = ThreadPoolExecutor(count, "flambeau-batch")
    return found


def share(
    count: int, work: Callable[[int, int], None], effort: float, *, panels: bool = False
) -> None:
    """Calls ``work(begin, end)`` until all of ``count`` matrices were in a part.

    ``effort`` is what one matrix takes, in floating-point operations. Little of it, or fewer
    matrices than threads, are one part, in which BLAS uses its threads as it likes; for small
    matrices of algorithms that go by ``panels`` it is not left to it.

    >>> seen = np.zeros(100, int)
    >>> share(100, lambda begin, end: seen[begin:end].__iadd__(1), 1e6)
    >>> int(seen.min()), int(seen.max())
    (1, 1)
    """
    threads = min(blas.threads(), count)
    alone = threads < 2 or count < blas.threads() or getattr(_here, "inside", False)
    if alone or count * effort < _WORTH:
        if count:
            with blas.alone() if panels and effort < _PANELS else nullcontext():
                work(0, count)
        return
    size = -(-count // (threads * _PARTS))
    # Taken by whoever is next: ``next`` of a counter cannot be interrupted by another thread.
    starts = itertools.count(0, size)
    errors = np.geterr()

    def take() -> None:
        _here.inside = True
        try:
            with np.errstate(**errors):
                while (begin := next(starts)) < count:
                    work(begin, min(begin + size, count))
        finally:
            _here.inside = False

    with blas.alone():
        helped: list[Future[None]] = []
        try:
            try:
                for _ in range(threads - 1):
                    helped.append(_helper(threads - 1).submit(take))
            except RuntimeError:
                pass  # Python is exiting, or has no more threads: fewer do the same work
            take()
        finally:
            # Nobody begins another part after a failure.
            starts = itertools.repeat(count)
            for future in helped:
                if not future.cancel():
                    future.exception()
        for future in helped:
            if not future.cancelled():
                future.result()


def stack(x: np.ndarray) -> np.ndarray:
    """Matrices with all leading dimensions as one."""
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def together(
    work: Callable[[np.ndarray], tuple[np.ndarray, ...]],
    x: np.ndarray,
    effort: float,
    *,
    panels: bool = False,
) -> tuple[np.ndarray, ...]:
    """What ``work`` makes of parts of a stack of matrices, put together.

    >>> together(lambda part: (part.sum((1, 2)),), np.ones((2, 3, 4, 5)), 20)[0]
    array([[20., 20., 20.],
           [20., 20., 20.]])
    """
    given = stack(x)
    if not given.size:
        return tuple(c.reshape(*x.shape[:-2], *c.shape[1:]) for c in work(given))
    parts: dict[int, tuple[np.ndarray, ...]] = {}

    def part(begin: int, end: int) -> None:
        parts[begin] = work(given[begin:end])

    share(len(given), part, effort, panels=panels)
    columns = zip(*(parts[begin] for begin in sorted(parts)), strict=True)
    whole = (c[0] if len(c) == 1 else np.concatenate(c) for c in columns)
    return tuple(c.reshape(*x.shape[:-2], *c.shape[1:]) for c in whole)
