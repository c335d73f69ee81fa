"""Blocks of transforms between arrays and buffers whose lanes are transforms of their own.

A unit is as many transforms as a vector has lanes. They lie side by side in memory (*columns*), or
one after the other (*rows*), which are turned over on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.run.compiler.convolution_blocks import Code, Lanes

__all__ = ["Columns", "Rows"]


@dataclass(frozen=True)
class Rows:
    """Transforms one after the other: ``lead`` is the first row's number, of ``rows``.

    Rows beyond the last are the last one again: they give what it gives. The floats of a row are
    every ``step``-th vector of the buffer.
    """

    lanes: Lanes
    array: str
    lead: str
    rows: int
    room: str

    def _row(self, f: Code, width: int, k: str) -> str:
        row = f.least(f.add(self.lead, k), self.rows - 1)
        return f.along(self.array, (row, width * self.lanes.size))

    def load(self, f: Code, width: int, buffer: str, step: int = 1) -> None:
        """``width`` floats of each row become vectors."""
        lanes = self.lanes
        n = lanes.count

        def block(at: str, count: int) -> None:
            to = f.along(buffer, (at, step * lanes.bytes))

            def row(k: str) -> str:
                place = f.along(self._row(f, width, k), (at, lanes.size))
                return f.get(lanes, place, count)

            def put(q: str, value: str) -> None:
                with f.only(q, count, n):
                    place = f.along(to, (q, step * lanes.bytes))
                    f.store(lanes.type, value, place, lanes.size)

            f.turn(lanes, self.room, row, put)

        self._blocks(f, width, block)

    def store(self, f: Code, width: int, buffer: str, step: int = 1) -> None:
        """The reverse."""
        lanes = self.lanes

        def block(at: str, count: int) -> None:
            source = f.along(buffer, (at, step * lanes.bytes))

            def vector(k: str) -> str:
                # Those after the last lie in the buffer's margin.
                place = f.along(source, (k, step * lanes.bytes))
                return f.load(lanes.type, place, lanes.size)

            def put(q: str, value: str) -> None:
                place = f.along(self._row(f, width, q), (at, lanes.size))
                f.put(lanes, value, place, count)

            f.turn(lanes, self.room, vector, put)

        self._blocks(f, width, block)

    def _blocks(self, f: Code, width: int, block: Callable[[str, int], None]) -> None:
        n = self.lanes.count
        whole = width - width % n
        if whole:
            with f.loop("0", str(whole), str(n)) as at:
                block(at.index, n)
        if width > whole:
            block(str(whole), width - whole)


@dataclass(frozen=True)
class Columns:
    """Transforms side by side: the first number's address; ``inner`` numbers lie between two of
    one transform, and ``left`` (a name, or None if there are enough) are there for the lanes."""

    lanes: Lanes
    array: str
    inner: int
    left: str | None

    def _masks(self, f: Code, of_pairs: bool) -> tuple[str | None, str | None]:
        if self.left is None:
            return None, None
        n = self.lanes.count
        if not of_pairs:
            return f.mask(n, self.left), None
        floats = f.mul(self.left, 2)
        rest = f.call("llvm.smax.i64", "i64", ("i64", f.sub(floats, n)), ("i64", "0"))
        return f.mask(n, floats), f.mask(n, rest)

    def _get(self, f: Code, place: str, mask: str | None) -> str:
        lanes = self.lanes
        if mask is None:
            return f.load(lanes.type, place, lanes.size)
        return f.load_masked(lanes.count, lanes.element, place, mask)

    def _put(self, f: Code, value: str, place: str, mask: str | None) -> None:
        lanes = self.lanes
        if mask is None:
            f.store(lanes.type, value, place, lanes.size)
        else:
            f.store_masked(lanes.count, lanes.element, value, place, mask)

    def load(self, f: Code, count: int, buffer: str) -> None:
        """``count`` complex numbers of each transform."""
        lanes = self.lanes
        n = lanes.count
        masks = self._masks(f, True)
        with f.loop("0", str(count)) as j:
            place = f.along(self.array, (j.index, 2 * self.inner * lanes.size))
            a = self._get(f, place, masks[0])
            b = self._get(f, f.byte(place, lanes.bytes), masks[1])
            to = f.along(buffer, (j.index, 2 * lanes.bytes))
            f.store(lanes.type, f.shuffle(lanes, a, b, range(0, 2 * n, 2)), to, lanes.size)
            odd = f.shuffle(lanes, a, b, range(1, 2 * n, 2))
            f.store(lanes.type, odd, f.byte(to, lanes.bytes), lanes.size)

    def store(self, f: Code, count: int, buffer: str) -> None:
        """The reverse."""
        lanes = self.lanes
        n = lanes.count
        masks = self._masks(f, True)
        halves = [[x for k in range(n // 2) for x in (h + k, n + h + k)] for h in (0, n // 2)]
        with f.loop("0", str(count)) as j:
            source = f.along(buffer, (j.index, 2 * lanes.bytes))
            a = f.load(lanes.type, source, lanes.size)
            b = f.load(lanes.type, f.byte(source, lanes.bytes), lanes.size)
            place = f.along(self.array, (j.index, 2 * self.inner * lanes.size))
            self._put(f, f.shuffle(lanes, a, b, halves[0]), place, masks[0])
            second = f.shuffle(lanes, a, b, halves[1])
            self._put(f, second, f.byte(place, lanes.bytes), masks[1])

    def load_real(self, f: Code, count: int, buffer: str, step: int) -> None:
        """``count`` real numbers of each transform: every ``step``-th vector of the buffer."""
        lanes = self.lanes
        mask = self._masks(f, False)[0]
        with f.loop("0", str(count)) as j:
            x = self._get(f, f.along(self.array, (j.index, self.inner * lanes.size)), mask)
            f.store(lanes.type, x, f.along(buffer, (j.index, step * lanes.bytes)), lanes.size)

    def store_real(self, f: Code, count: int, buffer: str, step: int) -> None:
        """The reverse."""
        lanes = self.lanes
        mask = self._masks(f, False)[0]
        with f.loop("0", str(count)) as j:
            x = f.load(lanes.type, f.along(buffer, (j.index, step * lanes.bytes)), lanes.size)
            self._put(f, x, f.along(self.array, (j.index, self.inner * lanes.size)), mask)
