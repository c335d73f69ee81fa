"""EarlyStopping: stops training when a metric no longer improves."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["EarlyStopping", "EarlyStoppingReason"]


class EarlyStoppingReason(IntEnum):
    """Why training was stopped."""

    NOT_STOPPED = 0
    STOPPING_THRESHOLD = 1
    DIVERGENCE_THRESHOLD = 2
    PATIENCE_EXHAUSTED = 3
    NON_FINITE_METRIC = 4


class EarlyStopping(Callback):
    """Stops when ``monitor`` has not improved in ``patience`` checks.

    A check is at the end of each validation, or of each training epoch with
    ``check_on_train_epoch_end`` (the default where there is no validation). Better is less with
    ``mode="min"``, more with "max", by more than ``min_delta``. It also stops as soon as the metric
    is NaN or infinite (``check_finite``), better than ``stopping_threshold`` or worse than
    ``divergence_threshold``. ``strict``: a metric that is missing is an error. ``stopping_reason``
    and ``stopping_reason_message`` say afterwards why.

    Raises: ``MisconfigurationException`` for another mode; ``RuntimeError`` for a missing metric.

    >>> from flambeau.trainer.callbacks import EarlyStopping
    >>> EarlyStopping("val_loss", patience=2).mode
    'min'
    """

    mode_dict = {"min": flambeau.lt, "max": flambeau.gt}
    order_dict = {"min": "<", "max": ">"}

    def __init__(
        self,
        monitor: str,
        min_delta: float = 0.0,
        patience: int = 3,
        verbose: bool = False,
        mode: str = "min",
        strict: bool = True,
        check_finite: bool = True,
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = None,
        log_rank_zero_only: bool = False,
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise MisconfigurationException(f"`mode` can be min, max, got {mode}")
        self.monitor = monitor
        self.min_delta = abs(min_delta)
        self.patience = patience
        self.verbose = verbose
        self.mode = mode
        self.strict = strict
        self.check_finite = check_finite
        self.stopping_threshold = stopping_threshold
        self.divergence_threshold = divergence_threshold
        self._check_on_train_epoch_end = check_on_train_epoch_end
        self.log_rank_zero_only = log_rank_zero_only
        self.wait_count = 0
        self.stopped_epoch = 0
        self._best = math.inf if mode == "min" else -math.inf
        self.stopping_reason = EarlyStoppingReason.NOT_STOPPED
        self.stopping_reason_message: str | None = None

    @property
    def state_key(self) -> str:
        """The class, with the metric and the mode."""
        return self._generate_state_key(monitor=self.monitor, mode=self.mode)

    @property
    def monitor_op(self) -> Any:
        """The function that says whether a value is better than another."""
        return self.mode_dict[self.mode]

    @property
    def best_score(self) -> flambeau.Tensor:
        """The best value so far."""
        return flambeau.tensor(self._best)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds out when to check."""
        if self._check_on_train_epoch_end is None:
            # A validation in the middle of epochs, or not in each: it is what to look at.
            self._check_on_train_epoch_end = (
                trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that had stopped for want of patience stops again, unless it got more."""
        if self.stopped_epoch and self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks."""
        if self._check_on_train_epoch_end and not trainer.fast_dev_run:
            self._check(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks."""
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if fitting and not self._check_on_train_epoch_end and not trainer.fast_dev_run:
            self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        metrics = trainer.latest().callback
        if self.monitor not in metrics:
            message = (
                f"Early stopping conditioned on metric `{self.monitor}` which is not available. "
                "Pass in or modify your `EarlyStopping` callback to use any of the following: "
                f"`{'`, `'.join(metrics)}`"
            )
            if self.strict:
                raise RuntimeError(message)
            rank_zero_warn(message, category=RuntimeWarning)
            return
        value = float(metrics[self.monitor])
        reason, message = self._judge(value)
        if reason is not EarlyStoppingReason.NOT_STOPPED:
            self.stopping_reason, self.stopping_reason_message = reason, message
            trainer.should_stop = True
            self.stopped_epoch = trainer.current_epoch
        if message and (self.verbose or trainer.should_stop):
            rank_zero_info(message)

    def _better(self, value: float, than: float) -> bool:
        return value < than if self.mode == "min" else value > than

    def _judge(self, value: float) -> tuple[EarlyStoppingReason, str | None]:
        name, sign = self.monitor, "<" if self.mode == "min" else ">"
        delta = -self.min_delta if self.mode == "min" else self.min_delta
        if self.check_finite and not math.isfinite(value):
            return EarlyStoppingReason.NON_FINITE_METRIC, (
                f"Monitored metric {name} = {value} is not finite. Previous best value was "
                f"{self._best:.3f}. Signaling Trainer to stop."
            )
        if self.stopping_threshold is not None and self._better(value, self.stopping_threshold):
            return EarlyStoppingReason.STOPPING_THRESHOLD, (
                f"Stopping threshold reached: {name} = {value} {sign} {self.stopping_threshold}. "
                "Signaling Trainer to stop."
            )
        limit = self.divergence_threshold
        if limit is not None and self._better(-value, -limit):
            return EarlyStoppingReason.DIVERGENCE_THRESHOLD, (
                f"Divergence threshold reached: {name} = {value} is worse than {limit}. "
                "Signaling Trainer to stop."
            )
        if self._better(value - delta, self._best):
            best, self._best, self.wait_count = self._best, value, 0
            message = f"Metric {name} improved"
            if math.isfinite(best):
                message += f" by {abs(best - value):.3f} >= min_delta = {self.min_delta}"
            return EarlyStoppingReason.NOT_STOPPED, f"{message}. New best score: {value:.3f}"
        self.wait_count += 1
        if self.wait_count >= self.patience:
            return EarlyStoppingReason.PATIENCE_EXHAUSTED, (
                f"Monitored metric {name} did not improve in the last {self.wait_count} records. "
                f"Best score: {self._best:.3f}. Signaling Trainer to stop."
            )
        return EarlyStoppingReason.NOT_STOPPED, None

    def state_dict(self) -> dict[str, Any]:
        """Best value, how long ago, and whether it stopped."""
        return {
            "wait_count": self.wait_count,
            "stopped_epoch": self.stopped_epoch,
            "best_score": self.best_score,
            "best": self._best,
            "patience": self.patience,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over all but the patience, which may be another now."""
        self.wait_count = state_dict["wait_count"]
        self.stopped_epoch = state_dict["stopped_epoch"]
        self._best = float(state_dict.get("best", state_dict["best_score"]))
