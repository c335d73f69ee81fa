"""The gamma distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Size
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import all_numbers, broadcast_all


class Gamma(ExponentialFamily):
    r"""Gamma with shape ``concentration`` and ``rate``.

    .. math:: p(x) = \frac{\beta^\alpha}{\Gamma(\alpha)} x^{\alpha - 1} e^{-\beta x}

    >>> import flambeau as torch
    >>> torch.distributions.Gamma(3.0, 2.0).mean
    tensor(1.5000)
    """

    arg_constraints = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        shape = () if all_numbers(concentration, rate) else self.concentration.size()
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self) -> flambeau.Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> flambeau.Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> flambeau.Tensor:
        return self.concentration / self.rate.pow(2)

    def expand(self, batch_shape: Size, _instance: Any = None) -> Gamma:
        return self._expanded(
            Gamma,
            batch_shape,
            _instance,
            concentration=self.concentration.expand(batch_shape),
            rate=self.rate.expand(batch_shape),
        )

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        draws = flambeau._standard_gamma(self.concentration.expand(shape))
        draws = draws / self.rate.expand(shape)
        # Zero has no logarithm.
        draws.detach().clamp_(min=flambeau.finfo(draws.dtype).tiny)
        return draws

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        value = flambeau.as_tensor(value, dtype=self.rate.dtype, device=self.rate.device)
        if self._validate_args:
            self._validate_sample(value)
        return (
            flambeau.xlogy(self.concentration, self.rate)
            + flambeau.xlogy(self.concentration - 1, value)
            - self.rate * value
            - flambeau.lgamma(self.concentration)
        )

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return flambeau.special.gammainc(self.concentration, self.rate * value)

    def entropy(self) -> flambeau.Tensor:
        return (
            self.concentration
            - flambeau.log(self.rate)
            + flambeau.lgamma(self.concentration)
            + (1.0 - self.concentration) * flambeau.digamma(self.concentration)
        )

    @property
    def _natural_params(self) -> tuple[flambeau.Tensor, flambeau.Tensor]:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.lgamma(x + 1) + (x + 1) * flambeau.log(-y.reciprocal())


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Gamma": (
        "positive, 9 * unit | positive; 3.0, 5.0 | positive; !positive, -positive"
    ),
}
