"""Weighted elements of an image at computed places, and how their gradients go back.

The three primitives are the three sides of one sum, so each has its gradients in the others.
"""

from __future__ import annotations

import numpy as np

from flambeau.ir.graph import Aval
from flambeau.ir.primitive import PRIMITIVES, primitive

P = PRIMITIVES

# Shapes: x is (N, C, S), g (N, C, M), weights and places (N, T, M): T taps for each of M points.
# A tap whose place is below 0 reads nothing, and adds nothing.


def _sample_rule(x: Aval, weights: Aval, places: Aval) -> Aval:
    return Aval((*x.shape[:2], weights.shape[2]), x.dtype)


def _taken(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """``(N, C, M)`` from the places ``(N, M)`` of one tap."""
    found = np.take_along_axis(x, np.maximum(places, 0)[:, None], 2)
    return np.where(places[:, None] < 0, x.dtype.type(0), found)


def _sample(x: np.ndarray, weights: np.ndarray, places: np.ndarray) -> np.ndarray:
    out = np.zeros((*x.shape[:2], weights.shape[2]), x.dtype)
    for t in range(weights.shape[1]):
        # What is not read is not multiplied either: its weight may be infinite.
        w = np.where(places[:, t] < 0, x.dtype.type(0), weights[:, t])
        out += _taken(x, places[:, t]) * w[:, None]
    return out


def _spread_rule(g: Aval, weights: Aval, places: Aval, *, size: int) -> Aval:
    return Aval((*g.shape[:2], size), g.dtype)


def _spread(g: np.ndarray, weights: np.ndarray, places: np.ndarray, *, size: int) -> np.ndarray:
    out = np.zeros((*g.shape[:2], size), g.dtype)
    lead = np.arange(g.shape[1])[:, None]
    for i in range(len(g)):
        for t in range(weights.shape[1]):
            held = places[i, t] >= 0
            at = np.broadcast_to(places[i, t, held], (len(lead), held.sum()))
            np.add.at(out[i], (lead, at), g[i][:, held] * weights[i, t, held])
    return out


def _weigh_rule(g: Aval, x: Aval, places: Aval) -> Aval:
    return Aval(places.shape, g.dtype)


def _weigh(g: np.ndarray, x: np.ndarray, places: np.ndarray) -> np.ndarray:
    out = np.empty(places.shape, g.dtype)
    for t in range(places.shape[1]):
        out[:, t] = np.where(places[:, t] < 0, 0, (g * _taken(x, places[:, t])).sum(1))
    return out


primitive(
    "sample",
    "sums of weighted elements, a few computed places for each point",
    rule=_sample_rule,
    reference=_sample,
    gradient=(
        lambda g, x, w, at, *, out: P["sample_spread"](g, w, at, size=x.shape[2]),
        lambda g, x, w, at, *, out: P["sample_weigh"](g, x, at),
        None,
    ),
)

primitive(
    "sample_spread",
    "points times weights added up at computed places: the gradient of `sample`",
    rule=_spread_rule,
    reference=_spread,
    gradient=(
        lambda h, g, w, at, *, out, size: P["sample"](h, w, at),
        lambda h, g, w, at, *, out, size: P["sample_weigh"](g, h, at),
        None,
    ),
)

primitive(
    "sample_weigh",
    "sums over channels of points times elements: the gradient of `sample` by its weights",
    rule=_weigh_rule,
    reference=_weigh,
    gradient=(
        lambda h, g, x, at, *, out: P["sample"](x, h, at),
        lambda h, g, x, at, *, out: P["sample_spread"](g, h, at, size=x.shape[2]),
        None,
    ),
)
