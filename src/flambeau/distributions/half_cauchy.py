"""The positive half of the cauchy distribution."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.cauchy import Cauchy
from flambeau.distributions.distribution import Size
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import AbsTransform


class HalfCauchy(TransformedDistribution):
    """The absolute value of a cauchy draw around zero.

    >>> import flambeau as torch
    >>> torch.distributions.HalfCauchy(1.0).cdf(torch.tensor(0.0))
    tensor(0.)
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        base = Cauchy(0, scale, validate_args=False)
        super().__init__(base, AbsTransform(), validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> HalfCauchy:
        return super().expand(batch_shape, self._get_checked_instance(HalfCauchy, _instance))

    @property
    def scale(self) -> flambeau.Tensor:
        """The scale of the whole distribution."""
        return self.base_dist.scale

    @property
    def mode(self) -> flambeau.Tensor:
        return flambeau.zeros_like(self.scale)

    @property
    def mean(self) -> flambeau.Tensor:
        return flambeau.full_like(self.scale, float("inf"))

    @property
    def variance(self) -> flambeau.Tensor:
        return self.base_dist.variance

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
