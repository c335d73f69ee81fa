"""Elements as integers in the order that selection goes by: NaN is the greatest, zeros are one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.run.compiler import code
from flambeau.run.compiler.emit import vector

if TYPE_CHECKING:
    from flambeau.run.compiler.convolution_blocks import Code
    from flambeau.run.compiler.elements import Element

__all__ = ["loaded", "rank", "rank_bits", "ranked"]


def rank_bits(el: Element) -> int:
    """The width of the integers that ``rank`` gives."""
    return 64 if el.size == 8 else 32


def rank(f: Code, lanes: int, el: Element, x: str, largest: bool) -> str:
    """Loaded elements ranked; ``largest``: the greatest is the least."""
    bits = rank_bits(el)
    ty = vector(lanes, f"i{bits}")
    memory = vector(lanes, el.memory)
    if el.kind == "f":
        if el.size == 2:
            wide = vector(lanes, "float")
            x, memory = f.value(f"fpext {memory} {x} to {wide}"), wide
        register = "double" if bits == 64 else "float"
        # -0 becomes 0.
        x = f.value(f"fadd {memory} {x}, {f.literal(lanes, register, 0.0)}")
        raw = f.value(f"bitcast {memory} {x} to {ty}")
        top = f.literal(lanes, f"i{bits}", (1 << (bits - 1)) - 1)
        sign = f.value(f"ashr {ty} {raw}, {f.literal(lanes, f'i{bits}', bits - 1)}")
        turned = f.value(f"xor {ty} {raw}, {f.value(f'and {ty} {sign}, {top}')}")
        nan = f.value(f"fcmp uno {memory} {x}, {x}")
        x = f.value(f"select {vector(lanes, 'i1')} {nan}, {ty} {top}, {ty} {turned}")
    elif 8 * el.size != bits:
        x = f.value(f"{'sext' if el.kind == 'i' else 'zext'} {memory} {x} to {ty}")
    if largest:
        x = f.value(f"xor {ty} {x}, {f.literal(lanes, f'i{bits}', -1)}")
    return x


def ranked(
    f: Code, el: Element, n: int, row: str, keys: str, places: str | None, reverse: bool
) -> None:
    """A row's ranks to ``keys``, and 0, 1, 2... to ``places``: integers of the ranks' width."""
    bits = rank_bits(el)
    size = bits // 8
    lanes = code.target().lanes(size)
    whole = n - n % lanes

    ty, element = vector(lanes, f"i{bits}"), f"i{bits}"
    steps = ", ".join(f"{element} {i}" for i in range(lanes))

    def put(at: str, mask: str | None) -> None:
        here = f.along(row, (at, el.size))
        x = loaded(f, el, lanes, here, mask)
        first = at if bits == 64 else f.value(f"trunc i64 {at} to i32")
        place = f.value(f"add {ty} {f.splat(lanes, element, first)}, <{steps}>")
        for value, room in ((rank(f, lanes, el, x, reverse), keys), (place, places)):
            if room is None:
                continue
            to = f.along(room, (at, size))
            if mask is None:
                f.store(ty, value, to, size)
            else:
                f.store_masked(lanes, element, value, to, mask)

    if whole:
        with f.loop("0", str(whole), str(lanes)) as i:
            put(i.index, None)
    if whole < n:
        put(str(whole), f.mask(lanes, str(n - whole)))


def loaded(f: Code, el: Element, lanes: int, pointer: str, mask: str | None) -> str:
    """Elements as they lie in memory, zero in the lanes that are not of ``mask``."""
    ty = vector(lanes, el.memory)
    if mask is None:
        return f.load(ty, pointer, el.size)
    raw = vector(lanes, f"i{8 * el.size}")
    x = f.load_masked(lanes, f"i{8 * el.size}", pointer, mask)
    return f.value(f"bitcast {raw} {x} to {ty}") if el.kind == "f" else x
