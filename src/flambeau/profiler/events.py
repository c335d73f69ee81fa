"""What a profile holds: timed blocks, their sums by name, tables, Chrome traces."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg"]


@dataclass(eq=False)
class FunctionEvent:
    """One timed block; times in microseconds since the profile began."""

    name: str
    start: float
    end: float
    kind: str = "user_annotation"
    thread: int = 0
    stack: tuple[str, ...] = ()
    input_shapes: tuple[Any, ...] = ()
    flops: int = 0
    count: int = 1
    cpu_parent: FunctionEvent | None = None
    cpu_children: list[FunctionEvent] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The name that events are summed under."""
        return self.name

    @property
    def cpu_time_total(self) -> float:
        """How long it took, in microseconds."""
        return self.end - self.start

    cpu_time = cpu_time_total

    @property
    def self_cpu_time_total(self) -> float:
        """Its time less that of the events within it."""
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    @property
    def is_user_annotation(self) -> bool:
        """Whether it is a ``record_function`` block."""
        return self.kind == "user_annotation"

    @property
    def cpu_time_str(self) -> str:
        """The time in words."""
        return format_time(self.cpu_time)


@dataclass(eq=False)
class FunctionEventAvg:
    """All events of one name (and shape, or line) together."""

    key: str
    kind: str
    input_shapes: tuple[Any, ...]
    stack: tuple[str, ...]
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    flops: int = 0

    # There is no other device, and what memory an event took is not followed: what PyTorch gives
    # without `profile_memory`.
    device_time_total = self_device_time_total = device_time = 0.0
    cuda_time_total = self_cuda_time_total = cuda_time = 0.0
    cpu_memory_usage = self_cpu_memory_usage = 0
    device_memory_usage = self_device_memory_usage = 0
    cuda_memory_usage = self_cuda_memory_usage = 0

    def add(self, event: FunctionEvent) -> None:
        """Takes an event in."""
        self.count += event.count
        self.cpu_time_total += event.cpu_time_total
        self.self_cpu_time_total += event.self_cpu_time_total
        self.flops += event.flops

    @property
    def cpu_time(self) -> float:
        """The mean time, in microseconds."""
        return self.cpu_time_total / self.count if self.count else 0.0


class EventList(list):
    """Events, or their averages."""

    def link(self) -> None:
        """Finds out which event lies within which, thread by thread."""
        open_: list[FunctionEvent] = []
        for event in sorted(self, key=lambda e: (e.thread, e.start, -e.end)):
            while open_ and not (open_[-1].thread == event.thread and event.end <= open_[-1].end):
                open_.pop()
            if open_:
                event.cpu_parent = open_[-1]
                open_[-1].cpu_children.append(event)
                event.stack = event.stack or open_[-1].stack
            open_.append(event)

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all events, in microseconds, without counting any twice."""
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(
        self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0
    ) -> EventList:
        """Events of the same name (and shapes, and innermost lines) added up."""
        found: dict[tuple[Any, ...], FunctionEventAvg] = {}
        for event in self:
            shapes = event.input_shapes if group_by_input_shapes else ()
            stack = event.stack[:group_by_stack_n]
            key = (event.name, event.kind, shapes, stack)
            if key not in found:
                found[key] = FunctionEventAvg(event.name, event.kind, shapes, stack)
            found[key].add(event)
        return EventList(found.values())

    def total_average(self) -> FunctionEventAvg:
        """All events as one."""
        total = FunctionEventAvg("Total", "", (), ())
        for event in self:
            total.add(event)
            total.cpu_time_total += event.self_cpu_time_total - event.cpu_time_total
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
    ) -> str:
        """The events as text.

        ``sort_by`` is a column (``cpu_time_total``, ``self_cpu_time_total``, ``cpu_time``,
        ``count``, ``flops``); the largest come first. Device times and memory are
        columns, too, which are 0 throughout.

        Raises: ``AttributeError`` for another column.
        """
        rows = list(self)
        if top_level_events_only:
            rows = [row for row in rows if getattr(row, "cpu_parent", None) is None]
        if sort_by is not None:
            rows.sort(key=lambda row: getattr(row, sort_by), reverse=True)
        total = sum(row.self_cpu_time_total for row in rows) or 1.0
        columns: list[tuple[str, Callable[[Any], str]]] = [
            ("Name", lambda r: shortened(r.key, max_name_column_width)),
            ("Self CPU %", lambda r: f"{100 * r.self_cpu_time_total / total:.2f}%"),
            ("Self CPU", lambda r: format_time(r.self_cpu_time_total)),
            ("CPU total %", lambda r: f"{100 * r.cpu_time_total / total:.2f}%"),
            ("CPU total", lambda r: format_time(r.cpu_time_total)),
            ("CPU time avg", lambda r: format_time(r.cpu_time)),
            ("# of Calls", lambda r: str(r.count)),
        ]
        if any(row.input_shapes for row in rows):
            columns.append(
                (
                    "Input Shapes",
                    lambda r: shortened(
                        ", ".join(str(list(shape)) for shape in r.input_shapes),
                        max_shapes_column_width,
                    ),
                )
            )
        if any(row.flops for row in rows):
            columns.append(("Total FLOPs", lambda r: f"{r.flops:,}" if r.flops else "--"))
        if any(row.stack for row in rows):
            columns.append(
                (
                    "Source Location",
                    lambda r: shortened(r.stack[0] if r.stack else "", max_src_column_width),
                )
            )
        texts = [[cell(row) for _, cell in columns] for row in rows[: max(row_limit, 0)]]
        if row_limit < 0:
            texts = [[cell(row) for _, cell in columns] for row in rows]
        made = tabulated([name for name, _ in columns], texts)
        head = f"{header}\n" if header else ""
        return f"{head}{made}\nSelf CPU time total: {format_time(total if rows else 0.0)}\n"

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes the events as a trace that ``chrome://tracing`` and Perfetto show."""
        write_chrome_trace(self, path)

    def export_stacks(self, path: str | os.PathLike[str], metric: str) -> None:
        """Writes (line, time) pairs that flame-graph tools read."""
        lines = []
        for event in self:
            value = int(getattr(event, metric.replace("cuda", "cpu")))
            if event.stack and value > 0:
                lines.append(";".join(reversed([*event.stack])) + f";{event.name} {value}")
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def shortened(text: str, width: int | None) -> str:
    """The text, at most ``width`` characters of it."""
    return text if width is None or len(text) <= width else text[: width - 3] + "..."


def tabulated(heads: list[str], rows: Iterable[list[str]]) -> str:
    """Columns between rules; the first to the left, the others to the right.

    >>> print(tabulated(["Name", "n"], [["a", "10"]]))
    ----  --
    Name   n
    ----  --
    a     10
    ----  --
    """
    rows = list(rows)
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    rule = "  ".join("-" * width for width in widths)

    def line(cells: list[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return "  ".join(
            [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        ).rstrip()

    return "\n".join([rule, line(heads), rule, *map(line, rows), rule])


def format_time(microseconds: float) -> str:
    """A time with its unit.

    >>> format_time(1500.0)
    '1.500ms'
    """
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.3f}s"
    if microseconds >= 1e3:
        return f"{microseconds / 1e3:.3f}ms"
    return f"{microseconds:.3f}us"


def write_chrome_trace(
    events: Iterable[FunctionEvent],
    path: str | os.PathLike[str],
    metadata: dict[str, Any] | None = None,
) -> None:
    """Writes events in Chrome's trace format; compressed if the path ends in ``.gz``."""
    pid = os.getpid()
    threads: set[int] = set()
    records: list[dict[str, Any]] = []
    for event in events:
        lane = 1 if event.kind == "line" else 0
        tid = event.thread * 2 + lane
        threads.add(tid)
        args: dict[str, Any] = {}
        if event.stack:
            args["line"] = event.stack[0]
        if event.input_shapes:
            args["Input Dims"] = [list(shape) for shape in event.input_shapes]
        if event.flops:
            args["flops"] = event.flops
        records.append(
            {"ph": "X", "cat": event.kind, "name": event.name, "pid": pid, "tid": tid}
            | {"ts": event.start, "dur": event.cpu_time_total, "args": args}
        )
    names = [
        {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid}
        | {"args": {"name": f"thread {tid // 2}" + (": lines" if tid % 2 else "")}}
        for tid in sorted(threads)
    ]
    whole = {"traceEvents": names + records, "displayTimeUnit": "ms", **(metadata or {})}
    text = json.dumps(whole)
    path = os.fspath(path)
    if path.endswith(".gz"):
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write(text)
    else:
        Path(path).write_text(text, encoding="utf-8")
