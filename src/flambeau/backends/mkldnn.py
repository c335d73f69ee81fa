"""``torch.backends.mkldnn``: Flambeau does not use oneDNN; the switches change nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flambeau.backends.flags import setting

__all__ = ["deterministic", "enabled", "flags", "is_available"]

enabled = True
deterministic = False
allow_tf32 = True
fp32_precision = "none"


def is_available() -> bool:
    """Whether oneDNN is used: no."""
    return False


def flags(
    enabled: bool = False,
    deterministic: bool = False,
    allow_tf32: bool = True,
    fp32_precision: str = "none",
) -> AbstractContextManager[None]:
    """Sets the switches inside ``with``."""
    return setting(
        __name__,
        enabled=enabled,
        deterministic=deterministic,
        allow_tf32=allow_tf32,
        fp32_precision=fp32_precision,
    )
