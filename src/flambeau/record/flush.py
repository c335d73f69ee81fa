"""Flush: runs what is pending, for the tensors that are still alive."""

from __future__ import annotations

import sys
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from flambeau.record.absent import NO_DATA
from flambeau.record.builder import undo_binding
from flambeau.record.commit import commit
from flambeau.record.plans import alive_among, find_plan
from flambeau.record.salvage import salvage
from flambeau.record.stats import stats
from flambeau.record.trace import LENGTH, LOCK, Node, Trace, renew, trie
from flambeau.run.tail import tail

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["LENGTH", "flush", "flush_other", "flush_writes", "stats"]


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
    if tr.root.cut:
        # Recorded for shapes alone.
        return
    if tr.pending:
        from flambeau.record.alias import refresh  # late: alias imports this module

        for t in tr.live:
            storage = t._storage
            if storage is not None and t._meta.requires_grad and t._seen != storage.version:
                if storage.trace is tr:
                    refresh(tr, t)
        node = tr.node
    if len(tr.inputs) > node.n_inputs:
        # Of a call that an interrupt ended.
        undo_binding(tr)
    live = tr.live
    counts = tuple(map(sys.getrefcount, live))
    key = (counts, tuple([s.slot for s in tr.pending])) if tr.pending else counts
    if tr.marks:
        key = (key, tuple(tr.marks))
    plan = node.plans.get(key)
    if plan is None:
        plan = find_plan(tr, node, key, counts)
    node.stamp = next(trie.clock)
    if tail.given is not None:
        tail.join()
    arrays = [
        t._array() if t._spec is not None or (s := t._storage) is None or s.memory is None
        else s.memory
        for t in tr.inputs
    ]  # fmt: skip
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


def settled(t: Any) -> None:
    """Makes a tensor concrete and unbound, so that its shape or memory may change.

    What is recorded reads it as it is now.
    """
    for tr in (t._trace, t._btrace):
        if tr is not None and not tr.closed:
            flush_other(tr)
    t._value()


def flush_other(tr: Trace | None) -> None:
    """Flushes a trace that may be another thread's."""
    if tr is None or tr.closed:
        if tr is not None and tr.error is not None:
            raise tr.error
        return
    if tr.root.cut:
        raise NotImplementedError(NO_DATA)
    # Its own as well: while a program is compiled another thread may want the same values.
    with LOCK:
        flush(tr)
