"""Commands whose options are a function's parameters, read by Typer."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from flambeau.commands.outcome import guarded
from flambeau.utils.extras import require

__all__ = ["positive_number", "run", "typer"]

typer: Any = require("typer", "train", "this command")


def run(name: str, function: Callable[..., int | None], arguments: list[str]) -> int:
    """Calls ``function`` with what ``arguments`` say; returns the exit status.

    Raises: ``SystemExit(2)`` for a command line that makes no sense, its usage printed.
    """

    status: int | None = None

    @functools.wraps(function)
    def action(**options: Any) -> None:
        nonlocal status
        status = guarded(name, lambda: function(**options))

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})(
        action
    )
    try:
        typer.main.get_command(app).main(args=arguments, prog_name=f"flambeau {name}")
    except SystemExit as ending:
        # 0: the command ran, or its help was wanted; SIGTERM ends the process from within.
        if ending.code:
            raise
    return status or 0


def positive_number(text: str) -> float:
    """The number in ``text``.

    >>> positive_number("1e-3")
    0.001
    """
    try:
        value = float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number") from None
    if not 0 < value < math.inf:
        raise typer.BadParameter(f"must be greater than 0, got {text}")
    return value
