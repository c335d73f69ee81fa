"""Where the largest or smallest number so far stands, along a dimension."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

# Lines that are gone along together: their comparisons do not wait for each other.
LINES = 8


def extrema(shape: tuple[int, int, int], el: Element, largest: bool) -> Plan:
    """Positions along the middle one of three dimensions: the last of equal ones; NaN stays."""
    outer, n, inner = shape
    f = Code()
    source, out = f.pointer(0), f.pointer(1)
    ty = el.memory
    lines = outer * inner
    groups = -(-lines // LINES)

    def loaded(place: str) -> str:
        return f.load(ty, f.along(source, (place, el.size)), el.size)

    def compare(float_op: str, int_op: str, a: str, b: str) -> str:
        if el.kind == "f":
            return f.value(f"fcmp {float_op} {ty} {a}, {b}")
        return f.value(f"icmp {'u' if el.kind != 'i' else 's'}{int_op} {ty} {a}, {b}")

    with f.loop("%begin", "%end") as group:
        starts = []
        for k in range(LINES):
            line = f.least(f.add(f.mul(group.index, LINES), k), lines - 1)
            lead, column = f.divided(line, inner)
            starts.append(f.add(f.mul(lead, n * inner), column))
        carried = [(ty, loaded(s)) for s in starts] + [("i64", "0")] * LINES
        with f.loop("0", str(n), carried=carried) as step:
            best, where = step.carried[:LINES], step.carried[LINES:]
            down = f.mul(step.index, inner)
            following, positions = [], []
            for k, start in enumerate(starts):
                place = f.add(start, down)
                x = loaded(place)
                better = compare("uge" if largest else "ule", "ge" if largest else "le", x, best[k])
                if el.kind == "f":
                    # Unordered is better where x is NaN, but where only the best was NaN, it stays.
                    nan = f.value(f"fcmp uno {ty} {best[k]}, {best[k]}")
                    number = f.value(f"fcmp ord {ty} {x}, {x}")
                    stays = f.value(f"and i1 {nan}, {number}")
                    better = f.value(f"and i1 {better}, {f.value(f'xor i1 {stays}, true')}")
                following.append(f.value(f"select i1 {better}, {ty} {x}, {ty} {best[k]}"))
                at = f.value(f"select i1 {better}, i64 {step.index}, i64 {where[k]}")
                positions.append(at)
                f.store("i64", at, f.along(out, (place, 8)), 8)
            step.carry(*following, *positions)
    chunk = chunk_of(groups, lines * n * 3)
    return Plan((Stage(f.kernel(prefix="extrema"), ("0", "out0"), groups, chunk),))


@lowering("argcummax argcummin")
def _extrema(low: Lowering, e: Entry, x: Operand) -> Ref:
    aval = e.in_avals[0]
    el = element(aval.dtype)
    if not aval.shape or 0 in aval.shape or el.size == 2:
        raise Refused("of a number, nothing, or such a dtype")
    dim = e.attrs["dim"] % len(aval.shape)
    shape = (math.prod(aval.shape[:dim]), aval.shape[dim], math.prod(aval.shape[dim + 1 :]))
    plan = extrema(shape, el, e.prim.name == "argcummax")
    given = low.dense(values(low, x, aval.shape, el), aval.shape, el)
    return low.stages(e.prim.name, plan, [given], [aval.shape], [element(dtypes.int64)])[0]
