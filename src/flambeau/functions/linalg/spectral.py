"""Eigenvalues, singular values, and what is made of them: rank, pseudo-inverse."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes, return_types
from flambeau.functions.linalg import _common as c
from flambeau.functions.promotion import cast as _cast
from flambeau.ir.primitive import broadcast_shapes
from flambeau.record.builder import Num
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _upper(uplo: str) -> bool:
    if uplo.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    return uplo.upper() == "U"


@function(grad="LinalgEighBackward0")
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """Eigenvalues (ascending) and eigenvectors (columns) of Hermitian matrices.

    Only the triangle ``UPLO`` is read. Gradients of eigenvectors need distinct eigenvalues.

    >>> eigh(tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    c.square(A, "linalg.eigh")
    return return_types.linalg_eigh(ops.eigh(A, upper=_upper(UPLO)))


@function(grad="LinalgEighBackward0")
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues (ascending) of Hermitian matrices.

    >>> eigvalsh(tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    c.square(A, "linalg.eigvalsh")
    return c.eigenvalues(A, _upper(UPLO))


@function(grad="LinalgEigBackward0")
def eig(A: Tensor) -> Any:
    """Eigenvalues and eigenvectors (columns, of norm 1) of square matrices, complex.

    >>> eig(tensor([[2.0]])).eigenvalues
    tensor([2.+0.j])
    """
    c.square(A, "linalg.eig")
    return return_types.linalg_eig(ops.eig(A))


@function(grad="LinalgEigBackward0")
def eigvals(A: Tensor) -> Tensor:
    """Eigenvalues of square matrices, complex.

    >>> eigvals(tensor([[2.0]]))
    tensor([2.+0.j])
    """
    c.square(A, "linalg.eigvals")
    return ops.eig(A)[0]


@function(grad="LinalgSvdBackward0")
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    r"""U, S (descending) and V^H with :math:`A = U \operatorname{diag}(S) V^H`.

    Gradients of U and V need distinct singular values. ``driver`` is for CUDA.

    >>> svd(tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    c.matrix(A, "linalg.svd")
    _no_driver(driver, "linalg.svd")
    return return_types.linalg_svd(ops.svd(A, full_matrices=full_matrices))


def _no_driver(driver: str | None, name: str) -> None:
    if driver is not None:
        raise RuntimeError(
            f"{name}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER "
            "backend."
        )


@function(grad="LinalgSvdBackward0")
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Singular values, descending.

    >>> svdvals(tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.])
    """
    c.matrix(A, "linalg.svdvals")
    _no_driver(driver, "linalg.svdvals")
    return c.singular_values(A)


def _limits(A: Tensor, atol: Any, rtol: Any, rtol_default: bool = True) -> tuple[Tensor, Tensor]:
    """Absolute and relative tolerance as tensors; the relative one is by default eps * max(n, m)
    if there is no absolute one."""
    real = A.dtype.to_real()
    n, m = A._meta.shape[-2:]
    if rtol is None:
        eps = float(np.finfo(real.numpy).eps) * max(n, m)
        if isinstance(atol, Tensor):
            rtol = ops.where(ops.gt(atol, 0.0), 0.0, ops.full(eps, shape=(), dtype=real))
        else:
            rtol = 0.0 if atol is not None and atol > 0 else eps
    found = []
    for tolerance in (0.0 if atol is None else atol, rtol):
        if isinstance(tolerance, Tensor):
            if tolerance.dtype.is_complex:
                raise RuntimeError("atol and rtol tensors of complex type are not supported.")
            found.append(_cast(tolerance, real))
        else:
            found.append(ops.full(tolerance, shape=(), dtype=real))
    return found[0], found[1]


def _looked_at(*values: Any) -> None:
    for v in values:
        if isinstance(v, Num):
            bool(v)


@function(grad="LinalgPinvBackward0")
def _pinv(A: Tensor, atol: Any, rtol: Any, hermitian: bool) -> Tensor:
    _looked_at(atol, rtol)
    (c.square if hermitian else c.matrix)(A, "linalg.pinv")
    limits = _limits(A, atol, rtol)
    *lead, n, m = A._meta.shape
    whole = broadcast_shapes(tuple(lead), *(limit._meta.shape for limit in limits))
    if whole != tuple(lead):
        A = ops.broadcast(A, shape=(*whole, n, m))
    return ops.pinv(A, *limits, hermitian=hermitian)


def pinv(
    A: Tensor,
    rcond: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """Moore-Penrose inverses; singular values below max(atol, rtol * largest) count as zero.

    >>> pinv(tensor([[2.0], [0.0]]))
    tensor([[0.5000, 0.0000]])
    """
    return _pinv(A, atol, rtol if rcond is None else rcond, hermitian, out=out)


@function
def _rank(A: Tensor, atol: Any, rtol: Any, hermitian: bool) -> Tensor:
    _looked_at(atol, rtol)
    shape = (c.square if hermitian else c.matrix)(A, "torch.linalg.matrix_rank", "input")
    if 0 in shape[-2:]:
        return ops.full(0, shape=shape[:-2], dtype=dtypes.int64)
    if hermitian:
        s = ops.abs(c.eigenvalues(A))
    else:
        s = c.singular_values(A)
    low, relative = _limits(A, atol, rtol)
    largest = ops.amax(s, dims=(s.dim() - 1,), keepdim=False)
    limit = ops.maximum(low, ops.mul(largest, relative))
    above = ops.gt(s, ops.reshape(limit, shape=(*limit._meta.shape, 1)))
    return ops.sum(_cast(above, dtypes.int64), dims=(above.dim() - 1,), keepdim=False)


def matrix_rank(
    A: Tensor,
    tol: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """How many singular values are above max(atol, rtol * largest).

    >>> matrix_rank(tensor([[1.0, 0.0], [0.0, 0.0]]))
    tensor(1)
    """
    if tol is not None:
        atol, rtol = tol, 0.0
    return _rank(A, atol, rtol, hermitian, out=out)


SAMPLES = {
    "linalg.eigh": "spd # sign; spds # sign; m + m.mT # sign, no-grad; spd, 'U' # sign;"
    "cm + cm.mH # sign, no-grad; torch.zeros(0, 0); !x; !v; !i; !spd, 'X'",
    "linalg.eigvalsh": "spd; spd.detach(); spds; m; m, 'U'; cm; torch.zeros(0, 0); !x; !v; !i;"
    "!spd, 'X'",
    "linalg.eig": "m.triu() # sign, no-grad; batch.triu() # sign, no-grad;"
    "cm.tril() # sign, no-grad; !x; !v; !i",
    "linalg.eigvals": "m.triu(); batch.triu(); cm.triu(); torch.zeros(0, 0); !x; !v; !i",
    "linalg.svd": "m # sign; tall # sign, no-grad; wide, False # sign, no-grad;"
    "tall, full_matrices=False # sign; batch # sign; cm # sign, no-grad; torch.zeros(0, 3), False;"
    "!v; !i; !m, driver='gesvd'",
    "linalg.svdvals": "m; tall; wide; batch; cm; !v; !i; !m, driver='gesvd'",
    "linalg.pinv": "m; tall; wide; batch; tall, 0.1; spd, hermitian=True; m, rtol=0.1;"
    "tall, atol=0.5; cm; tall, torch.tensor(0.1); torch.zeros(2, 3) # no-grad; !v; !i;"
    "!x, hermitian=True",
    "linalg.matrix_rank": "m; tall; torch.zeros(2, 2); batch; spd, hermitian=True; tall, 1.0;"
    "m, rtol=0.5; m, atol=3.0; v[:, None] * w; batch, torch.tensor([1.0, 4.0]); !v; !i;"
    "!x, hermitian=True",
}
