"""``torch.mps`` without Apple's GPU backend: queries answer, use raises."""

from __future__ import annotations

from typing import NoReturn

__all__ = [
    "current_allocated_memory",
    "device_count",
    "driver_allocated_memory",
    "empty_cache",
    "is_available",
    "manual_seed",
    "seed",
    "synchronize",
]


def _no_backend(call: str) -> NoReturn:
    raise RuntimeError(f"Cannot execute {call}() without MPS backend.")


def is_available() -> bool:
    """Whether tensors can live on Apple's GPU: no."""
    return False


def device_count() -> int:
    """The number of MPS devices: none."""
    return 0


def manual_seed(seed: int) -> None:
    """Seeds the device's generator: ignored without one."""
    int(seed)


def seed() -> None:
    """Seeds the device's generator from the system: ignored without one."""


def synchronize() -> None:
    """Waits for the device. Raises: ``RuntimeError``, as there is none."""
    _no_backend("deviceSynchronize")


def empty_cache() -> None:
    """Gives unused memory back. Raises: ``RuntimeError``, as there is no device."""
    _no_backend("emptyCache")


def current_allocated_memory() -> int:
    """Bytes held by tensors. Raises: ``RuntimeError``, as there is no device."""
    _no_backend("getCurrentAllocatedMemory")


def driver_allocated_memory() -> int:
    """Bytes held by the driver. Raises: ``RuntimeError``, as there is no device."""
    _no_backend("getDriverAllocatedMemory")
