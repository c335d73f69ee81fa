"""The geometric distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import (
    all_numbers,
    broadcast_all,
    lazy_property,
    logits_to_probs,
    one_of_probs_and_logits,
    probs_to_logits,
)


class Geometric(Distribution):
    r"""Failures before the first success: :math:`P(k) = (1 - p)^k p`.

    >>> import flambeau as torch
    >>> torch.distributions.Geometric(0.25).mean
    tensor(3.)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        one_of_probs_and_logits(probs, logits)
        given = logits if probs is None else probs
        (param,) = broadcast_all(given)
        if probs is not None:
            self.probs = param
        else:
            self.logits = param
        super().__init__(() if all_numbers(given) else param.size(), validate_args=validate_args)
        if self._validate_args and probs is not None and not (self.probs > 0).all():
            found = self.probs[self.probs <= 0]
            raise ValueError(
                f"Expected parameter probs ({type(param).__name__} of shape "
                f"{tuple(param.shape)}) of distribution {self!r} to be positive "
                f"but found invalid values:\n{found}"
            )

    @lazy_property
    def logits(self) -> flambeau.Tensor:
        """The log-odds of success."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> flambeau.Tensor:
        """The probability of success."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def mean(self) -> flambeau.Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> flambeau.Tensor:
        return flambeau.zeros_like(self.probs)

    @property
    def variance(self) -> flambeau.Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def expand(self, batch_shape: Size, _instance: Any = None) -> Geometric:
        known = {
            name: self.__dict__[name].expand(batch_shape)
            for name in ("probs", "logits")
            if name in self.__dict__
        }
        return self._expanded(Geometric, batch_shape, _instance, **known)

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        tiny = flambeau.finfo(self.probs.dtype).tiny
        with flambeau.no_grad():
            u = self.probs.new_empty(shape).uniform_(tiny, 1)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        # Where success is certain and comes at once, 0 * log(0) is 0.
        certain = (probs == 1) & (value == 0)
        return value * (-probs.masked_fill(certain, 0)).log1p() + self.probs.log()

    def entropy(self) -> flambeau.Tensor:
        return (
            flambeau.nn.functional.binary_cross_entropy_with_logits(
                self.logits, self.probs, reduction="none"
            )
            / self.probs
        )


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Geometric": "unit | k; logits=x | k; 0.5; !unit, x; !; !2.0",
}
