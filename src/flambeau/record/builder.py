"""What happens the first time a call is seen on a path: its body runs and leaves entries."""

from __future__ import annotations

import operator
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.graph import NUMBERS, Aval, Const, Entry, Var, recorders
from flambeau.ir.primitive import PRIMITIVES, primitive
from flambeau.ir.scalars import bounds
from flambeau.record.meta import inherited, meta
from flambeau.record.storage import Handle, contiguous_strides
from flambeau.record.trace import Node, Trace, open_, trie

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.ir.primitive import Primitive

NUMBER = Aval((), None)
# What a primitive may be applied to besides tensors and run-time numbers.
_CONSTANTS = (int, float, complex, np.ndarray, np.generic)

# Namespace that the generated wrappers share; ``Tensor`` is set when its class exists.
shared: dict[str, Any] = {"Handle": Handle, "TENSORS": set()}
_new = object.__new__

tensor_class: list[type] = [Handle]


def register(tensor: type) -> None:
    """Tells record the class of tensors."""
    tensor_class[0] = tensor
    shared["Tensor"] = tensor
    shared["TENSORS"].add(tensor)


def new_tensor(tr: Trace, slot: int, m: Any) -> Any:
    """A tensor pending on ``slot``."""
    t = _new(shared["Tensor"])
    t._trace = tr
    t._slot = slot
    t._meta = m
    return t


class Specialise(Exception):
    """A body asked a run-time number for its value: it must become an attribute."""

    def __init__(self, number: Num) -> None:
        self.number = number


number_op = primitive(
    "number",
    "arithmetic on run-time numbers",
    rule=lambda *xs, op: NUMBER,
    reference=lambda *xs, op: op(*xs),
)


class Num:
    """A run-time number inside a body: it can be computed with, but not looked at.

    Asked for its truth, its order or its value, it raises ``Specialise``: the parameter it came
    from is an attribute from then on.
    """

    __slots__ = ("slot", "type", "origin", "value")

    def __init__(self, slot: int, kind: type, origin: tuple, value: Any) -> None:
        self.slot = slot
        self.type = kind
        self.origin = origin
        self.value = value

    def _make(self, op: Callable, *args: Any) -> Num:
        operands = [a for a in args if isinstance(a, Num)]
        # The value is carried along only to learn the result's type.
        value = op(*[a.value if isinstance(a, Num) else a for a in args])
        slots = tuple(a.slot if isinstance(a, Num) else Const(a) for a in args)
        builder = open_.trace.builder
        out = builder.append(number_op, slots, (NUMBER,) * len(args), {"op": op}, (NUMBER,), False)
        origin = tuple(o for n in operands for o in n.origin)
        return Num(out[0], type(value), origin, value)

    def __add__(self, other: Any) -> Any:
        return self._arithmetic(operator.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return self._arithmetic(operator.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return self._arithmetic(operator.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._arithmetic(operator.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return self._arithmetic(operator.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return self._arithmetic(operator.mul, other, self)

    def __truediv__(self, other: Any) -> Any:
        return self._arithmetic(operator.truediv, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._arithmetic(operator.truediv, other, self)

    def __pow__(self, other: Any) -> Any:
        return self._arithmetic(operator.pow, self, other)

    def __rpow__(self, other: Any) -> Any:
        return self._arithmetic(operator.pow, other, self)

    def __neg__(self) -> Num:
        return self._make(operator.neg, self)

    def _arithmetic(self, op: Callable, a: Any, b: Any) -> Any:
        if isinstance(a, (Num, int, float, complex)) and isinstance(b, (Num, int, float, complex)):
            return self._make(op, a, b)
        return NotImplemented

    def __repr__(self) -> str:
        # For error messages, which no path remembers.
        return repr(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def _look(self, *args: Any) -> Any:
        raise Specialise(self)

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _look  # type: ignore[assignment]
    __int__ = __float__ = __index__ = __hash__ = __abs__ = __round__ = _look  # type: ignore[assignment]
    __complex__ = __floordiv__ = __mod__ = __trunc__ = __floor__ = __ceil__ = _look


def is_leaf(t: Any) -> bool:
    """Whether gradients are accumulated for ``t``."""
    return t._meta.leaf and t._meta.requires_grad


def check_writable(t: Any) -> None:
    """Refuses writes that would lose a gradient, as PyTorch does."""
    if not open_.state.grad:
        return
    if is_leaf(t):
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation."
        )
    origin = t
    while origin._base is not None:
        origin = origin._base
    if is_leaf(origin):
        what = "a view of a leaf Variable"
        raise RuntimeError(f"{what} that requires grad is being used in an in-place operation.")


class Builder:
    """The edge under construction while a body runs."""

    def __init__(self, tr: Trace) -> None:
        self.trace = tr
        self.node = tr.node
        self.entries: list[Entry] = []
        self.next_slot = tr.node.n_slots
        self.grad = open_.state.grad
        # Writes to tensors: (tensor, slot, meta of the value); done when the body has ended.
        self.effects: list[tuple[Any, int, Any]] = []
        self.assigned: set[int] = set()
        self.undo: list[Callable[[], None]] = []
        self.overwritten: set[tuple[Any, int]] = set()
        self.raises = False
        # Whether gradients written here carry history themselves.
        self.history = False
        self.wholes: dict[int, tuple[Var, ...]] = {}
        self.limits: list[tuple[int, Any, Any, Any]] = []

    def append(
        self,
        prim: Primitive,
        inputs: tuple,
        in_avals: tuple[Aval, ...],
        attrs: dict[str, Any],
        out_avals: tuple[Aval, ...],
        grad: bool,
    ) -> tuple[int, ...]:
        slots = tuple(range(self.next_slot, self.next_slot + len(out_avals)))
        self.next_slot += len(out_avals)
        self.entries.append(Entry(prim, inputs, slots, attrs, in_avals, out_avals, grad))
        self.raises |= prim.raises
        return slots

    # Recorder protocol, for gradient rules.
    def emit(self, prim: Primitive, args: Sequence[Any], attrs: dict[str, Any]) -> tuple[Var, ...]:
        inputs, avals = [], []
        for a in args:
            if isinstance(a, Var):
                inputs.append(a.slot)
                avals.append(a.aval)
            else:
                inputs.append(Const(a))
                avals.append(NUMBER)
        out = prim.rule(*avals, **attrs)
        outs = out if type(out) is tuple else (out,)
        slots = self.append(prim, tuple(inputs), tuple(avals), attrs, outs, self.history)
        return tuple(Var(s, a) for s, a in zip(slots, outs, strict=True))

    def apply(self, prim: Primitive, args: Sequence[Any], attrs: dict[str, Any]) -> Any:
        """A primitive applied to tensors and numbers inside the body; its tensors."""
        inputs, avals, history = [], [], False
        for a in args:
            kind = a.__class__
            if kind is Num:
                inputs.append(a.slot)
                avals.append(NUMBER)
            elif isinstance(a, Handle):
                inputs.append(self.slot_of(a))
                avals.append(a._meta.aval)
                history |= a._meta.requires_grad
            elif isinstance(a, _CONSTANTS):
                inputs.append(Const(a))
                avals.append(NUMBER)
            else:
                # Refused by the call, not when the value is needed.
                raise TypeError(
                    f"{prim.name}(): operands must be tensors or numbers, not {kind.__name__}"
                )
        out = prim.rule(*avals, **attrs)
        outs = out if type(out) is tuple else (out,)
        history = history and self.grad and prim.differentiable
        slots = self.append(prim, tuple(inputs), tuple(avals), attrs, outs, history)
        tensors = []
        for s, a in zip(slots, outs, strict=True):
            g = history and (a.dtype.is_floating_point or a.dtype.is_complex)
            tensors.append(new_tensor(self.trace, s, meta(a.shape, a.dtype, g, not g)))
        return tensors[0] if len(tensors) == 1 else tuple(tensors)

    def slot_of(self, t: Any) -> Any:
        """Where a body finds a tensor: an argument is bound already, all else is a constant."""
        if t._trace is self.trace:
            return t._slot
        if t._btrace is self.trace and (t._storage is None or t._seen == t._storage.version):
            return t._slot
        if t._trace is not None and not t._trace.closed and t._storage is None:
            raise RuntimeError("a function's body met a pending tensor that is not its argument")
        return Const(np.array(t._array()))

    def depends(self, value: Any, t: Any) -> bool:
        """Whether gradients of ``value`` reach ``t`` by what this body has applied."""
        if not value._meta.requires_grad:
            return False
        reached = {self.slot_of(t)}
        for e in self.entries:
            if e.grad and any(
                i in reached and e.prim.gradient_of(p) is not None
                for p, i in enumerate(e.inputs)
                if type(i) is int
            ):
                reached.update(e.outputs)
        return self.slot_of(value) in reached

    def assign(self, t: Any, value: Any) -> None:
        """``t`` takes the value of ``value`` when the body has ended."""
        own = t._trace is self.trace and t._storage is None and t._slot >= self.node.n_slots
        if own and id(t) not in self.assigned:
            # Made by this body: nobody outside knows it.
            t._slot = value._slot
            if value._meta.requires_grad:
                t._meta = value._meta
            return
        self.assigned.add(id(t))
        check_writable(t)
        if self.grad and t._meta.requires_grad and not self.depends(value, t):
            # What is replaced has a gradient still, of zeros: its history ends in this write.
            shape = t._meta.shape
            how = {"shape": shape, "strides": contiguous_strides(shape)}
            value = self.apply(PRIMITIVES["write_strided"], (t, value, 0), how)
        self.effects.append((t, value._slot, value._meta))
        self.overwritten.add((self.slot_of(t), self.node.n_slots))
        old = (t._trace, t._btrace, t._slot, t._meta)

        def restore() -> None:
            t._trace, t._btrace, t._slot, t._meta = old

        # Before anything changes: an interrupt may come in between.
        self.undo.append(restore)
        t._trace, t._slot = self.trace, value._slot
        if value._meta.requires_grad and not t._meta.requires_grad:
            t._meta = meta(t._meta.shape, t._meta.dtype, True, False)

    def rollback(self) -> None:
        for restore in reversed(self.undo):
            restore()
        self.undo.clear()


def limit(number: Num, dtype: Any) -> None:
    """Inside a body: the number must be one that ``dtype`` holds, at each call of this edge."""
    if number.slot <= NUMBERS:
        entry = (NUMBERS - number.slot, *bounds(dtype), dtype)
        open_.trace.builder.limits.append(entry)


def whole(result: Any, *operands: Any) -> Any:
    """Inside a body: the gradients of ``result`` are one function of all ``operands``.

    So it is in PyTorch wherever one kernel computes them from the operands, even those that it
    does not look at: with ``create_graph`` these gradients require grad where an operand does,
    and their derivatives by it may be zero, but are there. Gives ``result`` back.
    """
    builder = open_.trace.builder
    if builder.grad:
        tied = tuple(
            Var(t._slot if t._trace is builder.trace else builder.slot_of(t), t._meta.aval)
            for t in operands
            if t is not None and t._meta.requires_grad
        )
        for t in result if isinstance(result, tuple) else (result,):
            if tied and t._meta.requires_grad:
                builder.wholes[builder.slot_of(t)] = tied
    return result


def undo_binding(tr: Trace) -> None:
    """After an error: forgets inputs and numbers that no edge took over."""
    node = tr.node
    if tr.closed:
        return
    for t in tr.inputs[node.n_inputs :]:
        t._trace = t._btrace = None
    del tr.inputs[node.n_inputs :]
    del tr.numbers[node.n_numbers :]
    if tr.snapshots:
        tr.snapshots = {i: a for i, a in tr.snapshots.items() if i < node.n_inputs}


def flatten(result: Any, found: list) -> Any:
    """The template of a call's result; tensors met go to ``found``."""
    if isinstance(result, Handle):
        found.append(result)
        return _Leaf(len(found) - 1)
    if isinstance(result, (tuple, list)):
        parts = [flatten(r, found) for r in result]
        if hasattr(result, "_fields") or hasattr(result, "_make"):
            return type(result)._make(parts)
        return type(result)(parts)
    return result


class _Leaf:
    """The place of the i-th tensor in a template."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


def fill(template: Any, tensors: Sequence[Any]) -> Any:
    """A template with its tensors in place."""
    if template.__class__ is _Leaf:
        return tensors[template.index]
    if isinstance(template, (tuple, list)):
        parts = [fill(p, tensors) for p in template]
        if hasattr(template, "_make"):
            return type(template)._make(parts)
        return type(template)(parts)
    return template


def construct(tr: Trace, make: Callable[[Builder], Any]) -> tuple[Builder, Any]:
    """Runs ``make`` while an edge is under construction; the builder, and what ``make`` gave."""
    builder = Builder(tr)
    outer, recorder = tr.special, recorders.current

    def leave() -> None:
        builder.rollback()
        recorders.current = recorder
        tr.builder, tr.special = None, outer

    try:
        try:
            recorders.current = builder
            tr.builder, tr.special = builder, True
            return builder, make(builder)
        finally:
            leave()
    finally:
        # Once more: an interrupt may have come while the first was at it.
        leave()


_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def calling() -> tuple[str, int] | None:
    """File and line of the innermost call from outside the package."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_HOME) and not name.startswith("<recorder"):
            return name, frame.f_lineno
        frame = frame.f_back
    return None


def finish(tr: Trace, builder: Builder, name: str) -> Node:
    """The node that an edge under construction leads to; ``attach`` makes it known."""
    old = tr.node
    node = Node(old, None, open_.state)
    node.entries = tuple(builder.entries)
    node.n_slots = builder.next_slot
    node.n_inputs = len(tr.inputs)
    node.n_numbers = len(tr.numbers)
    node.new_inputs = tuple(_bound_meta(t) for t in tr.inputs[old.n_inputs :])
    node.length = old.length + len(builder.entries)
    node.name = name
    node.wholes = builder.wholes
    node.limits = tuple(builder.limits)
    node.site = calling()
    if builder.raises:
        node.cut = "raises"
    if builder.overwritten:
        node.overwritten = old.overwritten | builder.overwritten
    return node


def attach(tr: Trace, key: Any, node: Node) -> Node:
    """Adds a node that is complete to the trie: others may take it from now on."""
    node.key = key
    tr.node.edges[key] = node
    trie.grown()
    return node


def _bound_meta(t: Any) -> Any:
    return t._meta


def run_body(tr: Trace, key: Any, name: str, arguments: list[Any], body: Callable) -> Any:
    """A call met for the first time on this path: runs its body, makes its edge.

    ``arguments`` are the tensors of the call, in order; those among the results and among what
    the body writes are noted by their position.
    """
    builder, (template, _, places, fresh, effects) = construct(
        tr, lambda builder: _outcome(tr, builder, name, arguments, body)
    )
    node = finish(tr, builder, name)
    node.fresh = tuple((slot, m) for slot, m, _ in fresh)
    node.effects = effects
    node.template = (template, tuple(places))
    plain = not effects and not node.limits
    node.simple = len(fresh) == 1 and plain and template.__class__ is _Leaf
    if node.simple:
        node.slot, node.meta = node.fresh[0]
    return attach(tr, key, node)


def _outcome(
    tr: Trace, builder: Builder, name: str, arguments: list[Any], body: Callable
) -> tuple[Any, list, list, list, tuple]:
    """Runs a body: its result as a template, the tensors in it, and what it wrote."""
    result = body()
    found: list[Any] = []
    template = flatten(result, found)
    places, fresh = [], []
    for i, t in enumerate(found):
        at = next((j for j, a in enumerate(arguments) if a is t), None)
        if at is None:
            # A twin, should the same tensor be given back twice.
            if any(t is u for u in found[:i]):
                t = new_tensor(tr, t._slot, t._meta)
            places.append((None, len(fresh)))
            slot = builder.slot_of(t)
            if type(slot) is Const:
                raise RuntimeError(f"{name}: gives back a tensor that it did not compute")
            fresh.append((slot, inherited(name, arguments, t._meta), t))
        else:
            places.append((at, None))
    effects = tuple(
        (next(j for j, a in enumerate(arguments) if a is t), slot, m)
        for t, slot, m in builder.effects
    )
    return template, found, places, fresh, effects
