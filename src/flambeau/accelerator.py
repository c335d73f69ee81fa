"""``torch.accelerator`` on a machine without one: queries answer, use raises."""

from __future__ import annotations

from typing import NoReturn

from flambeau.device import device

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "empty_cache",
    "is_available",
    "max_memory_allocated",
    "memory_allocated",
    "set_device_idx",
    "set_device_index",
    "synchronize",
]

Device = device | str | int | None


def _none() -> NoReturn:
    raise RuntimeError("Cannot access accelerator device when none is available.")


def is_available() -> bool:
    """Whether there is an accelerator: no."""
    return False


def device_count() -> int:
    """The number of accelerators: none."""
    return 0


def current_accelerator(check_available: bool = False) -> device | None:
    """The kind of accelerator tensors can go to: ``None``."""
    return None


def current_device_index() -> int:
    """The selected accelerator. Raises: ``RuntimeError``, as there is none."""
    _none()


def set_device_index(device: Device, /) -> None:
    """Selects an accelerator. Raises: ``RuntimeError``, as there is none."""
    _none()


def current_stream(device: Device = None, /) -> NoReturn:
    """The selected stream. Raises: ``RuntimeError``, as there is no accelerator."""
    _none()


def synchronize(device: Device = None, /) -> None:
    """Waits for an accelerator. Raises: ``RuntimeError``, as there is none."""
    _none()


def empty_cache() -> None:
    """Gives unused memory back. Raises: ``RuntimeError``, as there is no accelerator."""
    _none()


def memory_allocated(device: Device = None, /) -> int:
    """Bytes held by tensors on an accelerator: 0."""
    return 0


max_memory_allocated = memory_allocated
current_device_idx = current_device_index
set_device_idx = set_device_index
