"""Limits of dtypes: ``finfo`` for floating ones, ``iinfo`` for integers."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from flambeau.dtypes import dtype as DType
from flambeau.dtypes import of_type
from flambeau.record.trace import defaults

__all__ = ["finfo", "iinfo"]


class finfo:
    """Limits of a floating dtype (of the parts of a complex one).

    ``eps`` is the gap after 1, ``tiny`` the smallest normal number, ``resolution`` ten to the
    digits that are always right. Raises ``TypeError`` for integers.

    >>> finfo(float32).bits
    32
    """

    __slots__ = ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype")

    def __init__(self, dtype: DType | None = None) -> None:
        kind = defaults.dtype if dtype is None else of_type(dtype)
        if not isinstance(kind, DType):
            raise TypeError(
                f"finfo(): argument 'type' must be torch.dtype, not {type(dtype).__name__}"
            )
        if kind.category < 2:
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle "
                "'torch.finfo'"
            )
        real = kind.to_real()
        found = ml_dtypes.finfo(real.numpy)
        self.bits = real.itemsize * 8
        self.eps = float(found.eps)
        self.max = float(found.max)
        self.min = float(found.min)
        self.tiny = self.smallest_normal = float(found.smallest_normal)
        self.resolution = 10.0 ** -math.floor(-math.log10(self.eps))
        self.dtype = real.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        def short(x: float) -> str:
            return f"{x:.6g}"

        return (
            f"finfo(resolution={short(self.resolution)}, min={short(self.min)}, "
            f"max={short(self.max)}, eps={short(self.eps)}, "
            f"smallest_normal={short(self.smallest_normal)}, tiny={short(self.tiny)}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integral dtype. Raises ``TypeError`` for others.

    >>> iinfo(int8)
    iinfo(min=-128, max=127, dtype=int8)
    """

    __slots__ = ("bits", "max", "min", "dtype")

    def __init__(self, dtype: DType) -> None:
        dtype = of_type(dtype)
        if not isinstance(dtype, DType):
            raise TypeError(
                f"iinfo(): argument 'type' must be torch.dtype, not {type(dtype).__name__}"
            )
        if dtype.category > 1:
            raise TypeError(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle "
                "'torch.iinfo'"
            )
        if dtype.category == 0:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        found = np.iinfo(dtype.numpy)
        self.bits = dtype.itemsize * 8
        self.min, self.max = int(found.min), int(found.max)
        self.dtype = dtype.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:.6g}, max={self.max:.6g}, dtype={self.dtype})"
