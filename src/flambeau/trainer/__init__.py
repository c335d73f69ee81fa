"""The trainer: define the model, the data and the steps; :class:`Trainer` runs them.

Names, arguments and the order of events are those of Lightning: under ``flambeau run``,
``lightning``, ``lightning.pytorch`` and ``pytorch_lightning`` mean this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flambeau.trainer.version import __version__

if TYPE_CHECKING:
    from flambeau.trainer.callback import Callback
    from flambeau.trainer.datamodule import LightningDataModule
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.seeding import seed_everything
    from flambeau.trainer.trainer import Trainer

__all__ = [
    "Callback",
    "LightningDataModule",
    "LightningModule",
    "Trainer",
    "seed_everything",
]

# Loaded when asked for: `flambeau train` and the loggers use parts of the package alone.
_HOMES = {
    "Callback": "callback",
    "LightningDataModule": "datamodule",
    "LightningModule": "module",
    "Trainer": "trainer",
    "seed_everything": "seeding",
}
_MODULES = ("callbacks", "demos", "loggers", "metrics", "profilers", "utilities")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "pytorch":
        # `lightning.pytorch` is `lightning`.
        return importlib.import_module(__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
