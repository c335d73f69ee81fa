"""Running sums and products along a dimension."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, Lanes, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import vector
from flambeau.run.compiler.lower import Lowering, Refused, Unsized, element_or_raw, lowering
from flambeau.run.compiler.nodes import Ref
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.scans_lines import converted, running
from flambeau.run.compiler.sizes import Size, has_size, later
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand

_OPS = {("cumsum", "f"): "fadd", ("cumsum", "i"): "add"} | {
    ("cumprod", "f"): "fmul",
    ("cumprod", "i"): "mul",
}
_FIRST = {"fadd": 0.0, "add": 0, "fmul": 1.0, "mul": 1}


def _total(el: Element) -> str:
    """What totals are kept in, as PyTorch has it: narrow floats are rounded when stored."""
    return {"float": "double", "half": "float", "bfloat": "float"}.get(el.memory, el.memory)


def scan(op: str, shape: tuple[int, int, int], lanes: Lanes, el: Element, total: str) -> Plan:
    """The result of ``op`` with all before along the middle one of three dimensions.

    Units are vectors of the last dimension, which do not depend on each other. Totals are of type
    ``total`` until they are stored.
    """
    outer, n, inner = shape
    if not has_size(shape) and inner == 1 and outer > 1:
        return Plan((running(op, _FIRST[op], shape, el, total),))
    f = Code()
    kept = vector(lanes.count, total)
    source, out = f.pointer(0), f.pointer(1)
    blocks = -(-inner // lanes.count)
    first = f.literal(lanes.count, total, _FIRST[op])
    with f.loop("%begin", "%end") as unit:
        lead, block = f.divided(unit.index, blocks)
        column = f.mul(block, lanes.count)
        at = f.add(f.mul(lead, n * inner), column)
        mask = None
        if inner.__class__ is Size or inner % lanes.count:
            mask = f.mask(lanes.count, f.sub(str(inner), column))
        with f.loop("0", str(n), carried=[(kept, first)]) as step:
            place = f.add(at, f.mul(step.index, inner))
            to = f.along(out, (place, lanes.size))
            here = f.along(source, (place, lanes.size))
            if mask is None:
                x = f.load(lanes.type, here, lanes.size)
            else:
                x = f.load_masked(lanes.count, lanes.element, here, mask)
            x = converted(f, lanes.type, x, kept)
            result = f.value(f"{op} {kept} {step.carried[0]}, {x}")
            step.carry(result)
            result = converted(f, kept, result, lanes.type)
            if mask is None:
                f.store(lanes.type, result, to, lanes.size)
            else:
                f.store_masked(lanes.count, lanes.element, result, to, mask)
    units = outer * blocks
    chunk = later(lambda units, n: chunk_of(units, units * n * 4), units, n)
    return Plan((Stage(f.kernel(prefix="scan"), ("0", "out0"), units, chunk),))


@lowering("cumsum cumprod")
def _scan(low: Lowering, e: Entry, x: Operand) -> Ref:
    aval = e.in_avals[0]
    el = wide = element(aval.dtype)
    if not aval.shape or 0 in aval.shape or el.kind not in "fi":
        raise Refused("of a number, nothing, or such a dtype")
    x = values(low, x, aval.shape, el)
    if el.kind == "f" and el.size == 2:
        wide = element(dtypes.float32)
        x = low.map("cast", [x], aval.shape, el, wide)
    dim = e.attrs["dim"] % len(aval.shape)
    shape = (math.prod(aval.shape[:dim]), aval.shape[dim], math.prod(aval.shape[dim + 1 :]))
    width = code.target().lanes(wide.size)
    if shape[2].__class__ is int:
        width = min(width, _power(shape[2]))
    lanes = Lanes(wide.memory, wide.size, width)
    plan = scan(_OPS[e.prim.name, el.kind], shape, lanes, wide, _total(el))
    given = low.dense(x, aval.shape, wide)
    found = low.stages(e.prim.name, plan, [given], [aval.shape], [wide])[0]
    return found if wide is el else low.map("cast", [found], aval.shape, wide, el)


@lowering("cumsum", pairs=True)
def _scan_of_pairs(low: Lowering, e: Entry, x: Operand) -> Ref:
    """Sums of complex numbers are those of their parts, which lie side by side."""
    aval = e.in_avals[0]
    if not aval.shape or 0 in aval.shape or x.__class__ is not Ref:
        raise Refused("of a number, or nothing")
    if has_size(aval.shape):
        raise Unsized
    raw, real = element_or_raw(aval), element(aval.dtype.to_real())  # type: ignore[union-attr]
    dim = e.attrs["dim"] % len(aval.shape)
    inner = 2 * math.prod(aval.shape[dim + 1 :])
    shape = (math.prod(aval.shape[:dim]), aval.shape[dim], inner)
    width = min(code.target().lanes(real.size), _power(inner))
    lanes = Lanes(real.memory, real.size, width)
    plan = scan("fadd", shape, lanes, real, _total(real))
    return low.stages("cumsum", plan, [low.dense(x, aval.shape, raw)], [aval.shape], [raw])[0]


def _power(n: int) -> int:
    """The least power of two that is no less."""
    return 1 << (n - 1).bit_length()
