"""Functions that only the first of several processes runs."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["rank_zero_deprecation", "rank_zero_info", "rank_zero_only", "rank_zero_warn"]

log = logging.getLogger("flambeau.trainer")


def rank_zero_only(function: Callable) -> Callable:
    """``function``, which returns ``None`` at once in all processes but the first (``RANK``).

    >>> rank_zero_only(abs)(-1)
    1
    """

    @functools.wraps(function)
    def only_first(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs) if rank_zero_only.rank == 0 else None

    return only_first


rank_zero_only.rank = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) or 0)


@rank_zero_only
def rank_zero_info(message: object, *args: Any, **kwargs: Any) -> None:
    """Logs at level INFO."""
    kwargs.pop("stacklevel", None)
    log.info(message, *args, **kwargs)


@rank_zero_only
def rank_zero_warn(
    message: str, stacklevel: int = 3, category: type[Warning] = UserWarning
) -> None:
    """Warns."""
    warnings.warn(message, category, stacklevel=stacklevel)


@rank_zero_only
def rank_zero_deprecation(message: str, stacklevel: int = 3) -> None:
    """Warns of something deprecated."""
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)
