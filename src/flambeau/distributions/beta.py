"""The beta distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.dirichlet import Dirichlet
from flambeau.distributions.distribution import Size
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import broadcast_all


class Beta(ExponentialFamily):
    r"""Probabilities, :math:`p(x) \propto x^{\alpha - 1} (1 - x)^{\beta - 1}`.

    ``concentration1`` is :math:`\alpha`, ``concentration0`` is :math:`\beta`.

    >>> import flambeau as torch
    >>> torch.distributions.Beta(1.0, 3.0).mean
    tensor(0.2500)
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
        pair = flambeau.stack(broadcast_all(concentration1, concentration0), -1)
        self._dirichlet = Dirichlet(pair, validate_args=validate_args)
        super().__init__(self._dirichlet._batch_shape, validate_args=validate_args)

    @property
    def concentration1(self) -> flambeau.Tensor:
        """The weight of 1."""
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> flambeau.Tensor:
        """The weight of 0."""
        return self._dirichlet.concentration[..., 1]

    @property
    def mean(self) -> flambeau.Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> flambeau.Tensor:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> flambeau.Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def expand(self, batch_shape: Size, _instance: Any = None) -> Beta:
        return self._expanded(
            Beta, batch_shape, _instance, _dirichlet=self._dirichlet.expand(batch_shape)
        )

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        return self._dirichlet.rsample(sample_shape).select(-1, 0)

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._dirichlet.log_prob(flambeau.stack([value, 1.0 - value], -1))

    def entropy(self) -> flambeau.Tensor:
        return self._dirichlet.entropy()

    @property
    def _natural_params(self) -> tuple[flambeau.Tensor, flambeau.Tensor]:
        return self.concentration1, self.concentration0

    def _log_normalizer(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.lgamma(x) + flambeau.lgamma(y) - flambeau.lgamma(x + y)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Beta": (
        "positive, 1 + unit | unit # loose; 0.5, 2.0 | unit; !-1.0, 1.0; !x - 9, positive"
    ),
}
