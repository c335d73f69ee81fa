"""The categorical distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import (
    lazy_property,
    logits_to_probs,
    one_of_probs_and_logits,
    probs_to_logits,
)


class Categorical(Distribution):
    r"""One of ``K`` categories, from probabilities or unnormalised log-probabilities in the last
    dimension.

    >>> import flambeau as torch
    >>> torch.distributions.Categorical(torch.tensor([1.0, 3.0])).probs
    tensor([0.2500, 0.7500])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(
        self,
        probs: flambeau.Tensor | None = None,
        logits: flambeau.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        one_of_probs_and_logits(probs, logits)
        if probs is not None:
            if probs.dim() < 1:
                raise ValueError("`probs` parameter must be at least one-dimensional.")
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            if logits.dim() < 1:
                raise ValueError("`logits` parameter must be at least one-dimensional.")
            self.logits = logits - logits.logsumexp(dim=-1, keepdim=True)
        self._param = self.probs if probs is not None else self.logits
        self._num_events = self._param.size()[-1]
        super().__init__(self._param.size()[:-1], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @lazy_property
    def logits(self) -> flambeau.Tensor:
        """The log-probabilities."""
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self) -> flambeau.Tensor:
        """The probabilities."""
        return logits_to_probs(self.logits)

    @property
    def param_shape(self) -> flambeau.Size:
        """The shape of the parameter."""
        return self._param.size()

    @property
    def mean(self) -> flambeau.Tensor:
        return flambeau.full_like(self.probs[..., 0], float("nan"))

    @property
    def mode(self) -> flambeau.Tensor:
        return self.probs.argmax(dim=-1)

    @property
    def variance(self) -> flambeau.Tensor:
        return flambeau.full_like(self.probs[..., 0], float("nan"))

    def expand(self, batch_shape: Size, _instance: Any = None) -> Categorical:
        shape = (*batch_shape, self._num_events)
        known = {
            name: self.__dict__[name].expand(shape)
            for name in ("probs", "logits")
            if name in self.__dict__
        }
        known["_param"] = self._param.expand(shape)
        known["_num_events"] = self._num_events
        return self._expanded(Categorical, batch_shape, _instance, **known)

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        sample_shape = flambeau.Size(sample_shape)
        probs = self.probs.reshape(-1, self._num_events)
        with flambeau.no_grad():
            draws = flambeau.multinomial(probs, sample_shape.numel(), True).T
        return draws.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value = value.long().unsqueeze(-1)
        value, log_probs = flambeau.broadcast_tensors(value, self.logits)
        return log_probs.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self) -> flambeau.Tensor:
        smallest = flambeau.finfo(self.logits.dtype).min
        return -(self.logits.clamp(min=smallest) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> flambeau.Tensor:
        values = flambeau.arange(self._num_events, dtype=flambeau.long, device=self._param.device)
        values = values.view((-1, *(1,) * len(self._batch_shape)))
        return values.expand((-1, *self._batch_shape)) if expand else values


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Categorical": (
        "unit | labels; logits=x | labels; torch.tensor([0.25, 0.75]); !unit, x; !; !s"
    ),
}
