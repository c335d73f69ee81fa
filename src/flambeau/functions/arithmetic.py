"""Arithmetic and comparison of tensors and numbers."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.errors import DtypeError
from flambeau.functions.checks import _need_one_tensor, _need_order, _need_tensor
from flambeau.functions.inplace import inplace
from flambeau.functions.precision import lowered
from flambeau.functions.promotion import (
    Number,
    cast,
    fit,
    floating_type,
    literal,
    promoted,
    result_type,
    rounded,
    two_tensors,
)
from flambeau.record.builder import Num
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _scaled(other: Any, alpha: Any, dtype: dtypes.dtype) -> Any:
    """``alpha * other`` for add and sub."""
    if alpha.__class__ is int and alpha == 1:
        return other
    _check_alpha(alpha, dtype)
    if dtype.category == 0:
        return other if alpha else _nothing(other)
    alpha = fit(alpha, dtype)
    return other * alpha if not isinstance(other, Tensor) else ops.mul(other, alpha)


def _check_alpha(alpha: Any, dtype: dtypes.dtype) -> None:
    kind = alpha.type if isinstance(alpha, Num) else type(alpha)
    if kind is float and dtype.category < 2:
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    if kind is complex and not dtype.is_complex:
        raise RuntimeError(
            "For non-complex input tensors, argument alpha must not be a complex number."
        )
    if kind is bool and dtype.category:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")


def _plus(op: Any, x: Any, y: Any, alpha: Any, dtype: dtypes.dtype) -> Any:
    """``op(x, alpha y)``; of 16-bit elements that and alpha are rounded, the product is not."""
    once = alpha.__class__ is int and alpha == 1
    if once or not (_is_short(dtype) and isinstance(x, Tensor) and isinstance(y, Tensor)):
        return op(x, _scaled(y, alpha, dtype))
    _check_alpha(alpha, dtype)
    factor = rounded(fit(alpha, dtype), dtype)
    x, y = cast(x, dtypes.float32), cast(y, dtypes.float32)
    return cast(op(x, ops.mul(y, factor)), dtype)


def _is_short(dtype: dtypes.dtype) -> bool:
    return dtype.category == 2 and dtype.itemsize == 2


def _factored(op: Any, x: Any, y: Any, dtype: dtypes.dtype) -> Any:
    """``op(x, y)``: beside 16-bit elements a ``y`` without dimensions is not rounded to them."""
    if _is_short(dtype) and isinstance(y, Tensor) and not (y._meta.shape or y._meta.dtype is dtype):
        return cast(op(*promoted(x, y, dtype=dtypes.float32)), dtype)
    return op(*promoted(x, y, dtype=dtype))


def _nothing(x: Any) -> Any:
    """False in place of every truth value."""
    return ops.and_(x, False) if isinstance(x, Tensor) else False


@function
def add(input: Tensor | Number, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    r"""Sum: :math:`x + \alpha y`.

    Shapes broadcast, dtypes promote. Raises ``RuntimeError`` for a floating ``alpha`` with
    integral operands.

    >>> add(tensor([1, 2]), tensor([3, 4]), alpha=2)
    tensor([ 7, 10])
    """
    x, y = promoted(*two_tensors(input, other))
    dtype = (x if isinstance(x, Tensor) else y).dtype
    return _plus(ops.add, x, y, alpha, dtype)


@function(grad=lambda given: _reflected("SubBackward0", "RsubBackward1", given["input"]))
def sub(input: Tensor | Number, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    r"""Difference: :math:`x - \alpha y`.

    Shapes broadcast, dtypes promote. Raises ``RuntimeError`` for bool operands.

    >>> sub(tensor([1, 2]), 1)
    tensor([0, 1])
    """
    x, y = promoted(*two_tensors(input, other))
    dtype = (x if isinstance(x, Tensor) else y).dtype
    bools = [
        (isinstance(v, Tensor) and v.dtype is dtypes.bool_) or v.__class__ is bool
        for v in (input, other)
    ]
    if all(bools):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if any(bools):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are "
            "trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return _plus(ops.sub, x, y, alpha, dtype)


def _reflected(name: str, of_number: str, first: Any) -> str:
    """The name of a step, which is another where the first operand is a number."""
    return name if isinstance(first, Tensor) else of_number


@function
def rsub(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    r"""Difference the other way round: :math:`y - \alpha x`.

    >>> rsub(tensor([1, 2]), 1)
    tensor([ 0, -1])
    """
    _need_tensor("rsub", input)
    return sub(other, input, alpha=alpha)


@function
def mul(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    r"""Product: :math:`x y`. Shapes broadcast, dtypes promote.

    >>> mul(tensor([1.0, 2.0]), 3)
    tensor([3., 6.])
    """
    x, y = two_tensors(input, other)
    dtype = result_type(x, y)
    if dtype is dtypes.bool_:
        return ops.and_(*promoted(x, y))
    return _factored(ops.mul, x, y, dtype)


@function
def div(
    input: Tensor | Number, other: Tensor | Number, *, rounding_mode: str | None = None
) -> Tensor:
    r"""Quotient: :math:`x / y`, rounded by ``rounding_mode`` (None, "trunc" or "floor").

    Integral operands give the default floating dtype unless rounded. Raises ``RuntimeError`` for
    another mode.

    >>> div(tensor([7, -7]), 2, rounding_mode="floor")
    tensor([ 3, -4])
    """
    x, y = two_tensors(input, other)
    if rounding_mode is None:
        return _factored(ops.div, x, y, floating_type(x, y))
    if rounding_mode not in ("trunc", "floor"):
        raise RuntimeError(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
            f"'{rounding_mode}'"
        )
    x, y = promoted(x, y)
    return (ops.trunc_divide if rounding_mode == "trunc" else ops.floor_divide)(x, y)


@function
def floor_divide(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    r"""Quotient rounded down: :math:`\lfloor x / y \rfloor`.

    >>> floor_divide(tensor([4.0, -3.0]), 2)
    tensor([ 2., -2.])
    """
    _need_order("div_floor_cpu", input, other)
    return ops.floor_divide(*promoted(*two_tensors(input, other)))


@function
def remainder(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    r"""Python's modulus: :math:`x - y \lfloor x / y \rfloor`, with the sign of :math:`y`.

    >>> remainder(tensor([-3.0, 3.0]), 2)
    tensor([1., 1.])
    """
    _need_one_tensor("remainder", input, other)
    _need_order("remainder_cpu", input, other)
    return ops.remainder(*promoted(input, other))


@function
def fmod(input: Tensor, other: Tensor | Number) -> Tensor:
    r"""C's modulus: the remainder with the sign of :math:`x`.

    >>> fmod(tensor([-3.0, 3.0]), 2)
    tensor([-1.,  1.])
    """
    _need_tensor("fmod", input)
    _need_order("fmod_cpu", input, other)
    return ops.fmod(*promoted(input, other))


@function
def neg(input: Tensor) -> Tensor:
    """The negative: -x. ``RuntimeError`` for bool.

    >>> neg(tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """
    if input.dtype is dtypes.bool_:
        raise DtypeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
            "invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return ops.neg(input)


@function(grad=lambda given: _reflected("PowBackward0", "PowBackward2", given["input"]))
def pow(input: Tensor | Number, exponent: Tensor | int | float) -> Tensor:
    r"""Power: :math:`x^y`.

    An exponent 2 is a square, 0.5 a square root. Raises ``RuntimeError`` for integers to
    negative integer powers.

    >>> pow(tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    if isinstance(exponent, Num):
        bool(exponent)
    _need_one_tensor("pow", input, exponent)
    x, y = input, exponent
    dtype = result_type(x, y)
    if isinstance(x, Tensor) and x.dtype.category < 2 and y.__class__ is int and y < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    x = cast(x, dtype) if isinstance(x, Tensor) else literal(x, dtype)
    y = cast(y, dtype) if isinstance(y, Tensor) else y
    return ops.pow(x, y)


def _comparison(name: str, symbol: str) -> Any:
    def compare(input: Tensor, other: Tensor | Number) -> Tensor:
        _need_tensor(name, input)
        x, y = input, other
        if name not in ("eq", "ne"):
            _need_order(f"{name}_cpu", x, y)
        if not isinstance(y, Tensor) and x.dtype.category == 1:
            # A number that the integral dtype cannot hold is compared as it is.
            return getattr(ops, name)(*promoted(x, y, dtype=result_type(x, y)))
        return getattr(ops, name)(*promoted(x, y))

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = f"""Whether x {symbol} y, element by element: bool, of the broadcast shape.

    >>> {name}(tensor([1, 2, 3]), 2).shape
    torch.Size([3])
    """
    return function(compare)


eq = _comparison("eq", "==")
ne = _comparison("ne", "!=")
lt = _comparison("lt", "<")
le = _comparison("le", "<=")
gt = _comparison("gt", ">")
ge = _comparison("ge", ">=")

subtract, multiply, divide, negative = sub, mul, div, neg
true_divide = div
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge

add_, sub_, mul_, div_, neg_, pow_ = map(inplace, (add, sub, mul, div, neg, pow))
floor_divide_, remainder_, fmod_ = map(inplace, (floor_divide, remainder, fmod))
eq_, ne_, lt_, le_, gt_, ge_ = map(inplace, (eq, ne, lt, le, gt, ge))
subtract_, multiply_, divide_, negative_, true_divide_ = sub_, mul_, div_, neg_, div_
not_equal_, less_, less_equal_, greater_, greater_equal_ = ne_, lt_, le_, gt_, ge_


# The names of the products that PyTorch makes of it, by numbers of dimensions.
_PRODUCTS = {
    (1, 1): "DotBackward0",
    (1, 2): "SqueezeBackward4",
    (2, 1): "MvBackward0",
    (2, 2): "MmBackward0",
}


def _product(given: dict[str, Any]) -> str:
    dims = tuple(len(given[name]._meta.shape) for name in ("input", "other"))
    return _PRODUCTS.get(dims, "UnsafeViewBackward0")


@function(grad=_product)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product, of vectors, matrices, or stacks of matrices that broadcast.

    Raises ``RuntimeError`` when the inner sizes or the dtypes differ.

    >>> matmul(tensor([[1.0, 2.0]]), tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    input, other = lowered(input, other)
    a, b = input._meta.shape, other._meta.shape
    if not a or not b:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {len(a)}D and {len(b)}D"
        )
    if input.dtype is not other.dtype:
        raise RuntimeError(_mixed(input, other))
    x = ops.reshape(input, shape=(1, *a)) if len(a) == 1 else input
    y = ops.reshape(other, shape=(*b, 1)) if len(b) == 1 else other
    if x._meta.shape[-1] != y._meta.shape[-2]:
        if len(a) == 1 and len(b) == 1:
            raise RuntimeError(
                f"inconsistent tensor size, expected tensor [{a[0]}] and src [{b[0]}] to have the "
                f"same number of elements, but got {a[0]} and {b[0]} elements respectively"
            )
        rows = 1
        for n in x._meta.shape[:-1]:
            rows *= n
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x._meta.shape[-1]} and "
            f"{y._meta.shape[-2]}x{y._meta.shape[-1]})"
        )
    z = ops.matmul(x, y)
    shape = z._meta.shape
    if len(a) == 1:
        shape = (*shape[:-2], *shape[-1:])
    if len(b) == 1:
        shape = shape[:-1]
    return ops.reshape(z, shape=shape) if shape != z._meta.shape else z


def _c_name(x: Tensor) -> str:
    return {"float32": "float", "float64": "double", "int64": "long long", "int32": "int",
            "bool": "bool", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
            "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
            "uint8": "unsigned char", "int8": "signed char", "int16": "short"}.get(
        x.dtype.name, x.dtype.name
    )  # fmt: skip


@function
def copy_(input: Tensor, src: Tensor | Number, non_blocking: bool = False) -> Tensor:
    """Overwrites a tensor with ``src``, broadcast and cast to it; gives the tensor back.

    >>> copy_(zeros(2), tensor([1, 2]))
    tensor([1., 2.])
    """
    from flambeau.record.trace import open_

    m = input._meta
    if not isinstance(src, Tensor):
        value = ops.full(src, shape=m.shape, dtype=m.dtype)
    else:
        value = cast(src, m.dtype)
        if value._meta.shape != m.shape:
            _need_fitting(value._meta.shape, m.shape)
            value = ops.broadcast(value, shape=m.shape)
        elif value is src:
            value = ops.rebase(src, src) if src._meta.requires_grad else ops.detach(src)
    open_.trace.builder.assign(input, value)
    return input


def _mixed(x: Tensor, y: Tensor) -> str:
    """What is said of a product of two dtypes."""
    from flambeau.functions.inplace import title

    a, b = title(x.dtype), title(y.dtype)
    dims = x.dim(), y.dim()
    if dims == (1, 1):
        return f"dot : expected both vectors to have same dtype, but found {a} and {b}"
    if max(dims) > 2:
        return f"expected scalar type {a} but found {b}"
    return f"expected m1 and m2 to have the same dtype, but got: {_c_name(x)} != {_c_name(y)}"


def _need_fitting(given: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """``RuntimeError`` unless a shape broadcasts to another one."""
    from flambeau.ir.primitive import broadcast_shapes

    together = broadcast_shapes(shape, given)
    if together != shape:
        raise RuntimeError(
            f"output with shape {list(shape)} doesn't match the broadcast shape {list(together)}"
        )


def _need_number(value: Tensor) -> None:
    if value._meta.shape:
        raise RuntimeError(
            "fill_ only supports 0-dimension value tensor but got tensor with "
            f"{value.dim()} dimensions."
        )


@function
def fill_(input: Tensor, value: Tensor | Number) -> Tensor:
    """Sets every element; gives the tensor back.

    >>> fill_(zeros(2), 3)
    tensor([3., 3.])
    """
    from flambeau.record.trace import open_

    m = input._meta
    if isinstance(value, Tensor):
        _need_number(value)
        new = ops.broadcast(cast(value, m.dtype), shape=m.shape)
    else:
        if m.shape or m.dtype is not dtypes.float16:
            fit(value, m.dtype)
        new = ops.full(value, shape=m.shape, dtype=m.dtype)
    open_.trace.builder.assign(input, new)
    return input


@function
def fill(input: Tensor, value: Tensor | Number) -> Tensor:
    """A tensor like ``input`` with one value everywhere.

    >>> fill(zeros(2), 3)
    tensor([3., 3.])
    """
    m = input._meta
    if isinstance(value, Tensor):
        _need_number(value)
        new = ops.broadcast(cast(value, m.dtype), shape=m.shape)
    else:
        new = ops.full(value, shape=m.shape, dtype=m.dtype)
    if not m.requires_grad:
        return new
    # Its gradient with respect to the input is zero, but there.
    none = ops.full(0, shape=m.shape, dtype=m.dtype)
    nowhere = ops.full(False, shape=(), dtype=dtypes.bool_)
    return ops.add(new, ops.rebase(none, ops.where(nowhere, input, 0)))


@function
def zero_(input: Tensor) -> Tensor:
    """Sets every element to zero; gives the tensor back.

    >>> zero_(ones(2))
    tensor([0., 0.])
    """
    return fill_(input, 0)


# PyTorch has no gradients of ``floor_divide``, nor of ``remainder`` of a number.
SAMPLES = {
    "add": "x, y; x, row, alpha=2; column, 2.5; i, j, alpha=3; s, i; empty, v; !i, j, alpha=0.5;"
    "!x, u",
    "sub": "x, y; x, column, alpha=0.5; i, 2; special, special; !truth, other_truth; !x, u",
    "rsub": "x, y; x, 2; x, row, alpha=3; i, 2.5; !truth, 1",
    "mul": "x, y; x, column; 3, x; special, special.flip(0); truth, other_truth; i, 0.5; !x, u",
    "div": "x, y; x, 3; i, 4; x, y, rounding_mode='floor'; x, y, rounding_mode='trunc';"
    "i, 3, rounding_mode='trunc'; i, 0.0; special, special.flip(0); !x, y, rounding_mode='up';"
    "!x, u",
    "floor_divide": "x, y # no-grad; x, 0.3 # no-grad; i, 3; i, row # no-grad; !c, d; !x, u",
    "remainder": "x, y; x, 0.7; 2.0, y # no-grad; i, 3; i, -3; special, 2; !c, d; !x, u",
    "fmod": "x, y; x, 0.7; i, 3; i, row; special, 2; !c, d; !x, u",
    "neg": "x; s; special; !truth; !2",
    "pow": "positive, y; x, 3; x, 2; positive, 0.5; x, -1; 2.0, x; 0, x; i, 2; x, place; s, x;"
    "!i, -1; !x, u",
    "eq": "x, y; i, j; x, 0.5; i, 2.0; truth, 1; special, 0; !x, u",
    "ne": "x, y; i, j; c, d; i, 2.5; special, special; !x, u",
    "lt": "x, y; i, j; x, 0.5; i, 2.5; small, 300; special, 0; !c, d; !x, u",
    "le": "x, y; i, j; row, column; i, 2; special, special; !c, 1; !x, u",
    "gt": "x, y; i, j; x, 0.5; small, -1; special, 0; !c, d; !x, u",
    "ge": "x, y; i, j; s, x; i, 2; special, special; !c, 1; !x, u",
    "subtract": "x, y; x, 2, alpha=3; !truth, True",
    "multiply": "x, y; x, 2; !x, u",
    "divide": "x, y; i, 2; x, y, rounding_mode='floor'; !x, y, rounding_mode=''",
    "negative": "x; i; !truth",
    "true_divide": "x, y; i, 2; small, 2; !x, u",
    "not_equal": "x, y; i, 2; !x, u",
    "less": "x, y; i, 2; !c, d",
    "less_equal": "x, y; i, 2; !c, d",
    "greater": "x, y; i, 2; !c, d",
    "greater_equal": "x, y; i, 2; !c, d",
    "matmul": "m, m; x, v; u, x; v, w; batch, m; m, batch; x, v[:, None]; cube, v; i, place.T;"
    "empty, m; empty.T, empty; cm, cv; !x, y; !s, x; !x, i",
    "fill": "x, 2; i, 3.5; x, s; empty, 1; !x, v",
    "fill_": "torch.zeros(2, 3), 2; i, 3.5; torch.zeros(2), torch.tensor(3); !torch.zeros(2), v",
    "zero_": "torch.ones(2, 3); torch.ones(4, dtype=torch.bool); torch.ones(3, 4)[:, 1:2]",
    "Tensor.copy_": "torch.zeros(3, 4), x; torch.zeros(3, 4), row; torch.zeros(3, 4), i;"
    "torch.zeros(2, dtype=torch.int64), 2.5; !torch.zeros(3), torch.ones(1, 1, 3);"
    "!torch.zeros(3), v",
    "linalg.matmul": "m, m; x, v; batch, m; !x, y",
}
