"""Batches taken as events."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import sum_rightmost


class Independent(Distribution):
    """Makes the last batch dimensions part of the event: log-probabilities are summed over them.

    Raises:
        ValueError: if ``reinterpreted_batch_ndims`` is more than there are.

    >>> import flambeau as torch
    >>> base = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    >>> torch.distributions.Independent(base, 1).event_shape
    torch.Size([3])
    """

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(
        self,
        base_distribution: Distribution,
        reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:
        shape = base_distribution.batch_shape + base_distribution.event_shape
        if reinterpreted_batch_ndims > len(base_distribution.batch_shape):
            raise ValueError(
                "Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), "
                f"actual {reinterpreted_batch_ndims} vs {len(base_distribution.batch_shape)}"
            )
        event_dim = reinterpreted_batch_ndims + len(base_distribution.event_shape)
        split = len(shape) - event_dim
        self.base_dist = base_distribution
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        super().__init__(shape[:split], shape[split:], validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:
        return self.base_dist.has_rsample

    @property
    def has_enumerate_support(self) -> bool:
        if self.reinterpreted_batch_ndims > 0:
            return False
        return self.base_dist.has_enumerate_support

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        result = self.base_dist.support
        if self.reinterpreted_batch_ndims:
            result = constraints.independent(result, self.reinterpreted_batch_ndims)
        return result

    @property
    def mean(self) -> flambeau.Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> flambeau.Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> flambeau.Tensor:
        return self.base_dist.variance

    def expand(self, batch_shape: Size, _instance: Any = None) -> Independent:
        reinterpreted = self.event_shape[: self.reinterpreted_batch_ndims]
        return self._expanded(
            Independent,
            batch_shape,
            _instance,
            base_dist=self.base_dist.expand((*batch_shape, *reinterpreted)),
            reinterpreted_batch_ndims=self.reinterpreted_batch_ndims,
        )

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        return sum_rightmost(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> flambeau.Tensor:
        return sum_rightmost(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def enumerate_support(self, expand: bool = True) -> flambeau.Tensor:
        if self.reinterpreted_batch_ndims > 0:
            raise NotImplementedError("Enumeration over cartesian product is not implemented")
        return self.base_dist.enumerate_support(expand=expand)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_dist}, {self.reinterpreted_batch_ndims})"


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Independent": (
        "torch.distributions.Normal(x, positive), 1 | y; "
        "torch.distributions.Bernoulli(unit), 2 | truth.float(); "
        "torch.distributions.Normal(x, positive), 0 | y; "
        "!torch.distributions.Normal(x, positive), 3"
    ),
}
