"""AdvancedProfiler: the time of every Python function that an action calls."""

from __future__ import annotations

import cProfile
import io
import os
import pstats
import re
from pathlib import Path

from flambeau.trainer.profilers.profiler import Profiler

__all__ = ["AdvancedProfiler"]


class AdvancedProfiler(Profiler):
    """Runs each action under :mod:`cProfile`.

    An action within another is counted for that one only: Python profiles one thing at a time.

    Args:
        dirpath, filename: where the summary goes; it is printed without a ``filename``.
        line_count_restriction: how many functions of each action are shown, or which share.
        dump_stats: also writes ``{action}.prof`` files, for ``pstats`` or a viewer.

    Raises: ``ValueError`` for an action that is stopped before it is started.

    Reference: Lightning's profiler of this name.

    >>> from flambeau.trainer.profilers import AdvancedProfiler
    >>> profiler = AdvancedProfiler()
    >>> with profiler.profile("sort"):
    ...     found = sorted([2, 1])
    >>> "Profile stats for: sort" in profiler.summary()
    True
    """

    def __init__(
        self,
        dirpath: str | os.PathLike[str] | None = None,
        filename: str | None = None,
        line_count_restriction: float = 1.0,
        dump_stats: bool = False,
    ) -> None:
        super().__init__(dirpath, filename)
        self.profiled_actions: dict[str, cProfile.Profile] = {}
        self.line_count_restriction = line_count_restriction
        self.dump_stats = dump_stats
        self._open: list[str] = []

    def start(self, action_name: str) -> None:
        """An action begins; the one around it waits."""
        if self._open:
            self.profiled_actions[self._open[-1]].disable()
        self._open.append(action_name)
        self.profiled_actions.setdefault(action_name, cProfile.Profile()).enable()

    def stop(self, action_name: str) -> None:
        """An action ends."""
        if action_name not in self._open:
            raise ValueError(
                f"Attempting to stop recording an action ({action_name}) which was never started."
            )
        self.profiled_actions[self._open[-1]].disable()
        self._open.remove(action_name)
        if self._open:
            self.profiled_actions[self._open[-1]].enable()

    def summary(self) -> str:
        """The functions of each action by the time they took, with those they called."""
        found = ["Profile of the run"]
        for action, profile in self.profiled_actions.items():
            text = io.StringIO()
            stats = pstats.Stats(profile, stream=text)
            if self.dump_stats:
                folder = Path(self.dirpath or "")
                folder.mkdir(parents=True, exist_ok=True)
                stats.dump_stats(folder / (re.sub(r"[^\w.-]+", "_", action) + ".prof"))
            stats.strip_dirs().sort_stats("cumulative").print_stats(self.line_count_restriction)
            found.append(f"Profile stats for: {action}\n{text.getvalue()}")
        return "\n".join(found)

    def teardown(self, stage: str | None) -> None:
        """Ends actions that are still going on."""
        for action in reversed(self._open.copy()):
            self.stop(action)
