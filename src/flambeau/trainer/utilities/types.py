"""Names for annotations in user code: what steps return, what loaders there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NotRequired, TypedDict

from flambeau.optim import Optimizer
from flambeau.tensor import Tensor

__all__ = [
    "EVAL_DATALOADERS",
    "LRSchedulerConfigType",
    "OptimizerConfig",
    "OptimizerLRScheduler",
    "OptimizerLRSchedulerConfig",
    "STEP_OUTPUT",
    "TRAIN_DATALOADERS",
]

STEP_OUTPUT = Tensor | Mapping[str, Any] | None
TRAIN_DATALOADERS = Any
EVAL_DATALOADERS = Any


class LRSchedulerConfigType(TypedDict, total=False):
    """The ``lr_scheduler`` dictionary of ``configure_optimizers``."""

    scheduler: Any
    name: str | None
    interval: str
    frequency: int
    reduce_on_plateau: bool
    monitor: str | None
    strict: bool


class OptimizerConfig(TypedDict):
    """What ``configure_optimizers`` may return for an optimizer alone."""

    optimizer: Optimizer


class OptimizerLRSchedulerConfig(TypedDict):
    """What ``configure_optimizers`` may return for an optimizer with a schedule."""

    optimizer: Optimizer
    lr_scheduler: Any
    monitor: NotRequired[str]


OptimizerLRScheduler = (
    Optimizer
    | Iterable[Optimizer]
    | tuple[Iterable[Optimizer], Iterable[Any]]
    | OptimizerConfig
    | OptimizerLRSchedulerConfig
    | None
)
