"""``flambeau bench``: training loops under PyTorch and Flambeau, alternately in one process."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flambeau.bench import alone, measure, peers, table
from flambeau.bench.workloads import Workload, choose, stepper
from flambeau.utils.extras import require

__all__ = ["Options", "bench", "measure_one", "profile"]

# The losses of both sides over so many first steps are compared.
COMPARED = 10


@dataclass(frozen=True)
class Options:
    """What to measure, and for how long; ``flambeau bench --help`` says what each means."""

    only: tuple[str, ...] = ()
    steps: int | None = None
    seconds: float | None = None
    threads: int = 2
    peers: bool = False
    quick: bool = False
    starts: bool = True
    json: Path | None = None

    def effort(self) -> measure.Effort:
        """A limit that is given alone is the only one."""
        base = measure.QUICK if self.quick else measure.Effort()
        if self.steps is None and self.seconds is None:
            return base
        return measure.Effort(
            steps=self.steps if self.steps is not None else sys.maxsize,
            seconds=self.seconds if self.seconds is not None else float("inf"),
            warm_up=base.warm_up,
            turn=base.turn,
        )


def bench(options: Options, write: Callable[[str], object] = print) -> list[dict[str, Any]]:
    """Measures all chosen workloads and writes the tables, row by row.

    Raises: ``MissingExtraError`` without PyTorch, ``ValueError`` for a workload that is none.
    """
    workloads = choose(list(options.only))
    torch = require("torch", "test", "flambeau bench")
    import flambeau

    for mod in (torch, flambeau):
        mod.set_num_threads(options.threads)
    rivals = peers.present() if options.peers else {}
    begin = [*environment(torch, options), *busy()]
    for line in begin:
        write(line)
    write("")
    head, row = table.speed(list(rivals))
    for line in head:
        write(line)
    results = []
    for workload in workloads:
        result = measure_one(workload, torch, flambeau, options, rivals)
        write(row(result))
        results.append(result)
    write("")
    if options.starts:
        for line in table.starts(results):
            write(line)
        write("")
    for line in table.summary(results, list(rivals)):
        write(line)
    for line in doubts(results):
        write(line)
    if options.peers:
        for name, reason in peers.absent().items():
            write(f"{name} was not measured: {reason}")
    if options.json is not None:
        report = {"environment": begin, "results": results}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return results


def measure_one(
    workload: Workload,
    torch: Any,
    flambeau: Any,
    options: Options,
    rivals: dict[str, peers.Peer] | None = None,
) -> dict[str, Any]:
    """Everything about one workload, as plain data."""
    if options.quick:
        workload = workload.shortened(6)
    effort = options.effort()
    arrays = workload.arrays()
    steps = {
        "torch": stepper(workload, torch, arrays),
        "flambeau": stepper(workload, flambeau, arrays),
    }
    difference = measure.compare(steps, "torch", COMPARED)["flambeau"]
    skipped: dict[str, str] = {}
    for name, peer in (rivals or {}).items():
        step = peer(workload, arrays)
        if isinstance(step, str):
            skipped[name] = step
        else:
            steps[name] = step
    times = measure.alternate(steps, workload, effort, COMPARED)
    counts = measure.count(steps["flambeau"], 0, workload.batches)
    result = {
        "name": workload.name,
        "title": workload.title,
        "target": workload.target,
        "tolerance": workload.tolerance,
        "times": {name: asdict(t) for name, t in times.items()},
        "ratio": times["torch"].median / times["flambeau"].median,
        "difference": difference,
        "counts": asdict(counts),
        "skipped": skipped,
    }
    if options.starts:
        result["starts"] = measure_starts(workload, options)
    return result


def measure_starts(workload: Workload, options: Options) -> dict[str, dict[str, float]]:
    """First steps and memory of both sides, medians over fresh processes: PyTorch, Flambeau with
    an empty cache of kernels (``cold``), and again with what that process left (``warm``).
    """
    repeats, seconds, batches = (1, 0.0, 2) if options.quick else (3, 1.0, 12)
    workload = workload.shortened(batches)
    runs: dict[str, list[dict[str, float]]] = {"torch": [], "cold": [], "warm": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            for kind, found in runs.items():
                side = "torch" if kind == "torch" else "flambeau"
                found.append(
                    alone.fresh_process(
                        workload, side, seconds, 10**9, options.threads, Path(folder)
                    )
                )
    return {
        kind: {key: statistics.median(r[key] for r in found) for key in found[0]}
        for kind, found in runs.items()
    }


def profile(side: str, options: Options, write: Callable[[str], object] = print) -> None:
    """One side of the chosen workloads alone, in this process: a loop to hang a profiler on.

    ``side`` is "torch" or "flambeau"; the other is not imported.
    """
    mod = require(side, "test", f"flambeau bench --side {side}")
    mod.set_num_threads(options.threads)
    effort = options.effort()
    for workload in choose(list(options.only)):
        report = alone.run(workload, mod, effort.seconds, effort.steps)
        write(table.one_side(workload.name, report))


# Other programs' share of the processors from which times mean little.
BUSY = 0.5


def busy() -> list[str]:
    """A warning if other programs had the processors a moment ago."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load < BUSY:
        return []
    return [f"Before this run the load was {load:.1f}: other programs disturb the times."]


def doubts(results: Sequence[dict[str, Any]]) -> list[str]:
    """Why some figures may not mean what they seem to."""
    return [
        f"The losses of {r['name']} differ by {r['difference']:.1e} (relative) within the first "
        f"{COMPARED} steps: not the same computation"
        for r in results
        if not r["difference"] <= r["tolerance"]
    ]


def environment(torch: Any, options: Options) -> list[str]:
    """What was measured, on what."""
    from flambeau import version
    from flambeau.doctor import report

    facts = dict(line.split(maxsplit=1) for line in report().splitlines())
    return [
        f"Flambeau {version.flambeau} (tier {os.environ.get('FLAMBEAU_TIER', 'auto')}), "
        f"PyTorch {torch.__version__}, Python {platform.python_version()}, {facts['processor']}, "
        f"{options.threads} threads. Median milliseconds a training step; the ratio is "
        "PyTorch / Flambeau, above 1 is faster.",
    ]
