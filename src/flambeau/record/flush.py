"""Flush: runs what is pending, for the tensors that are still alive."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.derive import depending
from flambeau.ir.graph import NUMBERS, Const
from flambeau.record.segment import Segment, Spec, Spent
from flambeau.record.storage import Storage
from flambeau.record.trace import LENGTH, LOCK, Node, Trace, renew, trie
from flambeau.run.interpreter import called
from flambeau.run.program import Program
from flambeau.run.tail import tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flambeau.ir.graph import Aval, Entry

__all__ = ["LENGTH", "flush", "flush_other", "stats"]

# Different sets of live tensors at one node before all are always kept.
VARIANTS = 16
_new = object.__new__


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
        native = self.program.native
        # Without one, this run may be the one that takes it.
        if native is not None and not native.donations:
            return self.program(arrays, numbers)
        return self.program(arrays, numbers, lambda pairs: donated(self, pairs, arrays, pending))


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


class Asked(RuntimeError):
    """A body asked for a value, which it never sees."""


def flush(tr: Trace) -> None:
    """Runs the trace and gives the live tensors their values.

    Until the values are there nothing changes: after an error or an interrupt the trace is as it
    was. Handing them out is finished before an interrupt is let through.
    """
    if tr.closed:
        return
    if tr.builder is not None:
        raise Asked("a function's body asked for the value of a tensor")
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
    if tail.given is not None:
        tail.join()
    before = plan.program.done
    while True:
        try:
            if outs is None:
                outs = plan.run(arrays, tr.numbers, tr.pending)
            # Closing the trace is the last step: a closed one was handed out wholly.
            if not tr.closed:
                commit(tr, plan, outs, arrays, node)
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


class Writes:
    """What the last edge of a path writes: which of its tensors, and the slots of the values."""

    __slots__ = ("places", "slots")

    def __init__(self, node: Node) -> None:
        last = {at: slot for at, slot, _ in node.effects}
        self.places = tuple(last)
        self.slots = tuple(last.values())


def flush_writes(tr: Trace, node: Node, tensors: Sequence[Any]) -> bool:
    """Moves to ``node`` and flushes at once: what its edge writes to is never pending.

    For an edge that only writes, to whole memory of its own. False, with nothing changed, where
    ``take`` and ``flush`` are to do it: for other memory, and the first time.
    """
    memo = node.memo
    writes = None if memo is None else memo.get("writes")
    if writes is None:
        return memo is not None and note_writes(node, tensors)
    if writes is UNFIT:
        return False
    storages = [tensors[at]._storage for at in writes.places]
    if not all([s.plain for s in storages]):
        return False
    counts = tuple(map(getrefcount, tr.live))
    slots = tuple([s.slot for s in tr.pending]) if tr.pending else ()
    plan = node.plans.get((counts, slots, WRITES))
    if plan is None:
        alive = alive_among(tr.live, counts)
        plan = node.memo.get(("plan", alive, slots + writes.slots, ()))  # type: ignore[union-attr]
        if plan is None:
            return False
        last = plan.storages[-len(storages) :]
        if [j - len(slots) for j, _ in last] != [*range(len(storages))]:
            return False
        node.plans[counts, slots, WRITES] = plan
    if slots and any(
        [tr.pending[j].shared or tr.pending[j].foreign for j in plan.before(len(slots))]
    ):
        return False
    node.stamp = next(trie.clock)
    arrays = [t._storage.memory if t._spec is None else t._memory() for t in tr.inputs]
    if tr.snapshots:
        for i, a in tr.snapshots.items():
            arrays[i] = a
    stats.flushes += 1
    versions = [s.version + 1 for s in storages]
    interrupt = None
    outs = None
    program = plan.program
    if tail.given is not None:
        tail.join()
    before = program.done
    while True:
        try:
            if outs is None:
                native = program.native
                if native is None or not native.direct or not program.as_before(tr.numbers):
                    outs = plan.run(arrays, tr.numbers, [*tr.pending, *storages])
                else:
                    # Memory that others may change ends its call: then all is read.
                    outs = native.write(arrays, tr.numbers, not tr.cut)
            # Closing the trace is the last step: a closed one was handed out wholly.
            if not tr.closed:
                commit(tr, plan, outs, arrays, node, storages, versions)
            break
        except KeyboardInterrupt as e:
            outs = outs or program.finished(before)
            if outs is None and not tr.closed:
                raise
            interrupt = e
        except Exception:
            if outs is not None or program.done != before:
                raise
            # The long way raises it, and keeps what does not depend on it.
            return False
    if interrupt is not None:
        raise interrupt
    return True


UNFIT: Any = object()
# Marks the keys of plans for ``flush_writes``.
WRITES = object()


def note_writes(node: Node, tensors: Sequence[Any]) -> bool:
    """Works out what an edge writes; False: this once it goes the long way."""
    fit = not node.fresh and not node.cut
    for at, _, m in node.effects:
        t = tensors[at]
        # With history or hooks of its own a write is more than a new value.
        fit = fit and t._meta.leaf and not m.requires_grad and not t._retains
    node.memo["writes"] = Writes(node) if fit else UNFIT  # type: ignore[index]
    return False


def salvage(tr: Trace, arrays: list[Any], error: Exception) -> None:
    """After a primitive failed on its values: everything that does not depend on it is kept.

    What depends on it raises the same error whenever it is read; storages that were to be
    written keep their old value.
    """
    env: dict[int, Any] = {-1 - i: a for i, a in enumerate(arrays)}
    env.update({NUMBERS - i: n for i, n in enumerate(tr.numbers)})
    done: list[Entry] = []
    named = False
    with np.errstate(all="ignore"):
        for step, e in [(n, e) for n in tr.node.path() for e in n.entries]:
            if all(i.__class__ is Const or i in env for i in e.inputs):
                args = [i.value if i.__class__ is Const else env[i] for i in e.inputs]
                try:
                    result = called(e, args)
                except Exception as refusal:
                    # Its outputs stay absent; the first error is the one that is raised.
                    if not named and refusal.__class__ is error.__class__:
                        named = True
                        note_site(error, step)
                    continue
                env.update(
                    zip(e.outputs, (result,) if len(e.outputs) == 1 else result, strict=True)
                )
                done.append(e)
    failed = Trace(tr.state)
    failed.error = error
    failed.forget()
    taken = set(map(id, arrays))
    plan = Plan()
    plan.storages = tuple((j, 0) for j, s in enumerate(tr.pending) if s.slot in env)
    live = [(i, t._slot) for i, t in enumerate(tr.live)]
    plan.history = tuple((i, s) for i, s in live if wants_history(tr.live[i]))
    note_history(plan, tr.node, done, [s for _, s in plan.history if s in env])
    plan.spent |= {s for _, s in plan.history if s not in env}
    outs = [] if plan.spec is None else [env[s] for s in plan.spec.residuals]
    for s in tr.pending:
        if s.slot in env:
            s.memory = owned(env[s.slot], taken).reshape(s.shape)
        if s.memory is not None:
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
    attach_history(tr, plan, outs, arrays, tr.node, ())
    renew(tr)


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


def note_site(error: Exception, step: Node) -> None:
    """Says in an error which call was refused, and where the user's code made it."""
    made = step.key[0] if step.key.__class__ is tuple else None
    name = getattr(made, "name", step.name)
    where = "" if step.site is None else " at {}:{}".format(*step.site)
    error.add_note(
        f"Raised by the call{where} ({str(name).strip('_')}): what is recorded is computed when a "
        "value is needed. What does not depend on it has been kept."
    )


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


def owned(a: Any, taken: set[int]) -> np.ndarray:
    """An array that is nobody else's memory."""
    if a.__class__ is not np.ndarray:
        a = np.asarray(a)
    if a.base is not None or id(a) in taken or not a.flags.c_contiguous:
        a = np.array(a, order="C")
    taken.add(id(a))
    return a


def commit(
    tr: Trace,
    plan: Plan,
    outs: list[Any],
    arrays: list[Any],
    node: Node,
    written: Sequence[Storage] = (),
    versions: Sequence[int] = (),
) -> None:
    """Hands out the values; may be begun again after an interrupt.

    ``written``: plain storages that are written besides the pending ones, and their ``versions``
    from now on.
    """
    live = tr.live
    pending = tr.pending
    native = plan.program.native
    if native is None or native.kept_outs is not outs or native.number_outs:
        # Native code writes to arrays of its own, all others may be views and twins.
        own(plan, outs, arrays)
    early = native.early if native is not None and tail.given is not None else None
    for i, k, shape in plan.private:
        t = live[i]
        s = _new(Storage)
        s.memory = outs[k]
        s.shape = shape
        if early is not None and k in early:
            s.early = tail.number
        t._storage = s
        t._trace = None
    for j, k in plan.storages[: len(plan.storages) - len(written)] if written else plan.storages:
        s, a = pending[j], outs[k]
        if s.memory is not None and s.foreign and s.held_elsewhere():
            if plan.spec is not None:
                keep_values(s.memory, plan, outs, arrays)
            s.array[...] = a.reshape(s.memory.shape)
        else:
            s.memory = a if a.shape == s.shape else a.reshape(s.shape)
        s.trace = None
        s.plain = not s.shared and not s.foreign
    if written:
        for s, (_, k), version in zip(written, plan.storages[-len(written) :], versions):
            s.memory = outs[k]
            s.version = version
    if plan.history:
        attach_history(tr, plan, outs, arrays, node, written)
    renew(tr)
    if native is not None and native.kept_outs is outs:
        # Whoever counts references need not see these.
        native.kept_outs = None


def own(plan: Plan, outs: list[Any], arrays: list[Any]) -> None:
    """Makes what is handed out memory that is nobody else's."""
    taken = set(map(id, arrays))
    for _, k, _ in plan.private:
        outs[k] = owned(outs[k], taken)
    for _, k in plan.storages:
        outs[k] = owned(outs[k], taken)


def keep_values(memory: np.ndarray, plan: Plan, outs: list[Any], arrays: list[Any]) -> None:
    """Copies what a backward reads of memory that is about to be written to."""
    reads = plan.spec.reads  # type: ignore[union-attr]
    for i, a in enumerate(arrays):
        if -1 - i in reads and np.may_share_memory(a, memory):
            arrays[i] = np.array(a)
    for k in range(plan.n_outs, len(outs)):
        if outs[k].__class__ is np.ndarray and np.may_share_memory(outs[k], memory):
            outs[k] = np.array(outs[k])


def attach_history(
    tr: Trace,
    plan: Plan,
    outs: list[Any],
    arrays: list[Any],
    node: Node,
    written: Sequence[Storage],
) -> None:
    """Gives live tensors their place in a segment."""
    spec = plan.spec
    segment = spent = None
    if spec is not None:
        segment = Segment(spec, node, tuple(tr.inputs), tuple(arrays), tuple(tr.numbers))
        segment.saved = dict(zip(spec.residuals, outs[plan.n_outs :], strict=True))
        # An input may get another history below, by a write in this very trace.
        segment.origins = origins(node, tr.inputs)
        segment.bound = [0 if t._storage is None else t._storage.version for t in tr.inputs]
        # What was written to in this trace has new memory: no write reaches what it had.
        renewed = {id(tr.pending[j]) for j, _ in plan.storages[: len(plan.storages) - len(written)]}
        renewed.update(map(id, written))
        foreign: dict[int, Storage] = {}
        for i, t in enumerate(tr.inputs):
            s = t._storage
            if s is None or id(s) in renewed:
                continue
            if -1 - i in spec.reads or s.foreign:
                segment.versions.append((-1 - i, s, s.version))
            if s.foreign:
                foreign[id(s)] = s
        for s in foreign.values():
            # A write goes to the same memory, of which a residual may be a view.
            segment.versions += [
                (slot, s, s.version)
                for slot, a in segment.saved.items()
                if a.__class__ is np.ndarray and np.may_share_memory(a, s.memory)
            ]
        segment.hooks = tr.hooks
    for i, slot in plan.history:
        t = tr.live[i]
        if slot in plan.spent:
            if spent is None:
                reached = origins(node, tr.inputs)
                wanted = [t if o else None for t, o in zip(tr.inputs, reached)]
                spent = Spent(node, wanted, reached)
            t._hist = (spent, slot)
        else:
            t._hist = (segment, slot)
            if slot in spec.reads and t._storage is not None:
                segment.versions.append((slot, t._storage, t._storage.version))


def origins(node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Where gradients of inputs go: their histories; (None, 0) for leaves that want one."""
    known = node.memo.get("origins")  # type: ignore[union-attr]
    if known is None:
        metas = node.input_metas()
        leaves = [(None, 0) if m.requires_grad and m.leaf else None for m in metas]
        inner = tuple([i for i, m in enumerate(metas) if m.requires_grad and not m.leaf])
        known = node.memo["origins"] = (leaves, inner)  # type: ignore[index]
    leaves, inner = known
    if inner:
        leaves = list(leaves)
        for i in inner:
            leaves[i] = inputs[i]._hist
    return leaves


def flush_other(tr: Trace | None) -> None:
    """Flushes a trace that may be another thread's."""
    if tr is None or tr.closed:
        if tr is not None and tr.error is not None:
            raise tr.error
        return
    # Its own as well: while a program is compiled another thread may want the same values.
    with LOCK:
        flush(tr)
