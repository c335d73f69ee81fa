"""Remainders, rounded quotients, shifts and neighbours of numbers as vector instructions.

Remainders are exact, like C's ``fmod``. Of float32 quotients are found in float64, where
``x - trunc(x / y) y`` has room for all its bits while the quotient has no more than 29; where some
lane's quotient is longer, rounds of that length go before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import mangled
from flambeau.run.compiler.lower import Lowering, Refused, _pointwise, lowering
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


def _fmod(v: Arithmetic, x: str, y: str) -> str:
    """x - trunc(x / y) y, exact; NaN of infinite x, of y = 0; x where y is infinite."""
    return _fmod_single(v, x, y) if v.single else _fmod_double(v, x, y)


def _fmod_double(v: Arithmetic, x: str, y: str) -> str:
    """By rounds of fused multiply-adds, each of a quotient below 2 ** 52 by the divisor times a
    power of two: remainders are multiples of its last bit, so that nothing is rounded."""
    f = v.f
    a, b = v.abs(x), v.abs(y)
    valid = v.both(v.compare("olt", a, math.inf), v.compare("ogt", b, 0.0))
    # Smaller dividends are remainders.
    divided = v.both(valid, v.compare("oge", a, b))
    a, b = v.select(divided, a, 0.0), v.select(divided, b, 1.0)
    fraction = v.format.fraction

    def chosen(condition: str, one: str, other: str) -> str:
        return f.value(f"select {v.bool} {condition}, {v.ity} {one}, {v.ity} {other}")

    # The divisor as a normal number: beside great dividends, and beside small ones, which are
    # lifted as well.
    short = v.compare("olt", b, v.format.smallest)
    plain = v.bits(v.mul(b, v.select(short, 2.0**54, 1.0)))
    lifted = chosen(short, v.literal(54), v.literal(0))
    high = v.bits(v.mul(b, 2.0**200))
    least = v.whole("sub", v.whole("lshr", plain, fraction), lifted)
    least_high = v.whole("lshr", high, fraction)

    def longer(rest: str) -> tuple[str, str, str, str, str]:
        """By how much more than a round does the dividend's exponent surpass the divisor's.

        With the lifted dividend, whether it is, and where that is above nothing, in any lane.
        """
        small = v.compare("olt", rest, 2.0**-800)
        rest = v.mul(rest, v.select(small, 2.0**200, 1.0))
        gap = v.whole(
            "sub", v.whole("lshr", v.bits(rest), fraction), chosen(small, least_high, least)
        )
        by = v.whole("sub", gap, 50)
        far = f.value(f"icmp sgt {v.ity} {by}, {v.literal(0)}")
        some = far
        if v.lanes > 1:
            some = f.call(f"llvm.vector.reduce.or.v{v.lanes}i1", "i1", (v.bool, far))
        return rest, small, by, far, some

    def reduced(rest: str, divisor: str) -> str:
        quotient = v.intrinsic("trunc", v.div(rest, divisor))
        left = v.fma(v.neg(quotient), divisor, rest)
        return v.select(v.compare("olt", left, 0.0), v.add(left, divisor), left)

    carried = [(v.ty, a), ("i1", longer(a)[-1])]
    with f.loop("0", "64", carried=carried, while_last=True) as loop:
        before = loop.carried[0]
        rest, small, by, far, _ = longer(before)
        power = v.whole("shl", chosen(small, by, v.whole("sub", by, lifted)), fraction)
        divisor = v.from_bits(v.whole("add", chosen(small, high, plain), power))
        rest = reduced(rest, v.select(far, divisor, 1.0))
        rest = v.mul(rest, v.select(small, 2.0**-200, 1.0))
        rest = v.select(far, rest, before)
        loop.carry(rest, longer(rest)[-1])
    rest = reduced(loop.result[0], b)
    found = v.select(divided, v.intrinsic("copysign", rest, x), x)
    return v.select(valid, found, math.nan)


def _fmod_single(f32: Arithmetic, x: str, y: str) -> str:
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


@rule("hypot", "f")
def _hypot(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    v = Arithmetic(e.f, e.lanes, el.register)
    sizes = [v.abs(x) for x in xs]
    if v.single:
        wide = v.doubles()
        a, b = (wide.widen(x) for x in sizes)
        found = wide.narrow(wide.intrinsic("sqrt", wide.fma(a, a, wide.mul(b, b))))
    else:
        found = _scaled_hypot(v, *sizes)
    # An infinite side beside NaN is infinite.
    infinite = v.either(*[v.compare("oeq", s, math.inf) for s in sizes])
    return v.select(infinite, math.inf, found)


def _scaled_hypot(v: Arithmetic, a: str, b: str) -> str:
    """Both divided by the greater's power of two, so that squares neither overflow nor vanish."""
    greater = v.select(v.compare("ogt", a, b), a, b)
    exponent = v.whole("lshr", v.bits(greater), v.format.fraction)
    for name, bound in (("umax", 1), ("umin", 2 * v.format.bias - 1)):
        given = ((v.ity, exponent), (v.ity, v.literal(bound)))
        exponent = v.f.call(f"llvm.{name}.{mangled(v.ity)}", v.ity, *given)
    opposite = v.whole("sub", 2 * v.format.bias, exponent)
    up, down = (v.from_bits(v.whole("shl", n, v.format.fraction)) for n in (opposite, exponent))
    a, b = v.mul(a, up), v.mul(b, up)
    return v.mul(v.intrinsic("sqrt", v.fma(a, a, v.mul(b, b))), down)


@lowering("hypot")
def _hypot_lowered(low: Lowering, e: Entry, x: Operand, y: Operand) -> Ref:
    return _pointwise(low, e, x, y)


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
