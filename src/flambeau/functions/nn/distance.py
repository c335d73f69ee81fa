"""Distances and similarities of vectors."""

from __future__ import annotations

import math

from flambeau.functions.checks import _need_one_dtype, _tensors
from flambeau.functions.dims import wrap_dim
from flambeau.functions.nn._common import (
    broadcast_together,
    difference,
    part,
    reshape,
    same_dtype,
)
from flambeau.functions.pointwise import _in_floats
from flambeau.functions.promotion import Number
from flambeau.ir import distances as _declared
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

del _declared  # imported for what it declares


def norm(x: Tensor, p: float, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """The p-norm over dimensions, with gradient 0 where it is 0; inside a body."""
    how = {"dims": dims, "keepdim": keepdim}
    if p == 2.0:
        if x.dtype.is_complex:
            x = ops.abs(x)
        squares = ops.sum(ops.square(x), **how)
        zero = ops.eq(squares, 0.0)
        return ops.where(zero, 0.0, ops.sqrt(ops.where(zero, 1.0, squares)))
    size = ops.abs(x)
    if p == 1.0:
        return ops.sum(size, **how)
    if p == math.inf:
        return ops.amax(size, **how)
    if p == -math.inf:
        return ops.amin(size, **how)
    if p == 0.0:
        return ops.sum(ops.where(ops.ne(size, 0.0), 1.0, size), **how)
    if p < 1.0:
        # The slope at 0 is infinite: PyTorch takes 0.
        still = ops.eq(size, 0.0)
        powers = ops.where(still, 0.0, ops.pow(ops.where(still, 1.0, size), p))
    else:
        powers = ops.pow(size, p)
    total = ops.sum(powers, **how)
    zero = ops.eq(total, 0.0)
    return ops.where(zero, 0.0, ops.pow(ops.where(zero, 1.0, total), 1.0 / p))


@function(grad="SumBackward1")
def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int, eps: float) -> Tensor:
    x, y = broadcast_together(*same_dtype(x1, x2))
    if x.dtype.category != 2:
        raise RuntimeError(
            f"expected common dtype to be floating point, yet common dtype is {_title(x)}"
        )
    d = wrap_dim(dim, x.dim())
    dims = (d,) if x.dim() else ()

    def unit(v: Tensor) -> Tensor:
        size = norm(v, 2.0, dims, True)
        return ops.div(v, ops.where(ops.lt(size, eps), eps, size))

    return ops.sum(ops.mul(unit(x), unit(y)), dims=dims, keepdim=False)


def _title(x: Tensor) -> str:
    from flambeau.functions.inplace import title

    return title(x.dtype)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    r""":math:`x \cdot y / (\max(|x|, \epsilon) \max(|y|, \epsilon))` along a dimension.

    >>> cosine_similarity(tensor([[1.0, 0.0]]), tensor([[1.0, 1.0]]))
    tensor([0.7071])
    """
    return _cosine_similarity(x1, x2, int(dim), float(eps))


@function(grad="NormBackward1")
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: Number = 1e-6, keepdim: bool = False
) -> Tensor:
    r""":math:`\lVert x - y + \epsilon \rVert_p` over the last dimension.

    >>> pairwise_distance(tensor([[0.0, 0.0]]), tensor([[3.0, 4.0]]))
    tensor([5.0000])
    """
    gap = ops.add(_in_floats(difference(*broadcast_together(x1, x2))), eps)
    return norm(gap, float(p), (gap.dim() - 1,), keepdim)


# For more rows than this the gradient of Euclidean distances is a product, as it is in PyTorch.
_MANY = 25


@function(grad="CdistBackward0")
def _cdist(x1: Tensor, x2: Tensor, p: float) -> Tensor:
    from flambeau.ir.primitive import broadcast_shapes

    a, b = x1._meta.shape, x2._meta.shape
    lead = broadcast_shapes(a[:-2], b[:-2])
    x, y = same_dtype(x1, x2)
    if 0 in (*lead, a[-1], a[-2], b[-2]):
        # Nothing to add up: zeros, with the history of both.
        n = y.dim()
        return ops.matmul(x, ops.permute(y, dims=(*range(n - 2), n - 1, n - 2)))
    if p == 2 and x.dtype.itemsize > 2 and max(a[-2], b[-2]) > _MANY:
        return ops.euclidean_distances(x, y)
    x = reshape(x, (*a[:-1], 1, a[-1]))
    y = reshape(y, (*b[:-2], 1, *b[-2:]))
    gap = ops.sub(x, y)
    return norm(gap, p, (gap.dim() - 1,), False)


@_tensors
def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """The p-norm distances of each row of ``x1`` and each of ``x2``.

    Shapes: ``(..., P, M)`` and ``(..., R, M)`` give ``(..., P, R)``. ``compute_mode`` is PyTorch's
    choice of algorithm; distances are computed directly here.

    >>> cdist(tensor([[0.0, 0.0]]), tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """
    modes = (
        "use_mm_for_euclid_dist_if_necessary",
        "use_mm_for_euclid_dist",
        "donot_use_mm_for_euclid_dist",
    )
    if compute_mode not in modes:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for name, x in (("X1", x1), ("X2", x2)):
        if x.dim() < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.dim()}D")
        if not x.is_floating_point():
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: {_title(x)}"
            )
    if x1.size(-1) != x2.size(-1):
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.size(-1)} X2: {x2.size(-1)}"
        )
    _need_one_dtype(x1, x2)
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    return _cdist(x1, x2, float(p))


@function(grad="PdistBackward0")
def _pdist(input: Tensor, p: float) -> Tensor:
    n, m = input._meta.shape
    count = n * (n - 1) // 2
    if not count:
        return reshape(part(input, 0, 0, 0), (0,))
    rows = ops.pair_rows(n=n)
    gap = ops.sub(ops.index(input, rows[0], where=(0,)), ops.index(input, rows[1], where=(0,)))
    return norm(gap, p, (1,), False) if m else ops.sum(gap, dims=(1,), keepdim=False)


@_tensors
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances of all pairs of rows ``i < j`` of ``(N, M)``: ``N (N - 1) / 2``.

    >>> pdist(tensor([[0.0], [1.0], [3.0]]))
    tensor([1., 3., 2.])
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if not input.is_floating_point():
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    return _pdist(input, float(p))


SAMPLES = {
    "nn.functional.cosine_similarity": "x, y; x, y, 0; x, y, dim=-1, eps=0.5; x, row;"
    " cube, cube * 2, 1; x, x * 0; v, w, 0; !x, y, 2; !x, u; !i, j",
    "nn.functional.pairwise_distance": "x, y; x, y, 1.0; x, y * w, p=inf; x, y, 3.0, 0.0, True;"
    " x, row; v, w; x, x, eps=0.5; !x, u",
    "cdist": "x, y; x.repeat(9, 1), y; x, y, 1.0; x, y, p=inf; x, y, 0.0; x, y, 3.0;"
    " cube, cube * 2; x, y, compute_mode='donot_use_mm_for_euclid_dist'; empty, x; !x, tall;"
    " !v, x; !x, y, -1.0",
    "nn.functional.pdist": "x; x, 1.0; x, p=inf; x, 0.0; x, 3.0; row; !cube; !x, -1.0; !i",
}
