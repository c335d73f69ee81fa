"""What Winograd's convolutions are made of: transforms, tiles of images, products of them.

F(4x4, 3x3) and F(2x2, 5x5) of minimal filtering [Lavin and Gray 2016]: an output tile of m x m is
``A' [(G w G') . (B' d B)] A`` of kernels ``w`` and an image tile ``d`` of 6 x 6. Of the products of
a direct sum, 36 of 144 (or of 100) are left, as 36 matrix products.
Along a third axis the sum is direct: the slices that a slice of the result reads are more channels.

The points of the transforms are 0, 3/4, -3/4, 3/2, -3/2 and infinity: exact in binary, and four
times more accurate in float32 than the usual small integers (1e-6 of the result's scale).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod

from flambeau.run.compiler.convolution_blocks import Code, Lanes, aligned
from flambeau.run.compiler.convolution_direct import multiply
from flambeau.run.compiler.convolution_narrow import Correlation

__all__ = ["PLACES", "SIDE", "Image", "Tiles", "Transforms", "combined", "products", "transformed"]

SIDE = 6
PLACES = SIDE * SIDE
POINTS = tuple(Fraction(k, 4) for k in (0, 3, -3, 6, -6))
_UNROLLED = 26

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


class Tiles:
    """How tiles are shared out: blocks of rows of tiles of an image, or of a few small images.

    An image is one slice of the result (of one axis more) of one sample.
    """

    def __init__(self, c: Correlation, lanes: Lanes, m: int, wanted: int) -> None:
        self.c, self.lanes, self.m = c, lanes, m
        self.down, self.across = -(-c.output[1] // m), -(-c.output[2] // m)
        self.images, self.slices = 1, c.output[0]
        self.total = c.samples * self.slices
        if self.down * self.across >= wanted:
            self.blocks, self.rows = self._shared(wanted)
        else:
            self.blocks = 1
            self.images = min(self.total, -(-wanted // (self.down * self.across)))
            self.rows = self.down * self.images
        self.count = self.rows * self.across
        self.groups_of_images = -(-self.total // self.images)
        self.inputs = across_taps(c.inputs, c.kernel[0], lanes)

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
        """The first image and row of tiles of a block."""
        if self.images > 1:
            return f.mul(item, self.images), "0"
        image, block = f.divided(item, self.blocks)
        return image, f.mul(block, self.rows)

    @property
    def rows_each(self) -> int:
        """Rows of tiles of each image of a block."""
        return self.rows // self.images


def across_taps(channels: int, taps: int, lanes: Lanes) -> int:
    """Room for the channels of as many slices: whole vectors are written, one after the other."""
    return aligned((taps - 1) * channels + aligned(channels, lanes.count), lanes.count)


@dataclass(frozen=True)
class Image:
    """A source of tiles: its place in memory, its channels, and the border of its windows.

    ``slices`` are its own; ``taps`` of them, ``apart``, from ``before`` the first on, make one of
    the result.
    """

    channels: int
    of_sample: int
    size: tuple[int, int]
    low: tuple[int, int]
    slices: int = 1
    taps: int = 1
    apart: int = 1
    before: int = 0

    @classmethod
    def of(cls, c: Correlation) -> Image:
        """What a convolution reads."""
        return cls(
            c.inputs, c.groups * c.inputs * prod(c.size), c.size[1:], c.low[1:],
            c.size[0], c.kernel[0], c.dilation[0], c.low[0],
        )  # fmt: skip

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
    where: Callable[[str, str, str], str] | None = None,
) -> None:
    """Tiles of ``side`` x ``side`` of all rows of a block, ``matrix`` applied to both axes.

    They go to ``into`` as (place, tile, channel), or to ``where`` a tile's vector of channels (of a
    slice) lies; tiles past the image are zeros. ``room`` is memory for ``2 * SIDE`` lines of
    ``image.line`` vectors.
    """
    n, size = t.lanes, t.lanes.size
    channels = across_taps(image.channels, image.taps, n)
    parts = aligned(image.channels, n.count) // n.count
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
    first_image, first_row = t.first(f, item)
    with (
        f.loop("0", str(t.images)) as which,
        f.loop("0", str(image.taps)) as tap,
        f.loop("0", str(parts)) as part,
        f.loop("0", str(t.rows_each)) as q,
    ):
        flat = f.add(first_image, which.index)
        sample, slice_ = f.divided(flat, t.slices)
        slice_ = f.add(f.add(slice_, f.mul(tap.index, image.apart)), -image.before)
        channel = f.mul(part.index, n.count)
        source = f.along(base, (sample, image.of_sample * size), (slice_, rows * width * size))
        top = f.add(f.mul(f.add(first_row, q.index), t.m), -image.low[0])
        # The last rows of the tiles above are still there.
        fresh = "0"
        if kept and t.rows_each > 1:
            begins = f.value(f"icmp eq i64 {q.index}, 0")
            fresh = f.value(f"select i1 {begins}, i64 0, i64 {kept}")
        with f.loop(fresh, str(side)) as a:
            y = f.add(top, a.index)
            inside = f.value(f"icmp ult i64 {y}, {rows}")
            if (t.slices, image.slices, image.taps, image.before) != (1, 1, 1, 0):
                real = f.value(f"icmp ult i64 {slice_}, {image.slices}")
                inside = f.value(f"and i1 {inside}, {real}")
            if t.images > 1:
                real = f.value(f"icmp slt i64 {flat}, {t.total}")
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
                    at = f.along(here, (which, image.slices * rows * width * size))
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
            if where is not None:
                to = where(tile, tap.index, part.index)
            else:
                # What lies past the last channel is written over by the next slice's.
                to = f.along(
                    into,
                    (tile, channels * size),
                    (tap.index, image.channels * size),
                    (channel, size),
                )
            at = f.along(half, (j.index, t.m * n.bytes))
            with f.loop("0", str(SIDE)) as a:
                here = f.along(at, (a.index, line))
                found = [f.load(n.type, f.byte(here, b * n.bytes)) for b in range(side)]
                there = f.along(to, (a.index, SIDE * place))
                for b, value in enumerate(combined(f, n, matrix, found)):
                    f.store(n.type, value, f.byte(there, b * place), n.size)


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
