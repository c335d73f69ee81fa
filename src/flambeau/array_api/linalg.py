"""The standard's linear algebra: PyTorch's, and what differs or lies elsewhere there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.array_api.data_types import promoted
from flambeau.array_api.statistics import sum
from flambeau.linalg import (
    cholesky,
    det,
    diagonal,
    eigh,
    eigvalsh,
    inv,
    matrix_norm,
    matrix_power,
    matrix_rank,
    pinv,
    qr,
    slogdet,
    svd,
    svdvals,
)

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

outer = flambeau.outer


def matmul(x1: Tensor, x2: Tensor, /, **options: Any) -> Tensor:
    """The product of matrices, operands promoted.

    >>> torch.array_api.matmul(torch.ones(1, 2, dtype=torch.float64), torch.ones(2, 1))
    tensor([[2.]], dtype=torch.float64)
    """
    return flambeau.matmul(*promoted(x1, x2, always=True), **options)


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The last two dimensions exchanged.

    Raises: ``ValueError`` for fewer than two.

    >>> torch.array_api.matrix_transpose(torch.ones(2, 3)).shape
    torch.Size([3, 2])
    """
    if x.dim() < 2:
        raise ValueError("x must be at least 2-dimensional for matrix_transpose")
    return x.mT


def tensordot(
    x1: Tensor,
    x2: Tensor,
    /,
    *,
    axes: int | tuple[Sequence[int], Sequence[int]] = 2,
    **options: Any,
) -> Tensor:
    """The contraction over several axes, operands promoted.

    >>> torch.array_api.tensordot(torch.ones(2, 3), torch.ones(2, 3))
    tensor(6.)
    """
    return flambeau.tensordot(*promoted(x1, x2, always=True), dims=axes, **options)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    r"""The scalar product along an axis, :math:`\sum_i \overline{x_i} y_i`.

    Raises: ``ValueError`` if the sizes of the axis differ.

    >>> torch.array_api.vecdot(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor(11)
    """
    x1, x2 = promoted(x1, x2, always=True)
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError("x1 and x2 must have the same size along the given axis")
    if x1.dtype.is_floating_point or x1.dtype.is_complex:
        return flambeau.linalg.vecdot(x1, x2, dim=axis)
    rows, columns = flambeau.broadcast_tensors(x1.movedim(axis, -1), x2.movedim(axis, -1))
    return (rows[..., None, :] @ columns[..., None])[..., 0, 0]


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The vector product of vectors of three along an axis.

    Raises: ``ValueError`` for an axis that is not there or not of size 3.

    >>> torch.array_api.linalg.cross(torch.tensor([1, 0, 0]), torch.tensor([0, 1, 0]))
    tensor([0, 0, 1])
    """
    least = -min(x1.dim(), x2.dim())
    if not least <= axis < max(x1.dim(), x2.dim()):
        raise ValueError(
            f"axis {axis} out of bounds for cross product of arrays of shapes {x1.shape} and "
            f"{x2.shape}"
        )
    if not x1.shape[axis] == x2.shape[axis] == 3:
        raise ValueError(
            f"cross product axis must have size 3, got {x1.shape[axis]} and {x2.shape[axis]}"
        )
    x1, x2 = flambeau.broadcast_tensors(*promoted(x1, x2, always=True))
    return flambeau.linalg.cross(x1, x2, dim=axis)


def solve(x1: Tensor, x2: Tensor, /, **options: Any) -> Tensor:
    """X of x1 X = x2; x2 is a vector only where it has one dimension, else matrices.

    >>> torch.array_api.linalg.solve(2 * torch.eye(2), torch.ones(2))
    tensor([0.5000, 0.5000])
    """
    x1, x2 = promoted(x1, x2, always=True)
    if x2.dim() != 1 and x1.shape[:-1] == x2.shape:
        # PyTorch would take these matrices for a batch of vectors.
        x2 = x2[None]
    return flambeau.linalg.solve(x1, x2, **options)


def trace(x: Tensor, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sums of diagonals of matrices.

    >>> torch.array_api.linalg.trace(torch.eye(3))
    tensor(3.)
    """
    return sum(flambeau.diagonal(x, offset, -2, -1), axis=-1, dtype=dtype)


def vector_norm(
    x: Tensor,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
    ord: float = 2,
    **options: Any,
) -> Tensor:
    r""":math:`(\sum |x|^p)^{1/p}` over axes; over none of them each number's own norm.

    >>> torch.array_api.linalg.vector_norm(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if axis != ():
        return flambeau.linalg.vector_norm(x, ord, axis, keepdims, **options)
    return flambeau.linalg.vector_norm(x[..., None], ord, -1, **options)
