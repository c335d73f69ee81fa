"""The negative binomial distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions._binary import Binary
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.utils import broadcast_all


class NegativeBinomial(Binary, Distribution):
    r"""Successes, each of probability ``probs``, before ``total_count`` failures.

    .. math:: P(k) = \binom{n + k - 1}{k} (1 - p)^n p^k

    ``total_count`` need not be an integer. A draw is a Poisson draw with a gamma distributed rate.

    >>> import flambeau as torch
    >>> torch.distributions.NegativeBinomial(3.0, torch.tensor(0.5)).variance
    tensor(6.)
    """

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self,
        total_count: Any,
        probs: flambeau.Tensor | None = None,
        logits: flambeau.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.total_count, param = broadcast_all(total_count, self._given(probs, logits))
        self.total_count = self.total_count.type_as(param)
        self._keep(probs, param)
        super().__init__(self._param.size(), validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> NegativeBinomial:
        known = self._expanded_parameters(batch_shape)
        known["total_count"] = self.total_count.expand(batch_shape)
        return self._expanded(NegativeBinomial, batch_shape, _instance, **known)

    @property
    def mean(self) -> flambeau.Tensor:
        return self.total_count * flambeau.exp(self.logits)

    @property
    def mode(self) -> flambeau.Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> flambeau.Tensor:
        return self.mean / flambeau.sigmoid(-self.logits)

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        with flambeau.no_grad():
            # No count, no success: a rate whose shape is 0 is not validated.
            rates = Gamma(self.total_count, flambeau.exp(-self.logits), validate_args=False)
            return flambeau.poisson(rates.sample(sample_shape))

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logsigmoid = flambeau.nn.functional.logsigmoid
        chances = self.total_count * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        ways = (
            (self.total_count + value).lgamma() - (1.0 + value).lgamma() - self.total_count.lgamma()
        )
        return chances + ways.masked_fill(self.total_count + value == 0.0, 0.0)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.NegativeBinomial": (
        "5, unit | k; positive, logits=x | k; 4.0, 0.3; !5, unit, x; !-1, unit"
    ),
}
