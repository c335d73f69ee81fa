"""Triangular and orthogonal decompositions: Cholesky, LU, LDL, QR."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes, return_types
from flambeau.functions.inplace import title as _title
from flambeau.functions.linalg import _common as c
from flambeau.functions.promotion import cast as _cast
from flambeau.functions.underived import _underived
from flambeau.ir.primitive import broadcast_shapes
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

_INDEFINITE = (
    "The factorization could not be completed because the input is not positive-definite (the "
    "leading minor of order {k} is not positive-definite)."
)
_ZERO_PIVOT = (
    "U[{k},{k}] is zero and using it on lu_solve would result in a division by zero. If you still "
    "want to perform the factorization, consider calling linalg.lu(A, pivot) or "
    "linalg.lu_factor_ex(A, pivot)"
)


@function(grad="LinalgCholeskyExBackward0")
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    r"""L with :math:`A = LL^H` of positive definite matrices; ``upper``: its conjugate transpose.

    ``LinAlgError`` if a matrix is not positive definite.

    >>> cholesky(tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])
    """
    c.square(A, "linalg.cholesky")
    return ops.checked(*ops.cholesky(A, upper=upper), name="linalg.cholesky", message=_INDEFINITE)


@function(grad="LinalgCholeskyExBackward0")
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """``cholesky``, and the order of the first minor that is not positive (0: none).

    >>> cholesky_ex(tensor([[-1.0]])).info
    tensor(1, dtype=torch.int32)
    """
    c.square(A, "linalg.cholesky")
    low, info = ops.cholesky(A, upper=upper)
    if check_errors:
        low = ops.checked(low, info, name="linalg.cholesky_ex", message=_INDEFINITE)
    return return_types.linalg_cholesky_ex((low, info))


def _permutation(order: Tensor, like: Tensor) -> Tensor:
    """P with ``P B`` the matrix whose rows ``order`` names are those of B."""
    n = order._meta.shape[-1]
    rows = ops.iota(shape=(n, n), dim=0, dtype=dtypes.int64)
    places = ops.reshape(order, shape=(*order._meta.shape[:-1], 1, n))
    return _cast(ops.eq(rows, places), like.dtype)


def _unpacked(lu: Tensor) -> tuple[Tensor, Tensor]:
    n, m = lu._meta.shape[-2:]
    k = min(n, m)
    low = c.part(c.triangle(lu, False, -1), -1, 0, k)
    return ops.add(low, c.eye(n, k, lu)), c.part(c.triangle(lu, True), -2, 0, k)


@function(grad="LinalgLuBackward0")
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """P, L and U with ``A = P L U``; P is empty without pivoting.

    >>> lu(tensor([[1.0, 2.0], [3.0, 4.0]])).U
    tensor([[3.0000, 4.0000],
            [0.0000, 0.6667]])
    """
    c.need_kernel("lu_cpu", A)
    c.matrix(A, "linalg.lu")
    packed, _, order, _ = ops.lu(A, pivot=pivot)
    low, up = _unpacked(packed)
    rows = _permutation(order, A) if pivot else ops.full(0.0, shape=(0,), dtype=A.dtype)
    return return_types.linalg_lu((rows, low, up))


@function(grad="LinalgLuFactorExBackward0")
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """L and U in one matrix, and row swaps (from 1). ``LinAlgError`` if U is singular.

    >>> lu_factor(tensor([[1.0, 2.0], [3.0, 4.0]])).pivots
    tensor([2, 2], dtype=torch.int32)
    """
    c.need_kernel("lu_cpu", A)
    c.matrix(A, "torch.linalg.lu_factor")
    packed, pivots, _, info = ops.lu(A, pivot=pivot)
    packed = ops.checked(packed, info, name="torch.linalg.lu_factor", message=_ZERO_PIVOT)
    return return_types.linalg_lu_factor((packed, pivots))


@function(grad="LinalgLuFactorExBackward0")
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """``lu_factor``, and the first zero on the diagonal of U (0: none).

    >>> lu_factor_ex(tensor([[0.0]])).info
    tensor(1, dtype=torch.int32)
    """
    c.need_kernel("lu_cpu", A)
    c.matrix(A, "torch.linalg.lu_factor_ex")
    packed, pivots, _, info = ops.lu(A, pivot=pivot)
    if check_errors:
        packed = ops.checked(packed, info, name="torch.linalg.lu_factor_ex", message=_ZERO_PIVOT)
    return return_types.linalg_lu_factor_ex((packed, pivots, info))


def _ordered(b: Tensor, order: Tensor) -> Tensor:
    """Rows of ``b`` in an order, which broadcasts over the leading dimensions."""
    n = order._meta.shape[-1]
    lead = broadcast_shapes(order._meta.shape[:-1], b._meta.shape[:-2])
    shape = (*lead, n, b._meta.shape[-1])
    places = c.spread(c.column(order), shape)
    return ops.gather(c.spread(b, shape), places, dim=len(shape) - 2)


def _inverse(order: Tensor) -> Tensor:
    return ops.argsort(order, dim=order.dim() - 1, descending=False)


@function(grad="LinalgLuSolveBackward0")
def lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    r"""X with :math:`AX = B` (:math:`XA = B`; A conjugate transposed) from ``lu_factor`` of A.

    >>> lu_solve(*lu_factor(tensor([[2.0]])), tensor([[1.0]]))
    tensor([[0.5000]])
    """
    shape = c.square(LU, "torch.linalg.lu_solve", "LU")
    c.matrix(B, "torch.linalg.lu_solve", "B")
    if LU.dtype is not B.dtype:
        raise RuntimeError(
            "linalg.lu_solve: Expected LU and B to have the same dtype, but found LU of type "
            f"{_title(LU.dtype)} and B of type {_title(B.dtype)} instead"
        )
    if pivots.dtype is not dtypes.int32:
        raise RuntimeError(
            "torch.linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32"
        )
    n, rows, columns = shape[-1], *B._meta.shape[-2:]
    if (rows if left else columns) != n:
        raise RuntimeError(
            "linalg.lu_solve: Incompatible shapes of A and B for the equation "
            f"{'AX' if left else 'XA'} = B ({n}x{n} and {rows}x{columns})"
        )
    if not left:
        # X A = B is A^H X^H = B^H.
        B, adjoint = c.mh(B), not adjoint
    order = ops.pivots_to_order(pivots, n=shape[-1])
    if adjoint:
        y = ops.solve_triangular(c.mh(LU), B, upper=False, unit=False)
        y = ops.solve_triangular(c.mh(LU), y, upper=True, unit=True)
        x = _ordered(y, _inverse(order))
    else:
        y = ops.solve_triangular(LU, _ordered(B, order), upper=False, unit=True)
        x = ops.solve_triangular(LU, y, upper=True, unit=False)
    return x if left else c.mh(x)


@function
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """``ldl_factor``, and the first zero on the diagonal of D (0: none)."""
    c.square(A, "torch.linalg.ldl_factor_ex")
    ld, pivots, info = ops.ldl(A, hermitian=hermitian and A.dtype.is_complex)
    ld = _underived("linalg_ldl_factor_ex", ld, A)
    if check_errors:
        ld = ops.checked(ld, info, name="torch.linalg.ldl_factor_ex", message="D[{k},{k}] is zero")
    return return_types.linalg_ldl_factor_ex((ld, pivots, info))


@function
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """The decomposition of symmetric (Hermitian) matrices into L D L^H [Bunch and Kaufman 1977].

    Not differentiable.

    >>> ldl_factor(tensor([[2.0]])).pivots
    tensor([1], dtype=torch.int32)
    """
    c.square(A, "torch.linalg.ldl_factor")
    ld, pivots, _ = ops.ldl(A, hermitian=hermitian and A.dtype.is_complex)
    ld = _underived("linalg_ldl_factor_ex", ld, A)
    return return_types.linalg_ldl_factor((ld, pivots))


@function
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with ``A X = B`` from ``ldl_factor`` of A.

    >>> ldl_solve(*ldl_factor(tensor([[2.0]])), tensor([[1.0]]))
    tensor([[0.5000]])
    """
    n = c.square(LD, "torch.linalg.ldl_solve", "LD")[-1]
    rows, columns = c.matrix(B, "torch.linalg.ldl_solve", "B")[-2:]
    if rows != n:
        raise RuntimeError(
            f"Incompatible matrix sizes for torch.linalg.ldl_solve: each A matrix is {n} by {n} "
            f"but each b matrix is {rows} by {columns}"
        )
    if pivots.dtype.category != 1:
        raise RuntimeError(
            f"torch.linalg.ldl_solve: Expected pivots to be integers. Got {_title(pivots.dtype)}"
        )
    x = ops.ldl_solve(LD, pivots, B, hermitian=hermitian and LD.dtype.is_complex)
    return _underived("linalg_ldl_solve", _underived("linalg_ldl_solve", x, LD), B)


@function(grad="LinalgQrBackward0")
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """Orthonormal Q and upper triangular R with ``A = Q R``; ``mode`` reduced, complete or r.

    >>> qr(tensor([[2.0]])).R.abs()
    tensor([[2.]])
    """
    c.matrix(A, "linalg.qr")
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), "
            "'r', or 'complete'"
        )
    if mode == "r":
        r = ops.qr(A, mode="reduced")[1]
        return return_types.linalg_qr((ops.full(0.0, shape=(0,), dtype=A.dtype), ops.detach(r)))
    return return_types.linalg_qr(ops.qr(A, mode=mode))


def _reflected(A: Tensor, tau: Tensor, x: Tensor, conjugate: bool, forward: bool) -> Tensor:
    """Reflectors I - tau v v^H, given in the columns of A, applied to x from the left."""
    n = A._meta.shape[-2]
    k = tau._meta.shape[-1]
    vs = ops.add(c.part(c.triangle(A, False, -1), -1, 0, k), c.eye(n, k, A))
    for i in range(k) if forward else reversed(range(k)):
        v = c.part(vs, -1, i, 1)
        t = ops.reshape(c.part(tau, -1, i, 1), shape=(*tau._meta.shape[:-1], 1, 1))
        t = ops.conj(t) if conjugate and t.dtype.is_complex else t
        x = ops.sub(x, ops.matmul(ops.mul(v, t), ops.matmul(c.mh(v), x)))
    return x


@function(grad="LinalgHouseholderProductBackward0")
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first columns of a product of Householder matrices ``I - tau v v^H``.

    >>> householder_product(tensor([[1.0], [0.0]]), tensor([2.0]))
    tensor([[-1.],
            [ 0.]])
    """
    n, m = c.matrix(A, "torch.linalg.householder_product", "input")[-2:]
    if n < m:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-2] must be greater than or equal to "
            "input.shape[-1]"
        )
    if tau.dim() != A.dim() - 1:
        raise RuntimeError(
            "torch.linalg.householder_product: Expected tau to have one dimension less than "
            f"input, but got tau.ndim equal to {tau.dim()} and input.ndim is equal to {A.dim()}"
        )
    if tau.dtype is not A.dtype:
        raise RuntimeError(
            f"torch.linalg.householder_product: tau dtype {_title(tau.dtype)} does not match "
            f"input dtype {_title(A.dtype)}"
        )
    if tau._meta.shape[-1] > m:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-1] must be greater than or equal to "
            "tau.shape[-1]"
        )
    start = c.spread(c.eye(n, m, A), A._meta.shape)
    start = start if tau._meta.shape[-1] else c.with_history(start, A)
    return _reflected(A, tau, start, False, False)


SAMPLES = {
    "linalg.cholesky": "spd; spds; spd, upper=True; cm @ cm.mH + 4 * torch.eye(4);"
    "torch.zeros(0, 0); !x; !m - 9 * torch.eye(4); !v; !i",
    "linalg.cholesky_ex": "spd; spds; spd, upper=True; m - 9 * torch.eye(4) # no-grad; !x;"
    "!m - 9 * torch.eye(4), check_errors=True; !i",
    "linalg.lu": "m; batch; tall; wide; cm; torch.zeros(0, 0); !v; !i",
    "linalg.lu_factor": "m; batch; tall; wide; cm; !v; !i; !torch.zeros(2, 2)",
    "linalg.lu_factor_ex": "m; batch; tall; torch.zeros(2, 2) # no-grad; !v; !i;"
    "!torch.zeros(2, 2), check_errors=True",
    "linalg.lu_solve": "*torch.linalg.lu_factor(m), spd; *torch.linalg.lu_factor(m), x.t();"
    "*torch.linalg.lu_factor(m), x, left=False; *torch.linalg.lu_factor(m), spd, adjoint=True;"
    "*torch.linalg.lu_factor(batch), spds; *torch.linalg.lu_factor(m), batch;"
    "!*torch.linalg.lu_factor(m), x; !m, v, m; !m, k[0], m",
    "linalg.ldl_factor": "spd; spds; m + m.mT; !x; !v; !i",
    "linalg.ldl_factor_ex": "spd; spds; m + m.mT; cm @ cm.mH, hermitian=True; !x; !v; !i",
    "linalg.ldl_solve": "*torch.linalg.ldl_factor(spd), m; *torch.linalg.ldl_factor(spds), batch;"
    "*torch.linalg.ldl_factor(m + m.mT), x.t(); !*torch.linalg.ldl_factor(spd), x; !spd, v, m",
    "linalg.qr": "m # sign; tall # sign; wide # sign, no-grad;"
    "tall, mode='complete' # sign, no-grad; tall, 'r' # sign, no-grad; batch # sign; cm # sign; !v;"
    "!i; !m, 'full'",
    "linalg.householder_product": "*torch.geqrf(tall.detach()); m, 0.1 * v;"
    "batch, 0.1 * cube[:, 0]; m, 0.1 * u; cm, 0.1 * cv; !x, v; !v, v; !m, i[0]",
}
