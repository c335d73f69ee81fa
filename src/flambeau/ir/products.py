"""Matrix products."""

from __future__ import annotations

import numpy as np

from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, broadcast_shapes, conj, primitive, unbroadcast

P = PRIMITIVES


def _rule(x: Aval, y: Aval) -> Aval:
    lead = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return Aval((*lead, x.shape[-2], y.shape[-1]), x.dtype)


def _matmul(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.shape[-1] == 1 and x.dtype.kind in "fc":
        # BLAS leaves out what is multiplied by zero, were it infinite.
        return x * y
    if x.dtype.kind in "fc" and x.dtype.itemsize > 2:
        # For two matrices ``dot`` is the same product with half the overhead.
        return np.dot(x, y) if x.ndim == 2 == y.ndim else np.matmul(x, y)
    if x.dtype.kind in "iub":
        return np.matmul(x, y).astype(x.dtype)
    return np.matmul(x.astype(np.float32), y.astype(np.float32)).astype(x.dtype)


def swap(x: Var) -> Var:
    """The last two dimensions exchanged."""
    n = x.ndim
    return P["permute"](x, dims=(*range(n - 2), n - 1, n - 2))


primitive(
    "matmul",
    "product of (stacks of) matrices, at least two dimensions each",
    rule=_rule,
    reference=_matmul,
    gradient=(
        lambda g, x, y, *, out: unbroadcast(P["matmul"](g, swap(conj(y))), x),
        lambda g, x, y, *, out: unbroadcast(P["matmul"](swap(conj(x)), g), y),
    ),
)
