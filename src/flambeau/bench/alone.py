"""One side of one workload in a process of its own: first step, memory, and a loop to profile.

    python alone.py NAME SIDE SECONDS STEPS THREADS BATCHES    # a report in JSON

Run as a script, so that measuring PyTorch does not load Flambeau.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if __package__:
    from flambeau.bench.workloads import Workload, choose, stepper
else:
    from workloads import Workload, choose, stepper  # type: ignore[import-not-found,no-redef]

__all__ = ["fresh_process", "run"]

MIB = 2**20
# A step is slow from here, in steady times: less is noise.
SLOW = 1.5


def run(workload: Workload, mod: Any, seconds: float, steps: int) -> dict[str, float]:
    """Steps until ``seconds`` or ``steps`` have gone by, but two epochs at least.

    The report is in ms and MiB: ``first`` step, ``steady`` (median of the second half), ``mean``
    and ``p99`` of that half, ``lost`` (what the slow steps of the first half took beyond the
    steady time: compilation, first use of memory), ``longest`` step after the first, ``peak``
    memory beyond that in use when the library was imported and the data made.
    """
    arrays = workload.arrays()
    before = memory_mark()
    step = stepper(workload, mod, arrays)
    times: list[float] = []
    clock = time.perf_counter
    begin = clock()
    while len(times) < 2 * workload.batches or (len(times) < steps and clock() - begin < seconds):
        start = clock()
        step(len(times))
        times.append(1e3 * (clock() - start))
    half = sorted(times[len(times) // 2 :])
    steady = statistics.median(half)
    return {
        "first": times[0],
        "steady": steady,
        "mean": statistics.fmean(half),
        "p99": half[int(0.99 * len(half))],
        "lost": sum(t - steady for t in times[: len(times) // 2] if t > SLOW * steady),
        "longest": max(times[1:]),
        "peak": peak_memory() - before,
        "steps": len(times),
    }


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
