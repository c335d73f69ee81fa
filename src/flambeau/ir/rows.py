"""Primitives that treat a row as a whole: softmax, standardisation, the choice of a class."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, primitive

P = PRIMITIVES


def _unchanged(x: Aval, *others: Any, **attrs: Any) -> Aval:
    return x


def _total(x: Var, dim: int) -> Var:
    return P["sum"](x, dims=(dim,), keepdim=True)


def _in_float32(f: Any) -> Any:
    """``f`` of arrays, computed in float32 where they have 16 bits."""

    def reference(x: np.ndarray, *others: np.ndarray, **attrs: Any) -> np.ndarray:
        if x.dtype.itemsize == 2 and x.dtype.kind in "fV":
            wide = [a.astype(np.float32) for a in (x, *others)]
            return f(*wide, **attrs).astype(x.dtype)
        return f(x, *others, **attrs)

    return reference


# ------------------------------------------------------------------------------- softmax


def _softmax(x: np.ndarray, *, dim: int) -> np.ndarray:
    x = np.asarray(x)
    if not x.size:
        return x.copy()
    if not x.ndim:
        return np.where(np.isnan(x) | np.isinf(x), x - x, 1).astype(x.dtype)
    out = x - x.max(dim, keepdims=True)
    np.exp(out, out=out)
    out /= out.sum(dim, keepdims=True)
    return out


def _log_softmax(x: np.ndarray, *, dim: int) -> np.ndarray:
    x = np.asarray(x)
    if not x.size:
        return x.copy()
    if not x.ndim:
        return x - x
    out = x - x.max(dim, keepdims=True)
    out -= np.log(np.exp(out).sum(dim, keepdims=True))
    return out


def _softmax_gradient(g: np.ndarray, y: np.ndarray, *, dim: int) -> np.ndarray:
    out = g * y
    if not y.ndim:
        return out - out * y
    out -= y * out.sum(dim, keepdims=True)
    return out


def _log_softmax_gradient(g: np.ndarray, y: np.ndarray, *, dim: int) -> np.ndarray:
    if not y.ndim:
        return g - np.exp(y) * g
    out = np.exp(y)
    out *= g.sum(dim, keepdims=True)
    return np.subtract(g, out, out=out)


def _softmax_gradient_of_result(h: Var, g: Var, y: Var, *, out: Var, dim: int) -> Var:
    if not y.ndim:
        return h * g * (1.0 - 2.0 * y)
    return h * (g - _total(g * y, dim)) - g * _total(h * y, dim)


def _log_softmax_gradient_of_result(h: Var, g: Var, y: Var, *, out: Var, dim: int) -> Var:
    return -h * P["exp"](y) * (_total(g, dim) if y.ndim else g)


def _log_softmax_gradient_of_gradient(h: Var, g: Var, y: Var, *, out: Var, dim: int) -> Var:
    weighted = h * P["exp"](y)
    return h - (_total(weighted, dim) if y.ndim else weighted)


primitive(
    "softmax",
    "exp(x) over its sum along a dimension",
    rule=_unchanged,
    reference=_in_float32(_softmax),
    gradient=lambda g, x, *, out, dim: P["softmax_gradient"](g, out, dim=dim),
)
primitive(
    "log_softmax",
    "x less the logarithm of the sum of exp(x) along a dimension",
    rule=_unchanged,
    reference=_in_float32(_log_softmax),
    gradient=lambda g, x, *, out, dim: P["log_softmax_gradient"](g, out, dim=dim),
)
primitive(
    "softmax_gradient",
    "y * (g - sum(g * y)): the gradient of softmax from its result",
    rule=_unchanged,
    reference=_in_float32(_softmax_gradient),
    gradient=(
        lambda h, g, y, *, out, dim: P["softmax_gradient"](h, y, dim=dim),
        _softmax_gradient_of_result,
    ),
)
primitive(
    "log_softmax_gradient",
    "g - exp(y) * sum(g): the gradient of log_softmax from its result",
    rule=_unchanged,
    reference=_in_float32(_log_softmax_gradient),
    gradient=(_log_softmax_gradient_of_gradient, _log_softmax_gradient_of_result),
)

# ---------------------------------------------------------------------- standardisation


def _kept(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if d in dims else n for d, n in enumerate(shape))


def _standardize_rule(x: Aval, eps: Any, *, dims: tuple[int, ...]) -> tuple[Aval, ...]:
    row = Aval(_kept(x.shape, dims), x.dtype)
    return x, row, row


def _standardize(x: np.ndarray, eps: float, *, dims: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    dtype = x.dtype
    if dtype.itemsize == 2:
        x = x.astype(np.float32)
    mean = x.mean(dims, keepdims=True)
    out = x - mean
    variance = np.square(out).mean(dims, keepdims=True)
    out *= 1 / np.sqrt(variance + eps)
    if out.dtype != dtype:
        return out.astype(dtype), mean.astype(dtype), variance.astype(dtype)
    return out, mean, variance


def _standardize_from_all(g: tuple, x: Var, eps: Any, *, out: tuple, dims: tuple) -> Var:
    """The gradient of ``x`` from those of its standardised form, its mean and its variance."""
    y, mean, variance = out
    n = prod(x.shape[d] for d in dims)
    found = None
    if g[0] is not None:
        found = P["standardize_gradient"](g[0], y, variance, eps, dims=dims)
    if g[1] is not None:
        part = P["broadcast"](g[1] * (1.0 / n), shape=x.shape)
        found = part if found is None else found + part
    if g[2] is not None:
        part = (x - mean) * (g[2] * (2.0 / n))
        found = part if found is None else found + part
    return found


def _standardize_gradient(
    g: np.ndarray, y: np.ndarray, variance: np.ndarray, eps: float, *, dims: tuple[int, ...]
) -> np.ndarray:
    dtype = g.dtype
    if dtype.itemsize == 2:
        g, y, variance = (a.astype(np.float32) for a in (g, y, variance))
    out = y * (g * y).mean(dims, keepdims=True)
    out += g.mean(dims, keepdims=True)
    np.subtract(g, out, out=out)
    out *= 1 / np.sqrt(variance + eps)
    return out.astype(dtype, copy=False)


def _scale(variance: Var, eps: Any) -> Var:
    return P["rsqrt"](variance + eps)


def _standardize_gradient_of_result(
    h: Var, g: Var, y: Var, variance: Var, eps: Any, *, out: Var, dims: tuple
) -> Var:
    n = prod(y.shape[d] for d in dims)

    def mean(v: Var) -> Var:
        return P["sum"](v, dims=dims, keepdim=True) * (1.0 / n)

    return -(h * mean(g * y) + g * mean(h * y)) * _scale(variance, eps)


def _standardize_gradient_of_variance(
    h: Var, g: Var, y: Var, variance: Var, eps: Any, *, out: Var, dims: tuple
) -> Var:
    return P["sum"](h * out, dims=dims, keepdim=True) * -0.5 / (variance + eps)


primitive(
    "standardize",
    "(x - mean) / sqrt(variance + eps) over dimensions; the mean and the variance",
    rule=_standardize_rule,
    reference=_standardize,
    gradient=(_standardize_from_all, None),
)
primitive(
    "standardize_gradient",
    "(g - mean(g) - y mean(g y)) / sqrt(variance + eps): the gradient of standardize",
    rule=_unchanged,
    reference=_standardize_gradient,
    gradient=(
        lambda h, g, y, v, eps, *, out, dims: P["standardize_gradient"](h, y, v, eps, dims=dims),
        _standardize_gradient_of_result,
        _standardize_gradient_of_variance,
        None,
    ),
)

# ------------------------------------------------------------------- the choice of a class


def _nll_rule(x: Aval, target: Aval, *weight: Aval, reduction: str, ignore: int) -> Aval:
    return Aval(target.shape if reduction == "none" else (), x.dtype)


def check_targets(target: np.ndarray, classes: int, ignore: int) -> bool:
    """Whether no target is ``ignore``; ``IndexError`` for one that is no class."""
    if not target.size:
        return True
    # As unsigned numbers, negative ones are the greatest: one pass for both ends.
    unsigned = np.uint8 if target.dtype == np.uint8 else np.uint64
    if np.maximum.reduce(target.view(unsigned), axis=None) < classes:
        return ignore < 0 or ignore >= classes or not (target == ignore).any()
    wrong = ((target < 0) | (target >= classes)) & (target != ignore)
    if wrong.any():
        raise IndexError(f"Target {int(target[wrong].flat[0])} is out of bounds.")
    return False


def _chosen(
    target: np.ndarray, shape: tuple[int, ...], ignore: int
) -> tuple[tuple, np.ndarray | None]:
    """The index of the target's elements in an input of ``shape``, and which are not ignored."""
    target = np.ascontiguousarray(target).reshape(np.shape(target))
    axis = 1 if len(shape) > 1 else 0
    kept = None
    if not check_targets(target, shape[axis], ignore):
        kept = target != ignore
        target = np.where(kept, target, 0)
    if len(shape) == 1:
        return (target,), kept
    at = [
        np.arange(n).reshape([-1 if d == i else 1 for i in range(target.ndim)])
        for d, n in enumerate(target.shape)
    ]
    return (at[0], target, *at[1:]), kept


def _weights(
    target: np.ndarray, kept: np.ndarray | None, weight: tuple, dtype: Any
) -> np.ndarray | None:
    """The weight of each target; None for ones."""
    if weight:
        each = weight[0].astype(dtype, copy=False)[target]
        return each if kept is None else np.where(kept, each, dtype.type(0))
    return None if kept is None else kept.astype(dtype)


def _nll(
    x: np.ndarray, target: np.ndarray, *weight: np.ndarray, reduction: str, ignore: int
) -> np.ndarray:
    dtype = x.dtype
    if dtype.itemsize == 2:
        x = x.astype(np.float32)
    at, kept = _chosen(target, x.shape, ignore)
    picked = x[at]
    each = _weights(at[1 if x.ndim > 1 else 0], kept, weight, x.dtype)
    if each is not None:
        picked = picked * each if kept is None else np.where(kept, picked * each, x.dtype.type(0))
    if reduction == "none":
        return np.asarray(-picked).astype(dtype, copy=False)
    total = -np.add.reduce(np.asarray(picked), axis=None)
    if reduction == "mean":
        count = np.asarray(target).size if each is None else np.asarray(each).sum(dtype=x.dtype)
        total = total / np.asarray(count, x.dtype)
    return np.asarray(total).astype(dtype, copy=False)


def _nll_gradient(
    g: np.ndarray,
    target: np.ndarray,
    *weight: np.ndarray,
    reduction: str,
    ignore: int,
    shape: tuple[int, ...],
) -> np.ndarray:
    dtype = g.dtype
    if dtype.itemsize == 2:
        g = g.astype(np.float32)
    out = np.zeros(shape, g.dtype)
    at, kept = _chosen(target, shape, ignore)
    each = _weights(at[1 if len(shape) > 1 else 0], kept, weight, g.dtype)
    value = -g
    if reduction == "mean":
        count = np.asarray(target).size if each is None else np.asarray(each).sum(dtype=g.dtype)
        value = value / np.asarray(count, g.dtype)
    if each is not None:
        value = value * each
        if kept is not None:
            value = np.where(kept, value, out.dtype.type(0))
    out[at] = value
    return out.astype(dtype, copy=False)


primitive(
    "nll",
    "minus the elements that class indices choose along dimension 1, weighed, reduced",
    rule=_nll_rule,
    reference=_nll,
    gradient=(
        lambda g, x, target, *weight, out, reduction, ignore: P["nll_gradient"](
            g, target, *weight, reduction=reduction, ignore=ignore, shape=x.shape
        ),
    ),
)
primitive(
    "nll_gradient",
    "the transpose of nll",
    rule=lambda g, target, *weight, reduction, ignore, shape: Aval(shape, g.dtype),
    reference=_nll_gradient,
    gradient=(
        lambda h, g, target, *weight, out, reduction, ignore, shape: P["nll"](
            h, target, *weight, reduction=reduction, ignore=ignore
        ),
    ),
)
__all__ = ["check_targets"]
