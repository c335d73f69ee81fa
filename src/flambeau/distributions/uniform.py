"""The uniform distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import all_numbers, broadcast_all


class Uniform(Distribution):
    """Uniform on ``[low, high)``.

    >>> import flambeau as torch
    >>> torch.distributions.Uniform(0.0, 4.0).mean
    tensor(2.)
    """

    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all(low, high)
        shape = () if all_numbers(low, high) else self.low.size()
        super().__init__(shape, validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        return {
            "low": constraints.less_than(self.high),
            "high": constraints.greater_than(self.low),
        }

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> flambeau.Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> flambeau.Tensor:
        return self.high * float("nan")

    @property
    def stddev(self) -> flambeau.Tensor:
        return (self.high - self.low) / 12**0.5

    @property
    def variance(self) -> flambeau.Tensor:
        return (self.high - self.low).pow(2) / 12

    def expand(self, batch_shape: Size, _instance: Any = None) -> Uniform:
        return self._expanded(
            Uniform,
            batch_shape,
            _instance,
            low=self.low.expand(batch_shape),
            high=self.high.expand(batch_shape),
        )

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        draws = flambeau.rand(shape, dtype=self.low.dtype, device=self.low.device)
        return self.low + draws * (self.high - self.low)

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        above = self.low.le(value).type_as(self.low)
        below = self.high.gt(value).type_as(self.low)
        return flambeau.log(above.mul(below)) - flambeau.log(self.high - self.low)

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(min=0, max=1)

    def icdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> flambeau.Tensor:
        return flambeau.log(self.high - self.low)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Uniform": (
        "x, x + positive | x + 0.1 * positive; 0.0, 2.0 | unit; !x, x - positive"
    ),
}
