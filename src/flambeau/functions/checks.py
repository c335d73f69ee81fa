"""What pointwise functions refuse: operands that are no tensors, dtypes without the operation."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NoReturn

from flambeau.functions.inplace import title as _title
from flambeau.record.builder import Num, shared
from flambeau.record.refusal import no_tensor
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau import dtypes


def _kind(value: Any) -> str:
    return (value.type if isinstance(value, Num) else type(value)).__name__


def _need_tensor(name: str, value: Any, argument: str = "input", position: int = 1) -> None:
    """``TypeError`` unless an argument is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be Tensor, not "
            f"{_kind(value)}"
        )


def _tensors(f: Callable) -> Callable:
    """Makes a plain function name the argument that should have been a tensor, and is none."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except (AttributeError, TypeError) as error:
            if shared["taken_over"](call, (*args, *kwargs.values())):
                return call(*args, **kwargs)
            refusal = no_tensor(f, f.__name__, args, kwargs)
            if refusal is None or isinstance(error, TypeError):
                raise
        raise refusal

    call.needs_tensors = True  # type: ignore[attr-defined]
    return call


def _need_one_tensor(name: str, *operands: Any) -> None:
    """``TypeError`` if all operands are numbers."""
    if not any(isinstance(x, Tensor) for x in operands):
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got "
            f"({', '.join(map(_kind, operands))}), but expected a Tensor among them"
        )


def _need_one_dtype(first: Tensor, *others: Tensor) -> None:
    """``RuntimeError`` unless all have the dtype of the first."""
    for x in others:
        if x.dtype is not first.dtype:
            raise RuntimeError(
                f"expected scalar type {_title(first.dtype)} but found {_title(x.dtype)}"
            )


def _need_real(dtype: dtypes.dtype, *numbers: Any) -> None:
    """``RuntimeError`` for a complex number that is to scale tensors of a real dtype."""
    if not dtype.is_complex and any(isinstance(x, complex) for x in numbers):
        raise RuntimeError("value cannot be converted to type float without overflow")


def _need_order(kernel: str, *operands: Any) -> None:
    """``NotImplementedError`` if one of the operands is complex."""
    for x in operands:
        if isinstance(x, Tensor) and x.dtype.is_complex:
            _refuse(kernel, x.dtype)


def _need_floats(
    kernel: str,
    *tensors: Tensor,
    also: tuple[dtypes.dtype, ...] = (),
    complex_too: bool = False,
) -> None:
    """``NotImplementedError`` for tensors of other dtypes than real floats and ``also``."""
    for x in tensors:
        kind = x.dtype.category
        if kind != 2 and x.dtype not in also and not (complex_too and kind == 3):
            _refuse(kernel, x.dtype)


def _refuse(kernel: str, dtype: dtypes.dtype) -> NoReturn:
    """There is no such operation on this dtype."""
    raise NotImplementedError(f"\"{kernel}\" not implemented for '{_title(dtype)}'")
