"""Small native programs for tests of the compiler's runtime, and processes to run them in."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from flambeau.run.compiler import code, launch, store, threads, threads_kernels
from flambeau.run.compiler.emit import Function, Kernel

LONG = 40_000_000


def adder(amount: float = 0.0) -> Kernel:
    """p0[i] = p1[i] + p2[i] + amount, float32."""
    f = Function("NAME", "ptr %p, i64 %begin, i64 %end, ptr %scratch")
    out, a, b = (f.pointer(i) for i in range(3))
    with f.loop("%begin", "%end") as loop:
        x, y = (f.load("float", f.element(p, "float", loop.index), 4) for p in (a, b))
        total = f.value(f"fadd float {f.value(f'fadd float {x}, {y}')}, {float(amount)}")
        f.store("float", total, f.element(out, "float", loop.index), 4)
    return threads_kernels.named(f.finish(), "add")


def sum_by_scratch() -> Kernel:
    """p0[i] = double(p1[0]) + int(p2[0]), each unit by way of the thread's scratch memory."""
    f = Function("NAME", "ptr %p, i64 %begin, i64 %end, ptr %scratch")
    out, real, whole = (f.pointer(i) for i in range(3))
    with f.loop("%begin", "%end") as loop:
        converted = f.value(f"sitofp i64 {f.load('i64', whole, 8)} to double")
        value = f.value(f"fadd double {f.load('double', real, 8)}, {converted}")
        # Far into the scratch memory, which would fault or clash if it were too small or shared.
        last = f.element("%scratch", "double", "511")
        f.line(f"store volatile double {value}, ptr {last}, align 64")
        back = f.value(f"load volatile double, ptr {last}, align 8")
        f.store("double", back, f.element(out, "double", loop.index), 8)
    return threads_kernels.named(f.finish(), "sum")


def counter() -> Kernel:
    """Adds 1 to p0[0] for every unit, slowly: memory is read and written each time."""
    f = Function("NAME", "ptr %p, i64 %begin, i64 %end, ptr %scratch")
    at = f.pointer(0)
    with f.loop("%begin", "%end"):
        f.value(f"atomicrmw add ptr {at}, i64 1 monotonic")
    return threads_kernels.named(f.finish(), "count")


def ones(size: int) -> np.ndarray:
    return np.ones(size, np.float32)


def addresses(*kernels: Kernel) -> list[int]:
    found = code.request(kernels).wait()
    return [found[k.name] for k in kernels]


def add_program(
    units: int, chunk: int, steps: int = 1, release: bool = False, quiet: bool = False
) -> launch.Launch:
    """Two inputs in slots 0 and 1; slot 2 is the out of the last of ``steps`` running sums."""
    (add,) = addresses(adder())
    firsts = [0] + [2] * (steps - 1)
    chain = [launch.Step(add, (2, first, 1), units, chunk, quiet=quiet) for first in firsts]
    return launch.assemble(chain, np.zeros(3, np.int64), [0, 1], [2], release=release)


def add_numbers(units: int = 4, chunk: int = 4, release: bool = False) -> launch.Launch:
    """The sum of a float and an int into every element of the out."""
    (total,) = addresses(sum_by_scratch())
    threads.ensure_scratch(4096)
    step = launch.Step(total, (0, 1, 2), units, chunk)
    numbers = [(0, launch.FLOAT, 1), (1, launch.INT, 2)]
    return launch.assemble([step], np.zeros(3, np.int64), [], [0], numbers, release)


def count_program(units: int, chunk: int, release: bool = False) -> launch.Launch:
    (count,) = addresses(counter())
    step = launch.Step(count, (0,), units, chunk)
    return launch.assemble([step], np.zeros(1, np.int64), [], [0], release=release)


@pytest.fixture
def restored_threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def not_the_users_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAMBEAU_CACHE", str(tmp_path_factory.mktemp("cache")))
        store.location.cache_clear()
        yield
        written()
    store.location.cache_clear()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache directory, which the worker writes nothing into but what the test makes."""
    written()
    monkeypatch.setenv("FLAMBEAU_CACHE", str(tmp_path / "cache"))
    store.location.cache_clear()
    yield tmp_path / "cache"
    written()
    store.location.cache_clear()


def written() -> None:
    """Waits until the compiler's thread has nothing left to do."""
    worker = code._worker
    while worker.queue or worker.later or worker.working.locked():
        time.sleep(1e-3)


def run_python(text: str, directory: Path, **environment: str) -> subprocess.CompletedProcess:
    """Runs ``text`` in a process of its own, with these helpers at hand."""
    head = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", head + textwrap.dedent(text)],
        env={**os.environ, "FLAMBEAU_CACHE": str(directory), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def check(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()
