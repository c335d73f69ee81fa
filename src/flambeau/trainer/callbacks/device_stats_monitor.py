"""DeviceStatsMonitor: what the machine does while training runs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from flambeau.record.stats import stats
from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.exceptions import MisconfigurationException

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["DeviceStatsMonitor", "memory_available", "memory_used"]


def memory_used() -> int:
    """The bytes of memory that the process holds (its resident set)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        # Not Linux: the largest it has been, in KiB but on macOS.
        import resource
        import sys

        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else largest * 1024


def memory_available() -> int | None:
    """The bytes of memory that are to be had; None if the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


class DeviceStatsMonitor(Callback):
    """Logs what the process uses, and what the framework does, every ``log_every_n_steps``.

    Under ``DeviceStatsMonitor.on_train_batch_end/`` (and the same of validation, test and
    prediction): ``ram_used`` and ``ram_available`` in bytes; since the values before:
    ``cpu_percent`` (of one core), ``seconds_per_batch``, ``flushes_per_batch`` (how often recorded
    operations were run: one for a step that reads nothing in between), ``new_programs`` and
    ``new_calls`` (what had to be planned: none once training is under way). With
    ``cpu_stats=False`` the first three are left out.

    Raises: ``MisconfigurationException`` for a trainer without logger.

    >>> from flambeau.trainer.callbacks import DeviceStatsMonitor
    >>> DeviceStatsMonitor().state_key
    'DeviceStatsMonitor'
    """

    def __init__(self, cpu_stats: bool | None = None) -> None:
        self._cpu_stats = cpu_stats is not False
        # By hook: (what was counted when values were logged last, batches since then).
        self._since: dict[str, tuple[tuple[float, ...], int]] = {}
        self._began = self._now()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks that there is a logger."""
        if not trainer.loggers:
            raise MisconfigurationException(
                f"Cannot use `{type(self).__name__}` callback with `Trainer(logger=False)`."
            )
        self._since, self._began = {}, self._now()

    def _now(self) -> tuple[float, ...]:
        return (
            time.perf_counter(),
            time.process_time(),
            stats.flushes,
            stats.programs,
            stats.misses,
        )

    def _batch_end(self, trainer: Trainer, hook: str) -> None:
        if trainer.sanity_checking:
            return
        now = self._now()
        before, batches = self._since.get(hook, (self._began, 0))
        batches += 1
        self._since[hook] = before, batches
        every = trainer.log_every_n_steps
        if not every or batches < every:
            return
        wall, cpu, flushes, programs, calls = (a - b for a, b in zip(now, before, strict=True))
        found: dict[str, float] = {}
        if self._cpu_stats:
            found |= {"cpu_percent": 100 * cpu / max(wall, 1e-9), "ram_used": memory_used()}
            if (free := memory_available()) is not None:
                found["ram_available"] = free
        found |= {
            "seconds_per_batch": wall / batches,
            "flushes_per_batch": flushes / batches,
            "new_programs": programs,
            "new_calls": calls,
        }
        self._since[hook] = now, 0
        step = trainer.fit_loop.logged_step
        for logger in trainer.loggers:
            prefix = f"{type(self).__name__}.{hook}{logger.group_separator}"
            logger.log_metrics({f"{prefix}{k}": v for k, v in found.items()}, step=step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Logs if it is time."""
        self._batch_end(trainer, "on_train_batch_end")

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any
    ) -> None:
        """Logs if it is time."""
        self._batch_end(trainer, "on_validation_batch_end")

    def on_test_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Logs if it is time."""
        self._batch_end(trainer, "on_test_batch_end")

    def on_predict_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Logs if it is time."""
        self._batch_end(trainer, "on_predict_batch_end")
