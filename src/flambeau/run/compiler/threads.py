"""The pool of threads that share out a kernel's units of work.

Workers are Python threads that stay inside a compiled loop, without the GIL: they watch a counter
for some microseconds, then sleep on it (a futex; elsewhere, short naps). A launch publishes a job
by making the counter odd; whoever is awake takes chunks of it from a second counter; when none is
left the launch makes the first one even again, and waits for the workers that had joined. One that
was asleep meanwhile delays nobody: it counts itself in, sees the even number, and counts itself
out. All of that lives in one block of memory, ``ROOT``, which the compiled code knows by address.

Only one launch at a time has the pool; another thread's runs its kernels alone.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import sys
import threading
import time
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from flambeau.errors import NotSupportedError
from flambeau.run.chores import chores
from flambeau.run.compiler import code
from flambeau.run.compiler.threads_kernels import kernels
from flambeau.run.compiler.threads_memory import (
    FIELDS,
    MAX_THREADS,
    ROOT,
    ROOT_ADDRESS,
    aligned,
    root,
    set_root,
)
from flambeau.run.tail import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "ensure_scratch",
    "get_num_threads",
    "set_num_threads",
]

# How long a worker watches before it sleeps (seconds). To wake it takes its caller some
# microseconds, or 55 on a virtual machine (measured), so it should last from one launch of a
# training loop to the next. After the first moments it lets others run, if any want to; where there
# are more threads than processors it does not go on after them.
WATCH = 1e-3
WATCH_ALONE = 50e-6
# How long it sleeps where there is no futex (seconds).
NAP = 100e-6
FUTEX_NUMBERS = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}


class _Pool:
    """The threads that run, how many are wanted, and the memory lent to each."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted = _default_threads()
        self.threads: list[threading.Thread] = []
        self.scratch: list[np.ndarray] = []
        self.turn = 1.0  # seconds
        self.loaded = False  # whether any native code can be using ROOT


def _default_threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return min(int(asked), MAX_THREADS)
    return min(_processors(), MAX_THREADS)


def _processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_pool = _Pool()


def get_num_threads() -> int:
    """How many threads share out a kernel's work, the caller's included."""
    return _pool.wanted


def set_num_threads(count: int) -> None:
    """Sets how many threads share out a kernel's work, at most ``MAX_THREADS``.

    Raises ``ValueError`` unless ``count`` is positive.
    """
    if count <= 0:
        raise ValueError(f"the number of threads must be positive, not {count}")
    count = min(count, MAX_THREADS)
    with _pool.lock:
        if count == _pool.wanted:
            return
        _stop()
        _pool.wanted = count
        with _exclusive():
            _lend_scratch(root("scratch_bytes"))
        set_root("pending", int(count > 1))


def ensure_scratch(size: int) -> None:
    """Lends every thread at least ``size`` bytes, 64-byte aligned."""
    if size <= root("scratch_bytes"):
        return
    with _pool.lock, _exclusive():
        _lend_scratch(max(size, root("scratch_bytes")))


def _lend_scratch(size: int) -> None:
    _pool.scratch = [aligned(size) for _ in range(_pool.wanted)] if size else []
    for index, memory in enumerate(_pool.scratch):
        ROOT[FIELDS["scratch"] + index] = memory.ctypes.data
    set_root("scratch_bytes", size)


@contextmanager
def _exclusive() -> Iterator[None]:
    """While no launch has the pool."""
    if not _pool.loaded:
        yield
        return
    take = _native()[1]
    held = False
    try:
        while not (held := take(ROOT_ADDRESS)):
            tail.join()
            time.sleep(20e-6)
        yield
    finally:
        if held:
            set_root("lock", 0)


@cache
def _native() -> tuple:
    """The pool's compiled functions, callable."""
    wait, lock, watch, join = code.standing("threads", kernels).wait()
    word = ctypes.c_int64
    return (
        ctypes.CFUNCTYPE(None, word, word)(wait),
        ctypes.CFUNCTYPE(word, word)(lock),
        ctypes.CFUNCTYPE(None, word)(watch),
        partial(ctypes.PYFUNCTYPE(None, word)(join), ROOT_ADDRESS),
        partial(ctypes.CFUNCTYPE(None, word)(join), ROOT_ADDRESS),
    )


def load() -> None:
    """Finds the pool's functions, so that nobody waits for them later."""
    _native()


def join_with(release: bool) -> Callable[[], None]:
    """What joins a tail; ``release``: other Python threads may run meanwhile."""
    return _native()[4 if release else 3]


def prepare() -> None:
    """Fills in what native code reads from ROOT; before the first launch."""
    if _pool.loaded:
        return
    if os.name != "posix":
        raise NotSupportedError(
            "the compiled tier needs a POSIX system; set FLAMBEAU_TIER=interpret"
        )
    with _pool.lock:
        if _pool.loaded:
            return
        _pool.turn = _turn_seconds(_native()[2])
        # Symbols of the running process: libc's.
        libc = ctypes.CDLL(None)
        for name, symbol in (("nanosleep", "nanosleep"), ("yield", "sched_yield")):
            set_root(name, pointer_of(getattr(libc, symbol)))
        if sys.platform == "linux":
            set_root("futex", FUTEX_NUMBERS.get(platform.machine(), 0))
            set_root("syscall", pointer_of(libc.syscall))
        ROOT[FIELDS["nap"] + 1] = int(NAP * 1e9)
        set_root("epoch", 1)
        set_root("begin", id(_begin))
        set_root("pending", int(_pool.wanted > 1))
        _pool.loaded = True


def pointer_of(function: object) -> int:
    """The address of a ctypes function."""
    found = ctypes.cast(function, ctypes.c_void_p).value
    assert found is not None
    return found


def _turn_seconds(watch: object) -> float:
    turns, best = 1000, 1.0
    for _ in range(5):
        begun = time.perf_counter()
        watch(turns)
        best = min(best, (time.perf_counter() - begun) / turns)
    return best


def _begin() -> None:
    """Starts the workers: called by the first launch after a change (or a fork)."""
    with _pool.lock:
        if not root("pending"):
            return
        wait = _native()[0]
        crowded = _pool.wanted > _processors()
        set_root("watch", int((WATCH_ALONE if crowded else WATCH) / _pool.turn))
        set_root("watch_alone", int(WATCH_ALONE / _pool.turn))
        # An interrupt may come at any place: a thread counts before it runs, and the next launch
        # goes on from there.
        while (index := len(_pool.threads) + 1) < _pool.wanted:
            thread = threading.Thread(
                target=wait, args=(ROOT_ADDRESS, index), name=f"flambeau-{index}", daemon=True
            )
            _pool.threads.append(thread)
            try:
                thread.start()
            except RuntimeError:
                _pool.threads.pop()
                break  # the system gives no more, or Python is exiting: fewer do the same work
        set_root("workers", len(_pool.threads))
        set_root("pending", 0)


def _stop() -> None:
    """Ends the workers."""
    if not _pool.threads:
        return
    with _exclusive():
        set_root("workers", 0)
        set_root("stop", 1)
        set_root("generation", root("generation") + 2)
        if root("futex"):
            libc = ctypes.CDLL(None)
            libc.syscall(
                ctypes.c_long(root("futex")), ctypes.c_void_p(ROOT_ADDRESS), 129, MAX_THREADS
            )
        for thread in _pool.threads:
            if thread.ident is not None:
                thread.join()
        _pool.threads = []
        set_root("stop", 0)


def _at_exit() -> None:
    with _pool.lock:
        _stop()
        set_root("pending", 0)


def _after_fork_in_child() -> None:
    """No thread but this one is left: no job is open, no lock held."""
    _pool.lock = threading.Lock()
    _pool.threads = []
    tail.after_fork()
    chores.after_fork()
    for name in ("stop", "sleepers", "active", "workers", "tail"):
        set_root(name, 0)
    set_root("generation", root("generation") & ~1)
    set_root("epoch", root("epoch") + 1)
    set_root("pending", int(_pool.loaded and _pool.wanted > 1))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
