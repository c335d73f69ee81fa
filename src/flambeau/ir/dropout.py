"""The primitive of dropout: values kept and scaled, or multiplied by zero."""

from __future__ import annotations

import numpy as np

from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, broadcast_shapes, primitive, unbroadcast

P = PRIMITIVES


def _rule(x: Aval, kept: Aval, scale: Aval) -> Aval:
    return Aval(broadcast_shapes(x.shape, kept.shape), x.dtype)


def _reference(x: np.ndarray, kept: np.ndarray, scale: float) -> np.ndarray:
    kind = x.dtype.type
    return x * np.where(kept, kind(scale), kind(0))


def _gradient(g: Var, x: Var, kept: Var, scale: Var, *, out: Var) -> Var:
    return unbroadcast(P["dropout"](g, kept, scale), x)


# One primitive, whose gradient is itself: the factors, a number for each truth value, are made
# anew wherever they are used, so that no program ever has a reason to keep them in memory.
primitive(
    "dropout",
    "x times a number where the condition holds, else x times 0",
    rule=_rule,
    reference=_reference,
    gradient=(_gradient, None, None),
)
