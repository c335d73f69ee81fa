"""``flambeau bench``: training loops timed beside PyTorch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Measures, and prints tables; 1 if something that is needed is missing."""
    options = _parser().parse_args(arguments)
    from flambeau import bench
    from flambeau.utils.extras import MissingExtraError

    chosen = bench.Options(
        only=tuple(options.only),
        steps=options.steps,
        seconds=options.seconds,
        threads=options.threads,
        peers=options.peers,
        quick=options.quick,
        starts=not options.no_starts,
        json=options.json,
    )

    def write(line: str) -> None:
        print(line, flush=True)

    try:
        if options.side is None:
            bench.bench(chosen, write)
        else:
            bench.profile(options.side, chosen, write)
    except (MissingExtraError, OSError, ValueError) as error:
        print(f"flambeau bench: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flambeau bench",
        description="Times ten training loops under PyTorch and Flambeau, which take turns in one "
        "process, and prints tables in Markdown. Each side is measured for 2000 steps or 5 "
        "seconds, unless --steps or --seconds says otherwise.",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this workload (repeatable)"
    )
    parser.add_argument("--steps", type=_positive(int), help="so many timed steps a side")
    parser.add_argument("--seconds", type=_positive(float), help="so long a side")
    parser.add_argument("--threads", type=_positive(int), default=2, help="of both (default 2)")
    parser.add_argument(
        "--peers", action="store_true", help="torch.compile and JAX too, where installed"
    )
    parser.add_argument("--quick", action="store_true", help="a rough look: 0.4 seconds a side")
    parser.add_argument(
        "--no-starts", action="store_true", help="without first steps and memory (new processes)"
    )
    parser.add_argument(
        "--side",
        choices=("flambeau", "torch"),
        help="run this side only, in this process, for a profiler",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


def _positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    def parse(text: str) -> int | float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be positive, got {text}")
        return value

    parse.__name__ = kind.__name__  # argparse names it in "invalid int value"
    return parse
