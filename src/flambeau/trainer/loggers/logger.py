"""Logger: where the numbers of a run go."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flambeau.trainer.utilities.rank_zero import rank_zero_only

if TYPE_CHECKING:
    from flambeau.nn import Module
    from flambeau.trainer.callback import Checkpoint

__all__ = ["DummyExperiment", "Logger", "rank_zero_experiment"]


class Logger(ABC):
    """Base class of loggers. A subclass has ``name``, ``version``, ``log_metrics`` and
    ``log_hyperparams``; the rest does nothing unless it is overridden.

    For exact resumption :meth:`state_dict` is kept in every checkpoint: a run that goes on from one
    hands it back, and what was logged after the checkpoint is dropped.

    Reference: Lightning's ``Logger``, the same methods with the same arguments.

    >>> from flambeau.trainer.loggers import Logger
    >>> class Last(Logger):
    ...     name, version = "last", 0
    ...     def log_metrics(self, metrics, step=None):
    ...         self.metrics = metrics
    ...     def log_hyperparams(self, params):
    ...         pass
    """

    @property
    @abstractmethod
    def name(self) -> str | None:
        """What the run is called."""

    @property
    @abstractmethod
    def version(self) -> int | str | None:
        """Which run of that name it is."""

    @property
    def root_dir(self) -> str | None:
        """The directory of all versions; None for loggers that keep no files."""
        return None

    @property
    def log_dir(self) -> str | None:
        """The directory of this version; None for loggers that keep no files."""
        return None

    @property
    def save_dir(self) -> str | None:
        """The directory that all runs are below."""
        return None

    @property
    def group_separator(self) -> str:
        """What stands between a group and a name in the name of a metric."""
        return "/"

    @property
    def experiment(self) -> Any:
        """What the logger writes through: a writer, a client, a run."""
        return DummyExperiment()

    @abstractmethod
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Logs numbers (or tensors of one element) at ``step``."""

    @abstractmethod
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Logs what the run was started with."""

    # Optional: a logger that has nothing to do here says nothing.
    def log_graph(self, model: Module, input_array: Any = None) -> None:  # noqa: B027
        """Logs the model's graph."""

    def save(self) -> None:  # noqa: B027
        """Writes what waits."""

    def finalize(self, status: str) -> None:
        """The run is over: ``status`` is "success", "failed" or "aborted"."""
        self.save()

    def after_save_checkpoint(self, checkpoint_callback: Checkpoint) -> None:  # noqa: B027
        """A checkpoint was written."""

    def state_dict(self) -> dict[str, Any]:
        """How far the log has come: plain data, for a checkpoint. Writes what waits."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # noqa: B027
        """Puts the log back to what it was at :meth:`state_dict`: what came later is dropped."""


class DummyExperiment:
    """Takes every call, does nothing: the experiment where nothing is logged."""

    def nop(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.nop

    def __getitem__(self, index: int) -> DummyExperiment:
        return self

    def __setitem__(self, *args: Any) -> None:
        pass


def rank_zero_experiment(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """For the ``experiment`` property: the first process has it, the others a dummy.

    >>> rank_zero_experiment(lambda logger: "writer")(None)
    'writer'
    """

    @functools.wraps(make)
    def experiment(self: Any) -> Any:
        return make(self) if rank_zero_only.rank == 0 else DummyExperiment()

    return experiment


def prefixed(metrics: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Metrics with ``prefix-`` before their names."""
    return {f"{prefix}-{name}": v for name, v in metrics.items()} if prefix else dict(metrics)


def number(value: Any) -> Any:
    """A tensor of one element as a Python number; everything else as it is."""
    return value.item() if hasattr(value, "item") else value
