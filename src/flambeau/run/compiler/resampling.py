"""Resampling of images: along one axis after the other, each output the sum of a few taps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import Entry
from flambeau.ir.primitive import PRIMITIVES
from flambeau.ir.reference import resample
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import vector
from flambeau.run.compiler.lower import LOWER, Lowering, Refused, lowering
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

# Taps that are written out one after the other, and vectors of a row with theirs, at most.
_TAPS, _ROW = 8, 256


class _Sum(Code):
    """A kernel of one axis: what its taps read, weighted and added up in order."""

    def __init__(self, el: Element, lanes: int, taps: int) -> None:
        super().__init__()
        self.el, self.lanes, self.taps = el, lanes, taps
        self.type = vector(lanes, el.memory)
        self.source, self.index, self.weight = (self.pointer(k) for k in range(3))
        self.out = self.pointer(3)

    def place(self, tap: str, output: str, outputs: int) -> str:
        """Where a tap of an output is read."""
        at = self.add(self.mul(tap, outputs), output)
        return self.load("i64", self.along(self.index, (at, 8)), 8)

    def weights(self, tap: str, output: str, outputs: int, same: bool) -> str:
        """The weight of one output in all lanes, or those of the outputs from there on."""
        at = self.along(self.weight, (self.add(self.mul(tap, outputs), output), self.el.size))
        if same:
            return self.splat(self.lanes, self.el.memory, self.load(self.el.memory, at, 1))
        return self.load(self.type, at, self.el.size)

    def read(self, at: str, mask: str | None) -> str:
        if mask is None:
            return self.load(self.type, at, self.el.size)
        return self.load_masked(self.lanes, self.el.memory, at, mask)

    def write(self, x: str, at: str, mask: str | None) -> None:
        if mask is None:
            self.store(self.type, x, at, self.el.size)
        else:
            self.store_masked(self.lanes, self.el.memory, x, at, mask)

    def added(self, total: str | None, x: str, weight: str) -> str:
        term = self.value(f"fmul {self.type} {x}, {weight}")
        return term if total is None else self.value(f"fadd {self.type} {total}, {term}")


def _lanes(el: Element, n: int) -> int:
    """Lanes of a vector along ``n`` elements."""
    lanes = code.target().lanes(el.size)
    while lanes > 4 and lanes // 2 >= n:
        lanes //= 2
    return lanes


def _lines(
    outer: int, n: int, outputs: int, inner: int, taps: int, weighted: bool, el: Element
) -> Stage:
    """Along an axis that others follow: units are lines of ``inner`` elements."""
    lanes = _lanes(el, inner)
    f = _Sum(el, lanes, taps)
    with f.loop("%begin", "%end") as unit:
        plane, output = f.divided(unit.index, outputs)
        image = f.along(f.source, (plane, n * inner * el.size))
        target = f.along(f.out, (unit.index, inner * el.size))
        many = taps > _TAPS
        known = [
            (
                f.along(image, (f.place(str(t), output, outputs), inner * el.size)),
                f.weights(str(t), output, outputs, True) if weighted else None,
            )
            for t in range(1 if many else taps)
        ]

        def step(column: str, mask: str | None) -> None:
            total = None
            for line, weight in known:
                x = f.read(f.along(line, (column, el.size)), mask)
                total = x if weight is None else f.added(total, x, weight)
            if many:
                first = [(f.type, total)]
                with f.loop("1", str(taps), carried=first) as tap:
                    place = f.place(tap.index, output, outputs)
                    x = f.read(f.along(image, (place, inner * el.size), (column, el.size)), mask)
                    weight = f.weights(tap.index, output, outputs, True)
                    tap.carry(f.added(tap.carried[0], x, weight))
                total = tap.result[0]
            f.write(total, f.along(target, (column, el.size)), mask)

        whole = inner // lanes * lanes
        if whole:
            with f.loop("0", str(whole), str(lanes)) as column:
                step(column.index, None)
        if inner > whole:
            step(str(whole), f.mask(lanes, str(inner - whole)))
    units = outer * outputs
    work = units * taps * -(-inner // lanes) * 2
    kernel = f.kernel(prefix="resample")
    return Stage(kernel, ("0", "1", "2", "out0"), units, chunk_of(units, work))


def _rows(rows: int, n: int, index: np.ndarray, weighted: bool, el: Element) -> Stage:
    """Along the last axis: units are rows.

    Where what a vector of outputs reads lies close together, it is chosen from two vectors; else
    element by element.
    """
    taps, outputs = index.shape
    lanes = _lanes(el, outputs)
    groups = -(-outputs // lanes)
    parts = [index[:, g * lanes : (g + 1) * lanes] for g in range(groups)]
    close = groups * taps <= _ROW and all(p.max() - p.min() < 2 * lanes for p in parts)
    f = _Sum(el, lanes, taps)
    with f.loop("%begin", "%end") as unit:
        row = f.along(f.source, (unit.index, n * el.size))
        target = f.along(f.out, (unit.index, outputs * el.size))

        def near(column: str, part: np.ndarray) -> list[str]:
            low = int(part.min())
            both = []
            for start in (low, low + lanes):
                room = min(lanes, n - start)
                if room <= 0 or start > part.max():
                    both.append("poison")
                    continue
                mask = None if room == lanes else f.mask(lanes, str(room))
                both.append(f.read(f.byte(row, start * el.size), mask))
            found = []
            for line in part - low:
                order = ", ".join(f"i32 {line[min(k, len(line) - 1)]}" for k in range(lanes))
                found.append(
                    f.value(
                        f"shufflevector {f.type} {both[0]}, {f.type} {both[1]}, "
                        f"<{lanes} x i32> <{order}>"
                    )
                )
            return found

        def one(tap: str, column: str, count: int) -> str:
            found = "zeroinitializer"
            for lane in range(count):
                place = f.place(tap, f.add(column, lane), outputs)
                x = f.load(el.memory, f.along(row, (place, el.size)), el.size)
                found = f.value(f"insertelement {f.type} {found}, {el.memory} {x}, i64 {lane}")
            return found

        def weights(tap: str, column: str, mask: str | None) -> str:
            at = f.add(f.mul(tap, outputs), column)
            return f.read(f.along(f.weight, (at, el.size)), mask)

        def step(column: str, count: int, part: np.ndarray | None) -> None:
            mask = None if count == lanes else f.mask(lanes, str(count))
            total = None
            if part is not None:
                for t, x in enumerate(near(column, part)):
                    total = f.added(total, x, weights(str(t), column, mask)) if weighted else x
            elif not weighted:
                total = one("0", column, count)
            else:
                total = f.added(None, one("0", column, count), weights("0", column, mask))
                with f.loop("1", str(taps), carried=[(f.type, total)]) as tap:
                    x = one(tap.index, column, count)
                    tap.carry(f.added(tap.carried[0], x, weights(tap.index, column, mask)))
                total = tap.result[0]
            f.write(total, f.along(target, (column, el.size)), mask)

        rest = outputs % lanes
        if close:
            for g, part in enumerate(parts):
                step(str(g * lanes), part.shape[1], part)
        else:
            if outputs >= lanes:
                with f.loop("0", str(outputs - rest), str(lanes)) as column:
                    step(column.index, lanes, None)
            if rest:
                step(str(outputs - rest), rest, None)
    work = rows * groups * taps * (3 if close else 2 * lanes)
    kernel = f.kernel(prefix="resample")
    return Stage(kernel, ("0", "1", "2", "out0"), rows, chunk_of(rows, work))


def _resampled(low: Lowering, e: Entry, x: Operand, maps: Sequence[resample.Taps]) -> Ref:
    """Axis after axis, as the reference does."""
    aval, narrow = e.in_avals[0], element(e.in_avals[0].dtype)
    el = element(dtypes.float32) if narrow.size == 2 else narrow
    shape = list(aval.shape)
    found = values(low, x, aval.shape, narrow)
    if el is not narrow:
        found = low.map("cast", [found], aval.shape, narrow, el)
    for axis, taps in enumerate(maps, len(shape) - len(maps)):
        if taps.is_identity:
            continue
        index, weight = taps.index, taps.weight
        given = low.dense(found, tuple(shape), el)
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        n, outputs = shape[axis], index.shape[1]
        if inner > 1:
            stage = _lines(outer, n, outputs, inner, len(index), weight is not None, el)
        else:
            stage = _rows(outer, n, index, weight is not None, el)
        kind = np.float32 if el.size == 4 else np.float64
        factors = np.ones((1, 1)) if weight is None else weight
        tables = [low.constant(index), low.constant(factors.astype(kind))]
        shape[axis] = outputs
        (found,) = low.stages("interpolate", Plan((stage,)), [given, *tables], [tuple(shape)], [el])
    if el is not narrow:
        found = low.map("cast", [found], tuple(shape), el, narrow)
    return found


def _averaged(low: Lowering, e: Entry, x: Operand, name: str) -> Ref:
    """By area: what adaptive pooling does."""
    size = "output_size" if name == "adaptive_avg_pool" else "input_size"
    attrs = {size: e.attrs[size]}
    other = Entry(PRIMITIVES[name], e.inputs, e.outputs, attrs, e.in_avals, e.out_avals, e.grad)
    return LOWER[name](low, other, x)


def _image(e: Entry) -> tuple[tuple[int, ...], np.dtype]:
    aval = e.in_avals[0]
    return aval.shape, aval.dtype.numpy


def _check(e: Entry) -> None:
    if element(e.in_avals[0].dtype).kind != "f":
        raise Refused("of integers")
    if 0 in e.in_avals[0].shape or 0 in e.out_avals[0].shape:
        raise Refused("of nothing")


@lowering("interpolate")
def _interpolate(low: Lowering, e: Entry, x: Operand) -> Ref:
    _check(e)
    if e.attrs.get("mode") == "area":
        return _averaged(low, e, x, "adaptive_avg_pool")
    return _resampled(low, e, x, resample.taps(*_image(e), **e.attrs))


@lowering("interpolate_gradient")
def _interpolate_gradient(low: Lowering, e: Entry, g: Operand) -> Ref:
    _check(e)
    if e.attrs.get("mode") == "area":
        return _averaged(low, e, g, "adaptive_avg_pool_gradient")
    return _resampled(low, e, g, resample.taps_back(*_image(e), **e.attrs))
