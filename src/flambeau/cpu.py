"""``torch.cpu``: the CPU seen as a device."""

from __future__ import annotations

from flambeau.device import device

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
    """Waits for the CPU: what is read from a tensor is always up to date, so at once."""
