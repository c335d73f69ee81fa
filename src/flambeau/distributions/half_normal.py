"""The positive half of the normal distribution."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.distributions._half import HalfDistribution
from flambeau.distributions.distribution import Size
from flambeau.distributions.normal import Normal


class HalfNormal(HalfDistribution):
    """The absolute value of a normal draw around zero.

    >>> import flambeau as torch
    >>> torch.distributions.HalfNormal(1.0).cdf(torch.tensor(0.0))
    tensor(0.)
    """

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(0, scale, validate_args=False), validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> HalfNormal:
        return super().expand(batch_shape, self._get_checked_instance(HalfNormal, _instance))

    @property
    def mean(self) -> flambeau.Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> flambeau.Tensor:
        return self.scale.pow(2) * (1 - 2 / math.pi)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.HalfNormal": "positive | positive.flip(0); 2.0 | positive; !-positive",
}
