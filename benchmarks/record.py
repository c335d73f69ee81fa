"""What recording costs beside PyTorch's eager mode, in one process, both sides alternating.

    python benchmarks/record.py            # all four, medians of several rounds
    python benchmarks/record.py --rounds 15

1. ``record``: recording 50 distinct operations in steady state through ``nn.Module.__call__``,
   liveness and the look-up of the program included, its run excluded; us an operation.
2. ``quadratic``: a whole training step of the quadratic regression (100x1, 1-10-1, SGD,
   ``loss.item()`` each step), interpreted.
3. ``never``: code that never repeats (random shapes, random branches, a backward each time).
4. ``import``: ``import flambeau`` in a fresh process.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from types import ModuleType

import torch

import flambeau


def network(mod: ModuleType) -> tuple[object, object]:
    """25 modules of two operations each, all distinct in their numbers."""
    nn = mod.nn

    class Step(nn.Module):
        def __init__(self, i: int) -> None:
            super().__init__()
            self.scale = 1.0 + i / 1000
            self.kind = i % 5

        def forward(self, x):
            if self.kind == 0:
                return mod.relu(x * self.scale)
            if self.kind == 1:
                return mod.tanh(x) + x
            if self.kind == 2:
                return mod.sigmoid(x - self.scale)
            if self.kind == 3:
                return (x + 1).abs()
            return mod.exp(-x)

    return nn.Sequential(*[Step(i) for i in range(25)]), mod.ones(8, 8)


def record_rounds(rounds: int) -> list[tuple[float, float]]:
    """(PyTorch, Flambeau) microseconds an operation."""
    theirs, x = network(torch)
    ours, y = network(flambeau)
    from flambeau.record import flush, plans

    calls = 200
    recorded = Stopwatch()
    run, commit = plans.Plan.run, flush.commit

    def timed_run(self, arrays, numbers, pending):
        recorded.stop()
        return run(self, arrays, numbers, pending)

    def timed_commit(*args):
        return commit(*args)

    results = []
    with torch.no_grad(), flambeau.no_grad():
        for _ in range(50):
            theirs(x)
            ours(y).numpy()
        plans.Plan.run, flush.commit = timed_run, timed_commit
        try:
            for _ in range(rounds):
                begin = time.perf_counter()
                for _ in range(calls):
                    theirs(x)
                eager = (time.perf_counter() - begin) / calls / 50
                recorded.total = 0.0
                for _ in range(calls):
                    recorded.start()
                    out = ours(y)
                    out._value()
                results.append((eager * 1e6, recorded.total / calls / 50 * 1e6))
        finally:
            plans.Plan.run, flush.commit = run, commit
    return results


class Stopwatch:
    """Adds up the time from the start of a forward to the run of its program."""

    def __init__(self) -> None:
        self.total = 0.0
        self.begin = 0.0

    def start(self) -> None:
        self.begin = time.perf_counter()

    def stop(self) -> None:
        self.total += time.perf_counter() - self.begin


def quadratic(mod: ModuleType) -> Callable[[], float]:
    mod.manual_seed(0)
    nn = mod.nn
    x = mod.linspace(-1, 1, 100).unsqueeze(1)
    y = x.pow(2) + 0.2 * mod.rand(x.size())
    net = nn.Sequential(nn.Linear(1, 10), nn.ReLU(), nn.Linear(10, 1))
    optimizer = mod.optim.SGD(net.parameters(), lr=0.2)
    loss_of = nn.MSELoss()

    def step() -> float:
        loss = loss_of(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def never(mod: ModuleType) -> Callable[[], float]:
    rng = random.Random(0)

    def step() -> float:
        n, m = rng.randint(2, 200), rng.randint(2, 200)
        x, w = mod.ones(n, m), mod.ones(m, n, requires_grad=True)
        y = x @ w
        for _ in range(rng.randint(3, 12)):
            r = rng.random()
            if r < 0.3:
                y = y * 1.01
            elif r < 0.6:
                y = y + y
            elif r < 0.8:
                y = mod.relu(y)
            else:
                y = y - 0.5 * y
        loss = (y * y)[0, 0]
        loss.backward()
        return loss.item()

    return step


def alternating(make: Callable, rounds: int, calls: int, warm: int) -> list[tuple[float, float]]:
    """(PyTorch, Flambeau) microseconds a call, the sides taking turns."""
    theirs, ours = make(torch), make(flambeau)
    for _ in range(warm):
        theirs()
        ours()
    results = []
    for _ in range(rounds):
        times = []
        for step in (theirs, ours):
            begin = time.perf_counter()
            for _ in range(calls):
                step()
            times.append((time.perf_counter() - begin) / calls * 1e6)
        results.append((times[0], times[1]))
    return results


def imports(rounds: int) -> list[tuple[float, float]]:
    results = []
    for _ in range(rounds):
        times = []
        for name in ("torch", "flambeau"):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            times.append((time.perf_counter() - begin) * 1e3)
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        bare = (time.perf_counter() - begin) * 1e3
        results.append((times[0] - bare, times[1] - bare))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's (default: 2)")
    options = parser.parse_args()
    rounds = options.rounds
    torch.set_num_threads(options.threads)
    rows = [
        ("record, us an operation", record_rounds(rounds)),
        ("quadratic step, us", alternating(quadratic, rounds, 200, 20)),
        ("never repeating, us a step", alternating(never, rounds, 100, 50)),
        ("import, ms", imports(max(3, rounds // 3))),
    ]
    print("| what | PyTorch | Flambeau | Flambeau / PyTorch |")
    print("| --- | --- | --- | --- |")
    for name, pairs in rows:
        theirs = statistics.median(a for a, _ in pairs)
        ours = statistics.median(b for _, b in pairs)
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"| {name} | {theirs:.2f} | {ours:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
