"""Which primitives the samples record: run as a program, it prints those that none records but
which are not named as its arguments.

A process of its own, since a path that was recorded before is not recorded again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import flambeau
from flambeau.ir.primitive import PRIMITIVES
from flambeau.run.program import Program
from generated import distributions, functions, kinds, layers, optimizers
from generated.samples import Sample, tables


def runs() -> dict[str, Callable[[Sample], Any]]:
    """What runs a sample, by the kind of its name."""
    return {
        "function": lambda sample: functions.run(flambeau, sample, again=True),
        "layer": lambda sample: layers.run(flambeau, sample),
        "optimizer": lambda sample: optimizers.run(flambeau, sample),
        "distribution": lambda sample: distributions.run(flambeau, sample),
    }


def unrecorded(known: Sequence[str]) -> set[str]:
    """The names of the primitives that are in no program of a sample."""
    left = set(PRIMITIVES) - set(known)
    made = Program.__init__

    def noting(self: Program, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        left.difference_update(e.prim.name for e in self.entries)

    Program.__init__ = noting  # type: ignore[method-assign]
    # A first sample of every name records most.
    every = [(at, s) for found in tables().values() for at, s in enumerate(found)]
    for _, sample in sorted(every, key=itemgetter(0)):
        run = runs().get(kinds.kind(sample.name))
        if run is not None and not sample.refused:
            run(sample)
        if not left:
            break
    Program.__init__ = made  # type: ignore[method-assign]
    return left


if __name__ == "__main__":
    print("\n".join(sorted(unrecorded(sys.argv[1:]))))
