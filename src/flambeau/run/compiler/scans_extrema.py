"""Where the largest or smallest number so far stands, along a dimension.

Elements are compared by their ranks. The last of equal ones is taken; a NaN is better than any
number, and than a NaN before it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import mangled, vector
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.ranks import rank, rank_bits
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref


class _Extrema:
    """A kernel on vectors of ranks and of positions, integers of one width."""

    def __init__(self, el: Element, largest: bool) -> None:
        self.f = Code()
        self.el, self.largest = el, largest
        self.n = code.target().lanes(max(el.size, 4))
        self.bits = rank_bits(el)
        self.type = vector(self.n, f"i{self.bits}")
        self.least = self.f.literal(self.n, f"i{self.bits}", -(1 << (self.bits - 1)))

    def ranks(self, pointer: str, mask: str | None) -> str:
        """The greatest rank is the best."""
        f, el, n = self.f, self.el, self.n
        ty = vector(n, el.memory)
        if mask is None:
            x = f.load(ty, pointer, el.size)
        elif el.size >= 4:
            x = f.load_masked(n, el.memory, pointer, mask)
        else:
            x = f.load_masked(n, f"i{8 * el.size}", pointer, mask)
            if el.kind == "f":
                x = f.value(f"bitcast {vector(n, f'i{8 * el.size}')} {x} to {ty}")
        if not self.largest and el.kind == "f":
            # Not the rank: a NaN stays the greatest.
            x = f.value(f"fneg {ty} {x}")
        return rank(f, n, el, x, not self.largest and el.kind != "f")

    def greater(self, a: str, b: str) -> str:
        ty = self.type
        return self.f.call(f"llvm.smax.{mangled(ty)}", ty, (ty, a), (ty, b))

    def select(self, condition: str, a: str, b: str) -> str:
        ty = self.type
        return self.f.value(f"select <{self.n} x i1> {condition}, {ty} {a}, {ty} {b}")

    def running(self, x: str) -> str:
        """The greatest of each lane and those before it."""
        f, n, ty = self.f, self.n, self.type
        step = 1
        while step < n:
            picks = [lane - step if lane >= step else n + lane for lane in range(n)]
            mask = ", ".join(f"i32 {p}" for p in picks)
            back = f.value(f"shufflevector {ty} {x}, {ty} {self.least}, <{n} x i32> <{mask}>")
            x = self.greater(x, back)
            step *= 2
        return x

    def last(self, x: str) -> str:
        """The last lane in all of them."""
        ty = self.type
        mask = ", ".join([f"i32 {self.n - 1}"] * self.n)
        return self.f.value(f"shufflevector {ty} {x}, {ty} poison, <{self.n} x i32> <{mask}>")

    def put(self, positions: str, pointer: str, mask: str | None) -> None:
        f, n = self.f, self.n
        wide = f"<{n} x i64>"
        if self.bits != 64:
            positions = f.value(f"sext {self.type} {positions} to {wide}")
        if mask is None:
            f.store(wide, positions, pointer, 8)
        else:
            f.store_masked(n, "i64", positions, pointer, mask)


def along_rows(rows: int, n: int, el: Element, largest: bool) -> Stage:
    """Along the last dimension: a vector at a time, in logarithmically many steps each."""
    s = _Extrema(el, largest)
    f, lanes, ty = s.f, s.n, s.type
    source, out = f.pointer(0), f.pointer(1)
    steps = ", ".join(f"i{s.bits} {i}" for i in range(lanes))
    none = f.literal(lanes, f"i{s.bits}", -1)
    with f.loop("%begin", "%end") as row:
        here = f.along(source, (row.index, n * el.size))
        there = f.along(out, (row.index, n * 8))

        def step(at: str, mask: str | None, best: str, where: str) -> tuple[str, str]:
            x = s.ranks(f.along(here, (at, el.size)), mask)
            best = s.greater(s.running(x), best)
            first = at if s.bits == 64 else f.value(f"trunc i64 {at} to i32")
            position = f.value(f"add {ty} {f.splat(lanes, f'i{s.bits}', first)}, <{steps}>")
            found = s.select(f.value(f"icmp eq {ty} {x}, {best}"), position, none)
            where = s.greater(s.running(found), where)
            s.put(where, f.along(there, (at, 8)), mask)
            return s.last(best), s.last(where)

        whole = n - n % lanes
        best, where = s.least, none
        if whole:
            carried = [(ty, best), (ty, where)]
            with f.loop("0", str(whole), str(lanes), carried=carried) as block:
                block.carry(*step(block.index, None, *block.carried))
            best, where = block.result
        if n > whole:
            step(str(whole), f.mask(lanes, str(n - whole)), best, where)
    return Stage(f.kernel(prefix="extrema"), ("0", "out0"), rows, chunk_of(rows, rows * n * 2))


def down_columns(shape: tuple[int, int, int], el: Element, largest: bool) -> Stage:
    """Along the middle one of three dimensions; units are vectors of the last."""
    outer, n, inner = shape
    s = _Extrema(el, largest)
    f, lanes, ty = s.f, s.n, s.type
    source, out = f.pointer(0), f.pointer(1)
    blocks = -(-inner // lanes)
    with f.loop("%begin", "%end") as unit:
        lead, block = f.divided(unit.index, blocks)
        column = f.mul(block, lanes)
        at = f.add(f.mul(lead, n * inner), column)
        mask = f.mask(lanes, f.sub(str(inner), column)) if inner % lanes else None
        carried = [(ty, s.least), (ty, "zeroinitializer")]
        with f.loop("0", str(n), carried=carried) as step:
            best, where = step.carried
            place = f.add(at, f.mul(step.index, inner))
            x = s.ranks(f.along(source, (place, el.size)), mask)
            better = f.value(f"icmp sge {ty} {x}, {best}")
            line = step.index if s.bits == 64 else f.value(f"trunc i64 {step.index} to i32")
            where = s.select(better, f.splat(lanes, f"i{s.bits}", line), where)
            s.put(where, f.along(out, (place, 8)), mask)
            step.carry(s.greater(x, best), where)
    units = outer * blocks
    return Stage(f.kernel(prefix="extrema"), ("0", "out0"), units, chunk_of(units, units * n * 8))


@lowering("argcummax argcummin")
def _extrema(low: Lowering, e: Entry, x: Operand) -> Ref:
    aval = e.in_avals[0]
    el = element(aval.dtype)
    dim = e.attrs["dim"] % max(1, len(aval.shape))
    if not aval.shape or 0 in aval.shape or aval.shape[dim] >= 1 << 31:
        raise Refused("of a number, nothing, or too much")
    inner = math.prod(aval.shape[dim + 1 :])
    outer, n = math.prod(aval.shape[:dim]), aval.shape[dim]
    largest = e.prim.name == "argcummax"
    if inner == 1:
        stage = along_rows(outer, n, el, largest)
    else:
        stage = down_columns((outer, n, inner), el, largest)
    given = low.dense(values(low, x, aval.shape, el), aval.shape, el)
    plan = Plan((stage,))
    return low.stages(e.prim.name, plan, [given], [aval.shape], [element(dtypes.int64)])[0]
