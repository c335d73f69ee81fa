"""Norms of vectors and matrices, condition numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.functions import norms as _norms
from flambeau.functions.linalg import _common as c
from flambeau.record.builder import Num
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from flambeau.dtypes import dtype


def vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    axis: Any = None,
    keepdims: bool = False,
    dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    r"""The p-norm of all elements or over dimensions: :math:`(\sum_i |x_i|^p)^{1/p}`.

    inf and -inf give the largest and the smallest size, 0 the number of elements not zero.

    >>> vector_norm(tensor([3.0, 4.0]))
    tensor(5.)
    """
    dim, keepdim = (dim if axis is None else axis), keepdim or keepdims
    return _norms._vector_norm(x, ord, dim, keepdim, dtype, out=out)


def matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: Any = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """A norm of matrices: "fro", "nuc", or 1, 2, inf and their negatives.

    >>> matrix_norm(tensor([[3.0, 0.0], [0.0, 4.0]]), 2)
    tensor(4.)
    """
    return _norms._matrix_norm(A, ord, tuple(dim), keepdim, dtype, out=out)


def norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    out: Tensor | None = None,
    dtype: dtype | None = None,
) -> Tensor:
    """A vector norm over one dimension, a matrix norm over two; without ``ord`` the 2-norm.

    >>> norm(tensor([3.0, 4.0]))
    tensor(5.)
    """
    if ord is None:
        return vector_norm(A, 2.0, dim, keepdim, dtype=dtype, out=out)
    if dim is None:
        if A.dim() not in (1, 2):
            raise RuntimeError(
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. "
                f"Got {A.dim()}D."
            )
        dim = tuple(range(A.dim()))
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if len(dims) == 2:
        return matrix_norm(A, ord, dims, keepdim, dtype=dtype, out=out)
    if len(dims) != 1:
        raise RuntimeError(
            f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}"
        )
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} not supported for vectors.")
    return vector_norm(A, ord, dims, keepdim, dtype=dtype, out=out)


@function(grad="LinalgCondBackward0")
def _cond(A: Tensor, p: Any) -> Tensor:
    if isinstance(p, Num):
        bool(p)
    shape = c.matrix(A, "linalg.cond")
    real = A.dtype.to_real()
    if p is None or p in (2, -2):
        if 0 in shape[-2:]:
            return ops.full(0.0, shape=shape[:-2], dtype=real)
        s = c.singular_values(A)
        last = s.dim() - 1
        k = s._meta.shape[-1]
        large, small = c.part(s, last, 0, 1), c.part(s, last, k - 1, 1)
        ratio = ops.div(small, large) if p == -2 else ops.div(large, small)
        return ops.reshape(ratio, shape=shape[:-2])
    c.square(A, "linalg.cond")
    if 0 in shape:
        return ops.full(0.0, shape=shape[:-2], dtype=real)
    inverse, info = ops.inv(A)
    size = _norms._matrix_norm_of(A, p, (-2, -1), False, "linalg.cond")
    ratio = ops.mul(size, _norms._matrix_norm_of(inverse, p, (-2, -1), False, "linalg.cond"))
    # Singular matrices are infinitely badly conditioned.
    return ops.where(ops.ne(info, 0), float("inf"), ratio)


def cond(A: Tensor, p: float | str | None = None, *, out: Tensor | None = None) -> Tensor:
    """Condition numbers: the norm times that of the inverse; by default in the 2-norm.

    >>> cond(tensor([[1.0, 0.0], [0.0, 4.0]]))
    tensor(4.)
    """
    return _cond(A, p, out=out)


SAMPLES = {
    "linalg.norm": "x; x, 2; x, 'fro'; x, 'nuc'; x, 1; x, inf; x, -inf; x, -1; x, -2; v, 3; v, 0;"
    "x, 2, 1; x, 1, (0, 1), True; c; s; cube, 'fro', (0, 2); x, dtype=torch.float64; v, inf; empty;"
    "!i; !x, 2, 2; !x, 'other'; !x, 3; !x, 'fro', 0; !cube, 2",
    "linalg.vector_norm": "x; x, 1; x, inf, 1; x, -inf, 0; x, 0; x, 3.5, (0, 1), True; c; s;"
    "empty, 2, 0; x, 2, dtype=torch.float64; x, -1, 1; empty; !i; !x, 2, 2; !empty, inf; !x, 'fro'",
    "linalg.matrix_norm": "x; x, 'nuc'; x, 1; x, -1; x, inf; x, -inf; x, 2; x, -2;"
    "batch, 2, keepdim=True; cube, 'fro', (0, 1); cm; x, dtype=torch.float64; !v; !i; !x, 3;"
    "!x, 'other'; !x, 2, (0, 0); !x, 2, 1",
    "linalg.cond": "m; m, 'fro'; m, 'nuc'; m, 1; m, -1; m, inf; m, 2; m, -2; tall; batch; batch, 1;"
    "torch.zeros(2, 2), 1 # no-grad; cm; !v; !i; !x, 1; !m, 3",
}
