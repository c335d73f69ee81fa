"""Where the history of a tensor is: the open trace, a segment, or a custom function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.record import alias, flush
from flambeau.record.segment import Segment, next_order
from flambeau.record.trace import open_

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
        return resolved(t._hist)
    if t._btrace is tr and not tr.closed and (t._storage.trace is tr or t._hist is None):
        if t._seen != t._storage.version:
            alias.refresh(tr, t)
        return tr, t._slot
    if t._storage.trace is not None:
        alias.current(tr, t)
        return history_of(t)
    return resolved(t._hist)


def resolved(history: tuple[Any, int] | None) -> tuple[Any, int] | None:
    """A place in a segment that was recorded again is where that put it."""
    while history is not None and isinstance(history[0], Segment):
        unit, slot = history
        if unit.again is None or slot not in unit.again:
            break
        history = history_of(unit.again[slot])
    return history


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
