"""KernelProfiler: time by program, kernel and line of the user's code, as tables and a trace."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from flambeau.profiler import ProfilerAction, profile, schedule
from flambeau.trainer.profilers.profiler import Profiler

__all__ = ["KernelProfiler", "PyTorchProfiler"]


class KernelProfiler(Profiler):
    """Profiles some training steps with :class:`flambeau.profiler.profile`.

    ``summary()`` has the kernels and, with ``with_stack`` (the default), the lines of the user's
    code; next to it ``export_to_chrome`` writes the trace, for ``chrome://tracing`` or Perfetto.

    Args:
        dirpath, filename: where they go; by default the logger's folder, and "profile".
        schedule: which steps, from :func:`flambeau.profiler.schedule`. By default the 9th to the
            13th: programs are compiled at their fourth run, and those of single lines are others.
        export_to_chrome: whether the trace is written.
        row_limit, sort_by_key: of the tables.
        with_stack: the time of each line, which takes fusion across lines away.
        profiler_kwargs: further arguments of ``profile``.

    Lightning calls it ``PyTorchProfiler``.

    >>> from flambeau.trainer.profilers import KernelProfiler
    >>> KernelProfiler(row_limit=5).summary()
    ''
    """

    def __init__(
        self,
        dirpath: str | os.PathLike[str] | None = None,
        filename: str | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        export_to_chrome: bool = True,
        row_limit: int = 20,
        sort_by_key: str = "self_cpu_time_total",
        with_stack: bool = True,
        **profiler_kwargs: Any,
    ) -> None:
        super().__init__(dirpath, filename or "profile")
        self._schedule = schedule
        self._export_to_chrome = export_to_chrome
        self._row_limit = row_limit
        self._sort_by_key = sort_by_key
        self._kwargs = {"with_stack": with_stack, **profiler_kwargs}
        self.profiler: profile | None = None
        self.trace_paths: list[str] = []

    def start(self, action_name: str) -> None:
        """Begins with the first training step."""
        if action_name == "run_training_batch" and self.profiler is None:
            steps = self._schedule or schedule(wait=4, warmup=4, active=5, repeat=1)
            self.profiler = profile(
                schedule=steps, on_trace_ready=self._export, acc_events=True, **self._kwargs
            )
            self.profiler.start()

    def stop(self, action_name: str) -> None:
        """A training step is over."""
        if action_name == "run_training_batch" and self.profiler is not None:
            self.profiler.step()

    def _export(self, prof: profile) -> None:
        path = self.path(f"-{len(self.trace_paths)}.trace.json")
        if self._export_to_chrome and path is not None:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            prof.export_chrome_trace(path)
            self.trace_paths.append(path)

    def teardown(self, stage: str | None) -> None:
        """Ends, if steps were still being recorded."""
        if self.profiler is not None:
            self.profiler.stop()

    def summary(self) -> str:
        """The tables; empty if no step was recorded."""
        if self.profiler is None or self.profiler._events is None:
            return ""
        text = "Programs and kernels\n" + self.profiler.key_averages().table(
            sort_by=self._sort_by_key, row_limit=self._row_limit
        )
        lines = self.profiler.lines()
        if lines:
            text += "\nLines\n" + lines.table(
                sort_by="cpu_time_total", row_limit=self._row_limit, max_name_column_width=100
            )
        return text


PyTorchProfiler = KernelProfiler
