"""Decompositions and solutions of linear systems; LAPACK through NumPy where it offers them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, conj, like_operand, primitive, unbroadcast
from flambeau.ir.products import swap
from flambeau.ir.reference import matrices

P = PRIMITIVES


class LinAlgError(RuntimeError):
    """A matrix that an operation of linear algebra cannot take: singular, not positive definite."""


LinAlgError.__module__ = "torch.linalg"

# ------------------------------------------------------------------- what gradients are made of


def _h(x: Var) -> Var:
    """Conjugate transpose."""
    return swap(conj(x))


def _mm(*xs: Var) -> Var:
    product = xs[0]
    for x in xs[1:]:
        product = P["matmul"](product, x)
    return product


def _iota(n: int, m: int, dim: int) -> Var:
    return P["iota"](shape=(n, m), dim=dim, dtype=dtypes.int64)


def _tril(x: Var, k: int = 0) -> Var:
    n, m = x.shape[-2:]
    return P["where"](P["ge"](_iota(n, m, 0) + k, _iota(n, m, 1)), x, 0.0)


def _triu(x: Var, k: int = 0) -> Var:
    n, m = x.shape[-2:]
    return P["where"](P["le"](_iota(n, m, 0) + k, _iota(n, m, 1)), x, 0.0)


def _diagonal_part(x: Var) -> Var:
    n, m = x.shape[-2:]
    return P["where"](P["eq"](_iota(n, m, 0), _iota(n, m, 1)), x, 0.0)


def _diagonal(x: Var) -> Var:
    """The diagonals of square matrices, as rows."""
    return P["sum"](_diagonal_part(x), dims=(x.ndim - 1,), keepdim=False)


def _row(v: Var) -> Var:
    return P["reshape"](v, shape=(*v.shape[:-1], 1, v.shape[-1]))


def _column(v: Var) -> Var:
    return P["reshape"](v, shape=(*v.shape, 1))


def _eye(n: int, dtype: Any) -> Var:
    return P["cast"](P["eq"](_iota(n, n, 0), _iota(n, n, 1)), dtype=dtype)


def _diag(v: Var) -> Var:
    """Matrices with rows as their diagonals."""
    return _eye(v.shape[-1], v.dtype) * _row(v)


def _as(x: Var, like: Var) -> Var:
    return x if x.dtype is like.dtype else P["cast"](x, dtype=like.dtype)


def _part(x: Var, dim: int, start: int, size: int) -> Var:
    return P["slice"](x, start, dims=(dim % x.ndim,), sizes=(size,), steps=(1,))


def _sum_of(parts: list[Var | None]) -> Var | None:
    found = [p for p in parts if p is not None]
    total = found[0] if found else None
    for p in found[1:]:
        total = total + p
    return total


def _info(x: Aval) -> Aval:
    return Aval(x.shape[:-2], dtypes.int32)


# ---------------------------------------------------------------------------------- failures


def _checked(x: np.ndarray, info: Any, *, name: str, message: str) -> np.ndarray:
    info = np.asarray(info)
    if info.any():
        at = tuple(int(i) for i in np.argwhere(info != 0)[0]) if info.ndim else ()
        first = int(info[at])
        where = f" (Batch element {np.ravel_multi_index(at, info.shape)}):" if at else ""
        raise LinAlgError(f"{name}:{where} {message.format(k=abs(first))}")
    return x


primitive(
    "checked",
    "x, if the decomposition's info is zero everywhere; else LinAlgError",
    rule=lambda x, info, *, name, message: x,
    reference=_checked,
    gradient=(lambda g, x, info, *, out, name, message: g, None),
    raises=True,
)

# ---------------------------------------------------------------------------------- cholesky


def _cholesky_gradient(g: tuple, x: Var, *, out: tuple, upper: bool) -> Var | None:
    if g[0] is None:
        return None
    low, gl = (_h(out[0]), _h(g[0])) if upper else (out[0], g[0])
    inner = _tril(_mm(_h(low), gl))
    inner = inner - _diagonal_part(inner) * 0.5
    left = P["solve_triangular"](_h(low), inner, upper=True, unit=False)
    found = _h(P["solve_triangular"](_h(low), _h(left), upper=True, unit=False))
    return (found + _h(found)) * 0.5


primitive(
    "cholesky",
    "lower (upper) triangular L with x = L L^H, and the order of the first bad minor or 0",
    rule=lambda x, *, upper: (x, _info(x)),
    reference=matrices.cholesky,
    gradient=_cholesky_gradient,
    host=True,
)

# -------------------------------------------------------------------------- inverses, solutions


def _inv_gradient(g: tuple, x: Var, *, out: tuple) -> Var | None:
    if g[0] is None:
        return None
    inverse = _h(out[0])
    return -_mm(inverse, g[0], inverse)


primitive(
    "inv",
    "inverse, and the place of the first zero pivot (from 1) or 0",
    rule=lambda x: (x, _info(x)),
    reference=matrices.inv,
    gradient=_inv_gradient,
    host=True,
)


def _solve_rule(a: Aval, b: Aval) -> tuple[Aval, Aval]:
    from flambeau.ir.primitive import broadcast_shapes

    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return Aval((*lead, *b.shape[-2:]), b.dtype), _info(a)


def _solve_matrix(g: tuple, a: Var, b: Var, *, out: tuple) -> Var | None:
    if g[0] is None:
        return None
    return unbroadcast(-_mm(P["solve"](_h(a), g[0])[0], _h(out[0])), a)


def _solve_right(g: tuple, a: Var, b: Var, *, out: tuple) -> Var | None:
    return None if g[0] is None else unbroadcast(P["solve"](_h(a), g[0])[0], b)


primitive(
    "solve",
    "X with a X = b, and the place of the first zero pivot (from 1) or 0",
    rule=_solve_rule,
    reference=matrices.solve,
    gradient=(_solve_matrix, _solve_right),
    host=True,
)


def _triangle(x: Var, upper: bool, unit: bool) -> Var:
    return (_triu if upper else _tril)(x, (1 if upper else -1) if unit else 0)


def _triangular_matrix(g: Var, a: Var, b: Var, *, out: Var, upper: bool, unit: bool) -> Var:
    right = P["solve_triangular"](_h(a), g, upper=not upper, unit=unit)
    return unbroadcast(_triangle(-_mm(right, _h(out)), upper, unit), a)


primitive(
    "solve_triangular",
    "X with a X = b, looking only at one triangle of a",
    rule=lambda a, b, *, upper, unit: _solve_rule(a, b)[0],
    reference=matrices.solve_triangular,
    gradient=(
        _triangular_matrix,
        lambda g, a, b, *, out, upper, unit: unbroadcast(
            P["solve_triangular"](_h(a), g, upper=not upper, unit=unit), b
        ),
    ),
    host=True,
)

# ------------------------------------------------------------------------------ determinants


def _scalar(x: Aval) -> Aval:
    return Aval(x.shape[:-2], x.dtype)


def _matrix_of(v: Var) -> Var:
    return P["reshape"](v, shape=(*v.shape, 1, 1))


primitive(
    "det",
    "determinant",
    rule=_scalar,
    reference=matrices.det,
    gradient=lambda g, x, *, out: _matrix_of(g) * conj(P["cofactor"](x)),
    host=True,
)


def _cofactor_gradient(g: Var, x: Var, *, out: Var) -> Var:
    # C = det(x) x^-T; away from singular matrices, where second derivatives are not asked for.
    inverse = P["inv"](x)[0]
    share = g * conj(swap(inverse))
    total = P["sum"](share, dims=(x.ndim - 2, x.ndim - 1), keepdim=True)
    along = total * conj(out)
    return along - _mm(swap(conj(inverse)), swap(g), conj(out))


primitive(
    "cofactor",
    "matrix of cofactors: the derivative of the determinant, also where that is zero",
    rule=lambda x: x,
    reference=matrices.cofactor,
    gradient=_cofactor_gradient,
    host=True,
)


def _slogdet_gradient(g: tuple, x: Var, *, out: tuple) -> Var | None:
    factor = g[1]
    if x.dtype.is_complex:
        real = P["full"](0.0, shape=out[1].shape, dtype=out[1].dtype) if factor is None else factor
        imaginary = (
            real * 0.0 if g[0] is None else P["imag"](g[0] * conj(out[0]))
        )
        factor = P["complex"](real, imaginary)
    if factor is None:
        return None
    return _matrix_of(factor) * _h(P["inv"](x)[0])


primitive(
    "slogdet",
    "sign (phase) of the determinant, logarithm of its size",
    rule=lambda x: (_scalar(x), Aval(x.shape[:-2], x.dtype.to_real())),
    reference=matrices.slogdet,
    gradient=_slogdet_gradient,
    host=True,
)

# -------------------------------------------------------------------------------------- LU


def _lu_rule(x: Aval, *, pivot: bool) -> tuple[Aval, ...]:
    n, m = x.shape[-2:]
    lead, k = x.shape[:-2], min(n, m)
    return (
        x,
        Aval((*lead, k), dtypes.int32),
        Aval((*lead, n), dtypes.int64),
        Aval(lead, dtypes.int32),
    )


def _pad_to(x: Var, n: int, m: int) -> Var:
    pads = (*((0, 0),) * (x.ndim - 2), (0, n - x.shape[-2]), (0, m - x.shape[-1]))
    return P["pad"](x, 0.0, pads=pads)


def _lu_gradient(g: tuple, x: Var, *, out: tuple, pivot: bool) -> Var | None:
    if g[0] is None:
        return None
    n, m = x.shape[-2:]
    k = min(n, m)
    lu, order = out[0], out[2]
    gl, gu = _part(_tril(g[0], -1), -1, 0, k), _part(_triu(g[0]), -2, 0, k)
    low = _part(_tril(lu, -1), -1, 0, k)
    low = low + _pad_to(_eye(k, x.dtype), n, k) if n > k else low + _eye(k, x.dtype)
    up = _part(_triu(lu), -2, 0, k)
    l1, u1 = _part(low, -2, 0, k), _part(up, -1, 0, k)
    gl1, gu1 = _part(gl, -2, 0, k), _part(gu, -1, 0, k)
    if n >= m:
        # The rest of L is A2 U^-1: its gradient goes to A2 and through U.
        middle_u = _mm(gu1, _h(u1))
        rest = None
        if n > k:
            gl2, l2 = _part(gl, -2, k, n - k), _part(low, -2, k, n - k)
            rest = _h(P["solve_triangular"](u1, _h(gl2), upper=True, unit=False))
            middle_u = middle_u - _mm(_h(l2), gl2)
        middle = _tril(_mm(_h(l1), gl1), -1) + _triu(middle_u)
        right = _h(P["solve_triangular"](u1, _h(middle), upper=True, unit=False))
        top = P["solve_triangular"](_h(l1), right, upper=True, unit=True)
        found = top if rest is None else P["concat"](top, rest, dim=x.ndim - 2)
    else:
        gu2, u2 = _part(gu, -1, k, m - k), _part(up, -1, k, m - k)
        side = P["solve_triangular"](_h(l1), gu2, upper=True, unit=True)
        middle = _tril(_mm(_h(l1), gl1) - _mm(gu2, _h(u2)), -1) + _triu(_mm(gu1, _h(u1)))
        right = _h(P["solve_triangular"](u1, _h(middle), upper=True, unit=False))
        top = P["solve_triangular"](_h(l1), right, upper=True, unit=True)
        found = P["concat"](top, side, dim=x.ndim - 1)
    if not pivot:
        return found
    spread = P["broadcast"](_column(order), shape=found.shape)
    return P["scatter"](found * 0.0, spread, found, dim=found.ndim - 2)


primitive(
    "lu",
    "L and U in one matrix, row swaps, the order of the rows they make, first zero pivot or 0",
    rule=_lu_rule,
    reference=matrices.lu,
    gradient=_lu_gradient,
    host=True,
)
primitive(
    "pivots_to_order",
    "the order of rows that swaps make",
    rule=lambda pivots, *, n: Aval((*pivots.shape[:-1], n), dtypes.int64),
    reference=matrices.pivots_to_order,
    host=True,
)
primitive(
    "ldl",
    "symmetric (Hermitian) x = P L D L^H P^T in one matrix, pivots as LAPACK has them, info",
    rule=lambda x, *, hermitian: (x, Aval(x.shape[:-1], dtypes.int32), _info(x)),
    reference=matrices.ldl,
    host=True,
)
primitive(
    "ldl_solve",
    "X with A X = b from the decomposition of A",
    rule=lambda ld, pivots, b, *, hermitian: _solve_rule(ld, b)[0],
    reference=matrices.ldl_solve,
    host=True,
)

# -------------------------------------------------------------------------------------- QR


def _qr_rule(x: Aval, *, mode: str) -> tuple[Aval, Aval]:
    n, m = x.shape[-2:]
    k = n if mode == "complete" else min(n, m)
    return Aval((*x.shape[:-2], n, k), x.dtype), Aval((*x.shape[:-2], k, m), x.dtype)


def _qr_square(gq: Var | None, gr: Var | None, q: Var, r: Var) -> Var:
    """Of Q and a square R [Walter and Lehmann 2018]."""
    parts: list[Var | None] = [None, None]
    if gr is not None:
        parts[0] = _mm(r, _h(gr))
    if gq is not None:
        parts[1] = -_mm(_h(gq), q)
    m = _sum_of(parts)
    low = _tril(m, -1)
    middle = low + _h(low) + _diagonal_part(m)
    if q.dtype.is_complex:
        diagonal = _diagonal_part(m)
        middle = low + _h(low) + (diagonal + _h(diagonal)) * 0.5
    total = _mm(q, middle)
    if gq is not None:
        total = gq + total
    # total R^-H
    return _h(P["solve_triangular"](r, _h(total), upper=True, unit=False))


def _qr_gradient(g: tuple, x: Var, *, out: tuple, mode: str) -> Var | None:
    n, m = x.shape[-2:]
    gq, gr = g
    q, r = out
    if mode == "complete" and n > m:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
        )
    if n >= m:
        return _qr_square(gq, gr, q, r)
    # Wide: A = [X | Y], R = [U | V], V = Q^H Y.
    u = _part(r, -1, 0, n)
    gu = None if gr is None else _part(gr, -1, 0, n)
    side = None
    if gr is not None:
        gv, y = _part(gr, -1, n, m - n), _part(x, -1, n, m - n)
        side = _mm(q, gv)
        through = _mm(y, _h(gv))
        gq = through if gq is None else gq + through
    left = _qr_square(gq, gu, q, u)
    if side is None:
        side = P["full"](0.0, shape=(*x.shape[:-1], m - n), dtype=x.dtype)
    return P["concat"](left, side, dim=x.ndim - 1)


primitive(
    "qr",
    "orthonormal Q and upper triangular R with x = Q R",
    rule=_qr_rule,
    reference=matrices.qr,
    gradient=_qr_gradient,
    host=True,
)
primitive(
    "geqrf",
    "Householder vectors below R in one matrix, and their scales",
    rule=lambda x: (x, Aval((*x.shape[:-2], min(x.shape[-2:])), x.dtype)),
    reference=matrices.geqrf,
    host=True,
)

# ------------------------------------------------------------------------- eigenvalues, SVD


def _eigh_gradient(g: tuple, x: Var, *, out: tuple, upper: bool) -> Var | None:
    gw, gv = g
    w, v = out
    if gw is None and gv is None:
        return None
    if gv is None:
        return _mm(v * _as(_row(gw), v), _h(v))
    gap = _row(w) - _column(w)
    gap = gap + _eye(w.shape[-1], w.dtype)
    inner = _mm(_h(v), gv)
    inner = (inner - _diagonal_part(inner)) / _as(gap, v)
    if gw is not None:
        inner = inner + _as(_diag(gw), v)
    return _mm(v, inner, _h(v))


primitive(
    "eigh",
    "eigenvalues (ascending) and eigenvectors of Hermitian matrices, of which one triangle is read",
    rule=lambda x, *, upper: (Aval(x.shape[:-1], x.dtype.to_real()), x),
    reference=matrices.eigh,
    gradient=_eigh_gradient,
    host=True,
)


def _eig_gradient(g: tuple, x: Var, *, out: tuple) -> Var | None:
    gw, gv = g
    w, v = out
    if gw is None and gv is None:
        return None
    middle = None
    if gv is not None:
        gap = conj(_row(w) - _column(w)) + _eye(w.shape[-1], w.dtype)
        inner = _mm(_h(v), gv)
        # Eigenvectors keep the norm 1.
        kept = P["real"](_diagonal(inner))
        inner = inner - _mm(_h(v), v) * _as(_row(kept), v)
        middle = (inner - _diagonal_part(inner)) / gap
    if gw is not None:
        middle = _diag(gw) if middle is None else middle + _diag(gw)
    found = P["solve"](_h(v), _mm(middle, _h(v)))[0]
    return like_operand(found, x)


def _eig_rule(x: Aval) -> tuple[Aval, Aval]:
    kind = x.dtype.to_complex()
    return Aval(x.shape[:-1], kind), Aval(x.shape, kind)


primitive(
    "eig",
    "eigenvalues and eigenvectors of square matrices, complex",
    rule=_eig_rule,
    reference=matrices.eig,
    gradient=_eig_gradient,
    host=True,
)


def _svd_rule(x: Aval, *, full_matrices: bool) -> tuple[Aval, Aval, Aval]:
    n, m = x.shape[-2:]
    k, lead = min(n, m), x.shape[:-2]
    return (
        Aval((*lead, n, n if full_matrices else k), x.dtype),
        Aval((*lead, k), x.dtype.to_real()),
        Aval((*lead, m if full_matrices else k, m), x.dtype),
    )


def _skew(x: Var) -> Var:
    return x - _h(x)


def _svd_gradient(g: tuple, x: Var, *, out: tuple, full_matrices: bool) -> Var | None:
    """[Townsend 2016, Wan and Zhang 2019]."""
    gu, gs, gvh = g
    u, s, vh = out
    n, m = x.shape[-2:]
    k = min(n, m)
    if gu is None and gvh is None:
        if gs is None:
            return None
        u, vh = _part(u, -1, 0, k), _part(vh, -2, 0, k)
        return _mm(u * _as(_row(gs), u), vh)
    u, vh = _part(u, -1, 0, k), _part(vh, -2, 0, k)
    gu = None if gu is None else _part(gu, -1, 0, k)
    gvh = None if gvh is None else _part(gvh, -2, 0, k)
    square = s * s
    gap = _row(square) - _column(square) + _eye(k, s.dtype)
    inner = None
    turn = None if gu is None else _skew(_mm(_h(u), gu))
    if turn is not None:
        inner = turn / _as(gap, u) * _as(_row(s), u)
    if gvh is not None:
        back = _skew(_mm(vh, _h(gvh)))
        part = back / _as(gap, u) * _as(_column(s), u)
        inner = part if inner is None else inner + part
    if x.dtype.is_complex and turn is not None:
        # The skew diagonal: phases that both sides share.
        inner = inner - _diagonal_part(inner) + _diagonal_part(turn) / _as(_column(s) * 2.0, u)
    if gs is not None:
        inner = inner + _as(_diag(gs), u)
    if n > k and gu is not None:
        left = _mm(u, inner)
        outside = gu - _mm(u, _mm(_h(u), gu))
        return _with_rows(_mm(left + outside / _as(_row(s), u), vh), u, s, vh, gvh, m > k)
    return _with_rows(_mm(u, inner, vh), u, s, vh, gvh, m > k)


def _with_rows(found: Var, u: Var, s: Var, vh: Var, gvh: Var | None, wide: bool) -> Var:
    """Adds what reaches x through the rows of V^H outside their own span."""
    if gvh is None or not wide:
        return found
    outside = gvh - _mm(_mm(gvh, _h(vh)), vh)
    return found + _mm(u / _as(_row(s), u), outside)


primitive(
    "svd",
    "U, singular values (descending) and V^H with x = U diag(S) V^H",
    rule=_svd_rule,
    reference=matrices.svd,
    gradient=_svd_gradient,
    host=True,
)


def _pinv_gradient(g: Var, x: Var, atol: Var, rtol: Var, *, out: Var, hermitian: bool) -> Var:
    """[Golub and Pereyra 1973]."""
    p, ph, gh = out, _h(out), _h(g)
    direct = -_mm(ph, g, ph)
    left = _mm(gh, p, ph)
    left = left - _mm(x, p, left)
    right = _mm(ph, p, gh)
    right = right - _mm(right, p, x)
    return direct + left + right


primitive(
    "pinv",
    "Moore-Penrose inverse; singular values below max(atol, rtol * largest) count as zero",
    rule=lambda x, atol, rtol, *, hermitian: Aval(
        (*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype
    ),
    reference=matrices.pinv,
    gradient=(_pinv_gradient, None, None),
    host=True,
)

# ---------------------------------------------------------------------------- matrix functions


def _matrix_exp_gradient(g: Var, x: Var, *, out: Var) -> Var:
    # The upper right block of the exponential of [[x^H, g], [0, x^H]] [Najfeld and Havel 1995].
    n = x.shape[-1]
    a = _h(x)
    top = P["concat"](a, g, dim=x.ndim - 1)
    bottom = P["concat"](a * 0.0, a, dim=x.ndim - 1)
    whole = P["matrix_exp"](P["concat"](top, bottom, dim=x.ndim - 2))
    return _part(_part(whole, -2, 0, n), -1, n, n)


primitive(
    "matrix_exp",
    "exponential of square matrices",
    rule=lambda x: x,
    reference=matrices.matrix_exp,
    gradient=_matrix_exp_gradient,
    host=True,
)
