"""LAPACK routines that NumPy is linked with but does not offer, called on stacks of matrices.

The library is found through NumPy's own extension module, so it is the one NumPy uses; where its
symbols are not to be found (NumPy built in another way), ``routine`` gives None, and callers do
with what NumPy offers. LAPACK goes through columns first: arrays here are transposed.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "available",
    "cholesky",
    "eigh",
    "integers",
    "lu",
    "orthogonal",
    "reflections",
    "routine",
    "solution",
]

# Columns or rows that the routines take at a time, at most.
_BLOCK = 64

_LETTERS = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}
# How builds of LAPACK spell a routine, and their integers.
_SPELLINGS = (
    ("scipy_{}_64_", ctypes.c_int64),
    ("{}_64_", ctypes.c_int64),
    ("scipy_{}_", ctypes.c_int32),
    ("{}_", ctypes.c_int32),
)


@cache
def _library() -> ctypes.CDLL | None:
    from numpy.linalg import _umath_linalg

    try:
        return ctypes.CDLL(_umath_linalg.__file__)
    except OSError:
        return None


@cache
def routine(name: str) -> tuple[Callable[..., Any], type] | None:
    """A routine of LAPACK's and the type of its integers; None where it is not to be found."""
    library = _library()
    for spelling, integer in _SPELLINGS:
        found = getattr(library, spelling.format(name), None)
        if found is not None:
            found.restype = None
            return found, integer
    return None


@cache
def available(dtype: np.dtype) -> bool:
    """Whether the functions of this file work on this dtype."""
    letter = _LETTERS.get(dtype.name)
    return letter is not None and all(
        routine(letter + name) is not None for name in ("getrf", "getrs", "potrf", "geqrf")
    )


@dataclass(frozen=True)
class _Room:
    """Memory that a routine works in."""

    memory: np.ndarray


def _each(name: str, x: np.ndarray, count: int, *given: Any) -> None:
    """Calls a routine for each matrix of a stack.

    An argument is a whole number, a letter, an array of which each call gets its part, or room
    that they share.
    """
    found = routine(_LETTERS[x.dtype.name] + name)
    if found is None:
        raise RuntimeError(f"NumPy's LAPACK has no {name}")
    function, integer = found
    arguments: list[Any] = []
    moving: list[tuple[Any, int]] = []
    for value in given:
        if isinstance(value, np.ndarray):
            pointer = ctypes.c_void_p(value.ctypes.data)
            moving.append((pointer, value.nbytes // count))
            arguments.append(pointer)
        elif isinstance(value, _Room):
            arguments.append(ctypes.c_void_p(value.memory.ctypes.data))
        elif isinstance(value, int):
            arguments.append(ctypes.byref(integer(value)))
        else:
            arguments.append(ctypes.c_char_p(value))
    for _ in range(count):
        function(*arguments)
        for pointer, step in moving:
            pointer.value += step


def integers(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Room for the whole numbers that the routines of this dtype give."""
    found = routine(_LETTERS[dtype.name] + "getrf")
    return np.zeros(shape, np.int32 if found is None or found[1] is ctypes.c_int32 else np.int64)


def _transposed(x: np.ndarray) -> np.ndarray:
    """A copy with rows and columns exchanged: LAPACK reads it as ``x``."""
    return np.array(np.swapaxes(x, -1, -2), order="C")


def cholesky(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower triangular L with x = L L^H, and the order of the first bad minor or 0.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 2.0]]))[0]
    array([[2., 0.],
           [1., 1.]])
    """
    n, lead = x.shape[-1], x.shape[:-2]
    # What lies below by rows is above by columns, and its conjugate's factor the transposed one.
    out, info = np.tril(x), integers(lead, x.dtype)
    if out.size:
        _each("potrf", x, math.prod(lead), b"U", n, out, n, info)
    return out, info


def lu(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """L and U in one matrix, columns first (transposed), row swaps from 1, first zero pivot or 0.

    >>> lu(np.array([[1.0, 2.0], [3.0, 4.0]]))[0].T.round(4)
    array([[3.    , 4.    ],
           [0.3333, 0.6667]])
    """
    n, m = x.shape[-2:]
    lead, k = x.shape[:-2], min(x.shape[-2:])
    out = _transposed(x)
    pivots, info = integers((*lead, k), x.dtype), integers(lead, x.dtype)
    if out.size:
        _each("getrf", x, math.prod(lead), n, m, out, n, pivots, info)
    return out, pivots, info


def solution(factors: np.ndarray, pivots: np.ndarray, b: np.ndarray) -> np.ndarray:
    """X with A X = b from what ``lu`` gave of A."""
    n, k = b.shape[-2:]
    out, info = _transposed(b), integers(b.shape[:-2], b.dtype)
    if out.size:
        count = math.prod(b.shape[:-2])
        _each("getrs", b, count, b"N", n, k, factors, n, pivots, out, n, info)
    return _transposed(out)


def reflections(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Householder vectors below R, columns first, and their scales."""
    n, m = x.shape[-2:]
    lead = x.shape[:-2]
    out, tau = _transposed(x), np.zeros((*lead, min(n, m)), x.dtype)
    if out.size:
        info, size = integers(lead, x.dtype), _BLOCK * m
        room = _Room(np.empty(size, x.dtype))
        _each("geqrf", x, math.prod(lead), n, m, out, n, tau, room, size, info)
    return out, tau


def orthogonal(vectors: np.ndarray, tau: np.ndarray, columns: int) -> np.ndarray:
    """The first columns of Q, columns first, from what ``reflections`` gave."""
    n, k = vectors.shape[-1], tau.shape[-1]
    lead = vectors.shape[:-2]
    out = np.zeros((*lead, columns, n), vectors.dtype)
    out[..., :k, :] = vectors[..., :k, :]
    if out.size:
        info, size = integers(lead, vectors.dtype), _BLOCK * columns
        room = _Room(np.empty(size, vectors.dtype))
        name = "ungqr" if vectors.dtype.kind == "c" else "orgqr"
        _each(name, vectors, math.prod(lead), n, columns, k, out, n, tau, room, size, info)
    return out


def eigh(x: np.ndarray, upper: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending eigenvalues of Hermitian matrices, eigenvectors as rows, nonzero where it fails."""
    n, lead = x.shape[-1], x.shape[:-2]
    out, values = _transposed(x), np.zeros((*lead, n), x.real.dtype)
    info = integers(lead, x.dtype)
    if not out.size:
        return values, out, info
    whole = integers((3 + 5 * n,), x.dtype)
    more = 1 + 5 * n + 2 * n * n
    size = n * (n + 2 + _BLOCK) if x.dtype.kind == "c" else more + (1 + _BLOCK) * n
    rooms: list[Any] = [_Room(np.empty(size, x.dtype)), size]
    if x.dtype.kind == "c":
        rooms += [_Room(np.empty(more, x.real.dtype)), more]
    rooms += [_Room(whole), len(whole)]
    name = "heevd" if x.dtype.kind == "c" else "syevd"
    side = b"U" if upper else b"L"
    _each(name, x, math.prod(lead), b"V", side, n, out, n, values, *rooms, info)
    return values, out, info
