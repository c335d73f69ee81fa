"""LAPACK routines that NumPy is linked with but does not offer, called on stacks of matrices.

Where the symbols are not to be found (NumPy built in another way) ``available`` says so, and
callers do with what NumPy offers. LAPACK goes through columns first: arrays that say so are
transposed.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from flambeau.ir.reference.batches import share, stack
from flambeau.ir.reference.blas import routine

__all__ = [
    "available",
    "cholesky",
    "eigh",
    "integers",
    "inverse",
    "lu",
    "order",
    "orthogonal",
    "reflections",
    "solution",
    "triangular",
]

# Columns or rows that the routines take at a time, at most.
_BLOCK = 64

_LETTERS = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}


@cache
def available(dtype: np.dtype) -> bool:
    """Whether the functions of this file work on this dtype."""
    letter = _LETTERS.get(dtype.name)
    return letter is not None and all(
        routine(letter + name) is not None
        for name in ("getrf", "getri", "getrs", "potrf", "geqrf", "trsm", "laswp")
    )


# Inverses of no more rows are solved for, as PyTorch does: zeros have its signs.
_SMALL = 64


@dataclass(frozen=True)
class _Room:
    """Memory that all calls are given: a routine works in it, or reads a number."""

    memory: np.ndarray


def _each(name: str, dtype: np.dtype, count: int, *given: Any) -> None:
    """Calls a routine for each matrix of a stack.

    An argument is a whole number, a letter, an array of which each call gets its part (along the
    first axis), or room that they share.
    """
    found = routine(_LETTERS[dtype.name] + name)
    if found is None:
        raise RuntimeError(f"NumPy's LAPACK has no {name}")
    function, integer = found
    arguments: list[Any] = []
    moving: list[tuple[Any, int]] = []
    for value in given:
        if isinstance(value, np.ndarray):
            pointer = ctypes.c_void_p(value.ctypes.data)
            moving.append((pointer, value.strides[0]))
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


def _turned(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2)


def _transposed(x: np.ndarray) -> np.ndarray:
    """A copy with rows and columns exchanged: LAPACK reads it as ``x``."""
    return np.array(_turned(x), order="C")


def cholesky(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower triangular L with x = L L^H, and the order of the first bad minor or 0.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 2.0]]))[0]
    array([[2., 0.],
           [1., 1.]])
    """
    n, given = x.shape[-1], stack(x)
    out, info = np.empty(given.shape, x.dtype), integers((len(given),), x.dtype)
    lower = np.tri(n, dtype=bool)

    def part(begin: int, end: int) -> None:
        # What lies below by rows is above by columns, and its conjugate's factor the transposed
        # one.
        out[begin:end] = np.where(lower, given[begin:end], x.dtype.type(0))
        _each("potrf", x.dtype, end - begin, b"U", n, out[begin:end], n, info[begin:end])

    if out.size:
        share(len(given), part, n**3 / 3)
    return out.reshape(x.shape), info.reshape(x.shape[:-2])


def lu(x: np.ndarray, *, rows: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """L and U in one matrix, row swaps from 1, first zero pivot or 0.

    The matrix is columns first (transposed), unless ``rows``.

    >>> lu(np.array([[1.0, 2.0], [3.0, 4.0]]), rows=True)[0].round(4)
    array([[3.    , 4.    ],
           [0.3333, 0.6667]])
    """
    n, m = x.shape[-2:]
    lead, k, given = x.shape[:-2], min(x.shape[-2:]), stack(x)
    count = len(given)
    out = np.empty((count, n, m) if rows else (count, m, n), x.dtype)
    pivots, info = integers((count, k), x.dtype), integers((count,), x.dtype)

    def part(begin: int, end: int) -> None:
        if rows:
            whole = _transposed(given[begin:end])
        else:
            whole = out[begin:end]
            whole[...] = _turned(given[begin:end])
        numbers = pivots[begin:end], info[begin:end]
        _each("getrf", x.dtype, end - begin, n, m, whole, n, *numbers)
        if rows:
            out[begin:end] = _turned(whole)

    if out.size:
        share(count, part, k * k * (max(n, m) - k / 3))
    return out.reshape(*lead, *out.shape[1:]), pivots.reshape(*lead, k), info.reshape(lead)


def order(pivots: np.ndarray, n: int) -> np.ndarray:
    """The order of ``n`` rows that the swaps make that ``lu`` gave: nobody else's are safe.

    >>> order(lu(np.array([[1.0, 2.0], [3.0, 4.0]]))[1], 2)
    array([1, 0])
    """
    k, double = pivots.shape[-1], np.dtype(np.float64)
    count = pivots.size // k if k else 0
    rows = np.tile(np.arange(n, dtype=double), (*pivots.shape[:-1], 1))
    if count:
        flat = rows.reshape(count, n), n, 1, k, pivots.reshape(count, k), 1
        _each("laswp", double, count, 1, *flat)
    return rows.astype(np.int64)


def inverse(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Inverses of square matrices (nothing in particular where there is none), the diagonals of
    the U that they come from, row swaps from 1, first zero pivot or 0.

    >>> inverse(np.array([[1.0, 2.0], [3.0, 4.0]]))[0].round(4)
    array([[-2. ,  1. ],
           [ 1.5, -0.5]])
    """
    n, lead, given = x.shape[-1], x.shape[:-2], stack(x)
    count = len(given)
    out, diagonals = np.empty(given.shape, x.dtype), np.empty((count, n), x.dtype)
    pivots, info = integers((count, n), x.dtype), integers((count,), x.dtype)

    def part(begin: int, end: int) -> None:
        whole, swaps = _transposed(given[begin:end]), pivots[begin:end]
        _each("getrf", x.dtype, end - begin, n, n, whole, n, swaps, info[begin:end])
        diagonals[begin:end] = np.diagonal(whole, axis1=-2, axis2=-1)
        again = integers((end - begin,), x.dtype)
        if n <= _SMALL:
            ones = np.broadcast_to(np.eye(n, dtype=x.dtype), whole.shape).copy()
            _each("getrs", x.dtype, end - begin, b"N", n, n, whole, n, swaps, ones, n, again)
            out[begin:end] = _turned(ones)
            return
        size = _BLOCK * n
        room = _Room(np.empty(size, x.dtype))
        _each("getri", x.dtype, end - begin, n, whole, n, swaps, room, size, again)
        # It leaves zeros of either sign where solving leaves 0.
        np.add(_turned(whole), 0.0, out=out[begin:end])

    if out.size:
        share(count, part, 2 * n**3)
    numbers = diagonals.reshape(*lead, n), pivots.reshape(*lead, n), info.reshape(lead)
    return out.reshape(x.shape), *numbers


def solution(factors: np.ndarray, pivots: np.ndarray, b: np.ndarray) -> np.ndarray:
    """X with A X = b from what ``lu`` gave of A, columns first; leading dimensions broadcast."""
    (n, k), lead = b.shape[-2:], b.shape[:-2]
    given = stack(b)
    # Each matrix and its swaps, in memory side by side.
    lu = stack(np.broadcast_to(factors, (*lead, n, n)))
    swaps = np.broadcast_to(pivots, (*lead, n)).reshape(len(given), n)
    out = np.empty(given.shape, b.dtype)

    def part(begin: int, end: int) -> None:
        whole, info = _transposed(given[begin:end]), integers((end - begin,), b.dtype)
        these = lu[begin:end], n, swaps[begin:end]
        _each("getrs", b.dtype, end - begin, b"N", n, k, *these, whole, n, info)
        out[begin:end] = _turned(whole)

    if out.size:
        share(len(given), part, 2 * n * n * k)
    return out.reshape(b.shape)


def triangular(
    a: np.ndarray, b: np.ndarray, *, upper: bool, unit: bool = False, adjoint: bool = False
) -> np.ndarray:
    """X with a X = b, or a^H X = b, of which one triangle of ``a`` is read.

    Leading dimensions of ``a`` broadcast to those of ``b``.

    >>> a, b = np.array([[2.0, 9.0], [2.0, 1.0]]), np.array([[2.0], [3.0]])
    >>> triangular(a, b, upper=False)
    array([[1.],
           [1.]])
    """
    (n, k), given = b.shape[-2:], stack(b)
    factors = stack(np.broadcast_to(np.ascontiguousarray(a), (*b.shape[:-2], n, n)))
    out = np.empty(given.shape, b.dtype)
    one = _Room(np.ones(1, b.dtype))
    # By columns memory holds all transposed: X^T a^T = b^T.
    side = b"R", b"L" if upper else b"U", b"C" if adjoint else b"N", b"U" if unit else b"N"

    def part(begin: int, end: int) -> None:
        out[begin:end] = given[begin:end]
        these = factors[begin:end], n, out[begin:end], k
        _each("trsm", b.dtype, end - begin, *side, k, n, one, *these)

    if out.size:
        share(len(given), part, n * n * k)
    return out.reshape(b.shape)


def reflections(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Householder vectors below R, columns first, and their scales."""
    n, m = x.shape[-2:]
    lead, given = x.shape[:-2], stack(x)
    out, tau = np.empty((len(given), m, n), x.dtype), np.zeros((len(given), min(n, m)), x.dtype)

    def part(begin: int, end: int) -> None:
        out[begin:end] = _turned(given[begin:end])
        info, size = integers((end - begin,), x.dtype), _BLOCK * m
        room = _Room(np.empty(size, x.dtype))
        these = out[begin:end], n, tau[begin:end]
        _each("geqrf", x.dtype, end - begin, n, m, *these, room, size, info)

    if out.size:
        share(len(given), part, 2 * n * m * min(n, m), panels=True)
    return out.reshape(*lead, m, n), tau.reshape(*lead, min(n, m))


def orthogonal(vectors: np.ndarray, tau: np.ndarray, columns: int) -> np.ndarray:
    """The first columns of Q from what ``reflections`` gave."""
    n, k = vectors.shape[-1], tau.shape[-1]
    lead, given = vectors.shape[:-2], stack(vectors)
    scales = tau.reshape(len(given), k)
    out = np.empty((len(given), n, columns), vectors.dtype)
    name = "ungqr" if vectors.dtype.kind == "c" else "orgqr"

    def part(begin: int, end: int) -> None:
        whole = np.zeros((end - begin, columns, n), vectors.dtype)
        whole[:, :k, :] = given[begin:end, :k, :]
        info, size = integers((end - begin,), vectors.dtype), _BLOCK * columns
        room = _Room(np.empty(size, vectors.dtype))
        these = whole, n, scales[begin:end]
        _each(name, vectors.dtype, end - begin, n, columns, k, *these, room, size, info)
        out[begin:end] = _turned(whole)

    if out.size:
        share(len(given), part, 2 * n * columns * k, panels=True)
    return out.reshape(*lead, n, columns)


def eigh(x: np.ndarray, upper: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending eigenvalues of Hermitian matrices, eigenvectors, nonzero where it fails."""
    n, lead, given = x.shape[-1], x.shape[:-2], stack(x)
    count, whole = len(given), x.dtype.kind == "c"
    out, values = np.empty(given.shape, x.dtype), np.zeros((count, n), x.real.dtype)
    info = integers((count,), x.dtype)
    more = 1 + 5 * n + 2 * n * n
    size = n * (n + 2 + _BLOCK) if whole else more + (1 + _BLOCK) * n
    name = "heevd" if whole else "syevd"
    side = b"U" if upper else b"L"

    def part(begin: int, end: int) -> None:
        vectors = _transposed(given[begin:end])
        numbers = integers((3 + 5 * n,), x.dtype)
        rooms: list[Any] = [_Room(np.empty(size, x.dtype)), size]
        if whole:
            rooms += [_Room(np.empty(more, x.real.dtype)), more]
        rooms += [_Room(numbers), len(numbers)]
        these = vectors, n, values[begin:end], *rooms, info[begin:end]
        _each(name, x.dtype, end - begin, b"V", side, n, *these)
        out[begin:end] = _turned(vectors)

    if out.size:
        share(count, part, 9 * n**3)
    return values.reshape(*lead, n), out.reshape(x.shape), info.reshape(lead)
