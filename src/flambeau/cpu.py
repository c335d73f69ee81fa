"""``torch.cpu``: the CPU seen as a device."""

from __future__ import annotations

from flambeau.device import device
from flambeau.run.tail import tail

__all__ = ["current_device", "device_count", "is_available", "is_initialized", "synchronize"]

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


def synchronize(device: Device = None) -> None:
    """Waits until nothing runs: a step's gradients and updates may do so behind its call."""
    tail.join()
