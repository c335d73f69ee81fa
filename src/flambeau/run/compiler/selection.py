"""The few greatest or least elements of rows: a heap, entered by what is better than its worst."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.ir.reference import introsort
from flambeau.run.compiler import code, loops
from flambeau.run.compiler.convolution_blocks import Code, aligned, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import Kernel, vector
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.nodes import Ref
from flambeau.run.compiler.ranks import rank, rank_bits
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand

# PyTorch selects with a heap where a row is so many times as long as what is wanted.
_HEAP_FROM = 64
_MOST = 1024
_SHORT = 1024
_HEAP = ("put", "sift", "pop", "heap_select", "sort_heap")


def top(rows: int, n: int, k: int, el: Element, largest: bool) -> Stage:
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
    kernel = _linked(f, _HEAP, 16 * k + aligned(lanes * 8, 64))
    return Stage(kernel, ("0", "out0"), rows, chunk_of(rows, rows * (n + 64 * k)))


def parted(rows: int, n: int, k: int, el: Element, largest: bool, ordered: bool) -> Stage:
    """The same of short rows, of which PyTorch puts the k-th in its place first.

    The scratch memory holds ranks and positions of a row.
    """
    f = Code()
    source, out = f.pointer(0), f.pointer(1)
    keys, places = "%scratch", f.byte("%scratch", 8 * n)
    with f.loop("%begin", "%end") as unit:
        row = f.along(source, (unit.index, n * el.size))
        with f.loop("0", str(n)) as i:
            x = rank(
                f, 1, el, f.load(el.memory, f.along(row, (i.index, el.size)), el.size), largest
            )
            if rank_bits(el) != 64:
                x = f.value(f"sext i{rank_bits(el)} {x} to i64")
            f.store("i64", x, f.along(keys, (i.index, 8)), 8)
            f.store("i64", i.index, f.along(places, (i.index, 8)), 8)
        given = f"i64 0, i64 {n}, i64 {k}, i64 {int(ordered)}"
        f.value(f"call i64 @loop_top(ptr {keys}, ptr {places}, {given})")
        target = f.along(out, (unit.index, 8 * k))
        with f.loop("0", str(k)) as i:
            place = f.load("i64", f.along(places, (i.index, 8)), 8)
            f.store("i64", place, f.along(target, (i.index, 8)), 8)
    kernel = _linked(f, tuple(loops.translated(introsort, "")), aligned(16 * n, 64))
    work = rows * n * 8 * (1 + math.log2(k))
    return Stage(kernel, ("0", "out0"), rows, chunk_of(rows, work))


def _linked(f: Code, names: tuple[str, ...], scratch: int) -> Kernel:
    """A kernel with functions of ``introsort``, which it calls by ``loop_`` and their names."""
    helpers = loops.translated(introsort, "loop_")
    kernel = f.kernel()
    text = "\n\n".join([kernel.text, *(helpers[name] for name in names)])
    name = "top_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    text = text.replace(f"@{kernel.name}(", f"@{name}(").replace("@loop_", f"@{name}_")
    return Kernel(name, text, scratch)


@lowering("argtopk")
def _argtopk(low: Lowering, e: Entry, x: Operand) -> Ref:
    aval, out = e.in_avals[0], e.out_avals[0]
    el = element(aval.dtype)
    k = e.attrs["k"]
    if not aval.shape or 0 in (*aval.shape, *out.shape) or el.kind == "b":
        raise Refused("of a number, nothing or truths")
    dim = e.attrs["dim"] % len(aval.shape)
    n = aval.shape[dim]
    by_heap = k * _HEAP_FROM <= n
    if k > _MOST or not (by_heap or n <= _SHORT):
        raise Refused("many of a long row")
    order = (*[d for d in range(len(aval.shape)) if d != dim], dim)
    x = values(low, x, aval.shape, el)
    view = x.view.permute(order)
    given = low.dense(Ref(x.slot, view), view.shape, el)
    rows = math.prod(aval.shape) // n
    largest = e.attrs["largest"]
    if by_heap:
        stage = top(rows, n, k, el, largest)
    else:
        stage = parted(rows, n, k, el, largest, e.attrs["sorted"])
    shape = (*view.shape[:-1], k)
    whole = element(dtypes.int64)
    found = low.stages("argtopk", Plan((stage,)), [given], [shape], [whole])[0]
    back = tuple(order.index(d) for d in range(len(order)))
    return Ref(found.slot, found.view.permute(back))
