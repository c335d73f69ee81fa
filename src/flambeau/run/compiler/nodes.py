"""What a program is between primitives and kernels: nodes on buffers, read through views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.views import View

__all__ = ["Literal", "Node", "Number", "Operand", "Ref"]


class Ref(NamedTuple):
    """A buffer, read through a view."""

    slot: int
    view: View


class Number(NamedTuple):
    """A run-time number: its place in the program's list; ``kind`` f (float64) or i (int64)."""

    index: int
    kind: str


class Literal(NamedTuple):
    """A number known when the program is made."""

    value: Any


Operand = Ref | Number | Literal


class Node:
    """One computation that writes one buffer (or, for ``stages`` and ``host``, several).

    ``kind``: ``map`` applies ``op`` element by element; ``reduce`` combines over ``dims`` of its
    operand; ``guard`` notes a fault where its operand is true; ``stages`` are kernels of their own
    (products, convolutions); ``host`` calls a primitive's reference.

    ``compute`` is the element type that operands are converted to, ``result`` that of the value.
    A ``map`` may write to a part of a larger buffer: ``target`` is then a view of that.
    """

    __slots__ = (
        "kind", "op", "operands", "attrs", "shape", "compute", "result", "slot", "dims", "target",
        "slots", "entry", "plan", "after",
    )  # fmt: skip

    def __init__(
        self,
        kind: str,
        op: str,
        operands: list[Any],
        shape: tuple[int, ...],
        compute: Element | None,
        result: Element | None,
        slot: int,
        attrs: dict[str, Any] | None = None,
        dims: tuple[int, ...] = (),
        target: View | None = None,
    ) -> None:
        self.kind = kind
        self.op = op
        self.operands = operands
        self.shape = shape
        self.compute = compute
        self.result = result
        self.slot = slot
        self.attrs = attrs or {}
        self.dims = dims
        self.target = target
        self.slots: tuple[int, ...] = (slot,)
        self.entry: Any = None
        self.plan: Any = None
        # Slots whose earlier writers must have run.
        self.after: tuple[int, ...] = ()

    @property
    def faults(self) -> bool:
        """Whether it may refuse values: then nothing of the inputs is written before it ran."""
        return self.kind in ("guard", "host") or "faults" in self.attrs

    def __repr__(self) -> str:
        read = ", ".join(
            f"{o.slot}" if o.__class__.__name__ == "Ref" else f"{o[0]}" for o in self.operands
        )
        return f"{self.slot} = {self.op}({read}){list(self.shape)}"
