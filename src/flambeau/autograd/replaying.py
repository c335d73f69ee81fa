"""A segment recorded once more, so that its gradients have history themselves."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from flambeau.autograd.history import PyNode
from flambeau.autograd.values import concrete, grad_mode
from flambeau.ir.graph import NUMBERS, Const
from flambeau.ir.primitive import Primitive
from flambeau.record.macro import apply
from flambeau.record.meta import meta
from flambeau.record.segment import INPLACE, Segment


def replay(unit: Segment) -> dict[int, Any]:
    """Records a segment's entries again; its values by slot, as tensors with history."""
    values: dict[int, Any] = {}
    for i, (t, a) in enumerate(zip(unit.inputs, unit.arrays, strict=True)):
        m = unit.spec.metas[i]
        if not m.requires_grad:
            values[-1 - i] = concrete(a, m.dtype)
        else:
            values[-1 - i] = stand_in(unit, i) if unit.changed(i) else t
    numbers = unit.numbers
    for e in unit.spec.entries:
        args = []
        for i in e.inputs:
            if type(i) is Const:
                args.append(i.value)
            elif i <= NUMBERS:
                args.append(numbers[NUMBERS - i])
            else:
                args.append(values[i])
        with grad_mode(e.grad):
            if e.prim.name == "number":
                values[e.outputs[0]] = e.prim.reference(*args, **e.attrs)
                continue
            made = apply(quiet(e.prim), *args, **e.attrs)
        values.update(zip(e.outputs, made if type(made) is tuple else (made,), strict=True))
    return values


@functools.cache
def quiet(prim: Primitive) -> Primitive:
    """A primitive that raised nothing on these values: it need not run at its call again."""
    if not prim.raises:
        return prim
    return Primitive(
        prim.name, prim.meaning, prim.rule, prim.reference, prim.gradients, prim.host, False,
        prim.variadic,
    )  # fmt: skip


def stand_in(unit: Segment, position: int) -> Any:
    """An input as it was when bound, before it was written to, in the history it had then."""
    array = unit.arrays[position]
    storage = unit.inputs[position]._storage
    if storage is not None and storage.version != unit.bound[position]:
        if np.may_share_memory(storage.array, array) and storage.trace is None:
            raise RuntimeError(INPLACE)
    m = unit.spec.metas[position]
    t = concrete(array, m.dtype)
    t._meta = meta(m.shape, m.dtype, True, False)
    histories = [unit.origins[position]]
    t._hist = (PyNode("Past", [unit.inputs[position]], lambda grads: grads, histories), 0)
    return t
