"""The standard's data types: which there are, how they promote, conversion between them."""

from __future__ import annotations

from functools import reduce
from typing import Any

import flambeau
from flambeau import Tensor

__all__ = ["astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]

SCALARS = (bool, int, float, complex)

SIGNED = ("int8", "int16", "int32", "int64")
REAL = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
# PyTorch has uint16 to uint64 too, but few functions of them, and leaves them out here.
KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": SIGNED,
    "unsigned integer": ("uint8",),
    "integral": (*SIGNED, "uint8"),
    "real floating": REAL,
    "complex floating": COMPLEX,
    "numeric": (*SIGNED, "uint8", *REAL, *COMPLEX),
}


def astype(x: Tensor, dtype: flambeau.dtype, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """``x`` in another dtype; with ``copy=False`` itself, if it has that dtype already.

    >>> torch.array_api.astype(torch.ones(2), torch.int64)
    tensor([1, 1])
    """
    return x.to(device or x.device, dtype, copy=copy)


def can_cast(from_: flambeau.dtype | Tensor, to: flambeau.dtype, /) -> bool:
    """Whether values of one dtype may become another by promotion.

    >>> torch.array_api.can_cast(torch.float64, torch.int64)
    False
    """
    return flambeau.can_cast(_dtype(from_), to)


def finfo(type: flambeau.dtype | Tensor, /) -> Any:
    """Limits of a floating-point dtype; of a complex one, those of its parts.

    >>> torch.array_api.finfo(torch.complex64).bits
    32
    """
    dtype = _dtype(type)
    return flambeau.finfo(dtype.to_real() if dtype.is_complex else dtype)


def iinfo(type: flambeau.dtype | Tensor, /) -> Any:
    """Limits of an integer dtype.

    >>> torch.array_api.iinfo(torch.int8).max
    127
    """
    return flambeau.iinfo(_dtype(type))


def isdtype(dtype: flambeau.dtype, kind: flambeau.dtype | str | tuple) -> bool:
    """Whether ``dtype`` is another dtype, of a kind ("integral", "real floating" …), or of one of
    several.

    Raises: ``ValueError`` for a kind that there is not.

    >>> torch.array_api.isdtype(torch.int8, ("bool", "signed integer"))
    True
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if not isinstance(kind, str):
        return dtype == kind
    if kind not in KINDS:
        raise ValueError(f"Unrecognized data type kind: {kind!r}")
    # By their nature, so that the dtypes beyond the standard's have a kind too.
    is_number = dtype != flambeau.bool
    integral = is_number and not dtype.is_floating_point and not dtype.is_complex
    return {
        "bool": not is_number,
        "signed integer": integral and dtype.is_signed,
        "unsigned integer": integral and not dtype.is_signed,
        "integral": integral,
        "real floating": dtype.is_floating_point,
        "complex floating": dtype.is_complex,
        "numeric": is_number,
    }[kind]


def result_type(*arrays_and_dtypes: Any) -> flambeau.dtype:
    """The dtype to which tensors, dtypes and Python numbers promote together.

    A tensor without dimensions counts like any other; a number only by its kind.

    Raises: ``ValueError`` if there is neither a tensor nor a dtype.

    >>> torch.array_api.result_type(torch.ones(2), torch.tensor(1.0, dtype=torch.float64), 3)
    torch.float64
    """
    numbers = [x for x in arrays_and_dtypes if isinstance(x, SCALARS)]
    others = [_dtype(x) for x in arrays_and_dtypes if not isinstance(x, SCALARS)]
    if not others:
        raise ValueError("At least one array or dtype must be provided")
    found = reduce(flambeau.promote_types, others)
    for number in numbers:
        found = flambeau.result_type(flambeau.empty((1,), dtype=found), number)
    return found


def promoted(x1: Any, x2: Any, always: bool = False) -> tuple[Any, Any]:
    """Two operands as PyTorch's functions need them to promote by the standard.

    PyTorch lets tensors without dimensions give way to others: these are converted (``always``:
    all are, for functions that do not promote). Of two operands a Python number becomes a tensor.
    """
    if isinstance(x1, SCALARS):
        x1 = flambeau.asarray(x1, dtype=result_type(x1, x2), device=x2.device)
    if isinstance(x2, SCALARS):
        x2 = flambeau.asarray(x2, dtype=result_type(x1, x2), device=x1.device)
    if x1.dtype == x2.dtype or not (always or x1.dim() == 0 or x2.dim() == 0):
        return x1, x2
    dtype = result_type(x1, x2)
    return x1.to(dtype), x2.to(dtype)


def _dtype(x: Any) -> flambeau.dtype:
    return x.dtype if isinstance(x, Tensor) else x
