"""Norms of vectors and matrices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import flambeau.ir.statistics  # noqa: F401  (declares primitives)
from flambeau.functions import dims as _dims
from flambeau.functions import promotion as _promotion
from flambeau.functions.inplace import title as _title
from flambeau.record.builder import Num
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from flambeau.dtypes import dtype


def _in(x: Tensor, dtype: dtype | None, name: str) -> Tensor:
    if x.dtype.category < 2:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {_title(x.dtype)}"
        )
    if dtype is None:
        return x
    if dtype.category < 2 or (x.dtype.is_complex and not dtype.is_complex):
        raise RuntimeError(
            f"{name}: the dtype of the input ({_title(x.dtype)}) should be convertible without "
            f"narrowing to the specified dtype ({_title(dtype)})"
        )
    return _promotion.cast(x, dtype)


def _over(x: Tensor, p: float, dims: tuple[int, ...], keepdim: bool, name: str) -> Tensor:
    shape = x._meta.shape
    if (p == math.inf or p < 0) and any(shape[d] == 0 for d in dims):
        raise RuntimeError(
            f"{name} cannot compute the {p:g} norm on an empty tensor because the operation does "
            "not have an identity"
        )
    return ops.vector_norm(x, dims=dims, keepdim=keepdim, p=float(p))


@function(grad="LinalgVectorNormBackward0")
def _vector_norm(x: Tensor, p: Any, dim: Any, keepdim: bool, dtype: Any = None) -> Tensor:
    if isinstance(p, Num):
        bool(p)
    x = _in(x, dtype, "linalg.vector_norm")
    return _over(x, p, _dims.wrap_dims(dim, x.dim()), keepdim, "linalg.vector_norm")


def _pair(dim: Any, ndim: int, name: str) -> tuple[int, int]:
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if len(dims) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {' '.join(map(str, dims))}")
    found = tuple(_dims.wrap_dim(d, ndim) for d in dims)
    if found[0] == found[1]:
        raise RuntimeError(f"{name}: dims must be different. Got ({dims[0]}, {dims[1]})")
    return found  # type: ignore[return-value]


def _singular(x: Tensor, rows: int, columns: int) -> Tensor:
    """Singular values of the matrices in two dimensions, at the end."""
    from flambeau.functions.linalg._common import floating, singular_values

    floating(x, "linalg.matrix_norm")
    rest = [d for d in range(x.dim()) if d not in (rows, columns)]
    stacked = ops.permute(x, dims=(*rest, rows, columns))
    if 0 in stacked._meta.shape[-2:]:
        # None at all, with the history of the matrix.
        return ops.abs(ops.reshape(stacked, shape=(*stacked._meta.shape[:-2], 0)))
    return singular_values(stacked)


def _matrix_norm_of(x: Tensor, p: Any, dim: Any, keepdim: bool, name: str) -> Tensor:
    shape = x._meta.shape
    if len(shape) < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    rows, columns = _pair(dim, len(shape), name)
    final = tuple(
        1 if i in (rows, columns) else n
        for i, n in enumerate(shape)
        if keepdim or i not in (rows, columns)
    )
    if p == "fro":
        return ops.vector_norm(x, dims=(rows, columns), keepdim=keepdim, p=2.0)
    if p == "nuc" or (not isinstance(p, str) and abs(p) == 2):
        values = _singular(x, rows, columns)
        last = values.dim() - 1
        if p == "nuc":
            found = ops.sum(values, dims=(last,), keepdim=False)
        else:
            found = _extreme(values, last, p, keepdim=False)
        return ops.reshape(found, shape=final)
    if isinstance(p, str) or abs(p) not in (1, math.inf):
        raise RuntimeError(
            f"{name}: Order {p} not supported."
            if isinstance(p, str)
            else f"{name}: Order {p:g} not supported."
        )
    # Columns' sums for 1, rows' for infinity.
    inner, outer = (rows, columns) if abs(p) == 1 else (columns, rows)
    sums = ops.vector_norm(x, dims=(inner,), keepdim=True, p=1.0)
    return ops.reshape(_extreme(sums, outer, p, keepdim=True), shape=final)


def _extreme(x: Tensor, dim: int, p: float, keepdim: bool) -> Tensor:
    """The greatest (``p > 0``) or least of sizes along a dimension."""
    if x._meta.shape[dim]:
        return (ops.amax if p > 0 else ops.amin)(x, dims=(dim,), keepdim=keepdim)
    if p < 0:
        raise IndexError(f"amin(): Expected reduction dim {dim} to have non-zero size.")
    # The greatest of no sizes is 0 here, without history as in PyTorch.
    return ops.detach(ops.sum(x, dims=(dim,), keepdim=keepdim))


@function(grad="LinalgVectorNormBackward0")
def _matrix_norm(x: Tensor, p: Any, dim: Any, keepdim: bool, dtype: Any = None) -> Tensor:
    if isinstance(p, Num):
        bool(p)
    x = _in(x, dtype, "linalg.matrix_norm")
    return _matrix_norm_of(x, p, dim, keepdim, "linalg.matrix_norm")


def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: Any = None,
    keepdim: bool = False,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    *,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    r"""The p-norm of all elements or over dimensions: :math:`(\sum_i |x_i|^p)^{1/p}`.

    "fro" is 2; "nuc" the sum of singular values over two dimensions. The 2-norm has no gradient
    at 0.

    >>> norm(tensor([3.0, 4.0]))
    tensor(5.)
    """
    dim, keepdim = (dim if axis is None else axis), keepdim or keepdims
    if p == "nuc":
        if dim is None:
            if input.dim() != 2:
                raise RuntimeError(
                    "linalg.matrix_norm: dim must be a 2-tuple"
                    if input.dim() < 2
                    else "Expected a tensor with 2 dimensions"
                )
            dim = (0, 1)
        return _matrix_norm(input, "nuc", dim, keepdim, dtype, out=out)
    if p is None or p == "fro":
        p = 2.0
    if isinstance(p, str):
        raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found: {p}")
    if isinstance(p, Tensor):
        p = p.item()
    return _vector_norm(input, p, dim, keepdim, dtype, out=out)


SAMPLES = {
    "norm": "x; x, 2; x, 'fro'; x, 'nuc'; x, 1; x, inf; x, -inf; x, 0; x, 3, 1; x, 2, (0, 1);"
    "x, 'fro', dim=1, keepdim=True; c; s; x, dim=0; x, 1.5, dtype=torch.float64; cube, 2, (0, 2);"
    "empty; x, -1, 0; v, 0.5; !i; !x, 2, 2; !x, 'other'; !i, 'fro'",
}
