"""Remainders, rounded quotients, shifts and neighbours of numbers as vector instructions.

Remainders of float32 are exact, like C's ``fmod``: quotients are found in float64, where
``x - trunc(x / y) y`` has room for all its bits while the quotient has no more than 29. Where some
lane's quotient is longer, rounds of that length go before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering, scalar
from flambeau.run.compiler.pointwise import Lanes, rule
from flambeau.run.compiler.vector_math import FUNCTIONS
from flambeau.run.compiler.vector_math_base import Lanes as Arithmetic

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

# Bits of a quotient whose product with 24 bits is exact in float64.
STEP = 29
# The longest quotient: the greatest number by the least.
ROUNDS = -(-(128 + 149) // STEP)


def _reduced(v: Arithmetic, x: str, y: str) -> str:
    """|x| less the multiple of |y| that a quotient below 2 ** STEP gives: in [0, |y|)."""
    quotient = v.intrinsic("trunc", v.div(x, y))
    rest = v.fma(v.neg(quotient), y, x)
    # Rounding may have taken the quotient one too high.
    return v.select(v.compare("olt", rest, 0.0), v.add(rest, y), rest)


def _fmod(f32: Arithmetic, x: str, y: str) -> str:
    """x - trunc(x / y) y, exact; NaN of infinite x, of y = 0; x where y is infinite."""
    v = f32.doubles()
    f = v.f
    wide_x, wide_y = v.abs(v.widen(x)), v.abs(v.widen(y))
    valid = v.both(v.compare("olt", wide_x, math.inf), v.compare("ogt", wide_y, 0.0))
    # Lanes that have no remainder must not ask for rounds.
    rest = v.select(valid, wide_x, 0.0)
    divisor = v.select(v.both(valid, v.compare("olt", wide_y, math.inf)), wide_y, 1e200)
    far = v.compare("oge", v.div(rest, divisor), 2.0**STEP)
    if v.lanes > 1:
        far = f.call(f"llvm.vector.reduce.or.v{v.lanes}i1", "i1", (v.bool, far))
    rounds = f.value(f"select i1 {far}, i64 {ROUNDS - 1}, i64 0")
    with f.loop("0", rounds, carried=[(v.ty, rest)]) as loop:
        left = f.value(f"sub i64 {rounds}, {loop.index}")
        shift = f.value(f"mul i64 {left}, {STEP}")
        exponent = f.value(f"shl i64 {f.value(f'add i64 {shift}, 1023')}, 52")
        power = f.splat(v.lanes, "double", f.value(f"bitcast i64 {exponent} to double"))
        loop.carry(_reduced(v, loop.carried[0], v.mul(divisor, power)))
    rest = v.narrow(_reduced(v, loop.result[0], divisor))
    found = f32.intrinsic("copysign", rest, x)
    return f32.select(valid, found, math.nan)


def _wrong_sign(v: Arithmetic, rest: str, y: str) -> str:
    """Where a remainder is not zero, and has not the divisor's sign."""
    below = v.f.value(f"xor {v.bool} {v.compare('olt', rest, 0.0)}, {v.compare('olt', y, 0.0)}")
    return v.both(below, v.compare("une", rest, 0.0))


@rule("fmod", "f")
def _fmod_rule(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return _fmod(Arithmetic(e.f, e.lanes, el.register), *xs)


@rule("remainder", "f")
def _remainder_rule(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    v = Arithmetic(e.f, e.lanes, el.register)
    rest = _fmod(v, *xs)
    found = v.select(_wrong_sign(v, rest, xs[1]), v.add(rest, xs[1]), rest)
    # A remainder of zero has the divisor's sign.
    return v.select(v.compare("oeq", rest, 0.0), v.intrinsic("copysign", rest, xs[1]), found)


@rule("floor_divide", "f")
def _floor_divide_rule(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    v = Arithmetic(e.f, e.lanes, el.register)
    x, y = xs
    plain = v.div(x, y)
    rest = _fmod(v, x, y)
    quotient = v.div(v.sub(x, rest), y)
    quotient = v.select(_wrong_sign(v, rest, y), v.sub(quotient, 1.0), quotient)
    floor = v.intrinsic("floor", quotient)
    late = v.compare("ogt", v.sub(quotient, floor), 0.5)
    floor = v.select(late, v.add(floor, 1.0), floor)
    zero = v.intrinsic("copysign", v.number(0.0), plain)
    found = v.select(v.compare("oeq", quotient, 0.0), zero, floor)
    return v.select(v.compare("oeq", y, 0.0), plain, found)


@lowering("fmod remainder floor_divide")
def _in_float32(low: Lowering, e: Entry, x: Operand, y: Operand) -> Ref:
    dtypes = {a.dtype for a in e.in_avals if a.dtype is not None}
    el = element(e.out_avals[0].dtype)
    if len(dtypes) != 1 or el.register != "float":
        raise Refused("remainders of this dtype")
    given = [scalar(low, o, el) for o in (x, y)]
    return low.map(e.prim.name, given, e.out_avals[0].shape, el)


@rule("hypot", "f")
def _hypot(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    v = Arithmetic(e.f, e.lanes, el.register)
    wide = v.doubles()
    x, y = (wide.widen(x) for x in xs)
    found = v.f.value(
        f"fptrunc {wide.ty} {wide.intrinsic('sqrt', wide.fma(x, x, wide.mul(y, y)))} to {v.ty}"
    )
    # An infinite side beside NaN is infinite.
    sizes = [v.abs(x) for x in xs]
    infinite = v.either(*[v.compare("oeq", s, math.inf) for s in sizes])
    return v.select(infinite, math.inf, found)


@lowering("hypot")
def _hypot_lowered(low: Lowering, e: Entry, x: Operand, y: Operand) -> Ref:
    return _in_float32(low, e, x, y)


@rule("nextafter", "f")
def _nextafter(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    v = Arithmetic(e.f, e.lanes, el.register)
    x, y = xs
    bits = v.bits(x)
    # Away from zero the bits grow.
    grows = v.f.value(f"xor {v.bool} {v.compare('olt', x, y)}, {v.compare('olt', x, 0.0)}")
    step = v.f.value(f"select {v.bool} {grows}, {v.ity} {v.literal(1)}, {v.ity} {v.literal(-1)}")
    near = v.from_bits(v.whole("add", bits, step))
    least = v.intrinsic("copysign", v.from_bits(v.literal(1)), y)
    found = v.select(v.compare("oeq", x, 0.0), least, near)
    found = v.select(v.compare("oeq", x, y), y, found)
    return v.select(v.compare("uno", x, y), math.nan, found)


@lowering("nextafter")
def _nextafter_lowered(low: Lowering, e: Entry, x: Operand, y: Operand) -> Ref:
    if element(e.out_avals[0].dtype).size == 2:
        raise Refused("of 16 bits")
    out = e.out_avals[0]
    el = element(out.dtype)
    if {a.dtype for a in e.in_avals} != {out.dtype}:
        raise Refused("operands of several dtypes")
    return low.map("nextafter", [x, y], out.shape, el)


def _shift(name: str) -> None:
    def emit(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
        x, y = xs
        f, ty = e.f, e.type(el.register)
        inside = f.value(f"icmp ult {ty} {y}, {e.literal(8 * el.size, el)}")
        by = e.select(inside, y, e.literal(0, el), el.register)
        if name == "shift_left":
            return e.select(inside, e.op("shl", el, x, by), e.literal(0, el), el.register)
        if el.kind == "u":
            return e.select(inside, e.op("lshr", el, x, by), e.literal(0, el), el.register)
        sign = e.op("ashr", el, x, e.literal(8 * el.size - 1, el))
        return e.select(inside, e.op("ashr", el, x, by), sign, el.register)

    rule(name, "iu")(emit)


_shift("shift_left")
_shift("shift_right")


@rule("trunc_divide", "f")
def _trunc_divide(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return e.intrinsic("trunc", el, e.op("fdiv", el, *xs))


@rule("logaddexp2", "f")
def _logaddexp2(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return FUNCTIONS["logaddexp2"](e.f, e.lanes, el.register, *xs)
