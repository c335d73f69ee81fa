"""The BLAS that NumPy is linked with: its symbols, and how many threads it uses.

The library is found through NumPy's own extension module, so it is the one NumPy uses.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["alone", "routine", "set_threads", "symbol", "threads"]

# How builds spell a routine, and their integers.
_SPELLINGS = (
    ("scipy_{}_64_", ctypes.c_int64),
    ("{}_64_", ctypes.c_int64),
    ("scipy_{}_", ctypes.c_int32),
    ("{}_", ctypes.c_int32),
)
# How builds of OpenBLAS spell what is not BLAS.
_OWN = ("scipy_openblas_{}64_", "openblas_{}64_", "scipy_openblas_{}", "openblas_{}")


@cache
def _library() -> ctypes.CDLL | None:
    from numpy.linalg import _umath_linalg

    try:
        return ctypes.CDLL(_umath_linalg.__file__)
    except OSError:
        return None


def symbol(name: str) -> Any:
    """A function of the library's; None where there is none of that name."""
    return getattr(_library(), name, None)


@cache
def routine(name: str) -> tuple[Callable[..., Any], type] | None:
    """A routine of BLAS or LAPACK and the type of its integers; None if it is not to be found."""
    for spelling, integer in _SPELLINGS:
        found = symbol(spelling.format(name))
        if found is not None:
            found.restype = None
            return found, integer
    return None


@cache
def _own(name: str) -> Any:
    for spelling in _OWN:
        found = symbol(spelling.format(name))
        if found is not None:
            return found
    return None


class _Alone:
    """Who asked for one thread a call, and how many there are to be when none does."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asking = 0
        self.before = 1


_alone = _Alone()


def threads() -> int:
    """How many threads BLAS may use; 1 where it does not say.

    >>> threads() >= 1
    True
    """
    found = _own("get_num_threads")
    if found is None:
        return 1
    with _alone.lock:
        return _alone.before if _alone.asking else int(found())


def set_threads(count: int) -> None:
    """Tells BLAS how many threads it may use, where it can be told."""
    told = _own("set_num_threads")
    if told is None:
        return
    with _alone.lock:
        if _alone.asking:
            _alone.before = count
        else:
            told(count)


@contextmanager
def alone() -> Iterator[None]:
    """BLAS keeps to the thread that calls it: there are others that call it, too."""
    told, asked = _own("set_num_threads"), _own("get_num_threads")
    if told is None or asked is None:
        yield
        return
    with _alone.lock:
        if not _alone.asking:
            _alone.before = int(asked())
            told(1)
        _alone.asking += 1
    try:
        yield
    finally:
        with _alone.lock:
            _alone.asking -= 1
            if not _alone.asking:
                told(_alone.before)


def _after_fork() -> None:
    """In a child, where nobody else asks for anything."""
    asking, _alone.asking, _alone.lock = _alone.asking, 0, threading.Lock()
    if asking:
        set_threads(_alone.before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
