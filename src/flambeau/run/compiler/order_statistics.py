"""One position a row that order finds: the k-th least, the median, the most frequent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.emit import mangled, vector
from flambeau.run.compiler.lower import Lowering, lowering
from flambeau.run.compiler.ranks import rank_bits, ranked
from flambeau.run.compiler.sorting import in_rows
from flambeau.run.compiler.sorting_steps import Room, linked
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

    # Gives the position in a row, from its ranks, their positions, and how many are numbers.
    Find = Callable[[Code, str, str, str], str]


def one_of_each(rows: int, n: int, el: Element, find: Find, work: float) -> Plan:
    """A position a row, which ``find`` gives."""
    f = Code()
    bits = rank_bits(el)
    source, out = f.pointer(0), f.pointer(1)
    room = Room(rows, 2 * n * bits // 8)
    room_of = room.of(f, 2)
    with f.loop("%begin", "%end") as unit:
        keys = room_of(unit.index)
        places = f.byte(keys, n * bits // 8)
        ranked(f, el, n, f.along(source, (unit.index, n * el.size)), keys, places, False)
        numbers = _numbers(f, bits, n, keys) if el.kind == "f" else str(n)
        f.store("i64", find(f, keys, places, numbers), f.along(out, (unit.index, 8)), 8)
    kernel = linked(f, "place", room.scratch, bits)
    names = ("0", "out0", *room.operands)
    return Plan((Stage(kernel, names, rows, chunk_of(rows, rows * n * work)),), room.workspace)


def _numbers(f: Code, bits: int, n: int, keys: str) -> str:
    """How many of a row's ranks are not that of NaN."""
    lanes = code.target().lanes(bits // 8)
    ty = vector(lanes, f"i{bits}")
    nan = f.literal(lanes, f"i{bits}", (1 << (bits - 1)) - 1)
    total = "zeroinitializer"

    def more(total: str, x: str) -> str:
        yes = f.value(f"icmp ne {ty} {x}, {nan}")
        return f.value(f"add {ty} {total}, {f.value(f'zext <{lanes} x i1> {yes} to {ty}')}")

    whole = n - n % lanes
    if whole:
        with f.loop("0", str(whole), str(lanes), carried=[(ty, total)]) as i:
            x = f.load(ty, f.along(keys, (i.index, bits // 8)), bits // 8)
            i.carry(more(i.carried[0], x))
        total = i.result[0]
    if whole < n:
        mask = f.mask(lanes, str(n - whole))
        x = f.load_masked(lanes, f"i{bits}", f.along(keys, (str(whole), bits // 8)), mask)
        total = more(total, f.value(f"select <{lanes} x i1> {mask}, {ty} {x}, {ty} {nan}"))
    found = f.call(f"llvm.vector.reduce.add.{mangled(ty)}", f"i{bits}", (ty, total))
    return found if bits == 64 else f.value(f"zext i32 {found} to i64")


def _called(f: Code, name: str, keys: str, places: str, *numbers: str | int) -> str:
    given = ", ".join(f"i64 {x}" for x in numbers)
    return f.value(f"call i64 @loop_{name}(ptr {keys}, ptr {places}, {given})")


def _kth(bits: int, n: int, k: int) -> Find:
    def find(f: Code, keys: str, places: str, numbers: str) -> str:
        _called(f, "select", keys, places, 0, n, k)
        place = f.load(f"i{bits}", f.byte(places, k * bits // 8), bits // 8)
        return place if bits == 64 else f.value(f"zext i32 {place} to i64")

    return find


def _middle(n: int, skip: bool) -> Find:
    """NaNs come last in order, so the first of them follows the numbers."""

    def find(f: Code, keys: str, places: str, numbers: str) -> str:
        # The lower of the middle ones; the first if there is none.
        below = f.call("llvm.smax.i64", "i64", ("i64", f.sub(numbers, 1)), ("i64", "0"))
        middle = f.value(f"lshr i64 {below}, 1")
        if not skip:
            whole = f.value(f"icmp eq i64 {numbers}, {n}")
            middle = f.value(f"select i1 {whole}, i64 {middle}, i64 {numbers}")
        return _called(f, "select_stable", keys, places, 0, n, middle)

    return find


def _mode(n: int) -> Find:
    """NaNs, which equal nothing, are left out of the runs, but for the first place."""

    def find(f: Code, keys: str, places: str, numbers: str) -> str:
        _called(f, "sort", keys, places, 0, n)
        return _called(f, "longest_run", keys, places, 0, numbers)

    return find


@lowering("argkth argmedian argnanmedian argmode")
def _one(low: Lowering, e: Entry, x: Operand) -> Ref:
    name = e.prim.name

    def plan(rows: int, n: int, el: Element) -> Plan:
        if name == "argkth":
            return one_of_each(rows, n, el, _kth(rank_bits(el), n, e.attrs["k"] - 1), 4.0)
        if name == "argmode":
            return one_of_each(rows, n, el, _mode(n), 4 + math.log2(n))
        return one_of_each(rows, n, el, _middle(n, name == "argnanmedian"), 4.0)

    return in_rows(low, e, x, 1, plan)
