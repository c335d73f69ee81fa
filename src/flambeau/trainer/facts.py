"""What one can ask a trainer: where it is, what was logged, which parts it has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.device import device
from flambeau.trainer.callback import Checkpoint
from flambeau.trainer.state import RunningStage
from flambeau.trainer.utilities.rank_zero import rank_zero_only

if TYPE_CHECKING:
    from flambeau import Tensor
    from flambeau.trainer.module import LightningModule

__all__ = ["Facts"]


class _OneDevice:
    """The strategy: everything in this process."""

    root_device = device("cpu")
    world_size = 1
    global_rank = local_rank = node_rank = 0
    is_global_zero = True

    def barrier(self, name: str | None = None) -> None:
        """Nobody to wait for."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """What the process ``src`` has: ``obj``."""
        return obj

    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        """The mean over one process."""
        return tensor

    all_gather = all_reduce = reduce


def _stage(stage: RunningStage, meaning: str) -> property:
    """Whether a stage runs; it can be set."""

    def get(trainer: Facts) -> bool:
        return trainer.state.stage is stage

    def put(trainer: Facts, runs: bool) -> None:
        if runs or trainer.state.stage is stage:
            trainer.state.stage = stage if runs else None

    return property(get, put, doc=meaning)


class Facts:
    """The properties of a trainer."""

    # --- where it is ------------------------------------------------------------------------

    @property
    def current_epoch(self) -> int:
        """The number of the epoch, from 0; after ``fit`` how many were done."""
        return self.fit_loop.epoch

    @property
    def global_step(self) -> int:
        """How many optimizer steps were taken, over all epochs."""
        return self.fit_loop.global_step

    @property
    def is_last_batch(self) -> bool:
        """Whether the batch is the last of its epoch."""
        return self.fit_loop.is_last_batch

    training = _stage(RunningStage.TRAINING, "Whether the training loop runs.")
    sanity_checking = _stage(
        RunningStage.SANITY_CHECKING, "Whether the few validation batches before training run."
    )
    validating = _stage(
        RunningStage.VALIDATING, "Whether ``validate`` runs, or a validation within ``fit``."
    )
    testing = _stage(RunningStage.TESTING, "Whether ``test`` runs.")
    predicting = _stage(RunningStage.PREDICTING, "Whether ``predict`` runs.")

    @property
    def evaluating(self) -> bool:
        """Whether a validation or a test runs."""
        return self.state.stage is not None and self.state.stage.evaluating

    @property
    def received_sigterm(self) -> bool:
        """Whether the run was asked to end."""
        signals = getattr(self.fit_loop, "signals", None)
        return signals is not None and signals.received is not None

    @property
    def estimated_stepping_batches(self) -> int | float:
        """How many optimizer steps the whole of ``fit`` will take."""
        loop = self.fit_loop
        if self.max_epochs == -1:
            return self.max_steps if self.max_steps != -1 else math.inf
        if loop.loader is None:
            loop.load_data()
        batches = self.num_training_batches
        if math.isinf(batches):
            return self.max_steps if self.max_steps != -1 else math.inf
        steps = math.ceil(batches / self.accumulate_grad_batches) * max(self.max_epochs, 0)
        return min(self.max_steps, steps) if self.max_steps != -1 else steps

    @property
    def num_sanity_val_batches(self) -> list[int | float]:
        """How many batches of each loader the sanity check uses."""
        return [min(self.num_sanity_val_steps, n) for n in self.num_val_batches]

    # --- what was logged --------------------------------------------------------------------

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        """The latest value of everything logged, for callbacks."""
        return {name: flambeau.tensor(value) for name, value in self.latest().callback.items()}

    @property
    def logged_metrics(self) -> dict[str, Tensor]:
        """What was sent to the loggers last."""
        return {name: flambeau.tensor(value) for name, value in self.published.logged.items()}

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """What the progress bar shows."""
        return dict(self.latest().progress_bar)

    def latest(self) -> Any:
        """The published values, those of the last step among them."""
        if self._results is self.fit_loop.results:
            self.published.take_steps(self.fit_loop.results)
        return self.published

    # --- its parts --------------------------------------------------------------------------

    @property
    def lightning_module(self) -> LightningModule:
        """The module that is run."""
        return self._module

    @property
    def model(self) -> LightningModule:
        """The module that is run."""
        return self._module

    @property
    def logger(self) -> Any:
        """The first logger, or None."""
        return self.loggers[0] if self.loggers else None

    @logger.setter
    def logger(self, logger: Any) -> None:
        self.loggers = [logger] if logger else []

    @property
    def log_dir(self) -> str | None:
        """Where the first logger writes; ``default_root_dir`` without one."""
        return self.logger.log_dir if self.logger is not None else self.default_root_dir

    @property
    def checkpoint_callbacks(self) -> list[Any]:
        """The callbacks that write checkpoints."""
        return [callback for callback in self.callbacks if isinstance(callback, Checkpoint)]

    @property
    def checkpoint_callback(self) -> Any:
        """The first callback that writes checkpoints, or None."""
        return next(iter(self.checkpoint_callbacks), None)

    @property
    def early_stopping_callbacks(self) -> list[Any]:
        """The callbacks that may stop training."""
        from flambeau.trainer.callbacks.early_stopping import EarlyStopping

        return [callback for callback in self.callbacks if isinstance(callback, EarlyStopping)]

    @property
    def early_stopping_callback(self) -> Any:
        """The first callback that may stop training, or None."""
        return next(iter(self.early_stopping_callbacks), None)

    @property
    def progress_bar_callback(self) -> Any:
        """The progress bar, or None."""
        from flambeau.trainer.callbacks.progress.progress_bar import ProgressBar

        return next((c for c in self.callbacks if isinstance(c, ProgressBar)), None)

    @property
    def precision(self) -> str:
        """The name of the precision."""
        return self.precision_plugin.name

    @property
    def scaler(self) -> None:
        """None: bfloat16 has the range of float32, no loss needs to be scaled."""
        return None

    @contextmanager
    def init_module(self, empty_init: bool | None = None) -> Iterator[None]:
        """What is made within has the dtype of ``precision``.

        ``empty_init`` is accepted: weights are initialised all the same.
        """
        with self.precision_plugin.initial():
            yield

    @property
    def root_device(self) -> Any:
        """Where the module is."""
        return self.strategy.root_device

    strategy = _OneDevice()
    accelerator = "cpu"
    world_size = num_devices = 1
    device_ids = (0,)
    global_rank = local_rank = node_rank = 0
    is_global_zero = rank_zero_only.rank == 0
    distributed_sampler_kwargs = None
    enable_checkpointing = property(lambda self: bool(self.checkpoint_callbacks))

    @property
    def log_directory(self) -> str:
        """The folder of this run's files: the logger's, else ``default_root_dir``."""
        return os.fspath(self.log_dir or self.default_root_dir)

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Prints, in the first process only, above the progress bar if there is one."""
        bar = self.progress_bar_callback
        if bar is not None and hasattr(bar, "print"):
            bar.print(*args, **kwargs)
        else:
            print(*args, **kwargs)
