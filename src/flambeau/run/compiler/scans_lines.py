"""Scans whose steps are more than an instruction: each lane of a vector goes down its own line.

Lines along the last dimension are rows, from which a vector takes an element each; where there are
fewer rows than lanes, the last row is done by several, which store the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import vector
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan, Stage
from flambeau.run.compiler.vector_math import FUNCTIONS
from flambeau.run.compiler.vector_math_base import Lanes as Arithmetic

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

# So many rows go along together: no step waits for the one before, and few elements are put into
# vectors one by one.
ROWS = 4
# About what a step of each takes, in vector operations: for cutting work, no more.
_LOGARITHMIC, _PLAIN = 120, 12


class Lines:
    """The middle one of three dimensions, walked by vectors of ``lanes`` lines at a time."""

    def __init__(self, f: Code, shape: tuple[int, int, int], el: Element, lanes: int) -> None:
        self.f, self.el = f, el
        self.outer, self.n, self.inner = shape
        across = self.outer if self.inner == 1 else self.inner
        self.lanes = min(lanes, 1 << (across - 1).bit_length())
        self.type = vector(self.lanes, el.memory)
        self.blocks = -(-across // self.lanes)
        self.units = self.blocks if self.inner == 1 else self.outer * self.blocks
        self.mask: str | None = None
        # Elements from the beginning to where each row (or the vector of columns) begins.
        self.starts: list[str] = []

    def begin(self, unit: str) -> None:
        """Goes to a vector of lines."""
        f = self.f
        if self.inner == 1:
            first = f.mul(unit, self.lanes)
            rows = [f.least(f.add(first, k), self.outer - 1) for k in range(self.lanes)]
            self.starts = [f.mul(row, self.n) for row in rows]
            return
        lead, block = f.divided(unit, self.blocks)
        column = f.mul(block, self.lanes)
        self.starts = [f.add(f.mul(lead, self.n * self.inner), column)]
        if self.inner % self.lanes:
            self.mask = f.mask(self.lanes, f.sub(str(self.inner), column))

    def _places(self, pointer: str, at: str) -> list[str]:
        f, size = self.f, self.el.size
        step = f.mul(at, self.inner)
        return [f.along(pointer, (f.add(start, step), size)) for start in self.starts]

    def get(self, pointer: str, at: str) -> str:
        """Element ``at`` of each line."""
        f, memory, size = self.f, self.el.memory, self.el.size
        places = self._places(pointer, at)
        if self.lanes == 1:
            return f.load(memory, places[0], size)
        if self.inner > 1:
            if self.mask is None:
                return f.load(self.type, places[0], size)
            return f.load_masked(self.lanes, memory, places[0], self.mask)
        found = "poison"
        for k, place in enumerate(places):
            one = f.load(memory, place, size)
            found = f.value(f"insertelement {self.type} {found}, {memory} {one}, i64 {k}")
        return found

    def put(self, pointer: str, at: str, value: str) -> None:
        f, memory, size = self.f, self.el.memory, self.el.size
        places = self._places(pointer, at)
        if self.lanes == 1:
            f.store(memory, value, places[0], size)
        elif self.inner > 1 and self.mask is None:
            f.store(self.type, value, places[0], size)
        elif self.mask is not None:
            f.store_masked(self.lanes, memory, value, places[0], self.mask)
        else:
            for k, place in enumerate(places):
                one = f.value(f"extractelement {self.type} {value}, i64 {k}")
                f.store(memory, one, place, size)

    def stage(self, operands: tuple[str, ...], each: int) -> Stage:
        chunk = chunk_of(self.units, self.units * self.n * each)
        return Stage(self.f.kernel(prefix="lines"), operands, self.units, chunk)


def converted(f: Code, given: str, x: str, wanted: str) -> str:
    """Floats ``x`` of one type as the other."""
    if given == wanted:
        return x
    how = "fpext" if "double" in wanted else "fptrunc"
    return f.value(f"{how} {given} {x} to {wanted}")


def running(op: str, first: float, shape: tuple[int, int, int], el: Element, total: str) -> Stage:
    """Each element combined with all before it by an instruction, in the order of the line.

    Totals are of type ``total`` until they are stored.
    """
    f = Code()
    source, out = f.pointer(0), f.pointer(1)
    lines = Lines(f, shape, el, ROWS)
    kept = vector(lines.lanes, total)
    start = f.literal(lines.lanes, total, first)
    with f.loop("%begin", "%end") as unit:
        lines.begin(unit.index)
        with f.loop("0", str(lines.n), carried=[(kept, start)]) as step:
            x = converted(f, lines.type, lines.get(source, step.index), kept)
            result = f.value(f"{op} {kept} {step.carried[0]}, {x}")
            lines.put(out, step.index, converted(f, kept, result, lines.type))
            step.carry(result)
    return lines.stage(("0", "out0"), lines.lanes)


def running_logsumexp(shape: tuple[int, int, int], el: Element) -> Stage:
    """Of floats, in double precision: the greatest so far, and the sum relative to it."""
    f = Code()
    source, out = f.pointer(0), f.pointer(1)
    lines = Lines(f, shape, el, code.target().lanes(8))
    v = Arithmetic(f, lines.lanes, "double")
    with f.loop("%begin", "%end") as unit:
        lines.begin(unit.index)
        carried = [(v.ty, v.number(-math.inf)), (v.ty, v.number(0.0))]
        with f.loop("0", str(lines.n), carried=carried) as step:
            top, total = step.carried
            x = lines.get(source, step.index)
            x = x if el.size == 8 else v.widen(x)
            gap = v.sub(x, top)
            # Infinities of one sign are as far apart as equal numbers.
            gap = v.select(v.compare("oeq", x, top), 0.0, gap)
            part = FUNCTIONS["exp"](f, lines.lanes, "double", v.neg(v.abs(gap)))
            higher = v.compare("ogt", gap, 0.0)
            total = v.select(higher, v.fma(total, part, 1.0), v.add(total, part))
            top = v.select(higher, x, top)
            found = v.add(top, FUNCTIONS["log"](f, lines.lanes, "double", total))
            lines.put(out, step.index, found if el.size == 8 else v.narrow(found))
            step.carry(top, total)
    return lines.stage(("0", "out0"), _LOGARITHMIC)


def product_gradient(shape: tuple[int, int, int], el: Element) -> Stage:
    """From a running product's gradient, its factors and itself: the factors' gradient.

    Backwards, the sum of gradients by products, over the factor; where a zero is met what came
    after it does not count, and the lines that have one are gone down once more: at the first zero
    is the sum over products that leave it out, after it nothing.
    """
    f = Code()
    g, x, y, out = (f.pointer(k) for k in range(4))
    lines = Lines(f, shape, el, code.target().lanes(el.size) if shape[2] > 1 else ROWS)
    v = Arithmetic(f, lines.lanes, el.memory)
    n = lines.n

    def any_of(conditions: str) -> str:
        if v.lanes == 1:
            return conditions
        return f.call(f"llvm.vector.reduce.or.v{v.lanes}i1", "i1", (v.bool, conditions))

    def place(index: str) -> str:
        return f.splat(v.lanes, "i64", index)

    wide = vector(v.lanes, "i64")
    with f.loop("%begin", "%end") as unit:
        lines.begin(unit.index)
        start = [(v.ty, v.number(0.0)), (v.bool, v.truth(False))]
        with f.loop("0", str(n), carried=start) as step:
            total, zeros = step.carried
            at = f.value(f"sub i64 {n - 1}, {step.index}")
            factor = lines.get(x, at)
            total = v.add(total, v.mul(lines.get(g, at), lines.get(y, at)))
            lines.put(out, at, v.div(total, factor))
            zero = v.compare("oeq", factor, 0.0)
            step.carry(v.select(zero, 0.0, total), v.either(zeros, zero))
        some = any_of(step.result[1])
        with f.when(some):
            # How many zeros there were, up to two; the product of all other factors; the sum;
            # where the first zero was.
            none = (wide, f.literal(v.lanes, "i64", -1))
            begin = [(v.bool, v.truth(False)), (v.bool, v.truth(False)),
                     (v.ty, v.number(1.0)), (v.ty, v.number(0.0)), none]  # fmt: skip
            with f.loop("0", str(n), carried=begin) as step:
                one, two, product, total, first = step.carried
                factor = lines.get(x, step.index)
                zero = v.compare("oeq", factor, 0.0)
                two = v.either(two, v.both(one, zero))
                found = v.both(zero, f.value(f"xor {v.bool} {one}, {v.truth(True)}"))
                one = v.either(one, zero)
                product = v.mul(product, v.select(found, 1.0, factor))
                first = f.value(
                    f"select {v.bool} {found}, {wide} {place(step.index)}, {wide} {first}"
                )
                counts = v.both(one, f.value(f"xor {v.bool} {two}, {v.truth(True)}"))
                more = v.mul(lines.get(g, step.index), product)
                total = v.select(counts, v.add(total, more), total)
                step.carry(one, two, product, total, first)
            total, first = step.result[3:]
            with f.loop("0", str(n)) as step:
                here = place(step.index)
                none_yet = f.value(f"icmp slt {wide} {first}, {f.literal(v.lanes, 'i64', 0)}")
                before = f.value(f"icmp slt {wide} {here}, {first}")
                old = v.select(v.either(none_yet, before), lines.get(out, step.index), 0.0)
                it = f.value(f"icmp eq {wide} {here}, {first}")
                lines.put(out, step.index, v.select(it, total, old))
    return lines.stage(("0", "1", "2", "out0"), _PLAIN)


def _shape(e: Entry) -> tuple[int, int, int]:
    shape = e.in_avals[0].shape
    if not shape or 0 in shape:
        raise Refused("of a number, or nothing")
    dim = e.attrs["dim"] % len(shape)
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def _staged(low: Lowering, e: Entry, plan: object, xs: list[Operand]) -> Ref:
    """The kernel that ``plan`` gives, of 16-bit numbers by conversions."""
    shape = e.in_avals[0].shape
    el = wide = element(e.out_avals[0].dtype)
    if el.kind != "f" or {a.dtype for a in e.in_avals} != {e.out_avals[0].dtype}:
        raise Refused("of this dtype")
    given = [values(low, x, shape, el) for x in xs]
    if el.size == 2:
        wide = element(dtypes.float32)
        given = [low.map("cast", [x], shape, el, wide) for x in given]
    stage = plan(_shape(e), wide)  # type: ignore[operator]
    dense = [low.dense(x, shape, wide) for x in given]
    found = low.stages(e.prim.name, Plan((stage,)), dense, [shape], [wide])[0]
    return found if wide is el else low.map("cast", [found], shape, wide, el)


@lowering("logcumsumexp")
def _logcumsumexp(low: Lowering, e: Entry, x: Operand) -> Ref:
    return _staged(low, e, running_logsumexp, [x])


@lowering("cumprod_gradient")
def _cumprod_gradient(low: Lowering, e: Entry, g: Operand, x: Operand, y: Operand) -> Ref:
    return _staged(low, e, product_gradient, [g, x, y])
