"""``profile``: time by program, kernel, named block and line of the user's code."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from flambeau.autograd import profiler as blocks
from flambeau.ir.flops import flops
from flambeau.profiler import watch
from flambeau.profiler.events import EventList, FunctionEvent, write_chrome_trace
from flambeau.profiler.lines import LineWatch, caller

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(Enum):
    """What can be profiled."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3


class ProfilerAction(Enum):
    """What a profile does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """What can be profiled here: the processor."""
    return {ProfilerActivity.CPU}


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """What to do at each step: skip some, then again and again wait, warm up, and record.

    ``repeat`` is how many such cycles there are (0: no end); ``skip_first_wait`` leaves out the
    first cycle's waiting.

    >>> [torch.profiler.schedule(wait=0, warmup=1, active=2)(i).name for i in range(4)]
    ['WARMUP', 'RECORD', 'RECORD_AND_SAVE', 'WARMUP']
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError("Invalid profiler schedule arguments")
    if not warmup:
        warnings.warn(
            "Profiler won't be using warmup, this can skew profiler results", stacklevel=2
        )

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        cycle, place = divmod(step, wait + warmup + active)
        if repeat and cycle >= repeat:
            return ProfilerAction.NONE
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        last = place == wait + warmup + active - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For ``on_trace_ready``: writes each trace to ``dir_name``, named as TensorBoard wants."""

    def write(prof: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        name = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        end = ".pt.trace.json" + (".gz" if use_gzip else "")
        prof.export_chrome_trace(os.path.join(dir_name, f"{name}.{time.time_ns()}{end}"))

    return write


class _Recording(watch.Listener):
    """The events of one stretch of recording."""

    detail = True

    def __init__(self, owner: profile) -> None:
        self.owner = owner
        self.events: list[FunctionEvent] = []
        self.began = time.perf_counter()
        self.threads: dict[int, int] = {}
        self.lines: LineWatch | None = None

    def add(self, name: str, kind: str, start: float, end: float, **more: Any) -> None:
        """Notes an event."""
        thread = self.threads.setdefault(threading.get_ident(), len(self.threads))
        times = (start - self.began) * 1e6, (end - self.began) * 1e6
        self.events.append(FunctionEvent(name, *times, kind=kind, thread=thread, **more))

    def program(self, program: Any, start: float, end: float) -> None:
        """A program was run."""
        native = getattr(program, "native", program)
        entries = program.entries if native is not program else native.entries
        owner = self.owner
        number = owner._numbers.setdefault(
            id(entries if native is None else native), len(owner._numbers)
        )
        owner._held.append(native if native is not None else entries)
        tier = "interpreted" if native is None else "compiled"
        self.add(
            f"program {number} ({tier}, {len(entries)} operations)",
            "program",
            start,
            end,
            stack=self.here(),
            flops=sum(map(flops, entries)) if owner.with_flops else 0,
        )

    def kernel(self, name: str, kind: str, start: float, end: float, entry: Any) -> None:
        """A part of a program was run."""
        more: dict[str, Any] = {}
        if entry is not None:
            if self.owner.record_shapes:
                more["input_shapes"] = tuple(a.shape for a in entry.in_avals if a.dtype is not None)
        self.add(name, kind, start, end, **more)

    def _note(self, name: str, start: float, end: float) -> None:
        """A ``record_function`` block ended."""
        self.add(name, "user_annotation", start, end)

    def line(self, place: str, start: float, end: float) -> None:
        """A line of the user's code was run."""
        self.add(place, "line", start, end, stack=(place,))

    def here(self) -> tuple[str, ...]:
        """The user's line that runs."""
        if self.lines is not None and self.lines.at is not None:
            return (self.lines.at,)
        return caller(sys._getframe(2))[:8]

    def start(self) -> None:
        """Begins to listen."""
        blocks.settle()
        watch.listen(self)
        blocks._open.append(self)  # type: ignore[arg-type]
        if self.owner.with_stack:
            self.lines = LineWatch(self.line)
            self.lines.start(sys._getframe())

    def stop(self) -> None:
        """Hears no more."""
        if self.lines is not None:
            self.lines.stop()
        blocks.settle()
        blocks._open.remove(self)  # type: ignore[arg-type]
        watch.unlisten(self)


class profile:
    """Times what runs inside the block.

    Events are ``record_function`` blocks, the *programs* that recorded operations were run as,
    and within these the *kernels* of native code (each a fused group of operations) or, as long as
    a program is interpreted, its *primitives*. Each knows the line of the user's code where it was
    asked for: the call, like ``optimizer.step()`` or ``.item()``, at which the recording was run.

    Args:
        activities: accepted; the processor is all there is.
        schedule: what to do at each step, from :func:`schedule`; call ``step()`` after each.
        on_trace_ready: called with the profile when a stretch of recording is done.
        record_shapes: keeps the shapes of primitives' operands.
        with_stack: computes what a line of the user's code recorded before the next begins, so that
            every line has its own time (``kind == "line"`` in ``events()``, see ``lines()``).
            Nothing is fused across lines then.
        with_flops: counts floating-point operations of programs.
        acc_events: keeps the events of all stretches.
        profile_memory, with_modules, experimental_config, …: accepted, and add nothing.

    While it runs, kernels are called one by one, some microseconds apart. Without an open profile
    there is no cost. Results are the same to the bit (with ``with_stack`` to rounding).

    Reference: ``torch.profiler.profile``.

    >>> with torch.profiler.profile() as prof, torch.profiler.record_function("mine"):
    ...     _ = (torch.ones(3) * 2).sum().item()
    >>> [e.key for e in prof.key_averages() if e.kind == "user_annotation"]
    ['mine']
    >>> sum(e.count for e in prof.key_averages() if e.kind in ("primitive", "kernel")) > 0
    True
    """

    def __init__(
        self,
        *,
        activities: Iterable[Any] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Callable[[], str] | None = None,
        post_processing_timeout_s: float | None = None,
    ) -> None:
        self.activities = set(activities) if activities is not None else supported_activities()
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.record_steps = schedule is not None
        self.on_trace_ready = on_trace_ready
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_flops = with_flops
        self.with_modules = with_modules
        self.acc_events = acc_events
        self.step_num = 0
        self.current_action = ProfilerAction.NONE
        self._events: EventList | None = None
        self._recording: _Recording | None = None
        # Programs of single lines are new to the runtime: warming up has them compiled.
        self._warming: LineWatch | None = None
        self._step_began = 0.0
        self._metadata: dict[str, str] = {}
        # Programs by their identity; held, so that it stays theirs.
        self._numbers: dict[int, int] = {}
        self._held: list[Any] = []

    def __enter__(self) -> profile:
        self._begin()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begins, like entering the block."""
        self._begin()

    def stop(self) -> None:
        """Ends, like leaving the block."""
        self._cool()
        if self._recording is not None:
            self._end_step()
            self._save()
        self.current_action = ProfilerAction.NONE

    def _begin(self) -> None:
        self.current_action = self.schedule(self.step_num)
        self._follow()
        self._step_began = time.perf_counter()

    def step(self) -> None:
        """The next step begins."""
        self._end_step()
        finished = self.current_action is ProfilerAction.RECORD_AND_SAVE
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        recording = self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        if self._recording is not None and (finished or not recording):
            self._save()
        self._follow()
        self._step_began = time.perf_counter()

    def _follow(self) -> None:
        """Begins to warm up, or to record, if it is time."""
        recording = self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        warming = self.current_action is ProfilerAction.WARMUP and self.with_stack
        if warming and self._warming is None:
            self._warming = LineWatch(lambda *_: None)
            self._warming.start(sys._getframe())
        elif not warming:
            self._cool()
        if recording and self._recording is None:
            self._recording = _Recording(self)
            self._recording.start()

    def _cool(self) -> None:
        if self._warming is not None:
            self._warming.stop()
            self._warming = None

    def _end_step(self) -> None:
        if self.record_steps and self._recording is not None:
            blocks.settle()
            end = time.perf_counter()
            name = f"ProfilerStep#{self.step_num}"
            self._recording.add(name, "user_annotation", self._step_began, end)

    def _save(self) -> None:
        recording, self._recording = self._recording, None
        assert recording is not None
        recording.stop()
        events = EventList(recording.events)
        # Lines lie beside the programs, not around them.
        EventList(e for e in events if e.kind != "line").link()
        kept = self._events if self.acc_events and self._events is not None else []
        self._events = EventList([*kept, *events])
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def events(self) -> EventList:
        """All events. Raises ``AssertionError`` before the first stretch of recording is done."""
        if self._events is None:
            raise AssertionError("Profiler must be initialized before getting events")
        return self._events

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0
    ) -> EventList:
        """Events of the same name (and shapes, and lines) added up; not the lines themselves."""
        events = EventList(e for e in self.events() if e.kind != "line")
        return events.key_averages(group_by_input_shape, group_by_stack_n)

    def lines(self) -> EventList:
        """The time of every line of the user's code; with ``with_stack=True``.

        ``print(prof.lines().table(sort_by="cpu_time_total"))``.
        """
        return EventList(e for e in self.events() if e.kind == "line").key_averages()

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes a trace that ``chrome://tracing`` and Perfetto show; ``.gz`` is compressed."""
        write_chrome_trace(self.events(), path, {"metadata": self._metadata})

    def export_stacks(
        self, path: str | os.PathLike[str], metric: str = "self_cpu_time_total"
    ) -> None:
        """Writes lines and times for flame-graph tools."""
        EventList(e for e in self.events() if e.kind != "line").export_stacks(path, metric)

    def add_metadata(self, key: str, value: str) -> None:
        """Adds a text to the trace."""
        self._metadata[key] = value

    add_metadata_json = add_metadata
