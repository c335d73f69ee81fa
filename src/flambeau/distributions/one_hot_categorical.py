"""Categorical distributions over one-hot vectors."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.distribution import Distribution, Size


class OneHotCategorical(Distribution):
    """One of ``K`` categories, as a vector with a single 1.

    >>> import flambeau as torch
    >>> torch.distributions.OneHotCategorical(torch.tensor([1.0, 3.0])).mode
    tensor([0., 1.])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(
        self,
        probs: flambeau.Tensor | None = None,
        logits: flambeau.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._categorical = Categorical(probs, logits)
        super().__init__(
            self._categorical.batch_shape,
            self._categorical.param_shape[-1:],
            validate_args=validate_args,
        )

    @property
    def probs(self) -> flambeau.Tensor:
        """The probabilities."""
        return self._categorical.probs

    @property
    def logits(self) -> flambeau.Tensor:
        """The log-probabilities."""
        return self._categorical.logits

    @property
    def param_shape(self) -> flambeau.Size:
        """The shape of the parameter."""
        return self._categorical.param_shape

    @property
    def mean(self) -> flambeau.Tensor:
        return self.probs

    @property
    def mode(self) -> flambeau.Tensor:
        return self._one_hot(self.probs.argmax(dim=-1))

    @property
    def variance(self) -> flambeau.Tensor:
        return self.probs * (1 - self.probs)

    def expand(self, batch_shape: Size, _instance: Any = None) -> OneHotCategorical:
        return self._expanded(
            OneHotCategorical,
            batch_shape,
            _instance,
            _categorical=self._categorical.expand(batch_shape),
        )

    def _one_hot(self, indices: flambeau.Tensor) -> flambeau.Tensor:
        count = self._categorical._num_events
        return flambeau.nn.functional.one_hot(indices, count).to(self.probs)

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        return self._one_hot(self._categorical.sample(sample_shape)).detach()

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._categorical.log_prob(value.max(-1)[1])

    def entropy(self) -> flambeau.Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> flambeau.Tensor:
        n = self.event_shape[0]
        values = flambeau.eye(n, dtype=self.probs.dtype, device=self.probs.device)
        values = values.view((n, *(1,) * len(self.batch_shape), n))
        return values.expand((n, *self.batch_shape, n)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """One-hot draws that pass gradients to the probabilities [Bengio et al. 2013]."""

    has_rsample = True

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        draws = self.sample(sample_shape)
        return draws + (self.probs - self.probs.detach())


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.OneHotCategorical": (
        "unit | F.one_hot(labels, 4).float(); logits=x | F.one_hot(labels, 4).float(); "
        "torch.tensor([0.25, 0.75]); !unit, x"
    ),
    "distributions.OneHotCategoricalStraightThrough": (
        "unit | F.one_hot(labels, 4).float(); logits=x | F.one_hot(labels, 4).float(); !unit, x"
    ),
}
