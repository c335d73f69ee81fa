"""Which dtype an operation computes in, given tensors and numbers."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.ir.scalars import fitted
from flambeau.record.builder import Num, limit
from flambeau.record.macro import ops
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor

Number = int | float | complex | bool


def number_dtype(value: Any) -> dtypes.dtype:
    """The dtype that a Python number (or a run-time number) stands for."""
    kind = value.type if isinstance(value, Num) else type(value)
    if kind is bool:
        return dtypes.bool_
    if kind is int:
        return dtypes.int64
    if kind is complex:
        return defaults.dtype.to_complex()
    if kind is float:
        return defaults.dtype
    return dtypes.of_number(value, defaults.dtype)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float, complex, Num)) and not isinstance(value, Tensor)


def result_type(*operands: Any) -> dtypes.dtype:
    """The dtype that operands promote to.

    Tensors with dimensions decide; 0-dim tensors, then numbers, only raise the category (bool,
    integral, floating, complex).
    """
    first = operands[0]
    if len(operands) == 2:
        second = operands[1]
        if isinstance(first, Tensor) and isinstance(second, Tensor):
            a, b = first._meta, second._meta
            if a.dtype is b.dtype:
                return a.dtype
    groups: list[dtypes.dtype | None] = [None, None, None]
    for x in operands:
        if isinstance(x, Tensor):
            rank, d = (0 if x._meta.shape else 1), x._meta.dtype
        else:
            rank, d = 2, number_dtype(x)
        groups[rank] = d if groups[rank] is None else dtypes.promote(groups[rank], d)
    result = groups[0]
    for d in groups[1:]:
        if d is None:
            continue
        if result is None:
            result = d
        elif d.category > result.category:
            result = dtypes.promote(result, d) if d is not groups[2] else raised(result, d)
    if result is None:
        raise TypeError("result_type: no operands")
    return result


def raised(tensor: dtypes.dtype, number: dtypes.dtype) -> dtypes.dtype:
    """A tensor's dtype lifted to the category of a number."""
    if number.category == 3 and tensor.category == 2:
        return tensor.to_complex()
    return number


def cast(x: Any, dtype: dtypes.dtype) -> Any:
    """``x`` in a dtype; itself if it has it."""
    return x if x._meta.dtype is dtype else ops.cast(x, dtype=dtype)


def literal(x: Any, dtype: dtypes.dtype) -> Any:
    """A number fit to stand beside arrays of ``dtype``."""
    if isinstance(x, Num):
        return x
    if dtype.category == 0:
        return bool(x)
    if dtype.category == 1 and isinstance(x, (bool, float)):
        return int(x)
    if dtype.category == 2 and isinstance(x, bool):
        return float(x)
    return x


def fit(x: Any, dtype: dtypes.dtype) -> Any:
    """``literal``, refused where ``dtype`` does not hold it: a run-time number at each call."""
    if isinstance(x, Num):
        fitted(x.value, dtype)
        limit(x, dtype)
        return x
    return fitted(x, dtype)


def rounded(x: Any, dtype: dtypes.dtype) -> Any:
    """A number as a 16-bit ``dtype`` holds it."""
    op = _as_half if dtype is dtypes.float16 else _as_bfloat
    return x._make(op, x) if isinstance(x, Num) else op(x)


def _as_half(x: Any) -> float:
    return float(dtypes.float16.numpy.type(x))


def _as_bfloat(x: Any) -> float:
    return float(dtypes.bfloat16.numpy.type(x))


def promoted(*operands: Any, dtype: dtypes.dtype | None = None) -> list[Any]:
    """Operands in their common dtype: tensors cast, numbers left to follow them."""
    target = dtype or result_type(*operands)
    return [cast(x, target) if isinstance(x, Tensor) else literal(x, target) for x in operands]


def floating(*operands: Any) -> list[Any]:
    """Operands in their common dtype, the default floating one if that is integral."""
    return promoted(*operands, dtype=floating_type(*operands))


def floating_type(*operands: Any) -> dtypes.dtype:
    """The common dtype, the default floating one if that is integral."""
    target = result_type(*operands)
    return defaults.dtype if target.category < 2 else target


def as_tensor(x: Any, dtype: dtypes.dtype) -> Tensor:
    """A number as a 0-dim tensor of ``dtype``; a tensor as it is."""
    return x if isinstance(x, Tensor) else ops.full(x, shape=(), dtype=dtype)


def two_tensors(x: Any, y: Any) -> list[Any]:
    """At least one operand must be a tensor for a primitive to have a shape."""
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        dtype = result_type(x, y)
        return [as_tensor(x, dtype), as_tensor(y, dtype)]
    return [x, y]
