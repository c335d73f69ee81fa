"""What loggers of other packages need: the package, and which checkpoints to send."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

__all__ = ["checkpoints_of", "installed"]


def installed(package: str, wanted_by: str) -> ModuleType:
    """The package.

    Raises: ``ModuleNotFoundError`` saying what to install.

    >>> installed("json", "JSONLogger").dumps(1)
    '1'
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"{wanted_by} needs the package '{package}', which is not installed: "
            f"pip install {package}",
            name=package,
        ) from None


def checkpoints_of(
    callback: Any, sent: dict[str, float]
) -> list[tuple[float, str, Any, list[str]]]:
    """(time of writing, path, score, aliases) of a callback's checkpoints that are newer than those
    sent, the oldest first.
    """
    last, best = callback.last_model_path, callback.best_model_path
    scores = {best: callback.best_model_score, **getattr(callback, "best_k_models", {})}
    if last:
        scores.setdefault(last, getattr(callback, "current_score", None))
    found = []
    for path, score in scores.items():
        if path and os.path.isfile(path):
            modified = os.path.getmtime(path)
            aliases = [name for name, p in (("latest", last), ("best", best)) if p == path]
            if sent.get(path) != modified:
                found.append((modified, path, score, aliases))
    return sorted(found, key=lambda one: one[0])
