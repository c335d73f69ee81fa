"""Euclidean distances between the rows of two matrices."""

from __future__ import annotations

import numpy as np

from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, broadcast_shapes, primitive, unbroadcast
from flambeau.ir.products import swap

P = PRIMITIVES

# Differences that a pass of the reference holds at a time.
_BLOCK = 1 << 20


def _rule(x: Aval, y: Aval) -> Aval:
    lead = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return Aval((*lead, x.shape[-2], y.shape[-2]), x.dtype)


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    out = np.empty((*lead, x.shape[-2], y.shape[-2]), x.dtype)
    step = max(1, _BLOCK // max(1, y.shape[-2] * y.shape[-1]))
    x, y = (np.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (x, y))
    for at in np.ndindex(lead):
        for start in range(0, x.shape[-2], step):
            gap = (x[at][start : start + step, None] - y[at]).astype(np.float64)
            out[at][start : start + step] = np.sqrt(np.einsum("ijk,ijk->ij", gap, gap))
    return out


def _weights(g: Var, out: Var) -> Var:
    """Gradients over distances; 0 where the points are one."""
    return P["where"](P["eq"](out, 0.0), 0.0, g / out)


def _from_weights(w: Var, x: Var, y: Var) -> Var:
    """The sum over rows of y of w (x - y)."""
    total = P["sum"](w, dims=(w.ndim - 1,), keepdim=True)
    return unbroadcast(x * total - P["matmul"](w, y), x)


primitive(
    "euclidean_distances",
    "distances of all rows of one matrix (or stack) to all of another",
    rule=_rule,
    reference=_distances,
    gradient=(
        lambda g, x, y, *, out: _from_weights(_weights(g, out), x, y),
        lambda g, x, y, *, out: _from_weights(swap(_weights(g, out)), y, x),
    ),
)
