"""What a flush at a node does for one set of live tensors."""

from __future__ import annotations

import sys
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.derive import depending
from flambeau.record.segment import Spec
from flambeau.record.stats import stats
from flambeau.record.storage import Storage
from flambeau.run.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flambeau.ir.graph import Aval, Entry
    from flambeau.record.trace import Node, Trace


# Different sets of live tensors at one node before all are always kept.
VARIANTS = 16


def _calibrate() -> int:
    """What ``sys.getrefcount`` says of an object that only a trace's list holds."""
    live = [object()]
    return next(map(sys.getrefcount, live))


DEAD = _calibrate()


class Plan:
    """What a flush at a node does for one set of live tensors."""

    __slots__ = (
        "program", "private", "storages", "history", "spec", "n_outs", "spent", "pairs", "places",
        "renewed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.program: Program
        # (index in live, index among outputs, shape) of tensors with memory of their own.
        self.private: tuple[tuple[int, int, tuple[int, ...]], ...] = ()
        # (index in pending, index among outputs) of storages that get a value.
        self.storages: tuple[tuple[int, int], ...] = ()
        # (index in live, slot) of tensors with history.
        self.history: tuple[tuple[int, int], ...] = ()
        self.spec: Spec | None = None
        self.n_outs = 0
        self.spent: frozenset[int] = frozenset()
        # The donations of the native program, and their outputs, storages and inputs.
        self.pairs: Any = None
        self.places: list[list[int]] = []
        # Indices of storages in pending that have a value already.
        self.renewed: frozenset[int] = frozenset()

    def before(self, count: int) -> list[int]:
        """Which of ``count`` storages get a new value in place of one they have."""
        return [j for j, _ in self.storages if j < count and j in self.renewed]

    def run(self, arrays: list[Any], numbers: list[Any], pending: Sequence[Storage]) -> list[Any]:
        """The outputs of the program."""
        program = self.program
        native = program.native
        # Without one, this run may be the one that takes it.
        if native is not None and not native.donations:
            if native.direct and program.fixed is None and not program.scalars:
                try:
                    return native.write(arrays, numbers, False)
                except (native.Faulty, native.Moved):
                    # Nothing was changed.
                    pass
            return program(arrays, numbers)
        return program(arrays, numbers, lambda pairs: donated(self, pairs, arrays, pending))


def donated(
    plan: Plan, pairs: Sequence[tuple[int, int]], arrays: list[Any], pending: Sequence[Storage]
) -> Iterable[tuple[int, Any]]:
    """Of (output, input) pairs of one storage, those whose memory nobody else has: (output, it)."""
    if not pairs:
        # Compiled anew in this very run: the code from before had some.
        return ()
    if plan.pairs is not pairs:
        first = plan.storages[0][1]
        plan.places = [
            [k for k, _ in pairs],
            [plan.storages[k - first][0] for k, _ in pairs],
            [i for _, i in pairs],
        ]
        plan.pairs = pairs
    outs, where, inputs = plan.places
    storages = [pending[j] for j in where]
    found = [arrays[i] for i in inputs]
    counts = list(map(getrefcount, found))
    if (
        max(counts) <= ALONE
        and all([s.memory is a and a.base is None for s, a in zip(storages, found)])
        and not any([s.foreign for s in storages])
    ):
        return list(zip(outs, found))
    return [
        (k, a)
        for k, s, a, n in zip(outs, storages, found, counts)
        if n <= ALONE and s.memory is a and a.base is None and not s.foreign
    ]


def _alone() -> int:
    """What the count of references is where a storage and two lists hold an array."""
    storage = Storage(np.empty(1))
    arrays = [storage.memory]
    found = [arrays[0]]
    return next(map(getrefcount, found))


ALONE = _alone()


def alive_among(live: Sequence[Any], counts: Sequence[int]) -> tuple[bool, ...]:
    """Which tensors anybody holds: a view that nobody does holds its base no longer than the trace.

    Without this the base of every view would be an output.
    """
    held = list(counts)
    place = {id(t): i for i, t in enumerate(live)}
    # A base is older than its views.
    for i in range(len(live) - 1, -1, -1):
        if held[i] <= DEAD and live[i]._base is not None:
            base = place.get(id(live[i]._base))
            if base is not None:
                held[base] -= 1
    return tuple([n > DEAD for n in held])


def find_plan(tr: Trace, node: Node, key: Any, counts: tuple[int, ...]) -> Plan:
    """The plan for a pattern of reference counts, made if it is a new set of live tensors."""
    alive = alive_among(tr.live, counts)
    slots = tuple([s.slot for s in tr.pending])
    by_mask = node.memo if node.memo is not None else {}
    node.memo = by_mask
    mask = ("plan", alive, slots, tuple(tr.marks))
    plan = by_mask.get(mask)
    if plan is None:
        if len(by_mask) > 4 * VARIANTS:
            by_mask.clear()
            node.plans.clear()
        plan = by_mask[mask] = make_plan(tr, node, alive)
    if len(node.plans) > 8 * VARIANTS:
        node.plans.clear()
    node.plans[key] = plan
    return plan


def make_plan(tr: Trace, node: Node, alive: tuple[bool, ...]) -> Plan:
    plan = Plan()
    stats.programs += 1
    outs: list[int] = []
    private, history, roots = [], [], []
    shared: set[int] = set()
    for i, t in enumerate(tr.live):
        if not alive[i]:
            continue
        if t._storage is None:
            private.append((i, len(outs), t._meta.shape))
            outs.append(t._slot)
        else:
            shared.add(id(t._storage))
        if wants_history(t):
            history.append((i, t._slot))
            roots.append(t._slot)
    storages = []
    for j, s in enumerate(tr.pending):
        if s.memory is not None or id(s) in shared:
            storages.append((j, len(outs)))
            outs.append(s.slot)
    plan.renewed = frozenset(j for j, s in enumerate(tr.pending) if s.memory is not None)
    plan.private, plan.storages, plan.history = tuple(private), tuple(storages), tuple(history)
    plan.n_outs = len(outs)
    entries = node.path_entries()
    note_history(plan, node, entries, roots)
    if plan.spec is not None:
        outs += plan.spec.residuals
    # Values that take the place of what an input's storage holds.
    replaced = []
    for j, k in plan.storages:
        storage = tr.pending[j]
        for i, t in enumerate(tr.inputs):
            if t._storage is storage and storage.memory is not None and t._spec is None:
                if plan.spec is None or -1 - i not in plan.spec.reads:
                    replaced.append((k, i))
                break
    plan.program = Program(entries, outs, replaced)
    return plan


def wants_history(t: Any) -> bool:
    return t._meta.requires_grad and not t._meta.leaf


def note_history(plan: Plan, node: Node, entries: list[Entry], roots: list[int]) -> None:
    """Which of ``roots`` have history that is not used up yet, and what goes back from them."""
    unspent = unspent_roots(node, entries, roots)
    plan.spent = frozenset(roots) - unspent
    if unspent:
        avals: dict[int, Aval] = {
            s: a for e in entries for s, a in zip(e.outputs, e.out_avals, strict=True)
        }
        metas = node.input_metas()
        for i, m in enumerate(metas):
            avals[-1 - i] = m.aval
        plan.spec = Spec(
            entries, metas, node.n_slots, sorted(unspent), avals, node.overwritten, names_of(node)
        )


def names_of(node: Node) -> dict[int, str]:
    """Slot -> the ``grad_fn`` name of the call that made it."""
    found = {}
    for step in node.path():
        for slot, _ in step.fresh:
            found[slot] = step.name
        for _, slot, _ in step.effects:
            found[slot] = step.name
    return found


def unspent_roots(node: Node, entries: list, roots: list[int]) -> set[int]:
    """The slots whose history no backward on this path has used up."""
    if not node.freed:
        return set(roots)
    wanted = [-1 - i for i, m in enumerate(node.input_metas()) if m.requires_grad]
    through, _ = depending(entries, wanted)
    spent: set[int] = set(node.freed)
    for e in through:
        if not spent.isdisjoint(i for i in e.inputs if type(i) is int):
            spent.update(e.outputs)
    return {r for r in roots if r not in spent}
