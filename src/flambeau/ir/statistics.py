"""Reductions with a formula of their own: variance, norms, log-sum-exp."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, conj, primitive
from flambeau.ir.reduction import reduced_shape, restore, spread

if TYPE_CHECKING:
    from collections.abc import Callable

P = PRIMITIVES


def _real(x: Aval, *, dims: tuple[int, ...], keepdim: bool, **attrs: Any) -> Aval:
    return Aval(reduced_shape(x.shape, dims, keepdim), x.dtype.to_real())


def _wide(f: Callable) -> Callable:
    """``f`` in float32 for the 16-bit types."""

    def reference(x: Any, **attrs: Any) -> np.ndarray:
        x = np.asarray(x)
        if x.dtype.itemsize == 2 and x.dtype.kind in "fV":
            return np.asarray(f(x.astype(np.float32), **attrs)).astype(x.dtype)
        return f(x, **attrs)

    return reference


def _count(x: Any, dims: tuple[int, ...]) -> int:
    return math.prod(x.shape[d] for d in dims)


def _var(x: np.ndarray, *, dims: tuple[int, ...], keepdim: bool, correction: float) -> np.ndarray:
    n = _count(x, dims)
    if n:
        # From the mean of the distances to the first value: of equal ones it is exactly 0.
        first = x[tuple(slice(1) if d in dims else slice(None) for d in range(x.ndim))]
        shift = np.add.reduce(x - first, axis=dims, keepdims=True) / n
        d = x - (first + shift)
    else:
        d = x
    square = d.real * d.real + d.imag * d.imag if d.dtype.kind == "c" else d * d
    total = np.add.reduce(square, axis=dims, keepdims=keepdim)
    freedom = max(n - correction, 0)
    return (total / freedom if freedom else total / np.zeros_like(total)).astype(total.dtype)


def _deviation(x: Var, dims: tuple[int, ...]) -> Var:
    n = float(max(_count(x, dims), 1))
    if x.dtype.itemsize > 2:
        return x - P["sum"](x, dims=dims, keepdim=True) / n
    # The mean of 16-bit numbers is rounded once.
    total = P["sum"](P["cast"](x, dtype=dtypes.float32), dims=dims, keepdim=True)
    return x - P["cast"](total / n, dtype=x.dtype)


def _times(x: Var, g: Var) -> Var:
    """``x`` times a real factor."""
    if x.dtype.is_complex and not g.dtype.is_complex:
        g = P["cast"](g, dtype=x.dtype)
    return x * g


def _over(value: float, freedom: float) -> float:
    return value / freedom if freedom > 0 else math.nan if freedom == 0 else 0.0


def _var_gradient(
    g: Var, x: Var, *, out: Var, dims: tuple[int, ...], keepdim: bool, correction: float
) -> Var:
    factor = _over(2.0, max(_count(x, dims) - correction, 0))
    return _times(_deviation(x, dims), restore(g, x, dims, keepdim) * factor)


primitive(
    "var",
    "mean squared distance from the mean, over n - correction",
    rule=_real,
    reference=_wide(_var),
    gradient=_var_gradient,
)


def _std_gradient(
    g: Var, x: Var, *, out: Var, dims: tuple[int, ...], keepdim: bool, correction: float
) -> Var:
    # No gradient where all values are equal, rather than 0 / 0.
    factor = _over(1.0, max(_count(x, dims) - correction, 0))
    share = P["where"](P["eq"](out, 0.0), 0.0, g / out)
    return _times(_deviation(x, dims), restore(share, x, dims, keepdim) * factor)


primitive(
    "std",
    "square root of the variance",
    rule=_real,
    reference=_wide(lambda x, **attrs: np.sqrt(_var(x, **attrs))),
    gradient=_std_gradient,
)


def _norm(x: np.ndarray, *, dims: tuple[int, ...], keepdim: bool, p: float) -> np.ndarray:
    size = np.abs(x)
    if p == 2:
        # The sum of squares in double keeps float32 from overflowing.
        wide = size.astype(np.float64) if size.dtype == np.float32 else size
        return np.sqrt(np.add.reduce(wide * wide, axis=dims, keepdims=keepdim)).astype(size.dtype)
    if p == 1:
        return np.add.reduce(size, axis=dims, keepdims=keepdim)
    if p == 0:
        return np.add.reduce(size != 0, axis=dims, keepdims=keepdim).astype(size.dtype)
    if math.isinf(p):
        if p > 0:
            return np.max(size, axis=dims, keepdims=keepdim, initial=0)
        return np.min(size, axis=dims, keepdims=keepdim, initial=np.inf)
    total = np.add.reduce(np.power(size, p), axis=dims, keepdims=keepdim)
    return np.power(total, 1 / p).astype(size.dtype)


def _direction(x: Var) -> Var:
    return P["sgn"](x) if x.dtype.is_complex else P["sign"](x)


def _norm_gradient(
    g: Var, x: Var, *, out: Var, dims: tuple[int, ...], keepdim: bool, p: float
) -> Var:
    g, norm = restore(g, x, dims, keepdim), restore(out, x, dims, keepdim)
    if p == 0:
        return x * 0.0
    if p == 1:
        return _times(_direction(x), g)
    if p == 2:
        return _times(x, P["where"](P["eq"](norm, 0.0), 0.0, g / norm))
    size = P["abs"](x)
    if math.isinf(p):
        best = P["cast"](P["eq"](size, norm), dtype=size.dtype)
        share = best * (g / P["sum"](best, dims=dims, keepdim=True))
        return _times(_direction(x), share)
    power = P["where"](P["eq"](size, 0.0), 0.0, P["pow"](size, p - 1))
    scale = g * P["pow"](norm, 1 - p) if p < 2 else g / P["pow"](norm, p - 1)
    scale = P["where"](P["eq"](norm, 0.0), 0.0, scale)
    return _times(_direction(x), power * scale)


primitive(
    "vector_norm",
    "p-norm of the values over dimensions",
    rule=_real,
    reference=_wide(_norm),
    gradient=_norm_gradient,
)


def _logsumexp(x: np.ndarray, *, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
    if not x.size:
        shape = reduced_shape(x.shape, dims, keepdim)
        return np.full(shape, -np.inf, x.dtype)
    top = np.max(x.real, axis=dims, keepdims=True)
    top = np.where(np.isinf(top), 0, top).astype(x.real.dtype)
    total = np.add.reduce(np.exp(x - top), axis=dims, keepdims=keepdim)
    return np.log(total) + (top if keepdim else np.squeeze(top, dims))


def _logsumexp_gradient(g: Var, x: Var, *, out: Var, dims: tuple[int, ...], keepdim: bool) -> Var:
    return spread(g, x, dims, keepdim) * conj(P["exp"](x - restore(out, x, dims, keepdim)))


primitive(
    "logsumexp",
    "log of the sum of exponentials",
    rule=lambda x, *, dims, keepdim: Aval(reduced_shape(x.shape, dims, keepdim), x.dtype),
    reference=_wide(_logsumexp),
    gradient=_logsumexp_gradient,
)


def _logcumsumexp(x: np.ndarray, *, dim: int) -> np.ndarray:
    if not x.ndim or not x.size:
        return x.copy()
    if x.dtype.kind != "c":
        # In double precision, as PyTorch does: the gradient is a difference of two of these.
        return np.logaddexp.accumulate(x, axis=dim, dtype=np.float64).astype(x.dtype)
    # One after another, so that the angle is followed past half a turn and not wrapped.
    out = np.empty_like(x)
    rows, outs = np.moveaxis(x, dim, 0), np.moveaxis(out, dim, 0)
    so_far = np.full(rows.shape[1:], -np.inf, x.dtype)
    for i, row in enumerate(rows):
        high = np.where(row.real > so_far.real, row, so_far)
        low = np.where(row.real > so_far.real, so_far, row)
        more = high + np.log1p(np.exp(low - high))
        nothing = np.isneginf(high.real)
        unknown = np.isnan(row) | np.isnan(so_far)
        so_far = np.where(unknown, complex(np.nan, np.nan), np.where(nothing, -np.inf, more))
        outs[i] = so_far
    return out


def _logcumsumexp_gradient(g: Var, x: Var, *, out: Var, dim: int) -> Var:
    # sum over j >= i of g_j exp(x_i - out_j), in logarithms by the sign of g: no overflow.
    if not x.ndim:
        return g

    def part(size: Var) -> Var:
        # The logarithm of no size is kept out of what is differentiated again: it has no slope.
        some = size > 0.0
        scaled = P["where"](some, P["log"](P["where"](some, size, 1.0)) - out, -math.inf)
        flipped = P["flip"](scaled, dims=(dim,))
        return P["exp"](P["flip"](P["logcumsumexp"](flipped, dim=dim), dims=(dim,)) + x)

    if x.dtype.is_complex:
        flipped = P["flip"](P["log"](conj(g)) - out, dims=(dim,))
        total = P["flip"](P["logcumsumexp"](flipped, dim=dim), dims=(dim,))
        return conj(P["exp"](total + x))
    return part(g) - part(-g)


primitive(
    "logcumsumexp",
    "running log of the sum of exponentials",
    rule=lambda x, *, dim: x,
    reference=_wide(_logcumsumexp),
    gradient=_logcumsumexp_gradient,
)
