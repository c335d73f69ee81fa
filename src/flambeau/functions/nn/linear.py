"""Linear and bilinear layers."""

from __future__ import annotations

import math

from flambeau.functions.nn._common import reshape
from flambeau.functions.precision import lowered, wide
from flambeau.functions.promotion import cast
from flambeau.record.macro import function, ops
from flambeau.record.refusal import no_tensor
from flambeau.tensor import Tensor


def _check(x: tuple, w: tuple, input: Tensor, weight: Tensor) -> None:
    if not x or not w:
        raise RuntimeError(
            f"both arguments to linear need to be at least 1D, but they are {len(x)}D and {len(w)}D"
        )
    if input.dtype is not weight.dtype:
        from flambeau.functions.arithmetic import _c_name

        raise RuntimeError(
            f"mat1 and mat2 must have the same dtype, but got {_title(input)} and {_title(weight)}"
            if len(x) == 2
            else f"expected m1 and m2 to have the same dtype, but got: {_c_name(input)} != "
            f"{_c_name(weight)}"
        )
    if x[-1] != w[-1]:
        if len(w) == 1:
            if len(x) == 1:
                raise RuntimeError(
                    f"inconsistent tensor size, expected tensor [{x[0]}] and src [{w[0]}] to have "
                    f"the same number of elements, but got {x[0]} and {w[0]} elements respectively"
                )
            raise RuntimeError(
                f"size mismatch, got input ({math.prod(x[:-1])}), mat "
                f"({math.prod(x[:-1])}x{x[-1]}), vec ({w[0]})"
            )
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({math.prod(x[:-1])}x{x[-1]} and "
            f"{w[1]}x{w[0]})"
        )


def _title(x: Tensor) -> str:
    from flambeau.functions.inplace import title

    return title(x.dtype)


def _body(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    input, weight, bias = lowered(input, weight, bias)
    x, w = input._meta.shape, weight._meta.shape
    _check(x, w, input, weight)
    if bias is not None and bias.dtype is not input.dtype:
        raise RuntimeError(
            f"self and mat2 must have the same dtype, but got {_title(bias)} and {_title(input)}"
        )
    if len(w) > 2:
        raise RuntimeError(f"linear: weight must be a vector or a matrix, got {list(w)}")
    kind = input.dtype
    if bias is not None:
        # Of 16 bits the product is not rounded before the bias is added.
        input, weight, bias = wide(input, weight, bias)
    y = _product(input, weight, bias, x, w)
    return y if y.dtype is kind else cast(y, kind)


def _product(input: Tensor, weight: Tensor, bias: Tensor | None, x: tuple, w: tuple) -> Tensor:
    kernel = weight if len(w) == 2 else reshape(weight, (1, w[0]))
    rows = input if len(x) == 2 else reshape(input, (math.prod(x[:-1]), x[-1]))
    y = ops.matmul(rows, ops.permute(kernel, dims=(1, 0)))
    shape = x[:-1] if len(w) == 1 else (*x[:-1], w[0])
    if bias is not None and len(w) == 2 and bias._meta.shape in ((w[0],), (1,), ()):
        # Added to the matrix: its gradient is then one sum over rows.
        return reshape(ops.add(y, bias), shape)
    y = reshape(y, shape)
    if bias is None:
        return y
    from flambeau.ir.primitive import broadcast_shapes

    if broadcast_shapes(bias._meta.shape, shape) != shape:
        raise RuntimeError(
            f"The expanded size of the tensor ({shape[-1]}) must match the existing size "
            f"({bias._meta.shape[-1]}) at non-singleton dimension {len(shape) - 1}.  Target "
            f"sizes: {list(shape)}.  Tensor sizes: {list(bias._meta.shape)}"
        )
    return ops.add(y, bias)


@function(grad="AddmmBackward0")
def _addmm(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _body(input, weight, bias)


@function(grad="MmBackward0")
def _mm(input: Tensor, weight: Tensor) -> Tensor:
    return _body(input, weight, None)


@function(grad="ViewBackward0")
def _stacked(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _body(input, weight, bias)


@function(grad="UnsafeViewBackward0")
def _stacked_plain(input: Tensor, weight: Tensor) -> Tensor:
    return _body(input, weight, None)


@function(grad="SqueezeBackward4")
def _vector_plain(input: Tensor, weight: Tensor) -> Tensor:
    return _body(input, weight, None)


def linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, out: Tensor | None = None
) -> Tensor:
    r"""Affine map of the last dimension: :math:`x W^T + b`.

    Shapes: ``(..., in)``, ``(out, in)`` and ``(out,)`` give ``(..., out)``. Raises
    ``RuntimeError`` if the inner sizes or the dtypes differ.

    >>> linear(tensor([[1.0, 2.0]]), tensor([[3.0, 4.0]]), tensor([1.0]))
    tensor([[12.]])
    """
    try:
        ndim = len(input._meta.shape)
    except AttributeError:
        raise no_tensor(linear, "linear", (input, weight, bias), {}) from None
    if out is not None:
        return _stacked(input, weight, bias, out=out)
    if bias is None:
        if ndim == 2:
            return _mm(input, weight)
        return (_vector_plain if ndim == 1 else _stacked_plain)(input, weight)
    return (_addmm if ndim == 2 else _stacked)(input, weight, bias)


@function(grad="AddBackward0")
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r""":math:`x_1^T A_k x_2 + b_k` over the last dimensions.

    Shapes: ``(..., in1)``, ``(..., in2)``, ``(out, in1, in2)`` and ``(out,)`` give ``(..., out)``.

    >>> bilinear(tensor([2.0]), tensor([3.0]), tensor([[[1.0]]]))
    tensor([6.])
    """
    a, b, w = input1._meta.shape, input2._meta.shape, weight._meta.shape
    if len(a) != len(b):
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {len(a)} and {len(b)}")
    if a[:-1] != b[:-1]:
        at = next(i for i in range(len(a) - 1) if a[i] != b[i])
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match at dim {at}: got {a[at]} and {b[at]}"
        )
    for i, (x, n) in enumerate(((a, w[1]), (b, w[2])), 1):
        if x[-1] != n:
            raise RuntimeError(
                f"bilinear(): input{i} size does not match weight size: got {x[-1]} but expected "
                f"{n}"
            )
    if bias is not None and bias._meta.shape != (w[0],):
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias._meta.shape[0]} but "
            f"expected {w[0]}"
        )
    rows = math.prod(a[:-1])
    x = reshape(input1, (rows, a[-1]))
    y = reshape(input2, (rows, b[-1]))
    table = reshape(ops.permute(weight, dims=(1, 0, 2)), (w[1], w[0] * w[2]))
    z = reshape(ops.matmul(x, table), (rows, w[0], w[2]))
    z = reshape(ops.matmul(z, reshape(y, (rows, w[2], 1))), (*a[:-1], w[0]))
    return z if bias is None else ops.add(z, bias)


SAMPLES = {
    "nn.functional.linear": "x, m; x, m, v; x, m[:2]; cube, m, bias=v; v, m; v, w; x, v;"
    " empty, m, v; half, half, half[:, 0]; c, cm, cv; i, k; !x, tall; !x, m, u; !x, i",
    "nn.functional.bilinear": "x, y, cube.mT.reshape(3, 4, 2) @ wide[:2, :4]; x, y, batch;"
    " x, y, batch, v[:2]; v, w, batch; cube, cube * 2, batch, w[:2]; !x, tall, batch; !x, y, m",
}
