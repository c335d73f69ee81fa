"""Transforms of vectors, matrices, and parts of tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.transforms.base import Transform
from flambeau.distributions.transforms.elementwise import _clipped_sigmoid
from flambeau.distributions.utils import tril_matrix_to_vec, vec_to_tril_matrix


class ReshapeTransform(Transform):
    """Gives the last dimensions another shape.

    Raises:
        ValueError: if the shapes do not hold equally many elements.
    """

    bijective = True

    def __init__(self, in_shape: Any, out_shape: Any, cache_size: int = 0) -> None:
        self.in_shape = flambeau.Size(in_shape)
        self.out_shape = flambeau.Size(out_shape)
        if self.in_shape.numel() != self.out_shape.numel():
            raise ValueError("in_shape, out_shape have different numbers of elements")
        super().__init__(cache_size=cache_size)

    @constraints.dependent_property
    def domain(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.in_shape))

    @constraints.dependent_property
    def codomain(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.out_shape))

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return ReshapeTransform(self.in_shape, self.out_shape, cache_size=cache_size)

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        batch = x.shape[: x.dim() - len(self.in_shape)]
        return x.reshape(batch + self.out_shape)

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        batch = y.shape[: y.dim() - len(self.out_shape)]
        return y.reshape(batch + self.in_shape)

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        return x.new_zeros(x.shape[: x.dim() - len(self.in_shape)])

    def forward_shape(self, shape: Any) -> Any:
        return self._replaced(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Any) -> Any:
        return self._replaced(shape, self.out_shape, self.in_shape)

    def _replaced(self, shape: Any, old: Any, new: Any) -> Any:
        if len(shape) < len(old):
            raise ValueError("Too few dimensions on input")
        cut = len(shape) - len(old)
        if shape[cut:] != old:
            raise ValueError(f"Shape mismatch: expected {shape[cut:]} but got {old}")
        return shape[:cut] + new


class SoftmaxTransform(Transform):
    """Vectors to probability vectors; the inverse is the logarithm, one of many."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SoftmaxTransform)

    __hash__ = object.__hash__

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.softmax(x, -1)

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        return y.log()


class StickBreakingTransform(Transform):
    """Vectors of length ``K - 1`` to probability vectors of length ``K``: each takes its share of
    what is left.
    """

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StickBreakingTransform)

    __hash__ = object.__hash__

    def _offset(self, x: flambeau.Tensor) -> flambeau.Tensor:
        """How many shares are left, so that zeros map to equal shares."""
        return x.shape[-1] + 1 - flambeau.ones_like(x).cumsum(-1)

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        share = _clipped_sigmoid(x - self._offset(x).log())
        left = (1 - share).cumprod(-1)
        pad = flambeau.nn.functional.pad
        return pad(share, [0, 1], value=1) * pad(left, [1, 0], value=1)

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        kept = y[..., :-1]
        left = (1 - kept.cumsum(-1)).clamp(min=flambeau.finfo(y.dtype).tiny)
        return kept.log() - left.log() + self._offset(kept).log()

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        x = x - self._offset(x).log()
        return (-x + flambeau.nn.functional.logsigmoid(x) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Any) -> Any:
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        return shape[:-1] + (shape[-1] + 1,)

    def inverse_shape(self, shape: Any) -> Any:
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        return shape[:-1] + (shape[-1] - 1,)


class CorrCholeskyTransform(Transform):
    """Vectors of length ``D (D - 1) / 2`` to lower triangular roots of ``D x D`` correlation
    matrices: row by row, each element takes its share of the row's unit length that is left.
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        eps = flambeau.finfo(x.dtype).eps
        share = vec_to_tril_matrix(x.tanh().clamp(min=-1 + eps, max=1 - eps), diag=-1)
        left = (1 - share**2).sqrt().cumprod(-1)
        identity = flambeau.eye(share.shape[-1], dtype=share.dtype, device=share.device)
        return (share + identity) * _shifted(left)

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        left = tril_matrix_to_vec(_shifted(1 - (y * y).cumsum(-1)), diag=-1)
        return (tril_matrix_to_vec(y, diag=-1) / left.sqrt()).atanh()

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        # Each share is scaled by the root of what is left: two off the diagonal, as that of the
        # first column is 1 and the diagonal is no variable.
        left = tril_matrix_to_vec(1 - (y * y).cumsum(-1), diag=-2)
        tanh = -2 * (x + flambeau.nn.functional.softplus(-2 * x) - math.log(2.0)).sum(-1)
        return 0.5 * left.log().sum(-1) + tanh

    def forward_shape(self, shape: Any) -> Any:
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        length = shape[-1]
        n = round((0.25 + 2 * length) ** 0.5 + 0.5)
        if n * (n - 1) // 2 != length:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return shape[:-1] + (n, n)

    def inverse_shape(self, shape: Any) -> Any:
        if len(shape) < 2:
            raise ValueError("Too few dimensions on input")
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        n = shape[-1]
        return shape[:-2] + (n * (n - 1) // 2,)


def _shifted(left: flambeau.Tensor) -> flambeau.Tensor:
    """What is left before each element, from what is left after it."""
    return flambeau.nn.functional.pad(left[..., :-1], [1, 0], value=1)


class LowerCholeskyTransform(Transform):
    """Square matrices to lower triangular ones with a positive diagonal."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LowerCholeskyTransform)

    __hash__ = object.__hash__

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class PositiveDefiniteTransform(Transform):
    """Square matrices to positive definite ones, through their triangular roots."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositiveDefiniteTransform)

    __hash__ = object.__hash__

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        root = LowerCholeskyTransform()(x)
        return root @ root.mT

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        return LowerCholeskyTransform().inv(flambeau.linalg.cholesky(y))


class _PartsTransform(Transform):
    """A transform for each part of a tensor along ``dim``."""

    def __init__(self, tseq: Sequence[Transform], dim: int, cache_size: int) -> None:
        super().__init__(cache_size=cache_size)
        self.transforms = [part.with_cache(cache_size) for part in tseq]
        self.dim = dim

    @property
    def bijective(self) -> bool:
        return all(part.bijective for part in self.transforms)


class CatTransform(_PartsTransform):
    """Transforms of consecutive slices of ``lengths`` along ``dim``."""

    def __init__(
        self,
        tseq: Sequence[Transform],
        dim: int = 0,
        lengths: Sequence[int] | None = None,
        cache_size: int = 0,
    ) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)

    @property
    def event_dim(self) -> int:
        return max(part.event_dim for part in self.transforms)

    @constraints.dependent_property
    def domain(self) -> constraints.Constraint:
        return constraints.cat([part.domain for part in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self) -> constraints.Constraint:
        return constraints.cat([part.codomain for part in self.transforms], self.dim, self.lengths)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        pieces = x.split(self.lengths, self.dim)
        values = [part(piece) for part, piece in zip(self.transforms, pieces, strict=True)]
        return flambeau.cat(values, self.dim)

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        pieces = y.split(self.lengths, self.dim)
        values = [part.inv(piece) for part, piece in zip(self.transforms, pieces, strict=True)]
        return flambeau.cat(values, self.dim)

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        pairs = zip(x.split(self.lengths, self.dim), y.split(self.lengths, self.dim), strict=True)
        terms = [
            part.log_abs_det_jacobian(before, after)
            for part, (before, after) in zip(self.transforms, pairs, strict=True)
        ]
        return flambeau.cat(terms, self.dim)


class StackTransform(_PartsTransform):
    """A transform of each index along ``dim``."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)

    @constraints.dependent_property
    def domain(self) -> constraints.Constraint:
        return constraints.stack([part.domain for part in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self) -> constraints.Constraint:
        return constraints.stack([part.codomain for part in self.transforms], self.dim)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return StackTransform(self.transforms, self.dim, cache_size)

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        pieces = x.unbind(self.dim)
        values = [part(piece) for part, piece in zip(self.transforms, pieces, strict=True)]
        return flambeau.stack(values, self.dim)

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        pieces = y.unbind(self.dim)
        values = [part.inv(piece) for part, piece in zip(self.transforms, pieces, strict=True)]
        return flambeau.stack(values, self.dim)

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        pairs = zip(x.unbind(self.dim), y.unbind(self.dim), strict=True)
        terms = [
            part.log_abs_det_jacobian(before, after)
            for part, (before, after) in zip(self.transforms, pairs, strict=True)
        ]
        return flambeau.stack(terms, self.dim)
