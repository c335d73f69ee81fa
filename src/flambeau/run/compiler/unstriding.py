"""Values of a view that overlaps itself, added up where they came from: windows' gradients."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING

from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused
from flambeau.run.compiler.nodes import Literal
from flambeau.run.compiler.places import zeros
from flambeau.run.compiler.stages import Plan, Stage
from flambeau.run.compiler.views import row_major

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

# Elements of the last dimension that are written out one after the other, at most.
_WRITTEN = 16


def _apart(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """How many leading dimensions step over all that lies within: the units of work."""
    for d, step in enumerate(strides):
        within = zip(shape[d + 1 :], strides[d + 1 :], strict=True)
        if step <= sum((n - 1) * s for n, s in within):
            return d
    return len(shape)


def added(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, el: Element) -> Stage:
    """Adds to ``out0``, element by element: what overlaps lies too near for vectors."""
    f = Code()
    source, out = f.pointer(0), f.pointer(1)
    ty, b = el.memory, el.size
    lead = _apart(shape, strides)
    units = math.prod(shape[:lead])
    own = row_major(shape)
    with f.loop("%begin", "%end") as unit, ExitStack() as stack:
        places = f.split(unit.index, *shape[1:lead]) if lead else []
        places += [stack.enter_context(f.loop("0", str(n))).index for n in shape[lead:-1]]
        here, there = "0", str(offset)
        for p, s, t in zip(places, own, strides, strict=False):
            here, there = f.add(here, f.mul(p, s)), f.add(there, f.mul(p, t))
        last = len(places) < len(shape)
        n, step = (shape[-1], strides[-1]) if last else (1, 0)
        by = next(k for k in range(min(n, _WRITTEN), 0, -1) if n % k == 0)
        with f.loop("0", str(n), str(by)) as block:
            for k in range(by):
                at = f.add(block.index, k)
                x = f.load(ty, f.along(source, (f.add(here, at), b)), b)
                place = f.along(out, (f.add(there, f.mul(at, step)), b))
                old = f.load(ty, place, b)
                op = "fadd" if el.kind == "f" else "add"
                f.store(ty, f.value(f"{op} {ty} {old}, {x}"), place, b)
    chunk = chunk_of(units, math.prod(shape) * 2)
    return Stage(f.kernel(prefix="unstrided"), ("0", "out0"), units, chunk)


def overlapping(low: Lowering, e: Entry, x: Ref, offset: Operand) -> Ref:
    """``unstrided`` where several elements of the view are one."""
    shape, strides, out = e.attrs["shape"], e.attrs["strides"], e.out_avals[0]
    el = element(out.dtype)
    if el.memory not in ("float", "double", "i64", "i32") or offset.__class__ is not Literal:
        raise Refused("sums of this dtype, or at a place that changes")
    if not shape or 0 in shape or min(strides) < 0:
        raise Refused("nothing, or steps back")
    stages = (zeros(out.shape, el), added(shape, strides, int(offset.value), el))
    given = low.dense(x, shape, el)
    return low.stages("unstrided", Plan(stages), [given], [out.shape], [el])[0]
