"""The exponential distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Size
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import all_numbers, broadcast_all


class Exponential(ExponentialFamily):
    r"""Waiting times of events with a ``rate``: :math:`p(x) = \lambda e^{-\lambda x}`.

    >>> import flambeau as torch
    >>> torch.distributions.Exponential(2.0).mean
    tensor(0.5000)
    """

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        shape = () if all_numbers(rate) else self.rate.size()
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self) -> flambeau.Tensor:
        return self.rate.reciprocal()

    @property
    def mode(self) -> flambeau.Tensor:
        return flambeau.zeros_like(self.rate)

    @property
    def stddev(self) -> flambeau.Tensor:
        return self.rate.reciprocal()

    @property
    def variance(self) -> flambeau.Tensor:
        return self.rate.pow(-2)

    def expand(self, batch_shape: Size, _instance: Any = None) -> Exponential:
        return self._expanded(
            Exponential, batch_shape, _instance, rate=self.rate.expand(batch_shape)
        )

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        return self.rate.new_empty(shape).exponential_() / self.rate

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return 1 - flambeau.exp(-self.rate * value)

    def icdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        return -flambeau.log1p(-value) / self.rate

    def entropy(self) -> flambeau.Tensor:
        return 1.0 - flambeau.log(self.rate)

    @property
    def _natural_params(self) -> tuple[flambeau.Tensor]:
        return (-self.rate,)

    def _log_normalizer(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return -flambeau.log(-x)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Exponential": "positive | positive; 2.0 | positive; !-positive",
}
