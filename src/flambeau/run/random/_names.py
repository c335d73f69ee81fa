"""What PyTorch's messages call element types."""

from __future__ import annotations

import numpy as np

__all__ = ["c_name", "scalar_name", "not_implemented"]

_SCALAR = {
    "bool": "Bool",
    "uint8": "Byte",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "uint16": "UInt16",
    "uint32": "UInt32",
    "uint64": "UInt64",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "float32": "Float",
    "float64": "Double",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}

_C = {
    "bool": "bool",
    "uint8": "unsigned char",
    "int8": "signed char",
    "int16": "short int",
    "int32": "int",
    "int64": "long",
    "uint16": "short unsigned int",
    "uint32": "unsigned int",
    "uint64": "long unsigned int",
    "float16": "c10::Half",
    "bfloat16": "c10::BFloat16",
    "float32": "float",
    "float64": "double",
}


def scalar_name(dtype: np.dtype) -> str:
    """``Float`` for float32, and so on."""
    return _SCALAR.get(dtype.name, dtype.name)


def c_name(dtype: np.dtype) -> str:
    """``signed char`` for int8, and so on."""
    return _C.get(dtype.name, dtype.name)


def not_implemented(kernel: str, dtype: np.dtype) -> NotImplementedError:
    """The exception for a kernel that has no version for ``dtype``."""
    return NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(dtype)}'")
