"""A plan for all programs of the same primitives: their sizes differ, their kernels do not.

Two programs' entries are laid side by side; where integers differ, the plan has a `Size`. A third
program fits if its entries are the same but for these, and if it answers what planning asked about
sizes as they did. It then gets the plan's steps with its own numbers: nothing is planned or
compiled, but for what has no kernels of run-time sizes (`lower.SIZED`), which is planned by itself.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import NUMBERS, Aval, Const, Entry
from flambeau.run.compiler import code, launch, memory
from flambeau.run.compiler.compile import LOG
from flambeau.run.compiler.draft import Draft, Run
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.leaves import (
    Common,
    Leaves,
    Real,
    Unlike,
    flat,
    leaves,
    number_of,
    rebuilt,
)
from flambeau.run.compiler.lower import Buffer, Varying
from flambeau.run.compiler.nest_memory import FAULT, NUMBER_MEMORY, SIZES
from flambeau.run.compiler.nodes import Node, Number, Ref
from flambeau.run.compiler.passes import rewrite
from flambeau.run.compiler.program import Compiled
from flambeau.run.compiler.scheduling import scheduled
from flambeau.run.compiler.sizes import Size, Sizes, plain
from flambeau.run.compiler.views import View
from flambeau.run.interpreter import needed
from flambeau.run.simplify import simplify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flambeau.run.compiler.emit import Kernel
    from flambeau.run.forms import Sample

__all__ = ["Template", "Unlike"]


def _comparable(one: Leaves, other: Leaves) -> bool:
    """Whether two programs differ in nothing but sizes and floats."""
    if len(one.values) != len(other.values) or len(one.arrays) != len(other.arrays):
        return False
    kinds = {int, Real}
    return all(
        a is b
        or (a.__class__ is b.__class__ and (a == b or (a.__class__ is int and min(a, b) > 1)))
        or (Real in (a.__class__, b.__class__) and {a.__class__, b.__class__} <= kinds)
        for a, b in zip(one.values, other.values, strict=True)
    )


class Template:
    """The plan of two programs, for others like them.

    ``more`` are such others: the sizes must make sense for them, too. Raises ``Unlike``.
    """

    def __init__(self, one: Sample, other: Sample, more: Sequence[Sample] = ()) -> None:
        mine, theirs = leaves(one), leaves(other)
        if not _comparable(mine, theirs):
            raise Unlike
        found = [leaves(s).values for s in more if _comparable(mine, leaves(s))]
        self.inputs = len(one.inputs)
        self.common = common = Common([mine.values, theirs.values, *found])
        if not common.sizes.variables:
            raise Unlike
        # Literal arrays that are the same everywhere; the others are given by each program.
        self.arrays = [
            a if a.shape == b.shape and a.tobytes() == b.tobytes() else None
            for a, b in zip(mine.arrays, theirs.arrays, strict=True)
        ]
        self.draft = self._draft(one, common)
        # Planned from the other side, all must come out alike: otherwise some code took a size for
        # a plain integer without its being noted.
        back = Common([theirs.values, mine.values, *found])
        mine_in_order, sizes = _outline(self.draft, common.sizes)
        theirs_in_order, others = _outline(self._draft(other, back), back.sizes)
        if mine_in_order != theirs_in_order:
            raise Unlike
        forth = common.sizes.compiled(sizes, checked=False)
        for values in (common.values(0), common.values(1)):
            if forth(*values) != back.sizes.compiled(others, checked=False)(*values):
                raise Unlike
        self.fitted = Plan(self.draft, common, one)
        if self.fitted.evaluate(*common.values(1)) is None:
            raise Unlike
        # Whether all of it has kernels of run-time sizes.
        self.complete = all(isinstance(p, Run) or p.kind == "host" for p in self.draft.parts)
        if "program" in LOG:
            print(self.report(), file=sys.stderr)
        kernels = self.draft.kernels.values()
        self.addresses = code.addresses([*launch.kernels(), *kernels])

    def _draft(self, sample: Sample, common: Common) -> Draft:
        entries, inputs = rebuilt(sample, common, self.arrays)
        passed = {
            i: inputs[-1 - i] for i in sample.outs if NUMBERS < i < 0 and inputs[-1 - i].dtype
        }
        simple = needed(simplify(entries, sample.outs), sample.outs)
        rewritten = needed(rewrite(simple, sample.outs), sample.outs)
        return Draft(
            rewritten, sample.outs, sample.numbers, passed, sample.storages, None, common.sizes
        )

    def report(self) -> str:
        """What ``FLAMBEAU_LOG=program`` shows: sizes are numbers between marks."""
        alone = [p.op for p in self.draft.parts if isinstance(p, Node)]
        lines = [
            f"plan for programs of {self.common.sizes.variables} sizes: "
            f"{len(self.draft.described)} steps, {len(self.draft.kernels)} kernels"
        ]
        lines += [f"  {i:3} {line}" for i, line in enumerate(self.draft.described)]
        if alone:
            lines.append(f"  for each program by themselves: {', '.join(alone)}")
        return "\n".join(lines)

    def values(self, sample: Sample) -> tuple[list[int], list[float]] | None:
        """The variables and floats of another program, if its entries are of this kind."""
        found = leaves(sample)
        mine = self.common.leaves
        if len(found.values) != len(mine) or len(found.arrays) != len(self.arrays):
            return None
        variables = [found.values[k] for k in self.common.places]
        if any(v.__class__ is not int for v in variables):
            return None
        expected = self.fitted.leaves(*variables)
        if expected is None:
            return None
        values = found.values
        for k, n in zip(self.common.expected, expected, strict=True):
            if values[k].__class__ is not int or values[k] != n:
                return None
            values[k] = mine[k]
        floats = []
        for k in self.common.floats:
            if values[k].__class__ not in (Real, int):
                return None
            floats.append(number_of(values[k]))
            values[k] = mine[k]
        # Identical objects are not asked whether they are equal: no size is.
        if values != mine:
            return None
        for a, b in zip(self.arrays, found.arrays, strict=True):
            if a is not None and a.tobytes() != b.tobytes():
                return None
        return variables, floats

    def fill(self, sample: Sample) -> code.Ticket | None:
        """What makes the native code of another program, once its kernels are there.

        None: it is of another kind.
        """
        found = self.values(sample)
        values = None if found is None else self.fitted.evaluate(*found[0])
        if found is None or values is None:
            return None
        filled = Filled(self.fitted, values, sample, found[1])

        def made(addresses: dict[str, int]) -> Callable[[], Compiled]:
            found = self.addresses | addresses
            schedule = scheduled(filled, self.inputs, sample.storages)  # type: ignore[arg-type]
            return lambda: Compiled(schedule, found, sample.entries)

        kernels = [*filled.kernels.values()]
        known = code.loaded_all([k.name for k in kernels])
        if known is not None:
            return code.Ticket(None, made(known))
        return code.defer(lambda: made(code.addresses(kernels)))


def _outline(draft: Draft, sizes: Sizes) -> tuple[list[Any], list[int]]:
    """What must be the same whichever program a plan was made from: all of it, and its sizes."""
    found: list[int] = []

    def of(x: int) -> Any:
        if x.__class__ is not Size:
            return x
        found.append(x)
        return None

    outline: list[Any] = [draft.out_slots, draft.complete]
    for part in draft.parts:
        if isinstance(part, Node):
            offsets = [of(o.view.offset) for o in part.operands if o.__class__ is Ref]
            outline.append((part.kind, part.op, part.slots, offsets))
            continue
        for kernel, pointers, units, chunk in part.steps:
            where = [(s, of(offset)) for s, offset in pointers]
            outline.append((kernel.name, where, of(units), of(chunk)))
    for k in draft.sizes:
        of(sizes.made[k])
    for slot, (size, first, last) in draft.lives.items():
        outline.append((slot, of(size), first, last))
    for shape, _ in draft.out_shapes:
        outline.append(tuple(map(of, shape)))
    return outline, found


class Plan:
    """A draft with sizes, as steps to be filled in."""

    def __init__(self, draft: Draft, common: Common, sample: Sample) -> None:
        self.draft = draft
        low = draft.low
        self.donations = draft.donations(sample.storages)
        self.wanted: dict[int, int] = {}
        for k in draft.sizes:
            self.note(common.sizes.made[k])
        self.words = [self.wanted[k] for k in draft.sizes]
        for part in draft.parts:
            if isinstance(part, Node):
                self.note(*[o.view.offset for o in part.operands if o.__class__ is Ref])
                self.note_entry(part.entry)
            else:
                for _, pointers, units, chunk in part.steps:
                    self.note(units, chunk, *[offset for _, offset in pointers])
        for shape, _ in draft.out_shapes:
            self.note(*shape)
        self.made = {s: b for s, b in low.buffers.items() if b.make is not None}
        for b in self.made.values():
            if b.make.__class__ is tuple:
                self.note(*b.make[1])
        self.bins = _bins(draft.lives)
        for held in self.bins:
            self.note(*[draft.lives[s][0] for s in held])
        self.sizes = common.sizes
        self.evaluate = common.sizes.compiled([common.sizes.made[k] for k in self.wanted])
        expected = [common.leaves[k] for k in common.expected]
        self.leaves = common.sizes.compiled(expected, checked=False)

    def note(self, *sizes: int) -> None:
        """These will be asked for."""
        for x in sizes:
            if x.__class__ is Size:
                self.wanted.setdefault(x.number, len(self.wanted))

    def note_entry(self, e: Entry) -> None:
        for a in (*e.in_avals, *e.out_avals):
            self.note(*a.shape)
        self.note(*flat(tuple(e.attrs.values())))


def _bins(lives: Mapping[int, tuple[int, int, int]]) -> list[list[int]]:
    """Temporaries that never live at the same time share memory, whatever their sizes."""
    bins: list[list[int]] = []
    for slot in sorted(lives, key=lambda s: -plain(lives[s][0])):
        _, first, last = lives[slot]
        for held in bins:
            if all(last < lives[s][1] or lives[s][2] < first for s in held):
                held.append(slot)
                break
        else:
            bins.append([slot])
    return bins


class Filled:
    """A plan with a program's own numbers: what `program.Compiled` makes it from."""

    def __init__(
        self, plan: Plan, values: Sequence[int], sample: Sample, floats: Sequence[float]
    ) -> None:
        self.plan = plan
        draft = plan.draft
        self.values = values
        at = self.at
        low = draft.low
        self.outs, self.entries = sample.outs, sample.entries
        self.out_slots, self.number_outs = draft.out_slots, draft.number_outs
        self.n_given = draft.n_given
        self.out_shapes = [(tuple(map(at, shape)), dtype) for shape, dtype in draft.out_shapes]
        self.low = SimpleNamespace(
            buffers=dict(low.buffers), layouts={}, numbers=set(low.numbers), guards=low.guards,
            prelude=[
                (Varying(op.number, floats[op.number]) if op.__class__ is Varying else op, given)
                for op, given in low.prelude
            ],
        )  # fmt: skip
        buffers = self.low.buffers
        literals = None
        for slot, b in plan.made.items():
            if b.make.__class__ is int:
                literals = literals or leaves(sample).arrays
                array = np.ascontiguousarray(literals[b.make])
            else:
                make, given = b.make
                array = make(*map(at, given))
            buffers[slot] = Buffer(array.size, b.element, array)
        words = np.array([values[k] for k in plan.words], np.int64)
        buffers[SIZES] = Buffer(words.size, element(dtypes.int64), words)
        self.offsets: dict[int, int] = {}
        self.arena_bytes = 0
        for held in plan.bins:
            size = max(at(draft.lives[s][0]) for s in held)
            self.offsets.update(dict.fromkeys(held, self.arena_bytes))
            self.arena_bytes += -(-size // memory.ALIGN) * memory.ALIGN
        self.kernels: dict[str, Kernel] = {}
        self.scratch = draft.scratch
        self.described: list[str] = []
        self.parts: list[Run | Node] = []
        self.fill()

    def at(self, x: int) -> int:
        return self.values[self.plan.wanted[x.number]] if x.__class__ is Size else x  # type: ignore[attr-defined]

    def donations(self, candidates: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        return self.plan.donations

    def fill(self) -> None:
        """The steps; how many there are before each of the draft's."""
        draft, at = self.plan.draft, self.at
        before = [0]
        lines = iter(draft.described)
        work = 0
        for part in draft.parts:
            if not isinstance(part, Node):
                for kernel, pointers, units, chunk in part.steps:
                    where = [(s, at(offset)) for s, offset in pointers]
                    self.run().steps.append((kernel, where, at(units), at(chunk)))
                    before.append(before[-1] + 1)
                    self.described.append(next(lines))
                continue
            line = next(lines)
            alone = self.alone(part) if part.kind == "later" else None
            if alone is None or any(isinstance(p, Node) for p in alone.parts):
                self.parts.append(self.host(part))
                self.described.append(line)
                before.append(before[-1])
                continue
            count = self.join(part, alone)
            self.described += alone.described
            before.append(before[-1] + count)
            work = max(work, alone.arena_bytes)
        self.arena_bytes += work
        self.complete = {s: before[n] for s, n in draft.complete.items()}
        self.checked = before[draft.checked]

    def run(self) -> Run:
        if not self.parts or not isinstance(self.parts[-1], Run):
            self.parts.append(Run())
        return self.parts[-1]  # type: ignore[return-value]

    def entry(self, node: Node) -> Entry:
        """A node's entry, of this program."""
        e, at = node.entry, self.at

        def value(x: Any) -> Any:
            if x.__class__ is tuple or x.__class__ is list:
                return x.__class__([value(v) for v in x])
            return at(x)

        def aval(a: Aval) -> Aval:
            return Aval(tuple(map(at, a.shape)), a.dtype)

        return Entry(
            e.prim, e.inputs, e.outputs, {k: value(v) for k, v in e.attrs.items()},
            tuple(map(aval, e.in_avals)), tuple(map(aval, e.out_avals)), e.grad,
        )  # fmt: skip

    def host(self, node: Node) -> Node:
        """A node that calls a reference."""
        given = [
            Ref(o.slot, View((), (), self.at(o.view.offset))) if o.__class__ is Ref else o
            for o in node.operands
        ]
        made = Node("host", node.op, given, (), None, None, node.slot)
        made.slots, made.entry = node.slots, self.entry(node)
        return made

    def alone(self, node: Node) -> Draft | None:
        """What has no kernels of run-time sizes, planned by itself."""
        e = self.entry(node)
        inputs, refs = [], 0
        for o in node.operands:
            if o.__class__ is Ref:
                refs += 1
                inputs.append(-refs)
            else:
                inputs.append(NUMBERS - o.index if o.__class__ is Number else Const(o.value))
        outs = tuple(range(len(e.outputs)))
        e = Entry(e.prim, tuple(inputs), outs, e.attrs, e.in_avals, e.out_avals, e.grad)
        return Draft([e], outs, self.plan.draft.low.samples)

    def join(self, node: Node, alone: Draft) -> int:
        """Puts its steps among ours; how many there are."""
        names = {FAULT: FAULT, NUMBER_MEMORY: NUMBER_MEMORY}
        first: dict[int, int] = {}
        refs = [o for o in node.operands if o.__class__ is Ref]
        for k, o in enumerate(refs):
            names[-1 - k] = o.slot
            first[-1 - k] = self.at(o.view.offset) * self.low.buffers[o.slot].element.size
        names.update(zip(alone.out_slots, node.slots, strict=True))
        for slot, b in alone.low.buffers.items():
            if b.array is not None or slot in alone.offsets:
                names[slot] = own = _FRESH - len(self.low.buffers)
                self.low.buffers[own] = b
        for slot, offset in alone.offsets.items():
            if slot not in names:
                names[slot] = own = _FRESH - len(self.low.buffers)
                self.low.buffers[own] = Buffer(0, element(dtypes.uint8))
            self.offsets[names[slot]] = self.arena_bytes + offset
        self.low.numbers |= alone.low.numbers
        self.kernels |= alone.kernels
        self.scratch = max(self.scratch, alone.scratch)
        count = 0
        for part in alone.parts:
            for kernel, pointers, units, chunk in part.steps:  # type: ignore[union-attr]
                where = [(names[s], offset + first.get(s, 0)) for s, offset in pointers]
                self.run().steps.append((kernel, where, units, chunk))
                count += 1
        return count


_FRESH = -4_000_000_000
