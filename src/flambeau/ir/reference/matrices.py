"""Factors, inverses, solutions of stacks of matrices: by LAPACK, else written out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ir.reference import lapack
from flambeau.ir.reference.batches import together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Pair = tuple[np.ndarray, np.ndarray]

# Columns that a blocked algorithm takes at a time.
_BLOCK = 64
# The same where many matrices are gone through together.
_NARROW = 16


def _h(x: np.ndarray) -> np.ndarray:
    return np.conj(np.swapaxes(x, -1, -2))


def _each(x: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """The matrices of a stack, with where they stand."""
    for at in np.ndindex(x.shape[:-2]):
        yield at, x[at]


def _no_info(x: np.ndarray) -> np.ndarray:
    return np.zeros(x.shape[:-2], np.int32)


def cholesky(x: np.ndarray, *, upper: bool = False) -> Pair:
    """L with ``x = L L^H`` (or its conjugate transpose), and the order of the first minor that is
    not positive, 0 where all are.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 2.0]]))[0]
    array([[2., 0.],
           [1., 1.]])
    """
    if upper:
        x = _h(x)
    info = _no_info(x)
    failed = info != 0
    if x.size and lapack.available(x.dtype):
        low, first = lapack.cholesky(x)
        failed = first != 0
    else:
        try:
            low = np.linalg.cholesky(x)
        except np.linalg.LinAlgError:
            low, failed = np.empty_like(x), ~failed
    # Not every LAPACK refuses NaN.
    failed = failed | np.isnan(np.diagonal(low, axis1=-2, axis2=-1)).any(-1)
    for at in np.argwhere(failed):
        where = tuple(at)
        low[where], info[where] = _cholesky_until(x[where])
    return (np.ascontiguousarray(_h(low)) if upper else low), info


def _cholesky_until(a: np.ndarray) -> tuple[np.ndarray, int]:
    """As far as it goes, and the order of the minor it stops at."""
    low = np.tril(a)
    for k in range(len(a)):
        d = (low[k, k] - low[k, :k] @ np.conj(low[k, :k])).real
        if not d > 0:
            low[k, k] = d
            return low, k + 1
        low[k, k] = np.sqrt(d)
        low[k + 1 :, k] = (low[k + 1 :, k] - low[k + 1 :, :k] @ np.conj(low[k, :k])) / low[k, k]
    return low, 0


def _singular_at(a: np.ndarray) -> int:
    """The first zero pivot of a matrix (from 1); 0 if there is none."""
    return int(lu(a)[3])


def inv(x: np.ndarray) -> Pair:
    """The inverse, and the first zero pivot (from 1) of those that have none, else 0."""
    info = _no_info(x)
    if not x.size:
        return x.copy(), info
    if lapack.available(x.dtype):
        found, *_, first = lapack.inverse(x)
        info[...] = first
        found[info != 0] = np.inf
        return found, info
    try:
        return np.linalg.inv(x), info
    except np.linalg.LinAlgError:
        out = np.empty_like(x)
        for at, a in _each(x):
            try:
                out[at] = np.linalg.inv(a)
            except np.linalg.LinAlgError:
                out[at], info[at] = np.inf, _singular_at(a) or len(a)
        return out, info


def solve(a: np.ndarray, b: np.ndarray) -> Pair:
    """X with ``a X = b``, and the first zero pivot (from 1) of singular matrices, else 0."""
    info = _no_info(a)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if not a.size or not b.size:
        return np.zeros((*lead, *b.shape[-2:]), b.dtype), info
    b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
    if lapack.available(b.dtype) and a.dtype == b.dtype:
        factors, pivots, first = lapack.lu(a)
        info[...] = first
        out = lapack.solution(factors, pivots, b)
        out[np.broadcast_to(info, lead) != 0] = np.inf
        return out, info
    try:
        return np.linalg.solve(a, b), info
    except np.linalg.LinAlgError:
        for at, m in _each(a):
            try:
                np.linalg.inv(m)
            except np.linalg.LinAlgError:
                info[at] = _singular_at(m) or len(m)
        out = np.empty(b.shape, b.dtype)
        wide = np.broadcast_to(a, (*lead, *a.shape[-2:]))
        bad = np.broadcast_to(info, lead)
        for at, m in _each(wide):
            out[at] = np.inf if bad[at] else np.linalg.solve(m, b[at])
        return out, info


def solve_triangular(
    a: np.ndarray, b: np.ndarray, *, upper: bool, unit: bool = False
) -> np.ndarray:
    """X with ``a X = b`` from one triangle of ``a`` (its diagonal taken as 1 if ``unit``).

    Zeros on the diagonal give infinities, as they do in BLAS.
    """
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
    if lapack.available(b.dtype) and a.dtype == b.dtype:
        return lapack.triangular(a, b, upper=upper, unit=unit)
    out = np.array(b, order="C")
    if out.size:
        (_back if upper else _forward)(a, out, unit)
    return out


def cholesky_solve(b: np.ndarray, low: np.ndarray, *, upper: bool) -> np.ndarray:
    """X with ``L L^H X = b``, or ``U^H U X = b``."""
    if lapack.available(b.dtype) and low.dtype == b.dtype:
        lead = np.broadcast_shapes(low.shape[:-2], b.shape[:-2])
        b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
        for adjoint in (upper, not upper):
            b = lapack.triangular(low, b, upper=upper, adjoint=adjoint)
        return b
    if upper:
        low = _h(low)
    return solve_triangular(_h(low), solve_triangular(low, b, upper=False), upper=True)


def _forward(a: np.ndarray, x: np.ndarray, unit: bool) -> None:
    n = a.shape[-1]
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        for i in range(start, stop):
            if i > start:
                x[..., i, :] -= (a[..., i : i + 1, start:i] @ x[..., start:i, :])[..., 0, :]
            if not unit:
                x[..., i, :] /= a[..., i, i, None]
        if stop < n:
            x[..., stop:, :] -= a[..., stop:, start:stop] @ x[..., start:stop, :]


def _back(a: np.ndarray, x: np.ndarray, unit: bool) -> None:
    n = a.shape[-1]
    for stop in range(n, 0, -_BLOCK):
        start = max(stop - _BLOCK, 0)
        for i in range(stop - 1, start - 1, -1):
            if i + 1 < stop:
                x[..., i, :] -= (a[..., i : i + 1, i + 1 : stop] @ x[..., i + 1 : stop, :])[
                    ..., 0, :
                ]
            if not unit:
                x[..., i, :] /= a[..., i, i, None]
        if start:
            x[..., :start, :] -= a[..., :start, start:stop] @ x[..., start:stop, :]


def det(x: np.ndarray) -> np.ndarray:
    """Determinants."""
    if x.size and lapack.available(x.dtype):
        # Of the transposed one, which is no copy turned over.
        factors, pivots, _ = lapack.lu(np.swapaxes(x, -1, -2))
        return _det_of_factors(np.diagonal(factors, axis1=-2, axis2=-1), pivots)
    return np.asarray(np.linalg.det(x)).astype(x.dtype)


def _det_of_factors(diagonal: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    """The product of U's diagonal, its sign changed by each swap."""
    return np.asarray(diagonal.prod(-1) * _parity(pivots).astype(diagonal.dtype))


def _parity(pivots: np.ndarray) -> np.ndarray:
    swaps = (pivots != np.arange(1, pivots.shape[-1] + 1)).sum(-1)
    return np.where(swaps % 2, -1, 1)


def _det_and_inverse(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Determinants, and inverses of those that have one: what others get is not finite."""
    if lapack.available(x.dtype):
        inverse, diagonal, pivots, first = lapack.inverse(x)
        inverse[first != 0] = np.nan
        return _det_of_factors(diagonal, pivots), inverse
    return np.asarray(np.linalg.det(x)), inv(x)[0]


def cofactor(x: np.ndarray) -> np.ndarray:
    """Cofactors, through the SVD, which holds for singular matrices too.

    >>> cofactor(np.array([[1.0, 2.0], [3.0, 4.0]])).round(6)
    array([[ 4., -3.],
           [-2.,  1.]])
    """
    if not x.size:
        return x.copy()
    return together(lambda part: (_cofactor(part),), x, 2 * x.shape[-1] ** 3)[0]


def _cofactor(x: np.ndarray) -> np.ndarray:
    # Those that are far from singular: the determinant times the inverse, transposed.
    with np.errstate(all="ignore"):
        size, inverse = _det_and_inverse(x)
        condition = _norm(x) * _norm(inverse)
        found = size[..., None, None] * np.swapaxes(inverse, -1, -2)
    singular = ~(condition < _WELL_CONDITIONED) | (size == 0)
    if singular.any():
        finite = np.isfinite(x).all((-2, -1))
        # NumPy refuses others' singular values.
        found[~finite] = np.nan
        singular &= finite
        found[singular] = _singular_cofactor(x[singular])
    return found.astype(x.dtype, order="C", copy=False)


# The condition up to which an inverse is as good as the singular values' way.
_WELL_CONDITIONED = 1e3


def _norm(x: np.ndarray) -> np.ndarray:
    return np.abs(x).sum(-2).max(-1)


def _singular_cofactor(x: np.ndarray) -> np.ndarray:
    u, s, vh = np.linalg.svd(x)
    # Products of all the other singular values.
    ones = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
    phase = (np.linalg.det(u) * np.linalg.det(vh))[..., None, None]
    # adj(x) = det(u) det(vh) v diag(others) u^H, and the cofactors are its transpose.
    found = np.conj(u) * (before * after)[..., None, :] @ np.conj(vh)
    return (phase * found).astype(x.dtype)


def slogdet(x: np.ndarray) -> Pair:
    """Signs of determinants, and logarithms of their sizes."""
    if x.size and lapack.available(x.dtype):
        factors, pivots, _ = lapack.lu(np.swapaxes(x, -1, -2))
        diagonal = np.diagonal(factors, axis1=-2, axis2=-1)
        length = np.abs(diagonal)
        with np.errstate(all="ignore"):
            # As PyTorch has it: a real NaN has no sign, a complex one no phase.
            none = length == 0 if x.dtype.kind == "c" else ~(length > 0)
            phases = np.where(none, 0, diagonal / np.where(none, 1, length))
            sign = phases.prod(-1) * _parity(pivots)
            return sign.astype(x.dtype), np.asarray(np.log(length).sum(-1))
    sign, size = np.linalg.slogdet(x)
    return np.asarray(sign).astype(x.dtype), np.asarray(size).astype(x.real.dtype)


def lu(x: np.ndarray, *, pivot: bool = True) -> tuple[np.ndarray, ...]:
    """L and U in one matrix, row swaps (from 1), the order of rows they make, first zero pivot.

    >>> lu(np.array([[1.0, 2.0], [3.0, 4.0]]))[0].round(4)
    array([[3.    , 4.    ],
           [0.3333, 0.6667]])
    """
    n, m = x.shape[-2:]
    k = min(n, m)
    if pivot and x.size and lapack.available(x.dtype):
        factors, swaps, first = lapack.lu(x, rows=True)
        return factors, swaps.astype(np.int32), lapack.order(swaps, n), first.astype(np.int32)
    out = np.array(x, order="C")
    pivots = np.empty((*x.shape[:-2], k), np.int32)
    order = np.empty((*x.shape[:-2], n), np.int64)
    info = _no_info(x)
    count = math.prod(x.shape[:-2])
    if count > 1 and k:
        found = _lu_many(out.reshape(count, n, m), k, pivot)
        for whole, part in zip((pivots, order, info), found, strict=True):
            whole[...] = part.reshape(whole.shape)
        return out, pivots, order, info
    for at, a in _each(out):
        pivots[at], order[at], info[at] = _lu(a, k, pivot)
    return out, pivots, order, info


def _lu_many(a: np.ndarray, k: int, pivot: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``_lu`` of several matrices, step by step together."""
    count, n, m = a.shape
    each = np.arange(count)
    swaps = np.tile(np.arange(1, k + 1, dtype=np.int32), (count, 1))
    order = np.tile(np.arange(n), (count, 1))
    first = np.zeros(count, np.int32)
    for start in range(0, k, _NARROW):
        stop = min(start + _NARROW, k)
        for j in range(start, stop):
            if pivot:
                p = j + np.argmax(_size(a[:, j:, j]), axis=1)
                for rows in (a, order):
                    rows[each, p], rows[:, j] = rows[:, j].copy(), rows[each, p]
                swaps[:, j] = p + 1
            corner = a[:, j, j].copy()
            zero = corner == 0
            if zero.any():
                first[zero & (first == 0)] = j + 1
                if pivot:
                    # All below is zero, too.
                    corner[zero] = 1
            a[:, j + 1 :, j] /= corner[:, None]
            a[:, j + 1 :, j + 1 : stop] -= a[:, j + 1 :, j, None] * a[:, j, None, j + 1 : stop]
        if stop < m:
            _forward(a[:, start:stop, start:stop], a[:, start:stop, stop:], True)
            a[:, stop:, stop:] -= a[:, stop:, start:stop] @ a[:, start:stop, stop:]
    return swaps, order, first


def _size(x: np.ndarray) -> np.ndarray:
    """What BLAS compares: the absolute value; of complex numbers the sum of the parts'."""
    return np.abs(x.real) + np.abs(x.imag) if x.dtype.kind == "c" else np.abs(x)


def _lu(a: np.ndarray, k: int, pivot: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Right-looking, by blocks of columns [Golub and Van Loan, 3.4]; ``a`` is overwritten."""
    n = len(a)
    swaps, order, first = np.arange(1, k + 1, dtype=np.int32), np.arange(n), 0
    for start in range(0, k, _BLOCK):
        stop = min(start + _BLOCK, k)
        for j in range(start, stop):
            if pivot:
                p = j + int(np.argmax(_size(a[j:, j])))
                if p != j:
                    a[[j, p]] = a[[p, j]]
                    order[[j, p]] = order[[p, j]]
                swaps[j] = p + 1
            if a[j, j] == 0:
                first = first or j + 1
                if pivot:
                    continue
            a[j + 1 :, j] /= a[j, j]
            a[j + 1 :, j + 1 : stop] -= np.outer(a[j + 1 :, j], a[j, j + 1 : stop])
        if stop < a.shape[1]:
            _forward(a[start:stop, start:stop], a[start:stop, stop:], True)
            a[stop:, stop:] -= a[stop:, start:stop] @ a[start:stop, stop:]
    return swaps, order, first


def pivots_to_order(pivots: np.ndarray, *, n: int) -> np.ndarray:
    """The order of ``n`` rows that swaps (from 1) make.

    >>> pivots_to_order(np.array([2, 2]), n=3)
    array([1, 0, 2])
    """
    count = math.prod(pivots.shape[:-1])
    if count == 1:
        row = list(range(n))
        for i, p in enumerate(pivots.reshape(-1).tolist()):
            row[i], row[p - 1] = row[p - 1], row[i]
        return np.array(row, np.int64).reshape(*pivots.shape[:-1], n)
    out = np.tile(np.arange(n), (count, 1))
    each = np.arange(count)
    for i, p in enumerate(pivots.reshape(count, pivots.shape[-1]).T.astype(np.int64) - 1):
        out[each, p], out[:, i] = out[:, i].copy(), out[each, p]
    return out.reshape(*pivots.shape[:-1], n)


# The threshold of Bunch and Kaufman 1977: it bounds the growth of elements.
_GROWTH = (1 + 17**0.5) / 8


def ldl(x: np.ndarray, *, hermitian: bool) -> tuple[np.ndarray, ...]:
    """Lower Bunch-Kaufman decomposition in one matrix, pivots in LAPACK's code, first zero of D.

    A positive pivot p at k: rows k and p were swapped; the same negative one at k and k + 1: a
    2 x 2 block there, rows k + 1 and -p swapped.
    """
    out = np.tril(x)
    pivots = np.empty(x.shape[:-1], np.int32)
    info = _no_info(x)
    for at, a in _each(out):
        info[at] = _ldl(a, pivots[at], hermitian)
    return out, pivots, info


def _ldl(a: np.ndarray, pivots: np.ndarray, hermitian: bool) -> int:
    n, k, first = len(a), 0, 0
    star: Callable = np.conj if hermitian else lambda v: v
    while k < n:
        if hermitian:
            a[k, k] = a[k, k].real
        size = _size(a[k, k])
        below = _size(a[k + 1 :, k])
        p, step = k, 1
        largest = below.max() if below.size else 0
        if max(size, largest) == 0:
            first = first or k + 1
            pivots[k] = k + 1
            k += 1
            continue
        if size < _GROWTH * largest:
            r = k + 1 + int(below.argmax())
            row = np.concatenate([_size(a[r, k:r]), _size(a[r + 1 :, r])])
            other = row.max()
            if size >= _GROWTH * largest * (largest / other):
                p = k
            elif _size(a[r, r]) >= _GROWTH * other:
                p = r
            else:
                p, step = r, 2
        at = k + step - 1
        if p != at:
            _swap_symmetric(a, at, p, k, star)
        if step == 1:
            d = a[k, k]
            v = a[k + 1 :, k].copy()
            a[k + 1 :, k] = v / d
            a[k + 1 :, k + 1 :] -= np.tril(np.outer(v / d, star(v)))
            pivots[k] = p + 1
        else:
            block = np.array([[a[k, k], star(a[k + 1, k])], [a[k + 1, k], a[k + 1, k + 1]]])
            v = a[k + 2 :, k : k + 2].copy()
            w = np.linalg.solve(block.T, v.T).T
            a[k + 2 :, k : k + 2] = w
            a[k + 2 :, k + 2 :] -= np.tril(w @ star(v).T)
            pivots[k] = pivots[k + 1] = -(p + 1)
        k += step
    return first


def _swap_symmetric(a: np.ndarray, i: int, p: int, k: int, star: Callable) -> None:
    """Rows and columns i < p of a symmetric matrix swapped, of which the lower triangle is kept.

    Columns before ``k`` hold the finished part of L, which LAPACK leaves alone.
    """
    a[p + 1 :, [i, p]] = a[p + 1 :, [p, i]]
    between = a[i + 1 : p, i].copy()
    a[i + 1 : p, i] = star(a[p, i + 1 : p])
    a[p, i + 1 : p] = star(between)
    a[p, i] = star(a[p, i])
    a[i, i], a[p, p] = a[p, p], a[i, i]
    a[[i, p], k:i] = a[[p, i], k:i]


def ldl_solve(ld: np.ndarray, pivots: np.ndarray, b: np.ndarray, *, hermitian: bool) -> np.ndarray:
    """X with ``A X = b`` from ``ldl`` of A."""
    lead = np.broadcast_shapes(ld.shape[:-2], b.shape[:-2])
    out = np.array(np.broadcast_to(b, (*lead, *b.shape[-2:])), order="C")
    ld = np.broadcast_to(ld, (*lead, *ld.shape[-2:]))
    pivots = np.broadcast_to(pivots, (*lead, pivots.shape[-1]))
    for at, x in _each(out):
        _ldl_solve(ld[at], pivots[at], x, hermitian)
    return out


def _ldl_solve(ld: np.ndarray, pivots: np.ndarray, x: np.ndarray, hermitian: bool) -> None:
    star: Callable = np.conj if hermitian else lambda v: v
    n, k = len(ld), 0
    steps = []
    while k < n:
        step = 1 if pivots[k] > 0 else 2
        at, p = k + step - 1, abs(int(pivots[k])) - 1
        if p != at:
            x[[at, p]] = x[[p, at]]
        after = k + step
        x[after:] -= ld[after:, k:after] @ x[k:after]
        if step == 1:
            x[k] /= ld[k, k]
        else:
            off = ld[k + 1, k]
            block = np.array([[ld[k, k], star(off)], [off, ld[k + 1, k + 1]]])
            x[k:after] = np.linalg.solve(block, x[k:after])
        steps.append((k, at, p, after))
        k = after
    for k, at, p, after in reversed(steps):
        x[k:after] -= star(ld[after:, k:after]).T @ x[after:]
        if p != at:
            x[[at, p]] = x[[p, at]]


def qr(x: np.ndarray, *, mode: str) -> Pair:
    """Q and R; ``mode`` "complete" gives all columns of Q."""
    if x.size and lapack.available(x.dtype):
        n, m = x.shape[-2:]
        vectors, tau = lapack.reflections(x)
        k = n if mode == "complete" else min(n, m)
        r = np.triu(np.swapaxes(vectors, -1, -2)[..., :k, :])
        return lapack.orthogonal(vectors, tau, k), r
    q, r = np.linalg.qr(x, mode=mode)
    return q.astype(x.dtype, copy=False), r.astype(x.dtype, copy=False)


def geqrf(x: np.ndarray) -> Pair:
    """Householder vectors below R in one matrix, and their scales."""
    if not x.size:
        return x.copy(), np.zeros((*x.shape[:-2], min(x.shape[-2:])), x.dtype)
    a, tau = np.linalg.qr(x, mode="raw")
    return np.ascontiguousarray(np.swapaxes(a, -1, -2)), np.asarray(tau)
