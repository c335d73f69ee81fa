"""What ``self.log`` was given, reduced over steps and epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from flambeau.tensor import Tensor
from flambeau.trainer.utilities.exceptions import MisconfigurationException

__all__ = ["Logged", "Published", "Results"]

_REDUCTIONS = ("mean", "sum", "min", "max")
# Which hooks log a value at each step and which its epoch's mean, unless the call says.
_EACH_STEP = frozenset(
    {
        "training_step",
        "on_train_batch_start",
        "on_train_batch_end",
        "on_before_backward",
        "on_after_backward",
        "on_before_optimizer_step",
        "on_before_zero_grad",
        "optimizer_step",
    }
)
_EMPTY = {"mean": 0.0, "sum": 0.0, "min": math.inf, "max": -math.inf}


class Logged:
    """One logged name: its options, its value at the last step, what it has come to this epoch."""

    __slots__ = (
        "name", "given", "on_step", "on_epoch", "prog_bar", "logger", "reduce", "metric",
        "last", "total", "weight",
    )  # fmt: skip

    def __init__(self, name: str, given: tuple[Any, ...], hook: str, metric: Any) -> None:
        prog_bar, logger, on_step, on_epoch, reduce = given
        self.name = name
        self.given = given
        each_step = hook in _EACH_STEP
        self.on_step = each_step if on_step is None else on_step
        self.on_epoch = not each_step if on_epoch is None else on_epoch
        if not self.on_step and not self.on_epoch:
            raise MisconfigurationException(
                f"log({name!r}): on_step=False and on_epoch=False means to log it never"
            )
        self.prog_bar = prog_bar
        self.logger = logger
        self.reduce = _reduction(reduce)
        self.metric = metric
        # None until there is a value.
        self.last: float | None = None
        self.clear()

    def agrees(self, given: tuple[Any, ...]) -> bool:
        """Whether other options mean the same; if so they are the ones compared from now on."""
        same = self.given[:4] == given[:4] and self.reduce == _reduction(given[4])
        if same:
            self.given = given
        return same

    def clear(self) -> None:
        """Begins another epoch."""
        self.total = _EMPTY[self.reduce]
        self.weight = 0.0

    def add(self, value: float, weight: float) -> None:
        """Takes a step's value into the epoch's; in order and in double precision, so that it does
        not matter when values are taken.
        """
        if self.reduce == "mean":
            self.total += value * weight
        elif self.reduce == "sum":
            self.total += value
        else:
            # NaN is kept, as a reduction over all of them would.
            both = (self.total, value)
            any_nan = math.isnan(value) or math.isnan(self.total)
            self.total = math.nan if any_nan else (min if self.reduce == "min" else max)(both)
        self.weight += weight

    @property
    def value(self) -> float | None:
        """The epoch's value; None if nothing was logged."""
        if self.metric is not None:
            return _number(self.metric.compute())
        if not self.weight:
            return None
        return self.total / self.weight if self.reduce == "mean" else self.total


class Results:
    """All that is logged while one kind of loop (training, validation, …) runs.

    Values are kept as they come, and read together by :meth:`collect`: after an optimizer's step
    they are computed already, so that reading them splits no program in two.
    """

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str, int | None], Logged] = {}
        self.hook = ""
        self.batch: Any = None
        self.batch_size: int | None = None
        self.dataloader_idx: int | None = None
        self._pending: list[tuple[Logged, Any, float]] = []

    def log(
        self,
        name: str,
        value: Any,
        given: tuple[Any, ...],
        batch_size: int | None,
        add_dataloader_idx: bool,
    ) -> None:
        """Takes note of a value; ``given`` are the options of the call."""
        where = self.dataloader_idx if add_dataloader_idx else None
        entry = self.entries.get((name, self.hook, where))
        if entry is None:
            entry = self._begin(name, value, given, where)
        elif entry.given != given and not entry.agrees(given):
            raise MisconfigurationException(
                f"You called `self.log({name}, ...)` twice in `{self.hook}` with different "
                "arguments. This is not allowed"
            )
        if entry.metric is not None:
            self._pending.append((entry, None, 0.0))
            return
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ValueError(
                    f"`self.log({name}, {value})` was called, but the tensor must have a single "
                    f"element. You can try doing `self.log({name}, {value}.mean())`"
                )
            if not value.requires_grad:
                # A buffer may be written to before its value is read.
                value = value.clone()
        elif not isinstance(value, (int, float)):
            value = _checked(name, value)
        weight: float = 1.0
        if entry.on_epoch and entry.reduce == "mean":
            weight = batch_size if batch_size is not None else self._batch_size()
        self._pending.append((entry, value, weight))

    def _begin(self, name: str, value: Any, given: tuple[Any, ...], where: int | None) -> Logged:
        if not isinstance(name, str):
            raise TypeError(f"log(): the name must be a string, got {type(name).__name__}")
        metric = value if _is_metric(value) else None
        shown = name if where is None else f"{name}/dataloader_idx_{where}"
        entry = Logged(shown, given, self.hook, metric)
        self.entries[name, self.hook, where] = entry
        return entry

    def _batch_size(self) -> int:
        if self.batch_size is None:
            self.batch_size = _size_of(self.batch) or 1
        return self.batch_size

    def new_batch(self, batch: Any) -> None:
        """What is logged next belongs to ``batch``."""
        self.batch = batch
        self.batch_size = None

    def collect(self) -> None:
        """Reads the values that were logged since the last call."""
        if not self._pending:
            return
        for entry, value, weight in self._pending:
            if entry.metric is not None:
                if entry.on_step:
                    cached = getattr(entry.metric, "_forward_cache", None)
                    entry.last = _number(entry.metric.compute() if cached is None else cached)
                continue
            number = value.item() if isinstance(value, Tensor) else value
            entry.last = number
            if entry.on_epoch:
                entry.add(number, weight)
        self._pending.clear()

    # --- what it has come to ----------------------------------------------------------------

    def step_metrics(self) -> Iterator[tuple[str, float, Logged]]:
        """Each (name, value of the last step, entry) of what is logged at every step."""
        for entry in self.entries.values():
            if entry.on_step and entry.last is not None:
                yield entry.name + ("_step" if entry.on_epoch else ""), entry.last, entry

    def epoch_metrics(self) -> Iterator[tuple[str, float, Logged]]:
        """Each (name, value over the epoch, entry) of what is logged for an epoch."""
        for entry in self.entries.values():
            if entry.on_epoch and (value := entry.value) is not None:
                yield entry.name + ("_epoch" if entry.on_step else ""), value, entry

    def end_epoch(self) -> None:
        """Begins the epoch's values anew; metric objects are reset."""
        for entry in self.entries.values():
            entry.clear()
            if entry.metric is not None and entry.on_epoch:
                entry.metric.reset()

    # --- checkpoints ------------------------------------------------------------------------

    def state_dict(self, metrics: dict[str, Any]) -> list[dict[str, Any]]:
        """Every name with its options and what it has come to. Of metric objects, whose names as
        attributes ``metrics`` gives, only which they are: they are kept apart.
        """
        names = {id(metric): name for name, metric in metrics.items()}
        return [
            {
                "key": list(key),
                "name": entry.name,
                "given": [*entry.given[:4], entry.reduce],
                "last": entry.last,
                "total": entry.total,
                "weight": entry.weight,
                "metric": names.get(id(entry.metric)),
            }
            for key, entry in self.entries.items()
            if entry.metric is None or id(entry.metric) in names
        ]

    def load_state_dict(self, state: list[dict[str, Any]], metrics: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        for saved in state:
            key = tuple(saved["key"])
            metric = None if saved["metric"] is None else metrics.get(saved["metric"])
            if metric is None and saved["metric"] is not None:
                continue  # the module no longer has it
            entry = Logged(saved["name"], tuple(saved["given"]), key[1], metric)
            entry.last, entry.total, entry.weight = saved["last"], saved["total"], saved["weight"]
            self.entries[key] = entry


def _reduction(reduce: Any) -> str:
    """The name of a reduction that was given by name or as a function."""
    name = reduce if isinstance(reduce, str) else getattr(reduce, "__name__", "")
    name = {"amax": "max", "amin": "min"}.get(name, name)
    if name not in _REDUCTIONS:
        raise MisconfigurationException(
            "Only `self.log(..., reduce_fx={min,max,mean,sum})` are supported. If you need a "
            f"custom reduction, please log a metric object instead. Found: {reduce}"
        )
    return name


def _is_metric(value: Any) -> bool:
    return hasattr(value, "compute") and hasattr(value, "reset") and hasattr(value, "update")


def _number(value: Any) -> float:
    return value.item() if hasattr(value, "item") else float(value)


def _checked(name: str, value: Any) -> float:
    if isinstance(value, dict):
        raise ValueError(
            f"`self.log({name}, {value})` was called, but nested dictionaries cannot be logged"
        )
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        return value.item()
    raise ValueError(f"`self.log({name}, {value})` was called, but the value must be a number")


def _size_of(batch: Any) -> int | None:
    """The first dimension of the first tensor in a batch."""
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.shape else 1
    if isinstance(batch, str):
        return len(batch)
    if isinstance(batch, dict):
        batch = batch.values()
    elif not hasattr(batch, "__iter__"):
        return None
    for part in batch:
        size = _size_of(part)
        if size is not None:
            return size
    return None


class Published:
    """The latest value of everything that was logged, as callbacks, loggers and the progress bar
    see it.
    """

    def __init__(self) -> None:
        self.callback: dict[str, float] = {}
        self.progress_bar: dict[str, float] = {}
        self.logged: dict[str, float] = {}

    def take_steps(self, results: Results) -> None:
        """Takes over the values of the last step."""
        for name, value, entry in results.step_metrics():
            self.callback[name] = self.callback[entry.name] = value
            if entry.prog_bar:
                self.progress_bar[name] = value

    def take_epoch(self, results: Results) -> dict[str, float]:
        """Takes over an epoch's values; returns those that are for the loggers."""
        for_loggers = {}
        for name, value, entry in results.epoch_metrics():
            self.callback[name] = self.callback[entry.name] = value
            # From here on the name means the epoch's value, until the next step.
            entry.last = None
            if entry.prog_bar:
                self.progress_bar[name] = value
            if entry.logger:
                for_loggers[name] = value
        return for_loggers
