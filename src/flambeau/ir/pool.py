"""Pooling over the last axes: maxima and means of windows, and their transposes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ir import reference
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, primitive

P = PRIMITIVES


def _lead(x: Aval | Var, d: int) -> tuple[int, ...]:
    return tuple(x.shape[: len(x.shape) - d])


def _size(x: Aval | Var, d: int) -> tuple[int, ...]:
    return tuple(x.shape[len(x.shape) - d :])


# ---------------------------------------------------------------------------- maxima


def _two(shape: tuple[int, ...], x: Aval) -> tuple[Aval, Aval]:
    return Aval(shape, x.dtype), Aval(shape, dtypes.int64)


def _max_rule(x: Aval, *, kernel_size: tuple, **how: Any) -> tuple[Aval, Aval]:
    d = len(kernel_size)
    size = reference.pool_output_size(_size(x, d), kernel_size=kernel_size, **how)
    return _two((*_lead(x, d), *size), x)


def _max_gradient(
    g: tuple, x: Var, *, out: tuple, kernel_size: tuple, stride: tuple, **how: Any
) -> Var:
    d = len(kernel_size)
    disjoint = all(s >= k for s, k in zip(stride, kernel_size, strict=True)) and all(
        n == 1 for n in how["dilation"]
    )
    return P["plane_add"](g[0], out[1], input_size=_size(x, d), disjoint=disjoint)


primitive(
    "max_pool",
    "the greatest of each window, and its place in its plane",
    rule=_max_rule,
    reference=reference.max_pool,
    gradient=_max_gradient,
)


def _adaptive_rule(x: Aval, *, output_size: tuple) -> tuple[Aval, Aval]:
    return _two((*_lead(x, len(output_size)), *output_size), x)


primitive(
    "adaptive_max_pool",
    "the greatest of each of evenly shared windows, and its place in its plane",
    rule=_adaptive_rule,
    reference=reference.adaptive_max_pool,
    gradient=lambda g, x, *, out, output_size: P["plane_add"](
        g[0], out[1], input_size=_size(x, len(output_size)), disjoint=False
    ),
)


def _plane_take(x: np.ndarray, places: np.ndarray, *, d: int) -> np.ndarray:
    """``x`` at flat places of its planes of ``d`` axes."""
    lead = x.shape[: x.ndim - d]
    flat = x.reshape(*lead, -1)
    found = np.take_along_axis(flat, places.reshape(*lead, -1), -1)
    return found.reshape(places.shape)


def _plane_put(x: np.ndarray, places: np.ndarray, *, output_size: tuple[int, ...]) -> np.ndarray:
    lead = x.shape[: x.ndim - len(output_size)]
    room = prod(output_size)
    if places.size:
        wrong = (places < 0) | (places >= room)
        if wrong.any():
            raise RuntimeError(
                f"Found an invalid max index: {int(places[wrong].flat[0])} (output volumes are of "
                f"size {'x'.join(map(str, output_size))})"
            )
    out = np.zeros((*lead, room), x.dtype)
    np.put_along_axis(out, places.reshape(*lead, -1), x.reshape(*lead, -1), -1)
    return out.reshape(*lead, *output_size)


primitive(
    "plane_add",
    "zeros with x added at flat places of planes: the gradient of max_pool",
    rule=lambda x, places, *, input_size, disjoint: Aval(
        (*_lead(x, len(input_size)), *input_size), x.dtype
    ),
    reference=reference.max_pool_gradient,
    gradient=(
        lambda g, x, places, *, out, input_size, disjoint: P["plane_take"](
            g, places, d=len(input_size)
        ),
        None,
    ),
)
primitive(
    "plane_take",
    "the values at flat places of planes",
    rule=lambda x, places, *, d: Aval(places.shape, x.dtype),
    reference=_plane_take,
    gradient=(
        lambda g, x, places, *, out, d: P["plane_add"](
            g, places, input_size=_size(x, d), disjoint=False
        ),
        None,
    ),
)
primitive(
    "plane_put",
    "zeros with x written at flat places of planes: unpooling",
    rule=lambda x, places, *, output_size: Aval(
        (*_lead(x, len(output_size)), *output_size), x.dtype
    ),
    reference=_plane_put,
    gradient=(
        lambda g, x, places, *, out, output_size: P["plane_take"](g, places, d=len(output_size)),
        None,
    ),
)

# ----------------------------------------------------------------- fractional maxima


def fractional_starts(samples: np.ndarray, n: int, output: int, kernel: int) -> np.ndarray:
    """Where windows begin along an axis, one row a sample [Graham 2014]."""
    if output == 1:
        return np.full((*samples.shape, 1), n - kernel, np.int64)
    # In the samples' own precision, as the C++ expressions are.
    alpha = samples.dtype.type(n - kernel) / samples.dtype.type(output - 1)
    steps = np.arange(output - 1).astype(samples.dtype)
    shifted = ((steps + samples[..., None]) * alpha).astype(np.int64)
    first = (samples[..., None] * alpha).astype(np.int64)
    last = np.full((*samples.shape, 1), n - kernel, np.int64)
    return np.concatenate([shifted - first, last], -1)


def _fractional_max_pool(
    x: np.ndarray, samples: np.ndarray, *, kernel_size: tuple, output_size: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """Shapes: ``x`` is ``(N, C, *spatial)``, ``samples`` ``(N, C, d)``."""
    d, size = len(kernel_size), x.shape[2:]
    places = np.zeros((*x.shape[:2], *(1,) * d, *(1,) * d), np.int64)
    for a in range(d):
        # As in PyTorch: of images for the last axis first, of volumes for the first.
        sample = samples[..., d - 1 - a if d == 2 else a]
        starts = fractional_starts(sample, size[a], output_size[a], kernel_size[a])
        along = starts[..., None] + np.arange(kernel_size[a])
        shape = [1] * (2 * d)
        shape[a], shape[d + a] = output_size[a], kernel_size[a]
        places = places + along.reshape(*x.shape[:2], *shape) * prod(size[a + 1 :])
    windows, each = prod(output_size), prod(kernel_size)
    flat_places = places.reshape(*x.shape[:2], windows, each)
    lead = flat_places.reshape(*x.shape[:2], windows * each)
    values = np.take_along_axis(x.reshape(*x.shape[:2], prod(size)), lead, -1)
    values = values.reshape(flat_places.shape)
    best = reference.pool._last_nan_or_first_max(values)[..., None]
    shape = (*x.shape[:2], *output_size)
    return (
        np.take_along_axis(values, best, -1).reshape(shape),
        np.take_along_axis(flat_places, best, -1).reshape(shape),
    )


primitive(
    "fractional_max_pool",
    "the greatest of pseudo-random windows, and its place in its plane",
    rule=lambda x, samples, *, kernel_size, output_size: _two((*x.shape[:2], *output_size), x),
    reference=_fractional_max_pool,
    gradient=(
        lambda g, x, samples, *, out, kernel_size, output_size: P["plane_add"](
            g[0], out[1], input_size=_size(x, len(kernel_size)), disjoint=False
        ),
        None,
    ),
)

# ------------------------------------------------------------------------------- means


def _avg_rule(
    x: Aval, *, kernel_size: tuple, stride: tuple, padding: tuple, ceil_mode: bool, **counts: Any
) -> Aval:
    d = len(kernel_size)
    size = reference.pool_output_size(
        _size(x, d), kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
    )
    return Aval((*_lead(x, d), *size), x.dtype)


primitive(
    "avg_pool",
    "the mean of each window",
    rule=_avg_rule,
    reference=reference.avg_pool,
    gradient=lambda g, x, *, out, kernel_size, **how: P["avg_pool_gradient"](
        g, input_size=_size(x, len(kernel_size)), kernel_size=kernel_size, **how
    ),
)
primitive(
    "avg_pool_gradient",
    "the transpose of avg_pool",
    rule=lambda g, *, input_size, **how: Aval((*_lead(g, len(input_size)), *input_size), g.dtype),
    reference=reference.avg_pool_gradient,
    gradient=lambda h, g, *, out, input_size, **how: P["avg_pool"](h, **how),
)
primitive(
    "adaptive_avg_pool",
    "the means of evenly shared windows",
    rule=lambda x, *, output_size: Aval((*_lead(x, len(output_size)), *output_size), x.dtype),
    reference=reference.adaptive_avg_pool,
    gradient=lambda g, x, *, out, output_size: P["adaptive_avg_pool_gradient"](
        g, input_size=_size(x, len(output_size))
    ),
)
primitive(
    "adaptive_avg_pool_gradient",
    "the transpose of adaptive_avg_pool",
    rule=lambda g, *, input_size: Aval((*_lead(g, len(input_size)), *input_size), g.dtype),
    reference=reference.adaptive_avg_pool_gradient,
    gradient=lambda h, g, *, out, input_size: P["adaptive_avg_pool"](
        h, output_size=_size(g, len(input_size))
    ),
)
