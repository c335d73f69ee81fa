"""The Poisson distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Size
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import all_numbers, broadcast_all


class Poisson(ExponentialFamily):
    r"""Counts of events with a ``rate``: :math:`P(k) = \lambda^k e^{-\lambda} / k!`.

    >>> import flambeau as torch
    >>> torch.distributions.Poisson(4.0).stddev
    tensor(2.)
    """

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        shape = () if all_numbers(rate) else self.rate.size()
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self) -> flambeau.Tensor:
        return self.rate

    @property
    def mode(self) -> flambeau.Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> flambeau.Tensor:
        return self.rate

    def expand(self, batch_shape: Size, _instance: Any = None) -> Poisson:
        return self._expanded(Poisson, batch_shape, _instance, rate=self.rate.expand(batch_shape))

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        with flambeau.no_grad():
            return flambeau.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return flambeau.xlogy(value, rate) - rate - (value + 1).lgamma()

    @property
    def _natural_params(self) -> tuple[flambeau.Tensor]:
        return (flambeau.log(self.rate),)

    def _log_normalizer(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.exp(x)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Poisson": "positive | k; 2.0 | k; !-positive",
}
