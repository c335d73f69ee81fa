"""Plants faults in a copy of the compiler, one by one, and says which of them the fuzzer finds.

    python benchmarks/mutations.py                   # all of them: a quarter of an hour
    python benchmarks/mutations.py --part 1/4        # a quarter of them
    python benchmarks/mutations.py --only views fuse # those of some files, or descriptions
    python benchmarks/mutations.py --seconds 500     # those begun within that time
    python benchmarks/mutations.py --programs 300 --jobs 2

A fault counts as caught when one of the fuzzer's first programs fails with it, and runs well
without it; so does one that only the file of tests finds that is named with it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutations_faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parent.parent


def environment(source: Path, cache: Path) -> dict[str, str]:
    return {
        **os.environ, "PYTHONPATH": str(source), "FLAMBEAU_CACHE": str(cache),
        "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def fuzz(source: Path, cache: Path, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), *arguments]
    done = subprocess.run(
        command, env=environment(source, cache), capture_output=True, text=True, check=False
    )
    return (
        done.stdout if done.stdout.strip() else f"seed -1: it does not start: {done.stderr[-300:]}"
    )


def plant(fault: Fault, source: Path, folder: Path) -> Path | None:
    """A copy of the source with the fault; None where its text is not there any more."""
    copy = folder / "src"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    folder = copy / "flambeau" / "run"
    path = folder / fault.file
    if not path.exists() or fault.old not in path.read_text():
        elsewhere = [p for p in folder.rglob("*.py") if fault.old in p.read_text()]
        if len(elsewhere) != 1:
            return None
        (path,) = elsewhere
    path.write_text(path.read_text().replace(fault.old, fault.new, 1))
    return copy


def failing(said: str) -> tuple[int, str] | None:
    """The first seed that the fuzzer says fails, and how."""
    found = re.search(r"^seed (-?\d+): (.*)", said, re.MULTILINE)
    return None if found is None else (int(found[1]), found[2])


def trial(fault: Fault, source: Path, cache: Path, programs: int) -> tuple[str, str]:
    """(verdict, what the fuzzer said).

    Kernels are kept by their texts, so that all faults may share them.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = plant(fault, source, folder)
        if copy is None:
            return "gone", "the text to change is not there"
        begun, first = time.time(), 0
        while first < programs:
            left = ("--first", str(first), "--programs", str(programs - first))
            found = failing(fuzz(copy, cache, *left, "--failures", "1"))
            if found is None:
                break
            first = found[0] + 1
            one = ("--first", str(found[0]), "--programs", "1")
            if found[0] < 0 or failing(fuzz(source, cache, *one)) is None:
                took = f"{time.time() - begun:.0f} s"
                return "caught", f"seed {found[0]}: {found[1][:90]} ({took})"
        if fault.test and passes(source, cache, fault.test):
            if not passes(copy, cache, fault.test):
                return "caught", f"tests/{fault.test} ({time.time() - begun:.0f} s)"
    return "missed", f"{time.time() - begun:.0f} s"


def passes(source: Path, cache: Path, test: str) -> bool:
    """Whether the tests of a file find no fault."""
    options = ("-q", "-x", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, f"tests/{test}"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(source, cache), capture_output=True, check=False
    )
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=int, default=300, help="of the fuzzer, for each fault")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[], help="parts of file names or descriptions")
    parser.add_argument("--part", default="1/1", help="the first of four parts: 1/4")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no more begin then")
    parser.add_argument("--cache", type=Path, help="where kernels are kept for the next part")
    parser.add_argument("--source", type=Path, default=ROOT / "src")
    a = parser.parse_args()
    until = time.time() + a.seconds
    part, parts = map(int, a.part.split("/"))
    with tempfile.TemporaryDirectory() as name:
        source, cache = Path(name) / "src", a.cache or Path(name) / "cache"
        # The source as it is now: others may be working on it.
        shutil.copytree(a.source, source, ignore=shutil.ignore_patterns("__pycache__"))
        chosen = [f for f in FAULTS if not a.only or any(o in f.file + f.what for o in a.only)]
        chosen = chosen[part - 1 :: parts]
        rows = []

        def tried(fault: Fault) -> tuple[str, str]:
            if time.time() > until:
                return "left", "no time"
            return trial(fault, source, cache, a.programs)

        with ThreadPoolExecutor(a.jobs) as pool:
            results = pool.map(tried, chosen)
            for fault, (verdict, text) in zip(chosen, results, strict=True):
                rows.append(verdict)
                print(f"{verdict:7} {fault.file:32} {fault.what}: {text}", flush=True)
    caught, planted = rows.count("caught"), rows.count("caught") + rows.count("missed")
    print(
        f"\n{caught} of {planted} faults caught; {rows.count('gone')} whose text is not there, "
        f"{rows.count('left')} not begun"
    )
    return int(caught < planted or "gone" in rows)


if __name__ == "__main__":
    raise SystemExit(main())
