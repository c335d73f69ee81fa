"""Values between memory and registers: types, rounding, and a node's own operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.run.compiler import pointwise
from flambeau.run.compiler.emit import mangled
from flambeau.run.compiler.nodes import Literal
from flambeau.run.compiler.pointwise import Lanes, convert
from flambeau.run.compiler.sizes import Size

if TYPE_CHECKING:
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Node, Number

__all__ = [
    "apply", "literal", "memory_type", "narrow", "number", "number_key", "pack_bfloat", "rounded",
    "widen_bfloat", "zero",
]  # fmt: skip


def number_key(number: Number) -> int:
    """A run-time number as an offset, until the program gives it its place."""
    return number.index * 2 + (number.kind == "i")


def memory_type(el: Element) -> str:
    return "i16" if el.memory == "bfloat" else el.memory


def zero(e: Lanes, ty: str) -> str:
    return "0" if e.lanes == 1 else "zeroinitializer"


def widen_bfloat(e: Lanes, raw: str) -> str:
    f = e.f
    wide = f.value(f"zext {e.type('i16')} {raw} to {e.type('i32')}")
    up = f.value(f"shl {e.type('i32')} {wide}, {f.literal(e.lanes, 'i32', 16)}")
    return f.value(f"bitcast {e.type('i32')} {up} to {e.type('float')}")


def narrow_bfloat(e: Lanes, value: str) -> str:
    """Rounded to the nearest, ties to even; NaN stays NaN."""
    f, ints = e.f, e.type("i32")

    def lit(v: int) -> str:
        return f.literal(e.lanes, "i32", v)

    bits = f.value(f"bitcast {e.type('float')} {value} to {ints}")
    odd = f.value(f"and {ints} {f.value(f'lshr {ints} {bits}, {lit(16)}')}, {lit(1)}")
    up = f.value(f"add {ints} {f.value(f'add {ints} {bits}, {lit(0x7FFF)}')}, {odd}")
    nan = f.value(f"fcmp uno {e.type('float')} {value}, {value}")
    quiet = f.value(f"or {ints} {bits}, {lit(0x40 << 16)}")
    kept = f.value(f"select {e.bits()} {nan}, {ints} {quiet}, {ints} {up}")
    return _high_half(e, kept)


def _high_half(e: Lanes, bits: str) -> str:
    ints = e.type("i32")
    high = e.f.value(f"lshr {ints} {bits}, {e.f.literal(e.lanes, 'i32', 16)}")
    return e.f.value(f"trunc {ints} {high} to {e.type('i16')}")


def pack_bfloat(e: Lanes, value: str) -> str:
    """A value that was rounded already, as memory keeps it."""
    return _high_half(e, e.f.value(f"bitcast {e.type('float')} {value} to {e.type('i32')}"))


def rounded(e: Lanes, value: str, el: Element) -> str:
    """A value of a 16-bit type as memory would keep it, in its register again."""
    if el.memory == "half":
        # LLVM would make one conversion of two, from double by way of float, and call a function
        # of the compiler's library for it.
        ty = e.type("float")
        value = e.f.call(f"llvm.arithmetic.fence.{mangled(ty)}", ty, (ty, value))
        low = e.f.value(f"fptrunc {ty} {value} to {e.type('half')}")
        return e.f.value(f"fpext {e.type('half')} {low} to {e.type('float')}")
    if el.memory == "bfloat":
        return widen_bfloat(e, narrow_bfloat(e, value))
    return value


def narrow(value: float, el: Element) -> float:
    if el.memory == "half":
        with np.errstate(over="ignore"):
            return float(np.float16(value))
    if el.memory == "bfloat":
        import ml_dtypes

        return float(ml_dtypes.bfloat16(value))
    return value


def literal(e: Lanes, value: Any, el: Element) -> str:
    """A number of the program as an operand of a computation on ``el``."""
    if value.__class__ is Size:
        return e.f.splat(e.lanes, el.register, number(e, _as_kind(e, value, el), el.kind, el))
    if el.kind == "b":
        return e.f.literal(e.lanes, "i1", bool(value))
    if el.kind == "f":
        value = narrow(float(value), el)
    else:
        bits = el.size * 8
        value = int(value) & ((1 << bits) - 1)
        value -= (1 << bits) if value >> (bits - 1) else 0
    return e.f.literal(e.lanes, el.register, value)


def _as_kind(e: Lanes, value: Size, el: Element) -> str:
    return e.f.value(f"sitofp i64 {value} to double") if el.kind == "f" else str(value)


def number(e: Lanes, raw: str, kind: str, el: Element) -> str:
    """A run-time number (double or i64, by its ``kind``) as an operand: one lane's."""
    f = e.f
    if kind == "f":
        if el.register != "double":
            raw = f.value(f"fptrunc double {raw} to {el.register}")
        return rounded(e, raw, el)
    if el.register == "i64":
        return raw
    if el.kind == "b":
        return f.value(f"icmp ne i64 {raw}, 0")
    return f.value(f"trunc i64 {raw} to {el.register}")


# What makes 16-bit numbers of such: nothing is left to round.
_OF_SIXTEEN_BITS = """
    neg abs copysign sign relu gate floor ceil trunc round maximum minimum clamp_min clamp_max clamp
    fmax fmin
"""
_EXACT = frozenset(_OF_SIXTEEN_BITS.split())


def apply(e: Lanes, node: Node, xs: list[str]) -> str:
    """The node's value from its operands'."""
    if node.op == "copy":
        return (
            xs[0]
            if not isinstance(node.operands[0], Literal)
            else e.f.value(
                f"select i1 true, {e.type(node.result.register)} {xs[0]}, "
                f"{e.type(node.result.register)} {xs[0]}"
            )
        )
    if node.op == "where":
        return e.select(xs[0], xs[1], xs[2], node.compute.register)
    if node.op == "cast":
        value = convert(e, xs[0], node.compute, node.result)
    else:
        value = pointwise.RULES[node.op](e, xs, node.compute, node.attrs)
        if node.op in _EXACT and node.compute is node.result:
            return value
    return rounded(e, value, node.result)
