"""The generalised Pareto distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import all_numbers, broadcast_all


class GeneralizedPareto(Distribution):
    r"""What exceeds a high threshold ``loc``: with ``scale`` :math:`\sigma` and ``concentration``
    :math:`\xi`, the distribution function is

    .. math:: 1 - (1 + \xi z)^{-1 / \xi}, \quad z = (x - \mu) / \sigma

    which for :math:`\xi = 0` is exponential.

    >>> import flambeau as torch
    >>> torch.distributions.GeneralizedPareto(1.0, 2.0, 0.5).mean
    tensor(5.)
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True

    def __init__(
        self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        shape = () if all_numbers(loc, scale, concentration) else self.loc.size()
        super().__init__(shape, validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> GeneralizedPareto:
        return self._expanded(
            GeneralizedPareto,
            batch_shape,
            _instance,
            loc=self.loc.expand(batch_shape),
            scale=self.scale.expand(batch_shape),
            concentration=self.concentration.expand(batch_shape),
        )

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        end = self.loc - self.scale / self.concentration
        upper = flambeau.where(self.concentration < 0, end, float("inf"))
        return constraints.interval(self.loc, upper)

    def _split(self) -> tuple[flambeau.Tensor, flambeau.Tensor]:
        """Where the concentration is zero, and the concentration with ones there."""
        zero = flambeau.isclose(self.concentration, flambeau.zeros_like(self.concentration))
        return zero, flambeau.where(zero, 1.0, self.concentration)

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        return self.icdf(flambeau.rand(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        z = (value - self.loc) / self.scale
        zero, safe = self._split()
        power = 1 / safe + 1
        fall = flambeau.where(power == 0, power, power * flambeau.log1p(safe * z))
        return -self.scale.log() - flambeau.where(zero, z, fall)

    def log_survival_function(self, value: flambeau.Tensor) -> flambeau.Tensor:
        """The logarithm of the probability of being above ``value``."""
        if self._validate_args:
            self._validate_sample(value)
        z = (value - self.loc) / self.scale
        zero, safe = self._split()
        return -flambeau.where(zero, z, flambeau.log1p(safe * z) / safe)

    def log_cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        """The logarithm of :meth:`cdf`."""
        return flambeau.log1p(-self.log_survival_function(value).exp())

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        return self.log_cdf(value).exp()

    def icdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        rest = flambeau.log1p(-value)
        zero, safe = self._split()
        power = self.loc + self.scale * flambeau.expm1(-safe * rest) / safe
        return flambeau.where(zero, self.loc - self.scale * rest, power)

    @property
    def mean(self) -> flambeau.Tensor:
        mean = self.loc + self.scale / (1 - self.concentration)
        return flambeau.where(self.concentration < 1, mean, float("nan"))

    @property
    def mode(self) -> flambeau.Tensor:
        return self.loc

    @property
    def variance(self) -> flambeau.Tensor:
        k = self.concentration
        variance = self.scale.pow(2) / ((1 - k).pow(2) * (1 - 2 * k))
        return flambeau.where(k < 0.5, variance, float("nan"))

    def entropy(self) -> flambeau.Tensor:
        return flambeau.log(self.scale) + self.concentration + 1


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.GeneralizedPareto": (
        "x, positive, unit | x + 0.5; 0.0, 2.0, 0.0 | positive; !x, -positive, unit"
    ),
}
