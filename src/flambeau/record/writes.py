"""How a write gives memory a value that every alias sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.record import builder as building
from flambeau.record import flush
from flambeau.record.alias import counted, kept, refresh, root, settle, shared_apply, turn_of
from flambeau.record.meta import meta
from flambeau.record.overlap import refuse_repeated
from flambeau.record.stats import stats
from flambeau.record.storage import Parts, Storage

if TYPE_CHECKING:
    from flambeau.record.trace import Trace


def with_history(tr: Trace, t: Any, slot: int, m: Any) -> tuple[int, Any]:
    """A value written where no history is recorded: it stands in the history ``t`` had."""
    if not t._meta.requires_grad or t._meta.leaf or m.requires_grad:
        return slot, m
    before = building.new_tensor(tr, t._slot, t._meta)
    new = kept("rebase", building.new_tensor(tr, slot, m), before)
    return new._slot, new._meta


def write(tr: Trace, t: Any, slot: int, m: Any, name: str = "") -> None:
    """``t`` and all its aliases see the value in ``slot``, of the call ``name``, from now on."""
    storage = t._storage
    gains = m.requires_grad and not t._meta.requires_grad
    if storage is None:
        t._slot, _ = with_history(tr, t, slot, m)
        if gains:
            t._meta = meta(t._meta.shape, t._meta.dtype, True, False)
        return
    if not storage.shared:
        leaf = t._meta.leaf and t._meta.requires_grad
        slot, m = with_history(tr, t, slot, m)
        t._trace = None if leaf or (not storage.plain and storage.foreign) else tr
        t._btrace = None if leaf else tr
        t._slot = slot
        if storage.trace is not tr:
            # Noted before it is marked: an interrupt in between must not lose it.
            tr.pending.append(storage)
            storage.plain = False
            storage.trace = tr
        storage.slot, storage.meta = slot, m
        storage.version += 1
        t._seen = storage.version
        if m.requires_grad and not leaf:
            if gains:
                t._meta = meta(t._meta.shape, t._meta.dtype, True, False)
            # Made before this trace: the flush must know of its new history.
            tr.live.append(t)
        if storage.held_elsewhere():
            tr.cut = True
            stats.foreign += 1
        return
    write_shared(tr, t, slot, m, name)


# Calls that write one value everywhere: also where elements share memory, as in PyTorch.
_FILLING = frozenset({"fill_", "zero_"})


def write_shared(tr: Trace, t: Any, slot: int, m: Any, name: str) -> None:
    """``write`` through one of several aliases: the base gets a new value, the others go stale."""
    building.check_writable(t)
    if name not in _FILLING:
        refuse_repeated(t)
    storage = t._storage
    origin = root(t)
    value = building.new_tensor(tr, slot, m)
    if t._spec is None:
        new = value
    else:
        shape, strides, offset = t._spec
        refresh(tr, origin)
        holder = base_holder(tr, origin)
        of = holder._meta
        holder = counted(holder, t)
        if turn_of(t) is not None:
            value = shared_apply(turn_of(t), value)
        new = shared_apply(
            "write_strided", holder, value, offset, grad="CopySlices", shape=shape, strides=strides
        )
        if t._spec.__class__ is Parts:
            if t._spec.dtype is None:
                new = shared_apply("pairs_to_complex", new)
            else:
                new = shared_apply("bits", new, dtype=of.dtype, shape=of.shape)
    leaf = building.is_leaf(origin) or building.is_leaf(t)
    if origin._meta.requires_grad and not leaf and not new._meta.requires_grad:
        before = base_holder(tr, origin)
        new = kept("rebase", new, before)
    if new._storage is not None:
        write_now(storage, origin, t, new)
        return
    tr = new._trace
    storage.slot, storage.meta = new._slot, new._meta
    if storage.trace is not tr:
        # Noted before it is marked, as above.
        tr.pending.append(storage)
        storage.trace = tr
    storage.version += 1
    settle(None if building.is_leaf(origin) else tr, origin, new._slot, storage.version)
    origin._trace = None
    if new._meta.requires_grad and not leaf:
        for changed in {id(origin): origin, id(t): t}.values():
            changed._meta = meta(changed._meta.shape, changed._meta.dtype, True, False)
            if storage.memory is not None:
                tr.live.append(changed)
    if t is not origin and not leaf and not t._meta.requires_grad:
        # With history, it is a view of its base anew when it is read: hooks on the base see what
        # comes through the view, and those on the view that alone.
        settle(tr, t, slot, storage.version)
    if storage.held_elsewhere():
        tr.cut = True
        stats.foreign += 1


def write_now(storage: Storage, origin: Any, t: Any, new: Any) -> None:
    """The end of a write whose value was flushed on the way: it goes to memory at once."""
    if storage.trace is not None:
        flush.flush_other(storage.trace)
    value = new._array()
    memory = storage.writable()
    memory[...] = value.reshape(memory.shape)
    storage.version += 1
    if new._meta.requires_grad and not building.is_leaf(origin):
        origin._meta = meta(origin._meta.shape, origin._meta.dtype, True, False)
        origin._hist = new._hist
    for changed in (origin, t):
        settle(None, changed, 0, -1)
        changed._trace = None


def base_holder(tr: Trace, origin: Any) -> Any:
    """The whole value of a storage, with the history of ``origin``, as an operand."""
    if origin._btrace is tr and origin._seen == origin._storage.version:
        m = origin._meta
        return building.new_tensor(tr, origin._slot, m)
    return origin
