"""The gradient of kernels by Winograd's minimal filtering: F(3x3, 4x4) and F(5x5, 2x2).

Tiles of the image and of the result's gradient are transformed; the sums over all tiles are 36
matrix products; only these are turned back. Shares of the tiles are summed up apart, and the shares
added in order, so that no number depends on the threads.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau.run.compiler.convolution_blocks import Code, Lanes, aligned, chunk_of
from flambeau.run.compiler.convolution_narrow import Correlation, shares
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
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.run.compiler.target import Target

__all__ = ["winograd_weights"]

_TILES = 24
_PARTS = 16
# Tiles to a share: with fewer, adding up the shares would take long.
_TILES_EACH = 40


def winograd_weights(c: Correlation, lanes: Lanes, target: Target) -> Plan:
    """Input 0 is the result's gradient, 1 the image."""
    return _Weights(c, lanes, target).plan()


class _Weights:
    def __init__(self, c: Correlation, lanes: Lanes, target: Target) -> None:
        self.c, self.lanes = c, lanes
        # The result's gradient, in tiles of ``side``, stands for the kernels.
        self.taps, self.side = c.kernel[2], SIDE + 1 - c.kernel[2]
        self.transforms = Transforms.of(self.taps, self.side)
        self.tiles = t = Tiles(c, lanes, self.side, _TILES)
        self.wide = -(-c.outputs // lanes.count)
        self.outputs = self.wide * lanes.count
        most = max(1, min(_PARTS, t.items * t.count // _TILES_EACH))
        self.parts, self.each = shares(t.items, most)
        self.vectors, self.at_once = _divisors(self.wide, t.inputs, target)
        self.place = t.inputs * self.outputs * lanes.size
        self.group = PLACES * self.place
        self.part = c.groups * self.group

    def plan(self) -> Plan:
        return Plan((self._sums(), self._finish()), self.parts * self.part)

    def _sums(self) -> Stage:
        c, n, t = self.c, self.lanes, self.tiles
        f = Code()
        gradient, image, memory = (f.pointer(i) for i in range(3))
        pixels, plane = prod(c.size), prod(c.output)
        gradients_place = t.count * self.outputs * n.size + 64
        x = Image.of(c)
        g = Image(c.outputs, c.groups * c.outputs * plane, c.output[1:], (0, 0), c.output[0])
        room = 2 * SIDE * max(x.line(t, SIDE), g.line(t, self.side)) * n.bytes
        gradients_at = room + aligned(PLACES * t.values_place, 64)
        block = self.vectors * n.count
        with f.loop("%begin", "%end") as unit:
            part, group = f.divided(unit.index, c.groups)
            values = f.byte("%scratch", room)
            gradients = f.byte("%scratch", gradients_at)
            sums = f.along(memory, (part, self.part), (group, self.group))
            with f.loop("0", str(self.group), str(n.bytes)) as i:
                f.store(n.type, "zeroinitializer", f.byte(sums, i.index), n.size)
            x_base = f.along(image, (group, c.inputs * pixels * n.size))
            g_base = f.along(gradient, (group, c.outputs * plane * n.size))
            first = f.mul(part, self.each)
            with f.loop(first, f.least(f.add(first, self.each), t.items)) as item:
                transformed(
                    f, t, x, SIDE, self.transforms.image, x_base, item.index,
                    "%scratch", values, t.values_place,
                )  # fmt: skip
                transformed(
                    f, t, g, self.side, self.transforms.kernel, g_base, item.index,
                    "%scratch", gradients, gradients_place,
                )  # fmt: skip
                with (
                    f.loop("0", str(PLACES)) as place,
                    f.loop("0", str(self.wide // self.vectors)) as k,
                ):
                    products(
                        f, n, self.vectors, self.at_once, t.inputs, t.count,
                        f.along(
                            gradients, (place.index, gradients_place), (k.index, block * n.size)
                        ),
                        self.outputs * n.size,
                        f.along(values, (place.index, t.values_place)), n.size, t.inputs * n.size,
                        f.along(sums, (place.index, self.place), (k.index, block * n.size)),
                        self.outputs * n.size, True,
                    )  # fmt: skip
        units = self.parts * c.groups
        work = t.items * c.groups * t.count * PLACES * t.inputs * self.wide * 1.3
        kernel = f.kernel(gradients_at + PLACES * gradients_place)
        return Stage(kernel, ("0", "1", "w"), units, chunk_of(units, work))

    def _finish(self) -> Stage:
        """Adds up the shares, turns them into kernels."""
        c, n = self.c, self.lanes
        f = Code()
        memory, result = f.pointer(0), f.pointer(1)
        matrix = self.transforms.scaled_result
        with f.loop("%begin", "%end") as unit:
            group, vector, slice_, i = f.split(unit.index, self.wide, c.kernel[0], c.inputs)
            at = f.along(
                memory,
                (group, self.group),
                (slice_, c.inputs * self.outputs * n.size),
                (i, self.outputs * n.size),
                (vector, n.bytes),
            )
            with f.loop("0", str(PLACES)) as place:
                here = f.along(at, (place.index, self.place))
                first = f.load(n.type, here, n.size)
                with f.loop("1", str(self.parts), carried=[(n.type, first)]) as part:
                    more = f.load(n.type, f.along(here, (part.index, self.part)), n.size)
                    part.carry(f.value(f"fadd {n.type} {part.carried[0]}, {more}"))
                total = part.result[0] if self.parts > 1 else first
                f.store(n.type, total, f.along("%scratch", (place.index, n.bytes)), n.size)
            half = f.byte("%scratch", PLACES * n.bytes)
            with f.loop("0", str(SIDE)) as b:
                here = f.along("%scratch", (b.index, n.bytes))
                found = [f.load(n.type, f.byte(here, a * SIDE * n.bytes)) for a in range(SIDE)]
                to = f.along(half, (b.index, n.bytes))
                for a, value in enumerate(combined(f, n, matrix, found)):
                    f.store(n.type, value, f.byte(to, a * SIDE * n.bytes), n.size)
            tile = f.byte(half, PLACES * n.bytes)
            with f.loop("0", str(self.taps)) as a:
                here = f.along(half, (a.index, SIDE * n.bytes))
                found = [f.load(n.type, f.byte(here, b * n.bytes)) for b in range(SIDE)]
                to = f.along(tile, (a.index, self.taps * n.bytes))
                for b, value in enumerate(combined(f, n, matrix, found)):
                    f.store(n.type, value, f.byte(to, b * n.bytes), n.size)
            first_channel = f.mul(vector, n.count)
            into = f.along(
                result,
                (group, c.of_group * n.size),
                (first_channel, c.of_output * n.size),
                (i, c.of_input * n.size),
                (slice_, c.of_tap[0] * n.size),
            )
            turned = f.byte("%scratch", (3 * PLACES + n.count) * n.bytes)
            for start in range(0, self.taps**2, n.count):
                some = f.below(n, min(n.count, self.taps**2 - start))

                def row(k: str, start: int = start) -> str:
                    return f.load(n.type, f.along(tile, (f.add(k, start), n.bytes)))

                def column(lane: str, value: str, start: int = start, some: str = some) -> None:
                    real = f.value(f"icmp slt i64 {f.add(first_channel, lane)}, {c.outputs}")
                    mask = f.splat(n.count, "i1", real)
                    mask = f.value(f"and <{n.count} x i1> {mask}, {some}")
                    to = f.along(into, (lane, c.of_output * n.size), (start, n.size))
                    f.store_masked(n.count, n.element, value, to, mask)

                f.turn(n, turned, row, column)
        units = c.groups * self.wide * c.kernel[0] * c.inputs
        work = units * (PLACES * 3 * self.parts + 300)
        kernel = f.kernel((3 * PLACES + 2 * n.count) * n.bytes)
        return Stage(kernel, ("w", "out0"), units, chunk_of(units, work))


def _divisors(wide: int, rows: int, target: Target) -> tuple[int, int]:
    """Vectors and rows to sum up at once, so that they divide all there are."""
    room = target.registers - 6
    options = []
    for vectors in (v for v in (1, 2) if wide % v == 0):
        for at_once in (k for k in range(1, min(16, room // vectors) + 1) if rows % k == 0):
            size = vectors * at_once
            options.append(
                ((max(size, 8) + 0.25 * (vectors + at_once) + 1) / size, vectors, at_once)
            )
    _, vectors, at_once = min(options)
    return vectors, at_once
