"""Element types: how they lie in memory, and what registers compute with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flambeau import dtypes

if TYPE_CHECKING:
    from flambeau.ir.graph import Aval

__all__ = ["Element", "element", "known"]


@dataclass(frozen=True)
class Element:
    """``memory``: the type stored; ``register``: the one computed with; ``kind`` f, i, u or b."""

    name: str
    memory: str
    register: str
    size: int
    kind: str


_ELEMENTS = {
    dtypes.float32: Element("float32", "float", "float", 4, "f"),
    dtypes.float64: Element("float64", "double", "double", 8, "f"),
    dtypes.float16: Element("float16", "half", "float", 2, "f"),
    dtypes.bfloat16: Element("bfloat16", "bfloat", "float", 2, "f"),
    dtypes.int64: Element("int64", "i64", "i64", 8, "i"),
    dtypes.int32: Element("int32", "i32", "i32", 4, "i"),
    dtypes.int16: Element("int16", "i16", "i16", 2, "i"),
    dtypes.int8: Element("int8", "i8", "i8", 1, "i"),
    dtypes.uint8: Element("uint8", "i8", "i8", 1, "u"),
    dtypes.bool_: Element("bool", "i8", "i1", 1, "b"),
}


def known(dtype: dtypes.dtype | None) -> bool:
    """Whether kernels compute with this dtype."""
    return dtype in _ELEMENTS


def element(dtype: dtypes.dtype) -> Element:
    return _ELEMENTS[dtype]


def all_known(*avals: Aval) -> bool:
    return all(a.dtype is None or a.dtype in _ELEMENTS for a in avals)
