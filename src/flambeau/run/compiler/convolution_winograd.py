"""Convolution by Winograd's minimal filtering, F(4x4, 3x3) and F(2x2, 5x5) [Lavin and Gray 2016].

An output tile of m x m is ``A' [(G w G') . (B' d B)] A`` of kernels ``w`` and an image tile ``d``
of 6 x 6: of the products of a direct sum, 36 of 144 (or of 100) are left, as 36 matrix products.

The points of the transforms are 0, 3/4, -3/4, 3/2, -3/2 and infinity: exact in binary, and four
times more accurate in float32 than the usual small integers (1e-6 of the result's scale).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod
from typing import TYPE_CHECKING

from flambeau.run.compiler.convolution_blocks import Code, Lanes, aligned, chunk_of
from flambeau.run.compiler.convolution_direct import multiply
from flambeau.run.compiler.convolution_narrow import Correlation
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.run.compiler.target import Target

__all__ = ["Transforms", "winograd", "winograd_gain"]

SIDE = 6
PLACES = SIDE * SIDE
POINTS = tuple(Fraction(k, 4) for k in (0, 3, -3, 6, -6))
_TILES = 16
_UNROLLED = 26
# A core's second-level cache, the cache behind it, and the bytes a cycle that come from there.
_CACHE_BYTES = 768 << 10
_SHARED_CACHE_BYTES = 16 << 20
_FETCHED = 8

Matrix = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class Transforms:
    """Matrices of F(m, r): of the image (``B'``), the kernels (``G``) and the result (``A'``)."""

    m: int
    r: int
    image: Matrix
    kernel: Matrix
    result: Matrix
    # What the kernels' rows are to be divided by, left out of ``kernel``.
    divisors: tuple[Fraction, ...]

    @classmethod
    @cache
    def of(cls, m: int, r: int) -> Transforms:
        """By Toom and Cook: evaluation at points, products, interpolation, transposed."""

        def product(points: Sequence[Fraction]) -> tuple[Fraction, ...]:
            found = [Fraction(1)]
            for p in points:
                above = [Fraction(0), *found]
                found = [a - p * b for a, b in zip(above, [*found, Fraction(0)], strict=True)]
            return (*found, *[Fraction(0)] * (SIDE - len(found)))

        one, zero = Fraction(1), Fraction(0)
        image = [product([q for q in POINTS if q != p]) for p in POINTS] + [product(POINTS)]
        result = [(*(p**i for p in POINTS), one if i == m - 1 else zero) for i in range(m)]
        kernel = [tuple(p**k for k in range(r)) for p in POINTS]
        kernel.append((*[zero] * (r - 1), one))
        divisors = [prod(p - q for q in POINTS if q != p) for p in POINTS] + [one]
        return cls(m, r, tuple(image), tuple(kernel), tuple(result), tuple(divisors))

    @property
    def scaled_kernel(self) -> Matrix:
        rows = zip(self.kernel, self.divisors, strict=True)
        return tuple(tuple(x / by for x in row) for row, by in rows)

    @property
    def scaled_result(self) -> Matrix:
        return tuple(
            tuple(x / by for x, by in zip(row, self.divisors, strict=True)) for row in self.result
        )


def combined(f: Code, n: Lanes, matrix: Matrix, values: Sequence[str]) -> list[str]:
    """``matrix`` times a column of vectors; rows for a point and its negative share their sums."""
    out: dict[int, str] = {}
    for i, row in enumerate(matrix):
        if i in out:
            continue
        mirror = tuple(-x if k % 2 else x for k, x in enumerate(row))
        if mirror in matrix and mirror != row:
            even = _sum(f, n, [(x, v) for x, v in list(zip(row, values, strict=True))[::2] if x])
            odd_terms = [(x, v) for x, v in list(zip(row, values, strict=True))[1::2] if x]
            last = odd_terms[-1][0]
            odd = _sum(f, n, [(x / last, v) for x, v in odd_terms])
            out[i] = _scaled_add(f, n, last, odd, even)
            out[matrix.index(mirror)] = _scaled_add(f, n, -last, odd, even)
        else:
            out[i] = _sum(f, n, [(x, v) for x, v in zip(row, values, strict=True) if x])
    return [out[i] for i in range(len(matrix))]


def _scaled_add(f: Code, n: Lanes, by: Fraction, value: str, base: str) -> str:
    if abs(by) == 1:
        return f.value(f"{'fadd' if by > 0 else 'fsub'} {n.type} {base}, {value}")
    return f.fma(n.type, f.literal(n.count, n.element, float(by)), value, base)


def _sum(f: Code, n: Lanes, terms: Sequence[tuple[Fraction, str]]) -> str:
    ones = [t for t in terms if t[0] == 1]
    first = ones[0] if ones else terms[0]
    total = first[1]
    if first[0] != 1:
        total = f.value(f"fmul {n.type} {total}, {f.literal(n.count, n.element, float(first[0]))}")
    for by, value in terms:
        if value != first[1]:
            total = _scaled_add(f, n, by, value, total)
    return total


def winograd_gain(c: Correlation, lanes: Lanes, weights: bool = False) -> float:
    """By how much fewer instructions this takes than a direct sum; 0 where it does not apply."""
    r = c.kernel[2]
    if c.kernel != (1, r, r) or r not in (3, 5) or c.step != (1, 1, 1) or c.spread != (1, 1, 1):
        return 0.0
    if c.dilation[1:] != (1, 1) or c.output[0] != 1 or c.size[0] != 1 or c.low[0] != 0:
        return 0.0
    if min(c.inputs, c.outputs) < lanes.count // 2:
        return 0.0
    m = SIDE + 1 - r
    tiles = c.samples * -(-c.output[1] // m) * -(-c.output[2] // m)
    wide, deep = -(-c.outputs // lanes.count), -(-c.inputs // lanes.count)
    pairs = c.inputs * wide
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


class Tiles:
    """How tiles are shared out: blocks of rows of tiles of an image, or of a few small images."""

    def __init__(self, c: Correlation, lanes: Lanes, m: int, wanted: int) -> None:
        self.c, self.lanes, self.m = c, lanes, m
        self.down, self.across = -(-c.output[1] // m), -(-c.output[2] // m)
        self.images = 1
        if self.down * self.across >= wanted:
            self.blocks, self.rows = self._shared(wanted)
        else:
            self.blocks = 1
            self.images = min(c.samples, -(-wanted // (self.down * self.across)))
            self.rows = self.down * self.images
        self.count = self.rows * self.across
        self.groups_of_images = -(-c.samples // self.images)
        self.inputs = aligned(c.inputs, lanes.count)

    def _shared(self, wanted: int) -> tuple[int, int]:
        """Blocks, and rows each: of few tiles done twice, neither too few nor too many."""
        options = []
        for blocks in range(1, self.down + 1):
            # Rows of tiles of the last block are done again where they do not come out even.
            rows = -(-self.down // blocks)
            count = rows * self.across
            if count <= 4 * wanted or rows == 1:
                cost = blocks * count * (1 + max(0, count / wanted - 1) / 10 + 1.5 / count)
                options.append((cost, blocks, rows))
        _, blocks, rows = min(options)
        return blocks, rows

    @property
    def items(self) -> int:
        return self.groups_of_images * self.blocks

    @property
    def values_place(self) -> int:
        """Bytes from one place of the transformed tiles to the next: not a power of two."""
        return self.count * self.inputs * self.lanes.size + 64

    def first(self, f: Code, item: str) -> tuple[str, str]:
        """The first sample and row of tiles of a block."""
        if self.images > 1:
            return f.mul(item, self.images), "0"
        sample, block = f.divided(item, self.blocks)
        return sample, f.mul(block, self.rows)

    @property
    def rows_each(self) -> int:
        """Rows of tiles of each image of a block."""
        return self.rows // self.images


@dataclass(frozen=True)
class Image:
    """A source of tiles: its place in memory, its channels, and the border of its windows."""

    channels: int
    of_sample: int
    size: tuple[int, int]
    low: tuple[int, int]

    def columns(self, t: Tiles, side: int) -> tuple[int, int, int, int]:
        """Of a row of tiles: the first of the image, where it goes, where zeros follow, the end."""
        end = (t.across - 1) * t.m + side
        first = max(0, -self.low[1])
        run = aligned(max(0, min(self.size[1] - first, end - first - self.low[1])), t.lanes.count)
        return first, first + self.low[1], first + self.low[1] + run, end

    def line(self, t: Tiles, side: int) -> int:
        """Columns that a row of tiles needs in memory."""
        return max(self.columns(t, side)[2:])


def transformed(
    f: Code,
    t: Tiles,
    image: Image,
    side: int,
    matrix: Matrix,
    base: str,
    item: str,
    room: str,
    into: str,
    place: int,
) -> None:
    """Tiles of ``side`` x ``side`` of all rows of a block, ``matrix`` applied to both axes.

    They go to ``into`` as (place, tile, channel); tiles past the image are zeros. ``room`` is
    memory for ``2 * SIDE`` lines of ``image.line`` vectors.
    """
    n, size = t.lanes, t.lanes.size
    channels = aligned(image.channels, n.count)
    rows, width = image.size
    first, start, stop, end = image.columns(t, side)
    line = image.line(t, side) * n.bytes
    half = f.byte(room, SIDE * line)
    kept = side - t.m
    with f.loop("0", str(side)) as a:
        for left, right in ((0, start), (stop, end)):
            if left < right:
                with f.loop(str(left), str(right)) as x:
                    at = f.along(room, (a.index, line), (x.index, n.bytes))
                    f.store(n.type, "zeroinitializer", at, n.size)
    first_sample, first_row = t.first(f, item)
    with (
        f.loop("0", str(t.images)) as which,
        f.loop("0", str(channels // n.count)) as part,
        f.loop("0", str(t.rows_each)) as q,
    ):
        sample = f.add(first_sample, which.index)
        channel = f.mul(part.index, n.count)
        source = f.along(base, (sample, image.of_sample * size))
        top = f.add(f.mul(f.add(first_row, q.index), t.m), -image.low[0])
        # The last rows of the tiles above are still there.
        fresh = "0"
        if kept and t.rows_each > 1:
            begins = f.value(f"icmp eq i64 {q.index}, 0")
            fresh = f.value(f"select i1 {begins}, i64 0, i64 {kept}")
        with f.loop(fresh, str(side)) as a:
            y = f.add(top, a.index)
            inside = f.value(f"icmp ult i64 {y}, {rows}")
            if t.images > 1:
                real = f.value(f"icmp slt i64 {sample}, {t.c.samples}")
                inside = f.value(f"and i1 {inside}, {real}")
            limit = f.value(f"select i1 {inside}, i64 {width}, i64 0")
            limit = f.value(f"trunc i64 {limit} to i32")
            pixels = f.along(source, (y, width * size))
            with f.loop("0", str((stop - start) // n.count)) as chunk:
                skipped = f.add(f.mul(chunk.index, n.count), first)
                base_column = f.splat(n.count, "i32", f.value(f"trunc i64 {skipped} to i32"))
                steps = ", ".join(f"i32 {i}" for i in range(n.count))
                x = f.value(f"add <{n.count} x i32> {base_column}, <{steps}>")
                wide = f.splat(n.count, "i32", limit)
                mask = f.value(f"icmp ult <{n.count} x i32> {x}, {wide}")
                here = f.along(pixels, (skipped, size))
                to = f.along(
                    room, (a.index, line), (chunk.index, n.count * n.bytes), (start, n.bytes)
                )

                def row(k: str, here: str = here, mask: str = mask) -> str:
                    # Lanes past the last channel repeat it; nobody reads them.
                    which = f.least(f.add(channel, k), image.channels - 1)
                    at = f.along(here, (which, rows * width * size))
                    # Planes are too many for the processor to foresee: the next tiles' rows.
                    f.prefetch(f.byte(at, t.m * width * size))
                    return f.load_masked(n.count, n.element, at, mask)

                def column(k: str, value: str, to: str = to) -> None:
                    f.store(n.type, value, f.along(to, (k, n.bytes)), n.size)

                # The second half of the memory is not in use yet.
                f.turn(n, half, row, column)
        with f.loop("0", str(end)) as x:
            at = f.along(room, (x.index, n.bytes))
            found = [f.load(n.type, f.byte(at, a * line)) for a in range(side)]
            to = f.along(half, (x.index, n.bytes))
            for a, value in enumerate(combined(f, n, matrix, found)):
                f.store(n.type, value, f.byte(to, a * line), n.size)
            for a in range(kept):
                f.store(n.type, found[t.m + a], f.byte(at, a * line), n.size)
        row_of_tiles = f.add(f.mul(which.index, t.rows_each), q.index)
        first_tile = f.mul(row_of_tiles, t.across)
        with f.loop("0", str(t.across)) as j:
            tile = f.add(first_tile, j.index)
            to = f.along(into, (tile, channels * size), (channel, size))
            at = f.along(half, (j.index, t.m * n.bytes))
            with f.loop("0", str(SIDE)) as a:
                here = f.along(at, (a.index, line))
                found = [f.load(n.type, f.byte(here, b * n.bytes)) for b in range(side)]
                there = f.along(to, (a.index, SIDE * place))
                for b, value in enumerate(combined(f, n, matrix, found)):
                    f.store(n.type, value, f.byte(there, b * place), n.size)


def winograd(c: Correlation, lanes: Lanes, target: Target, operands: Sequence[str]) -> Plan:
    """``operands``: image, weights, result."""
    maker = _Winograd(c, lanes, target)
    return Plan((maker.pack(operands[1]), maker.main(operands)), maker.packed_bytes)


class _Winograd:
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
        self.packed_group = PLACES * c.inputs * self.outputs * lanes.size
        self.packed_bytes = c.groups * self.packed_group

    def _channel(self, f: Code, vector: str) -> str:
        """The first channel of a vector; the last overlaps the one before it, if there is one."""
        n = self.lanes
        return f.least(f.mul(vector, n.count), max(0, self.c.outputs - n.count))

    def pack(self, weights: str) -> Stage:
        """Transformed weights: ``(group, place, block, input, output channel)``."""
        c, n, t = self.c, self.lanes, self.transforms
        f = Code()
        source, memory = f.pointer(0), f.pointer(1)
        taps = t.r * t.r
        place = self.blocks * c.inputs * self.block * n.size
        # Turned around, the first tap is the last in memory.
        first = c.first - (taps - 1) if c.of_tap[2] < 0 else c.first
        with f.loop("%begin", "%end") as unit:
            group, vector, i = f.split(unit.index, self.wide, c.inputs)
            channel = self._channel(f, vector)
            base = f.along(
                source, (group, c.of_group * n.size), (i, c.of_input * n.size), (first, n.size)
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
            block, v = f.divided(vector, self.vectors)
            into = f.along(
                memory,
                (group, self.packed_group),
                (block, c.inputs * self.block * n.size),
                (i, self.block * n.size),
                (v, n.bytes),
            )
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
        units = c.groups * self.wide * c.inputs
        kernel = f.kernel((3 * n.count + taps + SIDE * t.r) * n.bytes)
        return Stage(kernel, (weights, "w"), units, chunk_of(units, units * 250))

    @property
    def image(self) -> Image:
        c = self.c
        return Image(c.inputs, c.groups * c.inputs * prod(c.size), c.size[1:], c.low[1:])

    @property
    def _line(self) -> int:
        """Vectors to a line of memory: for a row of tiles, or of the result's transforms."""
        t = self.tiles
        columns = aligned(self.c.output[2], self.lanes.count)
        return max(self.image.line(t, SIDE), t.across * SIDE, columns)

    def main(self, operands: Sequence[str]) -> Stage:
        c, n, t = self.c, self.lanes, self.tiles
        f = Code()
        image, memory, result = (f.pointer(i) for i in range(3))
        sums_place = t.count * self.outputs * n.size + 64
        values_at = 2 * SIDE * self._line * n.bytes
        sums_at = values_at + aligned(PLACES * t.values_place, 64)
        pixels = prod(c.size)
        source = self.image
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
                    (place.index, self.blocks * c.inputs * self.block * n.size),
                    (block.index, c.inputs * self.block * n.size),
                )
                products(
                    f, n, self.vectors, self.at_once, t.count, c.inputs,
                    weights, self.block * n.size,
                    f.along(values, (place.index, t.values_place)), t.inputs * n.size, n.size,
                    f.along(sums, (place.index, sums_place), (block.index, self.block * n.size)),
                    self.outputs * n.size,
                )  # fmt: skip
            out = f.along(result, (group, c.outputs * prod(c.output) * n.size))
            self._results(f, item, sums, sums_place, out)
        units = t.items * c.groups
        work = units * t.count * PLACES * c.inputs * self.wide * 1.3
        kernel = f.kernel(sums_at + PLACES * sums_place)
        return Stage(kernel, (operands[0], "w", operands[2]), units, chunk_of(units, work))

    def _results(self, f: Code, item: str, sums: str, place: int, out: str) -> None:
        """Turns sums back into images, a row of tiles and a vector of channels at a time."""
        c, n, t, m = self.c, self.lanes, self.tiles, self.transforms.m
        plane, width = prod(c.output), c.output[2]
        matrix = self.transforms.result
        half = f.byte("%scratch", SIDE * self._line * n.bytes)
        run, line = t.across * SIDE * n.bytes, self._line * n.bytes
        first_sample, first_row = t.first(f, item)
        # Images and rows of tiles that only fill up the block are left out.
        images, rows = str(t.images), str(t.rows_each)
        if c.samples % t.images:
            images = f.least(f.sub(str(c.samples), first_sample), t.images)
        if t.down % t.rows_each:
            rows = f.least(f.sub(str(t.down), first_row), t.rows)
        with (
            f.loop("0", images) as which,
            f.loop("0", rows) as q,
            f.loop("0", str(self.wide)) as vector,
        ):
            sample = f.add(first_sample, which.index)
            row = f.add(first_row, q.index)
            channel = self._channel(f, vector.index)
            first = f.mul(f.add(f.mul(which.index, t.rows_each), q.index), t.across)
            with f.loop("0", str(t.across)) as j:
                tile = f.add(first, j.index)
                at = f.along(sums, (tile, self.outputs * n.size), (vector.index, n.bytes))
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


def products(
    f: Code,
    n: Lanes,
    vectors: int,
    at_once: int,
    rows: int,
    depth: int,
    a: str,
    a_step: int,
    b: str,
    b_row: int,
    b_step: int,
    out: str,
    out_row: int,
    add: bool = False,
) -> None:
    """``out[row] (+)= sum over depth of b[row, k] * a[k]``: scalars times ``vectors`` of ``a``."""
    size = vectors * at_once
    written = max(1, _UNROLLED // size)
    while depth % written:
        written -= 1
    with f.loop("0", str(rows), str(at_once)) as loop:
        row = loop.index
        if rows % at_once and add:
            raise ValueError("rows that overlap would be added twice")
        row = f.least(row, rows - at_once)
        scalars = f.along(b, (row, b_row))
        to = f.along(out, (row, out_row))
        places = [
            f.byte(to, k * out_row + v * n.bytes) for v in range(vectors) for k in range(at_once)
        ]
        before = [f.load(n.type, p, n.size) for p in places] if add else ["zeroinitializer"] * size
        carried = [(n.type, x) for x in before]
        with f.loop("0", str(depth), str(written), carried=carried) as k:
            here = f.along(a, (k.index, a_step))
            there = f.along(scalars, (k.index, b_step))
            sums = list(k.carried)
            for u in range(written):
                offsets = [u * b_step + i * b_row for i in range(at_once)]
                sums = multiply(f, n, sums, here, there, u * a_step, offsets)
            k.carry(*sums)
        for at, value in zip(places, k.result, strict=True):
            f.store(n.type, value, at, n.size)
