"""How a command ends: its exit status, and what it says on the way out."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from flambeau.utils.extras import MissingExtraError

__all__ = ["CommandError", "FAILED", "INTERRUPTED", "NO_SENSE", "guarded"]

FAILED, NO_SENSE, INTERRUPTED = 1, 2, 130
"""The task failed; the command line makes no sense; Ctrl-C."""

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


class CommandError(Exception):
    """Ends a command with a message and a status: 1, or 2 for a command line without sense."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def guarded(command: str, action: Callable[[], int | None]) -> int:
    """The exit status of ``action``; errors become one message each on standard error.

    ``FLAMBEAU_TRACEBACK=full`` shows tracebacks as well.
    """
    try:
        return action() or 0
    except KeyboardInterrupt as error:
        # What could be saved is saved, and said, by the trainer.
        said = f": {error}" if str(error) else ""
        return _say(command, f"interrupted{said}", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output (`head`) has seen enough; Python's own flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if os.environ.get("FLAMBEAU_TRACEBACK") == "full":
            traceback.print_exc()
        if isinstance(error, CommandError):
            return _say(command, str(error), error.status)
        return _say(command, _described(error), FAILED)


def _say(command: str, message: str, status: int) -> int:
    sys.stdout.flush()
    print(f"flambeau {command}: {message}", file=sys.stderr)
    return status


def _described(error: Exception) -> str:
    """The error's message; with its type and place if it comes from a file of the user's."""
    users = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_PACKAGE, "<", os.path.dirname(os.__file__)))
        and "site-packages" not in frame.filename
    ]
    # The command's own start is outside the package: an installed script, or a test.
    users = [frame for frame in users if frame.name not in ("<module>",) or len(users) > 1]
    if isinstance(error, MissingExtraError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = str(error) or type(error).__name__
    if not users:
        return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
    last = users[-1]
    return (
        f'{type(error).__name__}: {text}\n  File "{last.filename}", line {last.lineno}, in '
        f"{last.name}\n    {last.line}\n(FLAMBEAU_TRACEBACK=full shows how it came there)"
    )
