"""Where values would go into rows in order: searched by halves, several values side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import vector
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.ranks import loaded, rank, rank_bits, ranked
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

# Searches whose steps a processor does at the same time, each waiting for its own loads.
_TOGETHER = 8


def ranks_of(rows: int, n: int, el: Element) -> Stage:
    """The ranks of what is searched, for all that search it."""
    f = Code()
    source, out = f.pointer(0), f.pointer(1)
    with f.loop("%begin", "%end") as unit:
        keys = f.along(out, (unit.index, n * rank_bits(el) // 8))
        ranked(f, el, n, f.along(source, (unit.index, n * el.size)), keys, None, False)
    return Stage(f.kernel(prefix="ranks"), ("0", "w"), rows, chunk_of(rows, rows * n))


def searched(rows: int, n: int, m: int, el: Element, out_el: Element, right: bool) -> Stage:
    """``m`` values a row, a vector of them a unit."""
    f = Code()
    bits = rank_bits(el)
    ty = f"i{bits}"
    lanes = max(_TOGETHER, code.target().lanes(bits // 8))
    wide = vector(lanes, "i64")
    edges, source, out = f.pointer(0), f.pointer(1), f.pointer(2)
    wanted, found = (f.value(f"alloca {vector(lanes, t)}, align 64") for t in (ty, "i64"))
    each = -(-m // lanes)
    before = "sle" if right else "slt"
    with f.loop("%begin", "%end") as unit:
        row, block = f.divided(unit.index, each) if rows > 1 else ("0", unit.index)
        start = f.mul(block, lanes)
        mask = f.mask(lanes, f.sub(str(m), start)) if m % lanes else None
        at = f.add(f.mul(row, m), start)
        x = loaded(f, el, lanes, f.along(source, (at, el.size)), mask)
        f.store(vector(lanes, ty), rank(f, lanes, el, x, False), wanted, 64)
        line = f.along(edges, (row, n * bits // 8))
        with f.loop("0", str(lanes), str(_TOGETHER)) as group:
            keys = [
                f.load(ty, f.along(wanted, (f.add(group.index, k), bits // 8)), bits // 8)
                for k in range(_TOGETHER)
            ]
            bases = ["0"] * _TOGETHER
            left = n
            while left:
                # As many more edges come before the value, if the last of them does.
                half = max(1, left // 2)
                for k in range(_TOGETHER):
                    here = f.along(line, (f.add(bases[k], half - 1), bits // 8))
                    edge = f.load(ty, here, bits // 8)
                    yes = f.value(f"icmp {before} {ty} {edge}, {keys[k]}")
                    step = f.value(f"and i64 {f.value(f'sext i1 {yes} to i64')}, {half}")
                    bases[k] = f.value(f"add i64 {bases[k]}, {step}")
                left = left - half if left > 1 else 0
            for k, base in enumerate(bases):
                f.store("i64", base, f.along(found, (f.add(group.index, k), 8)), 8)
        result = f.load(wide, found, 64)
        if out_el.size == 4:
            result = f.value(f"trunc {wide} {result} to {vector(lanes, 'i32')}")
        to = f.along(out, (at, out_el.size))
        if mask is None:
            f.store(vector(lanes, out_el.memory), result, to, out_el.size)
        else:
            f.store_masked(lanes, out_el.memory, result, to, mask)
    units = rows * each
    work = units * lanes * (2 + 2 * math.log2(n))
    return Stage(f.kernel(prefix="search"), ("w", "1", "out0"), units, chunk_of(units, work))


@lowering("searchsorted")
def _searchsorted(low: Lowering, e: Entry, x: Operand, y: Operand, *sorter: Operand) -> Ref:
    edges, wanted = e.in_avals[:2]
    out = e.out_avals[0]
    if sorter or edges.dtype is not wanted.dtype:
        raise Refused("by way of positions, or of several dtypes")
    if not edges.shape or 0 in edges.shape or 0 in wanted.shape:
        raise Refused("nothing")
    el = element(edges.dtype)
    n = edges.shape[-1]
    rows = math.prod(edges.shape[:-1])
    m = math.prod(wanted.shape) // rows
    stages = (ranks_of(rows, n, el), searched(rows, n, m, el, element(out.dtype), e.attrs["right"]))
    given = [
        low.dense(values(low, operand, aval.shape, el), aval.shape, el)
        for operand, aval in ((x, edges), (y, wanted))
    ]
    plan = Plan(stages, rows * n * rank_bits(el) // 8)
    return low.stages("searchsorted", plan, given, [wanted.shape], [element(out.dtype)])[0]
