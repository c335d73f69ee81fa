"""The standard's functions of one or two numbers, where PyTorch's name or promotion differs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.array_api.data_types import promoted

__all__ = [
    "add",
    "atan2",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "clip",
    "conj",
    "copysign",
    "divide",
    "equal",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "less",
    "less_equal",
    "logaddexp",
    "logical_and",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "nextafter",
    "not_equal",
    "pow",
    "remainder",
    "round",
    "sign",
    "subtract",
    "where",
]

Operand = Tensor | bool | int | float | complex


def _binary(name: str, f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(f)
    def operator(x1: Operand, x2: Operand, /, **options: Any) -> Tensor:
        return f(*promoted(x1, x2), **options)

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = (
        f"``{f.__name__}`` of tensors or a tensor and a number, by the standard's promotion."
    )
    return operator


add = _binary("add", flambeau.add)
atan2 = _binary("atan2", flambeau.atan2)
bitwise_and = _binary("bitwise_and", flambeau.bitwise_and)
bitwise_left_shift = _binary("bitwise_left_shift", flambeau.bitwise_left_shift)
bitwise_or = _binary("bitwise_or", flambeau.bitwise_or)
bitwise_right_shift = _binary("bitwise_right_shift", flambeau.bitwise_right_shift)
bitwise_xor = _binary("bitwise_xor", flambeau.bitwise_xor)
copysign = _binary("copysign", flambeau.copysign)
divide = _binary("divide", flambeau.div)
equal = _binary("equal", flambeau.eq)
floor_divide = _binary("floor_divide", flambeau.floor_divide)
greater = _binary("greater", flambeau.gt)
greater_equal = _binary("greater_equal", flambeau.ge)
hypot = _binary("hypot", flambeau.hypot)
less = _binary("less", flambeau.lt)
less_equal = _binary("less_equal", flambeau.le)
logaddexp = _binary("logaddexp", flambeau.logaddexp)
logical_and = _binary("logical_and", flambeau.logical_and)
logical_or = _binary("logical_or", flambeau.logical_or)
logical_xor = _binary("logical_xor", flambeau.logical_xor)
maximum = _binary("maximum", flambeau.maximum)
minimum = _binary("minimum", flambeau.minimum)
multiply = _binary("multiply", flambeau.mul)
nextafter = _binary("nextafter", flambeau.nextafter)
not_equal = _binary("not_equal", flambeau.ne)
pow = _binary("pow", flambeau.pow)
remainder = _binary("remainder", flambeau.remainder)
subtract = _binary("subtract", flambeau.sub)

bitwise_invert = flambeau.bitwise_not
# A conjugate of its own memory: libraries that take the tensor over know no lazy ones.
conj = flambeau.conj_physical


def where(condition: Tensor, x1: Operand, x2: Operand, /) -> Tensor:
    """``x1`` where ``condition`` holds, else ``x2``.

    >>> torch.array_api.where(torch.tensor([True, False]), torch.ones(2), 0)
    tensor([1., 0.])
    """
    if isinstance(x1, Tensor) or isinstance(x2, Tensor):
        x1, x2 = promoted(x1, x2)
    return flambeau.where(condition, x1, x2)


def clip(x: Tensor, /, min: Any = None, max: Any = None, **options: Any) -> Tensor:
    """``x`` between two bounds, tensors or numbers, each of which may be missing.

    Integer bounds beyond the dtype bound nothing; a NaN makes everything NaN.

    >>> torch.array_api.clip(torch.tensor([1, 5], dtype=torch.int8), max=300)
    tensor([1, 5], dtype=torch.int8)
    """
    if not x.dtype.is_floating_point and not x.dtype.is_complex and x.dtype != flambeau.bool:
        limits = flambeau.iinfo(x.dtype)
        min = None if type(min) is int and min <= limits.min else min
        max = None if type(max) is int and max >= limits.max else max
    if min is None and max is None:
        return flambeau.clone(x)
    tensors = isinstance(min, Tensor) or isinstance(max, Tensor)
    if not tensors and any(b is not None and math.isnan(b) for b in (min, max)):
        return flambeau.full_like(x, math.nan)
    if tensors:
        # PyTorch takes two tensors or two numbers.
        min, max = (
            b if b is None or isinstance(b, Tensor) else flambeau.as_tensor(b, dtype=x.dtype)
            for b in (min, max)
        )
    return flambeau.clamp(x, min, max, **options)


def sign(x: Tensor, /) -> Tensor:
    """-1, 0 or 1, NaN of a NaN; of a complex number z / abs(z).

    >>> torch.array_api.sign(torch.tensor([-2.0, 0.0, torch.nan]))
    tensor([-1.,  0., nan])
    """
    if x.dtype.is_floating_point:
        return flambeau.where(flambeau.isnan(x), x, flambeau.sign(x))
    return flambeau.sgn(x)


def round(x: Tensor, /, **options: Any) -> Tensor:
    """To the nearest integer, halves to even; both parts of a complex number.

    >>> torch.array_api.round(torch.tensor([0.5, 1.5]))
    tensor([0., 2.])
    """
    if x.dtype.is_complex:
        return flambeau.complex(flambeau.round(x.real), flambeau.round(x.imag))
    return flambeau.round(x, **options)
