"""The greatest of windows that are not evenly spaced: adaptive and fractional pooling."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.run.compiler.convolution_blocks import Code, Lanes, Triple, chunk_of
from flambeau.run.compiler.emit import constant, mangled
from flambeau.run.compiler.lower import Unsized
from flambeau.run.compiler.pooling_windows import lanes_of
from flambeau.run.compiler.sizes import has_size
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.ir.graph import Aval
    from flambeau.run.compiler.emit import Kernel
    from flambeau.run.compiler.target import Target

    Bounds = Callable[[str, int, str], tuple[str, str]]

__all__ = ["adaptive_max", "fractional_max_pool"]

# Rows of a window, and taps along a row, that are written out one after the other, at most.
_WRITTEN = 4
_COLUMNS = 64

Pair = tuple[str, str]


def _triple(values: Sequence[int]) -> Triple:
    a, b, c = (*(1,) * (3 - len(values)), *values)
    return a, b, c


class _Maxima:
    """A kernel that finds values and places; units are planes.

    ``bounds``: where a window begins along an axis and its taps there, by plane and position.
    ``columns``: the same along the last axis, where no plane is needed to know it.
    """

    def __init__(
        self, f: Code, lanes: Lanes, size: Triple, output: Triple, bounds: Bounds,
        columns: Sequence[tuple[int, int]] = (),
    ) -> None:  # fmt: skip
        self.f, self.size, self.output = f, size, output
        self.type, self.bytes = lanes.element, lanes.size
        self.bounds, self.columns = bounds, columns
        self.lowest = constant(float("-inf"), lanes.element)

    def kernel(self, x: str, values: str, places: str) -> Kernel:
        f, size, output = self.f, self.size, self.output
        with f.loop("%begin", "%end") as unit:
            plane = f.along(x, (unit.index, prod(size) * self.bytes))
            with f.loop("0", str(output[0])) as i, f.loop("0", str(output[1])) as j:
                (z, deep), (y, high) = (
                    self.bounds(unit.index, a, at.index) for a, at in ((0, i), (1, j))
                )
                corner = f.mul(f.add(f.mul(z, size[1]), y), size[2])
                row = f.add(f.mul(f.add(f.mul(unit.index, output[0]), i.index), output[1]), j.index)
                outs = [
                    f.along(out, (f.mul(row, output[2]), b))
                    for out, b in ((values, self.bytes), (places, 8))
                ]
                if self.columns:
                    # Windows side by side: their comparisons do not wait for each other.
                    for k, best in enumerate(self.found(plane, corner, deep, high, self.columns)):
                        self.put(best, outs, str(k))
                else:
                    with f.loop("0", str(output[2])) as k:
                        start, wide = self.bounds(unit.index, 2, k.index)
                        here = [(start, int(wide))]
                        (best,) = self.found(plane, corner, deep, high, here)
                        self.put(best, outs, k.index)
        return f.kernel(prefix="pool")

    def found(
        self, plane: str, corner: str, deep: str, high: str, columns: Sequence[tuple[Any, int]]
    ) -> list[Pair]:
        """The best of some windows that share their rows."""
        f, size = self.f, self.size
        types = [self.type, "i64"] * len(columns)
        firsts = [v for start, _ in columns for v in (self.lowest, f.add(corner, start))]
        if deep.isdigit() and high.isdigit() and int(deep) * int(high) <= _WRITTEN:
            for p in range(int(deep)):
                for q in range(int(high)):
                    line = f.add(corner, (p * size[1] + q) * size[2])
                    firsts = self.line(plane, line, columns, firsts)
        else:
            with f.loop("0", deep, carried=list(zip(types, firsts, strict=True))) as p:
                with f.loop("0", high, carried=list(zip(types, p.carried, strict=True))) as q:
                    line = f.mul(f.add(f.mul(p.index, size[1]), q.index), size[2])
                    q.carry(*self.line(plane, f.add(corner, line), columns, q.carried))
                p.carry(*q.result)
            firsts = p.result
        return list(zip(firsts[::2], firsts[1::2], strict=True))

    def line(
        self, plane: str, at: str, columns: Sequence[tuple[Any, int]], held: Sequence[str]
    ) -> list[str]:
        """A row of some windows."""
        found: list[str] = []
        for (start, count), best, where in zip(columns, held[::2], held[1::2], strict=True):
            pair = best, where
            for r in range(count):
                pair = self.better(plane, self.f.add(self.f.add(at, start), r), *pair)
            found += pair
        return found

    def better(self, plane: str, place: str, best: str, where: str) -> Pair:
        """The first of the greatest, the last NaN if there is one."""
        f, ty, b = self.f, self.type, self.bytes
        value = f.load(ty, f.along(plane, (place, b)), b)
        greater = f.value(f"fcmp ogt {ty} {value}, {best}")
        nan = f.value(f"fcmp uno {ty} {value}, {value}")
        wins = f.value(f"or i1 {greater}, {nan}")
        return (
            f.value(f"select i1 {wins}, {ty} {value}, {ty} {best}"),
            f.value(f"select i1 {wins}, i64 {place}, i64 {where}"),
        )

    def put(self, best: Pair, outs: Sequence[str], at: str) -> None:
        f, b = self.f, self.bytes
        f.store(self.type, best[0], f.along(outs[0], (at, b)), b)
        f.store("i64", best[1], f.along(outs[1], (at, 8)), 8)


def adaptive_max(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """Windows that share the image out among ``output_size``; they overlap where they must."""
    lanes = lanes_of([*in_avals, *out_avals], target)
    if lanes is None:
        return None
    d = len(attrs["output_size"])
    shape = in_avals[0].shape
    size, output = _triple(shape[len(shape) - d :]), _triple(attrs["output_size"])
    if has_size((size[2], output[2])):
        # Its columns are written out.
        raise Unsized
    f = Code()

    def bounds(plane: str, axis: int, at: str) -> tuple[str, str]:
        n, o = size[axis], output[axis]
        start, _ = f.divided(f.mul(at, n), o)
        end, _ = f.divided(f.add(f.mul(at, n), n + o - 1), o)
        return start, f.sub(end, start)

    columns = []
    for k in range(output[2]):
        start, count = bounds("", 2, str(k))
        columns.append((int(start), int(count)))
    # Written out, unless that is too long.
    if sum(count for _, count in columns) > _COLUMNS:
        return None
    planes = prod(shape[: len(shape) - d])
    kernel = _Maxima(f, lanes, size, output, bounds, columns).kernel(*map(f.pointer, range(3)))
    taps = prod(n / o + 1 for n, o in zip(size, output, strict=True))
    work = chunk_of(planes, planes * prod(output) * taps * 4)
    return Plan((Stage(kernel, ("0", "out0", "out1"), planes, work),))


def fractional_max_pool(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """Windows of one size that begin where samples (one an axis of each plane) say."""
    lanes = lanes_of([*in_avals, *out_avals], target)
    if lanes is None or in_avals[1].dtype is not in_avals[0].dtype:
        return None
    d = len(attrs["kernel_size"])
    shape = in_avals[0].shape
    size, output = _triple(shape[2:]), _triple(attrs["output_size"])
    kernel = _triple(attrs["kernel_size"])
    f = Code()
    x, samples, values, places = (f.pointer(i) for i in range(4))
    if kernel[2] > _COLUMNS:
        return None
    ty, b = lanes.element, lanes.size
    number = np.dtype(in_avals[0].dtype.numpy).type  # type: ignore[union-attr]

    def truncated(x: str) -> str:
        return f.call(f"llvm.fptosi.sat.i64.{mangled(ty)}", "i64", (ty, x))

    def bounds(plane: str, axis: int, at: str) -> tuple[str, str]:
        last = size[axis] - kernel[axis]
        if output[axis] == 1:
            return str(last), str(kernel[axis])
        # As in PyTorch: of images the last axis has the first sample, of volumes the first axis.
        a = axis - (3 - d)
        which = d - 1 - a if d == 2 else a
        sample = f.load(ty, f.along(samples, (f.add(f.mul(plane, d), which), b)), b)
        alpha = constant(float(number(last) / number(output[axis] - 1)), ty)
        step = f.value(f"sitofp i64 {at} to {ty}")
        moved = f.value(f"fmul {ty} {f.value(f'fadd {ty} {step}, {sample}')}, {alpha}")
        begin = truncated(f.value(f"fmul {ty} {sample}, {alpha}"))
        start = f.sub(truncated(moved), begin)
        # Samples that are given may be no shares: no window leaves the plane for them.
        start = f.call("llvm.smax.i64", "i64", ("i64", f.least(start, last)), ("i64", "0"))
        ends = f.value(f"icmp eq i64 {at}, {output[axis] - 1}")
        return f.value(f"select i1 {ends}, i64 {last}, i64 {start}"), str(kernel[axis])

    planes = prod(shape[:2])
    made = _Maxima(f, lanes, size, output, bounds).kernel(x, values, places)
    chunk = chunk_of(planes, planes * prod(output) * (prod(kernel) * 4 + 8))
    return Plan((Stage(made, ("0", "1", "out0", "out1"), planes, chunk),))
