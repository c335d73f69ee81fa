"""``torch.backends.quantized``: no engine for quantised arithmetic."""

from __future__ import annotations

__all__ = ["engine", "supported_engines"]

engine = "none"
supported_engines = ["none"]
