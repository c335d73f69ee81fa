"""Threads and processes: what recording does when a process forks."""

from __future__ import annotations

import os
import weakref

from flambeau.record import flush
from flambeau.record.trace import LOCK, cells, open_
from flambeau.run.chores import chores
from flambeau.run.tail import tail


def _before_fork() -> None:
    """The child gets values, not a half-recorded trace of its parent's."""
    LOCK.acquire()
    tr = open_.trace
    if not tr.closed and tr.builder is None:
        try:
            flush.flush(tr)
        except Exception:
            # The error belongs to whoever reads the value, not to the fork.
            pass
    tail.join()
    chores.join()


def _after_in_child() -> None:
    cells[:] = [weakref.ref(open_.cell, cells.remove)]
    LOCK.release()


def install() -> None:
    """Registers the handlers, where the system can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork, after_in_parent=LOCK.release, after_in_child=_after_in_child
        )
