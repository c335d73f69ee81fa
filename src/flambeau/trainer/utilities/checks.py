"""What one asks about the machine and about objects before a run."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

__all__ = [
    "PossibleUserWarning",
    "disable_possible_user_warnings",
    "is_picklable",
    "is_shared_filesystem",
    "suggested_max_num_workers",
]


class PossibleUserWarning(UserWarning):
    """Something that may be meant as it is."""


def disable_possible_user_warnings(module: str = "") -> None:
    """Shows no ``PossibleUserWarning`` any more, of modules whose name begins with ``module``."""
    warnings.filterwarnings("ignore", module=module, category=PossibleUserWarning)


def is_picklable(obj: object) -> bool:
    """Whether an object can be pickled.

    >>> is_picklable([1]), is_picklable(lambda: 1)
    (True, False)
    """
    try:
        pickle.dumps(obj)
    except (pickle.PickleError, AttributeError, RuntimeError, TypeError):
        return False
    return True


def is_shared_filesystem(strategy: Any, path: str | Path | None = None, timeout: int = 3) -> bool:
    """Whether all processes see the files under ``path``: there is one process.

    Raises: ``FileNotFoundError`` if there is no such path.
    """
    path = Path.cwd() if path is None else Path(path)
    if not path.exists():
        raise FileNotFoundError(f"Unable to determine if the path belongs to a shared filesystem. "
                                f"The path does not exist: {path}")  # fmt: skip
    return True


def suggested_max_num_workers(local_world_size: int) -> int:
    """How many workers of loaders each of ``local_world_size`` processes may have: the processors
    are shared among them, and one is left to each process itself.

    Raises: ``ValueError`` for less than one process.
    """
    if local_world_size < 1:
        raise ValueError(f"`local_world_size` should be >= 1, got {local_world_size}.")
    available = len(os.sched_getaffinity(0))
    return max(1, available // local_world_size - 1)
