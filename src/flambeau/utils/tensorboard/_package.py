"""The parts of the ``tensorboardX`` package that are used here, imported when first needed."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from flambeau.utils.extras import require

__all__ = ["part", "proto", "pillow"]

_PURPOSE = "flambeau.utils.tensorboard"


def part(name: str) -> ModuleType:
    """The module ``tensorboardX.<name>``.

    Raises: ``MissingExtraError`` (an ``ImportError``) naming the extra if it is not installed.
    """
    full = f"tensorboardX.{name}"
    found = sys.modules.get(full)
    if found is not None:
        return found
    # tensorboardX imports torch, if there is one, for an annotation. PyTorch would take a second,
    # and `flambeau.install()` refuses to work beside it: it is not found meanwhile.
    hidden: Any = sys.modules
    alone = "torch" not in hidden
    if alone:
        hidden["torch"] = None
    try:
        require("tensorboardX", "train", _PURPOSE)
        return importlib.import_module(full)
    finally:
        if alone and hidden.get("torch", hidden) is None:
            del hidden["torch"]


def proto(name: str) -> ModuleType:
    """The module of protocol buffers ``tensorboardX.proto.<name>_pb2``."""
    return part(f"proto.{name}_pb2")


def pillow() -> ModuleType:
    """``PIL.Image``, which images and videos are encoded with."""
    return require("PIL.Image", "vision", "an image of TensorBoard")
