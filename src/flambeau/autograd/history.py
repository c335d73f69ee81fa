"""Where the history of a tensor is: the open trace, a segment, or a custom function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.record import alias, flush
from flambeau.record.absent import absent
from flambeau.record.builder import new_tensor, shared
from flambeau.record.meta import meta
from flambeau.record.segment import Segment, next_order
from flambeau.record.trace import Trace, open_

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class PyNode:
    """The history of a custom function's outputs: its backward runs as Python.

    ``inputs`` are the tensors it was given; ``call(grads)`` gives a gradient (or None) for each.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[Any],
        call: Callable[[list[Any]], Sequence[Any]],
        histories: Sequence[Any] | None = None,
    ) -> None:
        self.name = name
        if histories is None:
            for t in inputs:
                if t._meta.requires_grad and not t._meta.leaf:
                    # What came before is settled in segments: an open trace would move on.
                    t._value()
            histories = [history_of(t) for t in inputs]
        self.inputs = list(zip(inputs, histories, strict=True))
        self.order = next_order()
        self.outputs = 1
        self.call = call
        self.hooks: dict[int, list] | None = None
        # Called after the backward: fn(gradients of inputs, gradients of outputs).
        self.post_hooks: list[Callable] | None = None


def _absent_history(name: str, inputs: Sequence[Any]) -> PyNode:
    """The history of what was computed of tensors without values: so are its gradients."""

    def call(grads: list[Any]) -> list[Any]:
        return [absent(meta(t._meta.shape, t._meta.dtype)) for t in inputs]

    return PyNode(name, inputs, call, [history_of(t) for t in inputs])


shared["absent_history"] = _absent_history


def history_of(t: Any) -> tuple[Any, int] | None:
    """Where the history of a tensor is: (open trace, segment or custom function, slot).

    ``(None, 0)`` for a leaf that wants a gradient, ``None`` for no history.
    """
    m = t._meta
    if not m.requires_grad:
        return None
    if m.leaf:
        return None, 0
    tr = open_.trace
    if t._storage is None:
        if t._trace is tr:
            return tr, t._slot
        flush.flush_other(t._trace)
        return t._hist
    if t._btrace is tr and not tr.closed and (t._storage.trace is tr or t._hist is None):
        if t._seen != t._storage.version:
            alias.refresh(tr, t)
        return tr, t._slot
    if t._storage.trace is not None:
        alias.current(tr, t)
        return history_of(t)
    return t._hist


def place_of(t: Any) -> tuple[Any, int] | None:
    """``history_of``, before the writes that changed the value only: where hooks and targets are.

    A write where no history is recorded leaves a tensor in the history it had.
    """
    history = history_of(t)
    while history is not None and not isinstance(history[0], PyNode) and history[0] is not None:
        unit, slot = history
        before = _rebased(unit.node).get(slot)
        if before is None:
            break
        earlier = (unit, before) if before >= 0 else origin(unit, -1 - before)
        if earlier is None or earlier[0] is None:
            break
        history = earlier
    return history


class TensorHooks:
    """The hooks on a tensor, in the order of their registration, as one on its gradient."""

    def __init__(self) -> None:
        self.hooks: dict[int, Callable] = {}

    def __call__(self, g: Any) -> Any:
        for f in list(self.hooks.values()):
            changed = f(g)
            g = g if changed is None else changed
        return g


def anchor(tr: Trace, slot: int) -> Any:
    """A tensor that stands for a slot of the open trace, and has its history when that is over."""
    if slot < 0:
        aval = tr.inputs[-1 - slot]._meta.aval
    else:
        aval = _avals(tr.node)[slot]
    t = new_tensor(tr, slot, meta(aval.shape, aval.dtype, True, False))
    tr.hold(t)
    return t


def _avals(node: Any) -> dict[int, Any]:
    """Shapes and dtypes of what a path computes, by slot."""
    memo = node.memo
    if memo is None:
        memo = node.memo = {}
    found = memo.get("avals")
    if found is None:
        found = memo["avals"] = {
            s: a for e in node.path_entries() for s, a in zip(e.outputs, e.out_avals, strict=True)
        }
    return found


class StepHook:
    """A hook on a step of the history: it sees the gradients of what the step read as well.

    ``reads`` are the slots of that.
    """

    def __init__(self, call: Callable, reads: tuple[int, ...]) -> None:
        self.call = call
        self.reads = reads


def hook_list(t: Any) -> list:
    """What is called where the gradient of a non-leaf is whole."""
    unit, slot = place_of(t)  # type: ignore[misc]
    if unit.hooks is None:
        unit.hooks = {}
    return unit.hooks.setdefault(slot, [])


def hooks_at(t: Any, known: dict[int, Callable] | None) -> dict[int, Callable]:
    """The hooks of a non-leaf: ``known``, if no write has given it another history since."""
    found = hook_list(t)
    if known is None or not any(isinstance(h, TensorHooks) and h.hooks is known for h in found):
        made = TensorHooks()
        known = made.hooks
        # What keeps the gradient sees it after all hooks, whenever they were registered.
        found.insert(sum(isinstance(h, TensorHooks) for h in found), made)
    return known


def _rebased(node: Any) -> dict[int, int]:
    """Slots of values that stand in another one's history, with the slot of that."""
    memo = node.memo
    if memo is None:
        memo = node.memo = {}
    found = memo.get("rebased")
    if found is None:
        found = memo["rebased"] = {
            e.outputs[0]: e.inputs[1]
            for e in node.path_entries()
            # Of one value twice it is a copy.
            if e.prim.name == "rebase" and e.inputs[0] != e.inputs[1]
        }
    return found


def origin(unit: Any, position: int) -> tuple[Any, int] | None:
    """The history of an input of a trace or segment, from before it was bound."""
    if isinstance(unit, Segment):
        return unit.origins[position]
    return origin_of(unit.inputs[position])


def origin_of(t: Any) -> tuple[Any, int] | None:
    """The history of an input of the open trace: from before it was bound."""
    if t._meta.leaf:
        return None, 0
    return t._hist
