"""Imports of optional packages, with the command that installs them when they are missing."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

__all__ = ["EXTRAS", "MissingExtraError", "require", "missing_packages"]


class MissingExtraError(ImportError):
    """An optional package is not installed; the message is the command that installs it."""


# What each extra of pyproject.toml installs, by import name.
EXTRAS: dict[str, tuple[str, ...]] = {
    "vision": ("PIL", "sklearn"),
    "train": ("rich", "typer", "yaml", "sklearn", "tensorboardX"),
    "tune": ("optuna",),
    "ray": ("ray",),
    "onnx": ("onnx",),
    "cuda": ("cupy",),
}


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Imports ``module``, which comes with ``flambeau[extra]``.

    Raises: ``MissingExtraError`` (an ``ImportError``) naming the ``pip`` command if its package is
    not installed.

    >>> require("json", "train", "reading settings").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtraError(
            f"{purpose} needs the package '{package}', which is not installed: "
            f"pip install 'flambeau[{extra}]'",
            name=package,
        ) from None


def missing_packages(extra: str) -> list[str]:
    """The packages of an extra that are not installed.

    Raises: ``KeyError`` for a name that is no extra.
    """
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
