"""Typed tensor classes of PyTorch's first years: ``FloatTensor(2, 3)``, ``LongTensor([1])``."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.functions.casting import set_default_dtype
from flambeau.functions.creation import legacy_constructor
from flambeau.tensor import Tensor

__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor",
    "HalfTensor", "IntTensor", "LongTensor", "ShortTensor", "set_default_tensor_type",
]  # fmt: skip


class _Typed(type):
    """A name that makes tensors of one dtype, and that they are instances of."""

    _legacy_dtype: dtypes.dtype

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, Tensor) and x.dtype is cls._legacy_dtype

    def __call__(cls, *args: Any, **kwargs: Any) -> Tensor:
        return legacy_constructor(cls, *args, **kwargs)


def _typed(name: str, dtype: dtypes.dtype) -> type:
    return _Typed(name, (), {"_legacy_dtype": dtype, "dtype": dtype, "__module__": "torch"})


FloatTensor = _typed("FloatTensor", dtypes.float32)
DoubleTensor = _typed("DoubleTensor", dtypes.float64)
HalfTensor = _typed("HalfTensor", dtypes.float16)
BFloat16Tensor = _typed("BFloat16Tensor", dtypes.bfloat16)
LongTensor = _typed("LongTensor", dtypes.int64)
IntTensor = _typed("IntTensor", dtypes.int32)
ShortTensor = _typed("ShortTensor", dtypes.int16)
CharTensor = _typed("CharTensor", dtypes.int8)
ByteTensor = _typed("ByteTensor", dtypes.uint8)
BoolTensor = _typed("BoolTensor", dtypes.bool_)


def set_default_tensor_type(t: Any) -> None:
    """``set_default_dtype`` by the name of a typed tensor class."""
    if isinstance(t, str):
        t = globals()[t.rpartition(".")[2]]
    set_default_dtype(t._legacy_dtype)
