"""The command line: ``flambeau COMMAND``, each command in a file of ``flambeau.commands``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from flambeau.commands import COMMANDS

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status.

    0; 1 if the task failed; 2 for a command line that makes no sense (as ``SystemExit`` where
    argparse or Typer find it); 130 after Ctrl-C. ``argv`` defaults to ``sys.argv[1:]``. Exceptions
    of a script under ``run`` propagate, so that Python ends the process as it would have ended the
    script.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    match arguments:
        case [name, *rest] if name in COMMANDS:
            return _run(name, rest)
        case ["-h" | "--help", *_]:
            print(_help())
            raise SystemExit(0)
        case ["--version", *_]:
            from flambeau import version

            print(f"flambeau {version.flambeau}")
            raise SystemExit(0)
    print(f"{_help()}\n\nflambeau: {_complaint(arguments)}", file=sys.stderr)
    raise SystemExit(2)


def _run(name: str, arguments: list[str]) -> int:
    from flambeau.utils.extras import MissingExtraError

    try:
        module = importlib.import_module(f"flambeau.commands.{name}")
    except MissingExtraError as error:
        print(f"flambeau {name}: {error}", file=sys.stderr)
        return 1
    return module.main(arguments)


def _help() -> str:
    rows = "\n".join(f"  {name:<8} {meaning}" for name, meaning in COMMANDS.items())
    return (
        "usage: flambeau COMMAND ...\n\n"
        "Deep learning in pure Python, with PyTorch's interface.\n\n"
        f"commands:\n{rows}\n\n"
        "options:\n  -h, --help  this text, or that of a command\n  --version   the version"
    )


def _complaint(arguments: list[str]) -> str:
    if not arguments:
        return "a command is needed"
    import difflib

    close = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    kind = "option" if arguments[0].startswith("-") else "command"
    return f"no {kind} '{arguments[0]}'{hint}"
