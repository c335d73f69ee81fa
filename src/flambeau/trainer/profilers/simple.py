"""SimpleProfiler: how often each action happened, and how long it took."""

from __future__ import annotations

import os
from collections import defaultdict
from time import perf_counter

from flambeau.profiler.events import tabulated
from flambeau.trainer.profilers.profiler import Profiler

__all__ = ["SimpleProfiler"]


class SimpleProfiler(Profiler):
    """Counts and times actions: hooks, steps, waiting for data.

    Times include those of actions within. What is recorded in a hook is computed where it is
    needed, at the optimizer's step usually: the row ``programs`` has that time on its own.

    Args:
        dirpath, filename: where the summary goes; it is printed without a ``filename``.
        extended: a row's mean, count and share as well.

    Raises: ``ValueError`` for an action that is started twice, or stopped before it is started.

    >>> from flambeau.trainer.profilers import SimpleProfiler
    >>> SimpleProfiler(extended=False).summary().splitlines()[0]
    'Profile of the run'
    """

    def __init__(
        self,
        dirpath: str | os.PathLike[str] | None = None,
        filename: str | None = None,
        extended: bool = True,
    ) -> None:
        super().__init__(dirpath, filename)
        self.extended = extended
        self.current_actions: dict[str, float] = {}
        self.recorded_durations: dict[str, list[float]] = defaultdict(list)
        self.start_time = perf_counter()

    def start(self, action_name: str) -> None:
        """An action begins."""
        if action_name in self.current_actions:
            raise ValueError(f"Attempted to start {action_name} which has already started.")
        self.current_actions[action_name] = perf_counter()

    def stop(self, action_name: str) -> None:
        """An action ends."""
        end = perf_counter()
        if action_name not in self.current_actions:
            raise ValueError(
                f"Attempting to stop recording an action ({action_name}) which was never started."
            )
        self.add(action_name, end - self.current_actions.pop(action_name))

    def add(self, action_name: str, seconds: float) -> None:
        """An action took so long."""
        self.recorded_durations[action_name].append(seconds)

    def rows(self) -> list[tuple[str, float, int, float, float]]:
        """(action, mean, count, total, share in percent) by total time."""
        whole = max(perf_counter() - self.start_time, 1e-9)
        found = [
            (action, sum(times) / len(times), len(times), sum(times), 100 * sum(times) / whole)
            for action, times in self.recorded_durations.items()
        ]
        return sorted(found, key=lambda row: row[3], reverse=True)

    def summary(self) -> str:
        """The rows as a table."""
        whole = perf_counter() - self.start_time
        if not self.extended:
            rows = [
                [action, f"{mean:.5g}", f"{total:.5g}"] for action, mean, _, total, _ in self.rows()
            ]
            heads = ["Action", "Mean duration (s)", "Total time (s)"]
        else:
            rows = [
                [action, f"{mean:.5g}", str(count), f"{total:.5g}", f"{share:.3g}"]
                for action, mean, count, total, share in self.rows()
            ]
            rows.insert(0, ["Total", "-", "", f"{whole:.5g}", "100"])
            heads = ["Action", "Mean duration (s)", "Num calls", "Total time (s)", "Percentage %"]
        return "Profile of the run\n" + tabulated(heads, rows)
