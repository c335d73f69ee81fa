"""Which precision autocast asks for: read by functions, switched by ``autocast``.

The precision is part of the ambient state a trace is recorded under (``Ambient.extra``): ``None``,
or the dtype in which the matmul family computes. Functions, which are below this package, read
``open_.state.extra``; it is per thread, as in PyTorch.
"""

from __future__ import annotations

from flambeau.dtypes import bfloat16, dtype, float16
from flambeau.record.trace import open_, set_state

__all__ = [
    "active",
    "activate",
    "get_autocast_dtype",
    "is_autocast_cache_enabled",
    "is_autocast_enabled",
    "set_autocast_cache_enabled",
    "set_autocast_dtype",
    "set_autocast_enabled",
]

_dtypes: dict[str, dtype] = {"cpu": bfloat16, "cuda": float16, "xpu": bfloat16, "mps": float16}
_cache = True


def active() -> dtype | None:
    """The dtype in which matmul-family functions compute now; ``None`` outside autocast."""
    return open_.state.extra


def activate(precision: dtype | None) -> None:
    """Makes ``precision`` the one of this thread; ``None`` ends autocast."""
    set_state(extra=precision)


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on for a device type; only "cpu" can have it on."""
    return device_type == "cpu" and active() is not None


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switches autocast for a device type; for one that does not exist this changes nothing."""
    if device_type == "cpu":
        activate(_dtypes["cpu"] if enabled else None)


def get_autocast_dtype(device_type: str) -> dtype:
    """The dtype autocast uses for a device type: bfloat16 on the CPU."""
    if device_type == "cpu":
        return active() or _dtypes["cpu"]
    return _dtypes.get(device_type, float16)


def set_autocast_dtype(device_type: str, dtype: dtype) -> None:
    """Chooses the dtype autocast uses for a device type."""
    _dtypes[device_type] = dtype
    if device_type == "cpu" and active() is not None:
        activate(dtype)


def is_autocast_cache_enabled() -> bool:
    """Whether casts of weights are kept; they are recorded once a trace either way."""
    return _cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Sets what :func:`is_autocast_cache_enabled` answers."""
    global _cache
    _cache = bool(enabled)
