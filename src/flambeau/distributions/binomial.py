"""The binomial distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions._binary import Binary
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import broadcast_all


class Binomial(Binary, Distribution):
    r"""Successes in ``total_count`` trials: :math:`P(k) = \binom{n}{k} p^k (1 - p)^{n - k}`.

    >>> import flambeau as torch
    >>> torch.distributions.Binomial(4, torch.tensor(0.5)).variance
    tensor(1.)
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(
        self,
        total_count: Any = 1,
        probs: flambeau.Tensor | None = None,
        logits: flambeau.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.total_count, param = broadcast_all(total_count, self._given(probs, logits))
        self.total_count = self.total_count.type_as(param)
        self._keep(probs, param)
        super().__init__(self._param.size(), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> flambeau.Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> flambeau.Tensor:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> flambeau.Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def expand(self, batch_shape: Size, _instance: Any = None) -> Binomial:
        known = self._expanded_parameters(batch_shape)
        known["total_count"] = self.total_count.expand(batch_shape)
        return self._expanded(Binomial, batch_shape, _instance, **known)

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        with flambeau.no_grad():
            return flambeau.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        count = self.total_count
        log_choices = (
            flambeau.lgamma(count + 1)
            - flambeau.lgamma(value + 1)
            - flambeau.lgamma(count - value + 1)
        )
        # log(1 + e^x) without overflow, for either sign of x.
        softplus = self.logits.clamp(min=0) + flambeau.log1p(flambeau.exp(-self.logits.abs()))
        return log_choices + value * self.logits - count * softplus

    def entropy(self) -> flambeau.Tensor:
        count = int(self.total_count.max())
        if not self.total_count.min() == count:
            raise NotImplementedError("Inhomogeneous total count not supported by `entropy`.")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(flambeau.exp(log_prob) * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> flambeau.Tensor:
        count = int(self.total_count.max())
        if not self.total_count.min() == count:
            raise NotImplementedError(
                "Inhomogeneous total count not supported by `enumerate_support`."
            )
        values = flambeau.arange(1 + count, dtype=self._param.dtype, device=self._param.device)
        values = values.view((-1, *(1,) * len(self._batch_shape)))
        return values.expand((-1, *self._batch_shape)) if expand else values


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Binomial": (
        "6, unit | k; 6, logits=x | k; torch.tensor([3.0, 4, 5, 6]), unit | k * 0 + 2; "
        "!6, unit, x; !6; !-1, unit"
    ),
}
