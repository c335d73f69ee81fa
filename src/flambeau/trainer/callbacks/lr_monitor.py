"""LearningRateMonitor: logs learning rates while schedules change them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["LearningRateMonitor"]


class LearningRateMonitor(Callback):
    """Logs the learning rate of every optimizer, at each step or epoch.

    Args:
        logging_interval: "step" (every ``log_every_n_steps``), "epoch", or None: as often as the
            schedule changes it.
        log_momentum, log_weight_decay: logs these too, under ``lr-SGD-momentum`` and
            ``lr-SGD-weight_decay``.

    The name is ``lr-SGD`` or the schedule's ``name``; optimizers of one class are told apart by
    ``-1``, groups by ``/pg1`` (or the group's ``name``). ``lrs`` keeps all values.

    Raises: ``MisconfigurationException`` for another interval, or a trainer without logger.

    >>> from flambeau.trainer.callbacks import LearningRateMonitor
    >>> LearningRateMonitor(logging_interval="epoch").logging_interval
    'epoch'
    """

    def __init__(
        self,
        logging_interval: Literal["step", "epoch"] | None = None,
        log_momentum: bool = False,
        log_weight_decay: bool = False,
    ) -> None:
        if logging_interval not in (None, "step", "epoch"):
            raise MisconfigurationException(
                "logging_interval should be `step` or `epoch` or `None`."
            )
        self.logging_interval = logging_interval
        self.log_momentum = log_momentum
        self.log_weight_decay = log_weight_decay
        self.lrs: dict[str, list[float]] = {}
        # (optimizer, name, the interval of its schedule, None without one)
        self._known: list[tuple[Any, str, str | None]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Names the optimizers."""
        if not trainer.loggers:
            raise MisconfigurationException(
                "Cannot use `LearningRateMonitor` callback with `Trainer` that has no logger."
            )
        if not trainer.lr_scheduler_configs:
            rank_zero_warn(
                "You are using `LearningRateMonitor` callback with models that have no learning "
                "rate schedulers. Please see documentation for `configure_optimizers` method."
            )
        self._name(trainer)
        self.lrs = {name: [] for name in self._rates("any")}

    def _name(self, trainer: Trainer) -> None:
        schedules = {id(c.scheduler.optimizer): c for c in trainer.lr_scheduler_configs}
        seen: Counter[str] = Counter()
        self._known = []
        for optimizer in trainer.optimizers:
            schedule = schedules.get(id(optimizer))
            name = schedule.name if schedule is not None else None
            if name is None:
                kind = f"lr-{type(optimizer).__name__}"
                name = f"{kind}-{seen[kind]}" if seen[kind] else kind
                seen[kind] += 1
            self._known.append((optimizer, name, schedule.interval if schedule else None))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Logs at the steps at which the trainer logs."""
        step, every = trainer.fit_loop.logged_step, trainer.log_every_n_steps
        due = trainer.should_stop or (every and (step + 1) % every == 0)
        if due and self.logging_interval != "epoch":
            self._log(trainer, "step" if self.logging_interval is None else "any")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs at the beginning of an epoch."""
        if self.logging_interval != "step":
            self._log(trainer, "epoch" if self.logging_interval is None else "any")

    def _log(self, trainer: Trainer, interval: str) -> None:
        if [id(optimizer) for optimizer, *_ in self._known] != list(map(id, trainer.optimizers)):
            self._name(trainer)
        found = self._rates(interval)
        if not found:
            return
        for name, value in found.items():
            self.lrs.setdefault(name, []).append(value)
        trainer.published.callback.update(found)
        for logger in trainer.loggers:
            logger.log_metrics(found, step=trainer.fit_loop.logged_step)

    def _rates(self, interval: str) -> dict[str, float]:
        """The rates now of the optimizers whose schedules step at ``interval``."""
        found: dict[str, float] = {}
        for optimizer, name, stepping in self._known:
            if "any" not in (interval, stepping or "any") and stepping != interval:
                continue
            groups = optimizer.param_groups
            for number, group in enumerate(groups, 1):
                which = group.get("name") or (f"pg{number}" if len(groups) > 1 else "")
                at = f"/{which}" if which else ""
                found[f"{name}{at}"] = float(group["lr"])
                if self.log_momentum:
                    betas = group.get("betas")
                    momentum = betas[0] if betas is not None else group.get("momentum", 0.0)
                    found[f"{name}{at}-momentum"] = float(momentum)
                if self.log_weight_decay:
                    found[f"{name}{at}-weight_decay"] = float(group.get("weight_decay", 0.0))
        return found
