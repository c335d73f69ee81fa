"""The places of a matrix that lie in a run of each row, listed by a native loop."""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from flambeau.run.compiler import code
from flambeau.run.compiler.emit import Function, Kernel, vector

if TYPE_CHECKING:
    from collections.abc import Callable


def listing(lanes: int) -> Kernel:
    """Units are rows; addresses: where each row's run begins in the lists (and the last ends), its
    first column, the lists of rows and of columns: int64."""
    f = Function("NAME")
    starts, first, rows, columns = (f.pointer(k) for k in range(4))
    ty = vector(lanes, "i64")
    steps = f.value(f"add {ty} <{', '.join(f'i64 {k}' for k in range(lanes))}>, zeroinitializer")
    with f.loop("%begin", "%end") as unit:
        begin = f.load("i64", f.element(starts, "i64", unit.index), 8)
        after = f.value(f"add i64 {unit.index}, 1")
        end = f.load("i64", f.element(starts, "i64", after), 8)
        lead = f.load("i64", f.element(first, "i64", unit.index), 8)
        count = f.value(f"sub i64 {end}, {begin}")
        row = f.splat(lanes, "i64", unit.index)
        column = f.value(f"add {ty} {f.splat(lanes, 'i64', lead)}, {steps}")
        to_rows, to_columns = (f.element(x, "i64", begin) for x in (rows, columns))
        given = [(ty, column)]
        with f.loop("0", count, str(lanes), carried=given, while_room=True) as v:
            f.store(ty, row, f.element(to_rows, "i64", v.index), 8)
            f.store(ty, v.carried[0], f.element(to_columns, "i64", v.index), 8)
            v.carry(f.value(f"add {ty} {v.carried[0]}, splat (i64 {lanes})"))
        mask = f.mask(lanes, f.value(f"sub i64 {count}, {v.index}"))
        f.store_masked(lanes, "i64", row, f.element(to_rows, "i64", v.index), mask)
        f.store_masked(lanes, "i64", v.result[0], f.element(to_columns, "i64", v.index), mask)
    text = f.finish()
    name = f"places_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return Kernel(name, text.replace("NAME", name))


@cache
def _native() -> Callable[..., None]:
    kernel = listing(max(2, code.target().lanes(8)))
    address = code.request([kernel]).wait()[kernel.name]
    kinds = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    return ctypes.CFUNCTYPE(None, *kinds)(address)


def listed(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Rows and columns of the places from column ``first``, ``count`` of them, of each row.

    >>> listed(np.array([0, 1]), np.array([1, 2]))
    array([[0, 1, 1],
           [0, 1, 2]])
    """
    starts = np.zeros(len(first) + 1, np.int64)
    np.cumsum(count, out=starts[1:])
    first = np.ascontiguousarray(first, np.int64)
    out = np.empty((2, int(starts[-1])), np.int64)
    given = [x.ctypes.data for x in (starts, first, out[0], out[1])]
    _native()((ctypes.c_void_p * 4)(*given), 0, len(first), None)
    return out
