"""A compiled program: one native call, or a few with references in between."""

from __future__ import annotations

import math
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from flambeau.run.chores import chores
from flambeau.run.compiler import launch, memory, threads
from flambeau.run.compiler.nodes import Literal, Node, Number
from flambeau.run.compiler.schedule import Run, Schedule
from flambeau.run.interpreter import called
from flambeau.run.tail import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flambeau.ir.graph import Entry

__all__ = ["Compiled", "Faulty"]


class Faulty(Exception):
    """A kernel met a value that its primitive refuses; nothing of the program's inputs changed."""


class Moved(Exception):
    """An input lies in memory in another way than the code was made for; nothing was done."""


# A program with no more temporary memory (bytes) has it for itself.
OWN_ARENA = 1 << 16


class Compiled:
    """A program that runs."""

    Faulty = Faulty
    Moved = Moved

    def __init__(
        self, schedule: Schedule, addresses: Mapping[str, int], entries: Sequence[Entry] = ()
    ) -> None:
        self.schedule = schedule
        # For the profiler: what the program computes.
        self.entries = entries
        self.out_shapes = schedule.out_shapes
        self.number_outs = schedule.number_outs
        self.donations = schedule.donations
        self.replaced = {k for k, _ in self.donations}
        self.arena_bytes = schedule.arena_bytes
        self.base = 0
        self.fault = np.zeros(1, np.int64)
        self.tables: list[np.ndarray] = []
        self.parts: list[Any] = []
        self.runs: list[launch.Launch] = []
        self.has_tail = False
        # What a call waits for if the rest may run behind it (``run/tail.py``).
        self.early = frozenset(schedule.early)
        kept = schedule.kept
        for part in schedule.parts:
            if isinstance(part, Node):
                self.parts.append(part)
                continue
            table = np.zeros(schedule.places, np.int64)
            for s, at in schedule.constant_places.items():
                table[at] = schedule.constants[s].ctypes.data
            table[schedule.fault] = self.fault.ctypes.data
            steps = [
                launch.Step(
                    addresses[s.kernel],
                    tuple(place for place, _ in s.pointers),
                    s.units,
                    s.chunk,
                    tuple(offset for _, offset in s.pointers),
                )
                for s in part.steps
            ]
            made = launch.assemble(
                steps,
                table,
                range(schedule.inputs),
                schedule.out_places,
                [(i, launch.FLOAT if kind == "f" else launch.INT, at)
                 for i, kind, at in schedule.numbers],
                release=part.is_long,
                keep=(self.fault, schedule),
                fault=self.fault.ctypes.data if schedule.may_fault else 0,
                kept=kept,
            )  # fmt: skip
            # Handing over what is done in a moment would take longer.
            self.has_tail = kept is not None and any(s.units > s.chunk for s in part.steps[kept:])
            self.runs.append(made)
            self.tables.append(table)
            self.parts.append(made)
        if schedule.scratch:
            threads.ensure_scratch(schedule.scratch)
        self.arena_slots = [(at, schedule.offsets[s]) for s, at in schedule.offset_places.items()]
        self.prelude = make_prelude(schedule)
        self.arena: np.ndarray | None = None
        if self.arena_bytes <= OWN_ARENA and all(p.__class__ is not Node for p in self.parts):
            # Asking the thread for its arena would take longer than some kernels.
            self.arena = np.empty(self.arena_bytes + memory.ALIGN, np.uint8)
            self.place(-(-self.arena.ctypes.data // memory.ALIGN) * memory.ALIGN)
        # Inputs that were not contiguous once.
        self.strided: set[int] = set()
        # Inputs that the code was made for as they lie: their strides (bytes), and their first
        # element's place, by which they are given.
        self.laid = [(i, strides, (slice(0, 1),) * len(strides)) for i, strides in schedule.laid]
        outs = range(len(schedule.out_slots))
        self.blank: list[Any] = [None] * len(outs)
        replacing = {k for k, _ in schedule.candidates} - self.replaced
        own = [k for k in outs if k not in replacing and k not in self.replaced]
        # The new value of a storage is made while the one from the last run is still held.
        sets = ((own, 1), (sorted(replacing), 2))
        self.pools = [memory.Pool(ks, self.out_shapes, turns) for ks, turns in sets if ks]
        self.single = self.parts[0].call if len(self.runs) == 1 == len(self.parts) else None
        self.has_tail = self.has_tail and self.single is not None
        self.wait = threads.join_with(any(p.is_long for p in schedule.parts if isinstance(p, Run)))
        # Whether ``write`` will do.
        self.direct = self.single is not None and not self.number_outs
        self.done = memoryview(self.runs[-1].done) if self.runs else None  # type: ignore[arg-type]
        self.kept_outs: list[np.ndarray] | None = None

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
        if chores.waiting:
            chores.join()
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
            a, n = inputs[-1 - slot], math.prod(shape)
            if any([i == -1 - slot for i, _, _ in self.laid]):
                # Its first element: what is read lies in order from there on.
                flat = as_strided(a, (offset + n,), (a.itemsize,), writeable=False)
            else:
                flat = np.ascontiguousarray(a).reshape(-1)
            return flat[offset : offset + n].reshape(shape)
        n = math.prod(shape)
        schedule = self.schedule
        if slot in schedule.out_slots:
            flat = outs[schedule.out_slots.index(slot)].reshape(-1)
            return flat[offset : offset + n].reshape(shape)
        array = schedule.constants.get(slot)
        if array is not None:
            return array.reshape(-1)[offset : offset + n].reshape(shape)
        start = (
            self.base - memory.arena.array.ctypes.data
            + schedule.offsets[slot] + offset * dtype.itemsize
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
            target = slot in self.schedule.offsets or slot in self.schedule.out_slots
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


def make_prelude(schedule: Schedule) -> Callable[[list[Any]], list[Any]] | None:
    """A function that adds what is computed from run-time numbers alone."""
    if not schedule.prelude:
        return None
    scope: dict[str, Any] = {}
    lines = []
    names = [f"n[{i}]" for i in range(schedule.given)]
    for k, (op, given) in enumerate(schedule.prelude):
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
    made = ", ".join(f"p{k}" for k in range(len(schedule.prelude)))
    source = "def prelude(n):\n" + "\n".join(lines) + f"\n return [*n, {made}]"
    exec(compile(source, "<numbers>", "exec"), scope)
    return scope["prelude"]
