"""``flambeau report``: a run as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from flambeau.commands import typed
from flambeau.commands.typed import typer

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Writes it; returns the exit status."""
    return typed.run("report", _report, arguments)


def _report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a run")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="by default report.html in RUN")
    ] = None,
) -> None:
    """Writes one self-contained page: curves, confusion matrix, mistakes, filters, environment."""
    from flambeau.trainer.report import write_report

    print(f"saved {write_report(run, out)}")
