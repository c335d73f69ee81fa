"""Timer: stops training after a time, and says how long each stage took."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_info

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["Timer"]


class Timer(Callback):
    """Stops training after ``duration``: "DD:HH:MM:SS", a ``timedelta`` or its keywords.

    ``interval`` says where it may stop: after a "step" or an "epoch". The time that a resumed run
    spent before counts.

    Raises: ``MisconfigurationException`` for another interval or a string of another form.

    >>> from flambeau.trainer.callbacks import Timer
    >>> Timer("00:00:01:30").time_remaining()
    90.0
    """

    class interval(StrEnum):
        """Where it may stop."""

        step = "step"
        epoch = "epoch"

    def __init__(
        self,
        duration: str | timedelta | dict[str, int] | None = None,
        interval: str = "step",
        verbose: bool = True,
    ) -> None:
        super().__init__()
        interval = getattr(interval, "value", interval)
        if interval not in ("step", "epoch"):
            raise MisconfigurationException(
                f"Unsupported parameter value `Timer(interval={interval})`. Possible choices are: "
                "step, epoch"
            )
        self._duration = _seconds(duration)
        self._interval = interval
        self._verbose = verbose
        self._started: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._before = 0.0

    def start_time(self, stage: str = "train") -> float | None:
        """When a stage began, on a monotonic clock."""
        return self._started.get(_name(stage))

    def end_time(self, stage: str = "train") -> float | None:
        """When a stage ended."""
        return self._ended.get(_name(stage))

    def time_elapsed(self, stage: str = "train") -> float:
        """The seconds a stage took, or takes so far."""
        stage = _name(stage)
        before = self._before if stage == "train" else 0.0
        if stage not in self._started:
            return before
        end = self._ended.get(stage)
        return before + (time.monotonic() if end is None else end) - self._started[stage]

    def time_remaining(self, stage: str = "train") -> float | None:
        """The seconds left; None without a limit."""
        return None if self._duration is None else self._duration - self.time_elapsed(stage)

    def _begin(self, stage: str) -> None:
        self._started[stage] = time.monotonic()
        self._ended.pop(stage, None)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._begin("train")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self._ended["train"] = time.monotonic()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of the validation."""
        self._begin("validate")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock of the validation."""
        self._ended["validate"] = time.monotonic()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of the test."""
        self._begin("test")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock of the test."""
        self._ended["test"] = time.monotonic()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Does not begin when the time is over already."""
        if self._before:
            self._check(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Looks at the clock."""
        if self._interval == "step":
            self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the clock."""
        if self._interval == "epoch":
            self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if self._duration is None or self.time_elapsed() < self._duration:
            return
        trainer.should_stop = True
        if self._verbose:
            elapsed = timedelta(seconds=int(self.time_elapsed()))
            rank_zero_info(f"Time limit reached. Elapsed time is {elapsed}. Signaling to stop.")

    def state_dict(self) -> dict[str, Any]:
        """The time that was spent."""
        return {"time_elapsed": {"train": self.time_elapsed()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The time that was spent before."""
        self._before = state_dict.get("time_elapsed", {}).get("train", 0.0)


def _name(stage: str) -> str:
    return str(getattr(stage, "value", stage))


def _seconds(duration: str | timedelta | dict[str, int] | None) -> float | None:
    if duration is None:
        return None
    if isinstance(duration, dict):
        duration = timedelta(**duration)
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d):(\d\d)", duration.strip())
    if found is None:
        raise MisconfigurationException(
            f"`Timer(duration={duration!r})` is not a valid duration. Expected a string in the "
            "format DD:HH:MM:SS."
        )
    days, hours, minutes, seconds = map(int, found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
