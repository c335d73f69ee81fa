"""What the compiler of one primitive hands back: kernels to run one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flambeau.run.compiler.emit import Kernel

__all__ = ["Plan", "Stage"]


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
