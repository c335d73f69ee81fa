"""Attention by tiles of queries, over tiles of keys: softmax as it comes [Milakov & Gimelshein
2018; Dao et al. 2022].

A unit of work is a tile of queries, along the lanes. For each tile of keys: scores, their maximum
so far, weights and their sum, and values weighed, what was there scaled down where the maximum
rose.
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
from flambeau.run.compiler.vector_math import FUNCTIONS

if TYPE_CHECKING:
    from flambeau.run.compiler.emit import Kernel

__all__ = ["forward"]

# Keys of a tile, about.
KEYS = 64
NAMES = ("q", "k", "v", "scale", "out", "lse")


class Forward(Writer):
    """The kernel: q, k, v, the scale, where results go, and perhaps a mask."""

    def __init__(self, s: Problem) -> None:
        names = (*NAMES, "mask") if s.mask else NAMES
        super().__init__(s, vectors_for(s.queries, s.n.count), names)
        self.tiles = cut(s.queries, self.block)
        self.rows = rows_for(s.keys, self.vectors, s.registers)
        self.out_rows = rows_for(s.values, self.vectors, s.registers)
        # A mask is turned over by squares.
        turned = s.mask is not None and s.mask.query not in (0, 1)
        step = math.lcm(self.rows, s.n.count if turned else 1)
        self.keys = block_of(s.keys, KEYS, step)
        self.single = s.keys.__class__ is int and s.keys <= self.keys
        self.ragged = s.queries.__class__ is Size or s.queries % self.block > 0
        lanes = s.n.count
        self.q = self.tile(aligned(s.width, lanes))
        self.out = self.tile(aligned(s.values, lanes))
        self.scores = self.tile(self.keys)
        self.highest, self.sums = self.tile(1), self.tile(1)
        self.mask_tile = self.tile(self.keys) if turned else ""

    def write(self) -> Kernel:
        f, s = self.f, self.s
        given = dict(self.pointers)
        with f.loop("%begin", "%end") as unit:
            *batch, tile = f.split(unit.index, *s.stack[1:], self.tiles)
            self.pointers = dict(given)
            self.find(batch, *self.s.sides)
            self.first = f.mul(tile, self.block)
            scale = self.splat_at(self.pointers["scale"], "0")
            self.turned("q", self.first, s.queries - 1, s.width, self.q, scale)
            for v in self.each():
                self.store(self.number(-math.inf), self.vector(self.highest, 0, v))
                self.store("zeroinitializer", self.vector(self.sums, 0, v))
            with f.loop("0", str(s.values)) as d:
                for v in self.each():
                    self.store("zeroinitializer", self.vector(self.out, d.index, v))
            if s.mask:
                self.begin_mask()
            stop = str(s.keys)
            if s.causal:
                # Keys after the tile's last query are of no use.
                end = f.add(self.first, self.block + self.rows - 1)
                end = f.mul(f.divided(end, self.rows)[0], self.rows)
                stop = f.least(end, s.keys)
            with f.loop("0", stop, str(self.keys)) as keys:
                self.over_keys(keys.index, f.least(f.sub(stop, keys.index), self.keys))
            self.finish()
        return f.kernel(self.scratch, "attention")

    def over_keys(self, first: str, count: str) -> None:
        f, s = self.f, self.s
        if self.mask_tile:
            self.turn_mask(first, count)
        before = [self.load(self.vector(self.highest, 0, v)) for v in self.each()]

        def scored(row: str, rows: int, sums: list[str]) -> None:
            highest = [self.load(self.vector(self.highest, 0, v)) for v in self.each()]
            for i, value in enumerate(sums):
                r, v = divmod(i, self.vectors)
                at = f.add(row, r)
                if s.mask:
                    value = self.op("fadd", value, self.mask(first, at, v))
                if s.causal:
                    lanes = f.add(self.first, v * self.n.count)
                    hidden = self.hidden(lanes, f.add(first, at), later_lanes=False)
                    value = self.select(hidden, self.number(-math.inf), value)
                highest[v] = self.greater(value, highest[v])
                self.store(value, self.vector(self.scores, at, v))
            for v in self.each():
                self.store(highest[v], self.vector(self.highest, 0, v))

        self.products(self.scores, "k", first, count, s.keys, self.rows, self.q, s.width, scored)
        shift = [self.finite(self.load(self.vector(self.highest, 0, v))) for v in self.each()]
        zeros = [(self.n.type, "zeroinitializer")] * self.vectors
        with f.loop("0", count, carried=zeros) as key:
            sums = []
            for v in self.each():
                at = self.vector(self.scores, key.index, v)
                weight = self.exp(self.op("fsub", self.load(at), shift[v]))
                self.store(self.rounded(weight), at)
                sums.append(self.op("fadd", key.carried[v], weight))
            key.carry(*sums)
        alpha = None
        if not self.single:
            alpha = [self.exp(self.op("fsub", before[v], shift[v])) for v in self.each()]
        for v in self.each():
            total, at = key.result[v], self.vector(self.sums, 0, v)
            if alpha:
                total = self.op("fadd", self.op("fmul", self.load(at), alpha[v]), total)
            self.store(total, at)
        self.gather(self.out, "v", first, count, s.values, self.out_rows, self.scores, alpha)

    def finish(self) -> None:
        """Divides by the sums; a row with nothing to attend to is zeros."""
        f, s, n = self.f, self.s, self.n
        for v in self.each():
            at = self.vector(self.sums, 0, v)
            total = self.load(at)
            shift = self.finite(self.load(self.vector(self.highest, 0, v)))
            log = FUNCTIONS["log"](f, n.count, n.element, total)
            start = f.add(self.first, v * n.count)
            to = f.along(self.pointers["lse"], (start, n.size))
            lse = self.op("fadd", shift, log)
            if self.ragged:
                there = self.existing(start, s.queries)
                f.store_masked(n.count, n.element, lse, to, there)
            else:
                self.store(lse, to)
            none = self.compare("oeq", total, self.number(0.0))
            total = self.select(none, self.number(1.0), total)
            self.store(self.op("fdiv", self.number(1.0), total), at)
        self.put_back(self.out, "out", self.first, s.queries, s.values, self.sums)

    # Masks

    def begin_mask(self) -> None:
        self.lanes = [
            self.existing(self.f.add(self.first, v * self.n.count), self.s.queries)
            for v in self.each()
        ]

    def mask(self, first: str, key: str, v: int) -> str:
        """What is added to a vector of scores."""
        f, n, mask = self.f, self.n, self.s.mask
        assert mask is not None
        if self.mask_tile:
            return self.load(self.vector(self.mask_tile, key, v))
        at = f.along(self.pointers["mask"], (f.add(first, key), mask.key * n.size))
        if mask.query == 0:
            return f.broadcast(n, at)
        at = f.along(at, (f.add(self.first, v * n.count), n.size))
        if not self.ragged:
            return self.load(at)
        return f.load_masked(n.count, n.element, at, self.lanes[v])

    def turn_mask(self, first: str, count: str) -> None:
        """A tile of the mask, queries along the lanes."""
        f, n, s, mask = self.f, self.n, self.s, self.s.mask
        assert mask is not None
        source = f.along(self.pointers["mask"], (first, n.size))

        def square(d: str, columns: int, v: str) -> None:
            start = f.add(self.first, f.mul(v, n.count))

            def load(k: str) -> str:
                row = f.least(f.add(start, k), s.queries - 1)
                return f.get(n, f.along(source, (row, mask.query * n.size), (d, n.size)), columns)

            def store(k: str, value: str) -> None:
                self.store(value, self.vector(self.mask_tile, f.add(d, k), v))

            f.turn(n, self.room, load, store)

        with f.loop("0", str(self.vectors)) as v:
            at = "0"
            if s.keys >= n.count:
                with f.loop("0", count, str(n.count), while_room=True) as d:
                    square(d.index, n.count, v.index)
                at = d.index
            if s.keys % n.count:
                with f.when(f.value(f"icmp slt i64 {at}, {count}")):
                    square(at, s.keys % n.count, v.index)


def forward(s: Problem) -> Stage:
    """One stage: ``q k v scale out lse`` and, where there is one, ``mask``."""
    w = Forward(s)
    kernel = w.write()
    units = math.prod(s.stack) * w.tiles
    each = w.vectors * (s.width + s.values + 24)

    def chunk(units: int, keys: int) -> int:
        return chunk_of(units, cut(units * keys * each, 1 + s.causal))

    return Stage(kernel, w.addresses, units, later(chunk, units, s.keys))
