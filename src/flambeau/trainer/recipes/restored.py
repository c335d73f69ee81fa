"""A module, and its data, out of a checkpoint of ``flambeau train``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flambeau.serialization import load
from flambeau.trainer.digits import DigitsNet
from flambeau.trainer.module import LightningModule
from flambeau.trainer.recipes import BUILT_IN
from flambeau.trainer.recipes.classifier import ImageClassifier
from flambeau.trainer.recipes.data import Digits
from flambeau.trainer.recipes.runs import RECORD, TrainerSettings
from flambeau.trainer.recipes.settings import Given, resolve
from flambeau.trainer.recipes.targets import TargetError, find_target

__all__ = ["Restored", "restore"]


class DemonstrationDigits(ImageClassifier):
    """What ``flambeau train digits`` saved to one file."""

    def __init__(self) -> None:
        super().__init__(size=8)
        self.net = DigitsNet()


@dataclass
class Restored:
    """A module with a checkpoint's weights, its data module (or None), and what inputs are.

    ``classes`` are names, ``shape`` that of one image; empty if the checkpoint does not say.
    """

    module: LightningModule
    data: Any
    classes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    precision: str = "32-true"


def restore(
    path: Path, module: str | None = None, datamodule: str | None = None, data: Path | None = None
) -> Restored:
    """The module in a checkpoint; ``module`` and ``datamodule`` name classes (``PATH.py:Name``),
    ``data`` another folder of data.

    Code of the user's is run only if ``module`` names it, whatever the checkpoint says.

    Raises: ``OSError``, ``UnsafeGlobalError`` or ``ValueError`` if the file is no checkpoint;
    ``TargetError`` if it does not say what it is of, and ``module`` does not either.
    """
    found = load(path, weights_only=True)
    if isinstance(found, dict) and {"model", "recipe"} <= set(found) and module is None:
        return _demonstration(found)
    if not isinstance(found, dict) or "state_dict" not in found:
        raise ValueError(f"{path}: no checkpoint of `flambeau train`: it has no 'state_dict'")
    record = found.get(RECORD) or {}
    name = module or record.get("target")
    if name is None:
        raise TargetError(f"{path} does not say what it is of: --module PATH.py:Module does")
    if module is None and name not in BUILT_IN:
        beside = record.get("datamodule")
        more = f" --datamodule {beside}" if beside else ""
        raise TargetError(
            f"{path} is of {name}, whose code is run only if you say so: --module {name}{more}"
        )
    target = find_target(name, datamodule)
    given = [Given(k, v, str(path)) for k, v in (record.get("settings") or {}).items()]
    if target.data is None:
        given = [one for one in given if one.key != "data"]
    if data is not None:
        given.append(Given("data.folder", str(data), "--data"))
    settings = resolve(target.schema(TrainerSettings), given) if given else None
    made = target.module.load_from_checkpoint(path)
    if settings is not None:
        source = target.data(**settings["data"]) if target.data is not None else None
    else:
        source = target.data() if target.data is not None else None
    return Restored(
        made,
        source,
        tuple(record.get("classes") or ()),
        tuple(record.get("shape") or _example_shape(made)),
        settings["trainer"]["precision"] if settings is not None else "32-true",
    )


def _demonstration(found: dict[str, Any]) -> Restored:
    module = DemonstrationDigits()
    module.net.load_state_dict(found["model"])
    data = Digits(split=found["recipe"]["split"])
    return Restored(module, data, data.classes, data.shape)


def _example_shape(module: LightningModule) -> tuple[int, ...]:
    example = module.example_input_array
    return tuple(example.shape[1:]) if getattr(example, "ndim", 0) == 4 else ()
