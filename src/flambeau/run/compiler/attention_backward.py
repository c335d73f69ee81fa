"""The gradients of attention, over tiles of keys: the weights of each tile made anew.

A tile of keys and one of values lie along the lanes, with sums for their gradients; blocks of
queries pass by: scores, weights, the scores' gradient, and from these the sums and the queries'
gradient, which grows in memory. A unit of work is a stretch of the keys of one stacked attention;
where there are several, each has a gradient of the queries of its own, added up afterwards, so
that threads have no say in any sum.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau.run.compiler.attention_tiles import (
    Problem,
    Writer,
    block_of,
    cut,
    rows_for,
    vectors_for,
)
from flambeau.run.compiler.convolution_blocks import aligned, chunk_of
from flambeau.run.compiler.sizes import Size, later
from flambeau.run.compiler.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.run.compiler.emit import Kernel

__all__ = ["backward", "parts_of"]

# Queries of a block, about.
QUERIES = 64
# Units that are enough for most machines, and how many parts a stretch of keys is cut into.
UNITS, PARTS = 16, 8
NAMES = ("g", "q", "k", "v", "lse", "delta", "scale", "dq", "dk", "dv")


def parts_of(stack: int, keys: int) -> int:
    """Stretches of keys with a gradient of the queries of their own."""
    if keys.__class__ is Size or stack.__class__ is Size:
        return 1
    return max(1, min(PARTS, cut(UNITS, stack), keys // 128))


class Backward(Writer):
    """The kernel: operands, results, and perhaps a mask."""

    def __init__(self, s: Problem, parts: int) -> None:
        names = (*NAMES[:7], "mask", *NAMES[7:]) if s.mask else NAMES
        super().__init__(s, vectors_for(s.keys, s.n.count), names)
        self.parts = parts
        self.tiles = cut(s.keys, self.block)
        # Of the queries' gradient: vectors along its rows.
        self.along = s.n.at_most(s.width)
        self.across = min(cut(s.width, self.along.count), 4 if s.registers >= 32 else 2)
        self.rows = rows_for(s.queries, self.vectors, s.registers)
        self.rows_across = rows_for(s.queries, self.across, s.registers)
        step = math.lcm(self.rows, self.rows_across)
        self.queries = block_of(s.queries, QUERIES, step)
        self.ragged = s.keys.__class__ is Size or s.keys % self.block > 0
        lanes = s.n.count
        self.k, self.dk = (self.tile(aligned(s.width, lanes)) for _ in range(2))
        self.v, self.dv = (self.tile(aligned(s.values, lanes)) for _ in range(2))
        self.weights, self.slopes = (self.tile(self.queries) for _ in range(2))

    def write(self) -> Kernel:
        f, s = self.f, self.s
        given = dict(self.pointers)
        with f.loop("%begin", "%end") as unit:
            *batch, part = f.split(unit.index, *s.stack[1:], self.parts)
            self.pointers = dict(given)
            self.find(batch, *s.sides)
            whole = math.prod(s.stack) * s.queries * s.width * s.n.size
            self.pointers["dq"] = f.along(self.pointers["dq"], (part, whole))
            self.scale = self.splat_at(self.pointers["scale"], "0")
            with f.loop("0", str(s.queries)) as i:
                self.clear(i.index)
            each = cut(self.tiles, self.parts)
            start = f.mul(part, each)
            with f.loop(start, f.least(f.add(start, each), self.tiles)) as tile:
                self.over_queries(f.mul(tile.index, self.block))
        return f.kernel(self.scratch, "attention")

    def clear(self, row: str) -> None:
        """Zeros in a row of the queries' gradient."""
        f, n, width = self.f, self.along, self.s.width
        at = self.row("dq", row)
        whole = width - width % n.count
        if whole:
            with f.loop("0", str(whole), str(n.count)) as d:
                f.store(n.type, "zeroinitializer", f.along(at, (d.index, n.size)), n.size)
        if width > whole:
            f.put(n, "zeroinitializer", f.byte(at, whole * n.size), width - whole)

    def over_queries(self, first: str) -> None:
        """One tile of keys."""
        f, s = self.f, self.s
        self.first = first

        def begin(name: str, width: int, tile: str, sums: str, scale: str) -> None:
            self.turned(name, first, s.keys - 1, width, tile, scale)
            with f.loop("0", str(width)) as d:
                for v in self.each():
                    self.store("zeroinitializer", self.vector(sums, d.index, v))

        self.both(
            begin,
            ("k", "v"),
            [(self.k, self.v), (self.dk, self.dv)],
            (self.scale, self.number(1.0)),
        )
        self.lanes = []
        if s.mask and s.mask.key:
            self.lanes = [
                self.existing(f.add(first, v * self.n.count), s.keys) for v in self.each()
            ]
        start = "0"
        if s.causal:
            # Queries before the tile's first key see none of it.
            start = f.mul(f.divided(first, self.queries)[0], self.queries)
        with f.loop(start, str(s.queries), str(self.queries)) as block:
            self.over_block(block.index, f.least(f.sub(str(s.queries), block.index), self.queries))
        self.both(
            lambda name, width, tile: self.put_back(tile, name, first, s.keys, width),
            ("dk", "dv"),
            [(self.dk, self.dv)],
        )

    def both(
        self,
        body: Callable[..., None],
        names: tuple[str, str],
        tiles: list[tuple[str, str]],
        factors: tuple[str, str] | None = None,
    ) -> None:
        """``body(name, width, tiles, factor)`` for keys and for values, or what is as wide.

        Where they lie alike that is one text, run twice: half the work of translating it.
        """
        f, s = self.f, self.s
        first, second = names
        rows = [s.sides[name].row for name in names]
        if s.width != s.values or rows[0] != rows[1]:
            for i, width in enumerate((s.width, s.values)):
                more = [factors[i]] if factors else []
                body(names[i], width, *(t[i] for t in tiles), *more)
            return
        own = self.pointers[first]
        with f.loop("0", "2") as turn:
            later = f.value(f"icmp ne i64 {turn.index}, 0")

            def chosen(ty: str, a: str, b: str) -> str:
                return f.value(f"select i1 {later}, {ty} {b}, {ty} {a}")

            self.pointers[first] = chosen("ptr", own, self.pointers[second])
            more = [chosen(self.n.type, *factors)] if factors else []
            body(first, s.width, *(chosen("ptr", *t) for t in tiles), *more)
        self.pointers[first] = own

    def over_block(self, first: str, count: str) -> None:
        """A block of queries."""
        f, s = self.f, self.s
        sides = ("q", "g")

        def score(name: str, width: int, to: str, tile: str) -> None:
            self.products(to, name, first, count, s.queries, self.rows, tile, width)

        self.both(score, sides, [(self.weights, self.slopes), (self.k, self.v)])
        with f.loop("0", count) as i:
            at = f.add(first, i.index)
            self.weigh(i.index, at)

        def add(name: str, width: int, to: str, tile: str) -> None:
            rows = rows_for(width, self.vectors, s.registers)
            self.gather(to, name, first, count, width, rows, tile)

        self.both(add, sides, [(self.dk, self.dv), (self.slopes, self.weights)])
        self.of_queries(first, count)

    def weigh(self, row: str, query: str) -> None:
        """From scores and the weights' gradients to weights and the scores' gradient."""
        s = self.s
        shift = self.finite(self.splat_at(self.pointers["lse"], query))
        delta = self.splat_at(self.pointers["delta"], query)
        for v in self.each():
            at, slope = self.vector(self.weights, row, v), self.vector(self.slopes, row, v)
            score = self.load(at)
            if s.mask:
                score = self.op("fadd", score, self.mask(query, v))
            if s.causal:
                lanes = self.f.add(self.first, v * self.n.count)
                hidden = self.hidden(lanes, query, later_lanes=True)
                score = self.select(hidden, self.number(-math.inf), score)
            weight = self.exp(self.op("fsub", score, shift))
            self.store(self.rounded(weight), at)
            found = self.op("fmul", weight, self.op("fsub", self.load(slope), delta))
            found = self.rounded(found)
            self.store(self.op("fmul", found, self.scale), slope)

    def mask(self, query: str, v: int) -> str:
        """What is added to a vector of scores."""
        f, n, mask = self.f, self.n, self.s.mask
        assert mask is not None
        at = f.along(self.pointers["mask"], (query, mask.query * n.size))
        if mask.key == 0:
            return f.broadcast(n, at)
        at = f.along(at, (f.add(self.first, v * n.count), n.size))
        if not self.ragged:
            return self.load(at)
        return f.load_masked(n.count, n.element, at, self.lanes[v])

    def of_queries(self, first: str, count: str) -> None:
        """Adds the scores' gradient times the keys to the gradient of a block of queries."""
        f, s, n = self.f, self.s, self.along
        depth = f.least(f.sub(str(s.keys), self.first), self.block)
        keys = self.row("k", self.first)
        step = s.sides["k"].row * n.size
        width = self.across * n.count

        def panel(d: str, columns: int) -> None:
            vectors = cut(columns, n.count)
            last = columns - (vectors - 1) * n.count

            def some(r: str, rows: int) -> None:
                places = []
                for i in range(rows * vectors):
                    row = self.row("dq", f.add(first, f.add(r, i // vectors)))
                    places.append(f.along(row, (f.add(d, i % vectors * n.count), n.size)))
                counts = ([n.count] * (vectors - 1) + [last]) * rows
                sums = [f.get(n, at, count) for at, count in zip(places, counts, strict=True)]
                a = self.vector(self.slopes, r)
                b = f.along(keys, (d, n.size))
                sums = self.multiply(
                    n, rows, vectors, depth, a, (self.line, n.size), b, step, sums, last
                )
                for value, at, count in zip(sums, places, counts, strict=True):
                    f.put(n, value, at, count)

            self.over_rows("0", count, s.queries, self.rows_across, some)

        whole = s.width - s.width % width
        if whole:
            with f.loop("0", str(whole), str(width)) as d:
                panel(d.index, width)
        if s.width > whole:
            panel(str(whole), s.width - whole)


def backward(s: Problem, parts: int) -> Stage:
    """One stage: ``g q k v lse delta scale dq dk dv``, before the results perhaps ``mask``."""
    w = Backward(s, parts)
    kernel = w.write()
    units = math.prod(s.stack) * parts
    each = w.vectors * (3 * s.width + 2 * s.values + 40)

    def chunk(units: int, tiles: int, queries: int) -> int:
        vectors = units // parts * tiles * queries * each
        return chunk_of(units, cut(vectors, 1 + s.causal))

    return Stage(kernel, w.addresses, units, later(chunk, units, w.tiles, s.queries))
