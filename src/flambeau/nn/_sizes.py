"""Sizes given as one number or as one for each dimension."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def ntuple(value: Any, n: int) -> tuple:
    """``value`` for each of ``n`` dimensions; a sequence stays as it is."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * n


def reversed_twice(sizes: Iterable[int]) -> list[int]:
    """Padding as ``F.pad`` wants it: both sides of each dimension, the last dimension first."""
    return [size for size in reversed(tuple(sizes)) for _ in range(2)]
