"""TQDMProgressBar: a bar of characters in one line of a terminal; needs no other package."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from flambeau.trainer.callbacks.progress.progress_bar import Pass, ProgressBar, clock, shown

__all__ = ["TQDMProgressBar"]

_BLOCKS = " ▏▎▍▌▋▊▉"


class TQDMProgressBar(ProgressBar):
    """A bar of characters in the last line of a terminal; lines elsewhere.

    Args:
        refresh_rate: after how many batches it may be drawn again (0: never); at most ten times a
            second.
        process_position: accepted; there is one bar at a time.
        leave: whether the bars of finished epochs stay.

    >>> from flambeau.trainer.callbacks import TQDMProgressBar
    >>> TQDMProgressBar(refresh_rate=10).refresh_rate
    10
    """

    def __init__(
        self, refresh_rate: int = 1, process_position: int = 0, leave: bool = False
    ) -> None:
        super().__init__(refresh_rate)
        self.process_position = process_position
        self._leave = leave
        self._drawn = ""

    def is_live(self) -> bool:
        """Whether the output is a terminal."""
        return sys.stdout.isatty()

    def draw(self, part: Pass, metrics: Mapping[str, Any]) -> None:
        """Writes the line anew."""
        width = shutil.get_terminal_size().columns
        self._put(bar(part, ", ".join(shown(metrics)), width - 1))

    def finish(self, part: Pass) -> None:
        """Leaves the line, or clears it."""
        if self._leave:
            print(flush=True)
            self._drawn = ""
        else:
            self._put("")

    def close(self) -> None:
        """Clears the line."""
        if self._drawn:
            self._put("")

    def write(self, text: str) -> None:
        """Prints a line above the bar."""
        drawn = self._drawn
        if drawn:
            self._put("")
        super().write(text)
        if drawn:
            self._put(drawn)

    def _put(self, text: str) -> None:
        blank = " " * max(0, len(self._drawn) - len(text))
        print(f"\r{text}{blank}", end="\r" if not text else "", flush=True)
        self._drawn = text


def bar(part: Pass, metrics: str, width: int) -> str:
    """A pass as one line of ``width`` characters at most.

    >>> part = Pass("Epoch 0", 4, began=0.0, done=2)
    >>> part.seconds = lambda: 1.0
    >>> bar(part, "loss 0.5", 70)
    'Epoch 0:  50%|████████▌        | 2/4 [1.0 s<1.0 s, 2.0 it/s, loss 0.5]'
    """
    numbers = f"[{clock(part.seconds())}<{clock(part.remaining())}, {part.speed():.1f} it/s"
    numbers += f", {metrics}]" if metrics else "]"
    if math.isinf(part.total):
        return f"{part.name}: {part.done} {numbers}"[:width]
    share = part.done / part.total if part.total else 1.0
    head, tail = f"{part.name}: {share:4.0%}|", f"| {part.done}/{part.total:.0f} {numbers}"
    room = max(0, min(40, width - len(head) - len(tail)))
    eighths = int(share * room * 8)
    full, rest = divmod(eighths, 8)
    middle = ("█" * full + (_BLOCKS[rest] if rest else "")).ljust(room)
    return (head + middle + tail)[:width]
