"""Progress of a training run: a bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from flambeau.utils.extras import require

__all__ = ["Progress"]


class Progress:
    """Shows ``total`` steps going by, and lines in between.

    On a terminal it is a bar drawn by rich; when the output goes to a file or a pipe only the lines
    are printed.
    """

    def __init__(self, description: str, total: int) -> None:
        self._description = description
        self._total = total
        self._bar: Any = None
        self._task: Any = None
        if sys.stdout.isatty():
            rich = require("rich.progress", "train", "the progress bar")
            self._bar = rich.Progress(
                rich.TextColumn("{task.description}"),
                rich.BarColumn(),
                rich.TaskProgressColumn(),
                rich.TimeRemainingColumn(),
                transient=True,
            )

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._description, total=self._total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self) -> None:
        """One step is done."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def line(self, text: str) -> None:
        """Prints a line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        else:
            print(text, flush=True)
