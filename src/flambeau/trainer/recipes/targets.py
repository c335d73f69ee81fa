"""Targets of ``flambeau train``: a bundled recipe by name, or ``PATH.py:Module``."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flambeau.install import install
from flambeau.trainer.datamodule import LightningDataModule
from flambeau.trainer.module import LightningModule
from flambeau.trainer.recipes import BUILT_IN
from flambeau.trainer.recipes.settings import Schema, Setting, SettingError, settings_of

__all__ = ["Target", "TargetError", "find_target"]


class TargetError(ValueError):
    """A target that is not there; the message says what there is."""


@dataclass(frozen=True)
class Target:
    """What is trained: the classes of the module and of its data, and their settings.

    ``fixed`` are arguments of the module that the data decide; ``defaults`` stand in for those of
    the signatures.
    """

    name: str
    module: type[LightningModule]
    data: type[LightningDataModule] | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    monitor: str | None = None
    datamodule: str | None = None

    @property
    def built_in(self) -> bool:
        """Whether it is one of Flambeau's own recipes."""
        return self.name in BUILT_IN

    @property
    def folder(self) -> str:
        """What a run's folder is called by default."""
        return self.name if self.built_in else self.module.__name__.lower()

    def schema(self, trainer: type) -> Schema:
        """The settings of a run; ``trainer`` has those of the trainer."""
        found: Schema = {
            "seed": Setting(int, 0),
            "trainer": self._section("trainer", settings_of(trainer)),
            "model": self._section("model", settings_of(self.module, self.fixed)),
        }
        if self.data is not None:
            found["data"] = self._section("data", settings_of(self.data))
        return found

    def _section(self, name: str, settings: dict[str, Setting]) -> Schema:
        chosen = self.defaults.get(name, {})
        return {k: replace(s, default=chosen.get(k, s.default)) for k, s in settings.items()}

    def make(self, settings: Mapping[str, Any]) -> tuple[LightningModule, Any]:
        """The module and the data module (None without one) that the settings describe."""
        data = self.data(**settings["data"]) if self.data is not None else None
        return self.module(**self.fixed, **settings["model"]), data


def find_target(name: str, datamodule: str | None = None) -> Target:
    """The target of that name; ``datamodule`` is a ``PATH.py:DataModule`` to train it on.

    Files are run: the code is the user's own.

    Raises: ``TargetError`` if there is no such recipe, file or class.
    """
    if name in BUILT_IN:
        if datamodule is not None:
            raise TargetError(f"{name} has its own data: --datamodule is for PATH.py:Module")
        return _built_in(name)
    if ":" not in name and not name.endswith(".py"):
        close = difflib.get_close_matches(name, BUILT_IN, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else "."
        raise TargetError(
            f"nothing to train is called '{name}'{hint} There are {', '.join(BUILT_IN)}, and "
            "PATH.py:Module for a LightningModule of your own"
        )
    module = _class_in(name, LightningModule)
    data = _class_in(datamodule, LightningDataModule) if datamodule is not None else None
    of_data = _absolute(datamodule, data) if datamodule is not None else None
    return Target(_absolute(name, module), module, data, datamodule=of_data)


def _built_in(name: str) -> Target:
    from flambeau.trainer.recipes import data
    from flambeau.trainer.recipes.classifier import ImageClassifier

    kinds = {"digits": data.Digits, "mnist": data.MNIST, "cifar10": data.CIFAR10}
    defaults = {
        "digits": {
            "trainer": {"max_epochs": 12},
            "model": {"label_smoothing": 0.1},
        },
        "mnist": {"trainer": {"max_epochs": 5}},
        "cifar10": {
            "trainer": {"max_epochs": 20},
            "model": {"width": 32, "depth": 3, "label_smoothing": 0.05},
        },
    }
    kind = kinds[name]
    channels, size, _ = kind.shape
    fixed = {"channels": channels, "size": size, "classes": len(kind.classes)}
    return Target(name, ImageClassifier, kind, fixed, defaults[name], "val_loss")


def _class_in(target: str, base: type) -> Any:
    """The class that ``PATH.py:Name`` means, or the only one in ``PATH.py``."""
    path, _, name = target.rpartition(":") if not target.endswith(".py") else (target, "", "")
    if not path.endswith(".py"):
        raise TargetError(f"'{target}': PATH.py:Name was expected")
    if not Path(path).is_file():
        raise TargetError(f"'{target}': there is no file {path}")
    found = {
        k: v
        for k, v in vars(_imported(path)).items()
        if inspect.isclass(v) and issubclass(v, base) and v.__module__ == _module_name(path)
    }
    if not name:
        if len(found) == 1:
            return next(iter(found.values()))
        what = "several" if found else "no"
        raise TargetError(
            f"{path} has {what} {base.__name__}s{_listed(found)}: {path}:Name says which"
        )
    if name not in found:
        close = difflib.get_close_matches(name, found, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else "."
        raise TargetError(
            f"{path} has no {base.__name__} called '{name}'{hint} There are: "
            f"{', '.join(found) or 'none'}"
        )
    return found[name]


def _listed(found: Mapping[str, Any]) -> str:
    return f" ({', '.join(found)})" if found else ""


def _module_name(path: str) -> str:
    return Path(path).stem


def _imported(path: str) -> Any:
    """The file as a module, ``import torch`` in it meaning Flambeau, its folder on the path."""
    install()
    file = Path(path).resolve()
    name = _module_name(path)
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) == str(file):
            return known
        raise TargetError(f"{path}: a module called '{name}' is loaded already: rename the file")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _absolute(target: str, cls: type) -> str:
    path = target if target.endswith(".py") else target.rpartition(":")[0]
    return f"{Path(path).resolve()}:{cls.__name__}"


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises ``SettingError`` where settings exclude each other."""
    trainer = settings["trainer"]
    if trainer["patience"] is not None and trainer["monitor"] is None:
        raise SettingError(
            f"trainer.patience = {trainer['patience']} needs trainer.monitor: the name of the "
            "metric that has to improve"
        )
