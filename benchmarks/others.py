"""Training programs that nothing was tuned on: PyTorch and Flambeau alternating in one process.

    python benchmarks/others.py                       # all, one thread each, processor time
    python benchmarks/others.py --only gan,vae        # names that contain one of these
    python benchmarks/others.py --threads 2           # wall time

Each program is written once, as people write it, and built for both libraries from the same seed.
First its losses are compared, which gives the time of the first step, too; then both run until
Flambeau's programs are compiled; then they take turns, and the ratio of the medians is PyTorch /
Flambeau: above 1 is faster. Beside it: programs made, flushes, and calls recorded for the first
time (misses) a step while it was measured, and the primitives that have no native code.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
import torch
from others_methods import METHODS
from others_networks import NETWORKS, Step
from others_sequences import SEQUENCES

import flambeau
from flambeau.record.stats import stats
from flambeau.run.compiler import planning

PROGRAMS: dict[str, Callable[[ModuleType], Step]] = {
    f.__name__: f for f in (*NETWORKS, *SEQUENCES, *METHODS)
}
COMPARED = 12
# Steps after which every program that comes again is compiled: an epoch has at most 16 batches.
SETTLED = 80


@dataclass
class Row:
    """What was found about a program."""

    name: str
    peer: float = math.nan
    own: float = math.nan
    first: tuple[float, float] = (math.nan, math.nan)
    counts: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    difference: float = math.nan
    references: list[str] = field(default_factory=list)
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return f"| {self.name} | {self.error} |"
        made, flushes, misses = self.counts
        return (
            f"| {self.name} | {self.peer:.3f} | {self.own:.3f} | {self.peer / self.own:.2f} "
            f"| {made:.2g}, {flushes:.3g}, {misses:.3g} "
            f"| {1e3 * self.first[0]:.0f}, {1e3 * self.first[1]:.0f} "
            f"| {self.difference:.1g} | {', '.join(self.references)} |"
        )


HEADER = """\
| program | PyTorch ms | Flambeau ms | ratio | programs made, flushes, misses a step \
| first step ms | losses differ by | not native |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


class Watched(planning.Draft):
    """Notes what programs have that is not native."""

    found: list[str] = []

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        for name, why in self.low.host_reasons:
            text = name if not why else f"{name} ({why})"
            if text not in Watched.found:
                Watched.found.append(text)


def measure(name: str, seconds: float, threads: int) -> Row:
    """One row of the table."""
    row = Row(name)
    clock = time.process_time if threads == 1 else time.perf_counter
    Watched.found = []
    steps: dict[str, Step] = {}
    losses: dict[str, list[float]] = {}
    for mod in (torch, flambeau):
        mod.manual_seed(0)
        step = steps[mod.__name__] = PROGRAMS[name](mod)
        start = clock()
        losses[mod.__name__] = [step(0)]
        row.first = (row.first[1], clock() - start)
        losses[mod.__name__] += [step(i) for i in range(1, COMPARED)]
    expected = losses["torch"]
    row.difference = max(
        abs(a - b) / max(abs(b), 1e-3) for a, b in zip(losses["flambeau"], expected, strict=True)
    )
    position = {"torch": COMPARED, "flambeau": COMPARED}
    found: dict[str, list[float]] = {"torch": [], "flambeau": []}

    def turn(side: str, least: int) -> None:
        began, n = time.perf_counter(), 0
        while n < least or time.perf_counter() - began < 0.03:
            start = clock()
            steps[side](position[side])
            found[side].append(clock() - start)
            position[side] += 1
            n += 1
        flambeau.cpu.synchronize()

    turn("flambeau", SETTLED)
    turn("torch", 3)
    for side in found:
        found[side].clear()
    references = list(Watched.found)
    before, began = (stats.programs, stats.flushes, stats.misses), position["flambeau"]
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(found["flambeau"]) < 16:
        turn("torch", 2)
        turn("flambeau", 2)
    n = position["flambeau"] - began
    now = (stats.programs, stats.flushes, stats.misses)
    row.counts = tuple((b - a) / n for a, b in zip(before, now, strict=True))  # type: ignore
    row.peer = 1e3 * statistics.median(found["torch"])
    row.own = 1e3 * statistics.median(found["flambeau"])
    row.references = references
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore
    parser.add_argument("--only", default="", help="comma-separated parts of names")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured, a program")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    flambeau.set_num_threads(args.threads)
    planning.Draft = Watched  # type: ignore
    wanted = [w for w in args.only.split(",") if w]
    rows = []
    print(HEADER)
    for name in PROGRAMS:
        if wanted and not any(w in name for w in wanted):
            continue
        try:
            row = measure(name, args.seconds, args.threads)
        except Exception as error:
            if os.environ.get("FLAMBEAU_DEBUG"):
                traceback.print_exc()
            row = Row(name, error=f"{type(error).__name__}: {error}".replace("\n", " "))
        rows.append(row)
        print(row, flush=True)
    ratios = [r.peer / r.own for r in rows if not r.error]
    if ratios:
        mean = math.exp(float(np.mean(np.log(ratios))))
        print(f"\nGeometric mean {mean:.2f} of {len(ratios)}; slowest {min(ratios):.2f}.")
    sys.exit(any(r.error for r in rows))


if __name__ == "__main__":
    main()
