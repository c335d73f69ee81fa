"""The multivariate normal distribution."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.utils import lazy_property, standard_normal


class MultivariateNormal(Distribution):
    r"""Normal vectors with mean ``loc``, and a covariance, a precision, or a lower triangular root
    of the covariance.

    .. math::
        \log p(x) = -\tfrac12 \left(d \log 2 \pi + \lVert L^{-1} (x - \mu) \rVert^2\right)
        - \log \det L, \quad \Sigma = L L^T

    >>> import flambeau as torch
    >>> normal = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    >>> normal.log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: flambeau.Tensor,
        covariance_matrix: flambeau.Tensor | None = None,
        precision_matrix: flambeau.Tensor | None = None,
        scale_tril: flambeau.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, given = the_one_given(
            ValueError,
            scale_tril=scale_tril,
            covariance_matrix=covariance_matrix,
            precision_matrix=precision_matrix,
        )
        if given.dim() < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch_shape = flambeau.broadcast_shapes(given.shape[:-2], loc.shape[:-1])
        setattr(self, name, given.expand((*batch_shape, -1, -1)))
        self.loc = loc.expand((*batch_shape, -1))
        super().__init__(batch_shape, self.loc.shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = given_root(name, given)

    def expand(self, batch_shape: Size, _instance: Any = None) -> MultivariateNormal:
        shape = (*batch_shape, *self._event_shape)
        known = {
            name: self.__dict__[name].expand((*shape, *self._event_shape))
            for name in ("covariance_matrix", "precision_matrix", "scale_tril")
            if name in self.__dict__
        }
        known["loc"] = self.loc.expand(shape)
        known["_unbroadcasted_scale_tril"] = self._unbroadcasted_scale_tril
        return self._expanded(MultivariateNormal, batch_shape, _instance, **known)

    @lazy_property
    def scale_tril(self) -> flambeau.Tensor:
        """The lower triangular root of the covariance."""
        return self._unbroadcasted_scale_tril.expand(self._matrix_shape)

    @lazy_property
    def covariance_matrix(self) -> flambeau.Tensor:
        """The covariance."""
        root = self._unbroadcasted_scale_tril
        return (root @ root.mT).expand(self._matrix_shape)

    @lazy_property
    def precision_matrix(self) -> flambeau.Tensor:
        """The inverse of the covariance."""
        inverse = flambeau.cholesky_inverse(self._unbroadcasted_scale_tril)
        return inverse.expand(self._matrix_shape)

    @property
    def _matrix_shape(self) -> tuple[int, ...]:
        return (*self._batch_shape, *self._event_shape, *self._event_shape)

    @property
    def mean(self) -> flambeau.Tensor:
        return self.loc

    @property
    def mode(self) -> flambeau.Tensor:
        return self.loc

    @property
    def variance(self) -> flambeau.Tensor:
        squares = self._unbroadcasted_scale_tril.pow(2).sum(-1)
        return squares.expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        noise = standard_normal(shape, self.loc.dtype, self.loc.device)
        return self.loc + (self._unbroadcasted_scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = squared_distance(self._unbroadcasted_scale_tril, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - self._half_log_det

    @property
    def _half_log_det(self) -> flambeau.Tensor:
        return self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def entropy(self) -> flambeau.Tensor:
        constant = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return (constant + self._half_log_det).expand(self._batch_shape)


def the_one_given(
    error: type[Exception], **matrices: flambeau.Tensor | None
) -> tuple[str, flambeau.Tensor]:
    """The name and the matrix that is given; ``error`` unless it is exactly one."""
    given = [(name, matrix) for name, matrix in matrices.items() if matrix is not None]
    if len(given) != 1:
        raise error(
            "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
        )
    return given[0]


def given_root(name: str, matrix: flambeau.Tensor) -> flambeau.Tensor:
    """The lower triangular root of a covariance, from what ``name`` says is given."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return flambeau.linalg.cholesky(matrix)
    return _root_of_inverse(matrix)


def _root_of_inverse(precision: flambeau.Tensor) -> flambeau.Tensor:
    """The lower triangular root of a precision's inverse, by a Cholesky factor of the flipped
    matrix.
    """
    flipped = flambeau.linalg.cholesky(flambeau.flip(precision, (-2, -1)))
    upper = flambeau.flip(flipped, (-2, -1)).mT
    identity = flambeau.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return flambeau.linalg.solve_triangular(upper, identity, upper=False)


def squared_distance(root: flambeau.Tensor, x: flambeau.Tensor) -> flambeau.Tensor:
    """``|root^-1 x|^2`` for a lower triangular root, over batches that broadcast."""
    shape = flambeau.broadcast_shapes(root.shape[:-2], x.shape[:-1])
    n = x.shape[-1]
    root = root.expand((*shape, n, n))
    solution = flambeau.linalg.solve_triangular(
        root, x.expand((*shape, n)).unsqueeze(-1), upper=False
    )
    return solution.squeeze(-1).pow(2).sum(-1)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.MultivariateNormal": (
        "v, spd | w; x, spd | y; v, scale_tril=spd.tril() | w; v, precision_matrix=spd | w; !v; "
        "!v, spd, spd; !v, -spd"
    ),
}
