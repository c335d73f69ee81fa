"""Powers, exponentials and products of matrices and vectors."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from flambeau.functions import dims as _dims
from flambeau.functions.checks import _need_one_dtype, _refuse
from flambeau.functions.contraction import crossed
from flambeau.functions.inplace import title
from flambeau.functions.linalg import _common as c
from flambeau.functions.precision import lowered
from flambeau.functions.promotion import promoted as _promoted
from flambeau.ir.primitive import broadcast_shapes
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


@function(grad="LinalgMatrixExpBackward0")
def matrix_exp(A: Tensor) -> Tensor:
    r"""Exponentials of square matrices: :math:`\sum_k A^k / k!` [Higham 2005].

    >>> matrix_exp(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if A.dim() < 2 or A._meta.shape[-1] != A._meta.shape[-2]:
        c.square(A, "linalg.matrix_exp")
    if A.dtype.category < 2:
        c.floating(A, "linalg.matrix_exp")
    return ops.matrix_exp(A)


@function(grad="MmBackward0")
def matrix_power(A: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices; a negative one is of the inverse.

    >>> matrix_power(tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    from flambeau.functions.linalg.solving import _SINGULAR

    shape = A._meta.shape
    if len(shape) < 2:
        raise RuntimeError(
            "linalg.matrix_power: The input tensor A must have at least 2 dimensions."
        )
    if shape[-1] != shape[-2]:
        raise RuntimeError(
            f"linalg.matrix_power: A must be batches of square matrices, but they are {shape[-2]} "
            f"by {shape[-1]} matrices"
        )
    if n == 0:
        one = ops.broadcast(c.eye(shape[-1], shape[-1], A), shape=shape)
        return c.with_history(one, A) if A._meta.requires_grad else one
    x = A
    if n < 0:
        c.square(A, "linalg.inv")
        x = ops.checked(*ops.inv(A), name="linalg.inv", message=_SINGULAR)
    n, power = abs(n), None
    while True:
        if n & 1:
            power = x if power is None else ops.matmul(power, x)
        n >>= 1
        if not n:
            return ops.clone(power) if power is A else power
        x = ops.matmul(x, x)


@function(grad="LinalgCrossBackward0")
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    r"""Cross products of vectors of 3: :math:`x \times y`.

    >>> cross(tensor([1.0, 0.0, 0.0]), tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    if input.dim() != other.dim():
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    _need_one_dtype(input, other)
    if input.dtype.category == 0:
        _refuse("cross", input.dtype)
    return _cross(input, other, dim, "linalg.cross")


def _cross(input: Tensor, other: Tensor, dim: int, name: str) -> Tensor:
    d = _dims.wrap_dim(dim, input.dim())
    a, b = input._meta.shape[d], other._meta.shape[d]
    if a != 3 or b != 3:
        raise RuntimeError(f"{name}: inputs dimension {dim} must have length 3. Got {a} and {b}")
    x, y = _promoted(input, other)
    shape = broadcast_shapes(x._meta.shape, y._meta.shape)
    return crossed(c.spread(x, shape), c.spread(y, shape), d)


@function(grad="LinalgVecdotBackward0")
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    r"""Dot products along a dimension: :math:`\sum_i \bar x_i y_i`.

    >>> vecdot(tensor([1.0, 2.0]), tensor([3.0, 4.0]))
    tensor(11.)
    """
    for v in (x, y):
        if v.dtype.category < 2:
            c.floating(v, "linalg.vecdot")
    x, y = lowered(x, y)
    x = ops.conj(x) if x.dtype.is_complex else x
    product = ops.mul(x, y)
    return ops.sum(product, dims=_dims.wrap_dims(dim, product.dim()), keepdim=False)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Diagonals of matrices: a view.

    >>> diagonal(tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    from flambeau.functions.striding import diagonal as view

    return view(A, offset, dim1, dim2)


def _order(sizes: list[int]) -> Any:
    """The cheapest way to multiply a chain of matrices: nested pairs [Cormen et al., 15.2]."""
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def pairs(i: int, j: int) -> Any:
        return i if i == j else (pairs(i, split[i][j]), pairs(split[i][j] + 1, j))

    return pairs(0, n - 1)


@function(grad="MmBackward0")
def _multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    xs = list(tensors)
    if len(xs) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(xs)}")
    first, last = xs[0].dim(), xs[-1].dim()
    for at, ndim in ((0, first), (len(xs) - 1, last)):
        if ndim not in (1, 2):
            raise RuntimeError(f"multi_dot(): tensor {at} must be 1D or 2D but got {ndim}D")
    for i, x in enumerate(xs[1:-1], 1):
        if x.dim() != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {x.dim()}D")
    for x in xs[1:]:
        if x.dtype is not xs[0].dtype:
            raise RuntimeError(
                "multi_dot(): all tensors must have be the same dtype but tensor 0 is "
                f"{xs[0].dtype} and another {x.dtype}"
            )
    if first == 1:
        xs[0] = ops.reshape(xs[0], shape=(1, *xs[0]._meta.shape))
    if last == 1:
        xs[-1] = c.column(xs[-1])
    for i, (x, y) in enumerate(pairwise(xs)):
        if x._meta.shape[1] != y._meta.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(x._meta.shape)} and "
                f"{list(y._meta.shape)} cannot be multiplied"
            )

    def multiplied(pairs: Any) -> Tensor:
        if isinstance(pairs, int):
            return xs[pairs]
        return ops.matmul(*lowered(multiplied(pairs[0]), multiplied(pairs[1])))

    product = multiplied(_order([xs[0]._meta.shape[0], *[x._meta.shape[1] for x in xs]]))
    rows, columns = product._meta.shape
    return c.reshape(
        product, (*(() if first == 1 else (rows,)), *(() if last == 1 else (columns,)))
    )


def multi_dot(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """The product of matrices in the cheapest order; the first and the last may be vectors.

    >>> multi_dot([torch.ones(2, 3), torch.ones(3, 1), torch.ones(1)])
    tensor([3., 3.])
    """
    return _multi_dot(tuple(tensors), out=out)


@function(grad="CumprodBackward0")
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    r"""Rows of powers: :math:`x_i^0, x_i^1, \dots, x_i^{N - 1}`.

    >>> vander(tensor([2, 3]), N=3)
    tensor([[1, 2, 4],
            [1, 3, 9]])
    """
    from flambeau.dtypes import int64

    if x.dtype.category == 0 or x.dtype.name in ("float16", "bfloat16"):
        raise RuntimeError(
            "linalg.vander supports floating point, complex, and integer tensors, but got "
            + title(x.dtype)
        )
    x = x if x.dim() else ops.reshape(x, shape=(1,))
    shape = x._meta.shape
    n = shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError("N must be greater than 1.")
    if x.dtype.category < 2:
        x = ops.cast(x, dtype=int64) if x.dtype is not int64 else x
    ones = ops.full(1, shape=(*shape, 1), dtype=x.dtype)
    rest = ops.broadcast(c.column(x), shape=(*shape, n - 1))
    return ops.cumprod(ops.concat(ones, rest, dim=len(shape)), dim=len(shape))


SAMPLES = {
    "linalg.matrix_exp": "0.3 * m.float(); 0.2 * batch.float(); 0.2 * cm; torch.zeros(2, 2);"
    "m[:1, :1].float(); 3 * m.float() # loose; !x; !v; !i",
    "linalg.matrix_power": "m, 3; m, 0; m, 1; m, -2; batch, 2; i[:, :3], 2; cm, 5; !x, 2; !v, 2",
    "linalg.cross": "tall, tall.flip(0); x.t(), y.t(); x, y, dim=0; u[None], x.t(); i.t(), j.t();"
    "c, d, dim=0; !x, y; !x, y, dim=2; !x.t(), i.t(); !truth.t(), truth.t()",
    "linalg.vecdot": "x, y; x, row; x, y, dim=0; c, d; x, y + 1; v, w; x, v; empty, v; !x, u;"
    "!x, i; !x, y, dim=2; s, s",
    "linalg.diagonal": "m; x; batch; x, offset=1; x, offset=-1; cube, dim1=0, dim2=1; i;"
    "x, offset=9; !v; !x, dim1=0, dim2=0",
    "linalg.multi_dot": "[x, m]; [x, m, spd]; (v, m, w); [x, m, spd, v]; [u, x]; [x, v];"
    "[i, k.t()]; [m, m, m, y.t()]; ![x, y]; ![x]; ![x, u[:, None].expand(3, 4)[None]]; ![x, m, y];"
    "![x, i.t()]",
    "linalg.vander": "v; v, N=3; !v, N=1; x; labels; cv, N=3; x, N=2; !s; !v, N=0; !v, N=-1",
}
