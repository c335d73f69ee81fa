"""Binding tensors to a trace; the views that alias them."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.dtypes import from_numpy_dtype
from flambeau.record import builder as building
from flambeau.record import flush
from flambeau.record.absent import Absent, NoValues
from flambeau.record.meta import meta
from flambeau.record.stats import stats
from flambeau.record.storage import (
    PLAIN_SPECS,
    SNAPSHOT,
    Handle,
    Parts,
    Rows,
    Storage,
    Turned,
    contiguous_strides,
    parts,
    turned,
    view_array,
)
from flambeau.record.trace import Ambient, Trace, open_, set_state
from flambeau.run.tail import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _bind_alone(t: Any) -> int:
    storage = t._storage
    return _bind_shared_alone(t, storage)


def _bind_shared_alone(t: Any, storage: Storage) -> int:
    return sys.getrefcount(storage)


def _alone() -> int:
    """What ``sys.getrefcount`` says in ``bind_shared`` of a storage that one tensor holds.

    Measured through the same two calls: Python versions differ in which variables count.
    """
    t = Handle()
    t._storage = Storage(np.empty(1))
    return _bind_alone(t)


ALONE = _alone()


_new = object.__new__


class Restart(Exception):
    """The call must begin again, after ``action`` (by default a flush)."""

    def __init__(self, action: Callable[[], None] | None = None) -> None:
        self.action = action


def bind(tr: Trace, t: Any) -> Any:
    """Gives a tensor a slot in the trace; what that adds to a key.

    A value new to the trace adds its meta, one bound before its slot.
    """
    storage = t._storage
    if storage is not None and storage.plain:
        tr.inputs.append(t)
        t._trace = tr
        t._slot = -len(tr.inputs)
        return t._meta
    if storage is None:
        if t._trace is tr:
            return t._slot
        flush.flush_other(t._trace)
        return bind(tr, t)
    return bind_shared(tr, t, storage)


def bind_shared(tr: Trace, t: Any, storage: Storage) -> Any:
    """``bind`` for storages that are pending, aliased, absent, or visible to foreign code."""
    if storage.__class__ is Absent:
        raise NoValues
    if storage.trace is not None and storage.trace is not tr:
        flush.flush_other(storage.trace)
        return bind(tr, t)
    origin = root(t)
    pending = storage.trace is not None
    if pending and open_.state.grad and (building.is_leaf(origin) or building.is_leaf(t)):
        # A leaf that this trace has itself rebound is read again: its path ends here.
        raise Restart
    if t._btrace is tr and t._seen == storage.version:
        return t._slot
    if not pending:
        if stale(t):
            raise Restart(lambda: revive(open_.trace, t))
        if t._spec.__class__ is Turned and not t._meta.requires_grad and _bytes(t) > SNAPSHOT:
            raise Restart(lambda: read_turned(t))
        if storage.shared and t._base is None and t._spec is None:
            # The other aliases may be gone: the storage's only references are then the tensor's,
            # the variables' of this call and of ``bind``, and the argument's.
            if sys.getrefcount(storage) <= ALONE and not storage.foreign:
                storage.shared, storage.plain = False, True
                return bind(tr, t)
        tr.inputs.append(t)
        if storage.held_elsewhere():
            snapshot(tr, t)
        elif storage.plain:
            # Foreign no more: it is bound as plain storages are, or its next use would bind it
            # once more, and a gradient would reach only one of the two.
            t._trace = tr
            t._slot = -len(tr.inputs)
            return t._meta
        t._btrace = tr
        t._seen = storage.version
        t._slot = -len(tr.inputs)
        return t._meta
    if not storage.shared and t is origin:
        t._btrace, t._seen, t._slot = tr, storage.version, storage.slot
        return t._slot
    raise Restart(lambda: refresh(open_.trace, t))


def snapshot(tr: Trace, t: Any) -> None:
    """Foreign code may change this memory: copies what is small, else has the call flushed."""
    if t._storage.memory.nbytes <= SNAPSHOT or _bytes(t) <= SNAPSHOT:
        if tr.snapshots is None:
            tr.snapshots = {}
        tr.snapshots[len(tr.inputs) - 1] = t._array().copy()
    else:
        tr.cut = True
        stats.foreign += 1


def _bytes(t: Any) -> int:
    size = t._meta.dtype.itemsize
    for n in t._meta.shape:
        size *= n
    return size


def root(t: Any) -> Any:
    """The tensor whose storage ``t`` is a view of, in the same history."""
    if t._base is None:
        return t
    origin = t._base
    while origin._base is not None:
        origin = origin._base
    if origin._storage is not t._storage:
        # It was given other memory since (``x.data = y``): the view keeps what it is a view of.
        origin = t._base = _own_base(t._storage, t._spec or (), t._meta.dtype)
    return origin


def refresh(tr: Trace, t: Any) -> None:
    """Works out a tensor's slot anew after a write through another alias of its storage."""
    storage = t._storage
    if storage.trace is not tr or (t._btrace is tr and t._seen == storage.version):
        return
    origin = root(t)
    if not (origin._btrace is tr and origin._seen == storage.version):
        data = building.new_tensor(tr, storage.slot, storage.meta)
        m = origin._meta
        if m.requires_grad:
            if m.leaf or origin._btrace is not tr:
                # Its history enters through its old value, which is still in memory.
                bound = next((i for i, x in enumerate(tr.inputs) if x is origin), None)
                if bound is None:
                    bound = len(tr.inputs)
                    tr.inputs.append(origin)
                origin._slot = -1 - bound
            before = building.new_tensor(tr, origin._slot, m)
            value = kept("rebase", data, before)
            tr.live.append(origin)
        else:
            value = shared_apply("detach", data)
        settle(tr, origin, value._slot, storage.version)
    if t is not origin:
        shape, strides, offset = spec_of(t)
        base = building.new_tensor(tr, origin._slot, origin._meta)
        base = counted(base, t)
        value = kept("as_strided", base, offset, shape=shape, strides=strides)
        if turn_of(t) is not None:
            value = kept(turn_of(t), value)
        settle(tr, t, value._slot, storage.version)
        g = value._meta.requires_grad
        # A leaf on memory of a tensor without history (a parameter made of a view) remains one.
        if g != t._meta.requires_grad and not building.is_leaf(t):
            t._meta = meta(t._meta.shape, t._meta.dtype, g, not g)
        if g:
            # A flush gives it its place in the new history.
            tr.live.append(t)
            if t._retains:
                building.shared["follow"](t)


def read_turned(t: Any) -> None:
    """Has a turned view of data read as it lies and turned by the program, which fuses that."""
    plain = alias_of(t, tuple(t._spec), t._meta, own=True)
    value = shared_apply(t._spec.turn, plain)
    settle(open_.trace, t, value._slot, t._storage.version)


def counted(base: Any, t: Any) -> Any:
    """The value of a storage in the elements that the spec of ``t`` counts."""
    spec = t._spec
    if spec.__class__ is not Parts:
        return base
    if spec.dtype is None:
        return kept("complex_to_pairs", base)
    m, dtype = base._meta, t._meta.dtype
    size = math.prod(m.shape) * m.dtype.itemsize // dtype.itemsize
    return kept("bits", base, dtype=dtype, shape=(size,))


def turn_of(t: Any) -> Any:
    """The primitive by which a view reads its memory: "conj", "neg", or None as it is."""
    return getattr(t._spec, "turn", None)


def stale(t: Any) -> bool:
    """Whether a concrete view was written through another alias after its history was recorded."""
    if t._base is None or t._seen == t._storage.version:
        return False
    m = root(t)._meta
    return m.requires_grad and not m.leaf


def revive(tr: Trace, t: Any) -> None:
    """Gives a stale view the history that its base has by now."""
    if not stale(t):
        return
    shape, strides, offset = spec_of(t)
    base = counted(root(t), t)
    value = kept("as_strided", base, offset, shape=shape, strides=strides)
    if turn_of(t) is not None:
        value = kept(turn_of(t), value)
    settle(tr, t, value._slot, t._storage.version)
    t._meta = meta(t._meta.shape, t._meta.dtype, True, False)
    tr.live.append(t)
    if t._retains:
        building.shared["follow"](t)


def settle(tr: Trace, t: Any, slot: int, version: int) -> None:
    t._btrace, t._slot, t._seen = tr, slot, version


def shared_apply(name: str, *args: Any, grad: str = "AliasBackward0", **attrs: Any) -> Any:
    """A primitive of the bookkeeping of aliases, which never flushes; ``grad`` names its node."""
    return building.shared["apply_held"](grad, building.shared["primitives"][name], args, attrs)


def kept(name: str, *args: Any, **attrs: Any) -> Any:
    """``shared_apply`` that carries history on even where none is recorded now."""
    state = open_.state
    open_.state = Ambient.of(True, state.default, state.extra)
    try:
        prim = building.shared["primitives"][name]
        return building.shared["apply_held"]("KeptBackward0", prim, args, attrs)
    finally:
        if open_.trace.state is state:
            open_.state = state
        else:
            set_state(grad=state.grad)


def share(t: Any) -> Storage:
    """Makes ready for a second tensor on the storage of ``t``."""
    storage, tr = t._storage, t._trace
    # What belongs together is assigned together: no interrupt comes in between.
    if storage is None:
        storage = Storage(None, t._meta.shape)
        storage.trace, storage.slot, storage.meta = tr, t._slot, t._meta
        storage.share()
        tr.pending.append(storage)
        t._storage, t._btrace, t._seen, t._trace = storage, tr, storage.version, None
    elif not storage.shared:
        if tr is not None:
            t._btrace, t._seen, t._trace = tr, storage.version, None
        storage.shared, storage.plain = True, False
    return storage


def spec_of(t: Any) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Shape, strides and offset of a tensor in its storage."""
    if t._spec is not None:
        return t._spec
    shape = t._meta.shape
    return shape, contiguous_strides(shape), 0


def immediate(t: Any) -> bool:
    """Whether a view of ``t`` needs no recording: it is concrete and carries no history."""
    if t._meta.requires_grad and open_.state.grad:
        return False
    storage = t._storage
    return storage is not None and storage.trace is None


# Bytes of data that are moved at once rather than by a program.
MOVED = 1 << 20


def at_once(tensors: Sequence[Any]) -> list[np.ndarray] | None:
    """The values of data, for a call that only puts them together; None: it is recorded.

    Data is concrete and has no history. Ragged batches that are put together at once add nothing
    to a path, which would be another one each time.
    """
    tr = open_.trace
    if tr.builder is not None or tr.special:
        return None
    plain, grad = building.shared["Tensor"], open_.state.grad
    size, found = 0, []
    for t in tensors:
        storage = t._storage if t.__class__ is plain else None
        if storage is None or storage.trace is not None or (grad and t._meta.requires_grad):
            return None
        if storage.__class__ is Absent:
            return None
        if t._base is not None and stale(t):
            return None
        array = storage.memory if tail.given is None else storage.array
        spec = t._spec
        if spec is not None:
            shape, strides, _ = spec
            whole = array.size == math.prod(shape) and spec.__class__ in PLAIN_SPECS
            if whole and strides == contiguous_strides(shape):
                array = array.reshape(shape)
            else:
                array = view_array(array, spec)
        size += array.nbytes
        found.append(array)
    return found if size <= MOVED else None


def view(
    t: Any, spec: tuple, prim: Any, numbers: tuple = (), *, grad: str | None = None, **attrs: Any
) -> Any:
    """A tensor that aliases ``t`` by ``spec``; recorded as ``prim`` where that is needed.

    ``grad`` is its ``grad_fn`` name.
    """
    tr = open_.trace
    if tr.builder is not None:
        return tr.builder.apply(prim, (t, *numbers), attrs)
    dtype = t._meta.dtype
    if spec.__class__ is Parts:
        dtype = dtype.to_real()
    elif t._spec.__class__ is Turned:
        spec = t._spec.like(spec)
    if t._spec.__class__ is Parts:
        spec = t._spec.like(spec, None if t._spec.dtype is None else dtype.numpy)
    return placed(t, spec, dtype, prim, numbers, grad, attrs)


def placed(
    t: Any, spec: tuple, dtype: Any, prim: Any, numbers: tuple, grad: str | None, attrs: dict
) -> Any:
    """A tensor that aliases ``t`` by a spec that counts as its storage does."""
    if immediate(t):
        return alias_of(t, spec, meta(spec[0], dtype))
    made = building.shared["apply_named"](grad, prim, (t, *numbers), attrs)
    if made._storage is not None:
        # The call ended its trace: both are concrete now, and must share memory again.
        return realias(t, spec, made)
    tr = made._trace
    storage = share(t)
    made._storage, made._spec, made._base = storage, spec, root(t)
    made._btrace, made._seen, made._trace = tr, storage.version, None
    return made


def turn(t: Any, how: str, grad: str) -> Any:
    """A view that reads the conjugates or negatives of ``t``: turned twice, it reads as before."""
    tr = open_.trace
    prim = building.shared["primitives"][how]
    if tr.builder is not None:
        return tr.builder.apply(prim, (t,), {})
    m, spec = t._meta, spec_of(t)
    kind = spec.__class__
    if kind is Parts:
        spec = parts(spec, spec.dtype, None if spec.turn else how)  # type: ignore[attr-defined]
    elif kind is not Turned:
        spec = turned(spec, how)
    elif spec.turn == how:  # type: ignore[attr-defined]
        spec = tuple(spec)
    else:
        return building.shared["apply_named"](grad, prim, (t,), {})
    if immediate(t):
        return alias_of(t, spec, meta(m.shape, m.dtype) if m.requires_grad else m)
    return placed(t, spec, m.dtype, prim, (), grad, {})


def rows(t: Any, start: int, count: int) -> Any | None:
    """``t[start : start + count]`` where that needs no recording and no questions; else None.

    The short way for what a loop does with its data in each step.
    """
    storage = t._storage
    m = t._meta
    if (
        storage is None
        or storage.trace is not None
        or m.requires_grad
        or t._spec.__class__ not in PLAIN_SPECS
        or open_.trace.builder is not None
    ):
        return None
    if not storage.shared:
        storage.share()
    shape, strides, offset = t._spec or (m.shape, contiguous_strides(m.shape), 0)
    shape = (count, *shape[1:])
    made = _new(t.__class__)
    made._trace = None
    made._slot = 0
    made._meta = meta(shape, m.dtype)
    made._storage = storage
    spec = (shape, strides, offset + start * strides[0])
    made._spec = Rows(spec) if t._spec is None else spec
    made._base = t if t._base is None else root(t)
    return made


def realias(t: Any, spec: tuple, made: Any) -> Any:
    """A view that was flushed by its own call, put back on its base's storage."""
    storage = share(t)
    made._storage, made._spec, made._base = storage, spec, root(t)
    made._trace = None
    return made


def alias_of(t: Any, spec: tuple | None, m: Any, own: bool = False) -> Any:
    """A concrete view without history of a concrete tensor.

    ``own``: it stays out of the history that ``t`` may get by a write, too.
    """
    storage = share(t)
    made = building.new_tensor(None, 0, m)
    made._storage = storage
    made._spec = spec
    if own:
        if spec is not None:
            made._base = _own_base(storage, spec, m.dtype)
            made._base._hidden = True
    elif not t._meta.requires_grad:
        made._base = root(t)
    elif spec is not None and (
        spec.__class__ is Turned or spec != (storage.shape, contiguous_strides(storage.shape), 0)
    ):
        # Its history is cut off from that of ``t``: it gets a base of its own.
        made._base = _own_base(storage, spec, m.dtype)
    return made


def _own_base(storage: Storage, spec: tuple, dtype: Any) -> Any:
    """A tensor on the whole of a storage, without history, for a view to be one of."""
    if spec.__class__ is Parts:
        dtype = dtype.to_complex() if spec.dtype is None else _dtype_of(storage)
    base = building.new_tensor(None, 0, meta(storage.shape, dtype))
    base._storage = storage
    return base


def _dtype_of(storage: Storage) -> Any:
    """The dtype of a storage's memory."""
    if storage.__class__ is Absent:
        return storage.dtype  # type: ignore[attr-defined]
    if storage.memory is None:
        return storage.meta.dtype  # type: ignore[union-attr]
    return from_numpy_dtype(storage.memory.dtype)


def bits(t: Any, spec: tuple, dtype: Any) -> Any:
    """A view of the memory of a concrete tensor that reads it as ``dtype``; it has no history."""
    storage = share(t)
    if _dtype_of(storage) is not dtype:
        spec = parts(spec, dtype.numpy)
    return alias_of(t, spec, meta(spec[0], dtype), own=True)


def whole(t: Any) -> Any:
    """The memory that a concrete view without history is part of, as data."""
    return _own_base(t._storage, t._spec, t._meta.dtype)


def detached(t: Any) -> Any:
    """A tensor on the same memory as ``t`` without its history."""
    tr = open_.trace
    m = t._meta
    m = meta(m.shape, m.dtype, order=m.order)
    if tr.builder is not None:
        return tr.builder.apply(building.shared["primitives"]["detach"], (t,), {})
    if t._storage is not None and t._storage.trace is None:
        return alias_of(t, t._spec, m, own=True)
    if t._storage is not None or t._trace is not tr:
        current(tr, t)
        tr = open_.trace
        if t._storage is not None and t._storage.trace is None:
            return alias_of(t, t._spec, m, own=True)
    made = shared_apply("detach", building.new_tensor(tr, t._slot, t._meta))
    if tr.closed:
        return alias_of(t, t._spec, m, own=True)
    storage = share(t)
    made._storage, made._spec = storage, t._spec
    made._btrace, made._seen, made._trace = tr, storage.version, None
    if t._spec is not None:
        made._base = _own_base(storage, t._spec, m.dtype)
        made._base._hidden = True
    return made


def current(tr: Trace, t: Any) -> None:
    """Sees to it that ``t`` has its slot in the open trace, flushing if it must."""
    while True:
        again = None
        try:
            try:
                if t._storage is None and t._trace is tr:
                    return
                bind(tr, t)
            except Restart as restart:
                again = restart
            finally:
                # Bound outside a call: give the place back, it is bound again where it is used.
                building.undo_binding(tr)
        finally:
            # Once more: an interrupt may have come while the first was at it.
            building.undo_binding(tr)
        if again is None:
            return
        (again.action or (lambda: flush.flush(open_.trace)))()
        tr = open_.trace


def version_of(t: Any) -> int:
    return 0 if t._storage is None else t._storage.version


def mark_foreign(t: Any) -> None:
    """Notes that code outside may hold this memory from now on."""
    if tail.given is not None:
        tail.join()
    t._storage.foreign = True
    t._storage.plain = False
    t._trace = None
