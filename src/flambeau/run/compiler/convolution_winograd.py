"""Convolution by Winograd's minimal filtering: which pays, and its kernels.

Kernels are transformed and packed; a unit of work then is a block of tiles, with all channels.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau.run.compiler.convolution_blocks import Code, Lanes, aligned, chunk_of
from flambeau.run.compiler.convolution_ending import Ending, Part
from flambeau.run.compiler.convolution_narrow import Correlation
from flambeau.run.compiler.convolution_winograd_tiles import (
    PLACES,
    SIDE,
    Image,
    Tiles,
    Transforms,
    combined,
    products,
    transformed,
)
from flambeau.run.compiler.stages import Epilogue, Plan, Stage

if TYPE_CHECKING:
    from flambeau.run.compiler.target import Target

__all__ = ["Winograd", "winograd", "winograd_gain"]

_TILES = 16
# A core's second-level cache, the cache behind it, and the bytes a cycle that come from there.
_CACHE_BYTES = 768 << 10
_SHARED_CACHE_BYTES = 16 << 20
_FETCHED = 8


def winograd_gain(c: Correlation, lanes: Lanes, weights: bool = False) -> float:
    """By how much fewer instructions this takes than a direct sum; 0 where it does not apply."""
    r, taps = c.kernel[2], c.kernel[0]
    if c.kernel[1] != r or r not in (3, 5) or c.step != (1, 1, 1) or c.spread != (1, 1, 1):
        return 0.0
    if c.dilation[1:] != (1, 1):
        return 0.0
    if min(c.inputs, c.outputs) < lanes.count // 2:
        return 0.0
    m = SIDE + 1 - r
    tiles = c.samples * c.output[0] * -(-c.output[1] // m) * -(-c.output[2] // m)
    wide, deep = -(-c.outputs // lanes.count), taps * -(-c.inputs // lanes.count)
    pairs = c.inputs * taps * wide
    each = 1.1 * PLACES * pairs + 340 * deep + 320 * wide
    # Transforming the kernels; where they do not fit the cache, fetching them again and again.
    kernels, room = 250 * pairs, PLACES * pairs * lanes.bytes
    if room > _CACHE_BYTES:
        each += (2 if weights else 1) * room / _FETCHED / _TILES
        kernels += 2 * room / _FETCHED
    if weights and room > _SHARED_CACHE_BYTES:
        return 0.0
    direct = c.samples * prod(c.output) * r * r * pairs * 1.1 + 60 * pairs
    return direct / (tiles * each + kernels)


def winograd(
    c: Correlation, lanes: Lanes, target: Target, epilogue: Epilogue | None = None
) -> Plan:
    """Inputs are the image and the weights."""
    maker = Winograd(c, lanes, target)
    return Plan((maker.pack("1"), maker.main(epilogue)), maker.packed_bytes)


class Winograd:
    def __init__(self, c: Correlation, lanes: Lanes, target: Target) -> None:
        self.c, self.lanes = c, lanes
        r = c.kernel[2]
        self.transforms = Transforms.of(SIDE + 1 - r, r)
        self.tiles = Tiles(c, lanes, self.transforms.m, _TILES)
        self.wide = -(-c.outputs // lanes.count)
        self.vectors, self.at_once = register_tile(self.wide, self.tiles.count, lanes, target)
        self.blocks = -(-self.wide // self.vectors)
        self.block = self.vectors * lanes.count
        self.outputs = self.block * self.blocks
        self.depth = c.kernel[0] * c.inputs
        self.packed_group = PLACES * self.depth * self.outputs * lanes.size
        self.packed_bytes = c.groups * self.packed_group

    def channel(self, f: Code, vector: str) -> str:
        """The first channel of a vector; the last overlaps the one before it, if there is one."""
        n = self.lanes
        return f.least(f.mul(vector, n.count), max(0, self.c.outputs - n.count))

    def pack(self, weights: str) -> Stage:
        """Transformed weights: ``(group, place, block, slice and input, output channel)``."""
        c, n = self.c, self.lanes
        f = Code()
        source, memory = f.pointer(0), f.pointer(1)
        place = self.blocks * self.depth * self.block * n.size
        with f.loop("%begin", "%end") as unit:
            group, vector, slice_, i = f.split(unit.index, self.wide, c.kernel[0], c.inputs)
            block, v = f.divided(vector, self.vectors)
            into = f.along(
                memory,
                (group, self.packed_group),
                (block, self.depth * self.block * n.size),
                (slice_, c.inputs * self.block * n.size),
                (i, self.block * n.size),
                (v, n.bytes),
            )
            self.kernel(f, source, (group, vector, slice_, i), into, place)
        units = c.groups * self.wide * self.depth
        kernel = f.kernel(self.kernel_room)
        return Stage(kernel, (weights, "w"), units, chunk_of(units, units * 250))

    @property
    def kernel_room(self) -> int:
        """Bytes of scratch memory that ``kernel`` works in."""
        n, r = self.lanes, self.transforms.r
        return (3 * n.count + r * r + SIDE * r) * n.bytes

    def kernel(
        self, f: Code, source: str, which: tuple[str, str, str, str], into: str, place: int
    ) -> None:
        """Transforms a kernel of a vector of channels: ``which`` are group, vector, slice, input.

        Its places go to ``into``, ``place`` bytes apart.
        """
        c, n, t = self.c, self.lanes, self.transforms
        group, vector, slice_, i = which
        taps = t.r * t.r
        # Turned around, the first tap is the last in memory.
        first = c.first - (taps - 1) if c.of_tap[2] < 0 else c.first
        channel = self.channel(f, vector)
        base = f.along(
            source,
            (group, c.of_group * n.size),
            (slice_, c.of_tap[0] * n.size),
            (i, c.of_input * n.size),
            (first, n.size),
        )
        tile = f.byte("%scratch", n.count * n.bytes)
        for start in range(0, taps, n.count):
            count = min(n.count, taps - start)

            def row(lane: str, start: int = start, count: int = count) -> str:
                which = f.least(f.add(channel, lane), c.outputs - 1)
                at = f.along(base, (which, c.of_output * n.size), (start, n.size))
                return f.get(n, at, count)

            def column(k: str, value: str, start: int = start) -> None:
                place = f.add(k, start)
                if c.of_tap[2] < 0:
                    place = f.sub(str(taps - 1 + n.count), place)
                f.store(n.type, value, f.along(tile, (place, n.bytes)), n.size)

            f.turn(n, "%scratch", row, column)
        # Turned around, tap k is at taps - 1 - k; what is past the taps goes before them.
        first_tap = f.byte(tile, n.count * n.bytes) if c.of_tap[2] < 0 else tile
        half = f.byte("%scratch", (3 * n.count + taps) * n.bytes)
        with f.loop("0", str(t.r)) as k:
            at = f.along(first_tap, (k.index, n.bytes))
            found = [f.load(n.type, f.byte(at, a * t.r * n.bytes)) for a in range(t.r)]
            to = f.along(half, (k.index, n.bytes))
            for a, value in enumerate(combined(f, n, t.scaled_kernel, found)):
                f.store(n.type, value, f.byte(to, a * t.r * n.bytes), n.size)
        with f.loop("0", str(SIDE)) as a:
            at = f.along(half, (a.index, t.r * n.bytes))
            found = [f.load(n.type, f.byte(at, k * n.bytes)) for k in range(t.r)]
            to = f.along(into, (a.index, SIDE * place))
            for b, value in enumerate(combined(f, n, t.scaled_kernel, found)):
                f.store(n.type, value, f.byte(to, b * place), n.size)

    @property
    def line(self) -> int:
        """Vectors to a line of memory: for a row of tiles, or of the result's transforms."""
        t = self.tiles
        columns = aligned(self.c.output[2], self.lanes.count)
        return max(Image.of(self.c).line(t, SIDE), t.across * SIDE, columns)

    def main(self, epilogue: Epilogue | None) -> Stage:
        c, n, t = self.c, self.lanes, self.tiles
        f = Code()
        ending = Ending(f, epilogue)
        image, memory, result = ending.pointers()
        sums_place = t.count * self.outputs * n.size + 64
        values_at = 2 * SIDE * self.line * n.bytes
        sums_at = values_at + aligned(PLACES * t.values_place, 64)
        pixels = prod(c.size)
        source = Image.of(c)
        with f.loop("%begin", "%end") as unit:
            item, group = f.divided(unit.index, c.groups)
            values = f.byte("%scratch", values_at)
            sums = f.byte("%scratch", sums_at)
            transformed(
                f, t, source, SIDE, self.transforms.image,
                f.along(image, (group, c.inputs * pixels * n.size)),
                item, "%scratch", values, t.values_place,
            )  # fmt: skip
            packed = f.along(memory, (group, self.packed_group))
            with f.loop("0", str(PLACES)) as place, f.loop("0", str(self.blocks)) as block:
                weights = f.along(
                    packed,
                    (place.index, self.blocks * self.depth * self.block * n.size),
                    (block.index, self.depth * self.block * n.size),
                )
                products(
                    f, n, self.vectors, self.at_once, t.count, self.depth,
                    weights, self.block * n.size,
                    f.along(values, (place.index, t.values_place)), t.inputs * n.size, n.size,
                    f.along(sums, (place.index, sums_place), (block.index, self.block * n.size)),
                    self.outputs * n.size,
                )  # fmt: skip
            out = f.along(result, (group, c.outputs * prod(c.output) * n.size))
            channels = ("0", str(self.wide), self.outputs)
            self.results(f, item, group, sums, sums_place, channels, out, ending)
        units = t.items * c.groups
        work = units * t.count * PLACES * self.depth * self.wide * 1.3
        kernel = f.kernel(sums_at + PLACES * sums_place)
        return Stage(kernel, (*ending.operands, "0", "w", "out0"), units, chunk_of(units, work))

    def results(
        self,
        f: Code,
        item: str,
        group: str,
        sums: str,
        place: int,
        vectors: tuple[str, str, int],
        out: str,
        ending: Ending,
    ) -> None:
        """Turns sums back into images, a row of tiles and a vector of channels at a time.

        ``vectors`` are the first vector of channels, how many, and the channels of a tile's sums.
        """
        c, n, t, m = self.c, self.lanes, self.tiles, self.transforms.m
        plane, width = prod(c.output), c.output[2]
        matrix = self.transforms.result
        half = f.byte("%scratch", SIDE * self.line * n.bytes)
        run, line = t.across * SIDE * n.bytes, self.line * n.bytes
        first_image, first_row = t.first(f, item)
        # Images and rows of tiles that only fill up the block are left out.
        images, rows = str(t.images), str(t.rows_each)
        if t.total % t.images:
            images = f.least(f.sub(str(t.total), first_image), t.images)
        if t.down % t.rows_each:
            rows = f.least(f.sub(str(t.down), first_row), t.rows)
        with (
            f.loop("0", images) as which,
            f.loop("0", rows) as q,
            f.loop("0", vectors[1]) as vector,
        ):
            sample, slice_ = f.divided(f.add(first_image, which.index), t.slices)
            row = f.add(first_row, q.index)
            channel = self.channel(f, f.add(vectors[0], vector.index))
            first = f.mul(f.add(f.mul(which.index, t.rows_each), q.index), t.across)
            with f.loop("0", str(t.across)) as j:
                tile = f.add(first, j.index)
                at = f.along(sums, (tile, vectors[2] * n.size), (vector.index, n.bytes))
                to = f.along(half, (j.index, SIDE * n.bytes))
                with f.loop("0", str(SIDE)) as b:
                    here = f.along(at, (b.index, place))
                    there = f.along(to, (b.index, n.bytes))
                    found = [f.load(n.type, f.byte(here, a * SIDE * place)) for a in range(SIDE)]
                    for a, value in enumerate(combined(f, n, matrix, found)):
                        f.store(n.type, value, f.byte(there, a * run), n.size)
            with f.loop("0", str(m)) as a, f.loop("0", str(t.across)) as j:
                at = f.along(half, (a.index, run), (j.index, SIDE * n.bytes))
                found = [f.load(n.type, f.byte(at, b * n.bytes)) for b in range(SIDE)]
                to = f.along("%scratch", (a.index, line), (j.index, m * n.bytes))
                for b, value in enumerate(combined(f, n, matrix, found)):
                    f.store(n.type, value, f.byte(to, b * n.bytes), n.size)
            top = f.mul(row, m)
            left = f.least(f.sub(str(c.output[1]), top), m)
            image = f.along(
                out,
                (sample, c.groups * c.outputs * plane * n.size),
                (channel, plane * n.size),
                (slice_, c.output[1] * width * n.size),
                (top, width * n.size),
            )
            with f.loop("0", left) as a, f.loop("0", str(-(-width // n.count))) as chunk:
                start = f.mul(chunk.index, n.count)
                here = f.along("%scratch", (a.index, line), (start, n.bytes))
                into = f.along(image, (a.index, width * n.size), (start, n.size))
                mask = f.mask(n.count, f.sub(str(width), start))

                def pixel(k: str, here: str = here) -> str:
                    return f.load(n.type, f.along(here, (k, n.bytes)))

                def channel_of(lane: str, value: str, into: str = into, mask: str = mask) -> None:
                    to = f.along(into, (lane, plane * n.size))
                    f.prefetch(f.byte(to, m * width * n.size), True)
                    with f.only(lane, c.outputs, n.count):
                        if width % n.count:
                            f.store_masked(n.count, n.element, value, to, mask)
                        else:
                            f.store(n.type, value, to, n.size)

                f.turn(n, half, pixel, channel_of)
        with f.loop("0", images) as which:
            sample, slice_ = f.divided(f.add(first_image, which.index), t.slices)
            top = f.mul(first_row, m)
            depth = f.least(f.sub(str(c.output[1]), top), t.rows_each * m)
            begin = self.channel(f, vectors[0])
            end = f.least(f.mul(f.add(vectors[0], vectors[1]), n.count), c.outputs)
            channels = (f.add(f.mul(group, c.outputs), begin), f.sub(end, begin))
            part = Part(
                c.groups * c.outputs, c.output, (sample, "1"), channels, (slice_, "1"), (top, depth)
            )
            ending.finish(n, part)


def register_tile(wide: int, rows: int, lanes: Lanes, target: Target) -> tuple[int, int]:
    """Vectors and rows of a product that are summed up in registers."""
    room = target.registers - 6
    options = []
    for vectors in range(1, min(wide, 2) + 1):
        for at_once in range(1, min(rows, room // vectors, 16) + 1):
            steps = -(-wide // vectors) * -(-rows // at_once)
            each = max(vectors * at_once, 8) + 0.25 * (vectors + at_once) + 0.5
            options.append((steps * each, vectors, at_once))
    _, vectors, at_once = min(options)
    return vectors, at_once
