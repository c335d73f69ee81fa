"""A program planned: its kernels and references in order, and the memory they share."""

from __future__ import annotations

import math
from dataclasses import replace
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
    gemm_sizes,
    layers,
    memory,
    order_statistics,
    pairs,
    places,
    pointwise_bessel,
    pointwise_division,
    pointwise_gamma,
    pointwise_integers,
    pointwise_special,
    resampling,
    rules,
    rules_classes,
    rules_distances,
    rules_dropout,
    rules_statistics,
    sampling,
    scans,
    scans_extrema,
    scans_lines,
    searching,
    selection,
    sorting,
    tables,
)
from flambeau.run.compiler.fuse import Fuser, Group, ordered
from flambeau.run.compiler.gemm import Plan, Product, product
from flambeau.run.compiler.lower import Lowering, element_or_raw
from flambeau.run.compiler.nest import Nest, build
from flambeau.run.compiler.nest_memory import FAULT, SIZES
from flambeau.run.compiler.nodes import Literal, Node, Ref

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.emit import Kernel
    from flambeau.run.compiler.sizes import Sizes

__all__ = ["Draft", "Run", "front"]

# imported for what they register
del borders, layers, places, pointwise_division, pointwise_special, rules
del fourier, order_statistics, pairs, pointwise_bessel, pointwise_gamma, pointwise_integers
del rules_classes, rules_distances, rules_dropout, rules_statistics, sampling
del resampling, scans, scans_extrema, scans_lines, searching, selection, sorting, tables


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
        sizes: Sizes | None = None,
    ) -> None:
        self.outs = tuple(outs)
        # For the profiler: what the program computes.
        self.entries = entries
        low = Lowering(entries, outs, samples, layouts, sizes)
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
        self.ran = 0
        self.checked = 0
        # Numbers of the run-time sizes that kernels read, one kernel's after the other's.
        self.sizes: list[int] = []
        self._sizes_at: dict[tuple[int, ...], int] = {}
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
                self.ran += 1
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
        # Of temporaries: bytes, first and last step.
        self.lives = lives
        if low.sizes is None:
            self.offsets, self.arena_bytes = memory.layout(lives)

    def completed(self, group: Group) -> None:
        """Notes that the kernels so far compute what a group does."""
        ran = self.ran
        for n in group.nodes:
            self.complete |= dict.fromkeys(n.slots, ran)
            if n.faults:
                self.checked = ran

    def add(self, kernel: Kernel, pointers: list[tuple[int, int]], units: int, chunk: int) -> None:
        self.kernels.setdefault(kernel.name, kernel)
        self.scratch = max(self.scratch, kernel.scratch)
        if kernel.sizes:
            at = self._sizes_at.get(kernel.sizes)
            if at is None:
                at = self._sizes_at[kernel.sizes] = 8 * len(self.sizes)
                self.sizes += kernel.sizes
            pointers = [*pointers, (SIZES, at)]
        if not self.parts or not isinstance(self.parts[-1], Run):
            self.parts.append(Run())
        self.ran += 1
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
        if gemm_sizes.varies(node.plan):
            return gemm_sizes.product(replace(node.plan, epilogue=ending), code.target())
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
