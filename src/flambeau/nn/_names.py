"""What messages call a type."""

from __future__ import annotations

from typing import Any

from flambeau.tensor import Tensor


def typename(value: Any) -> str:
    """``str`` for a string, ``torch.FloatTensor`` for a tensor, the qualified name otherwise."""
    if isinstance(value, Tensor):
        return value.type()
    kind = value if isinstance(value, type) else type(value)
    module = kind.__module__ or ""
    prefix = "" if module in ("builtins", "__builtin__") else module + "."
    return prefix + kind.__qualname__
