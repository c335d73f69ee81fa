"""``Timer``: how long a statement takes, as a median over blocks of runs."""

from __future__ import annotations

import textwrap
import time
import timeit as _timeit
from collections.abc import Callable
from typing import Any

from flambeau.utils.benchmark.measurement import Measurement, TaskSpec

__all__ = ["Timer", "timer"]

timer = time.perf_counter


class Timer:
    """Times a statement given as text, with the names in ``globals``.

    What is pending when the statement ends is not computed by it: end with ``.item()`` or
    ``.numpy()`` to time the computation as well as the recording.

    >>> Timer("1 + 1").timeit(10).number_per_run
    10
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
    ) -> None:
        stmt, setup = textwrap.dedent(stmt).strip(), textwrap.dedent(setup).strip()
        names = dict(globals or {})
        if global_setup:
            exec(global_setup, names)
        self._timer = _timeit.Timer(stmt, setup, timer, names)
        self._spec = TaskSpec(
            stmt, setup, global_setup, label, sub_label, description, env, num_threads
        )

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """One block of ``number`` runs, after a short warm-up."""
        self._timer.timeit(max(number // 100, 2))
        return Measurement(number, [self._timer.timeit(number)], self._spec)

    def blocked_autorange(
        self, callback: Callable | None = None, min_run_time: float = 0.2
    ) -> Measurement:
        """Blocks that last about a millisecond or more each, ``min_run_time`` seconds in all."""
        number = self._block_size(min_run_time)
        raw: list[float] = []
        while sum(raw) < min_run_time:
            raw.append(self._timer.timeit(number))
            if callback is not None:
                callback(number, raw[-1])
        return Measurement(number, raw, self._spec)

    def adaptive_autorange(
        self,
        threshold: float = 0.1,
        *,
        min_run_time: float = 0.01,
        max_run_time: float = 10.0,
        callback: Callable | None = None,
    ) -> Measurement:
        """Blocks until the quartiles lie within ``threshold`` of the median, or time is up."""
        number = self._block_size(min_run_time)
        raw: list[float] = []
        while True:
            raw.append(self._timer.timeit(number))
            if callback is not None:
                callback(number, raw[-1])
            result = Measurement(number, raw, self._spec)
            spent = sum(raw)
            steady = len(raw) >= 4 and result.iqr <= threshold * result.median
            if spent >= max_run_time or (spent >= min_run_time and steady):
                return result

    def _block_size(self, min_run_time: float) -> int:
        number = 1
        while True:
            spent = self._timer.timeit(number)
            # A block long against the clock's resolution, short against the whole.
            if spent >= min(1e-3, min_run_time):
                return number
            number *= 10
