"""``torch.multiprocessing``: Python's ``multiprocessing``, with ``spawn`` for a group of workers.

Tensors travel by pickling; nothing is shared between the processes.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import *
from multiprocessing import get_context

from flambeau.multiprocessing.spawn import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    spawn,
    start_processes,
)

__all__ = [
    *multiprocessing.__all__,
    "ProcessContext",
    "ProcessException",
    "ProcessExitedException",
    "ProcessRaisedException",
    "get_all_sharing_strategies",
    "get_context",
    "get_sharing_strategy",
    "set_sharing_strategy",
    "spawn",
    "start_processes",
]

_strategies = {"file_system"}


def get_all_sharing_strategies() -> set[str]:
    """The ways of sharing tensors between processes."""
    return set(_strategies)


def get_sharing_strategy() -> str:
    """The way of sharing tensors between processes."""
    return "file_system"


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepts PyTorch's strategies; tensors are pickled under each of them.

    Raises: ``AssertionError`` for a name that is none.
    """
    if new_strategy not in ("file_system", "file_descriptor"):
        raise AssertionError(f"no sharing strategy {new_strategy!r}")
