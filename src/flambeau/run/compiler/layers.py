"""Primitives with kernels of their own: convolutions, pooling, recurrent layers, on values in
memory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flambeau.run.compiler import (
    attention,
    code,
    convolution,
    convolution_sizes,
    pooling,
    recurrence,
)
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering, sized

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.nodes import Operand, Ref

del attention  # imported for what it registers

WITH_EPILOGUES = ("convolution", "convolution_input_gradient")
# Where sizes are known only when they run.
SIZED = {
    "convolution": convolution_sizes.convolution,
    "convolution_input_gradient": convolution_sizes.input_gradient,
    "convolution_weight_gradient": convolution_sizes.weight_gradient,
}
PLANS = {
    name: plan
    for name, plan in {**convolution.PLANS, **pooling.PLANS, **recurrence.PLANS}.items()
    if name not in WITH_EPILOGUES
}


@lowering(" ".join(WITH_EPILOGUES))
def _convolution(low: Lowering, e: Entry, *xs: Operand) -> list[Ref]:
    if low.sizes is not None and sized(e):
        return [SIZED[e.prim.name](low, e, *xs)]
    spec = convolution.convolution(e.prim.name, e.attrs, e.in_avals, e.out_avals, code.target())
    if spec is None:
        raise Refused("no kernels for this case")
    pairs = zip(xs, e.in_avals, strict=True)
    given = [low.dense(x, a.shape, element(a.dtype)) for x, a in pairs]
    outs = [a.shape for a in e.out_avals]
    return low.stages(e.prim.name, spec, given, outs, [element(a.dtype) for a in e.out_avals])


@lowering(" ".join(PLANS))
def _stages(low: Lowering, e: Entry, *xs: Operand) -> list[Ref]:
    if low.sizes is not None and e.prim.name in SIZED and sized(e):
        return [SIZED[e.prim.name](low, e, *xs)]
    plan = PLANS[e.prim.name](e.attrs, e.in_avals, e.out_avals, code.target())
    if plan is None:
        raise Refused("no kernels for this case")
    if any(a.dtype is None for a in e.in_avals):
        raise Refused("a number as operand")
    # What no kernel reads need not be there.
    read = sorted({int(o) for stage in plan.stages for o in stage.operands if o.isdigit()})
    names = {str(old): str(new) for new, old in enumerate(read)}
    stages = [
        replace(stage, operands=tuple(names.get(o, o) for o in stage.operands))
        for stage in plan.stages
    ]
    given = [low.dense(xs[k], e.in_avals[k].shape, element(e.in_avals[k].dtype)) for k in read]
    els = [element(a.dtype) for a in e.out_avals]
    plan = replace(plan, stages=tuple(stages))
    return low.stages(e.prim.name, plan, given, [a.shape for a in e.out_avals], els)
