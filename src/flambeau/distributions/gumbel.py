"""The Gumbel distribution."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Size
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import AffineTransform, ExpTransform
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import all_numbers, broadcast_all, euler_constant


class Gumbel(TransformedDistribution):
    r"""Maxima of many draws: the distribution function is :math:`\exp(-e^{-(x - \mu) / \beta})`.

    >>> import flambeau as torch
    >>> torch.distributions.Gumbel(0.0, 1.0).mean
    tensor(0.5772)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        info = flambeau.finfo(self.loc.dtype)
        if all_numbers(loc, scale):
            base = Uniform(info.tiny, 1 - info.eps, validate_args=validate_args)
        else:
            base = Uniform(
                flambeau.full_like(self.loc, info.tiny),
                flambeau.full_like(self.loc, 1 - info.eps),
                validate_args=validate_args,
            )
        super().__init__(base, self._steps(), validate_args=validate_args)

    def _steps(self) -> list[Any]:
        return [
            ExpTransform().inv,
            AffineTransform(loc=0, scale=-flambeau.ones_like(self.scale)),
            ExpTransform().inv,
            AffineTransform(loc=self.loc, scale=-self.scale),
        ]

    def expand(self, batch_shape: Size, _instance: Any = None) -> Gumbel:
        new = self._get_checked_instance(Gumbel, _instance)
        new.loc = self.loc.expand(batch_shape)
        new.scale = self.scale.expand(batch_shape)
        return super().expand(batch_shape, new)

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    @property
    def mean(self) -> flambeau.Tensor:
        return self.loc + self.scale * euler_constant

    @property
    def mode(self) -> flambeau.Tensor:
        return self.loc

    @property
    def stddev(self) -> flambeau.Tensor:
        return (math.pi / math.sqrt(6)) * self.scale

    @property
    def variance(self) -> flambeau.Tensor:
        return self.stddev.pow(2)

    def entropy(self) -> flambeau.Tensor:
        return self.scale.log() + (1 + euler_constant)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Gumbel": "x, positive | y; 0.5, 2.0 | y; !x, -positive",
}
