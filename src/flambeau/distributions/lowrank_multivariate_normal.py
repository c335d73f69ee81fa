"""Normal distributions whose covariance is a low-rank matrix plus a diagonal."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, Size
from flambeau.distributions.multivariate_normal import squared_distance
from flambeau.distributions.utils import lazy_property, standard_normal


class LowRankMultivariateNormal(Distribution):
    r"""Normal vectors with mean ``loc`` and covariance :math:`W W^T + D`, ``cov_factor`` :math:`W`
    of few columns and ``cov_diag`` the diagonal of :math:`D`.

    What is solved is of the size of the columns only: the inverse is
    :math:`D^{-1} - D^{-1} W C^{-1} W^T D^{-1}` with :math:`C = I + W^T D^{-1} W`, the determinant
    :math:`\det C \det D` (the identities of Woodbury and Sylvester).

    >>> import flambeau as torch
    >>> D = torch.distributions
    >>> normal = D.LowRankMultivariateNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2))
    >>> normal.covariance_matrix
    tensor([[2., 1.],
            [1., 2.]])
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: flambeau.Tensor,
        cov_factor: flambeau.Tensor,
        cov_diag: flambeau.Tensor,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event_shape = loc.shape[-1:]
        if cov_factor.dim() < 2:
            raise ValueError(
                "cov_factor must be at least two-dimensional, with optional leading batch "
                "dimensions"
            )
        if cov_factor.shape[-2:-1] != event_shape:
            raise ValueError(
                f"cov_factor must be a batch of matrices with shape {event_shape[0]} x m"
            )
        if cov_diag.shape[-1:] != event_shape:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event_shape}")
        try:
            batch_shape = flambeau.broadcast_shapes(
                loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1]
            )
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, "
                f"cov_diag {cov_diag.shape}"
            ) from error
        self.loc = loc.expand((*batch_shape, -1))
        self.cov_diag = cov_diag.expand((*batch_shape, -1))
        self.cov_factor = cov_factor.expand((*batch_shape, *cov_factor.shape[-2:]))
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        self._unbroadcasted_cov_factor = cov_factor
        self._unbroadcasted_cov_diag = cov_diag
        scaled = cov_factor.mT / cov_diag.unsqueeze(-2)
        identity = flambeau.eye(
            cov_factor.shape[-1], dtype=cov_factor.dtype, device=cov_factor.device
        )
        self._capacitance_tril = flambeau.linalg.cholesky(scaled @ cov_factor + identity)

    def expand(self, batch_shape: Size, _instance: Any = None) -> LowRankMultivariateNormal:
        shape = (*batch_shape, *self._event_shape)
        known = {
            "loc": self.loc.expand(shape),
            "cov_diag": self.cov_diag.expand(shape),
            "cov_factor": self.cov_factor.expand((*shape, self.cov_factor.shape[-1])),
        }
        for name in ("_unbroadcasted_cov_factor", "_unbroadcasted_cov_diag", "_capacitance_tril"):
            known[name] = getattr(self, name)
        return self._expanded(LowRankMultivariateNormal, batch_shape, _instance, **known)

    @property
    def mean(self) -> flambeau.Tensor:
        return self.loc

    @property
    def mode(self) -> flambeau.Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> flambeau.Tensor:
        squares = self._unbroadcasted_cov_factor.pow(2).sum(-1)
        return (squares + self._unbroadcasted_cov_diag).expand(
            (*self._batch_shape, *self._event_shape)
        )

    @property
    def _matrix_shape(self) -> tuple[int, ...]:
        return (*self._batch_shape, *self._event_shape, *self._event_shape)

    @lazy_property
    def scale_tril(self) -> flambeau.Tensor:
        """The lower triangular root of the covariance."""
        # L of D^(1/2) (I + D^(-1/2) W W^T D^(-1/2)) D^(1/2): the middle is well conditioned.
        root = self._unbroadcasted_cov_diag.sqrt().unsqueeze(-1)
        scaled = self._unbroadcasted_cov_factor / root
        identity = flambeau.eye(self._event_shape[0], dtype=root.dtype, device=root.device)
        inner = flambeau.linalg.cholesky(scaled @ scaled.mT + identity)
        return (root * inner).expand(self._matrix_shape)

    @lazy_property
    def covariance_matrix(self) -> flambeau.Tensor:
        """The covariance."""
        factor = self._unbroadcasted_cov_factor
        matrix = factor @ factor.mT + self._unbroadcasted_cov_diag.diag_embed()
        return matrix.expand(self._matrix_shape)

    @lazy_property
    def precision_matrix(self) -> flambeau.Tensor:
        """The inverse of the covariance."""
        half = self._half_correction
        matrix = self._unbroadcasted_cov_diag.reciprocal().diag_embed() - half.mT @ half
        return matrix.expand(self._matrix_shape)

    @property
    def _half_correction(self) -> flambeau.Tensor:
        """:math:`A` with the precision :math:`D^{-1} - A^T A`."""
        scaled = self._unbroadcasted_cov_factor.mT / self._unbroadcasted_cov_diag.unsqueeze(-2)
        shape = flambeau.broadcast_shapes(self._capacitance_tril.shape[:-2], scaled.shape[:-2])
        root = self._capacitance_tril.expand((*shape, *self._capacitance_tril.shape[-2:]))
        return flambeau.linalg.solve_triangular(
            root, scaled.expand((*shape, *scaled.shape[-2:])), upper=False
        )

    def rsample(self, sample_shape: Size = ()) -> flambeau.Tensor:
        shape = self._extended_shape(sample_shape)
        options = (self.loc.dtype, self.loc.device)
        common = standard_normal((*shape[:-1], self.cov_factor.shape[-1]), *options)
        own = standard_normal(shape, *options)
        mixed = (self._unbroadcasted_cov_factor @ common.unsqueeze(-1)).squeeze(-1)
        return self.loc + mixed + self._unbroadcasted_cov_diag.sqrt() * own

    def log_prob(self, value: flambeau.Tensor) -> flambeau.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = self._squared_distance(value - self.loc)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + self._log_det + distance)

    def _squared_distance(self, x: flambeau.Tensor) -> flambeau.Tensor:
        """:math:`x^T \\Sigma^{-1} x`."""
        scaled = x / self._unbroadcasted_cov_diag
        inner = (self._unbroadcasted_cov_factor.mT @ scaled.unsqueeze(-1)).squeeze(-1)
        return (x * scaled).sum(-1) - squared_distance(self._capacitance_tril, inner)

    @property
    def _log_det(self) -> flambeau.Tensor:
        """The logarithm of the covariance's determinant."""
        roots = self._capacitance_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 2 * roots + self._unbroadcasted_cov_diag.log().sum(-1)

    def entropy(self) -> flambeau.Tensor:
        constant = self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return (0.5 * (constant + self._log_det)).expand(self._batch_shape)


# Calls that the tests make in PyTorch too: `tests/generated/`; after `|` the value of `log_prob`.
SAMPLES = {
    "distributions.LowRankMultivariateNormal": (
        "v, m[:, :2], v.exp() | w; x, m[:, :2], positive | y; !v, m[:3], v.exp(); !s, m, v"
    ),
}
