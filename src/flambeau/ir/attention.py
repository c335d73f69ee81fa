"""Scaled dot-product attention as one primitive, and its gradient: scores are never all in memory.

Operands: queries ``(..., L, E)``, keys ``(..., S, E)``, values ``(..., S, V)`` whose leading
dimensions broadcast, the scale (a run-time number), and perhaps a mask that broadcasts to
``(..., L, S)``: true where attention is allowed, or numbers to add. Results: the output and the
logarithm of each row's sum of exponentials, from which the gradient makes the weights anew
[Dao et al. 2022]. 16-bit values are computed with in float32, and the results are float32: the
gradient of the scores is a difference that rounding the output would spoil. ``rounded``: weights
and the scores' gradient have 16 bits where they meet the operands, and the output in its gradient,
as in PyTorch's kernel of tiles; sums of weights do not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ir.derive import vjp
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, broadcast_shapes, primitive, unbroadcast

P = PRIMITIVES

__all__ = ["stack_of"]


def stack_of(*xs: Any) -> tuple[int, ...]:
    """The leading dimensions of the results."""
    return broadcast_shapes(*(x.shape[:-2] for x in xs))


def _row_dtype(dtype: dtypes.dtype) -> dtypes.dtype:
    return dtypes.float32 if dtype.itemsize == 2 else dtype


def _rule(
    q: Aval, k: Aval, v: Aval, scale: Any, *mask: Aval, causal: bool, rounded: bool = False
) -> tuple[Aval, Aval]:
    if q.shape[-1] != k.shape[-1]:
        raise RuntimeError(
            f"The size of tensor a ({q.shape[-1]}) must match the size of tensor b "
            f"({k.shape[-1]}) at non-singleton dimension 3"
        )
    if k.shape[-2] != v.shape[-2]:
        raise RuntimeError(
            f"keys and values must be as many, but got {k.shape[-2]} (keys {list(k.shape)}) and "
            f"{v.shape[-2]} (values {list(v.shape)})"
        )
    stack = stack_of(q, k, v)
    scores = (*stack, q.shape[-2], k.shape[-2])
    if mask:
        whole = broadcast_shapes(mask[0].shape, scores)
        if whole != scores:
            raise RuntimeError(
                f"output with shape {list(scores)} doesn't match the broadcast shape {list(whole)}"
            )
    rows = (*stack, q.shape[-2])
    dtype = _row_dtype(q.dtype)
    return Aval((*rows, v.shape[-1]), dtype), Aval(rows, dtype)


# ----------------------------------------------------------------------------- references


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def _scores(
    q: np.ndarray, k: np.ndarray, scale: float, mask: tuple[np.ndarray, ...], causal: bool
) -> np.ndarray:
    s = np.matmul(q * q.dtype.type(scale), np.swapaxes(k, -1, -2))
    if mask:
        (m,) = mask
        s = s + (np.where(m, 0, -math.inf) if m.dtype == np.bool_ else m).astype(s.dtype)
    if causal:
        s = np.where(np.tri(*s.shape[-2:], dtype=np.bool_), s, s.dtype.type(-math.inf))
    return s


def _finite(x: np.ndarray) -> np.ndarray:
    """Zero for the -inf of a row with nothing to attend to."""
    return np.where(x == -math.inf, x.dtype.type(0), x)


def _attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    scale: float,
    *mask: np.ndarray,
    causal: bool,
    rounded: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    kind = q.dtype
    q, k, v = _wide(q), _wide(k), _wide(v)
    s = _scores(q, k, scale, mask, causal)
    highest = s.max(-1, keepdims=True, initial=-math.inf)
    shift = _finite(highest)
    p = np.exp(s - shift)
    total = p.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (shift + np.log(total))[..., 0]
    some = np.where(total == 0, total.dtype.type(1), total)
    out = np.matmul(_wide(p.astype(kind)), v) / some if rounded else np.matmul(p / some, v)
    return out, np.ascontiguousarray(np.broadcast_to(lse, out.shape[:-1]))


def _summed(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Summed over what was broadcast from ``shape``."""
    extra = x.ndim - len(shape)
    dims = [d for d in range(x.ndim) if d < extra or shape[d - extra] != x.shape[d]]
    return x.sum(tuple(dims)).reshape(shape) if dims else x


def _attention_gradient(
    g: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    lse: np.ndarray,
    delta: np.ndarray,
    scale: float,
    *mask: np.ndarray,
    causal: bool,
    rounded: bool = False,
) -> tuple[np.ndarray, ...]:
    dtype, shapes = q.dtype, (q.shape, k.shape, v.shape)
    g, q, k, v = _wide(g), _wide(q), _wide(k), _wide(v)
    p = np.exp(_scores(q, k, scale, mask, causal) - _finite(lse)[..., None])
    ds = p * (np.matmul(g, np.swapaxes(v, -1, -2)) - delta[..., None])
    if rounded:
        p, ds = _wide(p.astype(dtype)), _wide(ds.astype(dtype))
    ds *= ds.dtype.type(scale)
    found = (
        np.matmul(ds, k),
        np.matmul(np.swapaxes(ds, -1, -2), q),
        np.matmul(np.swapaxes(p, -1, -2), g),
    )
    return tuple(
        _summed(x, shape).astype(dtype, copy=False) for x, shape in zip(found, shapes, strict=True)
    )


# -------------------------------------------------------------------------------- gradients


def _swap(x: Var) -> Var:
    n = x.ndim
    return P["permute"](x, dims=(*range(n - 2), n - 1, n - 2))


def _cast(x: Var, dtype: dtypes.dtype) -> Var:
    return x if x.dtype is dtype else P["cast"](x, dtype=dtype)


def _column(x: Var) -> Var:
    return P["reshape"](x, shape=(*x.shape, 1))


def _weights(q: Var, k: Var, lse: Var, scale: Any, mask: tuple[Var, ...], causal: bool) -> Var:
    """The weights, each row from the logarithm of its sum."""
    s = P["matmul"](q * scale, _swap(k))
    if mask:
        (m,) = mask
        if m.dtype is dtypes.bool_:
            s = s + P["where"](m, P["full"](0.0, shape=(), dtype=s.dtype), -math.inf)
        else:
            s = s + _cast(m, s.dtype)
    if causal:
        size = s.shape[-2:]
        row, column = (P["iota"](shape=size, dim=d, dtype=dtypes.int64) for d in (0, 1))
        s = P["where"](P["gt"](column, row), -math.inf, s)
    none = P["eq"](lse, -math.inf)
    return P["exp"](s - _column(P["where"](none, 0.0, lse)))


def _of_scores(
    g: Var, q: Var, k: Var, v: Var, lse: Var, delta: Var, scale: Any, mask: Any, causal: bool
) -> tuple[Var, Var]:
    """The weights, and the gradient of the scores, in the dtype of ``lse``."""
    p = _weights(_cast(q, lse.dtype), _cast(k, lse.dtype), lse, scale, mask, causal)
    of_weights = P["matmul"](_cast(g, lse.dtype), _swap(_cast(v, lse.dtype)))
    return p, p * (of_weights - _column(delta))


def _gradient(
    position: int, g: Any, *xs: Var, out: Any, causal: bool, rounded: bool = False
) -> Var | None:
    """Of queries, keys, values: all from one primitive; of a mask: through the whole scores."""
    (q, k, v, scale, *mask), (of_out, of_lse), (result, lse) = xs, g, out
    if of_out is None:
        of_out = P["full"](0.0, shape=result.shape, dtype=result.dtype)
    more = {"rounded": True} if rounded else {}
    seen = _cast(_cast(result, q.dtype), result.dtype) if rounded else result
    product = of_out * seen
    delta = P["sum"](product, dims=(result.ndim - 1,), keepdim=False)
    if of_lse is not None:
        delta = delta - of_lse
    if position < 3:
        given = of_out, q, k, v, lse, delta, scale, *mask
        return P["attention_gradient"](*given, causal=causal, **more)[position]
    if mask[0].dtype is dtypes.bool_:
        return None
    _, ds = _of_scores(of_out, q, k, v, lse, delta, scale, tuple(mask), causal)
    return _cast(unbroadcast(ds, mask[0]), mask[0].dtype)


def _spelled_out(*xs: Var, scale: Any, causal: bool) -> tuple[Var, ...]:
    """``attention_gradient`` in smaller primitives."""
    g, q, k, v, lse, delta, *mask = xs
    p, ds = _of_scores(g, q, k, v, lse, delta, scale, tuple(mask), causal)
    ds = ds * scale
    found = (
        P["matmul"](ds, _cast(k, lse.dtype)),
        P["matmul"](_swap(ds), _cast(q, lse.dtype)),
        P["matmul"](_swap(p), _cast(g, lse.dtype)),
    )
    return tuple(
        _cast(unbroadcast(x, like), q.dtype) for x, like in zip(found, (q, k, v), strict=True)
    )


def _gradient_again(
    position: int, h: Any, *xs: Var, out: Any, causal: bool, rounded: bool = False
) -> Var | None:
    *operands, scale = xs[:7]
    operands = [*operands, *xs[7:]]
    found = vjp(lambda *ys: _spelled_out(*ys, scale=scale, causal=causal), operands, h)
    return found[position if position < 6 else position - 1]


primitive(
    "attention",
    "softmax(scale Q K^T + mask) V, and the logarithm of each row's sum of exponentials",
    rule=_rule,
    reference=_attention,
    variadic=_gradient,
)
primitive(
    "attention_gradient",
    "the gradients of attention: of queries, keys and values, the weights made anew",
    rule=lambda g, q, k, v, *others, causal, rounded=False: (q, k, v),
    reference=_attention_gradient,
    variadic=_gradient_again,
)
