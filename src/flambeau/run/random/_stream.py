"""Uniform numbers one at a time, for algorithms that reject some."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from itertools import chain

from .engine import MersenneTwister

__all__ = ["UniformStream"]

_LARGEST_BLOCK = 1 << 16


class UniformStream:
    """float64 numbers of [0, 1) from 64-bit draws, taken by calling ``next``.

    Draws blocks ahead from a copy of the engine, which inside ``with`` stays locked and at the end
    is moved past exactly the numbers taken. ``expected`` says about how many that will be.

    >>> engine = MersenneTwister(0)
    >>> with UniformStream(engine, 2) as stream:
    ...     first = stream.next()
    >>> second = engine.uniform64(1)[0]
    >>> bool((MersenneTwister(0).uniform64(2) == [first, second]).all())
    True
    """

    next: Callable[[], float]

    def __init__(self, engine: MersenneTwister, expected: int) -> None:
        self.engine = engine
        self._block = min(max(expected, 16), _LARGEST_BLOCK)
        self._drawn = 0
        self._current: Iterator[float] = iter(())

    def _blocks(self) -> Iterator[Iterator[float]]:
        ahead = self.engine.clone()
        while True:
            self._current = iter(ahead.uniform64(self._block).tolist())
            self._drawn += self._block
            yield self._current

    def __enter__(self) -> UniformStream:
        self.engine.lock.acquire()
        self.next = chain.from_iterable(self._blocks()).__next__
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.engine.skip(2 * (self._drawn - operator.length_hint(self._current)))
        finally:
            self.engine.lock.release()
