"""What the references share: computing precision, borders, windows and index checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from collections.abc import Sequence

HALF_TYPES = frozenset({np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)})

Pairs = tuple[tuple[int, int], ...]


class OutOfRangeError(IndexError, RuntimeError):
    """An index past the end; PyTorch raises one parent or the other, by function."""


def computing_dtype(dtype: np.dtype) -> np.dtype:
    """The type to compute in: half precisions are widened, the others kept."""
    return np.dtype(np.float32) if dtype in HALF_TYPES else dtype


def widen(x: np.ndarray) -> np.ndarray:
    """``x`` in the type to compute in, itself when that is its own."""
    return x.astype(np.float32) if x.dtype in HALF_TYPES else x


def is_real_floating(dtype: np.dtype) -> bool:
    """Whether ``dtype`` is a real floating type, bfloat16 included."""
    return dtype.kind == "f" or dtype in HALF_TYPES


def owned(out: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``out`` laid out in C order in memory that is not ``x``'s: references return new arrays."""
    shared = np.may_share_memory(out, x) or not out.flags.writeable
    return out.copy() if shared else np.asarray(out, order="C")


def lowest(dtype: np.dtype) -> object:
    """The least value of ``dtype``: what no element loses against."""
    if dtype.kind == "f":
        return -np.inf
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def highest(dtype: np.dtype) -> object:
    """The greatest value of ``dtype``."""
    if dtype.kind == "f":
        return np.inf
    return True if dtype.kind == "b" else np.iinfo(dtype).max


def bordered(x: np.ndarray, pads: Sequence[tuple[int, int]], value: object = 0) -> np.ndarray:
    """``x`` with a border of ``value`` around its last ``len(pads)`` axes.

    Ten times faster than ``np.pad``, and a negative width cuts instead.
    """
    if all(low <= 0 and high <= 0 for low, high in pads):
        return x[(..., *(slice(-low, x.shape[a] + high) for a, (low, high) in _axes(x, pads)))]
    shape = list(x.shape)
    inner: list[slice] = []
    source: list[slice] = []
    for axis, (low, high) in _axes(x, pads):
        shape[axis] += low + high
        inner.append(slice(max(low, 0), shape[axis] - max(high, 0)))
        source.append(slice(max(-low, 0), x.shape[axis] - max(-high, 0)))
    out = np.full(shape, value, x.dtype) if value != 0 else np.zeros(shape, x.dtype)
    out[(..., *inner)] = x[(..., *source)]
    return out


def _axes(x: np.ndarray, pads: Sequence[tuple[int, int]]) -> list[tuple[int, tuple[int, int]]]:
    return list(enumerate(pads, x.ndim - len(pads)))


def windows(
    x: np.ndarray,
    kernel_size: Sequence[int],
    output_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """A read-only view ``(..., *kernel_size, *output_size)`` of the windows over the last axes."""
    d = len(kernel_size)
    lead, steps = x.shape[: x.ndim - d], x.strides[x.ndim - d :]
    return as_strided(
        x,
        (*lead, *kernel_size, *output_size),
        (
            *x.strides[: x.ndim - d],
            *(s * step for s, step in zip(steps, dilation, strict=True)),
            *(s * step for s, step in zip(steps, stride, strict=True)),
        ),
        writeable=False,
    )


def tap_slices(
    tap: Sequence[int], output_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[slice, ...]:
    """Where one tap of a kernel falls for every output, along each spatial axis."""
    return tuple(
        slice(k * d, k * d + (o - 1) * s + 1 if o else k * d, s)
        for k, o, s, d in zip(tap, output_size, stride, dilation, strict=True)
    )


def check_range(index: np.ndarray, size: int, dim: int, lowest_index: int = 0) -> None:
    """Raises ``OutOfRangeError`` unless ``lowest_index <= index < size`` everywhere."""
    if not index.size:
        return
    low, high = int(index.min()), int(index.max())
    if low >= lowest_index and high < size:
        return
    bad = index[(index < lowest_index) | (index >= size)].flat[0]
    raise OutOfRangeError(f"index {int(bad)} is out of bounds for dimension {dim} with size {size}")
