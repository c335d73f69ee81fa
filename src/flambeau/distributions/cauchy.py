"""The Cauchy distribution."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import all_numbers, broadcast_all


class Cauchy(Distribution):
    r"""Heavy tails without a mean: :math:`p(x) = \frac{1}{\pi \gamma (1 + ((x - x_0) /
    \gamma)^2)}`.

    >>> import flambeau as torch
    >>> torch.distributions.Cauchy(0.0, 1.0).cdf(torch.tensor(1.0))
    tensor(0.7500)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        shape = () if all_numbers(loc, scale) else self.loc.size()
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self) -> flambeau.Tensor:
        return flambeau.full_like(self.loc, float("nan"))

    @property
    def mode(self) -> flambeau.Tensor:
        return self.loc

    @property
    def variance(self) -> flambeau.Tensor:
        return flambeau.full_like(self.loc, float("inf"))

    def expand(self, batch_shape: Size, _instance: Any = None) -> Cauchy:
        return self._expanded(
            Cauchy,
            batch_shape,
            _instance,
            loc=self.loc.expand(batch_shape),
            scale=self.scale.expand(batch_shape),
        )

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        return self.loc + self.loc.new_empty(shape).cauchy_() * self.scale

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        scaled = (value - self.loc) / self.scale
        return -math.log(math.pi) - self.scale.log() - (scaled**2).log1p()

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return flambeau.atan((value - self.loc) / self.scale) / math.pi + 0.5

    def icdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> flambeau.Tensor:
        return math.log(4 * math.pi) + self.scale.log()


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Cauchy": "x, positive | y; 0.5, 2.0 | y; !x, -positive",
}
