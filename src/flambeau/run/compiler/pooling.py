"""Pooling kernels: maxima with their places, means, their gradients, elements at places.

A unit of work is a row of the result or a plane. Vectors run along the width; a tap's elements are
loaded at once where windows are one or two columns apart, and gathered otherwise.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.convolution_blocks import Code, Lanes, chunk_of
from flambeau.run.compiler.emit import mangled, vector
from flambeau.run.compiler.pooling_means import (
    adaptive_avg_pool,
    adaptive_avg_pool_gradient,
    avg_pool,
    avg_pool_gradient,
)
from flambeau.run.compiler.pooling_uneven import adaptive_max, fractional_max_pool
from flambeau.run.compiler.pooling_windows import (
    Columns,
    Windows,
    even_windows,
    fill,
    lanes_of,
    over_taps,
)
from flambeau.run.compiler.sizes import Size, has_size
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.ir.graph import Aval
    from flambeau.run.compiler.target import Target

__all__ = ["PLANS"]


def max_pool(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """The greatest of each window and its place; the last NaN, else the first of equals."""
    lanes = lanes_of(in_avals, target)
    if lanes is None or len(attrs["kernel_size"]) > 3:
        return None
    w = Windows.of(in_avals[0], out_avals[0], attrs)
    if w.whole and (has_size(w.size) or w.kernel[2] > 16):
        return _whole_maxima(w, lanes)
    w.need_taps()
    if w.kernel[2] > 16:
        return None
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


def _whole_maxima(w: Windows, n: Lanes) -> Plan | None:
    """One window a plane: along memory, each lane keeps the best that it has met."""
    size = prod(w.size)
    if size >= 1 << 30:
        return None
    whole = size // n.count * n.count
    bits, numbers = f"<{n.count} x i1>", f"<{n.count} x i32>"
    f = Code()
    image, values, places = (f.pointer(i) for i in range(3))
    lanes = f"<{', '.join(f'i32 {i}' for i in range(n.count))}>"

    def step(here: str, at: str, best: str, place: str, mask: str | None) -> list[str]:
        if mask is None:
            value = f.load(n.type, here, n.size)
        else:
            value = f.load_masked(n.count, n.element, here, mask)
        more = f.value(f"fcmp ogt {n.type} {value}, {best}")
        nan = f.value(f"fcmp uno {n.type} {value}, {value}")
        win = f.value(f"or {bits} {more}, {nan}")
        if mask is not None:
            win = f.value(f"and {bits} {win}, {mask}")
        base = f.splat(n.count, "i32", f.value(f"trunc i64 {at} to i32"))
        numbered = f.value(f"add {numbers} {base}, {lanes}")
        return [
            f.value(f"select {bits} {win}, {n.type} {value}, {n.type} {best}"),
            f.value(f"select {bits} {win}, {numbers} {numbered}, {numbers} {place}"),
        ]

    def reduced(how: str, value: str, element: str = "i32") -> str:
        ty = vector(n.count, element)
        return f.call(f"llvm.vector.reduce.{how}.{mangled(ty)}", element, (ty, value))

    with f.loop("%begin", "%end") as unit:
        source = f.along(image, (unit.index, size * n.size))
        # Where all is lowest, the first element is it.
        carried = [(n.type, f.literal(n.count, n.element, float("-inf"))), (numbers, lanes)]
        with f.loop("0", str(whole), str(n.count), carried) as i:
            best, place = i.carried
            i.carry(*step(f.along(source, (i.index, n.size)), i.index, best, place, None))
        best, place = i.result
        if size.__class__ is Size or size > whole:
            rest, at = f.below(n, size - whole), f.byte(source, whole * n.size)
            best, place = step(at, str(whole), best, place, rest)
        nan = f.value(f"fcmp uno {n.type} {best}, {best}")
        top = f.splat(n.count, n.element, reduced("fmax", best, n.element))
        equal = f.value(f"fcmp oeq {n.type} {best}, {top}")
        last = f.value(f"select {bits} {nan}, {numbers} {place}, {numbers} splat (i32 -1)")
        last = reduced("smax", last)
        most = f"splat (i32 {2**31 - 1})"
        first = f.value(f"select {bits} {equal}, {numbers} {place}, {numbers} {most}")
        first = reduced("smin", first)
        some = f.value(f"icmp sge i32 {last}, 0")
        chosen = f.value(f"sext i32 {f.value(f'select i1 {some}, i32 {last}, i32 {first}')} to i64")
        value = f.load(n.element, f.along(source, (chosen, n.size)), n.size)
        f.store(n.element, value, f.along(values, (unit.index, n.size)), n.size)
        f.store("i64", chosen, f.along(places, (unit.index, 8)), 8)
    work = w.planes * (-(-size // n.count) * 6 + 30)
    kernel = f.kernel(prefix="pool")
    return Plan((Stage(kernel, ("0", "out0", "out1"), w.planes, chunk_of(w.planes, work)),))


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
    """Windows that share the image out: evenly, where they all have one size."""
    how = even_windows(attrs["output_size"], in_avals[0])
    plan = None if how is None else max_pool(how, in_avals, out_avals, target)
    return plan or adaptive_max(attrs, in_avals, out_avals, target)


def plane_add(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """Zeros with ``x`` added at its places, a plane at a time: inputs x, places."""
    n = lanes_of([*in_avals, *out_avals], target)
    if n is None or in_avals[1].dtype is None or in_avals[1].dtype.name != "int64":
        return None
    size = prod(attrs["input_size"])
    planes = prod(out_avals[0].shape) // size
    each = prod(in_avals[0].shape) // planes
    f = Code()
    values, places, result = (f.pointer(i) for i in range(3))
    with f.loop("%begin", "%end") as unit:
        out = f.along(result, (unit.index, size * n.size))
        fill(f, n, out, size, "zeroinitializer")
        here = f.along(values, (unit.index, each * n.size))
        there = f.along(places, (unit.index, each * 8))
        for first, step, last in ((0, 4, each // 4 * 4), (each // 4 * 4, 1, each)):
            if first.__class__ is last.__class__ is int and first == last:
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
    work = planes * (-(-size // n.count) + each * 2)
    kernel = f.kernel(prefix="pool")
    return Plan((Stage(kernel, ("0", "1", "out0"), planes, chunk_of(planes, work)),))


def plane_take(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """The elements at places of planes: inputs x, places."""
    n = lanes_of([*in_avals, *out_avals], target)
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


PLANS: dict[str, Callable[..., Plan | None]] = {
    "max_pool": max_pool,
    "adaptive_max_pool": adaptive_max_pool,
    "fractional_max_pool": fractional_max_pool,
    "plane_add": plane_add,
    "plane_take": plane_take,
    "avg_pool": avg_pool,
    "avg_pool_gradient": avg_pool_gradient,
    "adaptive_avg_pool": adaptive_avg_pool,
    "adaptive_avg_pool_gradient": adaptive_avg_pool_gradient,
}
