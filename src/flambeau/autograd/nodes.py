"""``grad_fn``: the recorded history as a graph of nodes, made when it is looked at."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from flambeau.autograd import engine
from flambeau.autograd.history import StepHook, anchor
from flambeau.autograd.saved_values import NAMES, saved_value
from flambeau.record import flush
from flambeau.record.segment import Segment
from flambeau.record.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Node", "node_of"]


class Node:
    """A step of the history of a tensor; ``next_functions`` are the steps before it.

    Nodes are made when they are looked at, and are the same objects for as long as somebody holds
    them. A leaf's has its tensor in ``variable``; that of a custom function the attributes of its
    ``ctx``, such as ``saved_tensors``. Those of common built-in steps show the operands and results
    that backward reads (``_saved_self``, ``_saved_result``), as long as these are there: what is
    kept is decided when a program is made.
    """

    def __init__(self, unit: Any, slot: int, label: str, variable: Any = None) -> None:
        self._unit = unit
        self._slot = slot
        self._label = label
        self._metadata: dict[Any, Any] | None = None
        if variable is not None:
            self.variable = variable
        if isinstance(unit, Trace):
            # What is flushed while this is held has its place in a segment then.
            self._anchor = anchor(unit, slot)

    def _place(self) -> tuple[Any, int]:
        """The unit and slot of the step, wherever they are by now."""
        if isinstance(self._unit, Trace) and self._unit.closed:
            self._unit, self._slot = self._anchor._hist
            del self._anchor
        return self._unit, self._slot

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_saved_") and isinstance(self.__dict__.get("_unit"), (Trace, Segment)):
            unit, slot = self._place()
            step = _step(unit, slot)
            return saved_value(self._label, unit, slot, step, name.removeprefix("_saved_"))
        ctx = getattr(self.__dict__.get("_unit"), "ctx", None)
        if ctx is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(ctx, name)

    @property
    def metadata(self) -> dict[Any, Any]:
        """Whatever somebody wants to note of the step; kept for as long as its history."""
        if self._metadata is None:
            self._metadata = {}
            unit, slot = self._place()
            if isinstance(unit, Trace):
                # Its place in a segment is for good.
                flush.flush_other(unit)
                unit, slot = self._place()
            variable = getattr(self, "variable", None)
            _held[id(unit), slot, id(variable)] = self
            if unit is None:
                variable.__dict__["_noted"] = self  # type: ignore[union-attr]
            else:
                unit.nodes = [*getattr(unit, "nodes", ()), self]
        return self._metadata

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow through the step: it would not be there otherwise."""
        return True

    def __dir__(self) -> list[str]:
        saved = [f"_saved_{name}" for name in NAMES.get(self._label, ())]
        return [*super().__dir__(), *saved]

    def name(self) -> str:
        """The node's name, such as ``AddBackward0``."""
        return self._label if self._unit is not None else "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        own = "torch.autograd.function." if hasattr(self._unit, "ctx") else ""
        return f"<{own}{self._label} object at {hex(id(self))}>"

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """(node, output number) for each tensor the step read; None where it has no history."""
        if self._unit is None:
            return ()
        unit, slot = self._place()
        if isinstance(unit, engine.PyNode):
            return tuple((_at(t, h), h[1] if h and h[0] is not None else 0) for t, h in unit.inputs)
        return tuple((_before(unit, i), 0) for i in _reads(unit, slot))

    def register_prehook(self, fn: Callable[[tuple], tuple | None]) -> Any:
        """Calls ``fn((gradient,))`` before the step's backward; a tuple given back replaces it."""

        def hook(g: Any) -> Any:
            changed = fn((g,))
            return None if changed is None else changed[0]

        if self._unit is None:
            return self.variable.register_hook(hook)
        return _hang(self._hooks(), hook)

    def register_hook(self, fn: Callable[[tuple, tuple], Any]) -> Any:
        """Calls ``fn(grad_inputs, grad_outputs)`` after the step's backward.

        ``grad_inputs`` are in the order of ``next_functions``, None where there is no history; a
        tuple given back replaces them.
        """
        if self._unit is None:
            seen: list[Any] = []
            first = self.variable.register_hook(lambda g: seen.append(g))
            then = self.variable.register_post_accumulate_grad_hook(lambda t: fn((), (seen.pop(),)))
            return _Both(first, then)
        unit, slot = self._place()
        if isinstance(unit, engine.PyNode):
            if unit.post_hooks is None:
                unit.post_hooks = []
            return _hang(unit.post_hooks, fn)
        return _hang(self._hooks(), StepHook(fn, tuple(_reads(unit, slot))))

    def _hooks(self) -> list:
        unit, slot = self._place()
        if unit.hooks is None:
            unit.hooks = {}
        return unit.hooks.setdefault(slot, [])


def _hang(hooks: list, hook: Any) -> _Handle:
    hooks.append(hook)
    return _Handle(hooks, hook)


class _Handle:
    """Takes a hook out of a list."""

    def __init__(self, hooks: list, hook: Any) -> None:
        self.hooks, self.hook = hooks, hook

    def remove(self) -> None:
        """Takes the hook away; a second time does nothing."""
        if self.hook in self.hooks:
            self.hooks.remove(self.hook)

    def __enter__(self) -> _Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class _Both:
    """Takes several hooks away."""

    def __init__(self, *handles: Any) -> None:
        self.handles = handles

    def remove(self) -> None:
        """Takes the hooks away."""
        for h in self.handles:
            h.remove()


def _step(unit: Any, slot: int) -> Any:
    """The edge of a path that made a slot."""
    for step in unit.node.path():
        if any(slot in e.outputs for e in step.entries):
            return step
    return None


def _reads(unit: Any, slot: int) -> list[int]:
    """The slots of the tensors that the step of a slot read, each once, in order."""
    step = _step(unit, slot)
    made: set[int] = set()
    read: list[int] = []
    for e in () if step is None else step.entries:
        for i, a in zip(e.inputs, e.in_avals, strict=True):
            if type(i) is int and i not in made and i not in read and a.dtype is not None:
                read.append(i)
        made.update(e.outputs)
    return read


def _before(unit: Any, slot: int) -> Node | None:
    """The node of a slot that a step read."""
    if slot < 0:
        t = unit.inputs[-1 - slot]
        return None if t is None else _at(t, engine.origin(unit, -1 - slot))
    step = _step(unit, slot)
    if step is None or not any(e.grad for e in step.entries):
        return None
    return _made(unit, slot, _label(unit, slot))


def _label(unit: Any, slot: int) -> str:
    """The ``grad_fn`` name of a slot: its call's, or (in a backward) its primitive's."""
    step = _step(unit, slot)
    if step is None:
        return "UnknownBackward0"
    if step.name != "backward":
        return step.name
    prim = next(e.prim for e in step.entries if slot in e.outputs)
    return prim.name.capitalize() + "Backward0"


_classes: dict[str, type] = {}
# The nodes that somebody holds, by unit, slot and leaf: whoever walks a graph compares them.
_held: weakref.WeakValueDictionary[tuple, Node] = weakref.WeakValueDictionary()


def _made(unit: Any, slot: int, label: str, variable: Any = None) -> Node:
    key = (id(unit), slot, id(variable))
    found = _held.get(key)
    if found is not None and found._unit is unit and found._slot == slot:
        return found
    kind = _classes.get(label)
    if kind is None:
        kind = _classes[label] = type(label, (Node,), {})
    found = _held[key] = kind(unit, slot, label, variable)
    return found


def _at(t: Any, history: tuple[Any, int] | None) -> Node | None:
    if history is None:
        return None
    unit, slot = history
    if unit is None:
        return _made(None, 0, "AccumulateGrad", t) if t._meta.requires_grad else None
    if isinstance(unit, engine.PyNode):
        return _made(unit, 0, unit.name)
    return _made(unit, slot, _label(unit, slot))


def node_of(t: Any) -> Node | None:
    """The node that made a tensor."""
    return _at(t, engine.place_of(t))
