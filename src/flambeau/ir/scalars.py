"""Python numbers as elements of a dtype: converted, or refused where they do not fit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from flambeau.dtypes import dtype

# What C++ calls them, as PyTorch's messages do.
_NAMES = {
    "uint8": "uint8_t", "int8": "int8_t", "uint16": "uint16_t", "int16": "int16_t",
    "uint32": "uint32_t", "int32": "int", "uint64": "uint64_t", "int64": "int64_t",
    "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
}  # fmt: skip


def _largest(part: np.dtype) -> float:
    return float(ml_dtypes.finfo(part).max)


def _fits(value: Any, kind: dtype) -> bool:
    if isinstance(value, complex):
        parts = (value.real, value.imag)
        return all(_fits(p, kind.to_real()) for p in parts) if kind.is_complex else not value.imag
    if kind.category == 1:
        if isinstance(value, float) and not math.isfinite(value):
            return False
        info = np.iinfo(kind.numpy)
        # Negative integers wrap around in unsigned types; numbers with a point do not.
        low = -int(info.max) if info.min == 0 and isinstance(value, int) else int(info.min)
        return low <= value <= int(info.max)
    return not math.isfinite(value) or abs(value) <= _largest(kind.to_real().numpy)


def bounds(kind: dtype) -> tuple[Any, Any]:
    """The least and greatest numbers that are surely held; ``fitted`` knows of the others."""
    if kind.category == 1:
        info = np.iinfo(kind.numpy)
        return int(info.min), int(info.max)
    greatest = math.inf if kind.category == 0 else _largest(kind.to_real().numpy)
    return -greatest, greatest


def fitted(value: Any, kind: dtype) -> Any:
    """A number as one that an array of dtype ``kind`` holds: integers for integral types.

    Negative integers wrap around in unsigned types. Raises ``RuntimeError`` where the number is
    too large, has an imaginary part that is lost, or is not finite and wanted as an integer.

    >>> from flambeau import dtypes
    >>> fitted(-3, dtypes.uint8), fitted(2.5, dtypes.int64)
    (253, 2)
    """
    if kind.category == 0:
        return bool(value)
    if isinstance(value, np.generic):
        value = value.item()
    if not _fits(value, kind):
        raise RuntimeError(
            f"value cannot be converted to type {_NAMES[kind.name]} without overflow"
        )
    if isinstance(value, complex) and not kind.is_complex:
        value = value.real
    return wrapped(int(value), kind.numpy) if kind.category == 1 else value


def wrapped(value: int, kind: np.dtype) -> int:
    """An integer modulo what an integral NumPy type holds, as C converts it."""
    bits = 8 * kind.itemsize
    value &= (1 << bits) - 1
    return value - (1 << bits) if kind.kind == "i" and value >> (bits - 1) else value
