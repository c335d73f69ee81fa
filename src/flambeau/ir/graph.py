"""Entries, values and graphs: primitives applied to slots, with no idea of who holds a tensor."""

from __future__ import annotations

import operator
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.dtypes import dtype
    from flambeau.ir.primitive import Primitive


class Aval:
    """The abstract value of a slot: its shape and dtype (``None`` for a run-time number)."""

    __slots__ = ("shape", "dtype")

    def __init__(self, shape: tuple[int, ...], dtype: dtype | None) -> None:
        self.shape = shape
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"{self.dtype and self.dtype.name}{list(self.shape)}"

    @property
    def ndim(self) -> int:
        return len(self.shape)


class Const:
    """A literal operand of an entry: a Python number or a small array made by a function's body."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Const({self.value!r})"


class Entry:
    """One primitive on slots. ``grad`` says whether history flows through it."""

    __slots__ = ("prim", "inputs", "outputs", "attrs", "in_avals", "out_avals", "grad")

    def __init__(
        self,
        prim: Primitive,
        inputs: tuple,
        outputs: tuple[int, ...],
        attrs: dict[str, Any],
        in_avals: tuple[Aval, ...],
        out_avals: tuple[Aval, ...],
        grad: bool,
    ) -> None:
        self.prim = prim
        self.inputs = inputs
        self.outputs = outputs
        self.attrs = attrs
        self.in_avals = in_avals
        self.out_avals = out_avals
        self.grad = grad

    def __repr__(self) -> str:
        attrs = "".join(f", {k}={v}" for k, v in self.attrs.items())
        args = ", ".join(map(str, self.inputs))
        return f"{self.outputs} = {self.prim.name}({args}{attrs})"


class _Recorders(threading.local):
    """The recorder that operators on ``Var`` write to, one a thread."""

    current: Any = None


recorders = _Recorders()

# Slots of run-time numbers lie below this, slots of inputs between it and zero.
NUMBERS = -1_000_000_000


class Var:
    """A value while a gradient rule runs: a slot that is written with operators."""

    __slots__ = ("slot", "aval")

    def __init__(self, slot: int | Const, aval: Aval) -> None:
        self.slot = slot
        self.aval = aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> dtype | None:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return len(self.aval.shape)

    def __repr__(self) -> str:
        return f"Var({self.slot}: {self.aval})"

    def __add__(self, other: Any) -> Var:
        return _binary("add", self, other)

    def __radd__(self, other: Any) -> Var:
        return _binary("add", other, self)

    def __sub__(self, other: Any) -> Var:
        return _binary("sub", self, other)

    def __rsub__(self, other: Any) -> Var:
        return _binary("sub", other, self)

    def __mul__(self, other: Any) -> Var:
        return _binary("mul", self, other)

    def __rmul__(self, other: Any) -> Var:
        return _binary("mul", self, other)

    def __truediv__(self, other: Any) -> Var:
        return _binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Var:
        return _binary("div", other, self)

    def __neg__(self) -> Var:
        return _prim("neg")(self)

    def __pow__(self, other: Any) -> Var:
        return _binary("pow", self, other)

    def __lt__(self, other: Any) -> Var:
        return _prim("lt")(self, other)

    def __le__(self, other: Any) -> Var:
        return _prim("le")(self, other)

    def __gt__(self, other: Any) -> Var:
        return _prim("gt")(self, other)

    def __ge__(self, other: Any) -> Var:
        return _prim("ge")(self, other)


_ON_NUMBERS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
}


def _binary(name: str, a: Any, b: Any) -> Var:
    """Arithmetic of values; of run-time numbers alone it stays arithmetic of Python's."""
    if all(not isinstance(x, Var) or x.dtype is None for x in (a, b)):
        return _prim("number")(a, b, op=_ON_NUMBERS[name])
    return _prim(name)(a, b)


def _prim(name: str) -> Primitive:
    from flambeau.ir.primitive import PRIMITIVES

    return PRIMITIVES[name]


@dataclass
class Graph:
    """A list of entries under construction; the plainest recorder."""

    entries: list[Entry] = field(default_factory=list)
    next_slot: int = 0
    # Whether entries made here carry history themselves (second derivatives).
    grad: bool = False

    def emit(self, prim: Primitive, args: Sequence[Any], attrs: dict[str, Any]) -> tuple[Var, ...]:
        """Appends ``prim`` applied to ``Var``s and numbers; its results."""
        inputs, avals = [], []
        for a in args:
            if isinstance(a, Var):
                inputs.append(a.slot)
                avals.append(a.aval)
            else:
                inputs.append(Const(a))
                avals.append(Aval((), None))
        out = prim.rule(*avals, **attrs)
        outs = out if type(out) is tuple else (out,)
        slots = tuple(range(self.next_slot, self.next_slot + len(outs)))
        self.next_slot += len(outs)
        entry = Entry(prim, tuple(inputs), slots, attrs, tuple(avals), outs, self.grad)
        self.entries.append(entry)
        return tuple(Var(s, a) for s, a in zip(slots, outs, strict=True))
