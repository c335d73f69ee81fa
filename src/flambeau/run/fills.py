"""New arrays of one value: large ones are filled by the pool's threads, with whole vectors.

NumPy's own loop, on one thread, reaches two thirds of what one thread could.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.run import tier

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["filled"]

# Fewer bytes than this are left to NumPy: a native call takes a microsecond longer.
LARGE = 1 << 18
# So many bytes take NumPy as long as it takes to find the kernel.
WORTH_IT = 1 << 24
# From so many bytes on zeros are new pages of the system's, which nobody has to write.
PAGES = 1 << 25

_ticket: Any = None
_seen = 0


def filled(shape: tuple[int, ...], value: Any, dtype: np.dtype | type) -> np.ndarray:
    """An array of that shape with ``value``, converted as NumPy does, everywhere.

    >>> filled((2,), 3, np.float32)
    array([3., 3.], dtype=float32)
    """
    out = np.empty(shape, dtype)
    size = out.nbytes
    if size >= LARGE and (native := _native(size)) is not None:
        native(size)((np.full(64 // out.itemsize, value, dtype),), (out,), (size,))
    else:
        np.copyto(out, value, casting="unsafe")
    return out


def zeroed(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """An array of zeros."""
    size = math.prod(shape)
    if size >= LARGE >> 4 and LARGE <= size * np.dtype(dtype).itemsize < PAGES:
        return filled(shape, 0, dtype)
    return np.zeros(shape, dtype)


def _native(size: int) -> Callable[[int], Any] | None:
    """What gives the native function for so many bytes; asked for once it is worth it."""
    global _ticket, _seen
    if _ticket is None:
        _seen += size
        how = tier.chosen()
        if how == "interpret" or (how != "compile" and _seen < WORTH_IT):
            return None
        from flambeau.run.compiler import filling

        _ticket = filling.asked()
    return _function if _ticket.done() and tier.chosen() != "interpret" else None


@lru_cache(maxsize=64)
def _function(size: int) -> Any:
    from flambeau.run.compiler import filling

    return filling.function(_ticket.wait(), size)
