"""Utilities: data loading, checkpointing, hooks, extras."""

from __future__ import annotations

import importlib
from typing import Any

# Modules that are names of the package, loaded when first asked for.
_LAZY = (
    "benchmark", "checkpoint", "collect_env", "data", "dlpack", "extras", "hooks", "tensorboard",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
