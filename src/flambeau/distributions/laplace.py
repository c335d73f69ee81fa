"""The Laplace distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import all_numbers, broadcast_all


class Laplace(Distribution):
    r"""Double exponential: :math:`p(x) = \frac{1}{2 b} e^{-|x - \mu| / b}`.

    >>> import flambeau as torch
    >>> torch.distributions.Laplace(0.0, 1.0).variance
    tensor(2.)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        shape = () if all_numbers(loc, scale) else self.loc.size()
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self) -> flambeau.Tensor:
        return self.loc

    @property
    def mode(self) -> flambeau.Tensor:
        return self.loc

    @property
    def variance(self) -> flambeau.Tensor:
        return 2 * self.scale.pow(2)

    @property
    def stddev(self) -> flambeau.Tensor:
        return 2**0.5 * self.scale

    def expand(self, batch_shape: Size, _instance: Any = None) -> Laplace:
        return self._expanded(
            Laplace,
            batch_shape,
            _instance,
            loc=self.loc.expand(batch_shape),
            scale=self.scale.expand(batch_shape),
        )

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        eps = flambeau.finfo(self.loc.dtype).eps
        u = self.loc.new_empty(shape).uniform_(eps - 1, 1)
        return self.loc - self.scale * u.sign() * flambeau.log1p(-u.abs())

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = flambeau.abs(value - self.loc)
        return -flambeau.log(2 * self.scale) - distance / self.scale

    def cdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = value - self.loc
        return 0.5 - 0.5 * distance.sign() * flambeau.expm1(-distance.abs() / self.scale)

    def icdf(self, value: flambeau.Tensor) -> flambeau.Tensor:
        term = value - 0.5
        return self.loc - self.scale * term.sign() * flambeau.log1p(-2 * term.abs())

    def entropy(self) -> flambeau.Tensor:
        return 1 + flambeau.log(2 * self.scale)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Laplace": "x, positive | y; 0.5, 2.0 | y; !x, -positive",
}
