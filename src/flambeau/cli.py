"""The command line: ``flambeau run | train | bench | doctor``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_RUN_USAGE = """usage: flambeau run SCRIPT [ARGS ...]
       flambeau run -m MODULE [ARGS ...]

Runs an unmodified PyTorch script (or module, as `python -m` does) on Flambeau:
`import torch` and everything below it resolve to Flambeau.

Tracebacks leave out Flambeau's own frames; FLAMBEAU_TRACEBACK=full shows them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status (0, or 2 for a command line that makes no sense).

    ``argv`` defaults to ``sys.argv[1:]``. Exceptions of a script under ``run`` propagate, so that
    Python ends the process as it would have ended the script.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["run"]:
        # Everything after the script belongs to the script, options included: not for argparse.
        return _run(arguments[1:])
    options = _parser().parse_args(arguments)
    return options.command(options)


def _run(arguments: list[str]) -> int:
    from flambeau import runner

    match arguments:
        case []:
            print(_RUN_USAGE, file=sys.stderr)
            return 2
        case ["-h" | "--help", *_]:
            print(_RUN_USAGE)
            return 0
        case ["-m"]:
            print("flambeau run: -m needs the name of a module", file=sys.stderr)
            return 2
        case ["-m", module, *rest]:
            runner.run_module(module, rest)
        case [option, *_] if option.startswith("-"):
            print(f"flambeau run: unknown option {option}\n{_RUN_USAGE}", file=sys.stderr)
            return 2
        case [script, *rest]:
            try:
                code = runner.read_script(script)
            except OSError as error:
                print(
                    f"flambeau run: can't open file '{script}': {error.strerror}", file=sys.stderr
                )
                return 2
            runner.run_script(script, code, rest)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from flambeau.doctor import report

    print(report())
    return 0


def _train(options: argparse.Namespace) -> int:
    from flambeau.trainer import digits
    from flambeau.utils.extras import MissingExtraError

    recipe = digits.Recipe(
        seed=options.seed,
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        out=options.out,
    )
    try:
        digits.train(recipe)
    except (MissingExtraError, OSError) as error:
        print(f"flambeau train: {error}", file=sys.stderr)
        return 1
    return 0


def _bench(options: argparse.Namespace) -> int:
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
    from flambeau import version

    parser = argparse.ArgumentParser(
        prog="flambeau", description="Deep learning in pure Python, with PyTorch's interface."
    )
    parser.add_argument("--version", action="version", version=f"flambeau {version.flambeau}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    commands.add_parser("run", help="run an unmodified PyTorch script", add_help=False)

    doctor = commands.add_parser("doctor", help="print versions, processor, threads, extras")
    doctor.set_defaults(command=_doctor)

    bench = commands.add_parser(
        "bench",
        help="time training loops beside PyTorch",
        description="Times ten training loops under PyTorch and Flambeau, which take turns in one "
        "process, and prints tables in Markdown. Each side is measured for 2000 steps or 5 "
        "seconds, unless --steps or --seconds says otherwise.",
    )
    bench.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this workload (repeatable)"
    )
    bench.add_argument("--steps", type=_positive(int), help="so many timed steps a side")
    bench.add_argument("--seconds", type=_positive(float), help="so long a side")
    bench.add_argument("--threads", type=_positive(int), default=2, help="of both (default 2)")
    bench.add_argument(
        "--peers", action="store_true", help="torch.compile and JAX too, where installed"
    )
    bench.add_argument("--quick", action="store_true", help="a rough look: 0.4 seconds a side")
    bench.add_argument(
        "--no-starts", action="store_true", help="without first steps and memory (new processes)"
    )
    bench.add_argument(
        "--side",
        choices=("flambeau", "torch"),
        help="run this side only, in this process, for a profiler",
    )
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    bench.set_defaults(command=_bench)

    train = commands.add_parser(
        "train", help="train a bundled example", description="Train a bundled example."
    )
    examples = train.add_subparsers(title="examples", required=True, metavar="EXAMPLE")
    digits = examples.add_parser(
        "digits",
        help="a small convolutional network on scikit-learn's handwritten digits",
        description="Trains a small convolutional network on scikit-learn's 1797 handwritten "
        "digits, 360 of them held out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    digits.add_argument("--seed", type=int, default=0, help="seed of weights, order and shifts")
    digits.add_argument("--epochs", type=_positive(int), default=12)
    digits.add_argument("--batch-size", type=_positive(int), default=64)
    digits.add_argument("--lr", type=_positive(float), default=3e-3, help="first learning rate")
    digits.add_argument("--out", default="runs/digits.pt", help="where the checkpoint goes")
    digits.set_defaults(command=_train)
    return parser


def _positive(kind: type[int] | type[float]):
    def parse(text: str) -> int | float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be positive, got {text}")
        return value

    parse.__name__ = kind.__name__  # argparse names it in "invalid int value"
    return parse
