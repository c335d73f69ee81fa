"""``DistributedDataParallel``, which asks for a group of processes: Flambeau trains in one."""

from __future__ import annotations

from typing import Any

from flambeau.distributed import get_rank
from flambeau.nn.module import Module

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """For ``isinstance``: no module here is one.

    Raises: ``ValueError``, as PyTorch does where ``init_process_group`` was not called.
    """

    def __init__(self, module: Module, *arguments: Any, **options: Any) -> None:
        get_rank(options.get("process_group"))
        super().__init__()
