"""Rows of tables: looked up by index, and added back to where they came from."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler import code
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import Function, Kernel, vector
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.nodes import Literal
from flambeau.run.compiler.sizes import later
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

# Nanoseconds that make it worth to wake another thread.
_WORTH = 10_000


def _kernel(f: Function) -> Kernel:
    text = f.finish()
    name = "table_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    return Kernel(name, text.replace("@k(", f"@{name}(", 1), sizes=f.sizes)


def _row(f: Function, index: str, at: str, index_el: Element, rows: int) -> tuple[str, str]:
    """The row that an index names (int64), and whether there is one."""
    raw = f.load(index_el.memory, f.element(index, index_el.memory, at), index_el.size)
    row = raw
    if index_el.memory != "i64":
        row = f.value(
            f"{'zext' if index_el.kind == 'u' else 'sext'} {index_el.memory} {raw} to i64"
        )
    # Negative ones are the greatest as unsigned numbers.
    return row, f.value(f"icmp ult i64 {row}, {rows}")


def _fault(f: Function, fits: str, pointer: str) -> None:
    outside = f.value(f"xor i1 {fits}, true")
    with f.when(outside):
        f.store("i64", "1", pointer, 8)


def look_up(width: int, rows: int, el: Element, index_el: Element, lanes: int) -> Kernel:
    """Units are indices: each copies its row."""
    f = Function("k")
    table, index, out, fault = (f.pointer(i) for i in range(4))
    whole = width - width % lanes
    # Only moved: as integers, which masked moves take at every size.
    memory = f"i{8 * el.size}"
    with f.loop("%begin", "%end") as unit:
        row, fits = _row(f, index, unit.index, index_el, rows)
        _fault(f, fits, fault)
        with f.when(fits):
            source = f.element(table, memory, f.value(f"mul i64 {row}, {width}"))
            target = f.element(out, memory, f.value(f"mul i64 {unit.index}, {width}"))
            with f.loop("0", str(whole), str(lanes)) as v:
                x = f.load(vector(lanes, memory), f.element(source, memory, v.index), el.size)
                f.store(vector(lanes, memory), x, f.element(target, memory, v.index), el.size)
            if width > whole:
                mask = f.mask(lanes, str(width - whole))
                at = f.element(source, memory, str(whole))
                x = f.load_masked(lanes, memory, at, mask)
                f.store_masked(lanes, memory, x, f.element(target, memory, str(whole)), mask)
    return _kernel(f)


def add_back(
    width: int, rows: int, padding: int | None, el: Element, index_el: Element, lanes: int
) -> Kernel:
    """Units are vectors of columns: each adds its part of all rows, in order, to zeros."""
    f = Function("k")
    gradient, index, counted, out, fault = (f.pointer(i) for i in range(5))
    count = f.load("i64", counted, 8)
    ty = vector(lanes, el.memory)
    with f.loop("%begin", "%end") as unit:
        column = f.value(f"mul i64 {unit.index}, {lanes}")
        mask = f.mask(lanes, f.value(f"sub i64 {width}, {column}"))
        target = f.element(out, el.memory, column)
        source = f.element(gradient, el.memory, column)
        with f.loop("0", str(rows)) as r:
            place = f.element(target, el.memory, f.value(f"mul i64 {r.index}, {width}"))
            f.store_masked(lanes, el.memory, "zeroinitializer", place, mask)
        with f.loop("0", count) as n:
            row, fits = _row(f, index, n.index, index_el, rows)
            _fault(f, fits, fault)
            if padding is not None:
                other = f.value(f"icmp ne i64 {row}, {padding}")
                fits = f.value(f"and i1 {fits}, {other}")
            with f.when(fits):
                place = f.element(target, el.memory, f.value(f"mul i64 {row}, {width}"))
                at = f.element(source, el.memory, f.value(f"mul i64 {n.index}, {width}"))
                x = f.load_masked(lanes, el.memory, at, mask)
                old = f.load_masked(lanes, el.memory, place, mask)
                total = f.value(f"fadd {ty} {old}, {x}")
                f.store_masked(lanes, el.memory, total, place, mask)
    return _kernel(f)


def _index(low: Lowering, e: Entry, x: Operand, position: int) -> tuple[Ref, Element]:
    aval = e.in_avals[position]
    if x.__class__ is Literal or aval.dtype not in (dtypes.int64, dtypes.int32):
        raise Refused("such an index")
    el = element(aval.dtype)
    return low.dense(x, aval.shape, el), el


@lowering("embedding")
def _embedding(low: Lowering, e: Entry, table: Operand, index: Operand) -> Ref:
    aval, out = e.in_avals[0], e.out_avals[0]
    el = element(out.dtype)
    width = math.prod(aval.shape[1:])
    if el.kind != "f" or not width or not math.prod(out.shape):
        raise Refused("such a table")
    index, index_el = _index(low, e, index, 1)
    lanes = code.target().lanes(el.size)
    kernel = look_up(width, aval.shape[0], el, index_el, lanes)
    count = math.prod(e.in_avals[1].shape)
    each = 5 + width * el.size / 20
    chunk = later(lambda n: n if each * n < _WORTH else max(1, int(_WORTH / each / 4)), count)
    plan = Plan((Stage(kernel, ("0", "1", "out0", "fault"), count, chunk),))
    given = [low.dense(table, aval.shape, el), index]
    return low.stages("embedding", plan, given, [out.shape], [el], faults=True)[0]


@lowering("embedding_gradient")
def _embedding_gradient(low: Lowering, e: Entry, g: Operand, index: Operand) -> Ref:
    aval, out = e.in_avals[0], e.out_avals[0]
    el = element(out.dtype)
    width = math.prod(out.shape[1:])
    count = math.prod(e.in_avals[1].shape)
    if el.memory not in ("float", "double") or not width or not count or not out.shape[0]:
        raise Refused("such a table")
    index, index_el = _index(low, e, index, 1)
    lanes = code.target().lanes(el.size)
    padding = e.attrs["padding"]
    if padding is not None and padding < 0:
        padding += out.shape[0]
    kernel = add_back(width, out.shape[0], padding, el, index_el, lanes)
    units = -(-width // lanes)
    names = ("0", "1", "2", "out0", "fault")
    chunk = later(lambda n, rows: 1 if 2 * n + rows > 2000 else units, count, out.shape[0])
    plan = Plan((Stage(kernel, names, units, chunk),))
    given = [low.dense(g, aval.shape, el), index, low.extent(count)]
    return low.stages("embedding_gradient", plan, given, [out.shape], [el], faults=True)[0]
