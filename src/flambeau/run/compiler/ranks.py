"""Elements as integers in the order that selection goes by: NaN is the greatest, zeros are one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.run.compiler.emit import vector

if TYPE_CHECKING:
    from flambeau.run.compiler.convolution_blocks import Code
    from flambeau.run.compiler.elements import Element

__all__ = ["rank", "rank_bits"]


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
