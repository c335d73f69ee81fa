"""Convolution with vectors along the width: for few channels, depthwise, and all that is rare.

Weights are read where they are and broadcast; pixels come from a bordered copy of a part of the
image. The input's gradient is the convolution of the gradient, spread by the stride, with the
kernels turned around.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

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
from flambeau.run.compiler.emit import constant
from flambeau.run.compiler.stages import Epilogue, Plan, Stage

__all__ = ["Correlation", "narrow", "narrow_weights", "shares", "summed"]

# Multiply-adds written out one after the other, at most.
_UNROLLED = 110
_SLAB_BYTES = 192 << 10
# Shares of the samples that add up weights' gradients of their own, at most.
_PARTS = 16
_FEWEST_UNITS = 8


@dataclass(frozen=True)
class Correlation:
    """``out[o, p] = sum w[o, c, k] * image[c, step p + dilation k - low]``, in each group.

    The image's elements are ``spread`` apart. Weights are at ``first + o * of_output + c *
    of_input + k . of_tap`` in their group, groups ``of_group`` apart.
    """

    samples: int
    groups: int
    inputs: int
    outputs: int
    size: Triple
    kernel: Triple
    output: Triple
    step: Triple
    spread: Triple
    low: Triple
    dilation: Triple
    first: int
    of_group: int
    of_output: int
    of_input: int
    of_tap: Triple

    @classmethod
    def forward(cls, g: Geometry) -> Correlation:
        taps, (_, h, w) = g.taps, g.kernel
        return cls(
            g.samples, g.groups, g.inputs_each, g.outputs_each, g.size, g.kernel, g.output,
            g.stride, (1, 1, 1), g.low, g.dilation, 0, g.outputs_each * g.inputs_each * taps,
            g.inputs_each * taps, taps, (h * w, w, 1),
        )  # fmt: skip

    @classmethod
    def backward(cls, g: Geometry) -> Correlation:
        taps, (_, h, w) = g.taps, g.kernel
        a, b, c = (d * (k - 1) - low for d, k, low in zip(g.dilation, g.kernel, g.low, strict=True))
        return cls(
            g.samples, g.groups, g.outputs_each, g.inputs_each, g.output, g.kernel, g.size,
            (1, 1, 1), g.stride, (a, b, c), g.dilation, taps - 1,
            g.outputs_each * g.inputs_each * taps, taps, g.inputs_each * taps, (-h * w, -w, -1),
        )  # fmt: skip

    @property
    def reach(self) -> Triple:
        a, b, c = (d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True))
        return a, b, c

    @property
    def inside(self) -> bool:
        """Whether no tap of any window leaves the image, nor finds zeros spread into it."""
        return self.spread == (1, 1, 1) and all(
            low == 0 and (o - 1) * s + r < n
            for low, o, s, r, n in zip(
                self.low, self.output, self.step, self.reach, self.size, strict=True
            )
        )

    def slab(self, lanes: Lanes, rows: int, channels: int) -> Slab:
        """The part of the image that ``rows`` rows of one slice of the output read."""
        phases = self.step[2]
        reach = self.reach
        extent = (
            reach[0] + 1,
            (rows - 1) * self.step[1] + reach[1] + 1,
            (self.output[2] - 1) * self.step[2] + reach[2] + 1,
        )
        step = (self.step[0], self.step[1], 1)
        return Slab(
            lanes, channels, self.size, self.low, extent, step, self.spread, phases, self.inside
        )

    def rows_at_once(self, lanes: Lanes) -> int:
        """Rows of the output to a unit of work: what its slab leaves room for."""
        rows = self.output[1]
        while rows > 4 and self.slab(lanes, rows, self.inputs).bytes > _SLAB_BYTES:
            rows = -(-rows // 2)
        # Few samples are shared out by rows.
        units = self.samples * self.groups * self.output[0]
        while rows > 4 and units * -(-self.output[1] // rows) < _FEWEST_UNITS:
            rows = -(-rows // 2)
        return rows


def narrow(c: Correlation, widest: Lanes, epilogue: Epilogue | None = None) -> Plan:
    """Inputs are the image and the weights."""
    lanes = widest.at_most(c.output[2])
    n, columns = lanes.count, c.output[2]
    rows = c.rows_at_once(lanes)
    slab = c.slab(lanes, rows, c.inputs)
    across = min(-(-columns // n), 4 if c.outputs == 1 else 2)
    down = min(c.outputs, max(1, 20 // across))
    while c.outputs % down and c.outputs % down < down // 2:
        down -= 1
    blocks = -(-c.output[1] // rows)
    deep = min(max(1, 16 // (across * down)), 4, c.output[1] - (blocks - 1) * rows)
    f = Code()
    ending = Ending(f, epilogue)
    image, weights, result = ending.pointers()
    plane, pixels = prod(c.output), prod(c.size)
    with f.loop("%begin", "%end") as unit:
        sample, group, slice_, block = f.split(unit.index, c.groups, c.output[0], blocks)
        top = f.mul(block, rows)
        count = f.least(f.sub(str(c.output[1]), top), rows) if blocks > 1 else str(rows)
        start = f.add(f.mul(sample, c.groups), group)
        source = slab.fill(
            f,
            f.along(image, (start, c.inputs * pixels * lanes.size)),
            "%scratch",
            (slice_, top),
        )
        w = f.along(weights, (group, c.of_group * lanes.size), (1, c.first * lanes.size))
        out = f.along(
            result,
            (start, c.outputs * plane * lanes.size),
            (slice_, c.output[1] * columns * lanes.size),
            (top, columns * lanes.size),
        )
        # Tiles at the edges overlap the ones before them: they compute the same numbers again.
        with f.loop("0", str(c.outputs), str(down)) as o_loop:
            o = f.least(o_loop.index, c.outputs - down)
            with f.loop("0", count, str(deep)) as row_loop:
                row = f.least(row_loop.index, f.add(count, -deep))
                with f.loop("0", str(columns), str(across * n)) as column_loop:
                    column = f.least(column_loop.index, max(0, columns - across * n))
                    tile = _Tile(f, c, lanes, slab, down, deep, across)
                    tile.write(
                        f.along(w, (o, c.of_output * lanes.size)),
                        f.along(
                            source,
                            (row, c.step[1] * slab.pitch[2]),
                            (column, lanes.size),
                        ),
                        f.along(
                            out,
                            (o, plane * lanes.size),
                            (row, columns * lanes.size),
                            (column, lanes.size),
                        ),
                    )
            if epilogue:
                done = Part(
                    c.groups * c.outputs, c.output, (sample, "1"),
                    (f.add(f.mul(group, c.outputs), o), str(down)), (slice_, "1"), (top, count),
                )  # fmt: skip
                ending.finish(widest, done)
    units = c.samples * c.groups * c.output[0] * blocks
    work = c.samples * c.groups * c.outputs * c.inputs * prod(c.kernel) * prod(c.output) / n
    kernel = f.kernel(slab.bytes + 64 * 64)
    return Plan(
        (Stage(kernel, (*ending.operands, "0", "1", "out0"), units, chunk_of(units, work)),)
    )


@dataclass
class _Tile:
    """Outputs ``down``, rows ``deep``, vectors ``across`` that are summed up in registers."""

    f: Code
    c: Correlation
    lanes: Lanes
    slab: Slab
    down: int
    deep: int
    across: int

    def write(self, weights: str, source: str, out: str) -> None:
        f, c, n = self.f, self.c, self.lanes
        size = self.down * self.deep * self.across
        zeros = [(n.type, "zeroinitializer")] * size
        written_out = c.kernel[2] * size <= _UNROLLED
        whole = prod(c.kernel) * size <= _UNROLLED
        with f.loop("0", str(c.inputs), carried=zeros) as loop:
            w = f.along(weights, (loop.index, c.of_input * n.size))
            x = f.along(source, (loop.index, self.slab.pitch[0]))
            if whole:
                sums = list(loop.carried)
                for kd in range(c.kernel[0]):
                    for kh in range(c.kernel[1]):
                        sums = self._row(sums, w, x, kd, kh, range(c.kernel[2]))
                loop.carry(*sums)
            else:
                loop.carry(*self._taps(w, x, loop.carried, written_out))
        self._store(out, loop.result)

    def _taps(self, w: str, x: str, sums: list[str], written_out: bool) -> list[str]:
        f, c, n = self.f, self.c, self.lanes
        with f.loop("0", str(c.kernel[0]), carried=[(n.type, s) for s in sums]) as kd:
            with f.loop("0", str(c.kernel[1]), carried=[(n.type, s) for s in kd.carried]) as kh:
                here = f.along(
                    x,
                    (kd.index, c.dilation[0] * self.slab.pitch[1]),
                    (kh.index, c.dilation[1] * self.slab.pitch[2]),
                )
                there = f.along(
                    w, (kd.index, c.of_tap[0] * n.size), (kh.index, c.of_tap[1] * n.size)
                )
                if written_out or self.slab.phases > 1:
                    kws = range(c.kernel[2])
                    kh.carry(*self._row(kh.carried, there, here, 0, 0, kws, apart=True))
                else:
                    carried = [(n.type, s) for s in kh.carried]
                    with f.loop("0", str(c.kernel[2]), carried=carried) as kw:
                        at = f.along(here, (kw.index, c.dilation[2] * n.size))
                        by = f.along(there, (kw.index, c.of_tap[2] * n.size))
                        kw.carry(*self._row(kw.carried, by, at, 0, 0, range(1)))
                    kh.carry(*kw.result)
            kd.carry(*kh.result)
        return kd.result

    def _row(
        self,
        sums: list[str],
        w: str,
        x: str,
        kd: int,
        kh: int,
        kws: range,
        apart: bool = False,
    ) -> list[str]:
        """``apart``: LLVM must not load the weights of all taps first, and spill the sums."""
        f, c, n = self.f, self.c, self.lanes
        sums = list(sums)
        for kw in kws:
            if apart and kw:
                f.barrier()
            base = (
                kd * c.dilation[0] * self.slab.pitch[1]
                + kh * c.dilation[1] * self.slab.pitch[2]
                + self.slab.column(kw * c.dilation[2])
            )
            tap = kd * c.of_tap[0] + kh * c.of_tap[1] + kw * c.of_tap[2]
            pixels = [
                self._load(x, base + i * c.step[1] * self.slab.pitch[2], j)
                for i in range(self.deep)
                for j in range(self.across)
            ]
            for o in range(self.down):
                by = f.broadcast(n, f.byte(w, (o * c.of_output + tap) * n.size))
                for k, pixel in enumerate(pixels):
                    at = o * len(pixels) + k
                    sums[at] = f.fma(n.type, pixel, by, sums[at])
        return sums

    def _valid(self, j: int) -> int:
        return min(self.lanes.count, self.c.output[2] - j * self.lanes.count)

    def _load(self, x: str, offset: int, j: int) -> str:
        f, n = self.f, self.lanes
        at = f.byte(x, offset + j * n.bytes)
        if self.slab.direct:
            return f.get(n, at, self._valid(j))
        return f.load(n.type, at, n.size)

    def _store(self, out: str, sums: list[str]) -> None:
        f, c, n = self.f, self.c, self.lanes
        row, plane = c.output[2] * n.size, prod(c.output) * n.size
        for i in range(self.deep):
            for o in range(self.down):
                for j in range(self.across):
                    value = sums[(o * self.deep + i) * self.across + j]
                    at = f.byte(out, o * plane + i * row + j * n.bytes)
                    f.put(n, value, at, self._valid(j))


def narrow_weights(g: Geometry, lanes: Lanes) -> Plan:
    """The gradient of the weights: input 0 is the result's gradient, 1 the image."""
    c = Correlation.forward(g)
    lanes = lanes.at_most(c.output[2])
    n, size = lanes.count, lanes.size
    rows = c.rows_at_once(lanes)
    slab = c.slab(lanes, rows, c.inputs)
    blocks = -(-c.output[1] // rows)
    items = c.samples * c.output[0] * blocks
    parts, each = shares(items, _PARTS)
    elements = c.groups * c.of_group
    f = Code()
    gradient, image, result = (f.pointer(i) for i in range(3))
    with f.loop("%begin", "%end") as unit:
        part, group = f.split(unit.index, c.groups)
        first = f.mul(part, each)
        sums = f.byte("%scratch", aligned(slab.bytes + 4096, 64))
        with f.loop("0", str(c.of_group)) as i:
            f.store(lanes.type, "zeroinitializer", f.along(sums, (i.index, lanes.bytes)))
        with f.loop(first, f.least(f.add(first, each), items)) as item:
            sample, slice_, block = f.split(item.index, c.output[0], blocks)
            top = f.mul(block, rows)
            left = f.sub(str(c.output[1]), top)
            count = f.least(left, rows) if blocks > 1 else str(rows)
            start = f.add(f.mul(sample, c.groups), group)
            source = slab.fill(
                f,
                f.along(image, (start, c.inputs * prod(c.size) * size)),
                "%scratch",
                (slice_, top),
            )
            row = c.output[2] * size
            here = f.along(
                gradient,
                (start, c.outputs * prod(c.output) * size),
                (slice_, c.output[1] * row),
                (top, row),
            )
            _Sums(f, c, lanes, slab).add(sums, source, here, count)
        into = f.along(result, (part, elements * size), (group, c.of_group * size))
        with f.loop("0", str(c.of_group)) as i:
            total = f.load(lanes.type, f.along(sums, (i.index, lanes.bytes)), size)
            f.store(lanes.element, total_of(f, lanes, total), f.along(into, (i.index, size)), size)
    vectors = g.work / n
    units = parts * c.groups
    scratch = aligned(slab.bytes + 4096, 64) + c.of_group * lanes.bytes
    operands = ("0", "1", "out0" if parts == 1 else "w")
    stage = Stage(f.kernel(scratch), operands, units, chunk_of(units, vectors))
    if parts == 1:
        return Plan((stage,))
    return Plan((stage, summed(lanes, elements, parts)), parts * elements * size)


def shares(items: int, most: int) -> tuple[int, int]:
    """How many parts to share ``items`` out to, and how many items each has."""
    each = -(-items // min(items, most))
    return -(-items // each), each


def total_of(f: Code, lanes: Lanes, value: str) -> str:
    """The sum of a vector's lanes, by halves."""
    name = f"llvm.vector.reduce.fadd.v{lanes.count}f{8 * lanes.size}"
    f.declared.add(f"declare {lanes.element} @{name}({lanes.element}, {lanes.type})")
    start = constant(-0.0, lanes.element)
    return f.value(
        f"call reassoc {lanes.element} @{name}({lanes.element} {start}, {lanes.type} {value})"
    )


def summed(lanes: Lanes, elements: int, parts: int) -> Stage:
    """Adds up ``parts`` arrays of ``elements`` that follow each other in the shared memory."""
    block = 8 * lanes.count
    f = Code()
    memory, result = f.pointer(0), f.pointer(1)
    with f.loop("%begin", "%end") as unit:
        start = f.mul(unit.index, block)
        stop = f.least(f.add(start, block), elements)
        with f.loop(start, stop, str(lanes.count)) as i:
            mask = f.mask(lanes.count, f.sub(stop, i.index))
            at = f.along(memory, (i.index, lanes.size))
            total = f.load_masked(lanes.count, lanes.element, at, mask)
            with f.loop("1", str(parts), carried=[(lanes.type, total)]) as part:
                here = f.along(at, (part.index, elements * lanes.size))
                more = f.load_masked(lanes.count, lanes.element, here, mask)
                part.carry(f.value(f"fadd {lanes.type} {part.carried[0]}, {more}"))
            into = f.along(result, (i.index, lanes.size))
            f.store_masked(lanes.count, lanes.element, part.result[0], into, mask)
    units = -(-elements // block)
    return Stage(f.kernel(), ("w", "out0"), units, chunk_of(units, elements * parts / lanes.count))


@dataclass
class _Sums:
    """Sums of products along rows: of a few outputs and the taps of one row of the kernel."""

    f: Code
    c: Correlation
    lanes: Lanes
    slab: Slab

    def add(self, sums: str, source: str, gradient: str, count: str) -> None:
        f, c, n = self.f, self.c, self.lanes
        for first in range(0, c.kernel[2], 8):
            kws = range(first, min(first + 8, c.kernel[2]))
            down = min(c.outputs, max(1, 24 // len(kws)))
            while c.outputs % down:
                down -= 1
            with (
                f.loop("0", str(c.inputs)) as i,
                f.loop("0", str(c.kernel[0])) as kd,
                f.loop("0", str(c.kernel[1])) as kh,
                f.loop("0", str(c.outputs), str(down)) as o,
            ):
                at = f.along(
                    sums,
                    (i.index, c.of_input * n.bytes),
                    (kd.index, c.of_tap[0] * n.bytes),
                    (kh.index, c.of_tap[1] * n.bytes),
                    (o.index, c.of_output * n.bytes),
                )
                x = f.along(
                    source,
                    (i.index, self.slab.pitch[0]),
                    (kd.index, c.dilation[0] * self.slab.pitch[1]),
                    (kh.index, c.dilation[1] * self.slab.pitch[2]),
                )
                here = f.along(gradient, (o.index, prod(c.output) * n.size))
                places = [
                    f.byte(at, (j * c.of_output + kw * c.of_tap[2]) * n.bytes)
                    for j in range(down)
                    for kw in kws
                ]
                before = [(n.type, f.load(n.type, place)) for place in places]
                with f.loop("0", count, carried=before) as row:
                    g_row = f.along(here, (row.index, c.output[2] * n.size))
                    x_row = f.along(x, (row.index, c.step[1] * self.slab.pitch[2]))
                    row.carry(*self._row(g_row, x_row, row.carried, down, kws))
                for place, value in zip(places, row.result, strict=True):
                    f.store(n.type, value, place)

    def _row(self, g: str, x: str, sums: list[str], down: int, kws: range) -> list[str]:
        f, c, n = self.f, self.c, self.lanes
        full = c.output[2] // n.count
        if full:
            carried = [(n.type, s) for s in sums]
            with f.loop("0", str(full), carried=carried) as j:
                here = f.along(g, (j.index, n.bytes))
                there = f.along(x, (j.index, n.bytes))
                j.carry(*self._products(here, there, j.carried, down, kws, n.count))
            sums = j.result
        rest = c.output[2] % n.count
        if rest:
            here, there = f.byte(g, full * n.bytes), f.byte(x, full * n.bytes)
            sums = self._products(here, there, sums, down, kws, rest)
        return sums

    def _products(
        self, g: str, x: str, sums: list[str], down: int, kws: range, count: int
    ) -> list[str]:
        f, c, n = self.f, self.c, self.lanes
        sums = list(sums)
        pixels = [f.get(n, f.byte(x, self.slab.column(kw * c.dilation[2])), count) for kw in kws]
        for j in range(down):
            by = f.get(n, f.byte(g, j * prod(c.output) * n.size), count)
            for k, pixel in enumerate(pixels):
                at = j * len(kws) + k
                sums[at] = f.fma(n.type, pixel, by, sums[at])
        return sums
