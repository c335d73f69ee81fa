"""``grad_fn``: the recorded history as a graph of nodes, made when it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.autograd import engine
from flambeau.errors import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Node", "node_of"]


class Node:
    """A step of the history of a tensor; ``next_functions`` are the steps before it."""

    def __init__(self, unit: Any, slot: int, label: str, variable: Any = None) -> None:
        self._unit = unit
        self._slot = slot
        self._label = label
        self.variable = variable
        self.metadata: dict[Any, Any] = {}

    def name(self) -> str:
        """The node's name, such as ``AddBackward0``."""
        return self._label if self.variable is None else "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        return f"<{self._label} object at {hex(id(self._unit) + self._slot)}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Node)
            and self._unit is other._unit
            and self._slot == other._slot
            and self.variable is other.variable
        )

    def __hash__(self) -> int:
        return hash((id(self._unit), self._slot, id(self.variable)))

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """(node, output number) for each tensor the step read; None where it has no history."""
        if self.variable is not None:
            return ()
        if isinstance(self._unit, engine.PyNode):
            return tuple((_at(t, h), 0) for t, h in self._unit.inputs)
        step = _step(self._unit, self._slot)
        if step is None:
            return ()
        made: set[int] = set()
        read: list[int] = []
        for e in step.entries:
            for i, a in zip(e.inputs, e.in_avals, strict=True):
                if type(i) is int and i not in made and i not in read and a.dtype is not None:
                    read.append(i)
            made.update(e.outputs)
        return tuple((self._before(i), 0) for i in read)

    def _before(self, slot: int) -> Node | None:
        if slot < 0:
            t = self._unit.inputs[-1 - slot]
            return None if t is None else _at(t, engine.origin(self._unit, -1 - slot))
        step = _step(self._unit, slot)
        if step is None or not any(e.grad for e in step.entries):
            return None
        return _made(self._unit, slot, step.name)

    def register_prehook(self, fn: Callable[[tuple], tuple | None]) -> Any:
        """Calls ``fn((gradient,))`` before the step's backward; a tuple given back replaces it."""

        def hook(g: Any) -> Any:
            changed = fn((g,))
            return None if changed is None else changed[0]

        if self.variable is not None:
            return self.variable.register_hook(hook)
        self._hooks().append(hook)
        return _Handle(self._hooks(), hook)

    def register_hook(self, fn: Callable[[tuple, tuple], Any]) -> Any:
        """Calls ``fn(grad_inputs, grad_outputs)`` after the step's backward.

        For leaves (after accumulation) and custom functions; the gradients inside a recorded
        program are not apart, and other nodes raise ``NotSupportedError``.
        """
        if self.variable is not None:
            seen: list[Any] = []
            first = self.variable.register_hook(lambda g: seen.append(g))
            then = self.variable.register_post_accumulate_grad_hook(lambda t: fn((), (seen.pop(),)))
            return _Both(first, then)
        if isinstance(self._unit, engine.PyNode):
            if self._unit.post_hooks is None:
                self._unit.post_hooks = []
            self._unit.post_hooks.append(fn)
            return _Handle(self._unit.post_hooks, fn)
        raise NotSupportedError(
            f"{self._label}.register_hook: the gradients of this step's inputs are not computed "
            "apart; use Tensor.register_hook on the inputs, or register_prehook"
        )

    def _hooks(self) -> list:
        if self._unit.hooks is None:
            self._unit.hooks = {}
        return self._unit.hooks.setdefault(self._slot, [])


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


def _made(unit: Any, slot: int, label: str, variable: Any = None) -> Node:
    kind = _classes.get(label)
    if kind is None:
        kind = _classes[label] = type(label, (Node,), {})
    return kind(unit, slot, label, variable)


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
    return _at(t, engine.history_of(t))
