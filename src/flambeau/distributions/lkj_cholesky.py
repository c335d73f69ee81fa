"""The LKJ distribution of Cholesky factors of correlation matrices."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.beta import Beta
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import broadcast_all


class LKJCholesky(Distribution):
    r"""Lower triangular roots :math:`L` of correlation matrices with density proportional to
    :math:`\det(L L^T)^{\eta - 1}`, with ``concentration`` :math:`\eta`; 1 is uniform.

    Draws are made row by row, by the onion method [Lewandowski, Kurowicka & Joe 2009].

    Raises: ``ValueError`` if ``dim`` is less than 2.

    >>> import flambeau as torch
    >>> torch.distributions.LKJCholesky(3, 0.5).sample().diagonal()[0]
    tensor(1.)
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(
        self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        if dim < 2:
            raise ValueError(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        like = {"dtype": self.concentration.dtype, "device": self.concentration.device}
        # Row i keeps a beta distributed part of its unit length off the diagonal.
        below = flambeau.arange(-1, dim - 1, **like).clamp(min=0)
        rest = (self.concentration + 0.5 * (dim - 2)).unsqueeze(-1) - 0.5 * below
        self._beta = Beta(below + 0.5, rest)
        super().__init__(self.concentration.size(), (dim, dim), validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> LKJCholesky:
        return self._expanded(
            LKJCholesky,
            batch_shape,
            _instance,
            dim=self.dim,
            concentration=self.concentration.expand(batch_shape),
            _beta=self._beta.expand((*batch_shape, self.dim)),
        )

    def sample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        with flambeau.no_grad():
            length = self._beta.sample(sample_shape).unsqueeze(-1)
            options = {"dtype": length.dtype, "device": length.device}
            directions = flambeau.randn(self._extended_shape(sample_shape), **options).tril(-1)
            directions = directions / directions.norm(dim=-1, keepdim=True)
            directions[..., 0, :] = 0.0
            rows = length.sqrt() * directions
            tiny = flambeau.finfo(rows.dtype).tiny
            diagonal = (1 - rows.square().sum(-1)).clamp(min=tiny).sqrt()
            return rows + diagonal.diag_embed()

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        row = flambeau.arange(2, self.dim + 1, device=self.concentration.device)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - row
        n = self.dim - 1
        top = self.concentration + 0.5 * n
        log_volume = 0.5 * n * math.log(math.pi) + flambeau.mvlgamma(top - 0.5, n)
        return (order * diagonal.log()).sum(-1) - (log_volume - n * flambeau.lgamma(top))


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.LKJCholesky": "3, 0.5; 4, torch.tensor([1.0, 2.0]); 2; !1; !3, -1.0",
}
