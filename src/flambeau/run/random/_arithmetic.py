"""Rounding as PyTorch's CPU kernels do it: casts by way of float32, multiply-adds rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

__all__ = [
    "BFLOAT16", "DIGITS", "FLOATS", "Shape", "blocks", "each", "fused", "round_to", "size_of",
]  # fmt: skip

Shape = int | tuple[int, ...]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT16 = np.dtype(np.float16)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
FLOATS = (FLOAT32, FLOAT64, FLOAT16, BFLOAT16)

# Bits of the significand, the implicit one included.
DIGITS = {FLOAT16: 11, BFLOAT16: 8, FLOAT32: 24, FLOAT64: 53}

_SPLITTER = 134217729.0  # 2**27 + 1 [Dekker 1971]
_SPLIT_LIMIT = 2.0**990  # beyond it the splitting overflows


# As many numbers as a core's nearest cache takes in all the forms that they pass through.
BLOCK = 1 << 12


def blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Views of consecutive parts of a flat array, for work that would else write much memory."""
    return (values[i : i + BLOCK] for i in range(0, values.size, BLOCK))


def size_of(shape: Shape) -> int:
    """The number of elements of ``shape``."""
    return math.prod(shape) if isinstance(shape, tuple) else shape


def each(function: Callable[[float], float], values: np.ndarray) -> np.ndarray:
    """``function`` of ``math`` at each element.

    ``math`` calls the C library, as PyTorch does; NumPy's vector versions differ from it in the
    last bit of up to 7 % of float64 results (log1p), which shows where the result is float64.
    """
    flat = np.fromiter(map(function, values.ravel().tolist()), np.float64, values.size)
    return flat.reshape(values.shape)


def fused(x: Any, scale: float, shift: float) -> Any:
    """``x * scale + shift`` in float64, rounded once (but for ties nearer than 2**-100).

    PyTorch's kernels are compiled to fused multiply-adds, which Python has only since 3.13 and
    NumPy not at all: the product's error [Dekker 1971] and the sum's [Knuth 1969] are computed
    and added back.
    """
    product = x * scale
    if shift == 0 or scale in (0.0, 1.0, -1.0):
        return product + shift
    if not (abs(scale) < _SPLIT_LIMIT and abs(shift) < _SPLIT_LIMIT):
        return product + shift
    t = x * _SPLITTER
    x_high = t - (t - x)
    x_low = x - x_high
    t = scale * _SPLITTER
    scale_high = t - (t - scale)
    scale_low = scale - scale_high
    lost = x_low * scale_low - (
        ((product - x_high * scale_high) - x_low * scale_high) - x_high * scale_low
    )
    total = product + shift
    back = total - product
    lost = lost + ((product - (total - back)) + (shift - back))
    return total + lost


def round_to(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``values`` in ``dtype``; the 16-bit types round twice, by way of float32, as in C++."""
    if dtype == values.dtype:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype in (FLOAT16, BFLOAT16):
            return values.astype(FLOAT32, copy=False).astype(dtype)
        return values.astype(dtype)
