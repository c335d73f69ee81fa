"""Eigenvalues, singular values, and functions of matrices."""

from __future__ import annotations

from flambeau.ir.graph import Aval, Var
from flambeau.ir.matrices import (
    cast_like,
    column,
    diag,
    diagonal,
    diagonal_part,
    eye,
    h,
    mm,
    part,
    row,
)
from flambeau.ir.primitive import PRIMITIVES, conj, like_operand, primitive
from flambeau.ir.reference import eigen, exponentials

P = PRIMITIVES


def _eigh_gradient(g: tuple, x: Var, *, out: tuple, upper: bool) -> Var | None:
    gw, gv = g
    w, v = out
    if gw is None and gv is None:
        return None
    if gv is None:
        return mm(v * cast_like(row(gw), v), h(v))
    gap = row(w) - column(w)
    gap = gap + eye(w.shape[-1], w.dtype)
    inner = mm(h(v), gv)
    inner = (inner - diagonal_part(inner)) / cast_like(gap, v)
    if gw is not None:
        inner = inner + cast_like(diag(gw), v)
    found = mm(v, inner, h(v))
    # Of the gradients that agree on Hermitian changes, the Hermitian one.
    return (found + h(found)) * 0.5


primitive(
    "eigh",
    "eigenvalues (ascending) and eigenvectors of Hermitian matrices, of which one triangle is read",
    rule=lambda x, *, upper: (Aval(x.shape[:-1], x.dtype.to_real()), x),
    reference=eigen.eigh,
    gradient=_eigh_gradient,
    host=True,
)


def _eigvalsh_gradient(g: Var, x: Var, *, out: Var, upper: bool) -> Var:
    v = P["eigh"](x, upper=upper)[1]
    return mm(v * cast_like(row(g), v), h(v))


primitive(
    "eigvalsh",
    "eigenvalues (ascending) of Hermitian matrices, of which one triangle is read",
    rule=lambda x, *, upper: Aval(x.shape[:-1], x.dtype.to_real()),
    reference=eigen.eigvalsh,
    gradient=_eigvalsh_gradient,
    host=True,
)


def _eig_gradient(g: tuple, x: Var, *, out: tuple) -> Var | None:
    gw, gv = g
    w, v = out
    if gw is None and gv is None:
        return None
    middle = None
    if gv is not None:
        gap = conj(row(w) - column(w)) + eye(w.shape[-1], w.dtype)
        inner = mm(h(v), gv)
        # Eigenvectors keep the norm 1.
        kept = P["real"](diagonal(inner))
        inner = inner - mm(h(v), v) * cast_like(row(kept), v)
        middle = (inner - diagonal_part(inner)) / gap
    if gw is not None:
        middle = diag(gw) if middle is None else middle + diag(gw)
    found = P["solve"](h(v), mm(middle, h(v)))[0]
    return like_operand(found, x)


def _eig_rule(x: Aval) -> tuple[Aval, Aval]:
    kind = x.dtype.to_complex()
    return Aval(x.shape[:-1], kind), Aval(x.shape, kind)


primitive(
    "eig",
    "eigenvalues and eigenvectors of square matrices, complex",
    rule=_eig_rule,
    reference=eigen.eig,
    gradient=_eig_gradient,
    host=True,
    raises=True,
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
    return x - h(x)


def _svd_gradient(g: tuple, x: Var, *, out: tuple, full_matrices: bool) -> Var | None:
    """[Townsend 2016, Wan and Zhang 2019]."""
    gu, gs, gvh = g
    u, s, vh = out
    n, m = x.shape[-2:]
    k = min(n, m)
    if gu is None and gvh is None:
        if gs is None:
            return None
        u, vh = part(u, -1, 0, k), part(vh, -2, 0, k)
        return mm(u * cast_like(row(gs), u), vh)
    u, vh = part(u, -1, 0, k), part(vh, -2, 0, k)
    gu = None if gu is None else part(gu, -1, 0, k)
    gvh = None if gvh is None else part(gvh, -2, 0, k)
    square = s * s
    gap = row(square) - column(square) + eye(k, s.dtype)
    inner = None
    turn = None if gu is None else _skew(mm(h(u), gu))
    if turn is not None:
        inner = turn / cast_like(gap, u) * cast_like(row(s), u)
    if gvh is not None:
        back = _skew(mm(vh, h(gvh)))
        along = back / cast_like(gap, u) * cast_like(column(s), u)
        inner = along if inner is None else inner + along
    if x.dtype.is_complex and turn is not None:
        # The skew diagonal: phases that both sides share.
        inner = inner - diagonal_part(inner) + diagonal_part(turn) / cast_like(column(s) * 2.0, u)
    if gs is not None:
        inner = inner + cast_like(diag(gs), u)
    if n > k and gu is not None:
        left = mm(u, inner)
        outside = gu - mm(u, mm(h(u), gu))
        return _with_rows(mm(left + outside / cast_like(row(s), u), vh), u, s, vh, gvh, m > k)
    return _with_rows(mm(u, inner, vh), u, s, vh, gvh, m > k)


def _with_rows(found: Var, u: Var, s: Var, vh: Var, gvh: Var | None, wide: bool) -> Var:
    """Adds what reaches x through the rows of V^H outside their own span."""
    if gvh is None or not wide:
        return found
    outside = gvh - mm(mm(gvh, h(vh)), vh)
    return found + mm(u / cast_like(row(s), u), outside)


primitive(
    "svd",
    "U, singular values (descending) and V^H with x = U diag(S) V^H",
    rule=_svd_rule,
    reference=eigen.svd,
    gradient=_svd_gradient,
    host=True,
    raises=True,
)


def _svdvals_gradient(g: Var, x: Var, *, out: Var) -> Var:
    u, _, vh = P["svd"](x, full_matrices=False)
    return mm(u * cast_like(row(g), u), vh)


primitive(
    "svdvals",
    "singular values (descending)",
    rule=lambda x: Aval((*x.shape[:-2], min(x.shape[-2:])), x.dtype.to_real()),
    reference=eigen.svdvals,
    gradient=_svdvals_gradient,
    host=True,
    raises=True,
)


def _pinv_gradient(g: Var, x: Var, atol: Var, rtol: Var, *, out: Var, hermitian: bool) -> Var:
    """[Golub and Pereyra 1973]: with P the inverse and K = G^H P, -(P K)^H + (1 - X P) K P^H +
    P^H P (G^H - K X); grouped so that square products are of the smaller side."""
    p, ph, gh = out, h(out), h(g)
    if x.shape[-2] <= x.shape[-1]:
        k = mm(gh, p)
        left = mm(k, ph)
        left = left - mm(mm(x, p), left)
        return left + mm(mm(ph, p), gh - mm(k, x)) - h(mm(p, k))
    k = mm(p, gh)
    right = mm(ph, k)
    right = right - mm(right, mm(p, x))
    return right + mm(gh - mm(x, k), mm(p, ph)) - h(mm(k, p))


primitive(
    "pinv",
    "Moore-Penrose inverse; singular values below max(atol, rtol * largest) count as zero",
    rule=lambda x, atol, rtol, *, hermitian: Aval(
        (*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype
    ),
    reference=eigen.pinv,
    gradient=(_pinv_gradient, None, None),
    host=True,
    raises=True,
)

# ---------------------------------------------------------------------------- matrix functions


def _matrix_exp_gradient(g: Var, x: Var, *, out: Var) -> Var:
    # The upper right block of the exponential of [[x^H, g], [0, x^H]] [Najfeld and Havel 1995].
    n = x.shape[-1]
    a = h(x)
    top = P["concat"](a, g, dim=x.ndim - 1)
    bottom = P["concat"](a * 0.0, a, dim=x.ndim - 1)
    whole = P["matrix_exp"](P["concat"](top, bottom, dim=x.ndim - 2))
    return part(part(whole, -2, 0, n), -1, n, n)


primitive(
    "matrix_exp",
    "exponential of square matrices",
    rule=lambda x: x,
    reference=exponentials.matrix_exp,
    gradient=_matrix_exp_gradient,
    host=True,
)
