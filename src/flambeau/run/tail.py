"""The tail of a step: what of a native program still runs after its call has returned.

``optimizer.step()`` returns as soon as what may be refused has been checked and small results such
as the loss are there; gradients and updates are left to the pool's threads while Python records
the next step. Whoever touches memory that the tail reads or writes joins it first, and helps:

- every program, before it runs;
- ``Storage.array`` and ``Storage.writable``, by which all other code gets at memory;
- a fork, a change of the number of threads, the end of the process.

Memory that code outside may hold has no tail: such a program is done when its call returns.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Tail", "tail"]


class Tail:
    """The one program that may have a tail at a time.

    ``given``: the arrays it reads and writes, and the program, whose ``wait`` helps until it is
    done; they live until then.
    ``number`` counts tails: a storage whose ``early`` is this number holds a value that was there
    when the call returned. ``enabled``: whether there may be one.
    """

    __slots__ = ("given", "number", "enabled", "_ids", "_lock")

    def __init__(self) -> None:
        self.given: tuple[Sequence[Any], Sequence[Any], Any] | None = None
        self.number = 0
        self.enabled = True
        # Who owns the memory that is written, and that is touched at all.
        self._ids: tuple[set[int], set[int]] | None = None
        # A finalizer may read a tensor while the same thread is here.
        self._lock = threading.RLock()

    def begin(self, inputs: Sequence[Any], outs: Sequence[Any], program: Any) -> None:
        """Before a program's call: an interrupt may come right behind it."""
        self.number += 1
        self._ids = None
        self.given = (inputs, outs, program)

    def join(self) -> None:
        """Returns when nothing runs."""
        with self._lock:
            if self.given is not None:
                self.given[2].wait()
                self.given = self._ids = None

    def joined_for(self, array: np.ndarray | None, write: bool = False) -> None:
        """Joins if the tail may write to an array's memory; with ``write``: or read it."""
        if array is None:
            return
        ids = self._ids
        if ids is None:
            with self._lock:
                given = self.given
                if given is None:
                    return
                # A program writes to memory of its own.
                written = set(map(id, given[1]))
                self._ids = ids = written, written.union(*map(owners, given[0]))
        if array.base is None:
            if id(array) in ids[write]:
                self.join()
        elif not ids[write].isdisjoint(owners(array)):
            self.join()

    def after_fork(self) -> None:
        """In a child, which has only the thread that forked."""
        self._lock = threading.RLock()
        self.given = self._ids = None


def owners(array: Any) -> tuple[int, ...]:
    """The ids of an array and of what its memory belongs to."""
    base = array.base
    if base is None:
        return (id(array),)
    return (id(array), *(owners(base) if isinstance(base, np.ndarray) else (id(base),)))


tail = Tail()
