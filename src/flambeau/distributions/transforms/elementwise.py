"""Transforms of each element by itself."""

from __future__ import annotations

import math
from numbers import Number
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.transforms.base import Transform
from flambeau.distributions.utils import sum_rightmost


class _Elementwise(Transform):
    """An increasing bijection without parameters: all of a kind are equal."""

    bijective = True
    sign = +1

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    __hash__ = object.__hash__


class ExpTransform(_Elementwise):
    """:math:`y = e^x`."""

    domain = constraints.real
    codomain = constraints.positive

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return x.exp()

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        return x


class PowerTransform(Transform):
    """:math:`y = x^p`."""

    domain = constraints.positive
    codomain = constraints.positive
    bijective = True

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        (self.exponent,) = (flambeau.as_tensor(exponent),)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return PowerTransform(self.exponent, cache_size=cache_size)

    @property
    def sign(self) -> Any:
        return self.exponent.sign()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PowerTransform) and bool(self.exponent.eq(other.exponent).all())

    __hash__ = object.__hash__

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return x.pow(self.exponent)

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        return (self.exponent * y / x).abs().log()

    def forward_shape(self, shape: Any) -> Any:
        return flambeau.broadcast_shapes(shape, self.exponent.shape)

    inverse_shape = forward_shape


def _clipped_sigmoid(x: flambeau.Tensor) -> flambeau.Tensor:
    """A sigmoid that stays inside (0, 1)."""
    info = flambeau.finfo(x.dtype)
    return flambeau.sigmoid(x).clamp(min=info.tiny, max=1.0 - info.eps)


class SigmoidTransform(_Elementwise):
    r""":math:`y = 1 / (1 + e^{-x})`."""

    domain = constraints.real
    codomain = constraints.unit_interval

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return _clipped_sigmoid(x)

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        info = flambeau.finfo(y.dtype)
        y = y.clamp(min=info.tiny, max=1.0 - info.eps)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        softplus = flambeau.nn.functional.softplus
        return -softplus(-x) - softplus(x)


class SoftplusTransform(_Elementwise):
    r""":math:`y = \log(1 + e^x)`."""

    domain = constraints.real
    codomain = constraints.positive

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.nn.functional.softplus(x)

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        return (-y).expm1().neg().log() + y

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        return -flambeau.nn.functional.softplus(-x)


class TanhTransform(_Elementwise):
    r""":math:`y = \tanh x`."""

    domain = constraints.real
    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return x.tanh()

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.atanh(y)

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        # log(1 - tanh(x)^2), without cancellation.
        return 2.0 * (math.log(2.0) - x - flambeau.nn.functional.softplus(-2.0 * x))


class AbsTransform(Transform):
    """:math:`y = |x|`; the inverse is the positive half."""

    domain = constraints.real
    codomain = constraints.positive

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbsTransform)

    __hash__ = object.__hash__

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return x.abs()

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        return y


class AffineTransform(Transform):
    """``y = loc + scale * x``; ``event_dim`` dimensions make up one value."""

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.loc = loc
        self.scale = scale
        self._event_dim = event_dim

    @property
    def event_dim(self) -> int:
        return self._event_dim

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return AffineTransform(self.loc, self.scale, self.event_dim, cache_size=cache_size)

    def _reals(self) -> constraints.Constraint:
        if self.event_dim == 0:
            return constraints.real
        return constraints.independent(constraints.real, self.event_dim)

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> constraints.Constraint:
        return self._reals()

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> constraints.Constraint:
        return self._reals()

    @property
    def sign(self) -> Any:
        if isinstance(self.scale, Number):
            return 1 if self.scale > 0 else -1 if self.scale < 0 else 0
        return self.scale.sign()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AffineTransform):
            return False
        return _same(self.loc, other.loc) and _same(self.scale, other.scale)

    __hash__ = object.__hash__

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        shape = x.shape
        if isinstance(self.scale, Number):
            result = flambeau.full_like(x, math.log(abs(self.scale)))
        else:
            result = self.scale.abs().log()
        if self.event_dim:
            result = result.expand(flambeau.broadcast_shapes(result.shape, shape))
            result = sum_rightmost(result, self.event_dim)
            shape = shape[: len(shape) - self.event_dim]
        return result.expand(flambeau.broadcast_shapes(result.shape, shape))

    def forward_shape(self, shape: Any) -> Any:
        return flambeau.broadcast_shapes(
            shape, getattr(self.loc, "shape", ()), getattr(self.scale, "shape", ())
        )

    inverse_shape = forward_shape


def _same(a: Any, b: Any) -> bool:
    equal = a == b
    return bool(equal.all()) if isinstance(equal, flambeau.Tensor) else bool(equal)


class CumulativeDistributionTransform(Transform):
    """The distribution function of a distribution: onto probabilities."""

    bijective = True
    codomain = constraints.unit_interval
    sign = +1

    def __init__(self, distribution: Distribution, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> constraints.Constraint:
        return self.distribution.support

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return CumulativeDistributionTransform(self.distribution, cache_size=cache_size)

    def _call(self, x: flambeau.Tensor) -> flambeau.Tensor:
        return self.distribution.cdf(x)

    def _inverse(self, y: flambeau.Tensor) -> flambeau.Tensor:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        return self.distribution.log_prob(x)
