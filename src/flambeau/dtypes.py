"""Element types, their NumPy counterparts and how they promote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DTYPES", "PYTHON_TYPES", "dtype", "from_numpy_dtype", "promote", "of_number"]


class dtype:
    """An element type, such as ``flambeau.float32``; one object for each type.

    ``numpy`` is the NumPy type that stores it, ``itemsize`` its size in bytes.
    """

    __slots__ = (
        "name",
        "numpy",
        "itemsize",
        "is_floating_point",
        "is_complex",
        "is_signed",
        "category",
        "rank",
        "__weakref__",
    )

    def __init__(self, name: str, numpy: object, category: int, rank: int) -> None:
        self.name = name
        self.numpy = np.dtype(numpy)
        self.itemsize = self.numpy.itemsize
        self.is_floating_point = category == 2
        self.is_complex = category == 3
        self.is_signed = category >= 2 or (category == 1 and not name.startswith("u"))
        self.category = category
        self.rank = rank

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple:
        return (_by_name, (self.name,))

    def to_complex(self) -> dtype:
        """The complex type whose parts have this type."""
        return _COMPLEX_OF.get(self.name, complex64) if not self.is_complex else self

    def to_real(self) -> dtype:
        """The type of the parts of this complex type."""
        return _REAL_OF.get(self.name, self)


def _by_name(name: str) -> dtype:
    return DTYPES[name]


bool_ = dtype("bool", np.bool_, 0, 0)
uint8 = dtype("uint8", np.uint8, 1, 1)
int8 = dtype("int8", np.int8, 1, 2)
uint16 = dtype("uint16", np.uint16, 1, 3)
int16 = dtype("int16", np.int16, 1, 4)
uint32 = dtype("uint32", np.uint32, 1, 5)
int32 = dtype("int32", np.int32, 1, 6)
uint64 = dtype("uint64", np.uint64, 1, 7)
int64 = dtype("int64", np.int64, 1, 8)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, 2, 10)
float16 = dtype("float16", np.float16, 2, 11)
float32 = dtype("float32", np.float32, 2, 12)
float64 = dtype("float64", np.float64, 2, 13)
complex64 = dtype("complex64", np.complex64, 3, 20)
complex128 = dtype("complex128", np.complex128, 3, 21)

# Python's own types where a dtype is asked for.
PYTHON_TYPES: dict[type, dtype] = {
    bool: bool_,
    int: int64,
    float: float64,
    complex: complex128,
}

DTYPES: dict[str, dtype] = {
    d.name: d
    for d in (
        bool_,
        uint8,
        int8,
        uint16,
        int16,
        uint32,
        int32,
        uint64,
        int64,
        bfloat16,
        float16,
        float32,
        float64,
        complex64,
        complex128,
    )
}
_COMPLEX_OF = {"float64": complex128}
_REAL_OF = {"complex64": float32, "complex128": float64}
_FROM_NUMPY = {d.numpy: d for d in DTYPES.values()}
_UNSIGNED_WIDE = {"uint16", "uint32", "uint64"}


def of_type(x: Any) -> Any:
    """The dtype that one of Python's own types stands for; anything else is itself."""
    return PYTHON_TYPES.get(x, x) if x.__class__ is type else x


def from_numpy_dtype(numpy: np.dtype) -> dtype:
    """The Flambeau type stored by a NumPy type; ``TypeError`` if there is none."""
    found = _FROM_NUMPY.get(np.dtype(numpy).newbyteorder("="))
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type {numpy}. The only supported types are: float64, "
            "float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, "
            "uint16, uint8, and bool."
        )
    return found


def promote(a: dtype, b: dtype) -> dtype:
    """The type that holds both: complex over floating over integral over bool.

    bfloat16 with float16 gives float32; uint8 with int8 gives int16; the wide unsigned types
    promote only with floating types, themselves and bool, as in PyTorch (``RuntimeError``).
    """
    if a is b:
        return a
    if a.category < b.category:
        a, b = b, a
    if a.category == 0 or b.category == 0:
        return a
    if a.category == 3:
        return complex128 if "complex128" in (a.name, b.name) or b is float64 else a
    if a.category == 2:
        if b.category == 1 or a is b:
            return a
        if {a, b} == {bfloat16, float16}:
            return float32
        return a if a.rank > b.rank else b
    if a.name in _UNSIGNED_WIDE or b.name in _UNSIGNED_WIDE:
        raise RuntimeError(
            f"Promotion for uint16, uint32, uint64 types is not supported, "
            f"attempted to promote {a.name} and {b.name}"
        )
    if uint8 in (a, b):
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    return a if a.rank > b.rank else b


def of_number(value: object, default: dtype) -> dtype:
    """The type a Python number has on its own; ``default`` is the default floating type."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    if isinstance(value, float):
        return default
    if isinstance(value, complex):
        return default.to_complex()
    raise TypeError(f"not a number: {type(value).__name__}")


def promote_all(types: Iterable[dtype]) -> dtype:
    """``promote`` over several types."""
    result = None
    for t in types:
        result = t if result is None else promote(result, t)
    if result is None:
        raise TypeError("promote_all: no types given")
    return result
