"""``torch.Event`` and ``torch.Stream``: order among queues of work, of which a CPU has one."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.device import CPU
from flambeau.device import device as Device
from flambeau.functions.making import check_device

__all__ = ["Event", "Stream"]


class _Placed:
    """Something of a device."""

    def __init__(self, device: Any = None) -> None:
        self.device = CPU if device is None else Device(device)
        check_device(self.device)

    def _shown(self) -> str:
        index = -1 if self.device.index is None else self.device.index
        return f"device_type={self.device.type}, device_index={index}"


class Stream(_Placed):
    """The queue of a device's work. A call on the CPU is done when it returns."""

    stream_id = 0

    def __init__(self, device: Any = None, *, priority: int = 0) -> None:
        super().__init__(device)

    def query(self) -> bool:
        """Whether all work is done: always."""
        return True

    def synchronize(self) -> None:
        """Waits for what was queued: nothing was."""

    def wait_event(self, event: Event) -> None:
        """Has later work wait for an event."""

    def wait_stream(self, stream: Stream) -> None:
        """Has later work wait for another queue."""

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"torch.Stream {self._shown()}, stream_id={self.stream_id}"


class Event(_Placed):
    """A mark in a device's queue of work, to wait for or to measure time by.

    The CPU has no such queue: as in PyTorch an event of it can be asked and waited for, but not
    recorded.

    >>> torch.Event().query()
    True
    """

    event_id = 0

    def __init__(
        self,
        device: Any = None,
        *,
        enable_timing: bool = False,
        blocking: bool = False,
        interprocess: bool = False,
    ) -> None:
        super().__init__(device)
        self._flag = int(enable_timing)

    def record(self, stream: Stream | None = None) -> NoReturn:
        """Raises: ``RuntimeError``: there is no queue to mark."""
        raise RuntimeError(f"{self.device.type} backend doesn't support events.")

    def query(self) -> bool:
        """Whether all work before the mark is done: always."""
        return True

    def wait(self, stream: Stream | None = None) -> None:
        """Has later work wait for the mark."""

    def synchronize(self) -> None:
        """Waits for what was queued before the mark: nothing was."""

    def elapsed_time(self, other: Event) -> NoReturn:
        """Raises: ``ValueError``: neither event was recorded."""
        raise ValueError("Both events must be recorded before calculating elapsed time.")

    def ipc_handle(self) -> NoReturn:
        """Raises: ``NotImplementedError``: events are not for other processes."""
        raise NotImplementedError(
            "torch.Event ipc is not supported yet, please open an issue if you need this!"
        )

    def __repr__(self) -> str:
        return f"torch.Event {self._shown()}, event_flag={self._flag}, event_id={self.event_id}"
