"""The Kumaraswamy distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Size
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import AffineTransform, PowerTransform
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import broadcast_all, euler_constant


class Kumaraswamy(TransformedDistribution):
    r"""Much like the beta distribution, with a distribution function in closed form:
    :math:`1 - (1 - x^a)^b`, with ``concentration1`` :math:`a` and ``concentration0`` :math:`b`.

    >>> import flambeau as torch
    >>> torch.distributions.Kumaraswamy(1.0, 1.0).mean
    tensor(0.5000)
    """

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        base = Uniform(
            flambeau.zeros_like(self.concentration0),
            flambeau.ones_like(self.concentration0),
            validate_args=validate_args,
        )
        transforms = [
            PowerTransform(exponent=self.concentration0.reciprocal()),
            AffineTransform(loc=1.0, scale=-1.0),
            PowerTransform(exponent=self.concentration1.reciprocal()),
        ]
        super().__init__(base, transforms, validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> TransformedDistribution:
        new = self._get_checked_instance(Kumaraswamy, _instance)
        new.concentration1 = self.concentration1.expand(batch_shape)
        new.concentration0 = self.concentration0.expand(batch_shape)
        return super().expand(batch_shape, new)

    def _moment(self, n: int) -> flambeau.Tensor:
        """:math:`b B(1 + n / a, b)`."""
        a, b = 1 + n / self.concentration1, self.concentration0
        log_beta = flambeau.lgamma(a) + flambeau.lgamma(b) - flambeau.lgamma(a + b)
        return b * flambeau.exp(log_beta)

    @property
    def mean(self) -> flambeau.Tensor:
        return self._moment(1)

    @property
    def mode(self) -> flambeau.Tensor:
        a, b = self.concentration1, self.concentration0
        mode = ((a - 1) / (a * b - 1)) ** a.reciprocal()
        return flambeau.where((a < 1) | (b < 1), float("nan"), mode)

    @property
    def variance(self) -> flambeau.Tensor:
        return self._moment(2) - self.mean.pow(2)

    def entropy(self) -> flambeau.Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = flambeau.digamma(b + 1) + euler_constant
        return (1 - b.reciprocal()) + (1 - a.reciprocal()) * harmonic - a.log() - b.log()


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Kumaraswamy": "positive, 9 * unit | unit; !positive, -positive",
}
