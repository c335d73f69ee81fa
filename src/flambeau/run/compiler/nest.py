"""The code of a fused group: one loop nest over its space, in as many stages as it reduces.

Vectors lie along the last axis. Where that is reduced (*rows*), a unit of work is one kept point;
where it is kept (*columns*), a unit is a vector of kept points, and the reduced axes are loops
around it. Without reductions (*map*) a unit is a row, or, if all is one axis, an element.
A value needed by several stages is computed again in each, or read back where it was stored.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau.run.compiler import pointwise
from flambeau.run.compiler.emit import Kernel
from flambeau.run.compiler.nest_memory import FAULT, Memory
from flambeau.run.compiler.nest_plan import Access, Plan
from flambeau.run.compiler.nest_values import (
    apply,
    literal,
    number,
    rounded,
)
from flambeau.run.compiler.nodes import Number, Ref
from flambeau.run.compiler.pointwise import Lanes
from flambeau.run.compiler.sizes import Size, later

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.fuse import Group
    from flambeau.run.compiler.lower import Buffer
    from flambeau.run.compiler.nodes import Node
    from flambeau.run.compiler.target import Target

__all__ = ["Nest", "build"]

# What one vector's worth of an operation takes, in nanoseconds: for cutting work, no more.
COST = {"div": 2.0, "sqrt": 2.0, "rsqrt": 3.0, "reciprocal": 2.0, "copy": 0.1}
ELEMENTARY = 4.0
# Work of less than this many nanoseconds is not shared out.
WORTH = 10_000.0


class Nest(NamedTuple):
    """A kernel with the addresses it takes, (slot, offset in bytes) each."""

    kernel: Kernel
    pointers: tuple[tuple[int, int], ...]
    units: int
    chunk: int


class Builder(Memory):
    """Writes the function of a plan."""

    def __init__(self, plan: Plan, name: str) -> None:
        super().__init__(plan, name)
        self.numbers: dict[tuple[Number, str], tuple[str, str]] = {}
        self.current_kept: dict[int, str] = {}
        self.column_mask: str | None = None
        self.kept_lanes = self.single if self.row_mode else self.wide

    def prologue(self) -> None:
        """Addresses and run-time numbers, at the head of the function."""
        plan, f = self.plan, self.f
        order = sorted(
            [((k, j), a) for (k, j), a in plan.reads.items()]
            + [((k, 1 << 20), a) for k, a in plan.writes.items()],
            key=lambda item: item[0],
        )
        for _, a in order:
            self.pointer(a.slot, a.offset * a.element.size)
        for _, a in order:
            for index, _step in a.moving:
                if index not in self.moves:
                    self.moves[index] = self.number_value(Number(index, "i"))
        for node in self.group.nodes:
            for o in node.operands:
                if o.__class__ is Number:
                    key = (o, node.compute.name)
                    if key not in self.numbers:
                        el = node.compute
                        raw = number(self.single, self.number_value(o), o.kind, el)
                        self.numbers[key] = (raw, f.splat(self.lanes, el.register, raw))
        if any(n.kind == "guard" for n in self.group.nodes):
            self.pointer(FAULT, 0)

    # Units

    def build(self) -> None:
        self.prologue()
        axes, reduced = self.plan.axes, self.plan.reduced
        if not reduced:
            if len(axes) == 1:
                self.flat()
            else:
                with self.f.loop("%begin", "%end") as unit:
                    index = self.decompose(unit.index, list(range(len(axes) - 1)))
                    self.sweep(0, index, len(axes) - 1)
            return
        kept = [k for k in range(len(axes)) if k not in reduced]
        with self.f.loop("%begin", "%end") as unit:
            if self.row_mode:
                index = self.decompose(unit.index, kept)
                self.unit(index, None)
            else:
                blocks = -(-axes[-1] // self.lanes)
                f = self.f
                if len(kept) == 1:
                    outer, block = "0", unit.index
                elif blocks.__class__ is int and blocks == 1:
                    outer, block = unit.index, "0"
                else:
                    outer = f.value(f"udiv i64 {unit.index}, {blocks}")
                    block = f.value(f"urem i64 {unit.index}, {blocks}")
                index = self.decompose(outer, kept[:-1])
                at = f.value(f"mul i64 {block}, {self.lanes}")
                index[len(axes) - 1] = at
                mask = None
                if axes[-1].__class__ is Size or axes[-1] % self.lanes:
                    left = f.value(f"sub i64 {axes[-1]}, {at}")
                    mask = f.mask(self.lanes, left)
                self.unit(index, mask)

    def decompose(self, unit: str, axes: Sequence[int]) -> dict[int, str]:
        """A unit's place along axes, the last one running fastest."""
        f = self.f
        index: dict[int, str] = {}
        rest = unit
        for position in range(len(axes) - 1, -1, -1):
            k = axes[position]
            if position == 0:
                index[k] = rest
            else:
                n = self.plan.axes[k]
                index[k] = f.value(f"urem i64 {rest}, {n}")
                rest = f.value(f"udiv i64 {rest}, {n}")
        return index

    def flat(self) -> None:
        """One axis: the units are its elements."""
        f = self.f
        bases = self.row_bases(range(len(self.group.nodes)), {}, 0)
        with f.loop("%begin", "%end", str(self.lanes), while_room=True) as loop:
            self.body(0, loop.index, None, bases, {}, {})
        left = f.value(f"sub i64 %end, {loop.index}")
        some = f.value(f"icmp sgt i64 {left}, 0")
        with f.when(some):
            self.body(0, loop.index, f.mask(self.lanes, left), bases, {}, {})

    def sweep(self, stage: int, index: dict[int, str], axis: int) -> None:
        """One row of a nest without reductions."""
        bases = self.row_bases(range(len(self.group.nodes)), index, axis)
        self.run_axis(stage, axis, bases, {}, {})

    def run_axis(
        self, stage: int, axis: int, bases: dict, kept: dict[int, str], accumulators: dict
    ) -> dict[int, str]:
        """The vectors along the last axis; gives the new accumulators."""
        f, n = self.f, self.plan.axes[axis]
        order = list(accumulators)
        current = dict(accumulators)

        def steps(start: str, stop: str, masked: bool, current: dict[int, str]) -> dict[int, str]:
            carried = [(self.accumulator_type(k), current[k]) for k in order]
            with f.loop(start, stop, str(self.lanes), carried=carried) as loop:
                inner = dict(zip(order, loop.carried, strict=True))
                mask = None
                if masked:
                    mask = f.mask(self.lanes, f.value(f"sub i64 {stop}, {loop.index}"))
                after = self.body(stage, loop.index, mask, bases, kept, inner)
                loop.carry(*[after[k] for k in order])
            return dict(zip(order, loop.result, strict=True))

        whole = n - n % self.lanes
        if n.__class__ is Size:
            # The rest is one step, or none.
            current = steps("0", str(whole), False, current)
            return steps(str(whole), str(n), True, current)
        if whole > self.lanes:
            current = steps("0", str(whole), False, current)
        elif whole:
            current = self.body(stage, "0", None, bases, kept, current)
        if n > whole:
            mask = f.mask(self.lanes, str(n - whole))
            current = self.body(stage, str(whole), mask, bases, kept, current)
        return current

    # A unit with reductions

    def unit(self, index: dict[int, str], mask: str | None) -> None:
        kept: dict[int, str] = {}
        self.current_kept = kept
        self.column_mask = mask
        self.kept_stage(0, index, kept, mask)
        for stage in range(self.last + 1):
            reductions = [
                k
                for k, n in enumerate(self.group.nodes)
                if n.kind == "reduce" and self.stage[k] == stage + 1
            ]
            writes = [k for k in self.plan.writes if self.full(k) and self.stage[k] == stage]
            guards = [
                k
                for k, n in enumerate(self.group.nodes)
                if n.kind == "guard" and self.full(k) and self.stage[k] == stage
            ]
            if reductions or writes or guards:
                used = self.needed(stage, [*reductions, *writes, *guards])
                if self.row_mode:
                    self.spread_all()
                start = {k: self.neutral(k) for k in reductions}
                result = self.reduce_axes(stage, list(self.plan.reduced), index, kept, start, used)
                for k in reductions:
                    value = result[k]
                    node = self.group.nodes[k]
                    if self.row_mode:
                        value = self.across(value, node)
                    value = rounded(self.kept_lanes, value, node.result)
                    kept[k] = value
                    if k in self.plan.writes:
                        self.write(k, value, index, mask)
            self.kept_stage(stage + 1, index, kept, mask)

    def needed(self, stage: int, wanted: Sequence[int]) -> list[int]:
        """The nodes that a stage's loop computes or reads back."""
        found: set[int] = set()
        stack = list(wanted)
        while stack:
            k = stack.pop()
            if k in found:
                continue
            found.add(k)
            if self.reads_back(k, stage):
                continue
            for j, o in enumerate(self.group.nodes[k].operands):
                if o.__class__ is Ref and (k, j) not in self.plan.reads:
                    other = self.made[o.slot]
                    if self.full(other):
                        stack.append(other)
        return sorted(found)

    def reduce_axes(
        self, stage: int, axes: list[int], index: dict, kept: dict, start: dict, used: list[int]
    ) -> dict[int, str]:
        """Loops over the reduced axes, outermost first; each starts its own sums."""
        f = self.f
        last = len(self.plan.axes) - 1
        if not axes or axes == [last]:
            bases = self.row_bases(used, index, last, stage)
            if axes:
                return self.run_axis(stage, last, bases, kept, start)
            return self.body(stage, "0", self.column_mask, bases, kept, start)
        axis, rest = axes[0], axes[1:]
        n = self.plan.axes[axis]
        order = list(start)
        carried = [(self.accumulator_type(k), start[k]) for k in order]
        with f.loop("0", str(n), carried=carried) as loop:
            inner = dict(index)
            inner[axis] = loop.index
            if rest:
                neutral = {k: self.neutral(k) for k in order}
                part = self.reduce_axes(stage, rest, inner, kept, neutral, used)
                total = {
                    k: self.combine(k, c, part[k]) for k, c in zip(order, loop.carried, strict=True)
                }
            else:
                given = dict(zip(order, loop.carried, strict=True))
                total = self.reduce_axes(stage, rest, inner, kept, given, used)
            loop.carry(*[total[k] for k in order])
        return dict(zip(order, loop.result, strict=True))

    def kept_stage(self, stage: int, index: dict, kept: dict, mask: str | None) -> None:
        """Values of kept points that a stage's reductions made known."""
        e = self.kept_lanes
        for k, node in enumerate(self.group.nodes):
            if self.full(k) or node.kind == "reduce" or self.stage[k] != stage:
                continue
            xs = []
            for j, o in enumerate(node.operands):
                if o.__class__ is Ref:
                    access = self.plan.reads.get((k, j))
                    if access is None:
                        xs.append(kept[self.made[o.slot]])
                    else:
                        xs.append(self.load_kept(access, index, mask))
                else:
                    xs.append(self.scalar(o, node.compute, e))
            if node.kind == "guard":
                self.note_fault(e, xs[0], mask if not self.row_mode else None)
                continue
            kept[k] = apply(e, node, xs)
            if k in self.plan.writes:
                self.write(k, kept[k], index, mask)

    # One vector's worth

    def body(
        self, stage: int, at: str, mask: str | None, bases: dict, kept: dict, accumulators: dict
    ) -> dict[int, str]:
        """Computes full nodes at a vector of points; stores, and adds to accumulators."""
        values: dict[int, str] = {}
        loads: dict[Access, str] = {}
        plan, e = self.plan, self.wide
        # Along columns, the place is in the bases already.
        out = dict(accumulators)
        for k in sorted(set(bases["nodes"])):
            node = self.group.nodes[k]
            if self.reads_back(k, stage):
                values[k] = self.load(plan.writes[k], at, mask, bases, loads)
                continue
            if not self.full(k) and node.kind != "reduce":
                continue
            if node.kind == "reduce" and k not in accumulators:
                continue
            xs = []
            for j, o in enumerate(node.operands):
                if o.__class__ is Ref:
                    access = plan.reads.get((k, j))
                    if access is not None:
                        xs.append(self.load(access, at, mask, bases, loads))
                        continue
                    other = self.made[o.slot]
                    if self.full(other):
                        xs.append(values[other])
                    else:
                        xs.append(self.spread(kept, other))
                else:
                    xs.append(self.scalar(o, node.compute, e))
            if node.kind == "reduce":
                x = xs[0]
                if mask is not None and self.row_mode:
                    x = e.select(mask, x, self.neutral(k), node.compute.register)
                out[k] = self.combine(k, accumulators[k], x)
                continue
            if node.kind == "guard":
                if self.stage[k] == stage:
                    self.note_fault(e, xs[0], mask)
                continue
            values[k] = apply(e, node, xs)
            if k in plan.writes and self.stage[k] == stage:
                self.store(plan.writes[k], values[k], at, mask, bases)
        return out

    def spread(self, kept: dict[int, str], k: int) -> str:
        """A kept value in every lane of a row."""
        if not self.row_mode:
            return kept[k]
        key = -1 - k
        if key not in kept:
            raise AssertionError("a kept value that was not spread")
        return kept[key]

    def spread_all(self) -> None:
        """Kept values as vectors, before the row's loop."""
        for k, value in list(self.current_kept.items()):
            if k >= 0 and -1 - k not in self.current_kept:
                register = self.group.nodes[k].result.register
                self.current_kept[-1 - k] = self.f.splat(self.lanes, register, value)

    def scalar(self, o: Any, el: Element, e: Lanes) -> str:
        if o.__class__ is Number:
            single, wide = self.numbers[o, el.name]
            return single if e is self.single else wide
        return literal(e, o.value, el)

    def note_fault(self, e: Lanes, condition: str, mask: str | None) -> None:
        f = self.f
        if e.lanes > 1:
            if mask is not None:
                condition = f.value(f"and {e.bits()} {condition}, {mask}")
            condition = f.call(f"llvm.vector.reduce.or.v{e.lanes}i1", "i1", (e.bits(), condition))
        with f.when(condition):
            f.store("i64", "1", self.bases[FAULT, 0], 8)

    # Reductions

    def accumulator_type(self, k: int) -> str:
        return self.wide.type(self.group.nodes[k].compute.register)

    def neutral(self, k: int) -> str:
        node = self.group.nodes[k]
        el = node.compute
        if node.op == "sum":
            value: Any = 0
        elif node.op == "prod":
            value = 1
        elif el.kind == "f":
            value = -math.inf if node.op == "amax" else math.inf
        elif el.kind == "b":
            value = 0 if node.op == "amax" else 1
        else:
            bits = el.size * 8
            low = 0 if el.kind == "u" else -(1 << (bits - 1))
            value = low if node.op == "amax" else low + (1 << bits) - 1
        return self.f.literal(self.lanes, el.register, value)

    def combine(self, k: int, a: str, b: str, lanes: Lanes | None = None) -> str:
        node = self.group.nodes[k]
        op = {"sum": "add", "prod": "mul", "amax": "maximum", "amin": "minimum"}[node.op]
        # The first is asked whether it is NaN: it is the new value, which need not be waited for.
        given = [a, b] if op in ("add", "mul") else [b, a]
        return pointwise.RULES[op](lanes or self.wide, given, node.compute, {})

    def across(self, value: str, node: Node) -> str:
        """The lanes of a vector combined, in an order fixed by their number."""
        f, ty = self.f, self.wide.type(node.compute.register)
        el = node.compute
        if el.kind in "iu" and self.lanes > 1:
            # Any order gives the same. LLVM 22 loses lanes of the shuffles below where the result
            # is spread again (maxima of int32).
            signed = "s" if el.kind == "i" else "u"
            op = {"sum": "add", "prod": "mul", "amax": f"{signed}max", "amin": f"{signed}min"}
            name = f"llvm.vector.reduce.{op[node.op]}.v{self.lanes}{el.register}"
            return f.call(name, el.register, (ty, value))
        k = self.group.nodes.index(node)
        half = self.lanes // 2
        while half:
            order = [i + half if i < half else i for i in range(self.lanes)]
            places = ", ".join(f"i32 {i}" for i in order)
            other = f.value(
                f"shufflevector {ty} {value}, {ty} poison, <{self.lanes} x i32> <{places}>"
            )
            value = self.combine(k, value, other)
            half //= 2
        if self.lanes == 1:
            return value
        single = f.value(f"extractelement {ty} {value}, i64 0")
        return single


def cost(plan: Plan) -> float:
    """About how many nanoseconds one point of the space takes."""
    total = 0.0
    for k, node in enumerate(plan.group.nodes):
        if plan.group.level[id(node)]:
            each = COST.get(node.op, ELEMENTARY if node.op in _SLOW else 0.3)
            total += each * max(1, 16 // plan.lanes)
        del k
    total += 0.8 * (len(plan.reads) + len(plan.writes))
    return total / 16


_SLOW = frozenset(
    {
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sigmoid", "erf",
        "erfc", "sin", "cos", "tan", "sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh",
        "atanh", "pow", "atan2", "xlogy", "logaddexp", "binary_cross_entropy",
    }
)  # fmt: skip

_memo: dict[tuple, Kernel] = {}


def build(group: Group, stored: set[int], buffers: dict[int, Buffer], target: Target) -> Nest:
    """The kernel of a group; equal groups share one."""
    plan = Plan(group, stored, buffers, target)
    builder = Builder(plan, "k")
    key = None if plan.varies else (plan.spec(), target)
    kernel = _memo.get(key) if key is not None else None
    if kernel is None:
        builder.build()
        text = builder.f.finish()
        name = "nest_" + hashlib.sha256(text.encode()).hexdigest()[:20]
        kernel = Kernel(name, text.replace("@k(", f"@{name}(", 1), sizes=builder.f.sizes)
        if key is not None:
            _memo[key] = kernel
    else:
        builder.prologue()
    return Nest(kernel, tuple(builder.pointers), *shared(plan, builder.row_mode))


def shared(plan: Plan, row_mode: bool) -> tuple[int, int]:
    """The units of work, and how many a thread takes at a time."""
    axes, reduced = plan.axes, plan.reduced
    each = cost(plan)
    if not reduced and len(axes) == 1:
        return axes[0], later(lambda n: _chunk_of_elements(n, each), axes[0])
    if not reduced:
        units, per = math.prod(axes[:-1]), axes[-1]
    else:
        kept = [axes[k] for k in range(len(axes)) if k not in reduced]
        per = math.prod(axes[k] for k in reduced)
        if not row_mode:
            kept[-1] = -(-kept[-1] // plan.lanes)
            per *= plan.lanes
        units = math.prod(kept)
    return units, later(lambda n, of: _chunk(n, each * max(of, plan.lanes)), units, per)


def _chunk_of_elements(units: int, each: float) -> int:
    return units if each * units < WORTH else max(1024, int(WORTH / each / 3) // 64 * 64)


def _chunk(units: int, work: float) -> int:
    return units if work * units < WORTH else max(1, int(WORTH / work / 3))
