"""The gradient of kernels of every shape, with vectors along the output's channels.

The result's gradient is turned over so that a pixel's channels are together; a pixel's vectors
times the image's elements that its taps see are summed up in registers, over a whole image. Shares
of the samples are summed up apart, and the shares added in order.
"""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING

from flambeau.run.compiler.convolution_blocks import Code, Geometry, Lanes, Slab, aligned, chunk_of
from flambeau.run.compiler.convolution_direct import multiply
from flambeau.run.compiler.convolution_narrow import Correlation, shares
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.run.compiler.target import Target

__all__ = ["direct_weights"]

_UNITS = 16
_BLOCK_BYTES = 288 << 10


def direct_weights(g: Geometry, lanes: Lanes, target: Target) -> Plan:
    """Input 0 is the result's gradient, 1 the image."""
    return _Weights(g, lanes, target).plan()


class _Weights:
    def __init__(self, g: Geometry, lanes: Lanes, target: Target) -> None:
        self.g, self.lanes = g, lanes
        self.c = c = Correlation.forward(g)
        self.wide = -(-c.outputs // lanes.count)
        self.outputs = self.wide * lanes.count
        self.vectors, self.channels, self.pieces = self._tile(target)
        # Blocks of channels are units of their own: shares of large kernels are few.
        self.channel_blocks = self.wide // self.vectors
        self.pixel = self.vectors * lanes.bytes
        rows = c.output[1]
        while rows > 1 and self._slab(rows).bytes + self._turned(rows) > _BLOCK_BYTES:
            rows = -(-rows // 2)
        self.rows, self.blocks = rows, -(-c.output[1] // rows)
        self.slab = self._slab(rows)
        self.items = c.samples * c.output[0] * self.blocks
        most = -(-_UNITS // (c.groups * self.channel_blocks))
        self.parts, self.each = shares(self.items, max(1, min(_UNITS, most)))
        # Sums: (part, group, block, input, tap, channel of the block).
        self.depth = c.inputs * g.taps
        self.block = self.depth * self.pixel
        self.part = c.groups * self.channel_blocks * self.block

    def _slab(self, rows: int) -> Slab:
        c, reach = self.c, self.c.reach
        extent = (
            reach[0] + 1,
            (rows - 1) * c.step[1] + reach[1] + 1,
            (c.output[2] - 1) * c.step[2] + reach[2] + 1,
        )
        step = (c.step[0], c.step[1], 1)
        return Slab(self.lanes, c.inputs, c.size, c.low, extent, step, whole=c.inside)

    def _turned(self, rows: int) -> int:
        """Bytes of a block of the gradient turned over: (pixel, channel)."""
        pixels = aligned(rows * self.c.output[2], self.lanes.count)
        return pixels * self.pixel

    @property
    def _room_at(self) -> int:
        return aligned(self.slab.bytes, 64) + self._turned(self.rows)

    def _tile(self, target: Target) -> tuple[int, int, list[list[int]]]:
        """Vectors, inputs and runs of taps to sum up at once."""
        room, taps = target.registers - 6, self.g.taps
        options = []
        for vectors in (v for v in range(1, 7) if self.wide % v == 0):
            most = max(1, room // vectors)
            channels = max(1, min(self.c.inputs, most // taps))
            while self.c.inputs % channels:
                channels -= 1
            runs = -(-taps // most)
            each = -(-taps // runs)
            size = channels * each
            cost = (max(vectors * size, 8) + 0.25 * (vectors + size) + 1.5) / (vectors * size)
            options.append((cost * runs * each / taps, vectors, channels, each))
        _, vectors, channels, each = min(options)
        order = list(range(taps))
        return vectors, channels, [order[k : k + each] for k in range(0, taps, each)]

    def plan(self) -> Plan:
        return Plan((self._sums(), self._finish()), self.parts * self.part)

    def _sums(self) -> Stage:
        c, n, slab = self.c, self.lanes, self.slab
        f = Code()
        gradient, image, memory = (f.pointer(i) for i in range(3))
        plane, width = prod(c.output), c.output[2]
        with f.loop("%begin", "%end") as unit:
            part, group, channels = f.split(unit.index, c.groups, self.channel_blocks)
            sums = f.along(memory, (unit.index, self.block))
            with f.loop("0", str(self.block), str(n.bytes)) as i:
                f.store(n.type, "zeroinitializer", f.byte(sums, i.index), n.size)
            first = f.mul(part, self.each)
            with f.loop(first, f.least(f.add(first, self.each), self.items)) as item:
                sample, slice_, block = f.split(item.index, c.output[0], self.blocks)
                top = f.mul(block, self.rows)
                left = f.sub(str(c.output[1]), top)
                count = f.least(left, self.rows)
                start = f.add(f.mul(sample, c.groups), group)
                source = slab.fill(
                    f,
                    f.along(image, (start, c.inputs * prod(c.size) * n.size)),
                    "%scratch",
                    (slice_, top),
                )
                here = f.along(
                    gradient,
                    (start, c.outputs * plane * n.size),
                    (slice_, c.output[1] * width * n.size),
                    (top, width * n.size),
                )
                turned = f.byte("%scratch", aligned(slab.bytes, 64))
                self._turn(f, here, turned, f.mul(count, width), channels)
                self._add(f, source, turned, sums, count)
        units = self.parts * c.groups * self.channel_blocks
        kernel = f.kernel(self._room_at + n.count * n.bytes)
        work = self.g.work / c.outputs * self.outputs / n.count
        return Stage(kernel, ("0", "1", "w"), units, chunk_of(units, work))

    def _turn(self, f: Code, source: str, into: str, pixels: str, block: str) -> None:
        c, n = self.c, self.lanes
        with f.loop("0", str(self.vectors)) as v, f.loop("0", pixels, str(n.count)) as p:
            mask = f.mask(n.count, f.sub(pixels, p.index))
            here = f.along(source, (p.index, n.size))
            channel = f.mul(f.add(f.mul(block, self.vectors), v.index), n.count)
            to = f.along(into, (p.index, self.pixel), (v.index, n.bytes))

            def row(lane: str) -> str:
                which = f.least(f.add(channel, lane), c.outputs - 1)
                at = f.along(here, (which, prod(c.output) * n.size))
                return f.load_masked(n.count, n.element, at, mask)

            def column(k: str, value: str) -> None:
                f.store(n.type, value, f.along(to, (k, self.pixel)), n.size)

            f.turn(n, f.byte("%scratch", self._room_at), row, column)

    def _add(self, f: Code, source: str, gradients: str, sums: str, count: str) -> None:
        c, n, slab, taps = self.c, self.lanes, self.slab, self.g.taps
        tap_bytes = self.pixel
        offsets = [
            sum(
                k * d * p for k, d, p in zip(at, c.dilation, (*slab.pitch[1:], n.size), strict=True)
            )
            for at in itertools.product(*map(range, c.kernel))
        ]
        with f.loop("0", str(c.inputs), str(self.channels)) as i:
            x = f.along(source, (i.index, slab.pitch[0]))
            to = f.along(sums, (i.index, taps * tap_bytes))
            for piece in self.pieces:
                tile = [(k, tap) for k in range(self.channels) for tap in piece]
                at = [k * slab.pitch[0] + offsets[tap] for k, tap in tile]
                places = [
                    f.byte(to, (k * taps + tap) * tap_bytes + v * n.bytes)
                    for v in range(self.vectors)
                    for k, tap in tile
                ]
                before = [(n.type, f.load(n.type, p, n.size)) for p in places]
                with f.loop("0", count, carried=before) as row:
                    g_row = f.along(gradients, (row.index, c.output[2] * tap_bytes))
                    x_row = f.along(x, (row.index, c.step[1] * slab.pitch[2]))
                    carried = [(n.type, s) for s in row.carried]
                    with f.loop("0", str(c.output[2]), carried=carried) as column:
                        g_at = f.along(g_row, (column.index, tap_bytes))
                        x_at = f.along(x_row, (column.index, c.step[2] * n.size))
                        column.carry(*multiply(f, n, column.carried, g_at, x_at, 0, at))
                    row.carry(*column.result)
                for place, value in zip(places, row.result, strict=True):
                    f.store(n.type, value, place, n.size)

    def _finish(self) -> Stage:
        """Adds up the shares, and turns them over: (output channel, input, tap)."""
        c, n, depth = self.c, self.lanes, self.depth
        f = Code()
        memory, result = f.pointer(0), f.pointer(1)
        pieces = -(-depth // n.count)
        with f.loop("%begin", "%end") as unit:
            group, vector, piece = f.split(unit.index, self.wide, pieces)
            start = f.mul(piece, n.count)
            left = f.least(f.sub(str(depth), start), n.count)
            block, v = f.divided(vector, self.vectors)
            at = f.along(
                memory,
                (f.add(f.mul(group, self.channel_blocks), block), self.block),
                (start, self.pixel),
                (v, n.bytes),
            )
            with f.loop("0", left) as k:
                here = f.along(at, (k.index, self.pixel))
                first = f.load(n.type, here, n.size)
                with f.loop("1", str(self.parts), carried=[(n.type, first)]) as part:
                    more = f.load(n.type, f.along(here, (part.index, self.part)), n.size)
                    part.carry(f.value(f"fadd {n.type} {part.carried[0]}, {more}"))
                total = part.result[0] if self.parts > 1 else first
                f.store(n.type, total, f.along("%scratch", (k.index, n.bytes)), n.size)
            channel = f.mul(vector, n.count)
            into = f.along(
                result, (group, c.of_group * n.size), (channel, depth * n.size), (start, n.size)
            )

            def row(k: str) -> str:
                return f.load(n.type, f.along("%scratch", (k, n.bytes)))

            def column(lane: str, value: str) -> None:
                # Channels past the last have no lanes to store.
                real = f.value(f"icmp slt i64 {f.add(channel, lane)}, {c.outputs}")
                mask = f.mask(n.count, f.value(f"select i1 {real}, i64 {left}, i64 0"))
                to = f.along(into, (lane, depth * n.size))
                f.store_masked(n.count, n.element, value, to, mask)

            f.turn(n, f.byte("%scratch", n.count * n.bytes), row, column)
        units = c.groups * self.wide * pieces
        work = units * (n.count * 3 * self.parts + 150)
        return Stage(f.kernel(2 * n.count * n.bytes), ("w", "out0"), units, chunk_of(units, work))
