"""Elements chosen or put along the last axis, a vector of places at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.emit import constant
from flambeau.run.compiler.sizes import Size, later
from flambeau.run.compiler.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.run.compiler.elements import Element

LANES = 8


def _places(
    f: Code, here: str, n: int, index_el: Element, mask: str | None, wrap: bool, fault: str
) -> str:
    """A vector of places; those that do not exist are noted, and become 0, which does."""
    wide = f"<{LANES} x i64>"
    bits = f"<{LANES} x i1>"
    ty = f"<{LANES} x {index_el.memory}>"
    if mask is None:
        raw = f.load(ty, here, index_el.size)
    else:
        # The lanes beyond the end are 0.
        raw = f.load_masked(LANES, index_el.memory, here, mask)
    if index_el.memory != "i64":
        raw = f.value(f"sext {ty} {raw} to {wide}")
    if wrap:
        below = f.value(f"icmp slt {wide} {raw}, zeroinitializer")
        other = f.value(f"add {wide} {raw}, {f.splat(LANES, 'i64', str(n))}")
        raw = f.value(f"select {bits} {below}, {wide} {other}, {wide} {raw}")
    outside = f.value(f"icmp uge {wide} {raw}, {f.splat(LANES, 'i64', str(n))}")
    wrong = f.call(f"llvm.vector.reduce.or.v{LANES}i1", "i1", (bits, outside))
    with f.when(wrong):
        f.store("i64", "1", fault, 8)
    return f.value(f"select {bits} {outside}, {wide} zeroinitializer, {wide} {raw}")


def chosen_in_rows(
    rows: int, n: int, k: int, el: Element, index_el: Element, shared: bool, wrap: bool
) -> Stage:
    """``out[r, j] = x[r, index[r, j]]`` for rows of ``n``, or ``index[j]`` where it is ``shared``.

    A place that does not exist is noted as a fault; ``wrap``: those below zero count from the end.
    """
    f = Code()
    x, index, out, fault = (f.pointer(i) for i in range(4))
    memory, size = f"i{8 * el.size}", el.size
    wide = f"<{LANES} x i64>"
    with f.loop("%begin", "%end") as row:
        source = f.along(x, (row.index, n * size))
        places = index if shared else f.along(index, (row.index, k * index_el.size))
        target = f.along(out, (row.index, k * size))

        def step(at: str, mask: str | None) -> None:
            here = f.along(places, (at, index_el.size))
            safe = _places(f, here, n, index_el, mask, wrap, fault)
            found = "poison"
            # One by one: on AMD (Zen 4) the gather instruction takes seven times as long.
            for lane in range(LANES):
                place = f.value(f"extractelement {wide} {safe}, i64 {lane}")
                one = f.load(memory, f.along(source, (place, size)), size)
                found = f.value(
                    f"insertelement <{LANES} x {memory}> {found}, {memory} {one}, i64 {lane}"
                )
            to = f.along(target, (at, size))
            if mask is None:
                f.store(f"<{LANES} x {memory}>", found, to, size)
            else:
                f.store_masked(LANES, memory, found, to, mask)

        _vectors(f, k, step)
    chunk = chunk_of(rows, rows * k * 2)
    return Stage(f.kernel(prefix="chosen"), ("0", "1", "out0", "fault"), rows, chunk)


def put_in_rows(
    rows: int, n: int, k: int, el: Element, index_el: Element, add: bool, source: int | None
) -> Stage:
    """``out[r, index[r, j]] = source[r, j]`` in order of ``j``, or added to what is there.

    ``source`` is the length of its rows, None for a single element.
    """
    f = Code()
    index, x, out, fault = (f.pointer(i) for i in range(4))
    memory, size = el.memory if add else f"i{8 * el.size}", el.size
    with f.loop("%begin", "%end") as row:
        places = f.along(index, (row.index, k * index_el.size))
        given = f.along(x, (row.index, (source or 0) * size))
        target = f.along(out, (row.index, n * size))

        def put(at: str, lane: int, safe: str) -> None:
            place = f.value(f"extractelement <{LANES} x i64> {safe}, i64 {lane}")
            there = f.along(target, (place, size))
            here = given if source is None else f.along(given, (f.add(at, lane), size))
            one = f.load(memory, here, size)
            if add:
                old = f.load(memory, there, size)
                one = f.value(f"{'fadd' if el.kind == 'f' else 'add'} {memory} {old}, {one}")
            f.store(memory, one, there, size)

        def step(at: str, mask: str | None) -> None:
            here = f.along(places, (at, index_el.size))
            safe = _places(f, here, n, index_el, mask, False, fault)
            rest = k % LANES if mask else LANES
            sized = rest.__class__ is Size
            for lane in range(LANES if sized else rest):
                if sized:
                    with f.when(f.value(f"icmp sgt i64 {rest}, {lane}")):
                        put(at, lane, safe)
                else:
                    put(at, lane, safe)

        _vectors(f, k, step)
    chunk = chunk_of(rows, rows * k * 3)
    return Stage(f.kernel(prefix="put"), ("0", "1", "out0", "fault"), rows, chunk)


def class_of_rows(rows: int, n: int, el: Element, index_el: Element, ignore: int) -> Stage:
    """``out[r] = x[r, index[r]]``; 0 where the place is ``ignore``, or does not exist."""
    f = Code()
    x, index, out = (f.pointer(i) for i in range(3))
    ty, size = el.memory, el.size

    def one(row: str) -> None:
        raw = f.load(index_el.memory, f.along(index, (row, index_el.size)), index_el.size)
        if index_el.memory != "i64":
            raw = f.value(f"sext {index_el.memory} {raw} to i64")
        exists = f.value(f"icmp ult i64 {raw}, {n}")
        counts = f.value(f"and i1 {exists}, {f.value(f'icmp ne i64 {raw}, {ignore}')}")
        place = f.value(f"select i1 {counts}, i64 {raw}, i64 0")
        value = f.load(ty, f.along(x, (f.add(f.mul(row, n), place), size)), size)
        zero = constant(0.0, ty)
        f.store(
            ty, f.value(f"select i1 {counts}, {ty} {value}, {ty} {zero}"),
            f.along(out, (row, size)), size,
        )  # fmt: skip

    # Several at a time: their loads wait for memory together.
    with f.loop("%begin", "%end", str(LANES), while_room=True) as block:
        for lane in range(LANES):
            one(f.add(block.index, lane))
    with f.loop(block.index, "%end") as rest:
        one(rest.index)
    chunk = later(lambda rows: chunk_of(rows, rows * 4), rows)
    return Stage(f.kernel(prefix="class"), ("0", "1", "out0"), rows, chunk)


def _vectors(f: Code, k: int, step: Callable[[str, str | None], None]) -> None:
    """``step`` for each vector of a row, with a mask for one that is not full."""
    whole = k - k % LANES
    if whole.__class__ is Size or whole:
        with f.loop("0", str(whole), str(LANES)) as i:
            step(i.index, None)
    if k.__class__ is Size or k > whole:
        step(str(whole), f.mask(LANES, str(k - whole)))


def fits(el: Element, n: int, k: int = LANES) -> bool:
    """Whether ``k`` places in each row of ``n`` elements are worth a vector."""
    return el.size in (4, 8) and n > 0 and (k.__class__ is Size or k >= LANES // 2)
