"""The multinomial distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.binomial import Binomial
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.distribution import Distribution, Size


class Multinomial(Distribution):
    r"""Counts of each category in ``total_count`` draws: :math:`P(x) = n! \prod_k p_k^{x_k} /
    x_k!`.

    >>> import flambeau as torch
    >>> torch.distributions.Multinomial(4, torch.tensor([1.0, 3.0])).mean
    tensor([1., 3.])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self,
        total_count: int = 1,
        probs: flambeau.Tensor | None = None,
        logits: flambeau.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs=probs, logits=logits)
        self._binomial = Binomial(total_count=total_count, probs=self.probs)
        super().__init__(
            self._categorical.batch_shape,
            self._categorical.param_shape[-1:],
            validate_args=validate_args,
        )

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        return constraints.multinomial(self.total_count)

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

    @property
    def mean(self) -> flambeau.Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> flambeau.Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def expand(self, batch_shape: Size, _instance: Any = None) -> Multinomial:
        categorical = self._categorical.expand(batch_shape)
        return self._expanded(
            Multinomial,
            batch_shape,
            _instance,
            total_count=self.total_count,
            _categorical=categorical,
            _binomial=Binomial(self.total_count, categorical.probs, validate_args=False),
        )

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        sample_shape = tuple(sample_shape)
        draws = self._categorical.sample((self.total_count, *sample_shape))
        draws = draws.permute(*range(1, draws.dim()), 0)
        counts = draws.new_zeros(self._extended_shape(sample_shape))
        counts.scatter_add_(-1, draws, flambeau.ones_like(draws))
        return counts.type_as(self.probs)

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = flambeau.broadcast_tensors(self.logits, value)
        # 0 * log(0) is 0.
        logits = logits.masked_fill((value == 0) & (logits == -float("inf")), 0)
        return (
            flambeau.lgamma(value.sum(-1) + 1)
            - flambeau.lgamma(value + 1).sum(-1)
            + (logits * value).sum(-1)
        )

    def entropy(self) -> flambeau.Tensor:
        count = flambeau.tensor(self.total_count, dtype=self.probs.dtype, device=self.probs.device)
        categories = self._categorical.entropy()
        support = self._binomial.enumerate_support(expand=False)[1:]
        weights = flambeau.exp(self._binomial.log_prob(support))
        orders = (weights * flambeau.lgamma(support + 1)).sum((0, -1))
        return count * categories - flambeau.lgamma(count + 1) + orders


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Multinomial": (
        "6, unit | torch.tensor([[1.0, 2, 3, 0], [6, 0, 0, 0], [2, 2, 1, 1]]); "
        "6, logits=x | torch.tensor([1.0, 2, 3, 0]); 4, torch.tensor([0.25, 0.75]); !6, unit, x; "
        "!unit, unit"
    ),
}
