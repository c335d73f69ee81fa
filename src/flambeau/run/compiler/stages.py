"""What the compiler of one primitive hands back: kernels to run one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flambeau.run.compiler.emit import Function, Kernel

__all__ = ["Emit", "Epilogue", "Plan", "Stage"]


@dataclass(frozen=True)
class Stage:
    """One kernel over ``units`` units of work, taken ``chunk`` at a time by the threads.

    ``operands`` name the addresses in the kernel's table: ``"0"``, ``"1"``... the inputs of the
    primitive, ``"out0"``, ``"out1"``... its outputs, ``"w"`` the memory that its stages share.
    """

    kernel: Kernel
    operands: tuple[str, ...]
    units: int
    chunk: int


@dataclass(frozen=True)
class Plan:
    """Stages in order, and the bytes of memory (``"w"``) they share."""

    stages: tuple[Stage, ...]
    workspace: int = 0


Emit = Callable[[int, str, tuple[str, ...], "str | None"], str]


class Begin(Protocol):
    """Begins the code of an epilogue: see `Epilogue`."""

    def __call__(self, f: Function, lanes: int = 0, lead: tuple[str, ...] = ()) -> Emit: ...


@dataclass(frozen=True)
class Epilogue:
    """What is done to the values of a result before they are stored.

    ``begin(f)`` is called where values are ready, and gives ``emit(lanes, value, at, mask)``, which
    is called for each vector: it gives the new one (of the same element type) for the place ``at``
    of the first lane, an i64 name for each axis of the result. Lanes run along the axis in which
    the result has stride 1. ``mask`` is the lanes that exist, or None where all do. Where ``begin``
    gets ``lead``, the indices that all places have in common (all but the last), what lies along
    those alone is loaded there, before any loop. Operand ``e<k>`` is the kernel's address number k.
    """

    begin: Begin
    operands: int = 0
