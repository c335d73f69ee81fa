"""``torch.distributed`` for one process: questions answer, collective operations raise."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.errors import NotSupportedError

__all__ = [
    "all_gather",
    "all_reduce",
    "barrier",
    "broadcast",
    "destroy_process_group",
    "gather",
    "get_backend",
    "get_rank",
    "get_world_size",
    "init_process_group",
    "is_available",
    "is_gloo_available",
    "is_initialized",
    "is_mpi_available",
    "is_nccl_available",
    "is_torchelastic_launched",
    "new_group",
    "recv",
    "reduce",
    "reduce_scatter",
    "scatter",
    "send",
]


def is_available() -> bool:
    """Whether processes can form a group: not with this version."""
    return False


def is_initialized() -> bool:
    """Whether a process group exists: no."""
    return False


is_gloo_available = is_mpi_available = is_nccl_available = is_available
is_torchelastic_launched = is_initialized


def _no_group() -> NoReturn:
    raise ValueError(
        "Default process group has not been initialized, please make sure to call "
        "init_process_group."
    )


def get_rank(group: Any = None) -> int:
    """This process's number in the group. Raises: ``ValueError``, as there is none."""
    _no_group()


def get_world_size(group: Any = None) -> int:
    """The number of processes in the group. Raises: ``ValueError``, as there is none."""
    _no_group()


def get_backend(group: Any = None) -> str:
    """The library the group talks through. Raises: ``ValueError``, as there is none."""
    _no_group()


def init_process_group(*arguments: Any, **options: Any) -> NoReturn:
    """Raises: ``NotSupportedError``: Flambeau trains in one process."""
    raise NotSupportedError(
        "torch.distributed.init_process_group: Flambeau trains in one process; run without the "
        "launcher, or guard the call with torch.distributed.is_available()"
    )


def new_group(*arguments: Any, **options: Any) -> NoReturn:
    """Raises: ``ValueError``, as there is no process group."""
    _no_group()


all_gather = all_reduce = barrier = broadcast = gather = new_group
recv = reduce = reduce_scatter = scatter = send = destroy_process_group = new_group
