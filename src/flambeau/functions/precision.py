"""What ``autocast`` asks of functions: to compute in its dtype, or in float32."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.functions.promotion import cast
from flambeau.record.trace import open_
from flambeau.tensor import Tensor

_CAST = (dtypes.float32, dtypes.bfloat16, dtypes.float16)


def _to(target: dtypes.dtype, values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        cast(x, target) if isinstance(x, Tensor) and x.dtype in _CAST else x for x in values
    )


def lowered(*values: Any) -> tuple[Any, ...]:
    """Inside ``autocast``, tensors in its dtype: what products and convolutions begin with.

    Double precision and integers stay as they are, and so does everything outside ``autocast``.
    """
    target = open_.state.extra
    return values if target is None else _to(target, values)


def raised(*values: Any) -> tuple[Any, ...]:
    """Inside ``autocast``, tensors in float32: what losses begin with."""
    return values if open_.state.extra is None else _to(dtypes.float32, values)
