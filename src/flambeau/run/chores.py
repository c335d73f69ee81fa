"""Small native jobs, done one after the other by whoever waits while Python goes on.

A job is asked for and left in a ring (``run/compiler/chores.py``). A thread of the pool that has
nothing else to do takes the next one; ``join`` does what is left. Whoever touches memory that jobs
write joins first: programs before they run, a fork, the generator whose numbers are drawn so.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["chores"]


class Chores:
    """The jobs asked for.

    ``waiting``: whether some may not be done: an attribute, as every program asks. ``threads()`` is
    how many threads there are that might do them.
    """

    __slots__ = ("waiting", "threads", "_lock", "_asked", "_done", "_taken", "_ask", "_join")

    def __init__(self) -> None:
        self.waiting = False
        self.threads: Callable[[], int] = lambda: 1
        # Until there are native functions, nothing is asked for.
        self._join: Callable[[], None] = lambda: None
        # A job that is asked for while another thread has just done all must not go unnoticed.
        self._lock = threading.RLock()
        # How many were asked for, and are done; whether somebody is at one: native code's words.
        self._asked = self._done = self._taken = ctypes.c_int64()

    def prepare(
        self,
        words: tuple[ctypes.c_int64, ctypes.c_int64, ctypes.c_int64],
        ask: Callable[..., int],
        join: Callable[[], None],
        threads: Callable[[], int],
    ) -> None:
        """Takes over the native functions."""
        self._ask, self._join, self.threads = ask, join, threads
        self._asked, self._done, self._taken = words

    def ask(self, keep: object, *words: int) -> None:
        """Leaves a job: a kernel, how many units, and the table it is given.

        ``keep``, what the job reads and writes, lives until it is done.
        """
        while True:
            with self._lock:
                self.waiting = True
                if self._ask(keep, *words):
                    return
            self.join()  # the ring is full

    def join(self) -> None:
        """Returns when all are done, which it helps with."""
        self._join()
        with self._lock:
            self.waiting = self._asked.value != self._done.value

    def after_fork(self) -> None:
        """In a child, which has only the thread that forked."""
        self._lock = threading.RLock()
        # A job that somebody was at is done anew: it changes nothing until its end.
        self._taken.value = 0


chores = Chores()
