"""``torch.cuda`` on a machine whose Flambeau has no CUDA backend: queries answer, use raises.

Asking (``is_available``, ``device_count``, ``memory_allocated``) and waiting (``synchronize``,
``empty_cache``) work as PyTorch's CPU build does; whatever needs a device raises as it does there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from flambeau.cuda import amp
from flambeau.device import device as _device

__all__ = [
    "CUDAGraph",
    "Event",
    "Stream",
    "amp",
    "can_device_access_peer",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_arch_list",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
    "init",
    "initial_seed",
    "ipc_collect",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_per_process_memory_fraction",
    "set_rng_state",
    "set_rng_state_all",
    "stream",
    "synchronize",
]

Device = _device | str | int | None


def _no_device() -> NoReturn:
    # PyTorch's CPU build raises AssertionError here; scripts catch that type.
    raise AssertionError("Torch not compiled with CUDA enabled (Flambeau runs on the CPU here)")


def is_available() -> bool:
    """Whether tensors can live on a CUDA device: no."""
    return False


def is_initialized() -> bool:
    """Whether CUDA has been initialised: never here."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current CUDA device computes in bfloat16: there is none."""
    return False


def device_count() -> int:
    """The number of CUDA devices: none."""
    return 0


def init() -> None:
    """Initialises CUDA. Raises: ``AssertionError``, as there is none."""
    _no_device()


def current_device() -> int:
    """The index of the selected device. Raises: ``AssertionError``, as there is none."""
    _no_device()


def set_device(device: Device) -> None:
    """Selects a device; a negative index is ignored. Raises: ``AssertionError``: there is none."""
    if isinstance(device, int) and device < 0:
        return
    _no_device()


def get_device_name(device: Device = None) -> str:
    """The name of a device. Raises: ``AssertionError``, as there is none."""
    _no_device()


def get_device_capability(device: Device = None) -> tuple[int, int]:
    """The compute capability of a device. Raises: ``AssertionError``, as there is none."""
    _no_device()


def get_device_properties(device: Device = None) -> Any:
    """The properties of a device. Raises: ``AssertionError``, as there is none."""
    _no_device()


def can_device_access_peer(device: Device, peer_device: Device) -> bool:
    """Whether two devices see each other's memory. Raises: ``AssertionError``: there are none."""
    _no_device()


def get_arch_list() -> list[str]:
    """The architectures kernels were built for: none."""
    return []


def synchronize(device: Device = None) -> None:
    """Waits for a device. Raises: ``AssertionError``, as there is none to wait for."""
    _no_device()


def empty_cache() -> None:
    """Gives unused device memory back: there is none."""


def ipc_collect() -> None:
    """Collects memory shared between processes. Raises: ``AssertionError``: there is no device."""
    _no_device()


def memory_allocated(device: Device = None) -> int:
    """Bytes held by tensors on a device: 0."""
    return 0


max_memory_allocated = memory_allocated
memory_reserved = memory_allocated
max_memory_reserved = memory_allocated
memory_cached = memory_allocated
max_memory_cached = memory_allocated


def memory_stats(device: Device = None) -> dict[str, Any]:
    """Counters of the device allocator: empty."""
    return {}


def mem_get_info(device: Device = None) -> tuple[int, int]:
    """Free and total device memory. Raises: ``AssertionError``, as there is no device."""
    _no_device()


def memory_summary(device: Device = None, abbreviated: bool = False) -> str:
    """A table of the device allocator's counters: one line saying that there is none."""
    return "no CUDA device"


def reset_peak_memory_stats(device: Device = None) -> None:
    """Forgets the peak. Raises: ``AssertionError``, as there is no device."""
    _no_device()


reset_max_memory_allocated = reset_peak_memory_stats
reset_max_memory_cached = reset_peak_memory_stats


def set_per_process_memory_fraction(fraction: float, device: Device = None) -> None:
    """Limits device memory. Raises: ``AssertionError``, as there is no device."""
    _no_device()


def manual_seed(seed: int) -> None:
    """Seeds the current device's generator: ignored, as PyTorch does without a device."""
    int(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Seeds the current device's generator from the system: ignored without a device."""


seed_all = seed


def initial_seed() -> int:
    """The seed of the current device's generator. Raises: ``AssertionError``: there is none."""
    _no_device()


def get_rng_state(device: Device = "cuda") -> Any:
    """The state of a device's generator. Raises: ``AssertionError``, as there is none."""
    _no_device()


def get_rng_state_all() -> list[Any]:
    """The states of all devices' generators: an empty list."""
    return []


def set_rng_state(new_state: Any, device: Device = "cuda") -> None:
    """Sets a device's generator: ignored, as PyTorch defers it until CUDA is initialised."""


def set_rng_state_all(new_states: Iterable[Any]) -> None:
    """Sets all devices' generators: ignored without devices."""


class device:
    """Selects a device inside ``with``. Raises: ``RuntimeError`` on entering: there is none."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def __enter__(self) -> NoReturn:
        raise RuntimeError("torch.cuda.device: Flambeau has no CUDA device here")

    def __exit__(self, *exception: object) -> None:
        return None


def _not_made(cls: type, *arguments: Any, **options: Any) -> NoReturn:
    raise RuntimeError(f"torch.cuda.{cls.__name__} requires CUDA support")


class Stream:
    """A queue of work on a device. Raises: ``RuntimeError`` when made, as there is no device."""

    __new__ = _not_made


class Event:
    """A point in a stream's work. Raises: ``RuntimeError`` when made, as there is no device."""

    __new__ = _not_made


class CUDAGraph:
    """A recorded sequence of kernels. Raises: ``RuntimeError`` when made: there is no device."""

    __new__ = _not_made


class stream:
    """Selects a stream inside ``with``; ``None`` selects nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        return None


def current_stream(device: Device = None) -> Stream:
    """The selected stream. Raises: ``AssertionError``, as there is no device."""
    _no_device()


def default_stream(device: Device = None) -> Stream:
    """The default stream. Raises: ``AssertionError``, as there is no device."""
    _no_device()
