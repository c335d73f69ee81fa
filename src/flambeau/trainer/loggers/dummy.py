"""DummyLogger: takes everything, keeps nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.trainer.loggers.logger import DummyExperiment, Logger

__all__ = ["DummyExperiment", "DummyLogger"]


class DummyLogger(Logger):
    """A logger for runs that are not to be logged; any further method does nothing as well.

    >>> from flambeau.trainer.loggers.dummy import DummyLogger
    >>> DummyLogger().log_metrics({"loss": 0.5}, step=1)
    """

    def __init__(self) -> None:
        self._experiment = DummyExperiment()

    @property
    def experiment(self) -> DummyExperiment:
        """Takes every call, does nothing."""
        return self._experiment

    @property
    def name(self) -> str:
        """Nothing."""
        return ""

    @property
    def version(self) -> str:
        """Nothing."""
        return ""

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    def __getitem__(self, index: int) -> DummyLogger:
        return self

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__") or name == "_experiment":
            raise AttributeError(name)
        return self.experiment.nop
