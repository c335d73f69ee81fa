"""Student's t distribution."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.chi2 import Chi2
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import broadcast_all, standard_normal


class StudentT(Distribution):
    r"""Student's t with ``df`` degrees of freedom, shifted by ``loc`` and scaled by ``scale``.

    >>> import flambeau as torch
    >>> torch.distributions.StudentT(4.0).variance
    tensor(2.)
    """

    arg_constraints = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.size(), validate_args=validate_args)

    @property
    def mean(self) -> flambeau.Tensor:
        return self.loc.masked_fill(self.df <= 1, float("nan"))

    @property
    def mode(self) -> flambeau.Tensor:
        return self.loc

    @property
    def variance(self) -> flambeau.Tensor:
        variance = self.scale.pow(2) * self.df / (self.df - 2)
        variance = variance.masked_fill(self.df <= 2, float("inf"))
        return variance.masked_fill(self.df <= 1, float("nan"))

    def expand(self, batch_shape: Size, _instance: Any = None) -> StudentT:
        return self._expanded(
            StudentT,
            batch_shape,
            _instance,
            df=self.df.expand(batch_shape),
            loc=self.loc.expand(batch_shape),
            scale=self.scale.expand(batch_shape),
            _chi2=self._chi2.expand(batch_shape),
        )

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        normal = standard_normal(self._extended_shape(sample_shape), self.df.dtype, self.df.device)
        squares = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (normal * flambeau.rsqrt(squares / self.df))

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        normaliser = (
            self.scale.log()
            + 0.5 * self.df.log()
            + 0.5 * math.log(math.pi)
            + flambeau.lgamma(0.5 * self.df)
            - flambeau.lgamma(0.5 * (self.df + 1.0))
        )
        return -0.5 * (self.df + 1.0) * flambeau.log1p(y**2.0 / self.df) - normaliser

    def entropy(self) -> flambeau.Tensor:
        log_beta = (
            flambeau.lgamma(0.5 * self.df) + math.lgamma(0.5) - flambeau.lgamma(0.5 * (self.df + 1))
        )
        growth = flambeau.digamma(0.5 * (self.df + 1)) - flambeau.digamma(0.5 * self.df)
        return self.scale.log() + 0.5 * (self.df + 1) * growth + 0.5 * self.df.log() + log_beta


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.StudentT": "2 + positive, x, positive | y; 3.0 | y; 0.5, 1.0, 2.0 | y; !-1.0",
}
