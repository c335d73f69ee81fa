"""The way back through a segment as recorded operations: its gradients have history themselves."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.autograd.history import PyNode
from flambeau.autograd.values import concrete, grad_mode
from flambeau.ir.derive import depending
from flambeau.ir.graph import NUMBERS, Const
from flambeau.ir.primitive import Primitive
from flambeau.record.builder import new_tensor
from flambeau.record.meta import meta
from flambeau.record.segment import INPLACE, Segment, Way
from flambeau.record.single import apply

if TYPE_CHECKING:
    from collections.abc import Sequence


def recorded(unit: Segment, way: Way, seeds: Sequence[Any]) -> list[Any]:
    """Records a way back in the open trace; the gradients that it gives.

    What it reads of the segment are tensors in the segment's history: a later backward goes from
    them to the segment, to which all that it gets there comes at once.
    """
    count = len(unit.inputs)
    saved = unit.spec.residuals  # type: ignore[union-attr]
    values: dict[int, Any] = {-1 - count - len(saved) - k: g for k, g in enumerate(seeds)}

    def value(slot: Any) -> Any:
        if type(slot) is Const:
            return slot.value
        if slot <= NUMBERS:
            return unit.numbers[NUMBERS - slot]
        found = values.get(slot)
        if found is None:
            i = -1 - slot
            if i < 0:
                found = as_tied(unit, slot)
            else:
                found = as_bound(unit, i) if i < count else as_saved(unit, saved[i - count])
            values[slot] = found
        return found

    with grad_mode(True):
        for e in way.entries:
            args = [value(i) for i in e.inputs]
            if e.prim.name == "number":
                values[e.outputs[0]] = e.prim.reference(*args, **e.attrs)
                continue
            made = apply(quiet(e.prim), *args, **e.attrs)
            values.update(zip(e.outputs, made if type(made) is tuple else (made,), strict=True))
    return [value(s) for s in way.outs]


@functools.cache
def quiet(prim: Primitive) -> Primitive:
    """A primitive that raised nothing on these values: it need not run at its call again."""
    if not prim.raises:
        return prim
    return Primitive(
        prim.name, prim.meaning, prim.rule, prim.reference, prim.gradients, prim.host, False,
        prim.variadic,
    )  # fmt: skip


def as_bound(unit: Segment, position: int) -> Any:
    """An input as it was when bound, in the history it had then."""
    t, m = unit.inputs[position], unit.spec.metas[position]  # type: ignore[union-attr]
    if t._meta.requires_grad == m.requires_grad and not unit.changed(position):
        return t
    array = unit.arrays[position]
    if not m.requires_grad:
        return concrete(array, m.dtype)
    storage = t._storage
    if storage is not None and storage.version != unit.bound[position]:
        if np.may_share_memory(storage.memory, array) and storage.trace is None:
            raise RuntimeError(INPLACE)
    twin = concrete(array, m.dtype)
    twin._meta = meta(m.shape, m.dtype, True, False)
    histories = [unit.origins[position]]
    twin._hist = (PyNode("Past", [t], lambda grads: grads, histories), 0)
    return twin


def as_saved(unit: Segment, slot: int) -> Any:
    """A value that the segment has kept, in its history; a run-time number as it is."""
    aval = unit.spec.avals[slot]  # type: ignore[union-attr]
    array = unit.saved[slot]
    if aval.dtype is None:
        return array
    twin = next((s for k, s, _ in unit.versions if k == slot and s.memory is array), None)
    if twin is None:
        t = concrete(np.array(array, order="C", copy=None), aval.dtype)
    else:
        # A tensor has it, too: a write to that is one to this.
        twin.share()
        t = new_tensor(None, 0, meta(aval.shape, aval.dtype))
        t._storage = twin
    if slot in _dependent(unit.spec):
        t._meta = meta(aval.shape, aval.dtype, True, False)
        t._hist = (unit, slot)
    return t


def as_tied(unit: Segment, slot: int) -> Any:
    """The history of a value that was not kept: nothing reads what it was."""
    aval = unit.spec.avals[slot]  # type: ignore[union-attr]
    t = concrete(np.broadcast_to(np.zeros((), aval.dtype.numpy), aval.shape), aval.dtype)  # type: ignore[union-attr]
    if slot in _dependent(unit.spec):
        t._meta = meta(aval.shape, aval.dtype, True, False)  # type: ignore[arg-type]
        t._hist = (unit, slot)
    return t


@functools.lru_cache(1024)
def _dependent(spec: Any) -> frozenset[int]:
    """The slots of a path that have history."""
    return frozenset(depending(spec.entries, spec.wanted)[1])
