"""Sorting rows: the positions that sort them, equals where PyTorch has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.ir.reference.equals import BY_DIGITS
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import vector
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.nodes import Ref
from flambeau.run.compiler.ranks import loaded, rank, rank_bits, ranked
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.sorting_digits import by_digits, digits
from flambeau.run.compiler.sorting_steps import SHORT, Room, counted, linked
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand

# Positions within a row are integers of the width of ranks.
_LONGEST = 1 << 31
# Counts of a digit are worth their while in rows of so many elements.
_EACH_DIGIT = 16


def widened(f: Code, n: int, places: str, out: str) -> None:
    """32-bit ``places`` as 64-bit ones; they may be the second half of ``out``."""
    lanes = code.target().lanes(8)
    whole = n - n % lanes
    for start, stop, count in ((0, whole, lanes), (whole, n, 1)):
        if start < stop:
            with f.loop(str(start), str(stop), str(count)) as i:
                narrow, wide = vector(count, "i32"), vector(count, "i64")
                x = f.load(narrow, f.along(places, (i.index, 4)), 4)
                x = f.value(f"zext {narrow} {x} to {wide}")
                f.store(wide, x, f.along(out, (i.index, 8)), 8)


def in_steps(rows: int, n: int, el: Element, descending: bool, stable: bool) -> Plan:
    """Rows sorted as ``std::sort`` does; ``stable``: equals by their places afterwards.

    Ranks and positions of 32 bits each are the two halves of the row of the result.
    """
    f = Code()
    bits = rank_bits(el)
    source, out = f.pointer(0), f.pointer(1)
    room = Room(rows, 8 * n if bits == 64 else 0)
    keys_of = room.of(f, 2)
    with f.loop("%begin", "%end") as unit:
        row = f.along(source, (unit.index, n * el.size))
        target = f.along(out, (unit.index, 8 * n))
        if bits == 32:
            keys, places = target, f.byte(target, 4 * n)
        else:
            keys, places = keys_of(unit.index), target
        ranked(f, el, n, row, keys, places, descending)
        name = "stable_sort" if stable else "sort"
        f.value(f"call i64 @loop_{name}(ptr {keys}, ptr {places}, i64 0, i64 {n})")
        if bits == 32:
            widened(f, n, places, target)
    kernel = linked(f, "sort", room.scratch, bits)
    names = ("0", "out0", *room.operands)
    return Plan((Stage(kernel, names, rows, chunk_of(rows, rows * _work(n))),), room.workspace)


def counted_rows(rows: int, n: int, el: Element, descending: bool) -> Plan:
    """Rows that are one vector: each element's place is the number of those before it."""
    f = Code()
    bits = rank_bits(el)
    source, out = f.pointer(0), f.pointer(1)
    lanes = max(4, 1 << (n - 1).bit_length())
    mask = f.mask(lanes, str(n)) if n < lanes else None
    room = f.value(f"alloca <{lanes} x i64>, align 64")
    with f.loop("%begin", "%end") as unit:
        x = loaded(f, el, lanes, f.along(source, (unit.index, n * el.size)), mask)
        x = rank(f, lanes, el, x, descending)
        f.store(f"<{lanes} x i64>", counted(f, lanes, bits, x, n), room, 64)
        target = f.along(out, (unit.index, 8 * n))
        for i in range(n):
            to = f.load("i64", f.byte(room, 8 * i), 8)
            f.store("i64", str(i), f.along(target, (to, 8)), 8)
    kernel = f.kernel(prefix="sort")
    return Plan((Stage(kernel, ("0", "out0"), rows, chunk_of(rows, rows * n * 4)),))


def _work(n: int) -> float:
    return n * (2 + math.log2(n + 1))


def in_rows(
    low: Lowering, e: Entry, x: Operand, k: int | None, plan: Callable[[int, int, Element], Plan]
) -> Ref:
    """Positions along ``dim``, ``k`` or all of each row, by kernels for so many rows of so many."""
    aval = e.in_avals[0]
    el = element(aval.dtype)
    if not aval.shape or 0 in aval.shape or max(aval.shape) >= _LONGEST:
        raise Refused("of a number, nothing, or too much")
    dim = e.attrs["dim"] % len(aval.shape)
    order = (*[d for d in range(len(aval.shape)) if d != dim], dim)
    x = values(low, x, aval.shape, el)
    view = x.view.permute(order)
    given = low.dense(Ref(x.slot, view), view.shape, el)
    n = aval.shape[dim]
    stages = plan(math.prod(aval.shape) // n, n, el)
    shape = (*view.shape[:-1], n if k is None else k)
    found = low.stages(e.prim.name, stages, [given], [shape], [element(dtypes.int64)])[0]
    back = tuple(order.index(d) for d in range(len(order)))
    return Ref(found.slot, found.view.permute(back))


@lowering("argsort")
def _argsort(low: Lowering, e: Entry, x: Operand) -> Ref:
    descending, stable = e.attrs["descending"], e.attrs.get("stable", True)
    one_dim = len(e.in_avals[0].shape) == 1

    def plan(rows: int, n: int, el: Element) -> Plan:
        # Where PyTorch sorts by digits, too.
        as_integers = one_dim and n >= BY_DIGITS and el.kind in "iu" and not descending
        if n <= SHORT:
            return counted_rows(rows, n, el, descending)
        if (stable or as_integers) and n >= _EACH_DIGIT * digits(el):
            return by_digits(rows, n, el, descending)
        return in_steps(rows, n, el, descending, stable)

    return in_rows(low, e, x, None, plan)
