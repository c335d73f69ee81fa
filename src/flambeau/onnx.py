"""``torch.onnx``: names that say what is not there yet."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.errors import NotSupportedError

__all__ = ["export", "is_in_onnx_export"]


def export(model: Any, *arguments: Any, **options: Any) -> NoReturn:
    """Raises: ``NotSupportedError``: Flambeau does not write ONNX files."""
    raise NotSupportedError("torch.onnx.export: Flambeau does not write ONNX files yet")


def is_in_onnx_export() -> bool:
    """Whether an export is running: no."""
    return False
