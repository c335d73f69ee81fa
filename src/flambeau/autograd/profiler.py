"""Wall time of named blocks: ``profile`` and ``record_function``."""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.record import flush as flushing
from flambeau.record import trace

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EventList", "FunctionEvent", "emit_itt", "emit_nvtx", "profile", "record_function"]

_open: list[profile] = []


@dataclass
class FunctionEvent:
    """One timed block; times in microseconds since the profile began."""

    name: str
    start: float
    end: float

    @property
    def cpu_time(self) -> float:
        """How long it took, in microseconds."""
        return self.end - self.start

    cpu_time_total = cpu_time
    self_cpu_time_total = cpu_time
    count = 1
    key = property(lambda self: self.name)


@dataclass
class _Average:
    """The events of one name together."""

    key: str
    count: int
    cpu_time_total: float

    @property
    def cpu_time(self) -> float:
        return self.cpu_time_total / self.count


class EventList(list):
    """The timed blocks of a profile."""

    def key_averages(self, *args: Any, **kwargs: Any) -> EventList:
        """Events of the same name added up."""
        found: dict[str, _Average] = {}
        for e in self:
            at = found.setdefault(e.name, _Average(e.name, 0, 0.0))
            at.count += 1
            at.cpu_time_total += e.cpu_time
        return EventList(found.values())

    def total_average(self) -> _Average:
        """All events as one."""
        return _Average("Total", max(len(self), 1), sum(e.cpu_time_total for e in self))

    def table(self, sort_by: str | None = None, row_limit: int = 100, **kwargs: Any) -> str:
        """The events as text: name, time, average, number of calls."""
        rows = list(self)
        if sort_by is not None:
            rows.sort(key=lambda e: getattr(e, sort_by.replace("self_", ""), 0), reverse=True)
        width = max([4, *(len(e.key) for e in rows)])
        lines = [f"{'Name':<{width}}  {'CPU total':>12}  {'CPU time avg':>12}  {'# of Calls':>10}"]
        for e in rows[:row_limit]:
            lines.append(
                f"{e.key:<{width}}  {_time(e.cpu_time_total):>12}  {_time(e.cpu_time):>12}  "
                f"{e.count:>10}"
            )
        return "\n".join(lines) + "\n"

    def export_chrome_trace(self, path: str) -> None:
        """Writes the events as a trace that ``chrome://tracing`` shows."""
        events = [
            {"name": e.name, "ph": "X", "ts": e.start, "dur": e.cpu_time, "tid": 0, "pid": "CPU"}
            for e in self
        ]
        Path(path).write_text(json.dumps(events), encoding="utf-8")


def _time(microseconds: float) -> str:
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.3f}s"
    if microseconds >= 1e3:
        return f"{microseconds / 1e3:.3f}ms"
    return f"{microseconds:.3f}us"


class profile:
    """Times the ``record_function`` blocks inside a block.

    Single operations have no time of their own: they are recorded and run together in a flush.
    Options that ask for more (shapes, memory, stacks) are accepted and record nothing.

    >>> with torch.autograd.profiler.profile() as prof:
    ...     with torch.autograd.profiler.record_function("mine"):
    ...         pass
    >>> [e.name for e in prof.function_events]
    ['mine']
    """

    def __init__(self, enabled: bool = True, **options: Any) -> None:
        self.enabled = enabled
        self.options = options
        self.function_events = EventList()
        self._begin = 0.0

    def __enter__(self) -> profile:
        if self.enabled:
            self._begin = time.perf_counter()
            _open.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.enabled:
            _open.remove(self)

    def _note(self, name: str, start: float, end: float) -> None:
        scale = 1e6
        self.function_events.append(
            FunctionEvent(name, (start - self._begin) * scale, (end - self._begin) * scale)
        )

    def key_averages(self, *args: Any, **kwargs: Any) -> EventList:
        """Events of the same name added up."""
        return self.function_events.key_averages()

    def total_average(self) -> _Average:
        """All events as one."""
        return self.function_events.total_average()

    def table(self, *args: Any, **kwargs: Any) -> str:
        """The events as text."""
        return self.key_averages().table(*args, **kwargs)

    def export_chrome_trace(self, path: str) -> None:
        """Writes the events as a trace that ``chrome://tracing`` shows."""
        self.function_events.export_chrome_trace(path)

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all events, in microseconds."""
        return sum(e.cpu_time for e in self.function_events)


class record_function:
    """Names a block (or a decorated function) in the profiles that are open.

    What the block recorded is computed before its time is taken, so that it counts here.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        if _open:
            settle()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        if _open:
            settle()
            end = time.perf_counter()
            for p in _open:
                p._note(self.name, self._start, end)

    def __call__(self, f: Callable) -> Callable:
        @functools.wraps(f)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name):
                return f(*args, **kwargs)

        return wrapped


def settle() -> None:
    """Computes what is pending, unless a function's body is being recorded."""
    tr = trace.open_.trace
    if tr.builder is None:
        flushing.flush_other(tr)


class _Nothing:
    """A block for tools that are not there: nothing is emitted."""

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        if enabled:
            raise RuntimeError(f"{type(self).__name__}: the tool it emits to is not available")

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class emit_nvtx(_Nothing):
    """NVTX ranges: not available; raises ``RuntimeError`` when enabled."""


class emit_itt(_Nothing):
    """ITT ranges: not available; raises ``RuntimeError`` when enabled."""
