"""MetricCollection: several metrics of the same predictions."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from flambeau import nn
from flambeau.trainer.metrics.metric import Metric

__all__ = ["MetricCollection"]


class MetricCollection(nn.ModuleDict):
    """Several metrics that get the same batches, and give a dictionary of values.

    Args:
        metrics: metrics one by one, a list (named by their classes), or a dictionary.
        prefix, postfix: what comes before and after each name in the result.

    A keyword argument reaches only the metrics whose ``update`` takes it. In a module, log it with
    ``self.log_dict(collection)``. ``compute_groups`` of torchmetrics is accepted, and changes
    nothing: an update costs some microseconds.

    Reference: torchmetrics' ``MetricCollection``.

    >>> from flambeau.trainer.metrics import Accuracy, F1Score, MetricCollection
    >>> metrics = MetricCollection([Accuracy("binary"), F1Score("binary")], prefix="val_")
    >>> metrics(tensor([1, 0, 1, 1]), tensor([1, 0, 0, 1]))
    {'val_Accuracy': tensor(0.7500), 'val_F1Score': tensor(0.8000)}
    """

    def __init__(
        self,
        metrics: Metric | Sequence[Metric] | Mapping[str, Metric],
        *additional_metrics: Metric,
        prefix: str | None = None,
        postfix: str | None = None,
        compute_groups: bool | list[list[str]] = True,
    ) -> None:
        super().__init__()
        for name, value in (("prefix", prefix), ("postfix", postfix)):
            if value is not None and not isinstance(value, str):
                raise ValueError(f"Expected input `{name}` to be a string, but got {type(value)}")
        self.prefix = prefix
        self.postfix = postfix
        self.add_metrics(metrics, *additional_metrics)

    def add_metrics(
        self,
        metrics: Metric | Sequence[Metric] | Mapping[str, Metric],
        *additional_metrics: Metric,
    ) -> None:
        """Adds metrics, given as to the constructor.

        Raises: ``ValueError`` for what is no metric, or two of the same name.
        """
        named: list[tuple[str, Any]] = []
        if isinstance(metrics, Mapping):
            named += metrics.items()
        else:
            several = [metrics] if isinstance(metrics, nn.Module) else list(metrics)
            named += [(type(metric).__name__, metric) for metric in several]
        named += [(type(metric).__name__, metric) for metric in additional_metrics]
        for name, metric in named:
            if not isinstance(metric, (Metric, MetricCollection)):
                raise ValueError(
                    f"Value {metric!r} belonging to key {name} is not an instance of `Metric` or "
                    "`MetricCollection`"
                )
            if name in self._modules:
                raise ValueError(f"Encountered two metrics both named {name}")
            self[name] = metric

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Takes a batch in, and returns the values of that batch alone."""
        return self._values({n: m(*args, **_taken(m, kwargs)) for n, m in self._pairs()})

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Takes a batch in."""
        for _, metric in self._pairs():
            metric.update(*args, **_taken(metric, kwargs))

    def compute(self) -> dict[str, Any]:
        """The values over all batches."""
        return self._values({name: metric.compute() for name, metric in self._pairs()})

    def reset(self) -> None:
        """Forgets all batches."""
        for _, metric in self._pairs():
            metric.reset()

    def merge_state(self, incoming: MetricCollection) -> None:
        """Takes in what another collection of the same metrics has seen."""
        if list(self._modules) != list(incoming._modules):
            raise ValueError(
                f"the collections hold {list(self._modules)} and {list(incoming._modules)}"
            )
        for name, metric in self._pairs():
            metric.merge_state(incoming._modules[name])

    def clone(self, prefix: str | None = None, postfix: str | None = None) -> MetricCollection:
        """A copy with states of its own, and perhaps other names."""
        copy = deepcopy(self)
        copy.prefix = prefix if prefix is not None else self.prefix
        copy.postfix = postfix if postfix is not None else self.postfix
        return copy

    def persistent(self, mode: bool = True) -> None:
        """Whether the states are in the ``state_dict``."""
        for _, metric in self._pairs():
            metric.persistent(mode)

    def keys(self, keep_base: bool = False) -> Any:
        """The names; with ``keep_base`` without prefix and postfix."""
        return [name if keep_base else self._name(name) for name in self._modules]

    def items(self, keep_base: bool = False) -> Any:
        """The names and the metrics."""
        return [(n if keep_base else self._name(n), m) for n, m in self._modules.items()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __getitem__(self, key: str) -> Any:
        if key not in self._modules:
            key = key.removeprefix(self.prefix or "").removesuffix(self.postfix or "")
        return self._modules[key]

    def _pairs(self) -> list[tuple[str, Any]]:
        return list(self._modules.items())

    def _name(self, name: str) -> str:
        return f"{self.prefix or ''}{name}{self.postfix or ''}"

    def _values(self, found: dict[str, Any]) -> dict[str, Any]:
        """One flat dictionary, under the names to show."""
        values = {}
        for name, value in found.items():
            if isinstance(value, dict):
                values.update({self._name(inner): v for inner, v in value.items()})
            else:
                values[self._name(name)] = value
        return values


def _taken(metric: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments that the metric's ``update`` takes."""
    if not kwargs:
        return kwargs
    names = inspect.signature(metric.update).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in names.values()):
        return kwargs
    return {name: value for name, value in kwargs.items() if name in names}
