"""One side of one workload in a process of its own: first step, memory, and a loop to profile.

    python alone.py NAME SIDE SECONDS STEPS THREADS BATCHES    # a report in JSON

Run as a script, so that measuring PyTorch does not load Flambeau.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __package__:
    from flambeau.bench.workloads import Workload, choose, stepper
else:
    from workloads import Workload, choose, stepper  # type: ignore[import-not-found,no-redef]

__all__ = ["fresh_process", "run"]

MIB = 2**20
# Epochs after which what most steps run has been compiled.
SETTLED = 4
# A step is slow from here, in steady times: less is noise.
SLOW = 1.5


def run(workload: Workload, mod: Any, seconds: float, steps: int) -> dict[str, float]:
    """Steps until ``seconds`` or ``steps`` have gone by, but six epochs at least.

    The report is in ms and MiB: ``first`` step; ``steady``, ``mean``, ``p99`` of those after four
    epochs; ``lost``, what the slow ones before took beyond ``steady`` (compilation, first use of
    memory); ``longest`` step after the first; ``compiling``, what the compiler's thread did;
    ``waited`` and ``waits``, what the loop waited for it and how often; ``peak`` memory beyond
    that in use when the library was imported and the data made.
    """
    arrays = workload.arrays()
    before = memory_mark()
    step = stepper(workload, mod, arrays)
    times: list[float] = []
    clock = time.perf_counter
    settled = SETTLED * workload.batches
    with waiting(mod) as waits:
        begin = clock()
        while len(times) < settled + 2 * workload.batches or (
            len(times) < steps and clock() - begin < seconds
        ):
            start = clock()
            step(len(times))
            times.append(1e3 * (clock() - start))
    after = sorted(times[settled:])
    steady = statistics.median(after)
    return {
        "first": times[0],
        "steady": steady,
        "mean": statistics.fmean(after),
        "p99": after[int(0.99 * len(after))],
        "lost": sum(t - steady for t in times[:settled] if t > SLOW * steady),
        "longest": max(times[1:]),
        "compiling": compiling(mod),
        "waited": sum(waits),
        "waits": len(waits),
        "peak": peak_memory() - before,
        "steps": len(times),
    }


@contextlib.contextmanager
def waiting(mod: Any) -> Iterator[list[float]]:
    """The milliseconds of each wait of this thread for Flambeau's compiler meanwhile."""
    waits: list[float] = []
    if mod.__name__ != "flambeau":
        yield waits
        return
    from flambeau.run.compiler.code import Ticket

    loop, original = threading.current_thread(), Ticket.wait

    def wait(ticket: Ticket) -> Any:
        if ticket.done() or threading.current_thread() is not loop:
            return original(ticket)
        start = time.perf_counter()
        try:
            return original(ticket)
        finally:
            waits.append(1e3 * (time.perf_counter() - start))

    Ticket.wait = wait
    try:
        yield waits
    finally:
        Ticket.wait = original


def compiling(mod: Any) -> float:
    """Milliseconds that Flambeau's compiler has worked in this process."""
    if mod.__name__ != "flambeau":
        return 0.0
    from flambeau.run.compiler.code import stats

    return 1e3 * (stats.compile_seconds + stats.load_seconds)


def memory_mark() -> float:
    """MiB in use now; the peak is counted from here where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return peak_memory()


def peak_memory() -> float:
    """Most MiB that the process ever used, or since ``memory_mark``."""
    try:
        return _status("VmHWM")
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / MIB
    raise OSError(f"/proc/self/status has no {field}")


def fresh_process(
    workload: Workload, side: str, seconds: float, steps: int, threads: int, cache: Path | None
) -> dict[str, float]:
    """The report of ``run`` from a new process, with ``cache`` as ``FLAMBEAU_CACHE``.

    Raises: ``RuntimeError`` with what the process wrote, if it fails.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if cache is not None:
        environment["FLAMBEAU_CACHE"] = str(cache)
    command = [
        sys.executable, __file__, workload.name, side,
        *map(str, (seconds, steps, threads, workload.batches)),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{side} on {workload.name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str]) -> None:
    name, side, seconds, steps, threads, batches = arguments
    mod = importlib.import_module(side)
    mod.set_num_threads(int(threads))
    workload = choose([name])[0].shortened(int(batches))
    print(json.dumps(run(workload, mod, float(seconds), int(steps))))


if __name__ == "__main__":
    main(sys.argv[1:])
