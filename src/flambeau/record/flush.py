"""Flush: runs what is pending, for the tensors that are still alive."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.derive import depending
from flambeau.ir.graph import NUMBERS, Const
from flambeau.record.segment import Segment, Spec, histories
from flambeau.record.storage import Storage
from flambeau.record.trace import LENGTH, LOCK, Node, Trace, open_, renew, trie
from flambeau.run.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flambeau.ir.graph import Aval
    from flambeau.record.meta import Meta

__all__ = ["LENGTH", "flush", "flush_other", "stats"]

# Different sets of live tensors at one node before all are always kept.
VARIANTS = 16


@dataclass
class Stats:
    """What happened since the process began; ``trace.explain()`` reads it."""

    flushes: int = 0
    programs: int = 0
    misses: int = 0
    foreign: int = 0
    last_miss: tuple | None = None
    extra: dict = field(default_factory=dict)


stats = Stats()


def _calibrate() -> int:
    """What ``sys.getrefcount`` says of an object that only a trace's list holds."""
    live = [object()]
    return next(map(sys.getrefcount, live))


DEAD = _calibrate()


class Plan:
    """What a flush at a node does for one set of live tensors."""

    __slots__ = ("program", "private", "storages", "history", "spec", "n_outs", "spent")

    def __init__(self) -> None:
        self.program: Program
        # (index in live, index among outputs) of tensors with memory of their own.
        self.private: tuple[tuple[int, int], ...] = ()
        # (index in pending, index among outputs) of storages that get a value.
        self.storages: tuple[tuple[int, int], ...] = ()
        # (index in live, slot) of tensors with history.
        self.history: tuple[tuple[int, int], ...] = ()
        self.spec: Spec | None = None
        self.n_outs = 0
        self.spent: frozenset[int] = frozenset()

    def run(self, arrays: list[Any], numbers: list[Any], tr: Trace) -> list[Any]:
        """The outputs of the program."""
        if self.program.native is None or not self.program.native.donations:
            return self.program(arrays, numbers)
        return self.program(arrays, numbers, lambda pairs: donated(self, pairs, arrays, tr))


def donated(
    plan: Plan, pairs: Iterable[tuple[int, int]], arrays: list[Any], tr: Trace
) -> list[tuple[int, Any]]:
    """Of (output, input) pairs of one storage, those whose memory nobody else has: (output, it)."""
    first = plan.storages[0][1]
    found = []
    for k, i in pairs:
        storage = tr.pending[plan.storages[k - first][0]]
        a = arrays[i]
        if (
            getrefcount(a) <= ALONE
            and storage.array is a
            and not storage.foreign
            and a.base is None
            and a.flags.c_contiguous
        ):
            found.append((k, a))
    return found


def _alone() -> int:
    """What the count of references is where a storage and a list hold an array."""
    storage = Storage(np.empty(1))
    arrays = [storage.array]
    a = arrays[0]
    return getrefcount(a)


ALONE = _alone()


def flush(tr: Trace) -> None:
    """Runs the trace and gives the live tensors their values.

    Until the values are there nothing changes: after an error or an interrupt the trace is as it
    was. Handing them out is finished before an interrupt is let through.
    """
    if tr.closed:
        return
    if tr.builder is not None:
        raise RuntimeError("a function's body asked for the value of a tensor")
    node = tr.node
    if node is tr.root:
        renew(tr)
        return
    if tr.pending:
        from flambeau.record.alias import refresh  # late: alias imports this module

        for t in tr.live:
            storage = t._storage
            if storage is not None and t._meta.requires_grad and t._seen != storage.version:
                if storage.trace is tr:
                    refresh(tr, t)
        node = tr.node
    live = tr.live
    counts = tuple(map(sys.getrefcount, live))
    key = (counts, tuple([s.slot for s in tr.pending])) if tr.pending else counts
    if tr.marks:
        key = (key, tuple(tr.marks))
    plan = node.plans.get(key)
    if plan is None:
        plan = find_plan(tr, node, key, counts)
    node.stamp = next(trie.clock)
    arrays = [t._array() for t in tr.inputs]
    if tr.snapshots:
        for i, a in tr.snapshots.items():
            arrays[i] = a
    stats.flushes += 1
    interrupt = None
    outs = None
    before = plan.program.done
    while True:
        try:
            if outs is None:
                outs = plan.run(arrays, tr.numbers, tr)
            # Closing the trace is the last step: a closed one was handed out wholly.
            if not tr.closed:
                commit(tr, plan, outs, arrays)
            break
        except KeyboardInterrupt as e:
            # A native program may have written its outputs over its inputs: never twice.
            outs = outs or plan.program.finished(before)
            if outs is None and not tr.closed:
                raise
            interrupt = e
        except Exception as error:
            if outs is None and node.cut != "raises":
                salvage(tr, arrays, error)
            raise
    if interrupt is not None:
        raise interrupt


def salvage(tr: Trace, arrays: list[Any], error: Exception) -> None:
    """After a primitive failed on its values: everything that does not depend on it is kept.

    What depends on it raises the same error whenever it is read; storages that were to be
    written keep their old value. History that went through the trace is lost.
    """
    env: dict[int, Any] = {-1 - i: a for i, a in enumerate(arrays)}
    env.update({NUMBERS - i: n for i, n in enumerate(tr.numbers)})
    with np.errstate(all="ignore"):
        for e in tr.node.path_entries():
            if all(i.__class__ is Const or i in env for i in e.inputs):
                args = [i.value if i.__class__ is Const else env[i] for i in e.inputs]
                try:
                    result = e.prim.reference(*args, **e.attrs)
                except Exception:
                    # Its outputs stay absent; the first error is the one that is raised.
                    continue
                env.update(
                    zip(e.outputs, (result,) if len(e.outputs) == 1 else result, strict=True)
                )
    failed = Trace(tr.state)
    failed.error = error
    failed.forget()
    taken = set(map(id, arrays))
    spent = Segment(None, tr.node, (), (), ())
    for s in tr.pending:
        if s.slot in env:
            s.array = owned(env[s.slot], taken).reshape(s.shape)
        if s.array is not None:
            s.trace = None
            s.plain = not s.shared and not s.foreign
        else:
            s.trace = failed
    for t in tr.live:
        if t._storage is None:
            if t._slot in env:
                t._storage = Storage(owned(env[t._slot], taken))
                t._trace = None
            else:
                t._trace = failed
        if t._meta.requires_grad and not t._meta.leaf:
            t._hist = (spent, t._slot)
    renew(tr)


def find_plan(tr: Trace, node: Node, key: Any, counts: tuple[int, ...]) -> Plan:
    """The plan for a pattern of reference counts, made if it is a new set of live tensors."""
    alive = tuple([c > DEAD for c in counts])
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
            private.append((i, len(outs)))
            outs.append(t._slot)
        else:
            shared.add(id(t._storage))
        if t._meta.requires_grad and not t._meta.leaf:
            history.append((i, t._slot))
            roots.append(t._slot)
    storages = []
    for j, s in enumerate(tr.pending):
        if s.array is not None or id(s) in shared:
            storages.append((j, len(outs)))
            outs.append(s.slot)
    plan.private, plan.storages, plan.history = tuple(private), tuple(storages), tuple(history)
    plan.n_outs = len(outs)
    entries = node.path_entries()
    if roots:
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
                entries, metas, node.n_slots, sorted(unspent), avals, node.overwritten,
                names_of(node),
            )  # fmt: skip
            outs += plan.spec.residuals
    # Values that take the place of what an input's storage holds.
    replaced = []
    for j, k in plan.storages:
        storage = tr.pending[j]
        for i, t in enumerate(tr.inputs):
            if t._storage is storage and storage.array is not None and t._spec is None:
                replaced.append((k, i))
                break
    plan.program = Program(entries, outs, replaced)
    return plan


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


def owned(a: Any, taken: set[int]) -> np.ndarray:
    """An array that is nobody else's memory."""
    if a.__class__ is not np.ndarray:
        a = np.asarray(a)
    if a.base is not None or id(a) in taken or not a.flags.c_contiguous:
        a = np.array(a, order="C")
    taken.add(id(a))
    return a


def commit(tr: Trace, plan: Plan, outs: list[Any], arrays: list[Any]) -> None:
    """Hands out the values; may be begun again after an interrupt."""
    live, pending = tr.live, tr.pending
    taken = set(map(id, arrays))
    for _, k in plan.storages:
        # Written in place.
        taken.discard(id(outs[k]))
    for i, k in plan.private:
        t = live[i]
        a = outs[k]
        if (
            a.__class__ is not np.ndarray
            or a.base is not None
            or id(a) in taken
            or not a.flags.c_contiguous
        ):
            a = outs[k] = owned(a, taken)
        else:
            taken.add(id(a))
        t._storage = Storage(a)
        t._trace = None
    for j, k in plan.storages:
        s = pending[j]
        a = outs[k] = owned(outs[k], taken)
        if s.array is not None and s.held_elsewhere():
            s.array[...] = a.reshape(s.array.shape)
        else:
            s.array = a if a.shape == s.shape else a.reshape(s.shape)
        s.trace = None
        s.plain = not s.shared and not s.foreign
    if plan.history:
        attach_history(tr, plan, outs, arrays)
    renew(tr)


def attach_history(tr: Trace, plan: Plan, outs: list[Any], arrays: list[Any]) -> None:
    """Gives live tensors their place in a segment."""
    spec = plan.spec
    segment = spent = None
    if spec is not None:
        segment = Segment(spec, tr.node, tuple(tr.inputs), tuple(arrays), tuple(tr.numbers))
        segment.saved = dict(zip(spec.residuals, outs[plan.n_outs :], strict=True))
        # An input may get another history below, by a write in this very trace.
        segment.origins = origins(spec.metas, tr.inputs)
        segment.bound = [0 if t._storage is None else t._storage.version for t in tr.inputs]
        for i, t in enumerate(tr.inputs):
            if -1 - i in spec.reads and t._storage is not None:
                segment.versions.append((-1 - i, t._storage, t._storage.version))
        segment.hooks = tr.hooks
    for i, slot in plan.history:
        t = tr.live[i]
        if slot in plan.spent:
            if spent is None:
                spent = Segment(None, tr.node, histories(tr.inputs), (), ())
                spent.origins = origins(tr.node.input_metas(), tr.inputs)
            t._hist = (spent, slot)
        else:
            t._hist = (segment, slot)
            if slot in spec.reads and t._storage is not None:
                segment.versions.append((slot, t._storage, t._storage.version))


def origins(metas: Sequence[Meta], inputs: Sequence[Any]) -> list[Any]:
    """Where gradients of inputs go: their histories; (None, 0) for leaves that want one."""
    return [
        None if not m.requires_grad else (None, 0) if m.leaf else t._hist
        for m, t in zip(metas, inputs, strict=True)
    ]


def flush_other(tr: Trace | None) -> None:
    """Flushes a trace that may be another thread's."""
    if tr is None or tr.closed:
        if tr is not None and tr.error is not None:
            raise tr.error
        return
    # Its own as well: while a program is compiled another thread may want the same values.
    with LOCK:
        flush(tr)
