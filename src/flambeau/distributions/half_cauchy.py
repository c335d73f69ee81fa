"""The positive half of the Cauchy distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions._half import HalfDistribution
from flambeau.distributions.cauchy import Cauchy
from flambeau.distributions.distribution import Size


class HalfCauchy(HalfDistribution):
    """The absolute value of a Cauchy draw around zero.

    >>> import flambeau as torch
    >>> torch.distributions.HalfCauchy(1.0).cdf(torch.tensor(0.0))
    tensor(0.)
    """

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Cauchy(0, scale, validate_args=False), validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> HalfCauchy:
        return super().expand(batch_shape, self._get_checked_instance(HalfCauchy, _instance))

    @property
    def mean(self) -> flambeau.Tensor:
        return flambeau.full_like(self.scale, float("inf"))

    @property
    def variance(self) -> flambeau.Tensor:
        return self.base_dist.variance


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.HalfCauchy": "positive | positive.flip(0); 2.0 | positive; !-positive",
}
