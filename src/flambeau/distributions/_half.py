"""What the positive halves of distributions around zero share."""

from __future__ import annotations

import math

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import AbsTransform


class HalfDistribution(TransformedDistribution):
    """The absolute value of a draw from ``whole``, which is symmetric around zero."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, whole: Distribution, validate_args: bool | None = None) -> None:
        super().__init__(whole, AbsTransform(), validate_args=validate_args)

    @property
    def scale(self) -> flambeau.Tensor:
        """The scale of the whole distribution."""
        return self.base_dist.scale

    @property
    def mode(self) -> flambeau.Tensor:
        return flambeau.zeros_like(self.scale)

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_prob = self.base_dist.log_prob(value) + math.log(2)
        return flambeau.where(value >= 0, log_prob, -float("inf"))

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> flambeau.Tensor:
        return self.base_dist.entropy() - math.log(2)
