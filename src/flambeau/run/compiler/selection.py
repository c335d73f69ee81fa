"""The greatest or least elements of rows: few by a heap, many by splits around the last."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, aligned, chunk_of
from flambeau.run.compiler.emit import vector
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.ranks import rank, rank_bits, ranked
from flambeau.run.compiler.sorting import in_rows
from flambeau.run.compiler.sorting_steps import Room, linked
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

# PyTorch selects with a heap where a row is so many times as long as what is wanted.
_HEAP_FROM = 64
_MOST = 1 << 16


def top(rows: int, n: int, k: int, el: Element, largest: bool) -> Plan:
    """Positions of the ``k`` best of each row, best first; of equals those PyTorch's heap keeps.

    The scratch memory holds ranks and positions of the heap, and the ranks of a vector.
    """
    f = Code()
    source, out = f.pointer(0), f.pointer(1)
    lanes = code.target().lanes(max(el.size, 4))
    bits = rank_bits(el)
    ranks = vector(lanes, f"i{bits}")
    heap, places = "%scratch", f.byte("%scratch", 8 * k)
    line = f.byte("%scratch", 16 * k)

    def called(name: str, *numbers: str | int) -> None:
        given = ", ".join(f"i64 {n}" for n in numbers)
        f.value(f"call i64 @loop_{name}(ptr {heap}, ptr {places}, {given})")

    def wide(x: str) -> str:
        return x if bits == 64 else f.value(f"sext i{bits} {x} to i64")

    with f.loop("%begin", "%end") as unit:
        row = f.along(source, (unit.index, n * el.size))
        with f.loop("0", str(k)) as i:
            x = f.load(el.memory, f.along(row, (i.index, el.size)), el.size)
            f.store("i64", wide(rank(f, 1, el, x, largest)), f.along(heap, (i.index, 8)), 8)
            f.store("i64", i.index, f.along(places, (i.index, 8)), 8)
        called("heap_select", 0, k, k)

        def step(at: str, mask: str | None) -> None:
            here = f.along(row, (at, el.size))
            if mask is None:
                x = f.load(vector(lanes, el.memory), here, el.size)
            else:
                x = f.load_masked(lanes, el.memory, here, mask)
            keys = rank(f, lanes, el, x, largest)
            worst = f.load("i64", heap, 8)
            if bits == 32:
                worst = f.value(f"trunc i64 {worst} to i32")
            better = f.value(f"icmp slt {ranks} {keys}, {f.splat(lanes, f'i{bits}', worst)}")
            if mask is not None:
                better = f.value(f"and <{lanes} x i1> {better}, {mask}")
            some = f.value(f"bitcast <{lanes} x i1> {better} to i{lanes}")
            with f.when(f.value(f"icmp ne i{lanes} {some}, 0")):
                f.store(ranks, keys, line, 8)
                with f.loop("0", f.least(str(lanes), f.sub(str(n), at))) as lane:
                    key = wide(f.load(f"i{bits}", f.along(line, (lane.index, bits // 8)), 4))
                    enters = f.value(f"icmp slt i64 {key}, {f.load('i64', heap, 8)}")
                    with f.when(enters):
                        called("sift", 0, 0, k, key, f.add(at, lane.index))

        whole = k + (n - k) // lanes * lanes
        if whole > k:
            with f.loop(str(k), str(whole), str(lanes)) as block:
                step(block.index, None)
        if n > whole:
            step(str(whole), f.mask(lanes, str(n - whole)))
        called("sort_heap", 0, k)
        target = f.along(out, (unit.index, 8 * k))
        with f.loop("0", str(k)) as i:
            place = f.load("i64", f.along(places, (i.index, 8)), 8)
            f.store("i64", place, f.along(target, (i.index, 8)), 8)
    kernel = linked(f, "top", 16 * k + aligned(lanes * 8, 64))
    stage = Stage(kernel, ("0", "out0"), rows, chunk_of(rows, rows * (n + 64 * k)))
    return Plan((stage,))


def parted(rows: int, n: int, k: int, el: Element, largest: bool, ordered: bool) -> Plan:
    """The same where many are wanted: PyTorch puts the k-th in its place first."""
    f = Code()
    bits = rank_bits(el)
    size = bits // 8
    source, out = f.pointer(0), f.pointer(1)
    room = Room(rows, 2 * n * size)
    room_of = room.of(f, 2)
    with f.loop("%begin", "%end") as unit:
        keys = room_of(unit.index)
        places = f.byte(keys, n * size)
        ranked(f, el, n, f.along(source, (unit.index, n * el.size)), keys, places, largest)
        given = f"i64 0, i64 {n}, i64 {k}, i64 {int(ordered)}"
        f.value(f"call i64 @loop_top(ptr {keys}, ptr {places}, {given})")
        target = f.along(out, (unit.index, 8 * k))
        with f.loop("0", str(k)) as i:
            place = f.load(f"i{bits}", f.along(places, (i.index, size)), size)
            if bits == 32:
                place = f.value(f"zext i32 {place} to i64")
            f.store("i64", place, f.along(target, (i.index, 8)), 8)
    kernel = linked(f, "top", room.scratch, bits)
    work = rows * (n * 4 + k * math.log2(k + 1))
    names = ("0", "out0", *room.operands)
    return Plan((Stage(kernel, names, rows, chunk_of(rows, work)),), room.workspace)


@lowering("argtopk")
def _argtopk(low: Lowering, e: Entry, x: Operand) -> Ref:
    k, largest = e.attrs["k"], e.attrs["largest"]
    if k == 0 or e.in_avals[0].dtype is dtypes.bool_:
        raise Refused("of nothing or truths")

    def plan(rows: int, n: int, el: Element) -> Plan:
        if k * _HEAP_FROM > n:
            return parted(rows, n, k, el, largest, e.attrs["sorted"])
        if k > _MOST:
            raise Refused("many of a long row")
        return top(rows, n, k, el, largest)

    return in_rows(low, e, x, k, plan)
