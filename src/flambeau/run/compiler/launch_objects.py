"""Where this Python and this NumPy keep things in their objects, in bytes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np

from flambeau.errors import NotSupportedError

__all__ = ["CONTIGUOUS_ALIGNED", "Layout", "layout"]

# The flags of a plain array.
CONTIGUOUS_ALIGNED = 0x101


@dataclass(frozen=True)
class Layout:
    """Offsets of fields from the beginning of an object."""

    kind: int
    size: int
    number: int
    list_items: int
    tuple_items: int
    data: int
    flags: int


@cache
def layout() -> Layout:
    """What the formulas of CPython's and NumPy's headers give, checked on samples."""
    head = object.__basicsize__
    found = Layout(head - 8, head, head, head + 8, tuple.__basicsize__, head, head + 48)
    sample, number, array = object(), 1234.5, np.arange(6.0).reshape(2, 3)
    listed, tupled = [sample, number], (sample, number, sample)

    def at(where: int) -> int:
        return ctypes.c_int64.from_address(where).value

    def word(thing: object, offset: int) -> int:
        return at(id(thing) + offset)

    def flags(thing: np.ndarray) -> int:
        return word(thing, found.flags) & CONTIGUOUS_ALIGNED

    unaligned = np.zeros(17, np.uint8)[1:].view(np.float64)
    agree = (
        all(word(x, found.kind) == id(type(x)) for x in (number, array, listed, tupled))
        and (word(listed, found.size), word(tupled, found.size)) == (2, 3)
        and word(number, found.number) == ctypes.c_int64.from_buffer(ctypes.c_double(number)).value
        and at(word(listed, found.list_items)) == id(sample)
        and word(tupled, found.tuple_items + 8) == id(number)
        and word(array, found.data) == array.ctypes.data
        and [flags(x) for x in (array, array.T, unaligned)] == [0x101, 0x100, 0x001]
    )
    if not agree:
        raise NotSupportedError(
            "the compiled tier does not know this Python's or NumPy's object layout; "
            "set FLAMBEAU_TIER=interpret"
        )
    return found
