"""What ``configure_optimizers`` returned, in one form: optimizers, and when schedules step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.optim import Optimizer
from flambeau.optim.lr_scheduler import ReduceLROnPlateau
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["LightningOptimizer", "Schedule", "configured", "step_schedules"]

_KEYS = ("optimizer", "lr_scheduler", "monitor", "frequency")


@dataclasses.dataclass
class Schedule:
    """A learning-rate schedule and when it steps (Lightning's ``LRSchedulerConfig``)."""

    scheduler: Any
    name: str | None = None
    interval: str = "epoch"
    frequency: int = 1
    reduce_on_plateau: bool = False
    monitor: str | None = None
    strict: bool = True

    def __post_init__(self) -> None:
        if self.interval not in ("step", "epoch"):
            raise MisconfigurationException(
                f'lr_scheduler: the interval must be "step" or "epoch", got {self.interval!r}'
            )
        if not isinstance(self.frequency, int) or self.frequency < 1:
            raise MisconfigurationException(
                f"lr_scheduler: the frequency must be a positive integer, got {self.frequency!r}"
            )
        if not hasattr(self.scheduler, "step"):
            raise MisconfigurationException(
                f"lr_scheduler: {self.scheduler!r} is no scheduler: it has no `step`"
            )


class NoOptimizer(Optimizer):
    """Takes steps that change nothing, for a module whose ``configure_optimizers`` gives None."""

    def __init__(self) -> None:
        super().__init__([flambeau.zeros(1)], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Calls ``closure``."""
        return None if closure is None else closure()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes nothing over."""


def configured(module: LightningModule) -> tuple[list[Optimizer], list[Schedule]]:
    """The module's optimizers and schedules.

    Takes an optimizer, a list or tuple of them, two lists (optimizers, schedules), a dictionary
    with ``optimizer`` and ``lr_scheduler`` (a schedule, or a dictionary of the fields of
    :class:`Schedule`), a list of such dictionaries, or ``None``.

    Raises: ``MisconfigurationException`` for anything else, and for a ``ReduceLROnPlateau``
    without ``monitor`` in automatic optimization.
    """
    given = module.configure_optimizers()
    optimizers: list[Optimizer] = []
    schedules: list[Schedule] = []
    if given is None:
        rank_zero_warn(
            "`LightningModule.configure_optimizers` returned `None`, this fit will run with no "
            "optimizer"
        )
        optimizers.append(NoOptimizer())
    elif isinstance(given, dict):
        _take(given, optimizers, schedules)
    elif _is_optimizer(given):
        optimizers.append(given)
    elif isinstance(given, (list, tuple)):
        if len(given) == 2 and all(isinstance(part, (list, tuple)) for part in given):
            optimizers += given[0]
            schedules += [_schedule(s, None) for s in given[1]]
        else:
            for part in given:
                _take(
                    part if isinstance(part, dict) else {"optimizer": part}, optimizers, schedules
                )
    else:
        raise MisconfigurationException(_unknown(given))
    for optimizer in optimizers:
        if not _is_optimizer(optimizer):
            raise MisconfigurationException(_unknown(optimizer))
    for schedule in schedules:
        if (
            schedule.reduce_on_plateau
            and schedule.monitor is None
            and module.automatic_optimization
        ):
            raise MisconfigurationException(
                "The lr scheduler dict must include a monitor when a `ReduceLROnPlateau` scheduler "
                'is used. For example: {"optimizer": optimizer, "lr_scheduler": {"scheduler": '
                'scheduler, "monitor": "your_loss"}}'
            )
        wrapped = getattr(schedule.scheduler, "optimizer", None)
        if wrapped is not None and not any(wrapped is o for o in optimizers):
            raise MisconfigurationException(
                "Some schedulers are attached with an optimizer that wasn't returned from "
                "`configure_optimizers`."
            )
    return optimizers, schedules


def _is_optimizer(given: Any) -> bool:
    return isinstance(given, Optimizer) or (
        hasattr(given, "step") and hasattr(given, "param_groups")
    )


def _unknown(given: Any) -> str:
    return (
        "Unknown configuration for model optimizers. Output from `configure_optimizers` should be "
        "an optimizer, a list of them, two lists (optimizers, lr_schedulers), a dictionary "
        "{'optimizer': …, 'lr_scheduler': …}, a list of such, or None; got "
        f"{type(given).__name__}"
    )


def _take(given: dict[str, Any], optimizers: list[Optimizer], schedules: list[Schedule]) -> None:
    unknown = [key for key in given if key not in _KEYS]
    if "optimizer" not in given or unknown:
        raise MisconfigurationException(
            f"configure_optimizers: a dictionary has 'optimizer' and may have 'lr_scheduler' and "
            f"'monitor'; got {sorted(map(str, given))}"
        )
    optimizers.append(given["optimizer"])
    scheduler = given.get("lr_scheduler")
    if scheduler is not None:
        schedules.append(_schedule(scheduler, given.get("monitor")))


def _schedule(given: Any, monitor: str | None) -> Schedule:
    if not isinstance(given, dict):
        return Schedule(
            given, reduce_on_plateau=isinstance(given, ReduceLROnPlateau), monitor=monitor
        )
    fields = {field.name for field in dataclasses.fields(Schedule)}
    unknown = [key for key in given if key not in fields]
    if unknown:
        rank_zero_warn(f"Found unsupported keys in the lr scheduler dict: {set(unknown)}.")
    if "scheduler" not in given:
        raise MisconfigurationException(
            'The lr scheduler dict must have the key "scheduler" with an lr scheduler'
        )
    options = {k: v for k, v in given.items() if k in fields}
    plateau = isinstance(given["scheduler"], ReduceLROnPlateau)
    return Schedule(**{"monitor": monitor, "reduce_on_plateau": plateau, **options})


def step_schedules(trainer: Trainer, interval: str, count: int, plateau: bool) -> None:
    """Steps the schedules of an interval whose turn it is at the ``count``-th step or epoch; those
    that look at a metric (``plateau``) apart from the others.

    Raises: ``MisconfigurationException`` if a metric is missing that must be there.
    """
    for schedule in trainer.lr_scheduler_configs:
        mine = schedule.interval == interval and schedule.reduce_on_plateau == plateau
        if not mine or count % schedule.frequency:
            continue
        metric = None
        if schedule.reduce_on_plateau:
            metric = _monitored(trainer, schedule)
            if metric is None:
                continue
        trainer.lightning_module.lr_scheduler_step(schedule.scheduler, metric)


def _monitored(trainer: Trainer, schedule: Schedule) -> Any:
    """What a schedule looks at; None if it is missing and need not be there."""
    metrics = trainer.callback_metrics
    if schedule.monitor in metrics:
        return metrics[schedule.monitor]
    message = (
        f"ReduceLROnPlateau conditioned on metric {schedule.monitor} which is not available. "
        f"Available metrics are: {list(metrics)}. Condition can be set using `monitor` key in lr "
        "scheduler dict"
    )
    if schedule.strict:
        raise MisconfigurationException(message)
    rank_zero_warn(message)
    return None


class LightningOptimizer:
    """An optimizer as ``self.optimizers()`` gives it: its steps are counted and have hooks.

    Everything else is the optimizer's own.
    """

    def __init__(self, optimizer: Optimizer, trainer: Trainer) -> None:
        self.__dict__.update(optimizer=optimizer, _trainer=trainer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.optimizer, name, value)

    def __repr__(self) -> str:
        return f"Lightning{self.optimizer!r}"

    def step(self, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """The optimizer's step, with ``on_before_optimizer_step`` before it."""
        return self._trainer.manual_step(self.optimizer, closure, kwargs)

    @contextmanager
    def toggle_model(self, sync_grad: bool = True) -> Iterator[None]:
        """Only this optimizer's parameters require gradients within."""
        module = self._trainer.lightning_module
        module.toggle_optimizer(self)
        try:
            yield
        finally:
            module.untoggle_optimizer(self)
