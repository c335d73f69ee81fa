"""Pooling kernels: maxima with their places, means, their gradients, elements at places.

A unit of work is a row of the result or a plane. Vectors run along the width; a tap's elements are
loaded at once where windows are one or two columns apart, and gathered otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.convolution_blocks import Code, Lanes, Triple, chunk_of, gather
from flambeau.run.compiler.convolution_narrow import negative, total_of
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flambeau.ir.graph import Aval
    from flambeau.run.compiler.target import Target

__all__ = ["PLANS"]

# Taps written out one after the other, at most; more are loops.
_WRITTEN = 12


@dataclass(frozen=True)
class Windows:
    """The numbers of one pooling, in three axes."""

    planes: int
    size: Triple
    output: Triple
    kernel: Triple
    stride: Triple
    padding: Triple
    dilation: Triple

    @classmethod
    def of(cls, x: Aval, y: Aval, how: dict[str, Any]) -> Windows:
        d = len(how["kernel_size"])

        def three(values: Sequence[int], fill: int) -> Triple:
            a, b, c = (*(fill,) * (3 - d), *values)
            return a, b, c

        lead = len(x.shape) - d
        return cls(
            prod(x.shape[:lead]),
            three(x.shape[lead:], 1),
            three(y.shape[lead:], 1),
            three(how["kernel_size"], 1),
            three(how["stride"], 1),
            three(how["padding"], 0),
            three(how.get("dilation") or (1,) * d, 1),
        )

    def leaves(self, axis: int) -> bool:
        """Whether a window reaches past the image along an axis."""
        reach = self.dilation[axis] * (self.kernel[axis] - 1)
        last = (self.output[axis] - 1) * self.stride[axis] + reach - self.padding[axis]
        return self.padding[axis] > 0 or last >= self.size[axis]

    @property
    def elements(self) -> int:
        return self.planes * prod(self.output)


def _lanes(avals: Sequence[Aval], target: Target) -> Lanes | None:
    if any(0 in aval.shape for aval in avals) or not avals[0].shape:
        return None
    return Lanes.of(avals[0], target)


class Columns:
    """The columns that a vector of windows begins at, while a row of the result is written."""

    def __init__(self, f: Code, w: Windows, lanes: Lanes, j: str) -> None:
        self.f, self.w, self.lanes = f, w, lanes
        self.n = lanes.count
        self.type = f"<{self.n} x i32>"
        self.first = f.mul(j, w.stride[2])
        self.start = f.add(self.first, -w.padding[2])
        self._masks: dict[int, str] = {}
        self.left = f.add(str(w.output[2]), negative(f, j))

    def columns(self, offset: int, step: int) -> str:
        """The vector of ``start + offset + step * lane``."""
        f = self.f
        base = f.value(f"trunc i64 {f.add(self.start, offset)} to i32")
        steps = ", ".join(f"i32 {i * step}" for i in range(self.n))
        return f.value(f"add {self.type} {f.splat(self.n, 'i32', base)}, <{steps}>")

    def inside(self, columns: str) -> str:
        return self.f.value(f"icmp ult {self.type} {columns}, splat (i32 {self.w.size[2]})")

    def prepare(self) -> None:
        """Works out what all rows of a window share: masks, and columns of taps."""
        w, n = self.w, self.n
        taps = [k * w.dilation[2] for k in range(w.kernel[2])]
        self.at = [self.columns(tap, w.stride[2]) for tap in taps]
        self.real = [self.inside(at) for at in self.at]
        if w.stride[2] == 2:
            for tap in taps:
                for start in (tap - tap % 2, tap - tap % 2 + n):
                    if start not in self._masks:
                        self._masks[start] = self.inside(self.columns(start, 1))

    def load(self, row: str, row_inside: str | None) -> Iterator[tuple[int, str]]:
        """Each tap's elements in a row of the image; whatever is outside is zero."""
        f, w, n, lanes = self.f, self.w, self.n, self.lanes
        halves: dict[int, str] = {}
        for k in range(w.kernel[2]):
            tap = k * w.dilation[2]
            mask = self._and(self.real[k], row_inside)
            if w.stride[2] == 1:
                at = f.along(row, (f.add(self.start, tap), lanes.size))
                yield k, f.load_masked(n, lanes.element, at, mask)
            elif w.stride[2] == 2:
                even = tap - tap % 2
                for start in (even, even + n):
                    if start not in halves:
                        at = f.along(row, (f.add(self.start, start), lanes.size))
                        some = self._and(self._masks[start], row_inside)
                        halves[start] = f.load_masked(n, lanes.element, at, some)
                picks = [2 * i + tap % 2 for i in range(n)]
                yield k, f.shuffle(lanes, halves[even], halves[even + n], picks)
            else:
                yield k, gather(f, lanes, row, self.at[k], mask)

    def _and(self, mask: str, row_inside: str | None) -> str:
        if row_inside is None:
            return mask
        row = self.f.splat(self.n, "i1", row_inside)
        return self.f.value(f"and <{self.n} x i1> {mask}, {row}")


def over_taps(
    f: Code,
    w: Windows,
    at: tuple[str, str],
    carried: list[tuple[str, str]],
    body: Callable[[list[str], str, str | None], list[str]],
) -> list[str]:
    """Runs ``body(values, row, inside)`` for each row of a window at output ``at`` (slice, row).

    ``row`` is the number of a row of the image; ``inside`` (i1) is given where it can be outside.
    """
    starts = [f.add(f.mul(at[a], w.stride[a]), -w.padding[a]) for a in (0, 1)]

    def row(values: list[str], kd: str, kh: str) -> list[str]:
        z = f.add(starts[0], f.mul(kd, w.dilation[0]))
        y = f.add(starts[1], f.mul(kh, w.dilation[1]))
        inside = None
        for axis, position in ((0, z), (1, y)):
            if w.leaves(axis):
                test = f.value(f"icmp ult i64 {position}, {w.size[axis]}")
                inside = f.value(f"and i1 {inside}, {test}") if inside else test
        return body(values, f.add(f.mul(z, w.size[1]), y), inside)

    values = [first for _, first in carried]
    if prod(w.kernel) <= _WRITTEN:
        for kd in range(w.kernel[0]):
            for kh in range(w.kernel[1]):
                values = row(values, str(kd), str(kh))
        return values
    with f.loop("0", str(w.kernel[0]), carried=carried) as d:
        inner = [(ty, v) for (ty, _), v in zip(carried, d.carried, strict=True)]
        with f.loop("0", str(w.kernel[1]), carried=inner) as h:
            h.carry(*row(list(h.carried), d.index, h.index))
        d.carry(*h.result)
    return d.result


def max_pool(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """The greatest of each window and its place; the last NaN, else the first of equals."""
    lanes = _lanes(in_avals, target)
    if lanes is None or len(attrs["kernel_size"]) > 3 or attrs["kernel_size"][-1] > 16:
        return None
    w = Windows.of(in_avals[0], out_avals[0], attrs)
    if prod(w.size) >= 1 << 30:
        return None
    n = lanes.at_most(w.output[2])
    count, whole = n.count, f"<{n.count} x i32>"
    f = Code()
    image, values, places = (f.pointer(i) for i in range(3))
    lowest = f.literal(count, n.element, float("-inf"))
    with f.loop("%begin", "%end") as unit:
        plane, slice_, row = f.split(unit.index, w.output[0], w.output[1])
        source = f.along(image, (plane, prod(w.size) * n.size))
        with f.loop("0", str(w.output[2]), str(count)) as j:
            columns = Columns(f, w, n, j.index)
            columns.prepare()
            # Where all is lowest, the first tap inside the image is it.
            first = [_first(f, w, a, x) for a, x in ((0, slice_), (1, row))]
            line = f.add(f.mul(first[0], w.size[1]), first[1])
            start = _first_columns(f, w, columns)

            def places_of(line: str, at: str) -> str:
                base = f.value(f"trunc i64 {f.mul(line, w.size[2])} to i32")
                return f.value(f"add {whole} {f.splat(count, 'i32', base)}, {at}")

            def better(found: list[str], line: str, inside: str | None) -> list[str]:
                best, place = found
                row = f.along(source, (line, w.size[2] * n.size))
                for k, value in columns.load(row, inside):
                    if inside or w.leaves(2):
                        real = columns._and(columns.real[k], inside)
                        value = f.value(
                            f"select <{count} x i1> {real}, {n.type} {value}, {n.type} {lowest}"
                        )
                    more = f.value(f"fcmp ogt {n.type} {value}, {best}")
                    nan = f.value(f"fcmp uno {n.type} {value}, {value}")
                    win = f.value(f"or <{count} x i1> {more}, {nan}")
                    here = places_of(line, columns.at[k])
                    best = f.value(
                        f"select <{count} x i1> {win}, {n.type} {value}, {n.type} {best}"
                    )
                    place = f.value(f"select <{count} x i1> {win}, {whole} {here}, {whole} {place}")
                return [best, place]

            carried = [(n.type, lowest), (whole, places_of(line, start))]
            best, place = over_taps(f, w, (slice_, row), carried, better)
            mask = f.mask(count, columns.left)
            at = f.add(f.mul(unit.index, w.output[2]), j.index)
            f.store_masked(count, n.element, best, f.along(values, (at, n.size)), mask)
            long = f.value(f"sext {whole} {place} to <{count} x i64>")
            f.store_masked(count, "i64", long, f.along(places, (at, 8)), mask)
    units = w.planes * w.output[0] * w.output[1]
    work = units * -(-w.output[2] // count) * prod(w.kernel) * 6
    kernel = f.kernel(prefix="pool")
    return Plan((Stage(kernel, ("0", "out0", "out1"), units, chunk_of(units, work)),))


def _first(f: Code, w: Windows, axis: int, at: str) -> str:
    """Where along an axis the first tap of a window is that is not before the image."""
    start = f.add(f.mul(at, w.stride[axis]), -w.padding[axis])
    if not w.padding[axis]:
        return start
    rest = f.value(f"srem i64 {start}, {w.dilation[axis]}")
    up = f.value(f"icmp slt i64 {rest}, 0")
    rest = f.value(f"select i1 {up}, i64 {f.add(rest, w.dilation[axis])}, i64 {rest}")
    before = f.value(f"icmp slt i64 {start}, 0")
    return f.value(f"select i1 {before}, i64 {rest}, i64 {start}")


def _first_columns(f: Code, w: Windows, columns: Columns) -> str:
    start, ty = columns.at[0], columns.type
    if not w.padding[2]:
        return start
    by = w.dilation[2]
    rest = f.value(f"srem {ty} {start}, splat (i32 {by})")
    zero = "zeroinitializer"
    up = f.value(f"icmp slt {ty} {rest}, {zero}")
    more = f.value(f"add {ty} {rest}, splat (i32 {by})")
    rest = f.value(f"select <{columns.n} x i1> {up}, {ty} {more}, {ty} {rest}")
    before = f.value(f"icmp slt {ty} {start}, {zero}")
    return f.value(f"select <{columns.n} x i1> {before}, {ty} {rest}, {ty} {start}")


def adaptive_max_pool(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """Windows that share the image out evenly, where they all have one size."""
    how = _even(attrs["output_size"], in_avals[0])
    return None if how is None else max_pool(how, in_avals, out_avals, target)


def _even(output: Sequence[int], x: Aval) -> dict[str, Any] | None:
    d = len(output)
    size = x.shape[len(x.shape) - d :]
    if any(o == 0 or n % o for n, o in zip(size, output, strict=True)):
        return None
    kernel = tuple(n // o for n, o in zip(size, output, strict=True))
    return {"kernel_size": kernel, "stride": kernel, "padding": (0,) * d}


def plane_add(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """Zeros with ``x`` added at its places, a plane at a time: inputs x, places."""
    n = _lanes([*in_avals, *out_avals], target)
    if n is None or in_avals[1].dtype is None or in_avals[1].dtype.name != "int64":
        return None
    size = prod(attrs["input_size"])
    planes = prod(out_avals[0].shape) // size
    each = prod(in_avals[0].shape) // planes
    f = Code()
    values, places, result = (f.pointer(i) for i in range(3))
    with f.loop("%begin", "%end") as unit:
        out = f.along(result, (unit.index, size * n.size))
        _clear(f, n, out, size)
        here = f.along(values, (unit.index, each * n.size))
        there = f.along(places, (unit.index, each * 8))
        for first, step, last in ((0, 4, each // 4 * 4), (each // 4 * 4, 1, each)):
            if first == last:
                continue
            with f.loop(str(first), str(last), str(step)) as i:
                for k in range(step):
                    at = f.add(i.index, k)
                    place = f.load("i64", f.along(there, (at, 8)), 8)
                    value = f.load(n.element, f.along(here, (at, n.size)), n.size)
                    to = f.along(out, (place, n.size))
                    if not attrs["disjoint"]:
                        before = f.load(n.element, to, n.size)
                        value = f.value(f"fadd {n.element} {before}, {value}")
                    f.store(n.element, value, to, n.size)
    work = planes * (size / n.count + each * 2)
    kernel = f.kernel(prefix="pool")
    return Plan((Stage(kernel, ("0", "1", "out0"), planes, chunk_of(planes, work)),))


def _clear(f: Code, n: Lanes, out: str, size: int) -> None:
    _fill(f, n, out, size, "zeroinitializer")


def _fill(f: Code, n: Lanes, out: str, size: int, value: str) -> None:
    whole = size // n.count * n.count
    if whole:
        with f.loop("0", str(whole), str(n.count)) as i:
            f.store(n.type, value, f.along(out, (i.index, n.size)), n.size)
    if size > whole:
        f.put(n, value, f.byte(out, whole * n.size), size - whole)


def plane_take(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """The elements at places of planes: inputs x, places."""
    n = _lanes([*in_avals, *out_avals], target)
    if n is None or in_avals[1].dtype is None or in_avals[1].dtype.name != "int64":
        return None
    shape = in_avals[0].shape
    size = prod(shape[len(shape) - attrs["d"] :])
    planes = prod(shape) // size
    each = prod(in_avals[1].shape) // planes
    f = Code()
    values, places, result = (f.pointer(i) for i in range(3))
    with f.loop("%begin", "%end") as unit:
        here = f.along(values, (unit.index, size * n.size))
        there = f.along(places, (unit.index, each * 8))
        out = f.along(result, (unit.index, each * n.size))
        with f.loop("0", str(each)) as i:
            place = f.load("i64", f.along(there, (i.index, 8)), 8)
            value = f.load(n.element, f.along(here, (place, n.size)), n.size)
            f.store(n.element, value, f.along(out, (i.index, n.size)), n.size)
    kernel = f.kernel(prefix="pool")
    work = planes * each * 2
    return Plan((Stage(kernel, ("0", "1", "out0"), planes, chunk_of(planes, work)),))


# ------------------------------------------------------------------------------- means


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
        return f.add(stop, negative(f, start))

    def along_columns(self, f: Code, lanes: int, at: str) -> str:
        """The same of a vector of windows' numbers (i32)."""
        w, ty = self.w, f"<{lanes} x i32>"
        start = f.value(f"mul {ty} {at}, splat (i32 {w.stride[2]})")
        start = f.value(f"sub {ty} {start}, splat (i32 {w.padding[2]})")
        stop = f.value(f"add {ty} {start}, splat (i32 {w.kernel[2]})")
        bound = w.size[2] + (w.padding[2] if self.with_padding else 0)
        stop = f.call(f"llvm.smin.v{lanes}i32", ty, (ty, stop), (ty, f"splat (i32 {bound})"))
        if not self.with_padding:
            start = f.call(f"llvm.smax.v{lanes}i32", ty, (ty, start), (ty, "zeroinitializer"))
        return f.value(f"sub {ty} {stop}, {start}")

    def divide(self, f: Code, n: Lanes, value: str, at: tuple[str, str], columns: str) -> str:
        """``value`` divided; the windows are at slice and row ``at`` and a vector of columns."""
        if self.fixed is not None:
            by = f.literal(n.count, n.element, float(self.fixed))
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
    lanes = _lanes(in_avals, target)
    if lanes is None or len(attrs["kernel_size"]) > 3:
        return None
    w = Windows.of(in_avals[0], out_avals[0], attrs)
    if prod(w.output) == 1 and w.kernel == w.size and not any(w.padding):
        return _whole_means(w, lanes, Divisor.of(w, attrs).fixed or prod(w.size))
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
        if whole:
            with f.loop("0", str(whole), str(n.count), [(n.type, total)]) as i:
                more = f.load(n.type, f.along(source, (i.index, n.size)), n.size)
                i.carry(f.value(f"fadd {n.type} {i.carried[0]}, {more}"))
            total = i.result[0]
        if size > whole:
            rest = f.get(n, f.byte(source, whole * n.size), size - whole)
            total = f.value(f"fadd {n.type} {total}, {rest}")
        by = f.literal(1, n.element, float(divisor))
        mean = f.value(f"fdiv {n.element} {total_of(f, n, total)}, {by}")
        f.store(n.element, mean, f.along(result, (unit.index, n.size)), n.size)
    kernel = f.kernel(prefix="pool")
    work = w.planes * (size / n.count * 3 + 10)
    return Plan((Stage(kernel, ("0", "out0"), w.planes, chunk_of(w.planes, work)),))


def avg_pool_gradient(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """Each element's share of the windows that it is in, a row of the image at a time."""
    lanes = _lanes([*in_avals, *out_avals], target)
    if lanes is None or len(attrs["kernel_size"]) > 3:
        return None
    w = Windows.of(out_avals[0], in_avals[0], attrs)
    divisor = Divisor.of(w, attrs)
    if prod(w.output) == 1 and w.kernel == w.size and not any(w.padding):
        return _whole_shares(w, lanes, divisor.fixed or prod(w.size))
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
            shifted = f.value(f"add {whole} {columns}, splat (i32 {w.padding[2]})")
            newest = f.value(f"udiv {whole} {shifted}, splat (i32 {w.stride[2]})")
            total = [(n.type, "zeroinitializer")]
            with f.loop("0", str(over[0]), carried=total) as a:
                with f.loop("0", str(over[1]), carried=[(n.type, a.carried[0])]) as b:
                    at, tests = [], []
                    for axis, back, position in ((0, a.index, slice_), (1, b.index, row)):
                        window = f.add(last[axis], negative(f, back))
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
                        real = f.value(f"icmp ult {whole} {window}, splat (i32 {w.output[2]})")
                        end = f.value(f"mul {whole} {window}, splat (i32 {w.stride[2]})")
                        end = f.value(f"add {whole} {end}, splat (i32 {w.kernel[2]})")
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
            mask = f.mask(count, f.add(str(w.size[2]), negative(f, j.index)))
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
        share = f.value(f"fdiv {n.element} {one}, {f.literal(1, n.element, float(divisor))}")
        out = f.along(result, (unit.index, size * n.size))
        _fill(f, n, out, size, f.splat(n.count, n.element, share))
    kernel = f.kernel(prefix="pool")
    work = w.planes * (size / n.count * 2 + 10)
    return Plan((Stage(kernel, ("0", "out0"), w.planes, chunk_of(w.planes, work)),))


def adaptive_avg_pool(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """Means of windows that share the image out evenly."""
    how = _even(attrs["output_size"], in_avals[0])
    if how is not None:
        return avg_pool(how, in_avals, out_avals, target)
    return _shared_out(in_avals[0], out_avals[0], len(attrs["output_size"]), target, False)


def adaptive_avg_pool_gradient(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """The transpose of ``adaptive_avg_pool``."""
    d = len(attrs["input_size"])
    g = in_avals[0]
    how = _even(g.shape[len(g.shape) - d :], out_avals[0])
    if how is not None:
        return avg_pool_gradient(how, in_avals, out_avals, target)
    return _shared_out(out_avals[0], g, d, target, True)


def _shared_out(image: Aval, cells: Aval, d: int, target: Target, spread: bool) -> Plan | None:
    """Windows of several sizes: their means, or (``spread``) their means' gradient."""
    n = _lanes([image, cells], target)
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
            _clear(f, n, plane, prod(size))
        with (
            f.loop("0", str(output[0])) as a,
            f.loop("0", str(output[1])) as b,
            f.loop("0", str(output[2])) as c,
        ):
            ends = [bounds(axis, i.index) for axis, i in enumerate((a, b, c))]
            count = "1"
            for start, stop in ends:
                count = f.value(f"mul i64 {count}, {f.add(stop, negative(f, start))}")
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


PLANS: dict[str, Callable[..., Plan | None]] = {
    "max_pool": max_pool,
    "adaptive_max_pool": adaptive_max_pool,
    "plane_add": plane_add,
    "plane_take": plane_take,
    "avg_pool": avg_pool,
    "avg_pool_gradient": avg_pool_gradient,
    "adaptive_avg_pool": adaptive_avg_pool,
    "adaptive_avg_pool_gradient": adaptive_avg_pool_gradient,
}
