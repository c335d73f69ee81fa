"""Functions of three tensors: bounds, choice, interpolation, fused products."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.functions.checks import _need_real, _need_tensor
from flambeau.functions.inplace import inplace, title
from flambeau.functions.precision import widened
from flambeau.functions.promotion import (
    Number,
    as_tensor,
    cast,
    fit,
    is_number,
    literal,
    promoted,
    result_type,
)
from flambeau.ir import numeric as _numeric  # noqa: F401  declares primitives used here
from flambeau.record.builder import Num
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

# --------------------------------------------------------------------------------------- bounds


def _check_bounds(name: str, input: Any, *bounds: Any) -> None:
    _need_tensor(name, input)
    if all(b is None for b in bounds):
        raise RuntimeError(f"torch.{name}: At least one of 'min' or 'max' must not be None")
    given = [b for b in bounds if b is not None]
    numbers = [is_number(b) for b in given]
    if not all(n or isinstance(b, Tensor) for n, b in zip(numbers, given, strict=True)) or (
        any(numbers) and not all(numbers)
    ):
        raise TypeError(
            f"{name}() received an invalid combination of arguments: expected both bounds to be "
            "tensors, or both to be numbers"
        )
    if any(isinstance(v, Tensor) and v.dtype.is_complex for v in (input, *given)):
        raise NotImplementedError("clamp is not supported for complex types")


@function(grad="ClampBackward1")
def clamp(
    input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None
) -> Tensor:
    r"""x between bounds: :math:`\min(\max(x, lower), upper)`.

    The bounds are numbers or tensors that broadcast; either may be absent. Raises
    ``RuntimeError`` without any, ``TypeError`` for a mixture.

    >>> clamp(tensor([-1.0, 0.5, 2.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    _check_bounds("clamp", input, min, max)
    dtype = result_type(input, *(b for b in (min, max) if b is not None))
    x = cast(input, dtype)
    low, high = (
        cast(b, dtype) if isinstance(b, Tensor) else None if b is None else fit(b, dtype)
        for b in (min, max)
    )
    if low is None:
        return ops.clamp_max(x, high)
    if high is None:
        return ops.clamp_min(x, low)
    return ops.clamp(x, low, high)


@function
def clamp_min(input: Tensor, min: Tensor | Number) -> Tensor:
    r"""x, or the bound where that is larger.

    >>> clamp_min(tensor([-1.0, 2.0]), 0)
    tensor([0., 2.])
    """
    return clamp(input, min)


@function
def clamp_max(input: Tensor, max: Tensor | Number) -> Tensor:
    r"""x, or the bound where that is smaller.

    >>> clamp_max(tensor([-1.0, 2.0]), 0)
    tensor([-1.,  0.])
    """
    return clamp(input, None, max)


@function(grad="ClampBackward1")
def clip(
    input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None
) -> Tensor:
    """:func:`clamp`."""
    return clamp(input, min, max)


clamp_, clamp_min_, clamp_max_, clip_ = map(inplace, (clamp, clamp_min, clamp_max, clip))

# --------------------------------------------------------------------------------------- choice


@function(grad="WhereBackward0")
def _where(condition: Tensor, input: Tensor | Number, other: Tensor | Number) -> Tensor:
    if condition.dtype is not dtypes.bool_:
        if condition.dtype is not dtypes.uint8:
            raise RuntimeError(
                "where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{title(condition.dtype)}"
            )
        condition = ops.ne(condition, 0)
    dtype = result_type(input, other)
    x, y = promoted(input, other, dtype=dtype)
    if dtype.category < 2:
        x, y = (v if isinstance(v, Tensor) else fit(v, dtype) for v in (x, y))
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x = as_tensor(x, dtype)
    return ops.where(condition, x, y)


def where(
    condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None
) -> Any:
    """``input`` where the condition holds, else ``other``; with a condition alone, its places.

    Shapes broadcast, dtypes promote; ``input`` and ``other`` may be numbers. Raises
    ``RuntimeError`` unless the condition is bool.

    >>> where(tensor([True, False]), tensor([1, 2]), 0)
    tensor([1, 0])
    """
    _need_tensor("where", condition, "condition")
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    for value, argument, position in ((input, "input", 2), (other, "other", 3)):
        if not isinstance(value, Tensor) and not is_number(value):
            raise TypeError(
                f"where(): argument '{argument}' (position {position}) must be Tensor, not "
                f"{type(value).__name__}"
            )
    result = _where(condition, input, other)
    if out is not None:
        from flambeau.functions.inplace import write_out

        return write_out(out, result, "where", (condition, input, other))
    return result


def _method_where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """``self`` where the condition holds, else ``other``."""
    return where(condition, self, other)


# ------------------------------------------------------------------------------- interpolation


@function
def lerp(input: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    r"""Linear interpolation: :math:`x + w (y - x)`.

    Shapes broadcast. Raises ``RuntimeError`` when the dtypes differ.

    >>> lerp(tensor([0.0, 1.0]), tensor([10.0, 11.0]), 0.5)
    tensor([5., 6.])
    """
    _need_tensor("lerp", input)
    _need_tensor("lerp", end, "end", 2)
    if isinstance(weight, Tensor) and not weight._meta.shape and end.dtype is input.dtype:
        kind = result_type(input, weight)
        if input.dtype.category < 2 <= kind.category:
            input, end = cast(input, kind), cast(end, kind)
    if input.dtype.category < 2:
        raise NotImplementedError(f"\"lerp_kernel\" not implemented for '{title(input.dtype)}'")
    for value, name in ((end, "end"), (weight, "weight")):
        if isinstance(value, Tensor) and value.dtype is not input.dtype:
            if name == "weight" and not value._meta.shape:
                continue
            raise RuntimeError(
                f"expected dtype {_c_name(input)} for `{name}` but got dtype {_c_name(value)}"
            )
    if isinstance(weight, Tensor):
        weight = cast(weight, input.dtype)
    elif weight.__class__ in (int, bool):
        weight = float(weight)
    return ops.lerp(input, end, weight)


def _c_name(x: Tensor) -> str:
    return {"float32": "float", "float64": "double", "int64": "long int", "int32": "int"}.get(
        x.dtype.name, x.dtype.name
    )


# ------------------------------------------------------------------------------ fused products


def _times(x: Tensor, value: Any) -> Tensor:
    """``value * x``, in the dtype of x: a fraction is cut off for integers."""
    if value.__class__ is int and value == 1:
        return x
    kind = value.type if isinstance(value, Num) else type(value)
    if x.dtype.category < 2 and kind is float:
        value = int(value)
    return ops.mul(x, fit(literal(value, x.dtype), x.dtype))


def _need_three(name: str, input: Any, tensor1: Any, tensor2: Any) -> None:
    _need_tensor(name, input)
    _need_tensor(name, tensor1, "tensor1", 2)
    _need_tensor(name, tensor2, "tensor2", 3)


@function
@widened
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    r"""A scaled product added: :math:`x + value \cdot a \cdot b`.

    Shapes broadcast, dtypes promote; among integers ``value`` loses its fraction.

    >>> addcmul(tensor([1.0]), tensor([2.0]), tensor([3.0]), value=2)
    tensor([13.])
    """
    _need_three("addcmul", input, tensor1, tensor2)
    x, a, b = promoted(input, tensor1, tensor2)
    _need_real(x.dtype, value)
    return ops.add(x, ops.mul(_times(a, value), b))


@function
@widened
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    r"""A scaled quotient added: :math:`x + value \cdot a / b`.

    Shapes broadcast, dtypes promote. Raises ``RuntimeError`` for a quotient of integers.

    >>> addcdiv(tensor([1.0]), tensor([2.0]), tensor([4.0]), value=2)
    tensor([2.])
    """
    _need_three("addcdiv", input, tensor1, tensor2)
    if tensor1.dtype.category < 2 and tensor2.dtype.category < 2:
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release "
            "addcdiv will perform a true division of tensor1 and tensor2. The historic addcdiv "
            "behavior can be implemented as (input + value * torch.trunc(tensor1 / "
            "tensor2)).to(input.dtype) for integer inputs and as (input + value * tensor1 / "
            "tensor2) for float inputs. The future addcdiv behavior is just the latter "
            "implementation: (input + value * tensor1 / tensor2), for all dtypes."
        )
    x, a, b = promoted(input, tensor1, tensor2)
    _need_real(x.dtype, value)
    return ops.add(x, ops.div(_times(a, value), b))


lerp_, addcmul_, addcdiv_ = map(inplace, (lerp, addcmul, addcdiv))


SAMPLES = {
    "clamp": "x, -0.5, 0.5; x, max=0.3; x, min=0.1; i, -1, 2; x, row, row + 1; special, -1, 1;"
    "i, 0.5; x, 0.5, -0.5; x, s; i, max=torch.tensor(2); x, None, y; x, v, None; !x; !c, 0, 1;"
    "truth, 0, 1; !x, 'a'; !x, u",
    "clip": "x, -0.5, 0.5; x, max=0.3; i, -1, 2; x, y; !x; !c, 0, 1",
    "clamp_min": "x, 0.1; x, y; i, 2; x, row; special, 0.0; i, 0.5; !c, 1; !x, u; !x",
    "clamp_max": "x, 0.1; x, y; i, 2; x, row; special, 0.0; i, 0.5; !c, 1; !x, u; !x",
    "lerp": "x, y, 0.3; x, y, z; x, row, s; x, y, 0.7; x, y, 2; c, d, 0.5; x, y, torch.tensor(0.5);"
    "special[:4], special[4:], 0.5; !i, j, 1; !x, i, 0.5; !x, y, i; !x, 1.0, 0.5; !x, u, 0.5",
    "addcmul": "x, y, z; x, y, z, value=0.5; x, row, column; i, j, k; i, j, k, value=2; s, x, y;"
    "c, d, c, value=1j; x, i, y; !x, y, u; i, j, k, value=0.5; !x, y, 2.0; !x, y, z, value=1j",
    "addcdiv": "x, y, positive; x, y, positive, value=0.5; x, row, column; s, x, positive; c, d, c;"
    "x, y, 1 + place; !i, j, k; !x, y, u; !x, y, 2.0; !x, y, z, value=1j",
    "Tensor.where": "x, truth, y; x, mask, 0.5; i, truth, 2; x, truth[:1], row; i, truth, x;"
    "!x, i, y; !x, truth; !x, truth, u",
}
