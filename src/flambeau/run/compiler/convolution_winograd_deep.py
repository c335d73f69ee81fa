"""Winograd's convolution of many channels on few tiles: where transformed kernels fit no cache.

The image's tiles, all of them, are transformed first. A unit of work is then a block of output
channels: its kernels are transformed for a few inputs at a time, used for all tiles, and forgotten.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau.run.compiler.convolution_blocks import Code, Lanes, aligned, chunk_of
from flambeau.run.compiler.convolution_ending import Ending
from flambeau.run.compiler.convolution_narrow import Correlation
from flambeau.run.compiler.convolution_winograd import Winograd
from flambeau.run.compiler.convolution_winograd_tiles import (
    PLACES,
    SIDE,
    Image,
    Tiles,
    products,
    transformed,
)
from flambeau.run.compiler.stages import Epilogue, Plan, Stage

if TYPE_CHECKING:
    from flambeau.run.compiler.target import Target

__all__ = ["deep_winograd", "deep_winograd_gain"]

# Bytes of transformed kernels, and of a unit's sums, that stay in a core's own cache.
_KERNELS, _SUMS = 256 << 10, 640 << 10


def deep_winograd_gain(c: Correlation, lanes: Lanes, target: Target) -> float:
    """By how much fewer instructions this takes than a direct sum; 0 where it does not apply."""
    if c.outputs % lanes.count or c.inputs % lanes.count:
        return 0.0
    deep = Deep(c, lanes, target)
    if deep.parts.blocks > 1:
        return 0.0
    if PLACES * deep.count * deep.block * lanes.size > _SUMS:
        return 0.0
    pairs = deep.depth * deep.wide
    tile = 1.2 * PLACES * pairs + 340 * deep.depth / lanes.count + 320 * deep.wide
    direct = c.samples * prod(c.output) * c.kernel[2] ** 2 * pairs * 1.1 + 60 * pairs
    return direct / (deep.count * tile + 250 * pairs)


def deep_winograd(
    c: Correlation, lanes: Lanes, target: Target, epilogue: Epilogue | None = None
) -> Plan:
    """Inputs are the image and the weights."""
    maker = Deep(c, lanes, target)
    return Plan((maker.values(), maker.main(epilogue)), c.groups * maker.values_group)


class Deep(Winograd):
    def __init__(self, c: Correlation, lanes: Lanes, target: Target) -> None:
        super().__init__(c, lanes, target)
        # Tiles as they are transformed, and all of them as one block.
        self.parts = self.tiles
        self.count = self.parts.groups_of_images * self.parts.count
        self.tiles = Tiles(c, lanes, self.transforms.m, self.count)
        self.tiles.images = self.parts.groups_of_images * self.parts.images
        self.tiles.blocks, self.tiles.rows = 1, self.tiles.images * self.parts.down
        self.tiles.count = self.count
        room = target.registers - 6
        self.vectors = 2 if self.wide % 2 == 0 else 1
        self.block = self.vectors * lanes.count
        self.blocks = self.wide // self.vectors
        most = min(16, room // self.vectors)
        # About as many rows at a time each time.
        self.at_once = -(-self.count // -(-self.count // most))
        n = lanes.count
        most = max(n, _KERNELS // (PLACES * self.block * lanes.size))
        self.each = max(k for k in range(n, most + 1, n) if c.inputs % k == 0)
        self.values_place = self.count * self.each * lanes.size + 64
        self.chunk = PLACES * self.values_place
        self.values_group = self.depth // self.each * self.chunk

    def values(self) -> Stage:
        """The transformed tiles: ``(group, slice and inputs, place, tile, a few inputs)``."""
        c, n, t = self.c, self.lanes, self.parts
        f = Code()
        image, memory = f.pointer(0), f.pointer(1)
        with f.loop("%begin", "%end") as unit:
            item, group = f.divided(unit.index, c.groups)
            into = f.along(memory, (group, self.values_group), (item, t.count * self.each * n.size))

            def where(tile: str, tap: str, part: str) -> str:
                chunk, vector = f.divided(part, self.each // n.count)
                return f.along(
                    into,
                    (tap, c.inputs // self.each * self.chunk),
                    (chunk, self.chunk),
                    (tile, self.each * n.size),
                    (vector, n.bytes),
                )

            base = f.along(image, (group, c.inputs * prod(c.size) * n.size))
            transformed(
                f, t, Image.of(c), SIDE, self.transforms.image, base, item,
                "%scratch", into, self.values_place, where,
            )  # fmt: skip
        units = t.items * c.groups
        work = units * t.count * 340 * (self.depth // n.count)
        kernel = f.kernel(2 * SIDE * self.line * n.bytes)
        return Stage(kernel, ("0", "w"), units, chunk_of(units, work))

    def main(self, epilogue: Epilogue | None) -> Stage:
        c, n = self.c, self.lanes
        f = Code()
        ending = Ending(f, epilogue)
        memory, weights, result = ending.pointers()
        place = self.each * self.block * n.size
        sums_place = self.count * self.block * n.size + 64
        kernels_at = aligned(max(2 * SIDE * self.line * n.bytes, self.kernel_room), 64)
        sums_at = kernels_at + PLACES * place
        kernels, sums = f.byte("%scratch", kernels_at), f.byte("%scratch", sums_at)
        with f.loop("%begin", "%end") as unit:
            group, block = f.divided(unit.index, self.blocks)
            first = f.mul(block, self.vectors)
            with f.loop("0", str(PLACES * sums_place), str(n.bytes)) as i:
                f.store(n.type, "zeroinitializer", f.byte(sums, i.index), n.size)
            values = f.along(memory, (group, self.values_group))
            with (
                f.loop("0", str(c.kernel[0])) as slice_,
                f.loop("0", str(c.inputs // self.each)) as chunk,
            ):
                with f.loop("0", str(self.vectors)) as v, f.loop("0", str(self.each)) as i:
                    channel = f.add(f.mul(chunk.index, self.each), i.index)
                    which = (group, f.add(first, v.index), slice_.index, channel)
                    into = f.along(kernels, (i.index, self.block * n.size), (v.index, n.bytes))
                    self.kernel(f, weights, which, into, place)
                here = f.along(
                    values,
                    (slice_.index, c.inputs // self.each * self.chunk),
                    (chunk.index, self.chunk),
                )
                with f.loop("0", str(PLACES)) as at:
                    self.add(
                        f,
                        f.along(kernels, (at.index, place)),
                        f.along(here, (at.index, self.values_place)),
                        f.along(sums, (at.index, sums_place)),
                    )
            out = f.along(result, (group, c.outputs * prod(c.output) * n.size))
            channels = (first, str(self.vectors), self.block)
            self.results(f, "0", group, sums, sums_place, channels, out, ending)
        units = c.groups * self.blocks
        work = units * self.count * PLACES * self.depth * self.vectors * 1.3
        kernel = f.kernel(sums_at + PLACES * sums_place)
        operands = (*ending.operands, "w", "1", "out0")
        return Stage(kernel, operands, units, chunk_of(units, work))

    def add(self, f: Code, kernels: str, values: str, sums: str) -> None:
        """Adds the products of a few inputs; the rows left over are summed up by themselves."""
        n, pitch = self.lanes, self.each * self.lanes.size
        rest = self.count % self.at_once
        for start, rows in ((0, self.count - rest), (self.count - rest, rest)):
            if rows:
                products(
                    f, n, self.vectors, min(rows, self.at_once), rows, self.each,
                    kernels, self.block * n.size,
                    f.byte(values, start * pitch), pitch, n.size,
                    f.byte(sums, start * self.block * n.size), self.block * n.size, True,
                )  # fmt: skip
