"""The Wishart distribution."""

from __future__ import annotations

import math
import warnings
from numbers import Number
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.chi2 import Chi2
from flambeau.distributions.distribution import Size
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.multivariate_normal import given_root, the_one_given
from flambeau.distributions.utils import lazy_property

_REDRAWS = 10


def _mvdigamma(x: flambeau.Tensor, p: int) -> flambeau.Tensor:
    """The derivative of ``mvlgamma``."""
    steps = flambeau.arange(p, dtype=x.dtype, device=x.device) / 2
    return flambeau.digamma(x.unsqueeze(-1) - steps).sum(-1)


class Wishart(ExponentialFamily):
    r"""Sums of ``df`` outer products of normal vectors with covariance :math:`\Sigma`.

    .. math::
        p(X) \propto \det(X)^{(\nu - p - 1) / 2} e^{-\operatorname{tr}(\Sigma^{-1} X) / 2}

    Draws are made by Bartlett's decomposition [Sawyer 2007]; those that are not positive definite
    in floating point are drawn again, a few times.

    Raises: ``AssertionError`` unless one of the matrices is given, ``ValueError`` for one of less
    than two dimensions, and for ``df`` not above p - 1.

    >>> import flambeau as torch
    >>> torch.distributions.Wishart(torch.tensor([3.0]), covariance_matrix=torch.eye(2)).mean
    tensor([[[3., 0.],
             [0., 3.]]])
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        df: Any,
        covariance_matrix: flambeau.Tensor | None = None,
        precision_matrix: flambeau.Tensor | None = None,
        scale_tril: flambeau.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = the_one_given(
            AssertionError,
            scale_tril=scale_tril,
            covariance_matrix=covariance_matrix,
            precision_matrix=precision_matrix,
        )
        if matrix.dim() < 2:
            raise ValueError(
                "scale_tril must be at least two-dimensional, with optional leading batch "
                "dimensions"
            )
        if isinstance(df, Number):
            batch_shape = flambeau.Size(matrix.shape[:-2])
            self.df = flambeau.tensor(df, dtype=matrix.dtype, device=matrix.device)
        else:
            batch_shape = flambeau.broadcast_shapes(matrix.shape[:-2], df.shape)
            self.df = df.expand(batch_shape)
        event_shape = matrix.shape[-2:]
        n = event_shape[-1]
        if self.df.le(n - 1).any():
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        setattr(self, name, matrix.expand((*batch_shape, -1, -1)))
        if self.df.lt(n).any():
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for "
                "ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        self._unbroadcasted_scale_tril = given_root(name, matrix)
        index = flambeau.arange(n, dtype=self.df.dtype, device=self.df.device)
        self._dist_chi2 = Chi2((self.df.unsqueeze(-1) - index).expand((*batch_shape, -1)))

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self._event_shape[-1] - 1),
        }

    def expand(self, batch_shape: Size, _instance: Any = None) -> Wishart:
        known = {
            name: self.__dict__[name].expand((*batch_shape, *self._event_shape))
            for name in ("covariance_matrix", "precision_matrix", "scale_tril")
            if name in self.__dict__
        }
        known["df"] = self.df.expand(batch_shape)
        known["_unbroadcasted_scale_tril"] = self._unbroadcasted_scale_tril
        known["_dist_chi2"] = self._dist_chi2.expand((*batch_shape, self._event_shape[-1]))
        return self._expanded(Wishart, batch_shape, _instance, **known)

    @property
    def _matrix_shape(self) -> Size:
        return self._batch_shape + self._event_shape

    @lazy_property
    def scale_tril(self) -> flambeau.Tensor:
        """The lower triangular root of the covariance."""
        return self._unbroadcasted_scale_tril.expand(self._matrix_shape)

    @lazy_property
    def covariance_matrix(self) -> flambeau.Tensor:
        """The covariance of the normal vectors."""
        root = self._unbroadcasted_scale_tril
        return (root @ root.mT).expand(self._matrix_shape)

    @lazy_property
    def precision_matrix(self) -> flambeau.Tensor:
        """The inverse of the covariance."""
        inverse = flambeau.cholesky_inverse(self._unbroadcasted_scale_tril)
        return inverse.expand(self._matrix_shape)

    def _per_matrix(self, values: flambeau.Tensor) -> flambeau.Tensor:
        return values.expand(self._batch_shape)[..., None, None]

    @property
    def mean(self) -> flambeau.Tensor:
        return self._per_matrix(self.df) * self.covariance_matrix

    @property
    def mode(self) -> flambeau.Tensor:
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        factor = factor.masked_fill(factor <= 0, float("nan"))
        return self._per_matrix(factor) * self.covariance_matrix

    @property
    def variance(self) -> flambeau.Tensor:
        matrix = self.covariance_matrix
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        outer = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self._per_matrix(self.df) * (matrix.pow(2) + outer)

    def _bartlett_sampling(self, sample_shape: Size = ()) -> flambeau.Tensor:
        p = self._event_shape[-1]
        lengths = self._dist_chi2.rsample(sample_shape).sqrt()
        noise = lengths.diag_embed(dim1=-2, dim2=-1)
        rows, columns = flambeau.tril_indices(p, p, offset=-1)
        count = p * (p - 1) // 2
        noise[..., rows, columns] = flambeau.randn(
            (*sample_shape, *self._batch_shape, count), dtype=noise.dtype, device=noise.device
        )
        root = self._unbroadcasted_scale_tril @ noise
        return root @ root.mT

    def rsample(
        self, sample_shape: Size = (), max_try_correction: int | None = None
    ) -> flambeau.Tensor:
        """Draws; what is singular is drawn again up to ``max_try_correction`` times."""
        tries = _REDRAWS if max_try_correction is None else max_try_correction
        sample = self._bartlett_sampling(sample_shape)
        dims = len(tuple(sample_shape))
        # PyTorch takes the regular draws for the singular ones at first, and draws them again: so
        # that a seed gives the same matrices, this does too.
        again = self._any(self.support.check(sample), dims)
        for i in range(tries):
            sample = sample.clone()
            sample[again] = self._bartlett_sampling((int(again.sum()),))
            again = self._any(~self.support.check(sample), dims)
            if not again.any():
                break
            if i == 0:
                warnings.warn("Singular sample detected.", stacklevel=2)
        return sample

    @staticmethod
    def _any(matrices: flambeau.Tensor, dims: int) -> flambeau.Tensor:
        """Which draws have such a matrix in their batch."""
        return matrices.reshape((*matrices.shape[:dims], -1)).any(-1)

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        nu, p = self.df, self._event_shape[-1]
        root = self._unbroadcasted_scale_tril
        shape = flambeau.broadcast_shapes(root.shape, value.shape)
        solved = flambeau.cholesky_solve(value.expand(shape), root.expand(shape))
        trace = solved.diagonal(dim1=-2, dim2=-1).sum(-1)
        return (
            -nu * (p * math.log(2.0) / 2 + self._half_log_det)
            - flambeau.mvlgamma(nu / 2, p)
            + (nu - p - 1) / 2 * flambeau.linalg.slogdet(value).logabsdet
            - trace / 2
        )

    @property
    def _half_log_det(self) -> flambeau.Tensor:
        return self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def entropy(self) -> flambeau.Tensor:
        nu, p = self.df, self._event_shape[-1]
        return (
            (p + 1) * (p * math.log(2.0) / 2 + self._half_log_det)
            + flambeau.mvlgamma(nu / 2, p)
            - (nu - p - 1) / 2 * _mvdigamma(nu / 2, p)
            + nu * p / 2
        )

    @property
    def _natural_params(self) -> tuple[flambeau.Tensor, flambeau.Tensor]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        p = self._event_shape[-1]
        half = y + (p + 1) / 2
        log_det = flambeau.linalg.slogdet(-2 * x).logabsdet
        return half * (p * math.log(2.0) - log_det) + flambeau.mvlgamma(half, p)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.Wishart": (
        "torch.tensor(6.0), spd | spd + torch.eye(4); 5.5, scale_tril=spd.tril(); "
        "6.0, precision_matrix=spd; !6.0; !1.0, spd; !6.0, spd, spd"
    ),
}
