"""Triangular and orthogonal decompositions, and the linear systems they solve."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.errors import LinAlgError
from flambeau.ir.graph import Aval, Var
from flambeau.ir.matrices import (
    column,
    diagonal_part,
    eye,
    h,
    info,
    mm,
    part,
    sum_of,
    tril,
    triu,
)
from flambeau.ir.primitive import PRIMITIVES, broadcast_shapes, conj, primitive, unbroadcast
from flambeau.ir.products import swap
from flambeau.ir.reference import matrices

P = PRIMITIVES


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
    low, gl = (h(out[0]), h(g[0])) if upper else (out[0], g[0])
    inner = tril(mm(h(low), gl))
    inner = (inner + h(inner) - h(diagonal_part(inner))) * 0.5
    left = P["solve_triangular"](h(low), inner, upper=True, unit=False)
    return h(P["solve_triangular"](h(low), h(left), upper=True, unit=False))


primitive(
    "cholesky",
    "lower (upper) triangular L with x = L L^H, and the order of the first bad minor or 0",
    rule=lambda x, *, upper: (x, info(x)),
    reference=matrices.cholesky,
    gradient=_cholesky_gradient,
    host=True,
)

# -------------------------------------------------------------------------- inverses, solutions


def _inv_gradient(g: tuple, x: Var, *, out: tuple) -> Var | None:
    if g[0] is None:
        return None
    inverse = h(out[0])
    return -mm(inverse, g[0], inverse)


primitive(
    "inv",
    "inverse, and the place of the first zero pivot (from 1) or 0",
    rule=lambda x: (x, info(x)),
    reference=matrices.inv,
    gradient=_inv_gradient,
    host=True,
)


def _solve_rule(a: Aval, b: Aval) -> tuple[Aval, Aval]:
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return Aval((*lead, *b.shape[-2:]), b.dtype), info(a)


def _solve_matrix(g: tuple, a: Var, b: Var, *, out: tuple) -> Var | None:
    if g[0] is None:
        return None
    return unbroadcast(-mm(P["solve"](h(a), g[0])[0], h(out[0])), a)


def _solve_right(g: tuple, a: Var, b: Var, *, out: tuple) -> Var | None:
    return None if g[0] is None else unbroadcast(P["solve"](h(a), g[0])[0], b)


primitive(
    "solve",
    "X with a X = b, and the place of the first zero pivot (from 1) or 0",
    rule=_solve_rule,
    reference=matrices.solve,
    gradient=(_solve_matrix, _solve_right),
    host=True,
)


def _triangle(x: Var, upper: bool, unit: bool) -> Var:
    return (triu if upper else tril)(x, (1 if upper else -1) if unit else 0)


def _triangular_matrix(g: Var, a: Var, b: Var, *, out: Var, upper: bool, unit: bool) -> Var:
    right = P["solve_triangular"](h(a), g, upper=not upper, unit=unit)
    return unbroadcast(_triangle(-mm(right, h(out)), upper, unit), a)


primitive(
    "solve_triangular",
    "X with a X = b, looking only at one triangle of a",
    rule=lambda a, b, *, upper, unit: _solve_rule(a, b)[0],
    reference=matrices.solve_triangular,
    gradient=(
        _triangular_matrix,
        lambda g, a, b, *, out, upper, unit: unbroadcast(
            P["solve_triangular"](h(a), g, upper=not upper, unit=unit), b
        ),
    ),
    host=True,
)


def _cholesky_solve_factor(g: Var, b: Var, low: Var, *, out: Var, upper: bool) -> Var:
    outer = mm(P["cholesky_solve"](g, low, upper=upper), h(out))
    both = outer + h(outer)
    return unbroadcast(-mm(low, both) if upper else -mm(both, low), low)


primitive(
    "cholesky_solve",
    "X with L L^H X = b (U^H U if upper)",
    rule=lambda b, low, *, upper: _solve_rule(low, b)[0],
    reference=matrices.cholesky_solve,
    gradient=(
        lambda g, b, low, *, out, upper: unbroadcast(P["cholesky_solve"](g, low, upper=upper), b),
        _cholesky_solve_factor,
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
    return along - mm(swap(conj(inverse)), swap(g), conj(out))


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
        imaginary = real * 0.0 if g[0] is None else P["imag"](g[0] * conj(out[0]))
        factor = P["complex"](real, imaginary)
    if factor is None:
        return None
    return _matrix_of(factor) * h(P["inv"](x)[0])


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
    gl, gu = part(tril(g[0], -1), -1, 0, k), part(triu(g[0]), -2, 0, k)
    low = part(tril(lu, -1), -1, 0, k)
    low = low + _pad_to(eye(k, x.dtype), n, k) if n > k else low + eye(k, x.dtype)
    up = part(triu(lu), -2, 0, k)
    l1, u1 = part(low, -2, 0, k), part(up, -1, 0, k)
    gl1, gu1 = part(gl, -2, 0, k), part(gu, -1, 0, k)
    if n >= m:
        # The rest of L is A2 U^-1: its gradient goes to A2 and through U.
        middle_u = mm(gu1, h(u1))
        rest = None
        if n > k:
            gl2, l2 = part(gl, -2, k, n - k), part(low, -2, k, n - k)
            rest = h(P["solve_triangular"](u1, h(gl2), upper=True, unit=False))
            middle_u = middle_u - mm(h(l2), gl2)
        middle = tril(mm(h(l1), gl1), -1) + triu(middle_u)
        right = h(P["solve_triangular"](u1, h(middle), upper=True, unit=False))
        top = P["solve_triangular"](h(l1), right, upper=True, unit=True)
        found = top if rest is None else P["concat"](top, rest, dim=x.ndim - 2)
    else:
        gu2, u2 = part(gu, -1, k, m - k), part(up, -1, k, m - k)
        side = P["solve_triangular"](h(l1), gu2, upper=True, unit=True)
        middle = tril(mm(h(l1), gl1) - mm(gu2, h(u2)), -1) + triu(mm(gu1, h(u1)))
        right = h(P["solve_triangular"](u1, h(middle), upper=True, unit=False))
        top = P["solve_triangular"](h(l1), right, upper=True, unit=True)
        found = P["concat"](top, side, dim=x.ndim - 1)
    if not pivot:
        return found
    spread = P["broadcast"](column(order), shape=found.shape)
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
    rule=lambda x, *, hermitian: (x, Aval(x.shape[:-1], dtypes.int32), info(x)),
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
        parts[0] = mm(r, h(gr))
    if gq is not None:
        parts[1] = -mm(h(gq), q)
    m = sum_of(parts)
    low = tril(m, -1)
    middle = low + h(low) + diagonal_part(m)
    if q.dtype.is_complex:
        diagonal = diagonal_part(m)
        middle = low + h(low) + (diagonal + h(diagonal)) * 0.5
    total = mm(q, middle)
    if gq is not None:
        total = gq + total
    # total R^-H
    return h(P["solve_triangular"](r, h(total), upper=True, unit=False))


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
    u = part(r, -1, 0, n)
    gu = None if gr is None else part(gr, -1, 0, n)
    side = None
    if gr is not None:
        gv, y = part(gr, -1, n, m - n), part(x, -1, n, m - n)
        side = mm(q, gv)
        through = mm(y, h(gv))
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
