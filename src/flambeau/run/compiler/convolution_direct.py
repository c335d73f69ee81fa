"""Convolution with vectors along the output's channels.

Weights are packed so that a vector holds one tap of as many outputs; pixels are read one by one
from a bordered copy of a part of the image, which serves every stride and dilation. The input's
gradient is done a remainder of positions (by the stride) at a time: each is a convolution with
stride 1 and those taps that reach it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import gcd, prod
from typing import TYPE_CHECKING

from flambeau.run.compiler.convolution_blocks import (
    Code,
    Geometry,
    Lanes,
    Slab,
    Triple,
    aligned,
    chunk_of,
)
from flambeau.run.compiler.convolution_ending import Ending, Part
from flambeau.run.compiler.convolution_narrow import Correlation
from flambeau.run.compiler.stages import Epilogue, Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flambeau.run.compiler.target import Target

__all__ = ["Tiling", "direct", "multiply", "phases_of"]

_UNROLLED = 100
_SLAB_BYTES = 288 << 10
_FEWEST_UNITS = 8


@dataclass(frozen=True)
class Axis:
    """The taps of one axis that reach one remainder: kernel indices and their offsets."""

    start: int
    count: int
    taps: int
    tap: int
    tap_step: int
    offset: int
    offset_step: int


@dataclass(frozen=True)
class Phase:
    """One remainder of output positions: its axes, and where its packed weights begin."""

    axes: tuple[Axis, Axis, Axis]

    @property
    def taps(self) -> int:
        return prod(axis.taps for axis in self.axes)

    @property
    def count(self) -> Triple:
        a, b, c = (axis.count for axis in self.axes)
        return a, b, c

    def kernel_places(self, kernel: Triple) -> Iterator[int]:
        """The flat indices of its taps in the kernel, in the order they are packed."""
        each = [range(x.tap, x.tap + x.taps * x.tap_step, x.tap_step) for x in self.axes]
        for d, h, w in itertools.product(*each):
            yield (d * kernel[1] + h) * kernel[2] + w


@dataclass(frozen=True)
class Phases:
    """All remainders: results are at ``q * spacing + start``, pixels at ``q * step + offset``."""

    each: tuple[Phase, ...]
    spacing: Triple
    step: Triple
    low: Triple
    source: Triple
    result: Triple

    @property
    def most(self) -> Triple:
        a, b, c = (max(p.axes[i].count for p in self.each) for i in range(3))
        return a, b, c

    def reach(self, i: int) -> int:
        ends = [p.axes[i].offset + (p.axes[i].taps - 1) * p.axes[i].offset_step for p in self.each]
        return max(0, *(max(p.axes[i].offset, e) for p, e in zip(self.each, ends, strict=True)))


def phases_of(g: Geometry, backward: bool) -> Phases:
    if not backward:
        axes = [
            Axis(0, o, k, 0, 1, 0, d)
            for o, k, d in zip(g.output, g.kernel, g.dilation, strict=True)
        ]
        phase = Phase((axes[0], axes[1], axes[2]))
        return Phases((phase,), (1, 1, 1), g.stride, g.low, g.size, g.output)
    found: list[list[Axis]] = []
    lows = []
    for n, k, s, low, d in zip(g.size, g.kernel, g.stride, g.low, g.dilation, strict=True):
        axes, least = [], 0
        for r in range(min(s, n)):
            taps = [t for t in range(k) if (r + low - d * t) % s == 0]
            count = -(-(n - r) // s)
            first = taps[0] if taps else 0
            step = s // gcd(d, s)
            offset = (r + low - d * first) // s if taps else 0
            axes.append(Axis(r, count, len(taps), first, step, offset, -d * step // s))
            if taps:
                last = offset + (len(taps) - 1) * (-d * step // s)
                least = min(least, last) if least is not None else last
        found.append(axes)
        lows.append(-least)
    shifted = [
        [
            Axis(a.start, a.count, a.taps, a.tap, a.tap_step, a.offset + low, a.offset_step)
            if a.taps
            else a
            for a in axes
        ]
        for axes, low in zip(found, lows, strict=True)
    ]
    each = tuple(Phase((a, b, c)) for a, b, c in itertools.product(*shifted))
    spacing = (g.stride[0], g.stride[1], g.stride[2])
    return Phases(each, spacing, (1, 1, 1), (lows[0], lows[1], lows[2]), g.output, g.size)


@dataclass(frozen=True)
class Tiling:
    """``vectors`` of channels by ``down`` rows of ``across`` pixels are summed up at once."""

    vectors: int
    down: int
    across: int
    blocks: int

    @property
    def pixels(self) -> int:
        return self.down * self.across

    @classmethod
    def best(
        cls,
        channels: int,
        rows: int,
        columns: int,
        depth: int,
        lanes: Lanes,
        target: Target,
        one_row: bool = False,
    ) -> Tiling:
        """The cheapest tile for sums of ``depth`` products, by counting instructions."""
        room = target.registers - 6
        wide = -(-channels // lanes.count)
        options = []
        for vectors in range(1, min(wide, 8) + 1):
            blocks = -(-wide // vectors)
            most = min(lanes.count, room // vectors)
            for down in range(1, 2 if one_row else min(rows, most) + 1):
                for across in range(1, min(columns, most // down) + 1):
                    pixels = down * across
                    tiles = blocks * -(-rows // down) * -(-columns // across)
                    each = max(vectors * pixels, 8) + 0.25 * (vectors + pixels)
                    ends = vectors * lanes.count * (5 if pixels > lanes.count // 2 else 3.5)
                    ends += vectors * lanes.count * (down - 1)
                    cost = tiles * (each * depth + ends)
                    options.append((cost, vectors, down, across, blocks))
        _, vectors, down, across, blocks = min(options)
        return cls(vectors, down, across, blocks)


def direct(
    g: Geometry, lanes: Lanes, target: Target, backward: bool, epilogue: Epilogue | None = None
) -> Plan:
    """Inputs are the image and the weights; ``backward``: the gradient of the input."""
    c = Correlation.backward(g) if backward else Correlation.forward(g)
    phases = phases_of(g, backward)
    maker = _Direct(g, c, phases, lanes, target)
    return Plan((maker.pack("1"), maker.main(epilogue)), maker.packed_bytes)


class _Direct:
    def __init__(
        self, g: Geometry, c: Correlation, phases: Phases, lanes: Lanes, target: Target
    ) -> None:
        self.g, self.c, self.phases, self.lanes = g, c, phases, lanes
        most = phases.most
        rows = most[1]
        while rows > 1 and self._slab(rows).bytes > _SLAB_BYTES:
            rows = -(-rows // 2)
        units = c.samples * c.groups * most[0]
        while rows > 4 and units * -(-most[1] // rows) < _FEWEST_UNITS:
            rows = -(-rows // 2)
        self.rows = rows
        self.row_blocks = -(-most[1] // rows)
        self.slab = self._slab(rows)
        least = tuple(min(p.count[i] for p in phases.each) for i in range(3))
        depth = max(1, c.inputs * max(p.taps for p in phases.each))
        self.tiling = Tiling.best(
            c.outputs, least[1], least[2], depth, lanes, target, self.row_blocks > 1
        )
        t = self.tiling
        self.block = t.vectors * lanes.count
        self.offsets, total = [], 0
        for phase in phases.each:
            self.offsets.append(total)
            total += c.groups * t.blocks * c.inputs * phase.taps * self.block * lanes.size
        self.packed_bytes = total

    def _slab(self, rows: int) -> Slab:
        p, c = self.phases, self.c
        most = p.most
        extent = (
            p.reach(0) + 1,
            (rows - 1) * p.step[1] + p.reach(1) + 1,
            (most[2] - 1) * p.step[2] + p.reach(2) + 1,
        )
        inside = all(
            p.low[i] == 0 and (most[i] - 1) * p.step[i] + p.reach(i) < p.source[i] for i in range(3)
        )
        step = (p.step[0], p.step[1], 1)
        return Slab(self.lanes, c.inputs, p.source, p.low, extent, step, whole=inside)

    def _channel(self, f: Code, block: str, vector: str) -> str:
        """The first channel of a vector; the last overlaps the one before it, if there is one."""
        first = f.mul(f.add(f.mul(block, self.tiling.vectors), vector), self.lanes.count)
        return f.least(first, max(0, self.c.outputs - self.lanes.count))

    def pack(self, weights: str) -> Stage:
        """Weights with vectors of output channels: ``(phase, group, block, input, tap, lane)``."""
        g, c, n, t = self.g, self.c, self.lanes, self.tiling
        f = Code()
        source, memory = f.pointer(0), f.pointer(1)
        taps = g.taps
        ordered = len(self.phases.each) == 1 and c.of_tap[2] == 1
        run = c.inputs * taps if ordered else taps
        others = 1 if ordered else c.inputs
        pieces = -(-run // n.count)
        with f.loop("%begin", "%end") as unit:
            group, block, i = f.split(unit.index, t.blocks, others)
            base = f.along(source, (group, c.of_group * n.size), (i, c.of_input * n.size))
            index = f.add(f.mul(group, t.blocks), block)
            with f.loop("0", str(t.vectors)) as vector:
                channel = self._channel(f, block, vector.index)
                if ordered:
                    into = f.along(
                        memory, (index, run * self.block * n.size), (vector.index, n.bytes)
                    )
                    with f.loop("0", str(pieces)) as piece:
                        # The last piece overlaps the one before it.
                        start = f.least(f.mul(piece.index, n.count), max(0, run - n.count))
                        to = f.along(into, (start, self.block * n.size))
                        self._columns(
                            f, base, channel, start, min(run, n.count), to, self.block * n.size
                        )
                else:
                    tile = f.byte("%scratch", n.count * n.bytes)
                    for start in range(0, run, n.count):
                        count = min(run - start, n.count)
                        to = f.byte(tile, start * n.bytes)
                        self._columns(f, base, channel, str(start), count, to, n.bytes)
                    for phase, offset in zip(self.phases.each, self.offsets, strict=True):
                        size = phase.taps * self.block * n.size
                        into = f.along(
                            memory,
                            (index, c.inputs * size),
                            (i, size),
                            (offset, 1),
                            (vector.index, n.bytes),
                        )
                        for k, place in enumerate(phase.kernel_places(g.kernel)):
                            column = f.load(n.type, f.byte(tile, place * n.bytes), n.size)
                            to = f.byte(into, k * self.block * n.size)
                            f.store(n.type, column, to, n.size)
        units = c.groups * t.blocks * others
        work = c.groups * c.outputs * c.inputs * taps / 2
        kernel = f.kernel((n.count + taps) * n.bytes)
        return Stage(kernel, (weights, "w"), units, chunk_of(units, work))

    def _columns(
        self, f: Code, base: str, channel: str, start: str, count: int, into: str, step: int
    ) -> None:
        """A square of weights, output channels by consecutive taps, turned over."""
        c, n = self.c, self.lanes
        base = f.along(base, (start, n.size))

        def row(lane: str) -> str:
            which = f.least(f.add(channel, lane), c.outputs - 1)
            return f.get(n, f.along(base, (which, c.of_output * n.size)), count)

        def column(k: str, value: str) -> None:
            with f.only(k, count, n.count):
                f.store(n.type, value, f.along(into, (k, step)), n.size)

        f.turn(n, "%scratch", row, column)

    def main(self, epilogue: Epilogue | None) -> Stage:
        c, n, t, p = self.c, self.lanes, self.tiling, self.phases
        f = Code()
        ending = Ending(f, epilogue)
        image, memory, result = ending.pointers()
        most, slab = p.most, self.slab
        plane = prod(p.result)
        with f.loop("%begin", "%end") as unit:
            sample, group, slice_, rows = f.split(unit.index, c.groups, most[0], self.row_blocks)
            top = f.mul(rows, self.rows)
            start = f.add(f.mul(sample, c.groups), group)
            source = slab.fill(
                f,
                f.along(image, (start, c.inputs * prod(p.source) * n.size)),
                "%scratch",
                (slice_, top),
            )
            out = f.along(
                result,
                (start, c.outputs * plane * n.size),
                (slice_, p.spacing[0] * p.result[1] * p.result[2] * n.size),
                (top, p.spacing[1] * p.result[2] * n.size),
            )
            with f.loop("0", str(t.blocks)) as block:
                index = f.add(f.mul(group, t.blocks), block.index)
                for phase, offset in zip(p.each, self.offsets, strict=True):
                    size = c.inputs * phase.taps * self.block * n.size
                    packed = f.along(memory, (index, size), (offset, 1))
                    self._phase(f, phase, packed, source, out, slice_, top, block.index)
                if p.spacing[2] > 1:
                    self._interleave(f, out, slice_, top, block.index)
                if epilogue:
                    done = self._part(f, sample, group, slice_, top, block.index)
                    ending.finish(n, done)
        units = c.samples * c.groups * most[0] * self.row_blocks
        kernel = f.kernel(self._tile_at + (self.block + n.count) * n.bytes)
        return Stage(
            kernel,
            (*ending.operands, "0", "w", "out0"),
            units,
            chunk_of(units, self.g.work / n.count),
        )

    def _part(self, f: Code, sample: str, group: str, slice_: str, top: str, block: str) -> Part:
        """What a block of channels has of the result once all its phases are done."""
        c, p = self.c, self.phases
        first = self._channel(f, block, "0")
        end = f.least(f.mul(f.add(block, 1), self.block), c.outputs)
        channel = f.add(f.mul(group, c.outputs), first)
        starts, counts = [], []
        for axis, at, each in ((0, slice_, 1), (1, top, self.rows)):
            start = f.mul(at, p.spacing[axis])
            starts.append(start)
            counts.append(f.least(f.sub(str(p.result[axis]), start), each * p.spacing[axis]))
        channels = (channel, f.sub(end, first))
        return Part(
            c.groups * c.outputs, p.result, (sample, "1"), channels,
            (starts[0], counts[0]), (starts[1], counts[1]),
        )  # fmt: skip

    # Where the columns of a row come in several phases, they are set apart in scratch memory:
    # (channel, slice, row, remainder, column).

    @property
    def _apart(self) -> tuple[int, int, int, int]:
        p, n = self.phases, self.lanes
        run = aligned(p.most[2], n.count) * n.size
        row = run * p.spacing[2]
        slice_ = row * self.rows * p.spacing[1]
        return slice_ * p.spacing[0], slice_, row, run

    @property
    def _apart_bytes(self) -> int:
        return self._apart[0] * self.block if self.phases.spacing[2] > 1 else 0

    @property
    def _tile_at(self) -> int:
        return aligned(self.slab.bytes, 64) + aligned(self._apart_bytes, 64)

    def _phase(
        self,
        f: Code,
        phase: Phase,
        packed: str,
        source: str,
        out: str,
        slice_: str,
        top: str,
        block: str,
    ) -> None:
        p, n, t, slab = self.phases, self.lanes, self.tiling, self.slab
        a, b, w = phase.axes
        row_bytes = p.result[2] * n.size
        if p.spacing[2] > 1:
            channel, plane, row, run = self._apart
            apart = f.byte("%scratch", aligned(slab.bytes, 64))
            out = f.byte(apart, a.start * plane + b.start * row + w.start * run)
            steps = (channel, p.spacing[1] * row, n.size)
        else:
            out = f.byte(out, (a.start * p.result[1] + b.start) * row_bytes)
            steps = (prod(p.result) * n.size, p.spacing[1] * row_bytes, n.size)
        source = f.byte(
            source, a.offset * slab.pitch[1] + b.offset * slab.pitch[2] + w.offset * n.size
        )
        count = str(b.count)
        if self.row_blocks > 1:
            count = f.least(f.sub(count, top), self.rows)
        if a.count < p.most[0]:
            # The last slices have fewer phases.
            fits = f.value(f"icmp slt i64 {slice_}, {a.count}")
            count = f.value(f"select i1 {fits}, i64 {count}, i64 0")
        with f.loop("0", count, str(t.down)) as i, f.loop("0", str(w.count), str(t.across)) as j:
            row = f.least(i.index, b.count - t.down) if t.down > 1 else i.index
            column = f.least(j.index, w.count - t.across)
            x = f.along(source, (row, p.step[1] * slab.pitch[2]), (column, p.step[2] * n.size))
            sums = self._sum(f, phase, packed, x)
            into = f.along(out, (row, steps[1]), (column, steps[2]))
            self._store(f, sums, into, steps, block)

    def _sum(self, f: Code, phase: Phase, packed: str, x: str) -> list[str]:
        p, n, t, slab = self.phases, self.lanes, self.tiling, self.slab
        a, b, w = phase.axes
        size = t.vectors * t.pixels
        tap_bytes = self.block * n.size
        zeros = ["zeroinitializer"] * size
        if phase.taps == 0:
            return zeros
        pixels = [
            i * p.step[1] * slab.pitch[2] + j * p.step[2] * n.size
            for i in range(t.down)
            for j in range(t.across)
        ]
        steps = (
            a.offset_step * slab.pitch[1],
            b.offset_step * slab.pitch[2],
            w.offset_step * n.size,
        )
        strides = (b.taps * w.taps * tap_bytes, w.taps * tap_bytes, tap_bytes)
        counts = (a.taps, b.taps, w.taps)
        # The innermost axes are written out, as many as fit; the others are loops. Never where
        # taps share pixels: LLVM would keep those in registers, and spill the sums.
        loops = 3
        while loops:
            offsets = [
                sum(k * s for k, s in zip(at, steps[loops - 1 :], strict=True)) + pixel
                for at in itertools.product(*(range(k) for k in counts[loops - 1 :]))
                for pixel in pixels
            ]
            if len(offsets) * t.vectors > _UNROLLED or len(set(offsets)) < len(offsets):
                break
            loops -= 1
        written = list(itertools.product(*(range(k) for k in counts[loops:])))

        def body(level: int, packed: str, x: str, sums: list[str]) -> list[str]:
            if level == loops:
                for at in written:
                    offset = sum(k * s for k, s in zip(at, steps[loops:], strict=True))
                    weight = sum(k * s for k, s in zip(at, strides[loops:], strict=True))
                    sums = multiply(
                        f, n, sums, packed, x, weight, [offset + pixel for pixel in pixels]
                    )
                return sums
            carried = [(n.type, s) for s in sums]
            with f.loop("0", str(counts[level]), carried=carried) as loop:
                here = f.along(packed, (loop.index, strides[level]))
                there = f.along(x, (loop.index, steps[level]))
                loop.carry(*body(level + 1, here, there, loop.carried))
            return loop.result

        with f.loop("0", str(self.c.inputs), carried=[(n.type, z) for z in zeros]) as i:
            here = f.along(packed, (i.index, phase.taps * tap_bytes))
            there = f.along(x, (i.index, slab.pitch[0]))
            i.carry(*body(0, here, there, i.carried))
        return i.result

    def _store(
        self, f: Code, sums: list[str], out: str, steps: tuple[int, int, int], block: str
    ) -> None:
        """Turns a tile over, by way of memory: LLVM would think long about shuffles of sums."""
        n, t = self.lanes, self.tiling
        tile = f.byte("%scratch", self._tile_at)
        for v in range(t.vectors):
            for k in range(t.pixels):
                at = f.byte(tile, (v * n.count + k) * n.bytes)
                f.store(n.type, sums[v * t.pixels + k], at, n.size)
        with f.loop("0", str(t.vectors)) as v:
            here = f.along(tile, (v.index, n.count * n.bytes))
            if self.phases.spacing[2] > 1:
                into = f.along(out, (v.index, n.count * steps[0]))
            else:
                into = f.along(out, (self._channel(f, block, v.index), steps[0]))

            def row(k: str, here: str = here) -> str:
                return f.load(n.type, f.along(here, (k, n.bytes)))

            def column(lane: str, value: str, into: str = into) -> None:
                with f.only(lane, self.c.outputs, n.count):
                    at = f.along(into, (lane, steps[0]))
                    for i in range(t.down):
                        picks = [(i * t.across + k) % n.count for k in range(n.count)]
                        part = f.shuffle(n, value, value, picks) if i else value
                        f.put(n, part, f.byte(at, i * steps[1]), t.across)

            f.turn(n, f.byte(tile, self.block * n.bytes), row, column)

    def _interleave(self, f: Code, out: str, slice_: str, top: str, block: str) -> None:
        """Puts the columns of all phases in their places."""
        p, n = self.phases, self.lanes
        channel, plane, row, run = self._apart
        spacing = p.spacing
        apart = f.byte("%scratch", aligned(self.slab.bytes, 64))
        depth = str(spacing[0])
        if p.result[0] % spacing[0]:
            left = f.sub(str(p.result[0]), f.mul(slice_, spacing[0]))
            depth = f.least(left, spacing[0])
        rows = str(min(self.rows * spacing[1], p.result[1]))
        if self.row_blocks > 1:
            left = f.sub(str(p.result[1]), f.mul(top, spacing[1]))
            rows = f.least(left, self.rows * spacing[1])
        width = p.result[2]
        with (
            f.loop("0", str(self.tiling.vectors)) as v,
            f.loop("0", str(min(n.count, self.c.outputs))) as lane,
            f.loop("0", depth) as z,
            f.loop("0", rows) as y,
        ):
            k = f.add(self._channel(f, block, v.index), lane.index)
            source = f.along(
                apart,
                (v.index, n.count * channel),
                (lane.index, channel),
                (z.index, plane),
                (y.index, row),
            )
            into = f.along(
                out,
                (k, prod(p.result) * n.size),
                (z.index, p.result[1] * width * n.size),
                (y.index, width * n.size),
            )
            if spacing[2] == 2:
                self._pairs(f, source, into, width, run)
                return
            with f.loop("0", str(width)) as x:
                column, phase = f.divided(x.index, spacing[2])
                value = f.load(n.element, f.along(source, (phase, run), (column, n.size)))
                f.store(n.element, value, f.along(into, (x.index, n.size)), n.size)

    def _pairs(self, f: Code, source: str, into: str, width: int, run: int) -> None:
        n = self.lanes
        low = [x for k in range(n.count // 2) for x in (k, k + n.count)]
        with f.loop("0", str(-(-width // (2 * n.count)))) as j:
            here = f.along(source, (j.index, n.bytes))
            even, odd = f.load(n.type, here), f.load(n.type, f.byte(here, run))
            to = f.along(into, (j.index, 2 * n.bytes))
            left = f.sub(str(width), f.mul(j.index, 2 * n.count))
            for half in (0, 1):
                picks = [x + half * n.count // 2 for x in low]
                value = f.shuffle(n, even, odd, picks)
                mask = f.mask(
                    n.count,
                    f.call(
                        "llvm.smax.i64", "i64", ("i64", f.add(left, -half * n.count)), ("i64", "0")
                    ),
                )
                f.store_masked(n.count, n.element, value, f.byte(to, half * n.bytes), mask)


def multiply(
    f: Code,
    lanes: Lanes,
    sums: Sequence[str],
    vectors: str,
    scalars: str,
    offset: int,
    places: Sequence[int],
) -> list[str]:
    """``sums`` plus vectors at ``offset`` times scalars at ``places``: an outer product."""
    count = len(sums) // len(places)
    by = [
        f.load(lanes.type, f.byte(vectors, offset + v * lanes.bytes), lanes.size)
        for v in range(count)
    ]
    sums = list(sums)
    for k, place in enumerate(places):
        scalar = f.broadcast(lanes, f.byte(scalars, place))
        for v in range(count):
            at = v * len(places) + k
            sums[at] = f.fma(lanes.type, by[v], scalar, sums[at])
    return sums
