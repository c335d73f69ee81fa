"""``torch.xpu`` without Intel's GPU backend: queries answer, use raises."""

from __future__ import annotations

from typing import NoReturn

from flambeau.device import device

__all__ = [
    "current_device",
    "device_count",
    "empty_cache",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "memory_allocated",
    "memory_reserved",
    "set_device",
    "synchronize",
]

Device = device | str | int | None


def _no_device() -> NoReturn:
    raise AssertionError("Torch not compiled with XPU enabled (Flambeau runs on the CPU here)")


def is_available() -> bool:
    """Whether tensors can live on an Intel GPU: no."""
    return False


def is_initialized() -> bool:
    """Whether the backend has been initialised: never here."""
    return False


def device_count() -> int:
    """The number of XPU devices: none."""
    return 0


def current_device() -> int:
    """The selected device. Raises: ``AssertionError``, as there is none."""
    _no_device()


def set_device(device: Device) -> None:
    """Selects a device. Raises: ``AssertionError``, as there is none."""
    _no_device()


def synchronize(device: Device = None) -> None:
    """Waits for a device. Raises: ``AssertionError``, as there is none."""
    _no_device()


def empty_cache() -> None:
    """Gives unused device memory back: there is none."""


def memory_allocated(device: Device = None) -> int:
    """Bytes held by tensors on a device: 0."""
    return 0


max_memory_allocated = memory_allocated
memory_reserved = memory_allocated


def manual_seed(seed: int) -> None:
    """Seeds the current device's generator: ignored without one."""
    int(seed)


manual_seed_all = manual_seed
