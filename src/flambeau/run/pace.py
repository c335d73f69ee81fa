"""How long work takes by count: so that a script's runs decide alike, however fast they were.

A program is worth waiting for when interpreting it would lose more. Both are estimated from what
programs compute, never measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.flops import flops, products
from flambeau.run import counters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.program import Compiled

__all__ = [
    "LONG",
    "LOSS",
    "PATIENCE",
    "RARE",
    "Rounds",
    "interpreting",
    "is_large",
    "noted",
    "now",
    "rounds",
    "work",
]

# Nanoseconds of a native step: Python's part, and what many operations take at most speed.
STEP, NATIVE_SPEED = 50_000, 200
# The interpreter's: a call of NumPy, and floating-point operations a nanosecond.
CALL, INTERPRETER_SPEED = 5_000, 10
# A program that differs in shapes from a native one goes on interpreted for as long as its few own
# kernels may take to compile, but not until more than this is lost (nanoseconds).
PATIENCE, LOSS = 200_000_000, 80_000_000
# A heavy one does so once, unless that takes longer than compiling may.
LONG = 1_000_000_000
# It does so if there are this many runs of others to each of its own.
RARE = 3
# What share of a program's products must have been run, and how many are remembered.
MOST, PARTS = 0.9, 1 << 12

# Inputs of no more elements are small.
SMALL = 1 << 12


def is_large(inputs: Sequence[Any]) -> bool:
    """Whether an input has so many elements that work on it may be heavy."""
    return any([a.__class__ is np.ndarray and a.size > SMALL for a in inputs])


def work(entries: Sequence[Entry]) -> int:
    """Floating-point operations of a program."""
    return sum(map(flops, entries))


def interpreting(operations: int, calls: int) -> int:
    """Nanoseconds that the interpreter takes for so many operations in so many primitives."""
    return operations // INTERPRETER_SPEED + CALL * calls


def noted(native: Compiled, operations: int) -> None:
    """From now on its runs count."""
    if native.runs:
        counters.weigh(native.runs[-1].done, STEP + operations // NATIVE_SPEED)


def now() -> tuple[int, int]:
    """How many native runs there were, and the nanoseconds they took by count; with no tail."""
    return counters.total()


class Rounds:
    """Finds programs that do again most of what others did: the next round of a loop.

    A training loop's second step differs from its first where an optimizer has begun to keep
    state, and the first may have been several programs.
    """

    def __init__(self) -> None:
        # Products and convolutions, with their sizes, that were run.
        self.met: set[int] = set()
        # Of the last program found so: the word that counts its runs.
        self.runs: np.ndarray | None = None

    def again(self, entries: Sequence[Entry]) -> bool:
        """Whether a program is one: not if the last one that was did not come again itself."""
        total = known = 0
        parts = []
        for e in entries:
            operations = products(e)
            if operations:
                shapes = tuple([a.shape for a in (*e.in_avals, *e.out_avals)])
                part = hash((e.prim, shapes))
                parts.append(part)
                total += operations
                known += operations if part in self.met else 0
        if len(self.met) > PARTS:
            self.met.clear()
        self.met.update(parts)
        if total == 0 or known < MOST * total or (self.runs is not None and self.runs[0] < 2):
            return False
        self.runs = np.zeros(1, np.int64)
        return True

    def take(self, native: Compiled) -> None:
        """The native code of the last one."""
        if native.runs:
            self.runs = native.runs[-1].done


rounds = Rounds()
