"""Determinants, inverses and solutions of linear systems."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes, return_types
from flambeau.functions.inplace import title as _title
from flambeau.functions.linalg import _common as c
from flambeau.ir.reference import eigen
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

_SINGULAR = (
    "The diagonal element {k} is zero, the inversion could not be completed because the input "
    "matrix is singular."
)
_UNSOLVED = "The solver failed because the input matrix is singular."


@function(grad="LinalgDetBackward0")
def det(A: Tensor) -> Tensor:
    """Determinants of square matrices ``(*, n, n)``: ``(*)``.

    The gradient holds for singular matrices too.

    >>> det(tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(-2.)
    """
    c.square(A, "linalg.det")
    return ops.det(A)


@function(grad="LinalgSlogdetBackward0")
def slogdet(A: Tensor) -> Any:
    """Sign (phase) of determinants and logarithm of their sizes.

    >>> slogdet(tensor([[1.0, 2.0], [3.0, 4.0]])).sign
    tensor(-1.)
    """
    c.square(A, "linalg.slogdet")
    return return_types.linalg_slogdet(ops.slogdet(A))


@function(grad="LinalgInvExBackward0")
def inv(A: Tensor) -> Tensor:
    """Inverses of square matrices. ``LinAlgError`` if one is singular.

    >>> inv(tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    c.square(A, "linalg.inv")
    return ops.checked(*ops.inv(A), name="linalg.inv", message=_SINGULAR)


@function(grad="LinalgInvExBackward0")
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """Inverses, and for each matrix the first zero pivot (0: none).

    >>> inv_ex(tensor([[0.0]])).info
    tensor(1, dtype=torch.int32)
    """
    c.square(A, "linalg.inv")
    found, info = ops.inv(A)
    if check_errors:
        found = ops.checked(found, info, name="linalg.inv_ex", message=_SINGULAR)
    return return_types.linalg_inv_ex((found, info))


def _solved(A: Tensor, B: Tensor, left: bool, check: bool, name: str) -> tuple[Tensor, Tensor]:
    shape = c.square(A, name)
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type "
            f"{_title(A.dtype)} and B of type {_title(B.dtype)} instead"
        )
    vector = c.is_vector(A, B)
    if vector and not left:
        raise RuntimeError(
            f"{name}: Vector broadcasting of the left hand side is not supported for left=False. "
            "In this case linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    b = c.column(B) if vector else B
    if b.dim() < 2:
        raise RuntimeError(f"{name}: The input tensor B must have at least 2 dimensions.")
    inner = b._meta.shape[-2 if left else -1]
    if inner != shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({shape[-2]}x{shape[-1]} and "
            f"{b._meta.shape[-2]}x{b._meta.shape[-1]})"
        )
    x, info = ops.solve(A, b) if left else ops.solve(c.mt(A), c.mt(b))
    if check:
        x = ops.checked(x, info, name="torch." + name, message=_UNSOLVED)
    x = x if left else c.mt(x)
    return (c.reshape(x, x._meta.shape[:-1]) if vector else x), info


@function(grad="LinalgSolveExBackward0")
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    r"""X with :math:`AX = B` (or :math:`XA = B`). ``LinAlgError`` if a matrix is singular.

    Shapes: ``A`` (*, n, n), ``B`` (*, n, k) or vectors (*, n); leading dimensions broadcast.

    >>> solve(tensor([[2.0, 0.0], [0.0, 4.0]]), tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    return _solved(A, B, left, True, "linalg.solve")[0]


@function(grad="LinalgSolveExBackward0")
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """``solve``, and for each matrix the first zero pivot (0: none).

    >>> solve_ex(tensor([[2.0]]), tensor([1.0])).result
    tensor([0.5000])
    """
    return return_types.linalg_solve_ex(_solved(A, B, left, check_errors, "linalg.solve"))


def _triangular(
    A: Tensor, B: Tensor, upper: bool, left: bool, unitriangular: bool, name: str
) -> Tensor:
    shape = c.square(A, name)
    c.matrix(B, name, "B")
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type "
            f"{_title(A.dtype)} and B of type {_title(B.dtype)} instead"
        )
    other = B._meta.shape
    if shape[-1] != other[-2 if left else -1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({shape[-2]}x{shape[-1]} and "
            f"{other[-2]}x{other[-1]})"
        )
    if left:
        return ops.solve_triangular(A, B, upper=upper, unit=unitriangular)
    return c.mt(ops.solve_triangular(c.mt(A), c.mt(B), upper=not upper, unit=unitriangular))


@function(grad="LinalgSolveTriangularBackward0")
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    r"""X with :math:`AX = B` (or :math:`XA = B`) of which one triangle of ``A`` is read.

    >>> solve_triangular(tensor([[2.0, 9.0], [2.0, 1.0]]), tensor([[2.0], [3.0]]), upper=False)
    tensor([[1.],
            [1.]])
    """
    return _triangular(A, B, upper, left, unitriangular, "linalg.solve_triangular")


_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


@function(grad="LinalgLstsqBackward0")
def _lstsq(A: Tensor, b: Tensor, rcond: float) -> Tensor:
    zero = ops.full(0.0, shape=(), dtype=A.dtype.to_real())
    limit = ops.full(rcond, shape=(), dtype=A.dtype.to_real())
    return ops.matmul(ops.pinv(A, zero, limit, hermitian=False), b)


@function(grad="LinalgLstsqBackward0")
def _no_residuals(A: Tensor, b: Tensor) -> Tensor:
    none = ops.full(0.0, shape=(0,), dtype=A.dtype.to_real())
    of = A if A._meta.requires_grad else b
    return c.with_history(none, ops.real(of) if of.dtype.is_complex else of)


@function(grad="LinalgLstsqBackward0")
def _residuals(A: Tensor, x: Tensor, b: Tensor) -> Tensor:
    d = ops.abs(ops.sub(ops.matmul(A, x), b))
    return ops.sum(ops.mul(d, d), dims=(d.dim() - 2,), keepdim=False)


def lstsq(
    A: Tensor,
    B: Tensor,
    rcond: float | None = None,
    *,
    driver: str | None = None,
    out: Any = None,
) -> Any:
    r"""Least squares: the X that minimises :math:`\lVert AX - B \rVert_F`, the least of several.

    ``driver``: "gelsy" (default), "gels", "gelsd" or "gelss"; they differ in what they give
    besides: residuals for full rank and more rows than columns, the rank (not "gels"), singular
    values ("gelsd", "gelss").

    >>> lstsq(tensor([[1.0], [1.0]]), tensor([[1.0], [3.0]])).solution.round(decimals=3)
    tensor([[2.]])
    """
    import numpy as np

    from flambeau.tensor import concrete

    name = "torch.linalg.lstsq"
    n, m = c.matrix(A, name, "input")[-2:]
    driver = driver or "gelsy"
    if driver not in _DRIVERS:
        raise RuntimeError(
            f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
        )
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"{name}: Expected input and other to have the same dtype, but got input's dtype "
            f"{_title(A.dtype)} and other's dtype {_title(B.dtype)}"
        )
    vector = c.is_vector(A, B)
    b = B.unsqueeze(-1) if vector else B
    if b.shape[-2] != n:
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size({-1 if vector else -2})"
        )
    real = A.dtype.to_real()
    if rcond is None:
        rcond = float(np.finfo(real.numpy).eps) * max(n, m)
    x = _lstsq(A, b, float(rcond))
    x = x.squeeze(-1) if vector else x
    empty = concrete(np.zeros(0, real.numpy), real)
    rank = concrete(np.zeros(0, np.int64), dtypes.int64)
    values, residuals = empty, _no_residuals(A, b)
    full = True
    if driver != "gels":
        s = eigen.svdvals(A.detach()._value()._array())
        limit = rcond * s.max(-1, keepdims=True) if s.shape[-1] else 0
        found = np.asarray((s > limit).sum(-1), np.int64)
        rank, full = concrete(found, dtypes.int64), bool((found == m).all())
        if driver != "gelsy":
            values = concrete(np.asarray(s), real)
    if n > m and full and driver != "gelsy":
        residuals = _residuals(A, x.unsqueeze(-1) if vector else x, b)
    result = return_types.linalg_lstsq((x, residuals, rank, values))
    if out is None:
        return result
    from flambeau.functions.inplace import write_out

    return write_out(out, result, "linalg_lstsq")


@function(grad="ReshapeAliasBackward0")
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse with respect to ``tensordot`` over the first ``ind`` dimensions.

    >>> tensorinv(torch.ones(1, 1, 1), 1).shape
    torch.Size([1, 1, 1])
    """
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    shape = A._meta.shape
    head, tail = shape[:ind], shape[ind:]
    n, m = math.prod(head), math.prod(tail)
    if n != m:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {m} != {n}"
        )
    c.floating(A, "linalg.inv")
    found = ops.checked(*ops.inv(c.reshape(A, (n, m))), name="linalg.inv", message=_SINGULAR)
    return c.reshape(found, (*tail, *head))


@function(grad="ReshapeAliasBackward0")
def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with ``tensordot(A, X, X.ndim) = B``; ``dims`` of ``A`` are moved to its end first.

    >>> tensorsolve(torch.ones(1, 1), torch.ones(1)).shape
    torch.Size([1])
    """
    n = A.dim()
    if dims is not None:
        moved = [d % n for d in dims]
        order = [d for d in range(n) if d not in moved] + moved
        A = ops.permute(A, dims=tuple(order))
    shape = A._meta.shape
    tail = shape[B.dim() :]
    size = math.prod(tail)
    if size != math.prod(shape[: B.dim()]):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {size} != {math.prod(shape[: B.dim()])}"
        )
    if B.numel() != size:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(other.shape), but got {size} != {B.numel()}"
        )
    c.floating(A, "linalg.solve")
    x, info = ops.solve(c.reshape(A, (size, size)), c.reshape(B, (size, 1)))
    x = ops.checked(x, info, name="torch.linalg.solve", message=_UNSOLVED)
    return c.reshape(x, tail)


SAMPLES = {
    "linalg.det": "m; batch; cm; m[:1, :1]; torch.zeros(0, 0); torch.zeros(2, 2) # no-grad; !x; !v;"
    "!i",
    "linalg.slogdet": "m; batch; cm; spd; torch.zeros(2, 2) # no-grad; !x; !v; !i",
    "linalg.inv": "m; batch; spd; cm; m[:1, :1]; torch.zeros(0, 0); !x; !v; !torch.zeros(2, 2); !i",
    "linalg.inv_ex": "m; batch; cm; !x; !torch.zeros(2, 2), check_errors=True; !i",
    "linalg.solve": "m, spd; m, v; m, x.t(); m, x, left=False; batch, spds; batch, cube[:, 0];"
    "m, batch; batch, m; cm, cv; m, torch.zeros(4, 0); !m, x; !x, v; !torch.zeros(4, 4), v;"
    "!m, i[0]; !v, v",
    "linalg.solve_ex": "m, spd; m, v; m, x, left=False; batch, spds; !m, x;"
    "!torch.zeros(4, 4), v, check_errors=True",
    "linalg.solve_triangular": "m, spd, upper=True; m, spd, upper=False;"
    "m, x, upper=True, left=False; m, x.t(), upper=True, unitriangular=True;"
    "batch, spds, upper=False; m, batch, upper=True; cm, c.t(), upper=True; !m, x, upper=True;"
    "!m, spd; !m, v, upper=True; !i, i, upper=True; !x, x, upper=True",
    "linalg.lstsq": "tall, tall; tall, m[:1, :1].expand(5, 2); m, x.t(); batch, spds;"
    "wide, x[:, :2] # no-grad; tall, tall, driver='gelsd' # no-grad; tall, tall, driver='gels';"
    "tall, tall, 0.01, driver='gelss' # no-grad; !tall, x; !tall, tall, driver='best'; !i, i;"
    "!v, v",
    "linalg.tensorinv": "m.reshape(2, 2, 4), 2; m.reshape(4, 2, 2), ind=1; m, 1; !x, 1; !m, 0;"
    "!m, -1; !torch.zeros(2, 2), 1",
    "linalg.tensorsolve": "m.reshape(2, 2, 4), m[:2, :2]; m, v;"
    "m.reshape(2, 4, 2), m[:2, :2], (1,); !x, v; !m, u; !i, labels",
}
