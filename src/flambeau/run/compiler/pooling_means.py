"""Means of windows and their gradients, plain and adaptive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.convolution_blocks import Code, Lanes, chunk_of, gather
from flambeau.run.compiler.convolution_narrow import total_of
from flambeau.run.compiler.pooling_windows import (
    Columns,
    Windows,
    even_windows,
    fill,
    lanes_of,
    over_taps,
)
from flambeau.run.compiler.sizes import Size
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.ir.graph import Aval
    from flambeau.run.compiler.target import Target

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_gradient",
    "avg_pool",
    "avg_pool_gradient",
]


@dataclass(frozen=True)
class Divisor:
    """How many elements a window counts."""

    w: Windows
    with_padding: bool
    fixed: int | None

    @classmethod
    def of(cls, w: Windows, how: dict[str, Any]) -> Divisor:
        fixed = how.get("divisor_override")
        if fixed is None and not any(w.leaves(a) for a in range(3)):
            fixed = prod(w.kernel)
        return cls(w, how.get("count_include_pad", True), fixed)

    def along(self, f: Code, axis: int, at: str) -> str:
        """Elements along an axis of the window at a number (i64)."""
        w = self.w
        start = f.add(f.mul(at, w.stride[axis]), -w.padding[axis])
        stop = f.add(start, w.kernel[axis])
        if self.with_padding:
            stop = f.least(stop, w.size[axis] + w.padding[axis])
        else:
            stop = f.least(stop, w.size[axis])
            start = f.call("llvm.smax.i64", "i64", ("i64", start), ("i64", "0"))
        return f.sub(stop, start)

    def along_columns(self, f: Code, lanes: int, at: str) -> str:
        """The same of a vector of windows' numbers (i32)."""
        w, ty = self.w, f"<{lanes} x i32>"
        start = f.value(f"mul {ty} {at}, {f.numbers(lanes, w.stride[2])}")
        start = f.value(f"sub {ty} {start}, {f.numbers(lanes, w.padding[2])}")
        stop = f.value(f"add {ty} {start}, {f.numbers(lanes, w.kernel[2])}")
        bound = f.numbers(lanes, w.size[2] + (w.padding[2] if self.with_padding else 0))
        stop = f.call(f"llvm.smin.v{lanes}i32", ty, (ty, stop), (ty, bound))
        if not self.with_padding:
            start = f.call(f"llvm.smax.v{lanes}i32", ty, (ty, start), (ty, "zeroinitializer"))
        return f.value(f"sub {ty} {stop}, {start}")

    def divide(self, f: Code, n: Lanes, value: str, at: tuple[str, str], columns: str) -> str:
        """``value`` divided; the windows are at slice and row ``at`` and a vector of columns."""
        if self.fixed is not None:
            by = f.counted(n, self.fixed)
            return f.value(f"fdiv {n.type} {value}, {by}")
        rows = self.along(f, 1, at[1])
        if self.w.kernel[0] > 1 or self.w.leaves(0):
            rows = f.value(f"mul i64 {rows}, {self.along(f, 0, at[0])}")
        wide = f.splat(n.count, "i32", f.value(f"trunc i64 {rows} to i32"))
        whole = f"<{n.count} x i32>"
        count = f.value(f"mul {whole} {wide}, {self.along_columns(f, n.count, columns)}")
        by = f.value(f"sitofp {whole} {count} to {n.type}")
        return f.value(f"fdiv {n.type} {value}, {by}")


def _numbers(f: Code, lanes: int, first: str) -> str:
    """The vector of i32 ``first + lane``."""
    base = f.splat(lanes, "i32", f.value(f"trunc i64 {first} to i32"))
    steps = ", ".join(f"i32 {i}" for i in range(lanes))
    return f.value(f"add <{lanes} x i32> {base}, <{steps}>")


def avg_pool(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """The mean of each window."""
    lanes = lanes_of(in_avals, target)
    if lanes is None or len(attrs["kernel_size"]) > 3:
        return None
    w = Windows.of(in_avals[0], out_avals[0], attrs)
    if w.whole:
        return _whole_means(w, lanes, Divisor.of(w, attrs).fixed or prod(w.size))
    w.need_taps()
    if w.kernel[2] > 16:
        return None
    divisor = Divisor.of(w, attrs)
    n = lanes.at_most(w.output[2])
    f = Code()
    image, result = f.pointer(0), f.pointer(1)
    with f.loop("%begin", "%end") as unit:
        plane, slice_, row = f.split(unit.index, w.output[0], w.output[1])
        source = f.along(image, (plane, prod(w.size) * n.size))
        with f.loop("0", str(w.output[2]), str(n.count)) as j:
            columns = Columns(f, w, n, j.index)
            columns.prepare()

            def add(found: list[str], line: str, inside: str | None) -> list[str]:
                total = found[0]
                for _, value in columns.load(f.along(source, (line, w.size[2] * n.size)), inside):
                    total = f.value(f"fadd {n.type} {total}, {value}")
                return [total]

            total = over_taps(f, w, (slice_, row), [(n.type, "zeroinitializer")], add)[0]
            numbers = _numbers(f, n.count, j.index)
            mean = divisor.divide(f, n, total, (slice_, row), numbers)
            at = f.add(f.mul(unit.index, w.output[2]), j.index)
            mask = f.mask(n.count, columns.left)
            f.store_masked(n.count, n.element, mean, f.along(result, (at, n.size)), mask)
    units = w.planes * w.output[0] * w.output[1]
    work = units * -(-w.output[2] // n.count) * prod(w.kernel) * 3
    kernel = f.kernel(prefix="pool")
    return Plan((Stage(kernel, ("0", "out0"), units, chunk_of(units, work)),))


def _whole_means(w: Windows, n: Lanes, divisor: int) -> Plan:
    """One window a plane: a sum along memory."""
    size = prod(w.size)
    n = n.at_most(size)
    whole = size // n.count * n.count
    f = Code()
    image, result = f.pointer(0), f.pointer(1)
    with f.loop("%begin", "%end") as unit:
        source = f.along(image, (unit.index, size * n.size))
        total = "zeroinitializer"
        if whole.__class__ is Size or whole:
            with f.loop("0", str(whole), str(n.count), [(n.type, total)]) as i:
                more = f.load(n.type, f.along(source, (i.index, n.size)), n.size)
                i.carry(f.value(f"fadd {n.type} {i.carried[0]}, {more}"))
            total = i.result[0]
        if size.__class__ is Size or size > whole:
            rest = f.get(n, f.byte(source, whole * n.size), size - whole)
            total = f.value(f"fadd {n.type} {total}, {rest}")
        by = f.counted(replace(n, count=1), divisor)
        mean = f.value(f"fdiv {n.element} {total_of(f, n, total)}, {by}")
        f.store(n.element, mean, f.along(result, (unit.index, n.size)), n.size)
    kernel = f.kernel(prefix="pool")
    work = w.planes * (-(-size // n.count) * 3 + 10)
    return Plan((Stage(kernel, ("0", "out0"), w.planes, chunk_of(w.planes, work)),))


def avg_pool_gradient(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """Each element's share of the windows that it is in, a row of the image at a time."""
    lanes = lanes_of([*in_avals, *out_avals], target)
    if lanes is None or len(attrs["kernel_size"]) > 3:
        return None
    w = Windows.of(out_avals[0], in_avals[0], attrs)
    divisor = Divisor.of(w, attrs)
    if w.whole:
        return _whole_shares(w, lanes, divisor.fixed or prod(w.size))
    w.need_taps()
    n = lanes.at_most(w.size[2])
    count, whole = n.count, f"<{n.count} x i32>"
    f = Code()
    gradient, result = f.pointer(0), f.pointer(1)
    # Windows over an element: the last that begins before it, and some before that.
    over = tuple(-(-k // s) for k, s in zip(w.kernel, w.stride, strict=True))
    with f.loop("%begin", "%end") as unit:
        plane, slice_, row = f.split(unit.index, w.size[0], w.size[1])
        source = f.along(gradient, (plane, prod(w.output) * n.size))
        last = []
        for axis, position in ((0, slice_), (1, row)):
            last.append(f.divided(f.add(position, w.padding[axis]), w.stride[axis])[0])
        with f.loop("0", str(w.size[2]), str(count)) as j:
            columns = _numbers(f, count, j.index)
            stride, outputs = (f.numbers(count, x) for x in (w.stride[2], w.output[2]))
            shifted = f.value(f"add {whole} {columns}, {f.numbers(count, w.padding[2])}")
            newest = f.value(f"udiv {whole} {shifted}, {stride}")
            total = [(n.type, "zeroinitializer")]
            with f.loop("0", str(over[0]), carried=total) as a:
                with f.loop("0", str(over[1]), carried=[(n.type, a.carried[0])]) as b:
                    at, tests = [], []
                    for axis, back, position in ((0, a.index, slice_), (1, b.index, row)):
                        window = f.sub(last[axis], back)
                        at.append(window)
                        tests.append(f.value(f"icmp ult i64 {window}, {w.output[axis]}"))
                        start = f.add(f.mul(window, w.stride[axis]), w.kernel[axis])
                        end = f.add(start, -w.padding[axis])
                        tests.append(f.value(f"icmp sgt i64 {end}, {position}"))
                    inside = tests[0]
                    for test in tests[1:]:
                        inside = f.value(f"and i1 {inside}, {test}")
                    rows = f.splat(count, "i1", inside)
                    line = f.add(f.mul(at[0], w.output[1]), at[1])
                    base = f.along(source, (line, w.output[2] * n.size))
                    inner = [(n.type, b.carried[0])]
                    with f.loop("0", str(over[2]), carried=inner) as c:
                        back = f.value(f"trunc i64 {c.index} to i32")
                        window = f.value(f"sub {whole} {newest}, {f.splat(count, 'i32', back)}")
                        real = f.value(f"icmp ult {whole} {window}, {outputs}")
                        end = f.value(f"mul {whole} {window}, {stride}")
                        end = f.value(f"add {whole} {end}, {f.numbers(count, w.kernel[2])}")
                        covers = f.value(f"icmp sgt {whole} {end}, {shifted}")
                        mask = f.value(f"and <{count} x i1> {real}, {covers}")
                        mask = f.value(f"and <{count} x i1> {mask}, {rows}")
                        found = gather(f, n, base, window, mask)
                        share = divisor.divide(f, n, found, (at[0], at[1]), window)
                        # Windows that do not count may have no elements to divide by.
                        share = f.value(
                            f"select <{count} x i1> {mask}, {n.type} {share}, "
                            f"{n.type} zeroinitializer"
                        )
                        c.carry(f.value(f"fadd {n.type} {c.carried[0]}, {share}"))
                    b.carry(c.result[0])
                a.carry(b.result[0])
            at_row = f.add(f.mul(unit.index, w.size[2]), j.index)
            mask = f.mask(count, f.sub(str(w.size[2]), j.index))
            f.store_masked(count, n.element, a.result[0], f.along(result, (at_row, n.size)), mask)
    units = w.planes * w.size[0] * w.size[1]
    work = units * -(-w.size[2] // count) * prod(over) * 40
    kernel = f.kernel(prefix="pool")
    return Plan((Stage(kernel, ("0", "out0"), units, chunk_of(units, work)),))


def _whole_shares(w: Windows, n: Lanes, divisor: int) -> Plan:
    size = prod(w.size)
    f = Code()
    gradient, result = f.pointer(0), f.pointer(1)
    with f.loop("%begin", "%end") as unit:
        one = f.load(n.element, f.along(gradient, (unit.index, n.size)), n.size)
        by = f.counted(replace(n, count=1), divisor)
        share = f.value(f"fdiv {n.element} {one}, {by}")
        out = f.along(result, (unit.index, size * n.size))
        fill(f, n, out, size, f.splat(n.count, n.element, share))
    kernel = f.kernel(prefix="pool")
    work = w.planes * (-(-size // n.count) * 2 + 10)
    return Plan((Stage(kernel, ("0", "out0"), w.planes, chunk_of(w.planes, work)),))


def adaptive_avg_pool(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """Means of windows that share the image out evenly."""
    how = even_windows(attrs["output_size"], in_avals[0])
    if how is not None:
        return avg_pool(how, in_avals, out_avals, target)
    return _shared_out(in_avals[0], out_avals[0], len(attrs["output_size"]), target, False)


def adaptive_avg_pool_gradient(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """The transpose of ``adaptive_avg_pool``."""
    d = len(attrs["input_size"])
    g = in_avals[0]
    how = even_windows(g.shape[len(g.shape) - d :], out_avals[0])
    if how is not None:
        return avg_pool_gradient(how, in_avals, out_avals, target)
    return _shared_out(out_avals[0], g, d, target, True)


def _shared_out(image: Aval, cells: Aval, d: int, target: Target, spread: bool) -> Plan | None:
    """Windows of several sizes: their means, or (``spread``) their means' gradient."""
    n = lanes_of([image, cells], target)
    if n is None or d > 3:
        return None
    lead = len(image.shape) - d
    size = (*(1,) * (3 - d), *image.shape[lead:])
    output = (*(1,) * (3 - d), *cells.shape[lead:])
    planes = prod(image.shape[:lead])
    f = Code()
    source, result = f.pointer(0), f.pointer(1)
    images, means = (result, source) if spread else (source, result)

    def bounds(axis: int, i: str) -> tuple[str, str]:
        start, _ = f.divided(f.mul(i, size[axis]), output[axis])
        last = f.add(f.mul(f.add(i, 1), size[axis]), output[axis] - 1)
        return start, f.divided(last, output[axis])[0]

    with f.loop("%begin", "%end") as unit:
        plane = f.along(images, (unit.index, prod(size) * n.size))
        cell = f.along(means, (unit.index, prod(output) * n.size))
        if spread:
            fill(f, n, plane, prod(size), "zeroinitializer")
        with (
            f.loop("0", str(output[0])) as a,
            f.loop("0", str(output[1])) as b,
            f.loop("0", str(output[2])) as c,
        ):
            ends = [bounds(axis, i.index) for axis, i in enumerate((a, b, c))]
            count = "1"
            for start, stop in ends:
                count = f.value(f"mul i64 {count}, {f.sub(stop, start)}")
            by = f.value(f"sitofp i64 {count} to {n.element}")
            index = f.add(f.mul(f.add(f.mul(a.index, output[1]), b.index), output[2]), c.index)
            at = f.along(cell, (index, n.size))
            first = f"{0.0:e}"
            if spread:
                one = f.load(n.element, at, n.size)
                first = f.value(f"fdiv {n.element} {one}, {by}")
            carried = [(n.element, first)]
            with f.loop(*ends[0], carried=carried) as z:
                with f.loop(*ends[1], carried=[(n.element, z.carried[0])]) as y:
                    with f.loop(*ends[2], carried=[(n.element, y.carried[0])]) as x:
                        line = f.add(f.mul(z.index, size[1]), y.index)
                        where = f.add(f.mul(line, size[2]), x.index)
                        to = f.along(plane, (where, n.size))
                        value = f.load(n.element, to, n.size)
                        total = f.value(f"fadd {n.element} {value}, {x.carried[0]}")
                        if spread:
                            f.store(n.element, total, to, n.size)
                        x.carry(x.carried[0] if spread else total)
                    y.carry(x.result[0])
                z.carry(y.result[0])
            if not spread:
                mean = f.value(f"fdiv {n.element} {z.result[0]}, {by}")
                f.store(n.element, mean, at, n.size)
    kernel = f.kernel(prefix="pool")
    work = planes * prod(size) * 4
    return Plan((Stage(kernel, ("0", "out0"), planes, chunk_of(planes, work)),))
