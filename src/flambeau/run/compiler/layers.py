"""Primitives with kernels of their own: convolutions and pooling, on values in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.run.compiler import code, convolution, pooling
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.nodes import Operand, Ref

PLANS = {**convolution.PLANS, **pooling.PLANS}


@lowering(" ".join(PLANS))
def _stages(low: Lowering, e: Entry, *xs: Operand) -> list[Ref]:
    plan = PLANS[e.prim.name](e.attrs, e.in_avals, e.out_avals, code.target())
    if plan is None:
        raise Refused("no kernels for this case")
    if any(a.dtype is None for a in e.in_avals):
        raise Refused("a number as operand")
    given = [low.dense(x, a.shape, element(a.dtype)) for x, a in zip(xs, e.in_avals, strict=True)]
    els = [element(a.dtype) for a in e.out_avals]
    return low.stages(e.prim.name, plan, given, [a.shape for a in e.out_avals], els)
