"""ProgressBar: how far a run is, in plain lines; the base of bars that are drawn on terminals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from flambeau.trainer.callback import Callback

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["Pass", "ProgressBar", "clock", "shown"]


@dataclass
class Pass:
    """A pass over data that goes on: its name, how many batches it has, how many are done."""

    name: str
    total: float
    began: float
    done: int = 0
    # Batches that were done when it began: of a run that was taken up again.
    first: int = 0

    def seconds(self) -> float:
        """How long it takes so far."""
        return perf_counter() - self.began

    def speed(self) -> float:
        """Batches a second."""
        return (self.done - self.first) / max(self.seconds(), 1e-9)

    def remaining(self) -> float | None:
        """The seconds that are left; None if nobody knows."""
        if math.isinf(self.total) or self.done <= self.first:
            return None
        return (self.total - self.done) / self.speed()


class ProgressBar(Callback):
    """Says how far a run is: a line at the end of each epoch or evaluation, and every half minute.

    A subclass that draws a bar overrides :meth:`begin`, :meth:`draw` and :meth:`finish`, which are
    called while :meth:`is_live`. Between two drawings, at most ten a second, a batch costs a look
    at the clock; metrics are read when they are drawn.

    ``refresh_rate`` is after how many batches a bar may be drawn again; 0 disables it.

    >>> from flambeau.trainer.callbacks import ProgressBar
    >>> ProgressBar(refresh_rate=0).is_disabled
    True
    """

    # After epochs it comes last, when their metrics are there, like callbacks that monitor one.
    monitor = None
    drawings_interval = 0.1
    lines_interval = 30.0

    def __init__(self, refresh_rate: int = 1) -> None:
        if not isinstance(refresh_rate, int) or refresh_rate < 0:
            raise ValueError(f"refresh_rate must be an integer from 0, got {refresh_rate!r}")
        self._refresh_rate = refresh_rate
        self._enabled = refresh_rate > 0
        self._trainer: Trainer | None = None
        self.open: list[Pass] = []
        self._next = 0.0

    # --- what a subclass overrides ----------------------------------------------------------

    def is_live(self) -> bool:
        """Whether bars are drawn; else there are lines."""
        return False

    def begin(self, part: Pass) -> None:
        """A pass begins."""

    def draw(self, part: Pass, metrics: Mapping[str, Any]) -> None:
        """Shows how far it is."""

    def finish(self, part: Pass) -> None:
        """It is over."""

    def close(self) -> None:
        """Nothing is drawn any more."""

    def _stays(self) -> bool:
        """Whether a finished bar stays: no line is needed then."""
        return self.is_live() and getattr(self, "_leave", False)

    def write(self, text: str) -> None:
        """Prints a line, above a bar if there is one."""
        print(text, flush=True)

    # --- what users call --------------------------------------------------------------------

    @property
    def trainer(self) -> Trainer:
        """The trainer. Raises ``TypeError`` before a run."""
        if self._trainer is None:
            raise TypeError(f"The `{type(self).__name__}._trainer` reference has not been set yet.")
        return self._trainer

    @property
    def refresh_rate(self) -> int:
        """After how many batches the bar may be drawn again."""
        return self._refresh_rate

    @property
    def is_enabled(self) -> bool:
        """Whether anything is shown."""
        return self._enabled

    @property
    def is_disabled(self) -> bool:
        """Whether nothing is shown."""
        return not self._enabled

    def enable(self) -> None:
        """Shows progress again."""
        self._enabled = True

    def disable(self) -> None:
        """Shows nothing from now on."""
        self._enabled = False

    @property
    def train_description(self) -> str:
        """What training is called; an epoch has its number behind it."""
        return "Epoch"

    @property
    def sanity_check_description(self) -> str:
        """What the few validation batches before training are called."""
        return "Sanity Checking"

    @property
    def validation_description(self) -> str:
        """What a validation is called."""
        return "Validation"

    @property
    def test_description(self) -> str:
        """What a test is called."""
        return "Testing"

    @property
    def predict_description(self) -> str:
        """What a prediction is called."""
        return "Predicting"

    @property
    def total_train_batches(self) -> int | float:
        """How many batches an epoch has."""
        return self.trainer.num_training_batches

    @property
    def total_val_batches(self) -> int | float:
        """How many batches a validation has, of all loaders."""
        trainer = self.trainer
        counts = trainer.num_sanity_val_batches if trainer.sanity_checking else None
        return sum(trainer.num_val_batches if counts is None else counts)

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        """Prints, above a bar if there is one."""
        self.write(sep.join(map(str, args)))

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What is shown beside the bar: the logger's version, and what was logged for it."""
        version = getattr(trainer.logger, "version", None)
        named = {} if version is None else {"v_num": str(version).removeprefix("version_")}
        return {**named, **trainer.progress_bar_metrics}

    # --- hooks ------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remembers the trainer; other processes than the first show nothing."""
        self._trainer = trainer
        if not trainer.is_global_zero:
            self.disable()

    def _begin(self, name: str, total: float, done: int = 0) -> None:
        now = perf_counter()
        part = Pass(name, total, now, done, done)
        self.open.append(part)
        self._next = now + (0.0 if self.is_live() else self.lines_interval)
        if self._enabled and self.is_live():
            self.begin(part)

    def _advance(self, done: int) -> None:
        """``done`` batches are done. Called at every batch."""
        now = perf_counter()
        if now < self._next or not self._enabled or not self.open:
            return
        part = self.open[-1]
        live = self.is_live()
        if live and done % self._refresh_rate:
            return
        self._next = now + (self.drawings_interval if live else self.lines_interval)
        part.done = done
        if live:
            self.draw(part, self._metrics())
        elif done > part.first:
            self.write(self._line(part))

    def _end(self, done: float, line: bool = True) -> None:
        if not self.open:
            return
        part = self.open.pop()
        part.done = int(done)
        if self._enabled and self.is_live():
            self.draw(part, self._metrics())
            self.finish(part)
        if self._enabled and line and not self._stays():
            self.write(self._line(part))
        # The pass around it goes on now.
        self._next = 0.0 if self.is_live() else perf_counter() + self.lines_interval

    def _metrics(self) -> dict[str, Any]:
        return self.get_metrics(self.trainer, self.trainer.lightning_module)

    def _line(self, part: Pass) -> str:
        of = "" if math.isinf(part.total) else f"/{part.total:.0f}"
        speed = f"{part.speed():.1f} it/s"
        parts = [f"{part.name}: {part.done}{of} batches", clock(part.seconds()), speed]
        left = part.remaining()
        if left:
            parts.append(f"{clock(left)} left")
        return ", ".join([*parts, *shown(self._metrics())])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch begins."""
        self._begin_epoch(trainer)

    def _begin_epoch(self, trainer: Trainer, done: int = 0) -> None:
        of = f"/{trainer.max_epochs - 1}" if trainer.max_epochs > 0 else ""
        total = trainer.num_training_batches
        if trainer.max_steps != -1:
            left = (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches
            total = min(total, left)
        self._begin(f"{self.train_description} {trainer.current_epoch}{of}", total, done)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batches before it are done; their metrics are known."""
        if not self.open:
            # Taken up in the middle of an epoch.
            self._begin_epoch(trainer, batch_idx)
        self._advance(batch_idx)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch is over."""
        self._end(trainer.fit_loop.batch_idx + 1)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The check begins."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation begins."""
        counts = trainer.num_val_batches
        if trainer.sanity_checking:
            counts = trainer.num_sanity_val_batches
        name = self.validation_description
        if trainer.sanity_checking:
            name = self.sanity_check_description
        self._evaluation(name, counts)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test begins."""
        self._evaluation(self.test_description, trainer.num_test_batches)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction begins."""
        self._evaluation(self.predict_description, trainer.num_predict_batches)

    def _evaluation(self, name: str, counts: list[int | float]) -> None:
        self._counts = counts
        self._seen = 0
        self._begin(name, sum(counts))

    def _evaluated(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """A batch of an evaluation is over."""
        self._seen += 1
        self._advance(self._seen)

    def on_validation_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        """A batch is over."""
        self._evaluated(trainer, *arguments)

    def on_test_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        """A batch is over."""
        self._evaluated(trainer, *arguments)

    def on_predict_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        """A batch is over."""
        self._evaluated(trainer, *arguments)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation is over; within an epoch the epoch's line has its metrics."""
        self._end(self._seen, line=trainer.state.fn != "fit")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test is over."""
        self._end(self._seen)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction is over."""
        self._end(self._seen)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """The run stops: the terminal is left as it was."""
        self.open.clear()
        self.close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The run is over."""
        self.open.clear()
        self.close()


def shown(metrics: Mapping[str, Any]) -> list[str]:
    """Metrics as texts.

    >>> shown({"v_num": "0", "loss": 0.123456, "lr": 1e-5})
    ['v_num 0', 'loss 0.123', 'lr 1e-05']
    """
    return [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in metrics.items()
    ]


def clock(seconds: float | None) -> str:
    """A time as on a clock; with fractions below a minute.

    >>> clock(3.14159), clock(75), clock(3671), clock(None)
    ('3.1 s', '1:15', '1:01:11', '--')
    """
    if seconds is None:
        return "--"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
