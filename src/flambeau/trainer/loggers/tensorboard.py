"""TensorBoardLogger: metrics as TensorBoard's event files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flambeau.trainer.loggers.directories import DirectoryLogger, copy_beginning
from flambeau.trainer.loggers.hyperparameters import flattened, plain
from flambeau.trainer.loggers.logger import number, prefixed, rank_zero_experiment
from flambeau.trainer.utilities.rank_zero import rank_zero_only, rank_zero_warn
from flambeau.utils.tensorboard import SummaryWriter, summary
from flambeau.utils.tensorboard._package import part

if TYPE_CHECKING:
    from flambeau.nn import Module

__all__ = ["TensorBoardLogger"]


class TensorBoardLogger(DirectoryLogger):
    """Writes event files to ``save_dir/name/version_N[/sub_dir]``, and ``hparams.yaml``.

    With ``log_graph``, :meth:`log_graph` draws the model; with ``default_hp_metric``,
    hyper-parameters without a metric get ``hp_metric`` of -1, so that TensorBoard lists them.
    Further arguments are those of :class:`~flambeau.utils.tensorboard.SummaryWriter`.

    Raises: ``MissingExtraError`` if ``tensorboardX`` is not installed.

    >>> import tempfile
    >>> from flambeau.trainer.loggers import TensorBoardLogger
    >>> logger = TensorBoardLogger(tempfile.mkdtemp(), name="net")
    >>> logger.log_metrics({"loss": 0.5}, step=3)
    >>> logger.finalize("success")
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        log_graph: bool = False,
        default_hp_metric: bool = True,
        prefix: str = "",
        sub_dir: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        part("proto")
        super().__init__(save_dir, name, version, prefix)
        self._sub_dir = None if sub_dir is None else os.fspath(sub_dir)
        self._log_graph = log_graph
        self._default_hp_metric = default_hp_metric
        self._options = kwargs
        self._experiment: SummaryWriter | None = None
        # Event files that were there before this logger's first, and the last step of its own.
        self._before: set[str] | None = None
        self._last_step = -1
        # What the run that this one goes on from has logged: it is not logged twice.
        self._hyperparameters: list[Any] | None = None
        self._graph_drawn = False

    @property
    def log_dir(self) -> str:
        """The directory of this version."""
        folder = super().log_dir
        if self._sub_dir is not None:
            folder = os.path.join(folder, self._sub_dir)
        return os.path.expanduser(os.path.expandvars(folder))

    @property
    def sub_dir(self) -> str | None:
        """The directory of the event files below the version's."""
        return self._sub_dir

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """The ``SummaryWriter``."""
        if self._experiment is None:
            if self._before is None:
                self._before = set(_event_files(self.log_dir, self._alone()))
            self._experiment = SummaryWriter(log_dir=self.log_dir, **self._options)
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Adds a point to each metric's curve; a metric that is a dictionary is one chart."""
        writer = self.experiment
        for name, value in prefixed(metrics, self._prefix).items():
            if isinstance(value, dict):
                writer.add_scalars(name, value, step)
                continue
            try:
                writer.add_scalar(name, number(value), step)
            except (NotImplementedError, AssertionError, ValueError, RuntimeError) as error:
                raise ValueError(
                    f"you tried to log {value!r} as {name!r}, which is no number: use a number, a "
                    "tensor of one element or a dictionary of them"
                ) from error

    @rank_zero_only
    def log_hyperparams(
        self, params: Any = None, metrics: Any = None, step: int | None = None
    ) -> None:
        """Keeps hyper-parameters for ``hparams.yaml``, and lists them beside ``metrics``: names and
        values, or one value, of ``hp_metric``.
        """
        self._note_hyperparams(params)
        if metrics is None:
            metrics = {"hp_metric": -1} if self._default_hp_metric else {}
        elif not isinstance(metrics, dict):
            metrics = {"hp_metric": metrics}
        if not metrics:
            return
        step = 0 if step is None else step
        values = {name: number(v) for name, v in metrics.items()}
        logged = [flattened(plain(params)), values, step]
        if logged == self._hyperparameters:
            return
        self._hyperparameters = logged
        self.log_metrics(values, step)
        writer = self.experiment
        for made in summary.hparams(logged[0], prefixed(values, self._prefix)):
            writer._add(made, step, None)

    @rank_zero_only
    def log_graph(self, model: Module, input_array: Any = None) -> None:
        """Draws the model, called with ``input_array`` or its ``example_input_array``; nothing
        without ``log_graph=True``.
        """
        if not self._log_graph or self._graph_drawn:
            return
        if input_array is None:
            input_array = getattr(model, "example_input_array", None)
        if input_array is None:
            rank_zero_warn(
                "Could not log computational graph to TensorBoard: The "
                "`model.example_input_array` attribute is not set or `input_array` was not given."
            )
            return
        self.experiment.add_graph(model, input_array)
        self._graph_drawn = True

    @rank_zero_only
    def save(self) -> None:
        """Writes what waits, and the hyper-parameters."""
        super().save()
        if self._experiment is not None:
            self._experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what waits and closes the files; nothing if nothing was ever logged."""
        if self._experiment is None:
            return
        self.save()
        self._note_last_step()
        self._experiment.close()

    # --- resumption -------------------------------------------------------------------------

    def _alone(self) -> bool:
        """Whether ``log_dir`` is of this version alone: all that is below is its own."""
        return bool(self._sub_dir or super().log_dir.rstrip(os.sep) != self.root_dir.rstrip(os.sep))

    def _note_last_step(self) -> None:
        writers = (self._experiment.all_writers or {}) if self._experiment is not None else {}
        self._last_step = max([self._last_step, *(w.last_step for w in writers.values())])

    def state_dict(self) -> dict[str, Any]:
        """The event files, how long they are, and the last step in them."""
        if rank_zero_only.rank != 0:
            return {}
        self.experiment.flush()
        self._note_last_step()
        files = _event_files(self.log_dir, self._alone())
        return {
            "log_dir": os.path.abspath(self.log_dir),
            "files": {f: os.path.getsize(os.path.join(self.log_dir, f)) for f in files},
            "last_step": self._last_step,
            "hyperparameters": self._hyperparameters,
            "graph_drawn": self._graph_drawn,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the event files up as they were then: in this version's directory if they are
        there, else as copies. A TensorBoard that is open is told to hide what was dropped.
        """
        if rank_zero_only.rank != 0 or not state_dict:
            return
        if self._experiment is not None:
            self._experiment.close()
            self._experiment = None
        own = self.log_dir
        there = set(_event_files(own, self._alone()))
        before = there if self._before is None else self._before
        source = self._source(state_dict, bool(before))
        if source is None:
            return
        kept = state_dict["files"]
        for name in there - set(kept):
            os.remove(os.path.join(own, name))
        for name, size in kept.items():
            if os.path.exists(os.path.join(source, name)):
                copy_beginning(os.path.join(source, name), os.path.join(own, name), size)
        self._hyperparameters = state_dict["hyperparameters"]
        self._graph_drawn = state_dict["graph_drawn"]
        self._last_step = state_dict["last_step"]
        self._options["purge_step"] = self._last_step + 1


def _event_files(log_dir: str, below: bool) -> Iterator[str]:
    """The event files in a directory, or below it, by their paths from there."""
    for folder, folders, names in os.walk(log_dir):
        if not below:
            folders.clear()
        for name in names:
            if name.startswith("events.out.tfevents."):
                yield os.path.relpath(os.path.join(folder, name), log_dir)
