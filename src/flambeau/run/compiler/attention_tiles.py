"""What the attention kernels are made of: operands where they lie, small products, turned tiles.

Rows of one side (queries forward, keys backward) lie along the lanes of vectors, in memory of the
thread's own; the other side is read where it is, element by element, each broadcast to all lanes.
So maxima and sums over a row of weights need no sum across lanes, and nothing is packed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flambeau.run.compiler.convolution_blocks import Code, Lanes, aligned
from flambeau.run.compiler.nest_values import rounded
from flambeau.run.compiler.pointwise import Lanes as Elements
from flambeau.run.compiler.sizes import Size
from flambeau.run.compiler.vector_math import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.run.compiler.elements import Element

__all__ = ["Mask", "Problem", "Side", "Writer", "block_of", "cut", "rows_for", "vectors_for"]


# Steps of a tile's sums, about.
STEPS = 64


def cut(n: int, by: int) -> int:
    return -(-n // by)


@dataclass(frozen=True)
class Side:
    """How an operand lies in memory: elements to step along each stacked dimension and its rows.

    The elements of a row follow each other.
    """

    stack: tuple[int, ...]
    row: int


@dataclass(frozen=True)
class Mask:
    """Numbers to add to scores: elements to step along stacked dimensions, queries and keys."""

    stack: tuple[int, ...]
    query: int
    key: int


@dataclass(frozen=True)
class Problem:
    """Attention of ``queries`` to ``keys``; ``sides`` are where operands and results lie."""

    n: Lanes
    registers: int
    stack: tuple[int, ...]
    queries: int
    keys: int
    width: int
    values: int
    causal: bool
    sides: dict[str, Side]
    mask: Mask | None
    # What weights are rounded to before they meet values.
    rounded: Element | None = None


def vectors_for(total: int, lanes: int) -> int:
    """Vectors side by side in a tile over ``total`` rows."""
    if total.__class__ is Size:
        return 2
    vectors = cut(total, lanes)
    return vectors if vectors <= 3 else 2


def rows_for(total: int, vectors: int, registers: int, most: int = 14) -> int:
    """Rows of a tile of so many vectors: those that spend least on ``total`` of them.

    A step takes a multiply-add for each vector of the tile, and no less than a load for each row
    and vector, or than an addition's delay.
    """

    if total.__class__ is Size:
        # Those left over are done by half as many, and so on.
        return 8 if 9 * vectors < registers else 4

    def cost(rows: int) -> float:
        step = max(rows * vectors, 0.6 * (rows + vectors) + 1, 5)
        return STEPS * step + 2 * rows * vectors + 16 if rows else 0

    fitting = [r for r in range(1, min(total, most) + 1) if (r + 1) * vectors + 1 <= registers]
    # A last tile of its own is more text, too.
    return min(
        fitting or [1],
        key=lambda r: (total // r * cost(r) + cost(total % r)) * (1 + 0.02 * (total % r > 0)),
    )


def block_of(total: int, about: int, step: int) -> int:
    """Rows of a block: about so many, in steps; no more than there are."""
    whole = aligned(about, step)
    return whole if total.__class__ is Size else min(whole, aligned(total, step))


class Writer:
    """A kernel while it is written."""

    def __init__(self, s: Problem, vectors: int, addresses: tuple[str, ...]) -> None:
        self.s, self.n, self.vectors = s, s.n, vectors
        self.f = Code()
        self.addresses = addresses
        self.pointers = {name: self.f.pointer(i) for i, name in enumerate(addresses)}
        self.scratch = 0
        # A tile's bytes from row to row.
        self.line = vectors * s.n.bytes
        self.block = vectors * s.n.count
        self.room = self.reserve(s.n.count * s.n.bytes)

    def reserve(self, size: int) -> str:
        """Scratch memory."""
        at = self.scratch
        self.scratch += aligned(size, 64)
        return self.f.byte("%scratch", at)

    def tile(self, rows: int) -> str:
        return self.reserve(rows * self.line)

    # Arithmetic on vectors

    def op(self, name: str, x: str, y: str) -> str:
        return self.f.value(f"{name} {self.n.type} {x}, {y}")

    def select(self, condition: str, x: str, y: str) -> str:
        n = self.n
        return self.f.value(f"select <{n.count} x i1> {condition}, {n.type} {x}, {n.type} {y}")

    def compare(self, how: str, x: str, y: str) -> str:
        return self.f.value(f"fcmp {how} {self.n.type} {x}, {y}")

    def number(self, value: float) -> str:
        return self.f.literal(self.n.count, self.n.element, value)

    def rounded(self, x: str) -> str:
        """As the operands' dtype would keep it, where weights are rounded."""
        if self.s.rounded is None:
            return x
        return rounded(Elements(self.f, self.n.count), x, self.s.rounded)

    def greater(self, x: str, y: str) -> str:
        """The greater; y where x is NaN."""
        return self.select(self.compare("ogt", x, y), x, y)

    def finite(self, x: str) -> str:
        """Zero for -inf."""
        none = self.compare("oeq", x, self.number(float("-inf")))
        return self.select(none, self.number(0.0), x)

    def exp(self, x: str) -> str:
        return FUNCTIONS["exp"](self.f, self.n.count, self.n.element, x)

    def existing(self, start: str, total: int) -> str:
        """Lanes from ``start`` that are below ``total``."""
        left = self.f.sub(str(total), start)
        left = self.f.call("llvm.smax.i64", "i64", ("i64", left), ("i64", "0"))
        return self.f.mask(self.n.count, left)

    def each(self) -> range:
        return range(self.vectors)

    def load(self, pointer: str) -> str:
        return self.f.load(self.n.type, pointer, self.n.size)

    def store(self, value: str, pointer: str) -> None:
        self.f.store(self.n.type, value, pointer, self.n.size)

    def vector(self, tile: str, row: str | int, v: str | int = 0) -> str:
        """The address of a vector of a tile."""
        return self.f.along(tile, (row, self.line), (v, self.n.bytes))

    def splat_at(self, pointer: str, index: str) -> str:
        """An element of memory in all lanes."""
        return self.f.broadcast(self.n, self.f.along(pointer, (index, self.n.size)))

    # Operands

    def find(self, batch: list[str], *names: str) -> None:
        """Turns addresses of operands into those of this batch's part."""
        for name in names:
            side = self.s.sides[name]
            self.pointers[name] = self.f.along(
                self.pointers[name],
                *((b, step * self.n.size) for b, step in zip(batch, side.stack, strict=True)),
            )

    def row(self, name: str, index: str) -> str:
        return self.f.along(self.pointers[name], (index, self.s.sides[name].row * self.n.size))

    def turned(
        self, name: str, first: str, last: int, width: int, to: str, scale: str | None = None
    ) -> None:
        """Rows from ``first`` as columns of a tile; rows past the ``last`` are that one again."""
        f, n = self.f, self.n

        def part(d: str, count: int, v: str) -> None:
            start = f.add(first, f.mul(v, n.count))

            def load(k: str) -> str:
                at = self.row(name, f.least(f.add(start, k), last))
                value = f.get(n, f.along(at, (d, n.size)), count)
                return self.op("fmul", value, scale) if scale else value

            f.turn(n, self.room, load, lambda k, x: self.store(x, self.vector(to, f.add(d, k), v)))

        self._parts(width, part)

    def put_back(
        self, tile: str, name: str, first: str, total: int, width: int, factors: str | None = None
    ) -> None:
        """A tile's columns as rows from ``first``, below ``total``; times a vector of factors."""
        f, n = self.f, self.n

        def part(d: str, count: int, v: str) -> None:
            start = f.add(first, f.mul(v, n.count))

            def load(k: str) -> str:
                value = self.load(self.vector(tile, f.add(d, k), v))
                if factors:
                    value = self.op("fmul", value, self.load(self.vector(factors, 0, v)))
                return value

            def store(k: str, value: str) -> None:
                row = f.add(start, k)
                ragged = total.__class__ is Size or total % self.block > 0
                with f.only(row, total, total + ragged):
                    f.put(n, value, f.along(self.row(name, row), (d, n.size)), count)

            f.turn(n, self.room, load, store)

        self._parts(width, part)

    def _parts(self, width: int, part: Callable[[str, int, str], None]) -> None:
        """Squares of ``width`` rows of a tile: (first row, how many exist, vector)."""
        f, n = self.f, self.n
        whole = width - width % n.count
        with f.loop("0", str(self.vectors)) as v:
            if whole:
                with f.loop("0", str(whole), str(n.count)) as d:
                    part(d.index, n.count, v.index)
            if width > whole:
                part(str(whole), width - whole, v.index)

    # Products

    def multiply(
        self, n: Lanes, rows: int, vectors: int, depth: str, a: str, steps: tuple[int, int], b: str,
        step: int, sums: Sequence[str], last: int,
    ) -> list[str]:  # fmt: skip
        """``sums[r, v] + sum_k a[r, k] b[k, v]``, elements of a broadcast, in registers.

        Addresses step in bytes, a's along r and k, b's along k; ``last`` lanes of the last vector
        exist.
        """
        f = self.f
        along_r, along_k = steps
        counts = [n.count] * (vectors - 1) + [last]
        start = [("ptr", a), ("ptr", b), *((n.type, x) for x in sums)]
        with f.loop("0", depth, carried=start) as loop:
            a, b, *totals = loop.carried
            bs = [f.get(n, f.byte(b, v * n.bytes), count) for v, count in enumerate(counts)]
            following = []
            for r in range(rows):
                x = f.broadcast(n, f.byte(a, r * along_r))
                for v in range(vectors):
                    following.append(f.fma(n.type, x, bs[v], totals[r * vectors + v]))
            loop.carry(f.byte(a, along_k), f.byte(b, step), *following)
        return loop.result[2:]

    def product(
        self, rows: int, depth: str, a: str, steps: tuple[int, int], b: str,
        sums: Sequence[str] | None = None,
    ) -> list[str]:  # fmt: skip
        """The same where b is a tile."""
        sums = sums or ["zeroinitializer"] * (rows * self.vectors)
        return self.multiply(
            self.n, rows, self.vectors, depth, a, steps, b, self.line, sums, self.n.count
        )

    def over_rows(
        self, start: str, stop: str, total: int, rows: int, body: Callable[[str, int], None]
    ) -> None:
        """``body(first, how many)`` for rows by ``rows``, those left of ``total`` at the end.

        ``start`` is a multiple of ``rows``, and ``stop`` too unless it is ``total``.
        """
        f = self.f
        at = start
        if total.__class__ is Size:
            with f.loop(start, stop, str(rows), while_room=True) as loop:
                body(loop.index, rows)
            at, left = loop.index, f.sub(stop, loop.index)
            half = rows // 2
            while half:
                with f.when(f.value(f"icmp ne i64 {f.value(f'and i64 {left}, {half}')}, 0")):
                    body(f.add(at, f.value(f"and i64 {left}, {-2 * half}")), half)
                half //= 2
            return
        if total >= rows:
            with f.loop(start, stop, str(rows), while_room=total % rows > 0) as loop:
                body(loop.index, rows)
            at = loop.index
        if total % rows:
            with f.when(f.value(f"icmp slt i64 {at}, {stop}")):
                body(at, total % rows)

    def products(
        self, to: str, name: str, first: str, count: str, total: int, rows: int, b: str, depth: int,
        body: Callable[[str, int, list[str]], None] | None = None,
    ) -> None:  # fmt: skip
        """Rows of an operand from ``first``, times a tile: the rows of the tile ``to``.

        ``body(row, rows, sums)`` is done with what is found instead of writing it to ``to``.
        """
        f, n = self.f, self.n
        stride = self.s.sides[name].row * n.size

        def some(r: str, rows: int) -> None:
            sums = self.product(
                rows, str(depth), self.row(name, f.add(first, r)), (stride, n.size), b
            )
            if body:
                body(r, rows, sums)
            else:
                self.put(to, r, sums)

        self.over_rows("0", count, total, rows, some)

    def put(self, tile: str, first: str, sums: list[str]) -> None:
        for i, value in enumerate(sums):
            r, v = divmod(i, self.vectors)
            self.store(value, self.vector(tile, self.f.add(first, r), v))

    def gather(
        self,
        to: str,
        name: str,
        first: str,
        count: str,
        width: int,
        rows: int,
        b: str,
        alpha: list[str] | None = None,
    ) -> None:
        """Adds to tile ``to`` (a row for each column of an operand) its columns times a tile.

        The operand's rows are ``count`` from ``first``; ``alpha`` are factors of what was there.
        """
        n, f = self.n, self.f
        source = self.row(name, first)
        stride = self.s.sides[name].row * n.size

        def some(d: str, rows: int) -> None:
            sums = []
            for i in range(rows * self.vectors):
                r, v = divmod(i, self.vectors)
                value = self.load(self.vector(to, f.add(d, r), v))
                sums.append(self.op("fmul", value, alpha[v]) if alpha else value)
            at = f.along(source, (d, n.size))
            self.put(to, d, self.product(rows, count, at, (n.size, stride), b, sums))

        self.over_rows("0", str(width), width, rows, some)

    # Hidden places

    def hidden(self, lanes_at: str, other: str, later_lanes: bool) -> str:
        """Lanes from ``lanes_at`` that causality hides: keys after their query.

        ``later_lanes``: the lanes are keys, ``other`` a query; else the other way round.
        """
        f, n = self.f, self.n
        ty = f"<{n.count} x i32>"
        steps = ", ".join(f"i32 {i}" for i in range(n.count))
        apart = f.value(f"sub i64 {other}, {lanes_at}")
        base = f.value(f"trunc i64 {apart} to i32")
        wide = f.splat(n.count, "i32", base)
        how = "sgt" if later_lanes else "slt"
        return f.value(f"icmp {how} {ty} <{steps}>, {wide}")
