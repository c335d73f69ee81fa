"""Where the elements of an array are not zero, in row-major order, as int64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["flat_places", "place_columns", "place_rows"]

# Fewer elements NumPy has found before native code is asked.
_FEW = 1 << 12


def flat_places(array: np.ndarray) -> np.ndarray:
    """Places in the flattened array.

    >>> flat_places(np.array([[0, 3], [5, 0]]))
    array([1, 2])
    """
    found = _native(array, 1)
    return np.flatnonzero(array) if found is None else found[0]


def place_columns(array: np.ndarray) -> Sequence[np.ndarray]:
    """Indices along each dimension, of which there is one at least.

    >>> place_columns(np.array([[0, 3], [5, 0]]))
    [array([0, 1]), array([1, 0])]
    """
    found = _native(array, array.ndim)
    if found is None:
        found = [np.ascontiguousarray(f, np.int64) for f in np.nonzero(array)]
    return found


def place_rows(array: np.ndarray) -> np.ndarray:
    """A row of indices for each place.

    >>> place_rows(np.array([[0, 3], [5, 0]]))
    array([[0, 1],
           [1, 0]])
    """
    if not array.ndim:
        return np.empty((int(array != 0), 0), np.int64)
    found = _native(array, array.ndim, True)
    if found is None:
        return np.ascontiguousarray(np.argwhere(array), np.int64)
    return found[0]


def _native(array: np.ndarray, dims: int, together: bool = False) -> list[np.ndarray] | None:
    if array.size < _FEW:
        return None
    from flambeau.run.compiler import nonzero

    return nonzero.found(array, dims, together)
