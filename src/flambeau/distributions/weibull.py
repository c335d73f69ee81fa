"""The Weibull distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Size
from flambeau.distributions.exponential import Exponential
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import AffineTransform, PowerTransform
from flambeau.distributions.utils import broadcast_all, euler_constant


class Weibull(TransformedDistribution):
    r"""Weibull: the distribution function is :math:`1 - e^{-(x / \lambda)^k}`, with ``scale``
    :math:`\lambda` and ``concentration`` :math:`k`.

    >>> import flambeau as torch
    >>> torch.distributions.Weibull(2.0, 1.0).mean
    tensor(2.)
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all(scale, concentration)
        self.concentration_reciprocal = self.concentration.reciprocal()
        base = Exponential(flambeau.ones_like(self.scale), validate_args=validate_args)
        super().__init__(base, self._steps(), validate_args=validate_args)

    def _steps(self) -> list[Any]:
        return [
            PowerTransform(exponent=self.concentration_reciprocal),
            AffineTransform(loc=0, scale=self.scale),
        ]

    def expand(self, batch_shape: Size, _instance: Any = None) -> TransformedDistribution:
        new = self._get_checked_instance(Weibull, _instance)
        new.scale = self.scale.expand(batch_shape)
        new.concentration = self.concentration.expand(batch_shape)
        new.concentration_reciprocal = new.concentration.reciprocal()
        base = self.base_dist.expand(batch_shape)
        TransformedDistribution.__init__(new, base, new._steps(), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _moment(self, n: int) -> flambeau.Tensor:
        """The moment of order ``n`` for scale 1."""
        return flambeau.exp(flambeau.lgamma(1 + n * self.concentration_reciprocal))

    @property
    def mean(self) -> flambeau.Tensor:
        return self.scale * self._moment(1)

    @property
    def mode(self) -> flambeau.Tensor:
        inner = (self.concentration - 1) / self.concentration
        return self.scale * inner**self.concentration_reciprocal

    @property
    def variance(self) -> flambeau.Tensor:
        return self.scale.pow(2) * (self._moment(2) - self._moment(1).pow(2))

    def entropy(self) -> flambeau.Tensor:
        shape = self.concentration_reciprocal
        return euler_constant * (1 - shape) + flambeau.log(self.scale * shape) + 1


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Weibull": (
        "positive, 1 + unit | positive; 0.5, 2.0 | positive; !positive, -positive"
    ),
}
