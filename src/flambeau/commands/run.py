"""``flambeau run``: an unmodified PyTorch script, or a module, on Flambeau."""

from __future__ import annotations

import sys

__all__ = ["main"]

_USAGE = """usage: flambeau run SCRIPT [ARGS ...]
       flambeau run -m MODULE [ARGS ...]

Runs an unmodified PyTorch script (or module, as `python -m` does) on Flambeau:
`import torch` and everything below it resolve to Flambeau.

Tracebacks leave out Flambeau's own frames; FLAMBEAU_TRACEBACK=full shows them."""


def main(arguments: list[str]) -> int:
    """Runs the script; everything after its name is the script's own.

    Exceptions of the script propagate, so that Python ends the process as it would have ended it.
    """
    from flambeau import runner

    match arguments:
        case []:
            print(_USAGE, file=sys.stderr)
            return 2
        case ["-h" | "--help", *_]:
            print(_USAGE)
            return 0
        case ["-m"]:
            print("flambeau run: -m needs the name of a module", file=sys.stderr)
            return 2
        case ["-m", module, *rest]:
            runner.run_module(module, rest)
        case [option, *_] if option.startswith("-"):
            print(f"flambeau run: unknown option {option}\n{_USAGE}", file=sys.stderr)
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
