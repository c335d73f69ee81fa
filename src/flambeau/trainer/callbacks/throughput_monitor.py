"""ThroughputMonitor: batches, samples and operations a second, for the loggers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from flambeau.trainer.callback import Callback

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["Throughput", "ThroughputMonitor"]


class Throughput:
    """Rates over the last ``window_size`` updates.

    ``compute`` gives the totals ``time``, ``batches``, ``samples``, ``lengths`` and, once the
    window is full, ``device/batches_per_sec``, ``device/samples_per_sec``,
    ``device/items_per_sec``, ``device/flops_per_sec`` and, with ``available_flops``, the share
    ``device/mfu``.

    >>> from flambeau.trainer.callbacks.throughput_monitor import Throughput
    >>> rates = Throughput(window_size=2)
    >>> for i in (1, 2):
    ...     rates.update(time=0.5 * i, batches=i, samples=32 * i)
    >>> rates.compute()["device/samples_per_sec"]
    64.0
    """

    def __init__(
        self, available_flops: float | None = None, window_size: int = 100, separator: str = "/"
    ) -> None:
        if window_size < 2:
            raise ValueError(f"window_size must be at least 2, got {window_size}")
        self.available_flops = available_flops
        self.separator = separator
        self._window: deque[tuple[float, int, int, int | None, int | None]]
        self._window = deque(maxlen=window_size)

    def update(
        self,
        *,
        time: float,
        batches: int,
        samples: int,
        lengths: int | None = None,
        flops: int | None = None,
    ) -> None:
        """Takes in totals so far, and the operations since the last update.

        Raises: ``ValueError`` if a total got less.
        """
        if self._window:
            last = self._window[-1]
            for name, old, new in zip(
                ("time", "batches", "samples"), last, (time, batches, samples), strict=False
            ):
                if new < old:
                    raise ValueError(f"Expected the value of {name} to increase: {old}, now {new}")
        self._window.append((time, batches, samples, lengths, flops))

    def compute(self) -> dict[str, float]:
        """The totals, and the rates."""
        if not self._window:
            return {}
        time, batches, samples, lengths, _ = self._window[-1]
        found: dict[str, float] = {"time": time, "batches": batches, "samples": samples}
        if lengths is not None:
            found["lengths"] = lengths
        if len(self._window) < (self._window.maxlen or 0):
            return found
        first = self._window[0]
        seconds = time - first[0]
        rates: dict[str, float] = {
            "batches_per_sec": (batches - first[1]) / seconds,
            "samples_per_sec": (samples - first[2]) / seconds,
        }
        if lengths is not None and first[3] is not None:
            rates["items_per_sec"] = (lengths - first[3]) / seconds
        done = [flops for *_, flops in self._window]
        if None not in done:
            # Those of the first update were done before the window's time begins.
            rates["flops_per_sec"] = sum(done[1:]) / seconds  # type: ignore[arg-type]
            if self.available_flops:
                rates["mfu"] = rates["flops_per_sec"] / self.available_flops
        return found | {f"device{self.separator}{name}": rate for name, rate in rates.items()}

    def reset(self) -> None:
        """Forgets everything."""
        self._window.clear()


class ThroughputMonitor(Callback):
    """Logs batches, samples, items and floating-point operations a second.

    They go to the loggers as ``{stage}/device/samples_per_sec`` and the like, every
    ``log_every_n_steps`` of the trainer. Operations are counted if the module says in
    ``flops_per_batch`` how many a batch takes.

    Args:
        batch_size_fn: how many samples a batch has.
        length_fn: how many items (words, say) its samples have.
        kwargs: for :class:`Throughput`.

    Reference: Lightning's callback of this name.

    >>> from flambeau.trainer.callbacks import ThroughputMonitor
    >>> monitor = ThroughputMonitor(batch_size_fn=lambda batch: len(batch[0]))
    """

    def __init__(
        self,
        batch_size_fn: Callable[[Any], int],
        length_fn: Callable[[Any], int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.batch_size_fn = batch_size_fn
        self.length_fn = length_fn
        self._kwargs = kwargs
        self._rates = Throughput(**kwargs)
        self._training: tuple[Any, ...] | None = None
        self._start()

    def _start(self) -> None:
        self._rates.reset()
        self._began = perf_counter()
        self._batches = self._samples = self._lengths = 0

    def _take(self, trainer: Trainer, module: LightningModule, batch: Any) -> None:
        self._batches += 1
        self._samples += self.batch_size_fn(batch)
        if self.length_fn is not None:
            self._lengths += self.length_fn(batch)
        self._rates.update(
            time=perf_counter() - self._began,
            batches=self._batches,
            samples=self._samples,
            lengths=None if self.length_fn is None else self._lengths,
            flops=getattr(module, "flops_per_batch", None),
        )
        every = trainer.log_every_n_steps
        if every and self._batches % every == 0 and trainer.loggers:
            name = f"{trainer.state.stage}{self._rates.separator}"
            found = {name + key: value for key, value in self._rates.compute().items()}
            # In a training batch's hooks its own step is not counted yet.
            step = trainer.fit_loop.logged_step if trainer.training else self._batches
            trainer.log_metrics(found, step)

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Training begins."""
        self._start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """A batch is over."""
        self._take(trainer, pl_module, batch)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        """A validation begins; the clock of training stands still."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._training = (
                self._rates, perf_counter() - self._began, self._batches, self._samples,
                self._lengths,
            )  # fmt: skip
            self._rates = Throughput(**self._kwargs)
        self._start()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """A batch is over."""
        if not trainer.sanity_checking:
            self._take(trainer, pl_module, batch)

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        """A validation is over; training goes on."""
        if self._training is not None:
            self._rates, passed, self._batches, self._samples, self._lengths = self._training
            self._began = perf_counter() - passed
            self._training = None

    def on_test_start(self, trainer: Trainer, *_: Any) -> None:
        """A test begins."""
        self._start()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """A batch is over."""
        self._take(trainer, pl_module, batch)

    def on_predict_start(self, trainer: Trainer, *_: Any) -> None:
        """A prediction begins."""
        self._start()

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """A batch is over."""
        self._take(trainer, pl_module, batch)
