"""A continuous relaxation of one-hot categorical distributions."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import ExpTransform
from flambeau.distributions.utils import clamp_probs


class ExpRelaxedCategorical(Distribution):
    """The logarithm of a relaxed one-hot draw [Maddison et al. 2017]."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    # Draws lie on a surface of the space of real vectors.
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        temperature: flambeau.Tensor,
        probs: flambeau.Tensor | None = None,
        logits: flambeau.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._categorical = Categorical(probs, logits)
        self.temperature = temperature
        super().__init__(
            self._categorical.batch_shape,
            self._categorical.param_shape[-1:],
            validate_args=validate_args,
        )

    @property
    def logits(self) -> flambeau.Tensor:
        """The log-probabilities."""
        return self._categorical.logits

    @property
    def probs(self) -> flambeau.Tensor:
        """The probabilities."""
        return self._categorical.probs

    @property
    def param_shape(self) -> flambeau.Size:
        """The shape of the parameter."""
        return self._categorical.param_shape

    def expand(self, batch_shape: Size, _instance: Any = None) -> ExpRelaxedCategorical:
        return self._expanded(
            ExpRelaxedCategorical,
            batch_shape,
            _instance,
            temperature=self.temperature,
            _categorical=self._categorical.expand(batch_shape),
        )

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        u = flambeau.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        gumbels = -((-(clamp_probs(u).log())).log())
        scores = (self.logits + gumbels) / self.temperature
        return scores - scores.logsumexp(dim=-1, keepdim=True)

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        k = self._categorical._num_events
        logits, value = flambeau.broadcast_tensors(self.logits, value)
        log_scale = flambeau.full_like(self.temperature, float(k)).lgamma() - (
            self.temperature.log().mul(-(k - 1))
        )
        scores = logits - value.mul(self.temperature)
        return (scores - scores.logsumexp(dim=-1, keepdim=True)).sum(-1) + log_scale


class RelaxedOneHotCategorical(TransformedDistribution):
    """Probability vectors near to one-hot vectors, that gradients pass through.

    >>> import flambeau as torch
    >>> D = torch.distributions
    >>> D.RelaxedOneHotCategorical(torch.tensor(0.5), torch.tensor([0.3, 0.7])).event_shape
    torch.Size([2])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex
    has_rsample = True

    def __init__(
        self,
        temperature: flambeau.Tensor,
        probs: flambeau.Tensor | None = None,
        logits: flambeau.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> RelaxedOneHotCategorical:
        return super().expand(
            batch_shape, self._get_checked_instance(RelaxedOneHotCategorical, _instance)
        )

    @property
    def temperature(self) -> flambeau.Tensor:
        """How far from one-hot draws are."""
        return self.base_dist.temperature

    @property
    def logits(self) -> flambeau.Tensor:
        """The log-probabilities."""
        return self.base_dist.logits

    @property
    def probs(self) -> flambeau.Tensor:
        """The probabilities."""
        return self.base_dist.probs


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.RelaxedOneHotCategorical": (
        "torch.tensor(0.7), unit | unit.flip(0) / unit.sum(-1, True).flip(0); "
        "torch.tensor(0.7), logits=x; !torch.tensor(0.7), unit, x"
    ),
}
