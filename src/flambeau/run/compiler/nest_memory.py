"""A nest's values in memory: addresses, vectors of them, how each dtype lies there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.emit import Function, mangled, vector
from flambeau.run.compiler.nest_plan import Access, Plan
from flambeau.run.compiler.nest_values import (
    memory_type,
    number_key,
    pack_bfloat,
    widen_bfloat,
    zero,
)
from flambeau.run.compiler.nodes import Number, Ref
from flambeau.run.compiler.pointwise import Lanes
from flambeau.run.compiler.sizes import Size, has_size

if TYPE_CHECKING:
    from flambeau.run.compiler.elements import Element

__all__ = ["FAULT", "NUMBER_MEMORY", "SIZES", "Memory"]

# Slots of a program's own memory: where faults are noted, where run-time numbers and sizes are.
FAULT, NUMBER_MEMORY, SIZES = -2_000_000_001, -2_000_000_002, -2_000_000_003
# Rows so many bytes apart are not foreseen by the processor: so many rows ahead are asked for.
FAR, AHEAD = 2048, 16
# Elements no further apart than this are shuffled out of whole vectors, of these types.
NEAR = 4
SHUFFLED = {"float": 4, "i32": 4, "double": 8, "i64": 8}


class Memory:
    """What a nest's builder reads and writes."""

    def __init__(self, plan: Plan, name: str) -> None:
        self.plan = plan
        self.group = plan.group
        self.f = Function(name)
        self.lanes = plan.lanes
        self.wide = Lanes(self.f, self.lanes)
        self.single = Lanes(self.f, 1)
        self.pointers: list[tuple[int, int]] = []
        self.bases: dict[Any, str] = {}
        self.moves: dict[int, str] = {}
        self.row_mode = bool(plan.reduced) and plan.reduced[-1] == len(plan.axes) - 1
        self.stages()

    # What is where

    def stages(self) -> None:
        """The stage each node belongs to: how many reductions lie before it."""
        group = self.group
        self.stage: list[int] = []
        made = {n.slot: k for k, n in enumerate(group.nodes) if n.target is None and n.slots}
        self.made = made
        for k, node in enumerate(group.nodes):
            before = [
                self.stage[made[o.slot]]
                for j, o in enumerate(node.operands)
                if o.__class__ is Ref and (k, j) not in self.plan.reads
            ]
            stage = max(before, default=0)
            self.stage.append(stage + 1 if node.kind == "reduce" else stage)
        self.last = max(self.stage)

    def full(self, k: int) -> bool:
        node = self.group.nodes[k]
        return self.group.level[id(node)] and node.kind != "reduce"

    def reads_back(self, k: int, stage: int) -> bool:
        node = self.group.nodes[k]
        return (
            k in self.plan.writes and node.target is None and self.full(k) and self.stage[k] < stage
        )

    def pointer(self, slot: int, offset_bytes: int) -> str:
        key = (slot, offset_bytes)
        found = self.bases.get(key)
        if found is None:
            found = self.bases[key] = self.f.pointer(len(self.pointers))
            self.pointers.append(key)
        return found

    def number_value(self, number: Number) -> str:
        # The program lays numbers out; the pointer is made to each of them.
        p = self.pointer(NUMBER_MEMORY, number_key(number))
        return self.f.load("double" if number.kind == "f" else "i64", p, 8)

    def offset(self, access: Access, index: dict[int, str]) -> str | None:
        """Elements from the access's base to a place along some axes."""
        f = self.f
        total = None
        for axis, at in index.items():
            stride = access.strides[axis]
            if not stride or at == "0":
                continue
            part = at if stride == 1 else f.value(f"mul i64 {at}, {stride}")
            total = part if total is None else f.value(f"add i64 {total}, {part}")
        for slot, step in access.moving:
            part = f.value(f"mul i64 {self.moves[slot]}, {step}")
            total = part if total is None else f.value(f"add i64 {total}, {part}")
        return total

    def row_bases(
        self, nodes: Any, index: dict[int, str], axis: int, stage: int = 0
    ) -> dict[Any, Any]:
        """Addresses where a row begins; values that are the same all along it are read here."""
        f = self.f
        bases: dict[Any, Any] = {"nodes": list(nodes)}
        for k in nodes:
            node = self.group.nodes[k]
            accesses = []
            if self.reads_back(k, stage):
                accesses.append(self.plan.writes[k])
            else:
                accesses += [
                    self.plan.reads[k, j]
                    for j in range(len(node.operands))
                    if (k, j) in self.plan.reads and (self.full(k) or node.kind == "reduce")
                ]
                if k in self.plan.writes and self.full(k):
                    accesses.append(self.plan.writes[k])
            for a in accesses:
                if a in bases:
                    continue
                base = self.pointer(a.slot, a.offset * a.element.size)
                off = self.offset(a, index)
                if off is not None:
                    base = f.element(base, memory_type(a.element), off)
                bases[a] = base
                if a.strides[axis] == 0 and self.plan.axes[axis] > 1:
                    if not any(a is w for w in self.plan.writes.values()):
                        raw = f.load(memory_type(a.element), base, a.element.size)
                        one = self.unpack(self.single, raw, a.element)
                        bases["all", a] = f.splat(self.lanes, a.element.register, one)
        return bases

    def unpack(self, e: Lanes, raw: str, el: Element) -> str:
        """What memory holds as what registers compute with."""
        f = self.f
        if el.kind == "b":
            return f.value(f"icmp ne {e.type('i8')} {raw}, {zero(e, 'i8')}")
        if el.memory == "half":
            return f.value(f"fpext {e.type('half')} {raw} to {e.type('float')}")
        if el.memory == "bfloat":
            return widen_bfloat(e, raw)
        return raw

    def pack(self, e: Lanes, value: str, el: Element) -> str:
        """A value in registers as memory has it; 16-bit ones are rounded already."""
        f = self.f
        if el.kind == "b":
            return f.value(f"zext {e.bits()} {value} to {e.type('i8')}")
        if el.memory == "half":
            return f.value(f"fptrunc {e.type('float')} {value} to {e.type('half')}")
        if el.memory == "bfloat":
            return pack_bfloat(e, value)
        return value

    def load(
        self, a: Access, at: str, mask: str | None, bases: dict, loads: dict[Access, str]
    ) -> str:
        found = loads.get(a) or bases.get(("all", a))
        if found is not None:
            return found
        f, el = self.f, a.element
        memory = memory_type(el)
        axis = len(self.plan.axes) - 1
        stride = a.strides[axis]
        base = bases[a]
        if stride == 1 or self.plan.axes[axis] == 1:
            p = base if at == "0" else f.element(base, memory, at)
            self.ask_ahead(a, p)
            if mask is None:
                raw = f.load(vector(self.lanes, memory), p, el.size)
            else:
                raw = f.load_masked(self.lanes, memory, p, mask)
        else:
            raw = self.gather(base, memory, at, stride, mask)
        loads[a] = self.unpack(self.wide, raw, el)
        return loads[a]

    def ask_ahead(self, a: Access, pointer: str) -> None:
        """Down columns, each row is another page: what comes some rows later is asked for."""
        if self.row_mode or not self.plan.reduced:
            return
        down = self.plan.reduced[-1]
        step = a.strides[down] * a.element.size
        if has_size((step, self.plan.axes[down])):
            return
        if step < FAR or self.plan.axes[down] < 4 * AHEAD:
            return
        f = self.f
        f.declared.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for line in range(0, self.lanes * a.element.size, 64):
            there = f.value(f"getelementptr i8, ptr {pointer}, i64 {AHEAD * step + line}")
            f.line(f"call void @llvm.prefetch.p0(ptr {there}, i32 0, i32 3, i32 1)")

    def places(self, base: str, memory: str, at: str, stride: int) -> str:
        """Addresses of strided elements, as a vector."""
        f, lanes = self.f, self.lanes
        start = base
        if at != "0":
            off = f.value(f"mul i64 {at}, {stride}")
            start = f.element(base, memory, off)
        if stride.__class__ is Size:
            lane = ", ".join(f"i64 {i}" for i in range(lanes))
            wide = f.splat(lanes, "i64", str(stride))
            steps = f.value(f"mul <{lanes} x i64> <{lane}>, {wide}")
        else:
            steps = "<" + ", ".join(f"i64 {i * stride}" for i in range(lanes)) + ">"
        return f.value(f"getelementptr {memory}, ptr {start}, <{lanes} x i64> {steps}")

    def gather(self, base: str, memory: str, at: str, stride: int, mask: str | None) -> str:
        ty, lanes = vector(self.lanes, memory), self.lanes
        if mask is None:
            return self.stride(base, memory, at, stride)
        return self.f.call(
            f"llvm.masked.gather.{mangled(ty)}.v{lanes}p0",
            ty,
            (f"<{lanes} x ptr>", self.places(base, memory, at, stride)),
            (f"<{lanes} x i1>", mask),
            (ty, "zeroinitializer"),
        )

    def stride(self, base: str, memory: str, at: str, stride: int) -> str:
        """Strided elements, one by one: on AMD (Zen 4) a gather takes seven times as long."""
        f, lanes = self.f, self.lanes
        ty = vector(lanes, memory)
        start = base if at == "0" else f.element(base, memory, f.value(f"mul i64 {at}, {stride}"))
        if lanes == 1:
            return f.load(memory, start)
        if stride == -1:
            raw = f.load(ty, f.element(start, memory, str(1 - lanes)))
            order = ", ".join(f"i32 {i}" for i in range(lanes - 1, -1, -1))
            return f.value(f"shufflevector {ty} {raw}, {ty} poison, <{lanes} x i32> <{order}>")
        if self.is_near(memory, stride):
            return self.picked(start, memory, stride)
        found = "poison"
        for i in range(lanes):
            one = f.load(memory, f.element(start, memory, str(i * stride)) if i else start)
            found = f.value(f"insertelement {ty} {found}, {memory} {one}, i64 {i}")
        return found

    def is_near(self, memory: str, stride: int) -> bool:
        """Whether a few whole vectors hold the elements of a strided one."""
        size = SHUFFLED.get(memory, 0)
        return stride.__class__ is int and 2 <= stride <= NEAR and 16 <= size * self.lanes <= 64

    def parts(self, stride: int) -> list[tuple[int, dict[int, int]]]:
        """The vectors between the first strided element and the last, by where each begins, and
        which strided element each of their lanes is."""
        n = self.lanes
        span = (n - 1) * stride + 1
        found = []
        for k in range(stride):
            start = min(k * n, span - n)
            new = range(k * n, min(k * n + n, span))
            found.append((start, {p - start: p // stride for p in new if p % stride == 0}))
        return found

    def picked(self, start: str, memory: str, stride: int) -> str:
        """Strided elements out of the vectors between the first and the last, no further."""
        f, n = self.f, self.lanes
        ty = vector(n, memory)
        found = "poison"
        for at, lanes in self.parts(stride):
            part = f.load(ty, f.element(start, memory, str(at)) if at else start)
            order = list(range(n))
            for lane, i in lanes.items():
                order[i] = n + lane
            mask = ", ".join(f"i32 {i}" for i in order)
            found = f.value(f"shufflevector {ty} {found}, {ty} {part}, <{n} x i32> <{mask}>")
        return found

    def spread_out(self, value: str, start: str, memory: str, stride: int) -> None:
        """The opposite of ``picked``; what lies between is not touched."""
        f, n = self.f, self.lanes
        ty = vector(n, memory)
        for at, lanes in self.parts(stride):
            order = ", ".join(f"i32 {lanes[k]}" if k in lanes else "i32 poison" for k in range(n))
            part = f.value(f"shufflevector {ty} {value}, {ty} poison, <{n} x i32> <{order}>")
            mask = ", ".join(f"i1 {str(k in lanes).lower()}" for k in range(n))
            to = f.element(start, memory, str(at)) if at else start
            f.store_masked(n, memory, part, to, f"<{mask}>")

    def store(self, a: Access, value: str, at: str, mask: str | None, bases: dict) -> None:
        f, el = self.f, a.element
        raw = self.pack(self.wide, value, el)
        memory = memory_type(el)
        axis = len(self.plan.axes) - 1
        stride = a.strides[axis]
        base = bases[a]
        ty = vector(self.lanes, memory)
        if stride == 1 or self.plan.axes[axis] == 1:
            p = base if at == "0" else f.element(base, memory, at)
            if mask is None:
                f.store(ty, raw, p, el.size)
            else:
                f.store_masked(self.lanes, memory, raw, p, mask)
            return
        if mask is None and self.is_near(memory, stride):
            start = base
            if at != "0":
                start = f.element(base, memory, f.value(f"mul i64 {at}, {stride}"))
            self.spread_out(raw, start, memory, stride)
            return
        lanes = self.lanes
        name = f"llvm.masked.scatter.{mangled(ty)}.v{lanes}p0"
        f.declared.add(f"declare void @{name}({ty}, <{lanes} x ptr>, <{lanes} x i1>)")
        places = self.places(base, memory, at, stride)
        f.line(
            f"call void @{name}({ty} {raw}, <{lanes} x ptr> {places}, "
            f"<{lanes} x i1> {mask or 'splat (i1 true)'})"
        )

    def load_kept(self, a: Access, index: dict[int, str], mask: str | None) -> str:
        """A value of the unit's kept point(s) from memory."""
        f, el = self.f, a.element
        memory = memory_type(el)
        base = self.pointer(a.slot, a.offset * el.size)
        off = self.offset(a, index)
        if off is not None:
            base = f.element(base, memory, off)
        if self.row_mode:
            return self.unpack(self.single, f.load(memory, base, el.size), el)
        stride = a.strides[-1]
        if stride == 0 and self.plan.axes[-1] > 1:
            one = self.unpack(self.single, f.load(memory, base, el.size), el)
            return f.splat(self.lanes, el.register, one)
        if stride in (0, 1):
            if mask is None:
                raw = f.load(vector(self.lanes, memory), base, el.size)
            else:
                raw = f.load_masked(self.lanes, memory, base, mask)
        else:
            raw = self.gather(base, memory, "0", stride, mask)
        return self.unpack(self.wide, raw, el)

    def write(self, k: int, value: str, index: dict[int, str], mask: str | None) -> None:
        """Stores a kept value."""
        a = self.plan.writes[k]
        f, el = self.f, a.element
        memory = memory_type(el)
        base = self.pointer(a.slot, a.offset * el.size)
        off = self.offset(a, index)
        if off is not None:
            base = f.element(base, memory, off)
        if self.row_mode:
            f.store(memory, self.pack(self.single, value, el), base, el.size)
            return
        self.store(a._replace(moving=()), value, "0", mask, {a._replace(moving=()): base})
