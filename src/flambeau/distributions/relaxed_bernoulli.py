"""A continuous relaxation of the Bernoulli distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions._binary import Binary
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import SigmoidTransform
from flambeau.distributions.utils import all_numbers, broadcast_all, clamp_probs


class LogitRelaxedBernoulli(Binary, Distribution):
    """The log-odds of a relaxed Bernoulli draw [Maddison et al. 2017, Jang et al. 2017]."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        temperature: flambeau.Tensor,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        self.temperature = temperature
        given = self._given(probs, logits)
        self._keep(probs, *broadcast_all(given))
        shape = () if all_numbers(given) else self._param.size()
        super().__init__(shape, validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> LogitRelaxedBernoulli:
        known = self._expanded_parameters(batch_shape)
        known["temperature"] = self.temperature
        return self._expanded(LogitRelaxedBernoulli, batch_shape, _instance, **known)

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(shape))
        u = clamp_probs(flambeau.rand(shape, dtype=probs.dtype, device=probs.device))
        return (u.log() - (-u).log1p() + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        difference = logits - value.mul(self.temperature)
        return self.temperature.log() + difference - 2 * difference.exp().log1p()


class RelaxedBernoulli(TransformedDistribution):
    """Draws between 0 and 1 that gradients pass through; the lower ``temperature``, the nearer to 0
    and 1.

    >>> import flambeau as torch
    >>> torch.distributions.RelaxedBernoulli(torch.tensor(0.5), torch.tensor([0.3])).batch_shape
    torch.Size([1])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self,
        temperature: flambeau.Tensor,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, SigmoidTransform(), validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> RelaxedBernoulli:
        return super().expand(batch_shape, self._get_checked_instance(RelaxedBernoulli, _instance))

    @property
    def temperature(self) -> flambeau.Tensor:
        """How far from 0 and 1 draws are."""
        return self.base_dist.temperature

    @property
    def logits(self) -> flambeau.Tensor:
        """The log-odds of 1."""
        return self.base_dist.logits

    @property
    def probs(self) -> flambeau.Tensor:
        """The probability of 1."""
        return self.base_dist.probs


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.RelaxedBernoulli": (
        "torch.tensor(0.7), unit | unit.flip(0); torch.tensor(0.7), logits=x | unit; "
        "!torch.tensor(0.7), unit, x"
    ),
}
