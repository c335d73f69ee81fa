"""A module or data module made anew from a checkpoint."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import IO, Any

from flambeau.serialization import load
from flambeau.utils.extras import require

__all__ = ["load_checkpoint", "load_module"]


def load_checkpoint(
    path: str | Path | IO[bytes], map_location: Any = None, weights_only: bool | None = None
) -> dict[str, Any]:
    """The contents of a checkpoint. Unless ``weights_only`` is False nothing of it is run.

    Raises: ``UnsafeGlobalError`` for objects of classes that were not allowed
    (``flambeau.serialization.add_safe_globals``); ``ValueError`` if it is no checkpoint.
    """
    found = load(path, map_location=map_location, weights_only=weights_only is not False)
    if not isinstance(found, dict) or "state_dict" not in found:
        raise ValueError(
            f"{path}: no checkpoint of a trainer: a dictionary with 'state_dict' was expected"
        )
    return found


def load_module(
    cls: type,
    path: str | Path | IO[bytes],
    map_location: Any,
    hparams_file: str | Path | None,
    strict: bool | None,
    weights_only: bool | None,
    given: dict[str, Any],
) -> Any:
    """An object of ``cls`` with the checkpoint's hyper-parameters and, for a module, weights."""
    checkpoint = load_checkpoint(path, map_location, weights_only)
    key = cls.CHECKPOINT_HYPER_PARAMS_KEY
    kept = dict(checkpoint.get(key) or {})
    if hparams_file is not None:
        yaml = require("yaml", "train", "reading a file of hyper-parameters")
        kept |= yaml.safe_load(Path(hparams_file).read_text(encoding="utf-8")) or {}
    made = cls(**_accepted(cls, {**kept, **given}))
    made.on_load_checkpoint(checkpoint)
    if hasattr(made, "load_state_dict") and hasattr(made, "parameters"):
        if strict is None:
            strict = made.strict_loading
        made.load_state_dict(checkpoint["state_dict"], strict=strict)
    elif cls.__qualname__ in checkpoint:
        made.load_state_dict(checkpoint[cls.__qualname__])
    return made


def _accepted(cls: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those that ``__init__`` has a parameter for."""
    parameters = inspect.signature(cls.__init__).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return arguments
    return {k: v for k, v in arguments.items() if k in parameters}
