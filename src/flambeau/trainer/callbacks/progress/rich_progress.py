"""RichProgressBar: a bar with remaining time, speed and metrics, drawn by rich."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flambeau.trainer.callbacks.progress.progress_bar import Pass, ProgressBar, clock, shown
from flambeau.utils.extras import require

__all__ = ["RichProgressBar", "RichProgressBarTheme"]


@dataclass
class RichProgressBarTheme:
    """The styles of the parts, as rich writes them."""

    description: str = ""
    progress_bar: str = "#6206E0"
    progress_bar_finished: str = "#6206E0"
    progress_bar_pulse: str = "#6206E0"
    batch_progress: str = ""
    time: str = "dim"
    processing_speed: str = "dim underline"
    metrics: str = "italic"
    metrics_text_delimiter: str = " "
    metrics_format: str = ".3g"


class RichProgressBar(ProgressBar):
    """A bar drawn by rich on a terminal; lines elsewhere.

    Args:
        refresh_rate: after how many batches it may be drawn again (0: never); at most ten times a
            second.
        leave: whether the bars of finished epochs stay.
        theme: the styles.
        console_kwargs: for ``rich.console.Console``.

    Raises: ``MissingExtraError`` on a terminal if rich is not installed.

    >>> from flambeau.trainer.callbacks import RichProgressBar
    >>> RichProgressBar(leave=True).refresh_rate
    1
    """

    def __init__(
        self,
        refresh_rate: int = 1,
        leave: bool = False,
        theme: RichProgressBarTheme | None = None,
        console_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(refresh_rate)
        self._leave = leave
        self.theme = theme or RichProgressBarTheme()
        self._console_kwargs = console_kwargs or {}
        self._live: bool | None = None
        self._console: Any = None
        self.progress: Any = None
        self._tasks: dict[int, Any] = {}

    def is_live(self) -> bool:
        """Whether the output is a terminal."""
        if self._live is None:
            if self._console_kwargs:
                self._live = self.console.is_terminal
            else:
                self._live = sys.stdout.isatty()
        return self._live

    @property
    def console(self) -> Any:
        """Where it is drawn."""
        if self._console is None:
            rich = require("rich.console", "train", "the progress bar")
            self._console = rich.Console(**self._console_kwargs)
        return self._console

    def begin(self, part: Pass) -> None:
        """Adds a bar."""
        if self.progress is None:
            self.progress = self._made()
            self.progress.start()
        total = None if math.isinf(part.total) else part.total
        self._tasks[id(part)] = self.progress.add_task(
            part.name, total=total, completed=part.done, numbers="", metrics=""
        )

    def _made(self) -> Any:
        rich = require("rich.progress", "train", "the progress bar")
        theme = self.theme
        bar = rich.BarColumn(
            complete_style=theme.progress_bar,
            finished_style=theme.progress_bar_finished,
            pulse_style=theme.progress_bar_pulse,
        )
        return rich.Progress(
            rich.TextColumn("{task.description}", style=theme.description),
            bar,
            rich.TextColumn("{task.fields[numbers]}", style=theme.time),
            rich.TextColumn("{task.fields[metrics]}", style=theme.metrics, markup=False),
            console=self.console,
            auto_refresh=False,
        )

    def draw(self, part: Pass, metrics: Mapping[str, Any]) -> None:
        """Moves the bar."""
        task = self._tasks.get(id(part))
        if task is None or self.progress is None:
            return
        of = "" if math.isinf(part.total) else f"/{part.total:.0f}"
        numbers = (
            f"{part.done}{of} {clock(part.seconds())} • {clock(part.remaining())} "
            f"{part.speed():.1f} it/s"
        )
        theme = self.theme
        texts = {
            name: format(value, theme.metrics_format) if isinstance(value, float) else value
            for name, value in metrics.items()
        }
        self.progress.update(
            task,
            completed=part.done,
            numbers=numbers,
            metrics=theme.metrics_text_delimiter.join(shown(texts)),
        )
        self.progress.refresh()

    def finish(self, part: Pass) -> None:
        """Takes the bar away, unless it is to stay."""
        task = self._tasks.pop(id(part), None)
        if task is not None and not self._leave:
            self.progress.remove_task(task)

    def close(self) -> None:
        """Gives the terminal back."""
        progress, self.progress = self.progress, None
        self._tasks.clear()
        if progress is not None:
            progress.stop()

    def write(self, text: str) -> None:
        """Prints a line above the bar."""
        if self.progress is not None:
            self.console.print(text, highlight=False, markup=False)
        else:
            super().write(text)
