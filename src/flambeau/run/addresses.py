"""Where an array's first element lies: NumPy's own attributes take a microsecond to say so."""

from __future__ import annotations

import ctypes

import numpy as np

__all__ = ["address_of"]

# The data pointer follows the head that all Python objects have.
_DATA = object.__basicsize__
_word = ctypes.c_size_t.from_address


def _there(array: np.ndarray) -> int:
    return _word(id(array) + _DATA).value


def _asked(array: np.ndarray) -> int:
    return array.ctypes.data


def _is_known() -> bool:
    """Whether this Python and this NumPy keep the pointer there: looked up on samples."""
    whole = np.arange(6.0).reshape(2, 3)
    return all(_there(a) == _asked(a) for a in (whole, whole[1:, 1], whole.T, np.empty(0)))


address_of = _there if _is_known() else _asked
