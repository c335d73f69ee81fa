"""Errors of predicted numbers: mean squared, mean absolute, and R²."""

from __future__ import annotations

from typing import Any, Literal

import flambeau
from flambeau import Tensor
from flambeau.trainer.metrics.inputs import same_shape
from flambeau.trainer.metrics.metric import Metric

__all__ = ["MeanAbsoluteError", "MeanSquaredError", "R2Score"]


def _columns(preds: Tensor, target: Tensor, outputs: int, name: str) -> tuple[Tensor, Tensor]:
    """Both as (N,) in double precision, or (N, outputs) if there are several."""
    same_shape(preds, target)
    if outputs == 1:
        return preds.reshape(-1).double(), target.reshape(-1).double()
    if preds.ndim != 2 or preds.shape[1] != outputs:
        raise ValueError(
            f"{name}: with num_outputs={outputs} the shape must be (N, {outputs}), got "
            f"{list(preds.shape)}"
        )
    return preds.double(), target.double()


class _MeanError(Metric):
    """The mean of a function of the differences."""

    is_differentiable = True
    higher_is_better = False

    def __init__(self, num_outputs: int = 1) -> None:
        super().__init__()
        if not isinstance(num_outputs, int) or num_outputs < 1:
            raise ValueError(f"Expected num_outputs to be a positive integer but got {num_outputs}")
        self.num_outputs = num_outputs
        shape = () if num_outputs == 1 else (num_outputs,)
        self.add_state("sum_error", flambeau.zeros(shape, dtype=flambeau.float64), "sum")
        self.add_state("total", flambeau.tensor(0), "sum")

    def error(self, difference: Tensor) -> Tensor:
        raise NotImplementedError

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes in predictions and targets of the same shape."""
        p, t = _columns(preds, target, self.num_outputs, type(self).__name__)
        self.sum_error = self.sum_error + self.error(p - t).sum(0)
        self.total = self.total + p.shape[0]

    def compute(self) -> Tensor:
        """The mean."""
        return (self.sum_error / self.total).to(flambeau.get_default_dtype())


class MeanSquaredError(_MeanError):
    r"""The mean of the squared differences, or with ``squared=False`` its root.

    .. math:: \frac1N \sum_i (\hat y_i - y_i)^2

    Shapes: predictions and targets alike; a mean for each column of (N, ``num_outputs``) if that is
    more than one.

    Raises: ``RuntimeError`` for different shapes, ``ValueError`` for another number of columns.

    >>> from flambeau.trainer.metrics import MeanSquaredError
    >>> MeanSquaredError()(tensor([0.0, 1.0, 2.0]), tensor([0.0, 1.0, 5.0]))
    tensor(3.)
    """

    def __init__(self, squared: bool = True, num_outputs: int = 1) -> None:
        super().__init__(num_outputs)
        self.squared = squared

    def error(self, difference: Tensor) -> Tensor:
        """The square."""
        return difference * difference

    def compute(self) -> Tensor:
        """The mean, or its root."""
        mean = self.sum_error / self.total
        return (mean if self.squared else mean.sqrt()).to(flambeau.get_default_dtype())


class MeanAbsoluteError(_MeanError):
    r"""The mean of the absolute differences.

    .. math:: \frac1N \sum_i |\hat y_i - y_i|

    Shapes and errors are those of :class:`MeanSquaredError`.

    >>> from flambeau.trainer.metrics import MeanAbsoluteError
    >>> MeanAbsoluteError()(tensor([0.0, 1.0, 2.0]), tensor([0.0, 1.0, 5.0]))
    tensor(1.)
    """

    def error(self, difference: Tensor) -> Tensor:
        """The absolute value."""
        return difference.abs()


class R2Score(Metric):
    r"""The share of the targets' variance that the predictions explain.

    .. math:: 1 - \frac{\sum_i (y_i - \hat y_i)^2}{\sum_i (y_i - \bar y)^2}

    1 if there is neither variance nor error, 0 if there is error only. Means and squared deviations
    of batches are combined [Chan, Golub, LeVeque 1979], so that targets far from zero do no harm.

    Args:
        num_outputs: how many columns there are.
        adjusted: the number of independent regressors :math:`p`; if positive,
            :math:`1 - (1 - R^2) \frac{N - 1}{N - p - 1}`.
        multioutput: "uniform_average" is the mean over columns, "variance_weighted" that mean
            weighted by their variances, "raw_values" a value for each.

    Shapes: (N,), or (N, ``num_outputs``).

    Raises: ``ValueError`` for arguments that do not fit, and if there are fewer than two samples.

    >>> from flambeau.trainer.metrics import R2Score
    >>> R2Score()(tensor([2.5, 0.0, 2, 8]), tensor([3, -0.5, 2, 7]))
    tensor(0.9486)
    """

    is_differentiable = True
    higher_is_better = True

    def __init__(
        self,
        num_outputs: int = 1,
        adjusted: int = 0,
        multioutput: Literal[
            "raw_values", "uniform_average", "variance_weighted"
        ] = "uniform_average",
    ) -> None:
        super().__init__()
        if not isinstance(adjusted, int) or adjusted < 0:
            raise ValueError("`adjusted` parameter should be an integer larger or equal to 0.")
        if multioutput not in ("raw_values", "uniform_average", "variance_weighted"):
            raise ValueError(
                "Invalid input to argument `multioutput`. Choose one of the following: "
                "('raw_values', 'uniform_average', 'variance_weighted')"
            )
        self.num_outputs = num_outputs
        self.adjusted = adjusted
        self.multioutput = multioutput
        for name in ("mean", "deviations", "residuals"):
            self.add_state(name, flambeau.zeros(num_outputs, dtype=flambeau.float64), "sum")
        self.add_state("total", flambeau.tensor(0), "sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes in predictions and targets of the same shape."""
        p, t = _columns(preds, target, self.num_outputs, "R2Score")
        p, t = p.reshape(len(p), -1), t.reshape(len(t), -1)
        if not len(p):
            return
        mean = t.mean(0)
        batch = {
            "mean": mean,
            "deviations": ((t - mean) ** 2).sum(0),
            "residuals": ((t - p) ** 2).sum(0),
            "total": flambeau.tensor(len(p)),
        }
        for name, value in self.merged(self.metric_state, batch, 1, 1).items():
            setattr(self, name, value)

    def merged(
        self, mine: dict[str, Any], other: dict[str, Any], count: int, other_count: int
    ) -> dict[str, Any]:
        """Both halves' mean and squared deviations from it."""
        n, m = mine["total"], other["total"]
        total = n + m
        between = other["mean"] - mine["mean"]
        share = m / total.clamp(min=1)
        return {
            "mean": mine["mean"] + between * share,
            "deviations": mine["deviations"] + other["deviations"] + between**2 * (n * share),
            "residuals": mine["residuals"] + other["residuals"],
            "total": total,
        }

    def check(self) -> None:
        """Raises ``ValueError`` for fewer than two samples."""
        if int(self.total) < 2:
            raise ValueError("Needs at least two samples to calculate r2 score.")

    def compute(self) -> Tensor:
        """The share."""
        spread, errors = self.deviations, self.residuals
        some = spread > 0
        share = flambeau.where(some, 1 - errors / flambeau.where(some, spread, 1.0), 0.0)
        share = flambeau.where(errors == 0, 1.0, share)
        if self.multioutput == "variance_weighted" and self.num_outputs > 1:
            whole = spread.sum()
            weight = flambeau.where(whole > 0, spread / whole, 1 / self.num_outputs)
            share = (share * weight).sum()
        elif self.multioutput == "uniform_average":
            share = share.mean()
        if self.adjusted:
            share = 1 - (1 - share) * (self.total - 1) / (self.total - self.adjusted - 1)
        return share.to(flambeau.get_default_dtype())
