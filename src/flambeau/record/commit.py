"""How the values of a program are handed out, with their histories."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.record.segment import Segment, Spent, noted
from flambeau.record.storage import Storage
from flambeau.record.trace import Node, Trace, renew
from flambeau.run.tail import tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.record.plans import Plan


_new = object.__new__


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
        if noted:
            noted[-1].append(weakref.ref(segment))
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
