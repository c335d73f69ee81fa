"""Elements at computed places: gathered, scattered, indexed by arrays, put back.

Elements that are only moved are integers of their size. A place that does not exist is noted as a
fault, and nothing is read or written there.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.ir.reference._common import highest, lowest
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, Lanes, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import vector
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.nodes import Literal, Ref
from flambeau.run.compiler.places_vectors import chosen_in_rows, fits, put_in_rows
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.sizes import Size, later
from flambeau.run.compiler.stages import Plan, Stage
from flambeau.run.compiler.views import row_major

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand

Shape = tuple[int, ...]


def copied(count: int, el: Element, source: str) -> Stage:
    """``source`` copied to ``out0``, for others to write over."""
    n = code.target().lanes(el.size)
    lanes = Lanes(f"i{8 * el.size}", el.size, n)
    f = Code()
    a, out = f.pointer(0), f.pointer(1)
    with f.loop("%begin", "%end", str(n), while_room=True) as i:
        x = f.load(lanes.type, f.along(a, (i.index, el.size)), el.size)
        f.store(lanes.type, x, f.along(out, (i.index, el.size)), el.size)
    left = f.value(f"sub i64 %end, {i.index}")
    with f.when(f.value(f"icmp sgt i64 {left}, 0")):
        mask = f.mask(n, left)
        x = f.load_masked(n, lanes.element, f.along(a, (i.index, el.size)), mask)
        f.store_masked(n, lanes.element, x, f.along(out, (i.index, el.size)), mask)
    return Stage(f.kernel(prefix="place"), (source, "out0"), count, later(_copied, count))


def _copied(count: int) -> int:
    return max(1, min(count, 1 << 14))


def zeros(shape: Shape, el: Element) -> Stage:
    """``out0`` all zero, for others to write over."""
    count = math.prod(shape)
    n = code.target().lanes(el.size)
    memory = f"i{8 * el.size}"
    ty = vector(n, memory)
    f = Code()
    out = f.pointer(0)
    with f.loop("%begin", "%end", str(n), while_room=True) as i:
        f.store(ty, "zeroinitializer", f.along(out, (i.index, el.size)), el.size)
    left = f.value(f"sub i64 %end, {i.index}")
    with f.when(f.value(f"icmp sgt i64 {left}, 0")):
        there = f.along(out, (i.index, el.size))
        f.store_masked(n, memory, "zeroinitializer", there, f.mask(n, left))
    return Stage(f.kernel(prefix="place"), ("out0",), count, later(_copied, count))


class Writer:
    """A kernel that reads places from arrays of indices."""

    def __init__(self, count: int) -> None:
        self.f = Code()
        self.at = [self.f.pointer(i) for i in range(count)]
        self.fault = self.at[-1]

    def place(self, pointer: str, at: str, el: Element, n: int, wrap: bool) -> tuple[str, str]:
        """An index (int64, from 0) and whether it exists; ``wrap``: from the end if negative."""
        f = self.f
        raw = f.load(el.memory, f.along(pointer, (at, el.size)), el.size)
        if el.memory != "i64":
            raw = f.value(f"{'zext' if el.kind == 'u' else 'sext'} {el.memory} {raw} to i64")
        if wrap:
            below = f.value(f"icmp slt i64 {raw}, 0")
            raw = f.value(f"select i1 {below}, i64 {f.add(raw, n)}, i64 {raw}")
        fits = f.value(f"icmp ult i64 {raw}, {n}")
        outside = f.value(f"xor i1 {fits}, true")
        with f.when(outside):
            f.store("i64", "1", self.fault, 8)
        return raw, fits

    def move(self, source: str, target: str, el: Element, how: bool | str) -> None:
        """One element to another place, or added to what is there, or combined another way."""
        f = self.f
        if not how:
            memory = f"i{8 * el.size}"
            f.store(memory, f.load(memory, source, el.size), target, el.size)
            return
        x, y = (f.load(el.memory, p, el.size) for p in (target, source))
        f.store(el.memory, self.combined(x, y, el, how), target, el.size)

    def combined(self, x: str, y: str, el: Element, how: bool | str) -> str:
        """Two elements' sum (True), or what ``how`` names; NaN is greatest, and least."""
        f, floating, memory = self.f, el.kind == "f", el.memory
        if how in _REDUCED:
            return f.value(f"{_REDUCED[how][not floating]} {memory} {x}, {y}")
        more = "gt" if how == "amax" else "lt"
        if not floating:
            sign = "u" if el.kind == "u" else "s"
            stays = f.value(f"icmp {sign}{more} {memory} {x}, {y}")
        else:
            beats, nan = (
                f.value(f"fcmp o{more} {memory} {x}, {y}"),
                f.value(f"fcmp uno {memory} {x}, {x}"),
            )
            stays = f.value(f"or i1 {beats}, {nan}")
        return f.value(f"select i1 {stays}, {memory} {x}, {memory} {y}")

    def move_row(self, source: str, target: str, width: int, el: Element, add: bool) -> None:
        """``width`` neighbours."""
        f = self.f
        memory = el.memory if add else f"i{8 * el.size}"
        n = code.target().lanes(el.size)
        whole = width - width % n
        lanes = Lanes(memory, el.size, n)
        if whole.__class__ is Size or whole:
            with f.loop("0", str(whole), str(n)) as i:
                here, there = (f.along(p, (i.index, el.size)) for p in (source, target))
                x = f.load(lanes.type, here, el.size)
                if add:
                    before = f.load(lanes.type, there, el.size)
                    op = "fadd" if el.kind == "f" else "add"
                    x = f.value(f"{op} {lanes.type} {before}, {x}")
                f.store(lanes.type, x, there, el.size)
        if width.__class__ is Size or width > whole:
            with f.loop(str(whole), str(width)) as i:
                here, there = (f.along(p, (i.index, el.size)) for p in (source, target))
                self.move(here, there, el, add)


# Instructions of floating-point numbers, and of others.
_REDUCED: dict[bool | str, tuple[str, str]] = {
    True: ("fadd", "add"), "sum": ("fadd", "add"), "prod": ("fmul", "mul"),
}  # fmt: skip


def along_axis(
    shape: Shape, index: Shape, source: Shape | None, dim: int, el: Element, index_el: Element,
    add: bool | str = False, counted: str | None = None,
) -> Stage:  # fmt: skip
    """One element for each of ``index``: gathered (no ``source``), or scattered to ``out0``.

    Where ``counted`` names an operand, the kernel reads there how many there are along the axis.
    """
    gathers = source is None
    w = Writer(4 if counted is None else 5)
    f = w.f
    extents = [str(n) for n in index[dim:]]
    if counted is not None:
        extents[0] = f.load("i64", w.at[3], 8)
    # gather: x, index, out; scatter: index, source, out.
    strides = row_major(shape)
    inner = row_major(index)
    others = inner if source is None else row_major(source) if source else (0,) * len(index)
    lead = index[:dim]
    with f.loop("%begin", "%end") as unit, ExitStack() as stack:
        # What lies before the axis is independent of each other: the units.
        places = f.split(unit.index, *lead[1:]) if lead else []
        places += [stack.enter_context(f.loop("0", n)).index for n in extents]
        position = "0"
        for p, s in zip(places, inner, strict=True):
            position = f.add(position, f.mul(p, s))
        found, fits = w.place(w.at[1 if gathers else 0], position, index_el, shape[dim], False)
        with f.when(fits):
            there, other = f.mul(found, strides[dim]), "0"
            for d, p in enumerate(places):
                if d != dim:
                    there = f.add(there, f.mul(p, strides[d]))
                other = f.add(other, f.mul(p, others[d]))
            if gathers:
                ends = f.along(w.at[0], (there, el.size)), f.along(w.at[2], (other, el.size))
            else:
                ends = f.along(w.at[1], (other, el.size)), f.along(w.at[2], (there, el.size))
            w.move(*ends, el, add)
    units = math.prod(lead)
    chunk = chunk_of(units, math.prod(index) * 6)
    names = ("0", "1", "out0", *([] if counted is None else [counted]), "fault")
    return Stage(f.kernel(prefix="place"), names, units, chunk)


def rows(
    shape: Shape, where: Shape, count: int, el: Element, index_els: list[Element],
    put: bool = False, add: bool = False,
) -> Stage:  # fmt: skip
    """``count`` choices along neighbouring axes ``where``: read from x, or ``put`` into ``out0``.

    A unit is a choice, or all of them where they are put, in order.
    """
    k = len(where)
    first = where[0]
    outer = math.prod(shape[:first])
    width = math.prod(shape[first + k :])
    block = math.prod(shape[first:])
    strides = row_major(shape)
    w = Writer(k + 3 + put)
    f = w.f
    data, out, indices = w.at[0], w.at[1], w.at[2 : 2 + k]
    # The kernel is the same for any number of choices, unless it takes units apart.
    number = f.load("i64", w.at[2 + k], 8) if put else str(count)
    with f.loop("%begin", "%end") as unit, ExitStack() as stack:
        if put:
            lead = unit.index
            choice = stack.enter_context(f.loop("0", number)).index
        elif outer == 1:
            lead, choice = "0", unit.index
        else:
            lead, choice = f.divided(unit.index, count)
        offset, exists = f.mul(lead, block), ""
        for j, d in enumerate(where):
            found, fits = w.place(indices[j], choice, index_els[j], shape[d], True)
            offset = f.add(offset, f.mul(found, strides[d]))
            exists = f.value(f"and i1 {exists}, {fits}") if exists else fits
        with f.when(exists):
            if lead != "0":
                choice = f.add(f.value(f"mul i64 {lead}, {number}"), choice)
            chosen = f.mul(choice, width)
            if put:
                w.move_row(
                    f.along(data, (chosen, el.size)),
                    f.along(out, (offset, el.size)),
                    width,
                    el,
                    add,
                )
            else:
                w.move_row(
                    f.along(data, (offset, el.size)), f.along(out, (chosen, el.size)), width, el,
                    False,
                )  # fmt: skip
    units = outer if put else outer * count
    chunk = chunk_of(units, outer * count * (10 + -(-width // 8)))
    names = (
        "1" if put else "0", "out0", *[str(j + 1 + put) for j in range(k + put)], "fault",
    )  # fmt: skip
    return Stage(f.kernel(prefix="place"), names, units, chunk)


def _index(low: Lowering, e: Entry, x: Operand, k: int) -> tuple[Ref, Element]:
    aval = e.in_avals[k]
    if x.__class__ is not Ref or aval.dtype not in (dtypes.int64, dtypes.int32):
        raise Refused("such an index")
    el = element(aval.dtype)
    return low.dense(x, aval.shape, el), el


def _whole(low: Lowering, x: Operand, shape: Shape, el: Element) -> Ref:
    return low.dense(values(low, x, shape, el), shape, el)


def _addable(el: Element) -> None:
    if el.memory not in ("float", "double", "i64", "i32"):
        raise Refused("sums of this dtype")


@lowering("gather")
def _gather(low: Lowering, e: Entry, x: Operand, index: Operand) -> Ref:
    aval, out = e.in_avals[0], e.out_avals[0]
    el = element(out.dtype)
    if not aval.shape or 0 in (*aval.shape, *out.shape):
        raise Refused("of a number, or nothing")
    index, index_el = _index(low, e, index, 1)
    dim, counted = e.attrs["dim"] % len(aval.shape), None
    if (
        dim == len(aval.shape) - 1
        and fits(el, aval.shape[-1], out.shape[-1])
        and aval.shape[:-1] == out.shape[:-1]
    ):
        lead = math.prod(out.shape[:-1])
        stage = chosen_in_rows(lead, aval.shape[-1], out.shape[-1], el, index_el, False, False)
    else:
        counted = None if dim else "2"
        stage = along_axis(aval.shape, out.shape, None, dim, el, index_el, counted=counted)
    given = [_whole(low, x, aval.shape, el), index]
    if counted is not None:
        given.append(low.extent(out.shape[0]))
    return low.stages("gather", Plan((stage,)), given, [out.shape], [el], faults=True)[0]


@lowering("scatter scatter_add")
def _scatter(low: Lowering, e: Entry, base: Operand, index: Operand, src: Operand) -> Ref:
    aval, out = e.in_avals[0], e.out_avals[0]
    el = element(out.dtype)
    shape, chosen, source = (a.shape for a in e.in_avals)
    add = e.prim.name == "scatter_add"
    if not shape or 0 in (*shape, *chosen) or len(source) not in (0, len(shape)):
        raise Refused("of a number, or nothing")
    if e.in_avals[2].dtype not in (None, aval.dtype):
        raise Refused("operands of several dtypes")
    if add:
        _addable(el)
    index, index_el = _index(low, e, index, 1)
    dim = e.attrs["dim"] % len(shape)
    given, first = _begun(low, base, shape, el, [index, _whole(low, src, source, el)])
    last = len(shape) - 1
    if (
        dim == last
        and fits(el, shape[-1], chosen[-1])
        and shape[:-1] == chosen[:-1]
        and (not source or source[:-1] == chosen[:-1])
    ):
        length = source[-1] if source else None
        lead = math.prod(shape[:-1])
        stage = put_in_rows(lead, shape[-1], chosen[-1], el, index_el, add, length)
    else:
        counted = None if dim else _counted(low, given, chosen)
        stage = along_axis(shape, chosen, source, dim, el, index_el, add, counted)
    plan = Plan((first, stage))
    return low.stages(e.prim.name, plan, given, [shape], [el], faults=True)[0]


def _counted(low: Lowering, given: list[Ref], chosen: Shape) -> str:
    """The name of one operand more: how many are chosen along the first axis."""
    given.append(low.extent(chosen[0]))
    return str(len(given) - 1)


@lowering("scatter_reduce")
def _scatter_reduce(low: Lowering, e: Entry, base: Operand, index: Operand, src: Operand) -> Ref:
    aval = e.in_avals[0]
    el, reduce = element(aval.dtype), e.attrs["reduce"]
    shape, chosen, source = (a.shape for a in e.in_avals)
    if not shape or 0 in (*shape, *chosen) or len(source) != len(shape):
        raise Refused("of a number, or nothing")
    if e.in_avals[2].dtype is not aval.dtype:
        raise Refused("operands of several dtypes")
    _addable(el)
    mean, include = reduce == "mean", e.attrs["include_self"]
    if mean and el.kind != "f":
        raise Refused("means of integers")
    index, index_el = _index(low, e, index, 1)
    dim = e.attrs["dim"] % len(shape)

    def reduced(base: Operand, src: Ref, source: Shape, how: str, include: bool) -> Ref:
        given, first = _begun(low, base, shape, el, [index, src])
        counted = None if dim else _counted(low, given, chosen)
        stages = [first]
        if not include:
            start = along_axis(shape, chosen, (), dim, el, index_el, False, counted)
            given.append(constant(_start(how, aval.dtype.numpy)))
            names = ("0", str(len(given) - 1), *start.operands[2:])
            stages.append(replace(start, operands=names))
        stages.append(along_axis(shape, chosen, source, dim, el, index_el, how, counted))
        plan = Plan(tuple(stages))
        return low.stages("scatter_reduce", plan, given, [shape], [el], faults=True)[0]

    def constant(value: Any) -> Ref:
        return low.constant(np.array([value], aval.dtype.numpy))

    found = reduced(base, _whole(low, src, source, el), source, "sum" if mean else reduce, include)
    if not mean:
        return found
    count = reduced(Literal(float(include)), constant(1), (), "sum", True)
    return low.map("div", [found, low.map("maximum", [count, Literal(1.0)], shape, el)], shape, el)


def _start(reduce: str, dtype: np.dtype) -> Any:
    """What nothing loses against, and nothing is changed by."""
    if reduce in ("sum", "prod"):
        return int(reduce == "prod")
    return lowest(np.dtype(dtype)) if reduce == "amax" else highest(np.dtype(dtype))


def _begun(
    low: Lowering, base: Operand, shape: Shape, el: Element, others: list[Ref]
) -> tuple[list[Ref], Stage]:
    """What is written over: zeros, or a copy of the operand after all ``others``."""
    if base.__class__ is Literal and base.value == 0 and math.copysign(1, base.value) > 0:
        return others, zeros(shape, el)
    whole = _whole(low, base, shape, el)
    return [*others, whole], copied(math.prod(shape), el, str(len(others)))


def _choices(
    low: Lowering, e: Entry, shape: Shape, indices: tuple[Any, ...], first: int
) -> tuple[list[Ref], list[Element], Shape]:
    """The arrays of indices, all of one shape."""
    where = e.attrs["where"]
    if where != tuple(range(where[0], where[0] + len(where))) or not shape or 0 in shape:
        raise Refused("dimensions that do not follow each other")
    found = [_index(low, e, x, first + j) for j, x in enumerate(indices)]
    common = max((e.in_avals[first + j].shape for j in range(len(indices))), key=math.prod)
    if any(e.in_avals[first + j].shape != common for j in range(len(indices))) or 0 in common:
        raise Refused("indices of several shapes")
    return [ref for ref, _ in found], [el for _, el in found], common


@lowering("index")
def _indexed(low: Lowering, e: Entry, x: Operand, *indices: Operand) -> Ref:
    aval, out = e.in_avals[0], e.out_avals[0]
    el = element(out.dtype)
    refs, els, common = _choices(low, e, aval.shape, indices, 1)
    count = math.prod(common)
    if e.attrs["where"] == (len(aval.shape) - 1,) and fits(el, aval.shape[-1]):
        lead = math.prod(aval.shape[:-1])
        stage = chosen_in_rows(lead, aval.shape[-1], count, el, els[0], True, True)
    else:
        stage = rows(aval.shape, e.attrs["where"], count, el, els)
    given = [_whole(low, x, aval.shape, el), *refs]
    return low.stages("index", Plan((stage,)), given, [out.shape], [el], faults=True)[0]


@lowering("index_put")
def _index_put(low: Lowering, e: Entry, base: Operand, value: Operand, *indices: Operand) -> Ref:
    aval = e.in_avals[0]
    el = element(aval.dtype)
    where, add = e.attrs["where"], bool(e.attrs["accumulate"])
    refs, els, common = _choices(low, e, aval.shape, indices, 2)
    if e.in_avals[1].dtype not in (None, aval.dtype):
        raise Refused("operands of several dtypes")
    if add:
        _addable(el)
    chosen = (*aval.shape[: where[0]], *common, *aval.shape[where[-1] + 1 :])
    count = math.prod(common)
    given = [_whole(low, base, aval.shape, el), _whole(low, value, chosen, el), *refs]
    given.append(low.extent(count))
    stages = (
        copied(math.prod(aval.shape), el, "0"),
        rows(aval.shape, where, count, el, els, True, add),
    )
    return low.stages("index_put", Plan(stages), given, [aval.shape], [el], faults=True)[0]
