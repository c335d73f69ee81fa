"""The Dirichlet distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Size
from flambeau.distributions.exp_family import ExponentialFamily


class Dirichlet(ExponentialFamily):
    r"""Probability vectors, :math:`p(x) \propto \prod_k x_k^{\alpha_k - 1}`, with ``concentration``
    :math:`\alpha`.

    >>> import flambeau as torch
    >>> torch.distributions.Dirichlet(torch.tensor([1.0, 3.0])).mean
    tensor([0.2500, 0.7500])
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: flambeau.Tensor, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(
            concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args
        )

    @property
    def mean(self) -> flambeau.Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> flambeau.Tensor:
        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        # Where every concentration is below one, the density is infinite in each corner: PyTorch
        # gives the first.
        corner = (self.concentration < 1).all(dim=-1, keepdim=True)
        first = flambeau.zeros_like(mode)
        first[..., 0] = 1.0
        return flambeau.where(corner, first, mode)

    @property
    def variance(self) -> flambeau.Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def expand(self, batch_shape: Size, _instance: Any = None) -> Dirichlet:
        concentration = self.concentration.expand((*batch_shape, *self._event_shape))
        return self._expanded(Dirichlet, batch_shape, _instance, concentration=concentration)

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        return flambeau._sample_dirichlet(self.concentration.expand(shape))

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (
            flambeau.xlogy(self.concentration - 1.0, value).sum(-1)
            + flambeau.lgamma(self.concentration.sum(-1))
            - flambeau.lgamma(self.concentration).sum(-1)
        )

    def entropy(self) -> flambeau.Tensor:
        k = self.concentration.size(-1)
        total = self.concentration.sum(-1)
        return (
            flambeau.lgamma(self.concentration).sum(-1)
            - flambeau.lgamma(total)
            - (k - total) * flambeau.digamma(total)
            - ((self.concentration - 1.0) * flambeau.digamma(self.concentration)).sum(-1)
        )

    @property
    def _natural_params(self) -> tuple[flambeau.Tensor]:
        return (self.concentration,)

    def _log_normalizer(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return x.lgamma().sum(-1) - flambeau.lgamma(x.sum(-1))


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Dirichlet": (
        "positive | unit / unit.sum(-1, True) # loose; torch.tensor([0.5, 2.0]); !-positive; !s"
    ),
}
