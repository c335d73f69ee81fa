"""Primitives that let gradients flow through gamma and Dirichlet draws."""

from __future__ import annotations

from flambeau.ir.graph import Aval, Var
from flambeau.ir.numeric import undefined
from flambeau.ir.primitive import PRIMITIVES, broadcast_shapes, primitive, unbroadcast
from flambeau.ir.reference import pathwise

P = PRIMITIVES


def _rule(x: Aval, *others: Aval) -> Aval:
    return Aval(broadcast_shapes(x.shape, *[y.shape for y in others]), x.dtype)


primitive(
    "standard_gamma_gradient",
    "how a gamma variate moves with its shape parameter",
    rule=_rule,
    reference=pathwise.standard_gamma_gradient,
    gradient=(
        undefined("_standard_gamma_grad: self", 0),
        undefined("_standard_gamma_grad: output", 1),
    ),
)
primitive(
    "standard_gamma_draw",
    "a gamma variate that was drawn with these shape parameters",
    rule=lambda a, drawn: drawn,
    reference=lambda a, drawn: drawn,
    gradient=(
        lambda g, a, drawn, *, out: unbroadcast(g * P["standard_gamma_gradient"](a, out), a),
        None,
    ),
)
primitive(
    "dirichlet_gradient",
    "how a part of a Dirichlet variate moves with its concentration, by its beta marginal",
    rule=_rule,
    reference=pathwise.dirichlet_gradient,
    gradient=tuple(
        undefined(f"_dirichlet_grad: {name}", i) for i, name in enumerate(("x", "alpha", "total"))
    ),
)


def _dirichlet(g: Var, a: Var, drawn: Var, *, out: Var) -> Var:
    last = (a.ndim - 1,)
    total = P["sum"](a, dims=last, keepdim=True)
    slope = P["dirichlet_gradient"](out, a, total)
    return slope * (g - P["sum"](out * g, dims=last, keepdim=True))


primitive(
    "dirichlet_draw",
    "a Dirichlet variate that was drawn with these concentrations",
    rule=lambda a, drawn: drawn,
    reference=lambda a, drawn: drawn,
    gradient=(_dirichlet, None),
)
