"""Where an array's elements are not zero: counted first, then written, as threads share them out.

How many there are is a value, so this is no part of a program: functions call it between two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from flambeau.dtypes import from_numpy_dtype
from flambeau.run import tier
from flambeau.run.compiler import code, launch
from flambeau.run.compiler.convolution_blocks import Code
from flambeau.run.compiler.elements import element, known
from flambeau.run.compiler.emit import vector
from flambeau.run.tail import tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.emit import Kernel

    # What is done with a column, the truths from there on, and how many came before.
    Found = Callable[[str, str, str], None]

__all__ = ["found"]

# Elements a unit of work, and how many of them are looked at together.
_UNIT, _TOGETHER = 1 << 14, 64
# What a kernel reads besides the array: words of its geometry.
_LENGTH, _ROWS, _PIECES, _EACH, _SHAPE = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class _Space:
    """An array as rows along its last axis, cut up into units.

    A unit is ``each`` whole rows; or, where one is longer than a unit, one of its ``pieces``.
    """

    length: int
    rows: int
    pieces: int
    each: int

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> _Space:
        length = shape[-1]
        pieces = -(-length // _UNIT)
        return cls(length, math.prod(shape[:-1]), pieces, max(1, _UNIT // length))

    @property
    def units(self) -> int:
        return -(-self.rows // self.each) * self.pieces


class _Masks(Code):
    """The loops that both kernels have: over units, rows, and blocks of a row."""

    def __init__(self, el: Element) -> None:
        super().__init__()
        self.el = el
        self.source, self.geometry = self.pointer(0), self.pointer(1)
        words = (_LENGTH, _ROWS, _PIECES, _EACH)
        self.length, self.rows, self.pieces, self.each = (self.word(k) for k in words)

    def word(self, k: int) -> str:
        return self.load("i64", self.element(self.geometry, "i64", str(k)), 8)

    def truths(self, at: str, mask: str | None) -> str:
        """Which of the elements from ``at`` on are not zero: one bit each."""
        el, n = self.el, _TOGETHER
        # Only the bits of short floating-point numbers are looked at: all but their signs.
        short = el.kind == "f" and el.size == 2
        memory = "i16" if short else el.memory
        ty = vector(n, memory)
        x = self.load(ty, at, el.size) if mask is None else self.load_masked(n, memory, at, mask)
        if short:
            x = self.value(f"and {ty} {x}, splat (i16 32767)")
        compare = "fcmp une" if memory in ("float", "double") else "icmp ne"
        some = self.value(f"{compare} {ty} {x}, zeroinitializer")
        return self.value(f"bitcast <{n} x i1> {some} to i{n}")

    def unit_rows(self, unit: str) -> tuple[str, str, str, str]:
        """Of a unit: its rows, from and to, and the elements of each, from and to."""
        first = self.value(f"mul i64 {self.value(f'udiv i64 {unit}, {self.pieces}')}, {self.each}")
        last = self.least(self.add(first, self.each), self.rows)
        start = self.value(f"mul i64 {self.value(f'urem i64 {unit}, {self.pieces}')}, {_UNIT}")
        stop = self.least(self.add(start, _UNIT), self.length)
        return first, last, start, stop

    def along_rows(self, unit: str, begin: Callable[[str], Found], total: str) -> str:
        """Goes through a unit: how many were found, from ``total`` on.

        ``begin`` is given a row, and gives what is done with (column, truths, number before).
        """
        first, last, start, stop = self.unit_rows(unit)
        with self.loop(first, last, carried=[("i64", total)]) as row:
            found = begin(row.index)
            origin = self.value(f"mul i64 {row.index}, {self.length}")

            def step(column: str, mask: str | None, before: str) -> str:
                at = self.along(self.source, (self.add(origin, column), self.el.size))
                bits = self.truths(at, mask)
                found(column, bits, before)
                count = self.call(f"llvm.ctpop.i{_TOGETHER}", "i64", ("i64", bits))
                return self.add(before, count)

            with self.loop(
                start, stop, str(_TOGETHER), [("i64", row.carried[0])], while_room=True
            ) as block:
                block.carry(step(block.index, None, block.carried[0]))
            rest = self.sub(stop, block.index)
            once = self.value(f"zext i1 {self.value(f'icmp sgt i64 {rest}, 0')} to i64")
            with self.loop("0", once, carried=[("i64", block.result[0])]) as end:
                mask = self.mask(_TOGETHER, rest)
                end.carry(step(block.index, mask, end.carried[0]))
            row.carry(end.result[0])
        return row.result[0]


def counting(el: Element) -> Kernel:
    """How many there are in each unit."""
    f = _Masks(el)
    counts = f.pointer(2)
    with f.loop("%begin", "%end") as unit:
        total = f.along_rows(unit.index, lambda row: lambda column, bits, before: None, "0")
        f.store("i64", total, f.along(counts, (unit.index, 8)), 8)
    return f.kernel(prefix="count")


def writing(el: Element, dims: int, together: bool) -> Kernel:
    """Their places, in order: an index along each of ``dims`` dimensions, the last a row's.

    ``together``: in rows of one array, not in one array a dimension.
    """
    f = _Masks(el)
    before = f.pointer(2)
    outs = [f.pointer(3 + (0 if together else d)) for d in range(dims)]
    step = 8 * (dims if together else 1)
    sizes = [f.word(_SHAPE + d) for d in range(dims - 1)]

    def begin(row: str) -> Found:
        leading: list[str] = []
        for size in reversed(sizes[1:]):
            leading.insert(0, f.value(f"urem i64 {row}, {size}"))
            row = f.value(f"udiv i64 {row}, {size}")
        if sizes:
            leading.insert(0, row)

        def found(column: str, bits: str, number: str) -> None:
            count = f.call(f"llvm.ctpop.i{_TOGETHER}", "i64", ("i64", bits))
            with f.loop("0", count, carried=[("i64", bits)]) as one:
                left = one.carried[0]
                lane = f.value(f"call i64 @llvm.cttz.i64(i64 {left}, i1 true)")
                place = f.add(number, one.index)
                for d, index in enumerate([*leading, f.add(column, lane)]):
                    at = f.byte(f.along(outs[d], (place, step)), 8 * d if together else 0)
                    f.store("i64", index, at, 8)
                one.carry(f.value(f"and i64 {left}, {f.value(f'add i64 {left}, -1')}"))

        return found

    f.declared.add("declare i64 @llvm.cttz.i64(i64, i1)")
    with f.loop("%begin", "%end") as unit:
        start = f.load("i64", f.along(before, (unit.index, 8)), 8)
        f.along_rows(unit.index, begin, start)
    return f.kernel(prefix="places")


_tickets: dict[tuple, code.Ticket] = {}


def _addresses(el: Element, dims: int, together: bool) -> tuple[int, int] | None:
    """Both kernels' code; None where it is not there yet."""
    key = (el, dims, together)
    ticket = _tickets.get(key)
    if ticket is None:

        def work() -> tuple[int, int]:
            launch.load()
            kernels = (counting(el), writing(el, dims, together))
            found = code.addresses(kernels)
            return found[kernels[0].name], found[kernels[1].name]

        ticket = _tickets[key] = code.defer(work)
    # Until it is there NumPy finds the same.
    return ticket.wait() if ticket.done() or tier.chosen() == "compile" else None


@lru_cache(64)
def _launch(function: int, units: int, outs: int) -> launch.Launch:
    """A kernel over units: inputs are the array, its geometry, (numbers before); then outputs."""
    steps = [launch.Step(function, tuple(range(3 + outs)), units, 1)]
    table = np.zeros(3 + outs, np.int64)
    return launch.assemble(steps, table, range(3), range(3, 3 + outs))


def _run(function: int, units: int, inputs: list[np.ndarray], outs: list[np.ndarray]) -> None:
    tail.join()
    if _launch(function, units, len(outs)).call(inputs, outs, ()):
        raise RuntimeError("nonzero: an array that is not plain")


def found(array: np.ndarray, dims: int, together: bool = False) -> list[np.ndarray] | None:
    """Indices (int64) of the elements that are not zero, in row-major order.

    ``dims`` 1 counts them in the flattened array; else it is their dimensions. One array a
    dimension; ``together`` a single one, with a row an element. The array is not empty. None where
    native code is not there (yet).
    """
    if array.dtype.kind == "u":
        # Only zero is asked for.
        array = array.view(f"i{array.itemsize}")
    dtype = from_numpy_dtype(array.dtype)
    if not known(dtype) or tier.chosen() == "interpret":
        return None
    addresses = _addresses(element(dtype), dims, together)
    if addresses is None:
        return None
    array = np.ascontiguousarray(array)
    shape = (array.size,) if dims == 1 else array.shape
    space = _Space.of(shape)
    geometry = np.array([space.length, space.rows, space.pieces, space.each, *shape], np.int64)
    counts = np.empty(space.units, np.int64)
    _run(addresses[0], space.units, [array, geometry, counts], [])
    ends = np.cumsum(counts)
    total = int(ends[-1])
    if together:
        outs = [np.empty((total, dims), np.int64)]
    else:
        outs = [np.empty(total, np.int64) for _ in range(dims)]
    _run(addresses[1], space.units, [array, geometry, ends - counts], outs)
    return outs
