"""Linear algebra at the top level: older forms of what ``flambeau.linalg`` has."""

from __future__ import annotations

from typing import Any

import flambeau.ir.linalg  # noqa: F401  (declares primitives)
from flambeau import return_types
from flambeau.functions.inplace import title as _title
from flambeau.functions.inplace import write_out
from flambeau.functions.linalg import _common as _c
from flambeau.functions.linalg import factors as _factors
from flambeau.functions.linalg import products as _products
from flambeau.functions.linalg import solving as _solving
from flambeau.functions.linalg import spectral as _spectral
from flambeau.functions.underived import _underived
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


@function
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """``linalg.cholesky``.

    >>> cholesky(tensor([[4.0]]))
    tensor([[2.]])
    """
    _c.square(input, "cholesky")
    return ops.checked(
        *ops.cholesky(input, upper=upper), name="cholesky", message=_factors._INDEFINITE
    )


def _one_dtype(b: Tensor, A: Tensor) -> None:
    if b.dtype is not A.dtype:
        raise RuntimeError(
            "Expected b and A to have the same dtype, but found b of type "
            f"{_title(b.dtype)} and A of type {_title(A.dtype)} instead."
        )


@function
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    r"""X with :math:`AX = B` from the Cholesky factor L of A.

    >>> cholesky_solve(tensor([[4.0]]), tensor([[2.0]]))
    tensor([[1.]])
    """
    for what, x in (("b", input), ("u", L)):
        if x.dim() < 2:
            raise RuntimeError(
                f"{what} should have at least 2 dimensions, but has {x.dim()} dimensions instead"
            )
    shape = _c.square(L, "cholesky_solve", "A")
    if shape[-1] != input._meta.shape[-2]:
        raise RuntimeError(
            "Incompatible matrix sizes for cholesky_solve: each A matrix is "
            f"{shape[-1]} by {shape[-1]} but each b matrix is "
            f"{' by '.join(map(str, input._meta.shape[-2:]))}"
        )
    _one_dtype(input, L)
    return ops.cholesky_solve(input, L, upper=upper)


@function
def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A from its Cholesky factor.

    >>> cholesky_inverse(tensor([[2.0]]))
    tensor([[0.2500]])
    """
    n = _c.square(input, "cholesky_inverse")[-1]
    low = _c.mh(input) if upper else input
    one = _c.spread(_c.eye(n, n, input), input._meta.shape)
    y = ops.solve_triangular(low, one, upper=False, unit=False)
    return ops.matmul(_c.mh(y), y)


@function(grad="LinalgInvExBackward0")
def inverse(input: Tensor) -> Tensor:
    """``linalg.inv``.

    >>> inverse(tensor([[2.0]]))
    tensor([[0.5000]])
    """
    return _solving.inv(input)


@function(grad="LinalgDetBackward0")
def det(input: Tensor) -> Tensor:
    """``linalg.det``.

    >>> det(tensor([[2.0]]))
    tensor(2.)
    """
    return _solving.det(input)


@function(grad="WhereBackward0")
def logdet(input: Tensor) -> Tensor:
    """Logarithms of determinants: NaN of negative ones, -inf of 0.

    >>> logdet(tensor([[1.0]]))
    tensor(0.)
    """
    _c.square(input, "linalg.det")
    sign, size = ops.slogdet(input)
    if input.dtype.is_complex:
        return ops.add(ops.cast(size, dtype=input.dtype), ops.log(sign))
    return ops.where(ops.eq(sign, -1.0), float("nan"), size)


@function(grad="LinalgSlogdetBackward0")
def slogdet(input: Tensor) -> Any:
    """``linalg.slogdet``.

    >>> slogdet(tensor([[-1.0]])).sign
    tensor(-1.)
    """
    _c.square(input, "linalg.slogdet")
    return return_types.slogdet(ops.slogdet(input))


@function(grad="LinalgQrBackward0")
def _qr(input: Tensor, some: bool) -> Any:
    return return_types.qr(_factors.qr(input, "reduced" if some else "complete"))


def qr(input: Tensor, some: bool = True, *, out: Any = None) -> Any:
    """``linalg.qr``; complete unless ``some``.

    >>> qr(tensor([[2.0]])).R.abs()
    tensor([[2.]])
    """
    return _qr(input, some, out=out)


@function
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """U, S and V (not V^H) of ``linalg.svd``; reduced if ``some``; zeros unless ``compute_uv``.

    >>> svd(tensor([[2.0]])).S
    tensor([2.])
    """
    n, m = _c.matrix(input, "linalg.svd")[-2:]
    if not compute_uv:
        lead = input._meta.shape[:-2]
        u = ops.full(0.0, shape=(*lead, n, n), dtype=input.dtype)
        v = ops.full(0.0, shape=(*lead, m, m), dtype=input.dtype)
        return return_types.svd((u, _c.singular_values(input), v))
    u, s, vh = ops.svd(input, full_matrices=not some)
    return return_types.svd((u, s, _c.mh(vh)))


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """``linalg.pinv`` with a relative tolerance.

    >>> pinverse(tensor([[2.0]]))
    tensor([[0.5000]])
    """
    return _spectral.pinv(input, rcond)


@function(grad="MmBackward0")
def matrix_power(input: Tensor, n: int) -> Tensor:
    """``linalg.matrix_power``.

    >>> matrix_power(tensor([[2.0]]), 3)
    tensor([[8.]])
    """
    return _products.matrix_power(input, n)


@function(grad="LinalgMatrixExpBackward0")
def matrix_exp(input: Tensor) -> Tensor:
    """``linalg.matrix_exp``.

    >>> matrix_exp(tensor([[0.0]]))
    tensor([[1.]])
    """
    return _products.matrix_exp(input)


@function
def triangular_solve(
    input: Tensor,
    A: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> Any:
    """``linalg.solve_triangular`` of ``A`` (or its transpose), and a copy of ``A``.

    >>> triangular_solve(tensor([[4.0]]), tensor([[2.0]])).solution
    tensor([[2.]])
    """
    if input.dim() < 2 or A.dim() < 2:
        raise RuntimeError(
            "torch.triangular_solve: Expected b and A to have at least 2 dimensions, but they "
            f"have {input.dim()} and {A.dim()} dimensions instead"
        )
    _c.square(A, "triangular_solve")
    if input._meta.shape[-2] != A._meta.shape[-1]:
        raise RuntimeError(
            "Incompatible matrix sizes for triangular_solve: each A matrix is "
            f"{A._meta.shape[-1]} by {A._meta.shape[-1]} but each b matrix is "
            f"{input._meta.shape[-2]} by {input._meta.shape[-1]}"
        )
    _one_dtype(input, A)
    a = _c.mt(A) if transpose else A
    x = ops.solve_triangular(a, input, upper=upper != transpose, unit=unitriangular)
    return return_types.triangular_solve((x, ops.clone(A)))


def lu(input: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None) -> tuple:
    """L and U in one matrix, row swaps, and on demand the places of zero pivots.

    >>> lu(tensor([[2.0]]))[0]
    tensor([[2.]])
    """
    _c.need_kernel("lu_cpu", input)
    found = tuple(_factors.lu_factor_ex(input, pivot=pivot))
    found = found if get_infos else found[:2]
    if out is None:
        return return_types._lu_with_info(found) if get_infos else found
    return write_out(out, found, "lu")


def _method_lu(self: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple:
    """``lu`` as a method: a plain tuple."""
    return tuple(lu(self, pivot, get_infos))


@function(grad="LinalgLuSolveBackward0")
def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """``linalg.lu_solve`` with the right-hand sides first.

    >>> lu_solve(tensor([[4.0]]), *lu(tensor([[2.0]])))
    tensor([[2.]])
    """
    return _factors.lu_solve(LU_data, LU_pivots, input)


@function
def _lu_unpack(LU: Tensor, pivots: Tensor, data: bool, swaps: bool) -> Any:
    from flambeau.dtypes import int32

    shape = _c.matrix(LU, "torch.lu_unpack", "LU_data")
    if swaps and pivots.dtype is not int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 "
            "dtype.\nNote: this function is intended to be used with the output produced by "
            "torch.linalg.lu_factor"
        )
    p = ops.full(0.0, shape=(0,), dtype=LU.dtype)
    low = up = _c.part(ops.reshape(LU, shape=(LU.numel(),)), 0, 0, 0)
    if data:
        low, up = _factors._unpacked(LU)
    if swaps:
        p = _factors._permutation(ops.pivots_to_order(pivots, n=shape[-2]), LU)
    return return_types.lu_unpack((p, low, up))


def lu_unpack(
    LU_data: Tensor,
    LU_pivots: Tensor,
    unpack_data: bool = True,
    unpack_pivots: bool = True,
    *,
    out: Any = None,
) -> Any:
    """P, L and U from ``lu``; those not asked for are empty.

    >>> lu_unpack(*lu(tensor([[2.0]]))).U
    tensor([[2.]])
    """
    return _lu_unpack(LU_data, LU_pivots, unpack_data, unpack_pivots, out=out)


@function
def geqrf(input: Tensor) -> Any:
    """Householder vectors below R in one matrix, and their scales: for ``orgqr`` and ``ormqr``.

    >>> geqrf(torch.ones(3, 2)).tau.shape
    torch.Size([2])
    """
    _c.need_kernel("geqrf_cpu", input)
    _c.matrix(input, "torch.geqrf", "input")
    a, tau = ops.geqrf(input)
    return return_types.geqrf((_underived("geqrf", a, input), _underived("geqrf", tau, input)))


def orgqr(input: Tensor, tau: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``linalg.householder_product``."""
    return _factors.householder_product(input, tau, out=out)


@function
def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """Q (or its conjugate transpose) of ``geqrf`` times a matrix, from the left or the right.

    >>> ormqr(*geqrf(tensor([[2.0]])), tensor([[1.0]])).abs()
    tensor([[1.]])
    """
    _c.matrix(input, "torch.ormqr", "input")
    _c.matrix(other, "torch.ormqr", "other")
    if tau._meta.shape[-1] > input._meta.shape[-1]:
        raise RuntimeError(
            "torch.ormqr: input.shape[-1] must be greater than or equal to tau.shape[-1]"
        )
    if other._meta.shape[-2 if left else -1] != input._meta.shape[-2]:
        raise RuntimeError(
            f"torch.ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2]"
        )
    # x Q is (Q^H x^H)^H.
    x = other if left else _c.mh(other)
    back = transpose if left else not transpose
    y = _factors._reflected(input, tau, x, back, back)
    return y if left else _c.mh(y)


def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """``linalg.multi_dot`` of matrices.

    >>> chain_matmul(torch.ones(1, 2), torch.ones(2, 1))
    tensor([[2.]])
    """
    if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)):
        matrices = tuple(matrices[0])
    for x in matrices:
        if x.dim() != 2:
            raise RuntimeError(f"Tensor dimension is {x.dim()}, expected 2 instead.")
    if len(matrices) == 1:
        return matrices[0] if out is None else write_out(out, matrices[0], "chain_matmul")
    return _products.multi_dot(matrices, out=out)


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``q`` leading singular values and vectors, approximately, by random projections and
    subspace iteration [Halko et al. 2009].

    >>> [tuple(x.shape) for x in svd_lowrank(torch.ones(5, 4), q=2)]
    [(5, 2), (2,), (4, 2)]
    """
    from flambeau.functions.random import randn

    q = 6 if q is None else q
    a = A if M is None else A - M.expand(A.shape)
    m, n = a.shape[-2:]
    wide = m < n
    a = a.mH if wide else a
    basis = _factors.qr(a @ randn(a.shape[-1], q, dtype=a.dtype)).Q
    for _ in range(2 if niter is None else niter):
        basis = _factors.qr(a.mH @ basis).Q
        basis = _factors.qr(a @ basis).Q
    u, s, vh = _spectral.svd(basis.mH @ a, full_matrices=False)
    u, v = basis @ u, vh.mH
    return (v, s, u) if wide else (u, s, v)


def pca_lowrank(
    A: Tensor, q: int | None = None, center: bool = True, niter: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Principal components by ``svd_lowrank`` of the centred rows.

    >>> [tuple(x.shape) for x in pca_lowrank(torch.ones(5, 4), q=2)]
    [(5, 2), (2,), (4, 2)]
    """
    m, n = A.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not 0 <= q <= min(m, n):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(dim=-2, keepdim=True) if center else A, q, niter=niter)


SAMPLES = {
    "cholesky": "spd; spds; spd, True; spd, upper=False; torch.zeros(0, 0); !x;"
    "!m - 9 * torch.eye(4); !v; !i",
    "cholesky_solve": "x.t(), spd.tril(); m, spd.triu(), True; batch, spds.tril(); m, spds.tril();"
    "torch.zeros(0, 2), torch.zeros(0, 0); !x, spd.tril(); !v, spd; !i, i",
    "cholesky_inverse": "torch.linalg.cholesky(spd); torch.linalg.cholesky(spd).mT, True;"
    "torch.linalg.cholesky(spds); torch.zeros(0, 0); !x; !v; !i",
    "inverse": "m; batch; spd; cm; m[:1, :1]; torch.zeros(0, 0); !x; !v; !torch.zeros(2, 2); !i",
    "det": "m; batch; cm; m[:1, :1]; torch.zeros(0, 0); torch.zeros(2, 2) # no-grad; !x; !v; !i",
    "logdet": "spd; spds; m[[1, 0, 2, 3]]; -torch.eye(3) # no-grad; torch.zeros(2, 2) # no-grad;"
    "!x; !v",
    "slogdet": "m; batch; cm; spd; torch.zeros(2, 2) # no-grad; !x; !v; !i",
    "qr": "m # sign; tall # sign; wide # sign, no-grad; tall, False # sign, no-grad; batch # sign;"
    "!v; !i",
    "svd": "m # sign; tall # sign; wide # sign, no-grad; tall, False # sign, no-grad;"
    "m, compute_uv=False; batch # sign; !v; !i",
    "pinverse": "m; tall; wide; batch; tall, 0.1; torch.zeros(2, 3) # no-grad; cm; !v; !i",
    "matrix_power": "m, 3; m, 0; m, 1; m, -2; batch, 2; i[:, :3], 2; cm, 5; !x, 2; !v, 2; !m, 0.5",
    "matrix_exp": "0.3 * m.float(); 0.2 * batch.float(); 0.2 * cm; torch.zeros(2, 2);"
    "m[:1, :1].float(); torch.zeros(0, 0); 3 * m.float() # loose; !x; !v; !i",
    "triangular_solve": "x.t(), m; m, m, False; m, m, True, True; m, m, unitriangular=True;"
    "batch, spds; m, batch; !x, m; !v, m; !m, x; !i, i",
    "lu": "m; batch; tall; wide; m, get_infos=True # no-grad; !v; !i",
    "lu_solve": "m, *torch.linalg.lu_factor(spd); x.t(), *torch.linalg.lu_factor(m);"
    "batch, *torch.linalg.lu_factor(spds); !x, *torch.linalg.lu_factor(m); !m, m, k[0];"
    "!v, *torch.linalg.lu_factor(m)",
    "lu_unpack": "*torch.linalg.lu_factor(m); *torch.linalg.lu_factor(batch);"
    "*torch.linalg.lu_factor(tall); *torch.linalg.lu_factor(m), unpack_data=False;"
    "*torch.linalg.lu_factor(m), unpack_pivots=False; !m, k[0]; !m, v",
    "geqrf": "m; tall; wide; batch; !v; !i",
    "orgqr": "*torch.geqrf(tall.detach()); *torch.geqrf(m.detach()); m, 0.1 * v;"
    "batch, 0.1 * cube[:, 0]; !x, v; !v, v; !m, u[:0].expand(2, 0)",
    "ormqr": "*torch.geqrf(m.detach()), spd; *torch.geqrf(tall.detach()), tall;"
    "*torch.geqrf(m.detach()), m, True, True; *torch.geqrf(m.detach()), x, False; !m, v, x;"
    "!v, v, m; m, 0.1 * v, spd",
    "chain_matmul": "x, m; x, m, spd; m, m, m, y.t(); x; i, k.t(); !x, y; !x, v; !",
    "svd_lowrank": "tall, 2 # sign, no-grad; m # sign, no-grad; batch, 2, 1 # sign, no-grad;"
    "tall, q=2, M=tall * 0.1 # sign, no-grad; !v",
    "pca_lowrank": "tall, 2 # sign, no-grad; m # sign, no-grad; tall, 2, False # sign, no-grad;"
    "!tall, 9; !i",
}
