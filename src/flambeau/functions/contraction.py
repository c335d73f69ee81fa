"""Products over chosen dimensions: tensordot, inner, outer, kron, cross."""

from __future__ import annotations

import math
from typing import Any

from flambeau.functions.dims import wrap_dim
from flambeau.functions.inplace import title, write_out
from flambeau.functions.precision import lowered
from flambeau.functions.promotion import cast, promoted, result_type
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


@function
def _tensordot(input: Tensor, other: Tensor, dims1: tuple, dims2: tuple) -> Tensor:
    a, b = list(input._meta.shape), list(other._meta.shape)
    x, y = input, other
    for i, (m, n) in enumerate(zip(dims1, dims2, strict=True)):
        if a[m] != b[n] and 1 not in (a[m], b[n]):
            raise RuntimeError(
                "contracted dimensions need to match, but first has size "
                f"{a[m]} in dim {dims1[i]} and second has size {b[n]} in dim {dims2[i]}"
            )
        # A dimension of size 1 broadcasts: the other is summed.
        if a[m] == 1 and b[n] != 1:
            y, b[n] = ops.sum(y, dims=(n,), keepdim=True), 1
        elif b[n] == 1 and a[m] != 1:
            x, a[m] = ops.sum(x, dims=(m,), keepdim=True), 1
    rest1 = [d for d in range(len(a)) if d not in dims1]
    rest2 = [d for d in range(len(b)) if d not in dims2]
    inner = math.prod(a[d] for d in dims1)
    x = ops.permute(x, dims=(*rest1, *dims1))
    x = ops.reshape(x, shape=(math.prod(a[d] for d in rest1), inner))
    y = ops.permute(y, dims=(*dims2, *rest2))
    y = ops.reshape(y, shape=(inner, math.prod(b[d] for d in rest2)))
    made = ops.matmul(*lowered(x, y))
    return ops.reshape(made, shape=(*[a[d] for d in rest1], *[b[d] for d in rest2]))


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """The product summed over dimensions: the last ``dims`` of ``a`` with the first of ``b``, or
    the pairs of two lists.

    >>> tensordot(ones(2, 3), ones(3, 2), dims=1)
    tensor([[3., 3.],
            [3., 3.]])
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, (tuple, list)):
        if len(dims) != 2:
            raise RuntimeError(
                "tensordot expects dims to be int or tuple[list[int], list[int]] or list[list[int]]"
                f" containing two lists, but got dims={dims}"
            )
        first, second = (
            [int(d) for d in (side if isinstance(side, (tuple, list)) else [side])] for side in dims
        )
    else:
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        first, second = list(range(a.dim() - dims, a.dim())), list(range(dims))
    if len(first) != len(second):
        raise RuntimeError("both dimension lists should have same length")
    if a.dtype is not b.dtype:
        raise RuntimeError("both inputs should have same dtype")
    one = tuple(wrap_dim(d, a.dim()) for d in first)
    two = tuple(wrap_dim(d, b.dim()) for d in second)
    for side in (one, two):
        for d in side:
            if side.count(d) > 1:
                raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    result = _tensordot(a, b, one, two)
    return result if out is None else write_out(out, result, "tensordot")


@function
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The product summed over the last dimensions of both; plain product with a scalar.

    >>> inner(tensor([1, 2, 3]), tensor([0, 2, 1]))
    tensor(7)
    """
    a, b = input._meta.shape, other._meta.shape
    if not a or not b:
        return ops.mul(*promoted(input, other))
    if a[-1] != b[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(a)} and {list(b)}"
        )
    if input.dtype is not other.dtype:
        raise RuntimeError(
            f"expected both vectors to have same dtype, but found {title(input.dtype)} and "
            f"{title(other.dtype)}"
        )
    x = ops.reshape(input, shape=(math.prod(a[:-1]), a[-1]))
    y = ops.reshape(other, shape=(math.prod(b[:-1]), b[-1]))
    made = ops.matmul(*lowered(x, ops.permute(y, dims=(1, 0))))
    return ops.reshape(made, shape=(*a[:-1], *b[:-1]))


@function(grad="MulBackward0")
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of an element of one vector with one of another, a row for each of the first.

    >>> outer(tensor([1, 2]), tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    for what, t in (("self", input), ("vec2", vec2)):
        if t.dim() != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {what}, but got {t.dim()}-D")
    x, y = promoted(input, vec2)
    column = ops.reshape(x, shape=(x.numel(), 1))
    if x.dtype.category == 0:
        return ops.and_(column, y)
    return ops.mul(column, y)


ger = outer


@function
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker product: each element of ``input`` times all of ``other``, in blocks.

    >>> kron(tensor([1, 2]), tensor([1, 10]))
    tensor([ 1, 10,  2, 20])
    """
    x, y = promoted(input, other)
    n = max(x.dim(), y.dim())
    a = (1,) * (n - x.dim()) + x._meta.shape
    b = (1,) * (n - y.dim()) + y._meta.shape
    x = ops.reshape(x, shape=tuple(k for m in a for k in (m, 1)))
    y = ops.reshape(y, shape=tuple(k for m in b for k in (1, m)))
    product = ops.and_(x, y) if x.dtype.category == 0 else ops.mul(x, y)
    return ops.reshape(product, shape=tuple(m * k for m, k in zip(a, b, strict=True)))


def crossed(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """Cross products along a dimension of 3 of operands of one shape, in a function's body."""

    def entries(v: Tensor) -> list[Tensor]:
        return [ops.slice(v, k, dims=(dim,), sizes=(1,), steps=(1,)) for k in range(3)]

    a, b = entries(x), entries(y)
    found = [ops.sub(ops.mul(a[k], b[m]), ops.mul(a[m], b[k])) for k, m in ((1, 2), (2, 0), (0, 1))]
    return ops.concat(*found, dim=dim)


@function(grad="LinalgCrossBackward0")
def _cross(input: Tensor, other: Tensor, dim: int) -> Tensor:
    dtype = result_type(input, other)
    return crossed(cast(input, dtype), cast(other, dtype), dim)


def cross(
    input: Tensor, other: Tensor, dim: int | None = None, *, out: Tensor | None = None
) -> Tensor:
    """The cross product along a dimension of size 3 (by default the first such).

    >>> cross(tensor([1, 0, 0]), tensor([0, 1, 0]))
    tensor([0, 0, 1])
    """
    from flambeau.functions.checks import _need_one_dtype
    from flambeau.ir.primitive import broadcast_shapes

    if input.dim() != other.dim():
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    _need_one_dtype(input, other)
    if input.dtype.category == 0:
        raise NotImplementedError("\"cross\" not implemented for 'Bool'")
    shape = broadcast_shapes(input._meta.shape, other._meta.shape)
    if dim is None:
        found = [d for d, n in enumerate(input._meta.shape) if n == 3]
        if not found:
            raise RuntimeError("no dimension of size 3 in input")
        d = found[0]
    else:
        d = wrap_dim(dim, input.dim())
    for t in (input, other):
        if not t.dim() or t._meta.shape[d] != 3:
            raise RuntimeError(
                f"linalg.cross: inputs dimension {dim if dim is not None else d} must have length "
                f"3. Got {input._meta.shape[d] if input.dim() else 1} and "
                f"{other._meta.shape[d] if other.dim() else 1}"
            )
    result = _cross(input.expand(shape), other.expand(shape), d)
    return result if out is None else write_out(out, result, "cross", (input, other))


SAMPLES = {
    "tensordot": "x, y.t(), 1; x, y; x, y, ([0, 1], [0, 1]); cube, x, ([1], [0]); x, u, ([0], [0]);"
    "x, y, 0; i, j.t(), dims=1; c, d.t(), 1; !x, y, 1; !x, y, 3; !x, i, 2; !x, y, ([0], [0, 1])",
    "inner": "v, w; x, y; x, v; s, x; i, j; c, d; cube, x; !x, u; !x, i; !x, 2.0",
    "outer": "v, w; u, v; v, torch.arange(3); cv, v; mask, mask; empty[:, 0], v; !x, v; !v, s;"
    "!v, 2",
    "ger": "v, u; !x, v",
    "kron": "x, m; v, w; s, x; i, j; cube, cube; c, d; mask, mask; !x, 2",
    "cross": "tall, tall.flip(0), 1; x, y, 0; x, y; x, u[:, None]; i, j, 0; c, d, 0; x, y, dim=-2;"
    "!x, y, 1; !m, m; !x, u; !x, y.double(); !truth, truth, 0",
}
