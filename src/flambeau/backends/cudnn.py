"""``torch.backends.cudnn``: no cuDNN here; its switches can be set and change nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from flambeau.backends.flags import setting

__all__ = ["allow_tf32", "benchmark", "benchmark_limit", "deterministic", "enabled", "flags"]

enabled = True
benchmark = False
benchmark_limit: int | None = None
deterministic = False
allow_tf32 = True
fp32_precision = "none"


def version() -> int | None:
    """The version of cuDNN: ``None``."""
    return None


def is_available() -> bool:
    """Whether cuDNN can be used: no."""
    return False


def is_acceptable(tensor: Any) -> bool:
    """Whether cuDNN could work on this tensor: no."""
    return False


def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int | None = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
    fp32_precision: str = "none",
) -> AbstractContextManager[None]:
    """Sets the switches inside ``with``."""
    return setting(
        __name__,
        enabled=enabled,
        benchmark=benchmark,
        benchmark_limit=benchmark_limit,
        deterministic=deterministic,
        allow_tf32=allow_tf32,
        fp32_precision=fp32_precision,
    )
