"""A compiled program: one native call, or a few with references in between."""

from __future__ import annotations

import math
from dataclasses import replace
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import Aval
from flambeau.run.compiler import (
    borders,
    code,
    convolution,
    epilogue,
    fourier,
    launch,
    layers,
    memory,
    pairs,
    places,
    pointwise_bessel,
    pointwise_division,
    pointwise_gamma,
    pointwise_special,
    rules,
    rules_classes,
    rules_distances,
    rules_statistics,
    sampling,
    scans,
    scans_extrema,
    selection,
    tables,
    threads,
)
from flambeau.run.compiler.fuse import Fuser, Group, ordered
from flambeau.run.compiler.gemm import Plan, Product, product
from flambeau.run.compiler.lower import Lowering, element_or_raw
from flambeau.run.compiler.nest import FAULT, NUMBER_MEMORY, Nest, build
from flambeau.run.compiler.nest_values import number_key
from flambeau.run.compiler.nodes import Literal, Node, Number, Ref
from flambeau.run.interpreter import called
from flambeau.run.tail import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.emit import Kernel

__all__ = ["Compiled", "Faulty", "Draft"]

# imported for what they register
del borders, layers, places, pointwise_division, pointwise_special, rules
del fourier, pairs, pointwise_bessel, pointwise_gamma
del rules_classes, rules_distances, rules_statistics, sampling
del scans, scans_extrema, selection, tables


class Faulty(Exception):
    """A kernel met a value that its primitive refuses; nothing of the program's inputs changed."""


class Moved(Exception):
    """An input lies in memory in another way than the code was made for; nothing was done."""


def needed(nodes: Sequence[Node], outs: set[int]) -> list[Node]:
    """The nodes that outputs or guards depend on."""
    wanted = set(outs)
    kept = []
    for node in reversed(nodes):
        if node.kind == "guard" or not wanted.isdisjoint(node.slots):
            kept.append(node)
            wanted.update(o.slot for o in node.operands if o.__class__ is Ref)
            wanted.update(node.after)
    kept.reverse()
    return kept


class Run:
    """Consecutive native steps between calls of references."""

    def __init__(self) -> None:
        self.steps: list[tuple[Kernel, list[tuple[int, int]], int, int]] = []
        self.launch: launch.Launch | None = None


class Draft:
    """A program planned: its kernels are known, but not yet compiled."""

    def __init__(
        self,
        entries: Sequence[Entry],
        outs: Sequence[int],
        samples: Sequence[Any],
        passed: Mapping[int, Aval] | None = None,
        storages: Sequence[tuple[int, int]] = (),
        layouts: Mapping[int, tuple[int, ...]] | None = None,
    ) -> None:
        self.outs = tuple(outs)
        # For the profiler: what the program computes.
        self.entries = entries
        low = Lowering(entries, outs, samples, layouts)
        low.avals.update(passed or {})
        low.run(entries)
        self.low = low
        self.n_given = len(samples)
        self.claims(low, entries)
        nodes = needed(low.nodes, set(self.out_slots))
        fuser = Fuser(nodes)
        replaced = {self.out_slots[k] for k, _ in storages}
        self.epilogues = epilogue.attach(fuser, self.out_slots, replaced, low.buffers)
        self.groups = ordered(fuser)
        self.stored = self.find_stored()
        self.make_runs()

    def claims(self, low: Lowering, entries: Sequence[Entry]) -> None:
        """A buffer for each output, its own."""
        self.out_slots: list[int] = []
        self.number_outs: list[tuple[int, int]] = []
        self.out_shapes: list[tuple[tuple[int, ...], np.dtype]] = []
        taken: set[int] = set()
        avals = low.avals
        for slot in self.outs:
            aval = avals[slot]
            value = low.env.get(slot)
            if aval.dtype is None:
                # A run-time number: ``__call__`` puts it where its buffer stands.
                self.number_outs.append((len(self.out_slots), value.index))
                aval = Aval((1,), dtypes.float32)
                value = Literal(0.0)
            el = element_or_raw(aval)
            if value is None:
                # An input that no entry reads.
                value = low.given(slot, aval)
            own = (
                value.__class__ is Ref
                and value.slot >= 0
                and value.slot not in taken
                and low.buffers[value.slot].array is None
                and value.view.is_whole(low.buffers[value.slot].size)
            )
            if not own:
                value = low.copied(value, aval.shape, el)
            taken.add(value.slot)
            self.out_slots.append(value.slot)
            self.out_shapes.append((aval.shape, aval.dtype.numpy))

    def find_stored(self) -> set[int]:
        stored = set(self.out_slots)
        for group in self.groups:
            for node in group.nodes:
                for o in node.operands:
                    if o.__class__ is Ref and o.slot not in group.made:
                        stored.add(o.slot)
        return stored

    def make_runs(self) -> None:
        """Kernels and references in order, with who reads and writes what when."""
        target = code.target()
        low = self.low
        self.kernels: dict[str, Kernel] = {}
        self.parts: list[Run | Node] = []
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        self.scratch = 0
        # How many kernels run until a slot has its value, and until nothing can be refused.
        self.complete: dict[int, int] = {}
        self.checked = 0
        self.described: list[str] = []
        self.work: list[tuple[int, int, int]] = []
        workspaces: dict[int, tuple[int, int, int]] = {}
        step = 0
        self.reading: dict[int, list[tuple[int, Group]]] = {}
        self.writing: dict[int, list[tuple[int, Group]]] = {}

        def touch(slot: int) -> None:
            first.setdefault(slot, step)
            last[slot] = step

        for group in self.groups:
            node = group.nodes[0]
            for n in group.nodes:
                for o in n.operands:
                    if o.__class__ is Ref and o.slot not in group.made:
                        self.reading.setdefault(o.slot, []).append((step, group))
                for slot in n.slots:
                    if slot in self.stored or n.target is not None or n.kind != "map":
                        self.writing.setdefault(slot, []).append((step, group))
            if group.nest and not math.prod(group.space):
                # Nothing to do but for reductions of nothing: no node of such is made.
                pass
            elif group.nest:
                nest: Nest = build(group, self.stored, low.buffers, target)
                self.add(nest.kernel, list(nest.pointers), nest.units, nest.chunk)
                self.described.append(describe(group, nest, self.stored))
                for slot, _ in nest.pointers:
                    touch(slot)
            elif node.kind == "stages":
                attached = self.epilogues.get(id(group))
                plan = planned(node, attached)
                work = None
                if plan.workspace:
                    work = -3_000_000_000 - step
                names: dict[str, tuple[int, int]] = {}
                for k, o in enumerate(node.operands):
                    size = low.buffers[o.slot].element.size
                    names[str(k)] = names["ab"[k] if k < 2 else str(k)] = (
                        o.slot, o.view.offset * size,
                    )  # fmt: skip
                for k, slot in enumerate(node.slots):
                    names[f"out{k}"] = (slot, 0)
                names["c"] = names["out0"]
                names["fault"] = (FAULT, 0)
                if attached is not None:
                    names["c"] = names["out0"] = (attached.c, 0)
                    names |= {f"e{k}": p for k, p in enumerate(attached.pointers)}
                for stage in plan.stages:
                    if work is not None:
                        names["w"] = (work, 0)
                    pointers = [names[o] for o in stage.operands]
                    self.add(stage.kernel, pointers, stage.units, stage.chunk)
                    for slot, _ in pointers:
                        touch(slot)
                    ops = " + " + shown(group.nodes[1:]) if attached is not None else ""
                    self.described.append(
                        f"{node.op}{ops}: {stage.kernel.name}, {stage.units} units"
                    )
                    step += 1
                step -= 1
                if work is not None:
                    workspaces[work] = (plan.workspace, first.pop(work), last.pop(work))
            else:
                self.parts.append(node)
                for o in node.operands:
                    if o.__class__ is Ref:
                        touch(o.slot)
                for slot in node.slots:
                    touch(slot)
                self.described.append(f"{node.op}: its NumPy reference")
            step += 1
            self.completed(group)
        outs = set(self.out_slots)
        lives: dict[int, tuple[int, int, int]] = dict(workspaces)
        for slot, at in first.items():
            if slot >= 0 and slot not in outs and low.buffers[slot].array is None:
                lives[slot] = (max(low.buffers[slot].bytes, 1), at, last[slot])
        self.offsets, self.arena_bytes = memory.layout(lives)

    def completed(self, group: Group) -> None:
        """Notes that the kernels so far compute what a group does."""
        ran = len(self.parts[-1].steps) if self.parts and isinstance(self.parts[-1], Run) else 0
        for n in group.nodes:
            self.complete |= dict.fromkeys(n.slots, ran)
            if n.faults:
                self.checked = ran

    def add(self, kernel: Kernel, pointers: list[tuple[int, int]], units: int, chunk: int) -> None:
        self.kernels.setdefault(kernel.name, kernel)
        self.scratch = max(self.scratch, kernel.scratch)
        if not self.parts or not isinstance(self.parts[-1], Run):
            self.parts.append(Run())
        run = self.parts[-1]
        run.steps.append((kernel, pointers, units, chunk))  # type: ignore[union-attr]

    def donations(self, candidates: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Of (output, input) pairs of one storage, those that may be written where they are read.

        The input must not be read after the output is begun, nor by the nest that writes it at
        other places than it is writing.
        """
        found = []
        faults = max(
            (i for i, g in enumerate(self.groups) if any(n.faults for n in g.nodes)),
            default=-1,
        )
        place = {id(g): i for i, g in enumerate(self.groups)}
        for k, i in candidates:
            slot, source = self.out_slots[k], -1 - i
            if source in self.out_slots or source in self.low.layouts:
                continue
            writers = self.writing.get(slot, [])
            if len(writers) != 1 or place[id(writers[0][1])] < faults:
                continue
            step, group = writers[0]
            attached = self.epilogues.get(id(group))
            if attached is None and not group.nest:
                continue
            if attached is not None and attached.c == slot:
                continue
            if self.low.buffers[slot].bytes != self._bytes(source):
                continue
            if all(
                at < step or (g is group and self.in_place(group, slot, source))
                for at, g in self.reading.get(source, [])
            ):
                found.append((k, i))
        return found

    def _bytes(self, slot: int) -> int:
        buffer = self.low.buffers.get(slot)
        return -1 if buffer is None else buffer.bytes

    def in_place(self, group: Group, slot: int, source: int) -> bool:
        """Whether a nest reads ``source`` only where, and before, it writes ``slot``."""
        if group.dims is not None:
            return False
        if not group.nest and any(o.slot == source for o in group.nodes[0].operands):
            return False
        for node in group.nodes:
            for o, view in zip(node.operands, group.views[id(node)], strict=True):
                if o.__class__ is Ref and o.slot == source:
                    if not group.level[id(node)] or not view.is_whole(math.prod(group.space)):
                        return False
        node = group.made.get(slot)
        return node is not None and node.target is None


def front(draft: Draft, replacing: set[int]) -> tuple[int, frozenset[int]]:
    """How many kernels a call waits for, and which outputs are there then.

    All that may refuse a value, and results without dimensions: what a loop reads at once.
    """
    complete = [draft.complete.get(slot, 0) for slot in draft.out_slots]
    read = [
        at for k, at in enumerate(complete) if k not in replacing and draft.out_shapes[k][0] == ()
    ]
    kept = max([draft.checked, *read])
    return kept, frozenset(k for k, at in enumerate(complete) if at <= kept and k not in replacing)


def planned(node: Node, attached: epilogue.Attached | None) -> Plan:
    """The stages of a node of kernels; products and convolutions wait for their epilogues."""
    ending = None if attached is None else attached.epilogue()
    if isinstance(node.plan, Product):
        return product(replace(node.plan, epilogue=ending), code.target())
    if isinstance(node.plan, convolution.Convolution):
        return convolution.planned(replace(node.plan, epilogue=ending), code.target())
    return node.plan


def shown(nodes: Sequence[Node]) -> str:
    """The names of operations, not too many."""
    ops = [n.op for n in nodes]
    return " ".join(ops if len(ops) <= 12 else [*ops[:10], f"... {len(ops) - 10} more"])


def describe(group: Group, nest: Nest, stored: set[int]) -> str:
    """One line of ``FLAMBEAU_LOG=program``."""
    over = "" if group.dims is None else f", reduced over {group.dims}"
    kept = sum(1 for n in group.nodes if n.slots and (n.slot in stored or n.target is not None))
    return (
        f"nest {list(group.space)}{over}: {shown(group.nodes)} ({len(group.nodes)} operations, "
        f"{kept} stored, {nest.units} units, {nest.chunk} at a time) {nest.kernel.name}"
    )


# A program with no more temporary memory (bytes) has it for itself.
OWN_ARENA = 1 << 16


class Compiled:
    """A program that runs."""

    Faulty = Faulty
    Moved = Moved

    def __init__(
        self,
        draft: Draft,
        addresses: dict[str, int],
        input_count: int,
        candidates: Sequence[tuple[int, int]],
    ) -> None:
        low = draft.low
        self.draft = draft
        self.out_shapes = draft.out_shapes
        self.number_outs = draft.number_outs
        self.donations = draft.donations(candidates)
        self.replaced = {k for k, _ in self.donations}
        self.arena_bytes = draft.arena_bytes
        self.base = 0
        self.fault = np.zeros(1, np.int64)
        slots: dict[int, int] = {}
        for i in range(input_count):
            slots[-1 - i] = len(slots)
        self.input_count = input_count
        for s in draft.out_slots:
            slots[s] = len(slots)
        fixed: list[tuple[int, int]] = []
        for s, b in low.buffers.items():
            if s not in slots and (b.array is not None or s in draft.offsets):
                slots[s] = len(slots)
                if b.array is not None:
                    fixed.append((slots[s], b.array.ctypes.data))
        for s in draft.offsets:
            slots.setdefault(s, len(slots))
        slots[FAULT] = len(slots)
        # Run-time numbers follow the addresses.
        numbers = sorted(low.numbers)
        number_slots = {}
        for n in numbers:
            number_slots[number_key(n)] = len(slots) + len(number_slots)
        self.slots = slots
        self.tables: list[np.ndarray] = []
        self.parts: list[Any] = []
        self.runs: list[launch.Launch] = []
        self.has_tail = False
        has_guard = bool(low.guards)
        replacing = {k for k, _ in candidates}
        # What a call waits for if the rest may run behind it (``run/tail.py``).
        self.early: frozenset[int] = frozenset()
        kept: int | None = None
        if len(draft.parts) == 1 and isinstance(draft.parts[0], Run):
            kept, self.early = front(draft, replacing)
        order = list(range(input_count))
        outs = [slots[s] for s in draft.out_slots]
        for part in draft.parts:
            if isinstance(part, Node):
                self.parts.append(part)
                continue
            table = np.zeros(len(slots) + len(number_slots), np.int64)
            for at, address in fixed:
                table[at] = address
            table[slots[FAULT]] = self.fault.ctypes.data
            steps = []
            empty = 0
            for at, (kernel, pointers, units, chunk) in enumerate(part.steps):
                if units == 0:
                    empty += kept is not None and at < kept
                    continue
                where = [
                    (number_slots[offset], 0) if s == NUMBER_MEMORY else (slots[s], offset)
                    for s, offset in pointers
                ]
                steps.append(
                    launch.Step(
                        addresses[kernel.name],
                        tuple(w for w, _ in where),
                        units,
                        chunk,
                        tuple(o for _, o in where),
                    )
                )
            made = launch.assemble(
                steps,
                table,
                order,
                outs,
                [
                    (n.index, launch.FLOAT if n.kind == "f" else launch.INT,
                     number_slots[number_key(n)])
                    for n in numbers
                ],
                release=self.is_long(part),
                keep=(self.fault, low),
                fault=self.fault.ctypes.data if has_guard else 0,
                kept=None if kept is None else kept - empty,
            )  # fmt: skip
            # Handing over what is done in a moment would take longer.
            self.has_tail = kept is not None and any(
                units > chunk for _, _, units, chunk in part.steps[kept:]
            )
            self.runs.append(made)
            self.tables.append(table)
            self.parts.append(made)
        if draft.scratch:
            threads.ensure_scratch(draft.scratch)
        self.arena_slots = [(slots[s], offset) for s, offset in draft.offsets.items()]
        self.prelude = make_prelude(draft)
        self.arena: np.ndarray | None = None
        if self.arena_bytes <= OWN_ARENA and all(p.__class__ is not Node for p in self.parts):
            # Asking the thread for its arena would take longer than some kernels.
            self.arena = np.empty(self.arena_bytes + memory.ALIGN, np.uint8)
            self.place(-(-self.arena.ctypes.data // memory.ALIGN) * memory.ALIGN)
        # Inputs that were not contiguous once.
        self.strided: set[int] = set()
        # Inputs that the code was made for as they lie: their strides (bytes), and their first
        # element's place, by which they are given.
        self.laid = [
            (-1 - i, tuple(s * low.buffers[i].element.size for s in strides),
             (slice(0, 1),) * len(strides))
            for i, strides in low.layouts.items() if i in low.buffers
        ]  # fmt: skip
        self.blank: list[Any] = [None] * len(outs)
        replacing -= self.replaced
        own = [k for k in range(len(outs)) if k not in replacing and k not in self.replaced]
        # The new value of a storage is made while the one from the last run is still held.
        sets = ((own, 1), (sorted(replacing), 2))
        self.pools = [memory.Pool(ks, self.out_shapes, turns) for ks, turns in sets if ks]
        self.single = self.parts[0].call if len(self.runs) == 1 == len(self.parts) else None
        self.has_tail = self.has_tail and self.single is not None
        self.wait = threads.join_with(
            any(self.is_long(p) for p in draft.parts if isinstance(p, Run))
        )
        # Whether ``write`` will do.
        self.direct = self.single is not None and not self.number_outs
        self.done = memoryview(self.runs[-1].done) if self.runs else None  # type: ignore[arg-type]
        self.kept_outs: list[np.ndarray] | None = None

    @staticmethod
    def is_long(run: Run) -> bool:
        """Whether other Python threads should run meanwhile."""
        return any(units > chunk for _, _, units, chunk in run.steps)

    def place(self, base: int) -> None:
        """Temporaries lie from this address on."""
        for table in self.tables:
            for at, offset in self.arena_slots:
                table[at] = base + offset
        self.base = base

    def allocate(self, given: Sequence[tuple[int, np.ndarray]] = ()) -> list[Any]:
        """Arrays for the outputs: those given, and memory that nobody holds any more."""
        outs = self.blank.copy()
        for pool in self.pools:
            pool.fill(outs)
        for k, a in given:
            outs[k] = a
        if len(given) < len(self.replaced):
            for k in self.replaced:
                if outs[k] is None:
                    outs[k] = np.empty(*self.out_shapes[k])
        return outs

    def __call__(self, inputs: list[Any], numbers: list[Any], given: Any = ()) -> list[Any]:
        """The outputs. ``given``: (output, array) pairs that are written in place."""
        return self.run(inputs, numbers, self.allocate(given))

    def write(self, inputs: list[Any], numbers: list[Any], leave: bool = True) -> list[Any]:
        """``__call__``, writing over inputs that only ``inputs`` and their storage hold.

        For a program of one native call, whose ``donations`` have storages of their own.
        ``leave``: it may have a tail.
        """
        if tail.given is not None:
            tail.join()
        self.kept_outs = None
        outs = self.blank.copy()
        for pool in self.pools:
            pool.fill(outs)
        for k, i in self.donations:
            a = inputs[i]
            if getrefcount(a) > HELD or a.base is not None:
                a = np.empty(*self.out_shapes[k])
            outs[k] = a
        return self.run(inputs, numbers, outs, leave and self.has_tail and tail.enabled)

    def run(
        self, inputs: list[Any], numbers: list[Any], outs: list[Any], leave: bool = False
    ) -> list[Any]:
        """``outs``, filled; or with ``leave`` perhaps only those of ``early``."""
        if self.prelude is not None:
            numbers = self.prelude(numbers)
        if self.arena is None:
            base = memory.arena.at_least(self.arena_bytes)
            if base != self.base:
                self.place(base)
        self.kept_outs = outs
        if self.laid:
            inputs = self.corners(inputs)
        if self.single is not None:
            for i in self.strided:
                a = inputs[i]
                # A number that a segment has kept is none.
                if a.__class__ is not np.ndarray or not a.flags.c_contiguous:
                    inputs[i] = np.array(a, order="C", copy=True, subok=False)
            if leave:
                tail.begin(inputs, outs, self)
                went = self.single(inputs, outs, numbers, True)
                if went == launch.LEFT:
                    tail.given = (inputs, outs, self)
                    return outs
                tail.given = None
            else:
                went = self.single(inputs, outs, numbers)
            if went:
                self.again(self.single, went, inputs, outs, numbers)
            for k, index in self.number_outs:
                outs[k] = numbers[index]
            return outs
        for part in self.parts:
            if part.__class__ is Node:
                self.call_host(part, inputs, outs, numbers)
            else:
                went = part.call(inputs, outs, numbers)
                if went:
                    self.again(part.call, went, inputs, outs, numbers)
        for k, index in self.number_outs:
            outs[k] = numbers[index]
        return outs

    def corners(self, inputs: Sequence[Any]) -> list[Any]:
        """The inputs, with first elements of those that lie as they did. Raises ``Moved``."""
        given = list(inputs)
        for i, strides, first in self.laid:
            a = given[i]
            if a.__class__ is not np.ndarray or a.strides != strides or not a.flags.aligned:
                raise Moved
            given[i] = a[first]
        return given

    def again(self, call: Any, went: int, inputs: list, outs: list, numbers: list) -> None:
        """After an input that lies otherwise: copies; after a fault: ``Faulty``."""
        while went:
            if went == launch.FAULTY:
                self.fault[0] = 0
                raise Faulty
            if went < 0:
                # Memory to write in place that lies otherwise.
                outs[-1 - went] = np.empty(*self.out_shapes[-1 - went])
                went = call(inputs, outs, numbers)
                continue
            # The next time it is copied before the call, which then may have a tail.
            self.strided.add(went - 1)
            inputs[went - 1] = np.array(inputs[went - 1], order="C", copy=True, subok=False)
            went = call(inputs, outs, numbers)

    def view(self, slot: int, offset: int, shape: Any, dtype: Any, inputs: list, outs: list) -> Any:
        """A buffer as an array, for a reference."""
        if slot < 0:
            flat = np.ascontiguousarray(inputs[-1 - slot]).reshape(-1)
            inside = flat[offset : offset + math.prod(shape)]
            return inside.reshape(shape)
        n = math.prod(shape)
        if slot in self.draft.out_slots:
            flat = outs[self.draft.out_slots.index(slot)].reshape(-1)
            return flat[offset : offset + n].reshape(shape)
        array = self.draft.low.buffers[slot].array
        if array is not None:
            return array.reshape(-1)[offset : offset + n].reshape(shape)
        start = (
            self.base - memory.arena.array.ctypes.data
            + self.draft.offsets[slot] + offset * dtype.itemsize
        )  # fmt: skip
        raw = memory.arena.array[start : start + n * dtype.itemsize]
        return raw.view(dtype).reshape(shape)

    def call_host(self, node: Node, inputs: list, outs: list, numbers: list) -> None:
        """Calls a primitive's reference."""
        entry = node.entry
        args = []
        for o, aval in zip(node.operands, entry.in_avals, strict=True):
            if o.__class__ is Literal:
                args.append(o.value)
            elif o.__class__ is Number:
                args.append(numbers[o.index])
            else:
                a = self.view(o.slot, o.view.offset, aval.shape, aval.dtype.numpy, inputs, outs)
                args.append(a)
        with np.errstate(all="ignore"):
            result = called(entry, args)
        results = (result,) if len(entry.outputs) == 1 else result
        for slot, aval, value in zip(node.slots, entry.out_avals, results, strict=True):
            target = slot in self.draft.offsets or slot in self.draft.out_slots
            if target and math.prod(aval.shape):
                into = self.view(slot, 0, aval.shape, aval.dtype.numpy, inputs, outs)
                into[...] = value


def _held() -> int:
    """What the count of references is where a holder, a list and a variable have an array."""
    inputs = [np.empty(1)]
    holder = inputs.copy()
    a = inputs[0]
    count = getrefcount(a)
    del holder
    return count


HELD = _held()


def make_prelude(draft: Draft) -> Callable[[list[Any]], list[Any]] | None:
    """A function that adds what is computed from run-time numbers alone."""
    if not draft.low.prelude:
        return None
    scope: dict[str, Any] = {}
    lines = []
    names = [f"n[{i}]" for i in range(draft.n_given)]
    for k, (op, given) in enumerate(draft.low.prelude):
        scope[f"f{k}"] = op
        args = []
        for j, x in enumerate(given):
            if x.__class__ is Number:
                args.append(names[x.index])
            else:
                scope[f"c{k}_{j}"] = x.value
                args.append(f"c{k}_{j}")
        lines.append(f" p{k} = f{k}({', '.join(args)})")
        names.append(f"p{k}")
    made = ", ".join(f"p{k}" for k in range(len(draft.low.prelude)))
    source = "def prelude(n):\n" + "\n".join(lines) + f"\n return [*n, {made}]"
    exec(compile(source, "<numbers>", "exec"), scope)
    return scope["prelude"]
