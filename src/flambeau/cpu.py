"""``torch.cpu``: the CPU seen as a device."""

from __future__ import annotations

from flambeau.device import device
from flambeau.run.tail import tail

__all__ = [
    "Event",
    "Stream",
    "StreamContext",
    "current_device",
    "current_stream",
    "device_count",
    "is_available",
    "is_initialized",
    "set_device",
    "stream",
    "synchronize",
]

Device = device | str | int | None


def is_available() -> bool:
    """Whether there is a CPU: yes."""
    return True


def is_initialized() -> bool:
    """Whether it is ready: yes."""
    return True


def device_count() -> int:
    """The number of CPU devices: one, however many cores it has."""
    return 1


def current_device() -> str:
    """The name of the CPU device."""
    return "cpu"


class Stream:
    """The CPU's one queue of work, for code that is written for any device."""

    def __init__(self, priority: int = -1) -> None:
        pass

    def wait_stream(self, stream: Stream) -> None:
        """Has later work wait for another queue."""

    def record_event(self) -> None:
        """Marks the queue."""

    def wait_event(self, event: Event) -> None:
        """Has later work wait for a mark."""


class Event:
    """A mark in the CPU's queue of work, for code that is written for any device."""

    def query(self) -> bool:
        """Whether the work before it is done: always."""
        return True

    def record(self, stream: Stream | None = None) -> None:
        """Marks the queue."""

    def synchronize(self) -> None:
        """Waits for the work before it."""

    def wait(self, stream: Stream | None = None) -> None:
        """Has later work wait for the mark."""


_stream = Stream()


def current_stream(device: Device = None) -> Stream:
    """The queue that work goes to."""
    return _stream


class StreamContext:
    """A block whose work goes to a queue."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


def stream(stream: Stream | None) -> StreamContext:
    """A block whose work goes to a queue: on the CPU it is done by each call.

    >>> with torch.cpu.stream(torch.cpu.Stream()):
    ...     pass
    """
    return StreamContext(stream)


def set_device(device: Device) -> None:
    """Chooses the CPU, of which there is one."""


def synchronize(device: Device = None) -> None:
    """Waits until nothing runs: a step's gradients and updates may do so behind its call."""
    tail.join()
