"""Elements chosen along the last axis, a vector of them at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.stages import Stage

if TYPE_CHECKING:
    from flambeau.run.compiler.elements import Element

LANES = 8


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
    bits = f"<{LANES} x i1>"
    with f.loop("%begin", "%end") as row:
        source = f.along(x, (row.index, n * size))
        places = index if shared else f.along(index, (row.index, k * index_el.size))
        target = f.along(out, (row.index, k * size))

        def step(at: str, mask: str | None) -> None:
            here = f.along(places, (at, index_el.size))
            ty = f"<{LANES} x {index_el.memory}>"
            if mask is None:
                raw = f.load(ty, here, index_el.size)
            else:
                raw = f.load_masked(LANES, index_el.memory, here, mask)
            if index_el.memory != "i64":
                raw = f.value(f"sext {ty} {raw} to {wide}")
            if wrap:
                below = f.value(f"icmp slt {wide} {raw}, zeroinitializer")
                other = f.value(f"add {wide} {raw}, splat (i64 {n})")
                raw = f.value(f"select {bits} {below}, {wide} {other}, {wide} {raw}")
            # The lanes beyond the end read place 0, which exists.
            outside = f.value(f"icmp uge {wide} {raw}, splat (i64 {n})")
            wrong = f.call(f"llvm.vector.reduce.or.v{LANES}i1", "i1", (bits, outside))
            with f.when(wrong):
                f.store("i64", "1", fault, 8)
            safe = f.value(f"select {bits} {outside}, {wide} zeroinitializer, {wide} {raw}")
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

        whole = k - k % LANES
        if whole:
            with f.loop("0", str(whole), str(LANES)) as i:
                step(i.index, None)
        if k > whole:
            step(str(whole), f.mask(LANES, str(k - whole)))
    chunk = chunk_of(rows, rows * k * 2)
    return Stage(f.kernel(prefix="chosen"), ("0", "1", "out0", "fault"), rows, chunk)


def fits(el: Element, n: int) -> bool:
    """Whether rows of ``n`` elements may be read so."""
    return el.size in (4, 8) and n > 0
