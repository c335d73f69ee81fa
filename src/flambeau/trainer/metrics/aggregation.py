"""Numbers put together over batches: mean, sum, minimum, maximum."""

from __future__ import annotations

import warnings
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.trainer.metrics.metric import Metric

__all__ = ["MaxMetric", "MeanMetric", "MinMetric", "SumMetric"]


class _Aggregation(Metric):
    """Numbers put together; what is done with NaN among them is decided without reading them."""

    is_differentiable = None
    higher_is_better = None

    def __init__(self, name: str, start: float, reduce: str, nan_strategy: Any = "warn") -> None:
        super().__init__()
        if nan_strategy not in ("error", "warn", "ignore", "disable") and not isinstance(
            nan_strategy, (int, float)
        ):
            raise ValueError(
                "Arg `nan_strategy` should either be a float or one of ('error', 'warn', 'ignore', "
                f"'disable') but got {nan_strategy}."
            )
        self.nan_strategy = nan_strategy
        self.add_state(name, flambeau.tensor(start, dtype=flambeau.float64), reduce)
        self.add_state("nans", flambeau.tensor(0), "sum")

    def _cleaned(self, value: Any, instead: float) -> tuple[Tensor, Tensor | None]:
        """The numbers with NaN replaced, and where they were (None: left as they are)."""
        numbers = flambeau.as_tensor(value).double()
        if self.nan_strategy == "disable":
            return numbers, None
        missing = numbers.isnan()
        if isinstance(self.nan_strategy, (int, float)):
            return flambeau.where(missing, float(self.nan_strategy), numbers), None
        self.nans = self.nans + missing.sum()
        return flambeau.where(missing, instead, numbers), missing

    def check(self) -> None:
        """Raises ``RuntimeError`` or warns, as told, if there were NaN."""
        if self.nan_strategy not in ("warn", "error") or not int(self.nans):
            return
        if self.nan_strategy == "error":
            raise RuntimeError("Encountered `nan` values in tensor")
        warnings.warn(
            "Encountered `nan` values in tensor. Will be removed.", UserWarning, stacklevel=3
        )


class MeanMetric(_Aggregation):
    r"""The mean of all numbers, weighted if weights are given.

    .. math:: \frac{\sum_i w_i x_i}{\sum_i w_i}

    ``nan_strategy`` says what becomes of NaN: "warn" and "ignore" leave them out, "error" raises
    (both when the value is computed), "disable" lets them through, a number replaces them.

    >>> from flambeau.trainer.metrics import MeanMetric
    >>> mean = MeanMetric()
    >>> mean.update(tensor([1.0, 2.0]))
    >>> mean.update(6.0, weight=2)
    >>> mean.compute()
    tensor(3.7500)
    """

    def __init__(self, nan_strategy: Any = "warn") -> None:
        super().__init__("mean_value", 0.0, "sum", nan_strategy)
        self.add_state("weight", flambeau.tensor(0.0, dtype=flambeau.float64), "sum")

    def update(self, value: Any, weight: Any = 1.0) -> None:
        """Takes in a number or a tensor of them; the weight is broadcast."""
        numbers, missing = self._cleaned(value, 0.0)
        weights = flambeau.as_tensor(weight).double().broadcast_to(numbers.shape)
        if missing is not None:
            weights = flambeau.where(missing, 0.0, weights)
        self.mean_value = self.mean_value + (numbers * weights).sum()
        self.weight = self.weight + weights.sum()

    def compute(self) -> Tensor:
        """The mean."""
        return (self.mean_value / self.weight).to(flambeau.get_default_dtype())


class SumMetric(_Aggregation):
    """The sum of all numbers; NaN as in :class:`MeanMetric`.

    >>> from flambeau.trainer.metrics import SumMetric
    >>> SumMetric()(tensor([1.0, 2.0]))
    tensor(3.)
    """

    def __init__(self, nan_strategy: Any = "warn") -> None:
        super().__init__("sum_value", 0.0, "sum", nan_strategy)

    def update(self, value: Any) -> None:
        """Takes in a number or a tensor of them."""
        self.sum_value = self.sum_value + self._cleaned(value, 0.0)[0].sum()

    def compute(self) -> Tensor:
        """The sum."""
        return self.sum_value.to(flambeau.get_default_dtype())


class MaxMetric(_Aggregation):
    """The largest of all numbers; NaN as in :class:`MeanMetric`.

    >>> from flambeau.trainer.metrics import MaxMetric
    >>> MaxMetric()(tensor([1.0, 2.0]))
    tensor(2.)
    """

    higher_is_better = True

    def __init__(self, nan_strategy: Any = "warn") -> None:
        super().__init__("max_value", -float("inf"), "max", nan_strategy)

    def update(self, value: Any) -> None:
        """Takes in a number or a tensor of them."""
        numbers = self._cleaned(value, -float("inf"))[0]
        if numbers.numel():
            self.max_value = flambeau.maximum(self.max_value, numbers.max())

    def compute(self) -> Tensor:
        """The largest."""
        return self.max_value.to(flambeau.get_default_dtype())


class MinMetric(_Aggregation):
    """The smallest of all numbers; NaN as in :class:`MeanMetric`.

    >>> from flambeau.trainer.metrics import MinMetric
    >>> MinMetric()(tensor([1.0, 2.0]))
    tensor(1.)
    """

    higher_is_better = False

    def __init__(self, nan_strategy: Any = "warn") -> None:
        super().__init__("min_value", float("inf"), "min", nan_strategy)

    def update(self, value: Any) -> None:
        """Takes in a number or a tensor of them."""
        numbers = self._cleaned(value, float("inf"))[0]
        if numbers.numel():
            self.min_value = flambeau.minimum(self.min_value, numbers.min())

    def compute(self) -> Tensor:
        """The smallest."""
        return self.min_value.to(flambeau.get_default_dtype())
