"""Times of both sides alternately in one process; counts of what the recorder did."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from flambeau.bench.workloads import Workload

__all__ = ["QUICK", "Counts", "Effort", "Times", "alternate", "compare", "count", "warm_up"]

Step = Callable[[int], float]


@dataclass(frozen=True)
class Effort:
    """How long to measure: ``steps`` or ``seconds`` a side, whichever is first; a turn takes
    ``turn`` seconds.
    """

    steps: int = 2000
    seconds: float = 5.0
    warm_up: float = 2.0
    turn: float = 0.1


QUICK = Effort(steps=200, seconds=0.4, warm_up=0.2, turn=0.02)


@dataclass
class Times:
    """Milliseconds of one side's steps."""

    median: float
    mean: float
    p99: float
    steps: int

    @classmethod
    def of(cls, seconds: list[float]) -> Times:
        """
        >>> Times.of([0.001, 0.002, 0.003])
        Times(median=2.0, mean=2.0, p99=3.0, steps=3)
        """
        ordered = sorted(1e3 * s for s in seconds)
        return cls(
            median=statistics.median(ordered),
            mean=statistics.fmean(ordered),
            p99=ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
            steps=len(ordered),
        )


@dataclass
class Counts:
    """What one step did in steady state, the mean over an epoch."""

    programs: float
    flushes: float
    misses: float

    def __str__(self) -> str:
        return ", ".join(f"{v:.3g}" for v in asdict(self).values())


@dataclass
class Side:
    """A workload under one library: where it is and what its steps took."""

    step: Step
    position: int = 0
    seconds: list[float] = field(default_factory=list)

    def advance(self) -> float:
        loss = self.step(self.position)
        self.position += 1
        return loss


def compare(steps: Mapping[str, Step], reference: str, number: int) -> dict[str, float]:
    """Largest difference of each side's first ``number`` losses from those of ``reference``,
    relative to their size.
    """
    losses = {name: [step(i) for i in range(number)] for name, step in steps.items()}
    expected = losses[reference]
    return {
        name: max(abs(a - b) / max(abs(b), 1e-3) for a, b in zip(found, expected, strict=True))
        for name, found in losses.items()
        if name != reference
    }


# A program is compiled once it has run some times: epochs after which all have.
SETTLED = 8


def warm_up(step: Step, first: int, workload: Workload, effort: Effort) -> int:
    """Steps until each shape of batch was seen often enough to be compiled, one whole epoch and
    ``effort.warm_up`` seconds have gone by. Returns the next position.
    """
    start = time.perf_counter()
    for _ in range(SETTLED):
        step(0)
        step(workload.batches - 1)
    position = first
    while position < first + workload.batches or time.perf_counter() - start < effort.warm_up:
        step(position)
        position += 1
    return position


def alternate(
    steps: Mapping[str, Step], workload: Workload, effort: Effort, first: int = 0
) -> dict[str, Times]:
    """Times of all sides, which take turns of ``effort.turn`` seconds (three steps at least).

    Each turn begins with a pause and an untimed step: the threads of the side before may still
    spin, and its data fill the caches. What the untimed step leaves to run behind it is in the
    first timed one; what the last leaves is waited for.
    """
    from flambeau import cpu

    sides = {name: Side(step, first) for name, step in steps.items()}
    for side in sides.values():
        side.position = warm_up(side.step, first, workload, effort)
    clock = time.perf_counter
    while any(
        len(side.seconds) < effort.steps and sum(side.seconds) < effort.seconds
        for side in sides.values()
    ):
        for side in sides.values():
            if len(side.seconds) >= effort.steps or sum(side.seconds) >= effort.seconds:
                continue
            time.sleep(0.005)
            side.advance()
            began, timed = clock(), len(side.seconds)
            while len(side.seconds) < effort.steps:
                start = clock()
                side.advance()
                end = clock()
                side.seconds.append(end - start)
                if end - began > effort.turn and len(side.seconds) - timed >= 3:
                    break
            cpu.synchronize()
    return {name: Times.of(side.seconds) for name, side in sides.items()}


def count(step: Step, first: int, number: int) -> Counts:
    """Programs run, flushes and misses a step of Flambeau's side, over ``number`` steps."""
    from flambeau.record.stats import stats

    runs = 0

    def watch(frame: Any, event: str, argument: Any) -> None:
        nonlocal runs
        # Whichever tier runs it: one that falls back on another's is still one program.
        if event == "call" and _is_program(frame) and not _is_program(frame.f_back):
            runs += 1

    flushes, misses = stats.flushes, stats.misses
    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        for i in range(first, first + number):
            step(i)
    finally:
        sys.setprofile(before)
    return Counts(
        programs=runs / number,
        flushes=(stats.flushes - flushes) / number,
        misses=(stats.misses - misses) / number,
    )


# Either tier's: ``run.program.Program``, ``run.compiler.program.Compiled``.
_PROGRAMS = ("Program.__call__", "Compiled.__call__", "Compiled.write")


def _is_program(frame: Any) -> bool:
    return frame.f_code.co_qualname in _PROGRAMS
