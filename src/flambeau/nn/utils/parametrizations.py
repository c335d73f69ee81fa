"""The parametrizations that come along: weight and spectral normalisation, orthogonal matrices."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.nn import functional as F
from flambeau.nn.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from flambeau.nn.module import Module
from flambeau.nn.utils import parametrize
from flambeau.tensor import Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

_MAPS = ("matrix_exp", "cayley", "householder")
_TRANSPOSED = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)


def norm_except_dim(weight: Tensor, dim: int) -> Tensor:
    """The Euclidean norm over all dimensions but one, kept as 1; over all for ``dim=-1``."""
    if dim == -1:
        return weight.norm(2)
    over = [d for d in range(weight.dim()) if d != dim % weight.dim()]
    return weight.norm(2, over, keepdim=True) if over else weight.abs()


def output_dim(module: Module, dim: int | None) -> int:
    """The dimension of the outputs in the weight of a layer, unless one is given."""
    if dim is not None:
        return dim
    return 1 if isinstance(module, _TRANSPOSED) else 0


def _tensor_of(module: Module, name: str) -> Tensor:
    tensor = getattr(module, name, None)
    if not isinstance(tensor, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return tensor


# --- weight normalisation -----------------------------------------------------------------------


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    r"""Has a weight be a length times a direction [Salimans & Kingma 2016].

    .. math:: w = g \frac{v}{\lVert v \rVert}

    with a norm for each index of dimension ``dim``, or one for all with ``dim=None``. The length
    is stored as ``original0``, the direction as ``original1``. State dicts of the older
    ``torch.nn.utils.weight_norm`` are understood.

    >>> layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(20, 40), name="weight")
    >>> layer.parametrizations.weight.original0.shape
    torch.Size([40, 1])
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def from_older(state_dict: dict, prefix: str, *rest: Any) -> None:
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                new = f"{prefix}parametrizations.{name}.original{i}"
                state_dict[new] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(from_older)
    return module


# --- spectral normalisation ---------------------------------------------------------------------


class _SpectralNorm(Module):
    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        ndim = weight.ndim
        if dim >= ndim or dim < -ndim:
            raise IndexError(
                "Dimension out of range (expected to be in range of "
                f"[-{ndim}, {ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._matrix(weight)
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                vector = matrix.new_empty(size).normal_(0, 1)
                self.register_buffer(name, F.normalize(vector, dim=0, eps=eps))
            # So that the first steps of training see nearly the true norm.
            self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)

    def _iterate(self, matrix: Tensor, times: int) -> None:
        with flambeau.no_grad():
            for _ in range(times):
                self._u.copy_(F.normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.mH.mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix.detach(), self.n_power_iterations)
        # The buffers change at the next read, which must not disturb this one's gradient.
        u, v = self._u.clone(), self._v.clone()
        return weight / flambeau.vdot(u, matrix.mv(v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    r"""Divides a weight by its spectral norm [Miyato et al. 2018].

    .. math:: w = \frac{W}{\sigma(W)}, \quad \sigma(W) = \max_{h \ne 0} \frac{\lVert W h \rVert}
        {\lVert h \rVert}

    The weight is taken as a matrix with dimension ``dim`` as its rows: 0, or 1 for transposed
    convolutions. Its singular vectors are followed by ``n_power_iterations`` of the power method
    each time the weight is read in training mode.

    Raises: ``ValueError`` if there is no such tensor or ``n_power_iterations`` is not positive,
    ``IndexError`` for a ``dim`` out of range.

    >>> layer = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(20, 40))
    >>> bool((torch.linalg.matrix_norm(layer.weight, 2) - 1).abs() < 0.1)
    True
    """
    weight = _tensor_of(module, name)
    norm = _SpectralNorm(weight.detach(), n_power_iterations, output_dim(module, dim), eps)
    return parametrize.register_parametrization(module, name, norm)


# --- orthogonal matrices ------------------------------------------------------------------------


def _is_orthogonal(q: Tensor) -> bool:
    n = q.size(-2)
    identity = flambeau.eye(q.size(-1), dtype=q.dtype, device=q.device)
    return flambeau.allclose(
        q.mH @ q, identity.expand(q.mH.shape[:-1] + q.shape[-1:]), atol=_bound(q, n)
    )


def _bound(q: Tensor, n: int) -> float:
    return 10.0 * n * flambeau.finfo(q.dtype).eps


def _nearest_by_qr(a: Tensor) -> Tensor:
    """The orthogonal factor of ``a`` whose triangular one has a positive diagonal."""
    x, tau = flambeau.geqrf(a)
    q = flambeau.linalg.householder_product(x, tau)
    return q * x.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    base: Tensor

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        n, k = X.size(-2), X.size(-1)
        wide = n < k
        if wide:
            X, n, k = X.mT, k, n
        Q = self._reflected(X) if self.orthogonal_map == "householder" else self._turned(X, n, k)
        if "base" in self._buffers:
            Q = self.base @ Q
        return Q.mT if wide else Q

    def _turned(self, X: Tensor, n: int, k: int) -> Tensor:
        """From the skew-symmetric matrix with the lower triangle of ``X``."""
        X = X.tril()
        if n != k:
            X = flambeau.cat([X, X.new_zeros((*X.shape[:-2], n, n - k))], dim=-1)
        A = X - X.mH
        if self.orthogonal_map == "matrix_exp":
            Q = flambeau.matrix_exp(A)
        else:
            identity = flambeau.eye(n, dtype=A.dtype, device=A.device)
            Q = flambeau.linalg.solve(identity - 0.5 * A, identity + 0.5 * A)
        return Q[..., :k] if n != k else Q

    def _reflected(self, X: Tensor) -> Tensor:
        """From Householder reflections: below the diagonal their vectors, on it the signs."""
        A = X.tril(diagonal=-1)
        tau = 2.0 / (1.0 + (A * A).sum(dim=-2))
        Q = flambeau.linalg.householder_product(A, tau)
        return Q * X.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)

    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. "
                f"Got a tensor of shape {Q.shape}."
            )
        given = Q
        n, k = Q.size(-2), Q.size(-1)
        wide = n < k
        if wide:
            Q, n, k = Q.mT, k, n
        if "base" not in self._buffers:
            return self._coordinates(Q, wide)
        if n == k:
            Q = Q.clone() if _is_orthogonal(Q) else _nearest_by_qr(Q)
        else:
            rest = flambeau.randn((*Q.shape[:-2], n, n - k), dtype=Q.dtype, device=Q.device)
            Q = _nearest_by_qr(flambeau.cat([Q, rest], dim=-1))
        self.base = Q
        # Where each map gives the identity, so that the tensor is the base.
        start = flambeau.zeros_like(given)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start

    def _coordinates(self, Q: Tensor, wide: bool) -> Tensor:
        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley "
                "parametrizations when use_trivialization=False."
            )
        A, tau = flambeau.geqrf(Q)
        diagonal = A.diagonal(dim1=-2, dim2=-1)
        diagonal.copy_(flambeau.where(tau == 0, -diagonal.sign(), diagonal.sign()))
        return A.mT if wide else A


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    r"""Keeps a matrix orthogonal (or unitary): :math:`Q^H Q = I`, or :math:`Q Q^H = I` if it has
    more columns than rows.

    Args:
        orthogonal_map: ``"matrix_exp"`` (:math:`\exp(A)` of a skew-symmetric matrix),
            ``"cayley"`` (:math:`(I - A/2)^{-1} (I + A/2)`) or ``"householder"`` (a product of
            reflections); the first for square and complex matrices, the last for others, unless
            given.
        use_trivialization: multiplies with a base, the value assigned last, around which the map
            is taken [Lezcano-Casado 2019].
    Raises: ``ValueError`` if there is no such tensor, it is no matrix, or there is no such map.

    >>> layer = torch.nn.utils.parametrizations.orthogonal(nn.Linear(2, 3))
    >>> torch.allclose(layer.weight.T @ layer.weight, torch.eye(2), atol=1e-5)
    True
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
            f"Got: {orthogonal_map}"
        )
    parametrization = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return parametrize.register_parametrization(module, name, parametrization, unsafe=True)


SAMPLES = {
    "nn.utils.parametrizations.weight_norm": "nn.Linear(4, 3) | x;"
    " nn.Conv1d(4, 2, 3), dim=1 | line; nn.Linear(4, 3), dim=None | x; !nn.ReLU()",
    "nn.utils.parametrizations.spectral_norm": "nn.Linear(4, 3) | x;"
    " nn.Linear(4, 4), n_power_iterations=2, dim=1 | x; !nn.ReLU();"
    " !nn.Linear(4, 3), n_power_iterations=0",
    "nn.utils.parametrizations.orthogonal": "nn.Linear(4, 4) | x;"
    " nn.Linear(4, 3), orthogonal_map='cayley' | x; nn.Linear(4, 3), use_trivialization=False | x;"
    " !nn.ReLU(); !nn.Linear(4, 3), orthogonal_map='qr'; !nn.BatchNorm1d(3)",
}
