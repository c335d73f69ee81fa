"""Random programs under every tier and with PyTorch: how many ran, what they were, what differs.

    python benchmarks/fuzz.py                       # 10 seconds
    python benchmarks/fuzz.py --seconds 3600 --first 1000
    python benchmarks/fuzz.py --programs 300
    python benchmarks/fuzz.py --seed 17             # one: its listing, what differs, reduced

The programs run in a process of their own, so that one that kills it is a failure like others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))


def worker(first: int, last: int, until: float, without: set[int]) -> None:
    """Runs seeds one by one; a line of JSON before and after each."""
    import compiler_fuzz
    from fuzz_programs import HARD

    for seed in range(first, last):
        if time.time() > until:
            return
        if seed in without:
            continue
        print(json.dumps({"begin": seed}), flush=True)
        row: dict[str, object] = {"end": seed, "kinds": []}
        try:
            p = compiler_fuzz.generate(seed)
            row["kinds"] = sorted(p.kinds | ({"hard"} if p.kinds & HARD else set()))
            row["lines"] = len(p.lines)
            failure = compiler_fuzz.judge(p)
            if failure is not None:
                row["failure"] = failure.kind, failure.text[:600]
        except Exception:
            row["failure"] = "fuzzer", traceback.format_exc()[-600:]
        print(json.dumps(row), flush=True)


class Report:
    """What was seen so far."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.begun = self.said = time.time()
        self.programs = self.lines = 0
        self.kinds: Counter[str] = Counter()
        self.failures: list[tuple[int, str, str]] = []

    def take(self, row: dict) -> None:
        self.programs += 1
        self.lines += row.get("lines", 0)
        self.kinds.update(row["kinds"])
        if time.time() - self.said > 60:
            self.said = time.time()
            print(self, flush=True)
        if "failure" in row:
            self.fail(row["end"], *row["failure"])

    def fail(self, seed: int, kind: str, text: str) -> None:
        self.failures.append((seed, kind, text))
        print(f"seed {seed}: {kind}: {text}", flush=True)

    def __str__(self) -> str:
        n = max(1, self.programs)
        shares = ", ".join(f"{k} {100 * c // n}%" for k, c in self.kinds.most_common())
        return (
            f"{self.programs} programs ({self.lines} lines) in {time.time() - self.begun:.0f} s: "
            f"{len(self.failures)} failures {[s for s, _, _ in self.failures]}; {shares}"
        )


def batch(first: int, last: int, until: float, report: Report, without: Sequence[int]) -> int:
    """A process's worth of programs; the seed to go on from."""
    command = [sys.executable, __file__, "--worker", str(first), str(last), str(until)]
    command += ["--without", *map(str, without)]
    begun = None
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout and child.stderr
        for line in child.stdout:
            row = json.loads(line)
            if "begin" in row:
                begun = row["begin"]
            else:
                report.take(row)
                begun = None
                if len(report.failures) >= report.most:
                    child.kill()
                    return last
        if child.wait() and begun is None:
            raise RuntimeError(child.stderr.read())
        if begun is not None:
            report.programs += 1
            tail = child.stderr.read().strip().splitlines()[-1:]
            report.fail(begun, f"the process died ({child.returncode})", " ".join(tail)[-300:])
            return begun + 1
    return last


def hunt(
    seconds: float, programs: int, first: int, failures: int = 1 << 30, without: Sequence[int] = ()
) -> Report:
    report = Report(failures)
    until, end = time.time() + seconds, first + programs
    while first < end and time.time() < until and len(report.failures) < failures:
        # Processes are renewed: the memory that kernels take is never given back.
        first = batch(first, min(first + 500, end), until, report, without)
    return report


def show(seed: int) -> bool:
    """One program in this process."""
    import compiler_fuzz

    p = compiler_fuzz.generate(seed)
    print(p.listing(), flush=True)
    failure = compiler_fuzz.judge(p)
    if failure is None:
        print("all agree")
        return True
    print(failure)
    failure = compiler_fuzz.reduced(failure)
    print(f"\nreduced:\n{failure.program.listing()}\n{failure}")
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=None, help="stop after so many")
    parser.add_argument("--programs", type=int, default=None, help="stop after so many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, default=None, help="only this one, with its listing")
    parser.add_argument("--failures", type=int, default=1 << 30, help="stop after so many")
    parser.add_argument("--without", type=int, nargs="*", default=[], help="seeds to leave out")
    parser.add_argument("--worker", nargs=3, default=None, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.worker:
        worker(int(a.worker[0]), int(a.worker[1]), float(a.worker[2]), set(a.without))
        return 0
    if a.seed is not None:
        return int(not show(a.seed))
    seconds = a.seconds or (10.0 if a.programs is None else 1e9)
    report = hunt(seconds, a.programs or 1 << 40, a.first, a.failures, a.without)
    print(report)
    return int(bool(report.failures))


if __name__ == "__main__":
    raise SystemExit(main())
