"""What a dataset can ask about the worker process it runs in."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["WorkerInfo", "get_worker_info"]


@dataclasses.dataclass
class WorkerInfo:
    """One of several worker processes: its number, how many there are, its seed and dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The worker that this code runs in; ``None`` in the main process, where loading happens.

    >>> get_worker_info() is None
    True
    """
    return _worker_info
