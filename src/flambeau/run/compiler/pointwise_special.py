"""Special functions of float32 numbers as vector instructions, worked out in float64.

The formulas are those of ``ir.reference``, whose constants are used: one rounding at the end, so
that both agree to the last bit or so. What only some arguments need (reflections, far tails) is
branched around where no lane needs it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau.ir.reference import erf as normal
from flambeau.ir.reference import gamma
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.pointwise import Lanes, rule
from flambeau.run.compiler.vector_math import FUNCTIONS
from flambeau.run.compiler.vector_math_base import Lanes as Arithmetic
from flambeau.run.compiler.vector_math_exp import _ERFC_SINGLE
from flambeau.run.compiler.vector_math_log import split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

ROOT_PI = math.sqrt(math.pi)
# Steps of the recurrences of the gamma function, to where the asymptotic series serve.
SHIFT = 8
# From this order on, polygamma is worked out by powers that are no whole number's.
LARGEST_ORDER = 16


class Wide(Arithmetic):
    """Double precision, with elementary functions."""

    def __init__(self, e: Lanes) -> None:
        super().__init__(e.f, e.lanes, "double")

    def apply(self, name: str, *xs: str) -> str:
        return FUNCTIONS[name](self.f, self.lanes, "double", *xs)

    def horner(self, x: str, highest_first: Sequence[float]) -> str:
        return self.polynomial(x, tuple(highest_first)[::-1])

    def any(self, conditions: str) -> str:
        """Whether it holds in any lane."""
        if self.lanes == 1:
            return conditions
        name = f"llvm.vector.reduce.or.v{self.lanes}i1"
        return self.f.call(name, "i1", (self.bool, conditions))

    def where_needed(self, needed: str, value: str, compute: Callable[[], str]) -> str:
        """``value``, but ``compute`` of lanes that need it; not computed where none does."""
        f = self.f
        times = f.value(f"zext i1 {self.any(needed)} to i64")
        with f.loop("0", times, carried=[(self.ty, value)]) as loop:
            loop.carry(self.select(needed, compute(), loop.carried[0]))
        return loop.result[0]


Body = "Callable[[Wide, str], str]"


def _of_float32(name: str) -> Callable:
    """Registers a function of doubles as the rule of a primitive on float32."""

    def add(body: Callable[[Wide, str], str]) -> Callable:
        def emit(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
            v = Wide(e)
            single = Arithmetic(e.f, e.lanes, "float")
            return single.doubles().narrow(body(v, v.widen(xs[0])))

        rule(name, "f")(emit)
        lowering(name)(_lowered)
        return body

    return add


def _lowered(low: Lowering, e: Entry, x: Operand) -> Ref:
    out = e.out_avals[0]
    el = element(out.dtype)
    name = e.prim.name
    if el.register != "float" or e.in_avals[0].dtype is not out.dtype:
        raise Refused("of this dtype")
    attrs = None
    if name == "polygamma":
        order = e.attrs["n"]
        if not 0 <= order < LARGEST_ORDER:
            raise Refused("of this order")
        name = ("digamma", "trigamma", "polygamma")[min(order, 2)]
        attrs = {"n": order} if order > 1 else None
    return low.map(name, [x], out.shape, el, attrs=attrs)


# ------------------------------------------------------------------ logarithms, as they are


@rule("entr", "f")
def _entr(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    v = Arithmetic(e.f, e.lanes, el.register)
    (x,) = xs
    found = v.mul(v.neg(x), FUNCTIONS["log"](e.f, e.lanes, el.register, x))
    found = v.select(v.compare("oeq", x, 0.0), 0.0, found)
    return v.select(v.compare("olt", x, 0.0), -math.inf, found)


@rule("logit", "f")
def _logit(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    v = Arithmetic(e.f, e.lanes, el.register)
    (x,) = xs
    if attrs["eps"] is not None:
        x = v.at_most(v.at_least(x, attrs["eps"]), 1 - attrs["eps"])
    return FUNCTIONS["log"](e.f, e.lanes, el.register, v.div(x, v.sub(1.0, x)))


@lowering("logit")
def _logit_lowered(low: Lowering, e: Entry, x: Operand) -> Ref:
    el = element(e.out_avals[0].dtype)
    if el.kind != "f" or e.in_avals[0].dtype is not e.out_avals[0].dtype:
        raise Refused("of this dtype")
    return low.map("logit", [x], e.out_avals[0].shape, el, attrs={"eps": e.attrs["eps"]})


# ------------------------------------------------------------- error function and normal


def _scaled_complement(v: Wide, a: str) -> str:
    """exp(a a) erfc(a) for a >= 0."""
    near = v.at_most(a, 10.25)
    t = v.div(v.sub(near, 3.0), v.add(near, 3.0))
    found = v.div(v.polynomial(t, _ERFC_SINGLE), v.fma(near, 2.0, 1.0))

    def far() -> str:
        inverse = v.div(1.0, a)
        square = v.mul(inverse, inverse)
        series = v.polynomial(square, (1.0, -0.5, 0.75, -1.875, 6.5625))
        return v.mul(v.mul(inverse, 1 / ROOT_PI), series)

    return v.where_needed(v.compare("ogt", a, 10.0), found, far)


def _erfc(v: Wide, x: str) -> str:
    a = v.at_most(v.abs(x), 27.0)
    tail = v.mul(_scaled_complement(v, a), v.apply("exp", v.neg(v.mul(a, a))))
    return v.select(v.compare("olt", x, 0.0), v.sub(2.0, tail), tail)


@_of_float32("erfcx")
def _erfcx(v: Wide, x: str) -> str:
    positive = _scaled_complement(v, v.abs(x))
    below = v.compare("olt", x, 0.0)
    return v.where_needed(
        below, positive, lambda: v.sub(v.mul(v.apply("exp", v.mul(x, x)), 2.0), positive)
    )


@_of_float32("ndtr")
def _ndtr(v: Wide, x: str) -> str:
    return v.mul(_erfc(v, v.mul(x, -math.sqrt(0.5))), 0.5)


@_of_float32("log_ndtr")
def _log_ndtr(v: Wide, x: str) -> str:
    z = v.mul(x, math.sqrt(0.5))
    a = v.abs(z)
    scaled = _scaled_complement(v, a)
    bounded = v.at_most(a, 27.0)
    tail = v.mul(v.mul(scaled, v.apply("exp", v.neg(v.mul(bounded, bounded)))), 0.5)
    right = v.apply("log1p", v.neg(v.select(v.compare("olt", z, 0.0), v.sub(1.0, tail), tail)))

    def left() -> str:
        return v.sub(v.apply("log", v.mul(scaled, 0.5)), v.mul(z, z))

    return v.where_needed(v.compare("olt", x, -1.0), right, left)


def _quantile(v: Wide, q: str, tail: str) -> str:
    """The normal quantile at 0.5 + q, ``tail`` the smaller of p and 1 - p (Wichura, AS 241)."""
    square = v.sub(0.180625, v.mul(q, q))
    centre = v.div(v.horner(square, normal._CENTRE[0]), v.horner(square, normal._CENTRE[1]))

    def outer() -> str:
        r = v.intrinsic("sqrt", v.neg(v.apply("log", tail)))
        near = v.sub(r, 1.6)
        value = v.div(v.horner(near, normal._TAIL[0]), v.horner(near, normal._TAIL[1]))

        def far() -> str:
            beyond = v.sub(v.at_most(r, 1e3), 5.0)
            return v.div(v.horner(beyond, normal._END[0]), v.horner(beyond, normal._END[1]))

        value = v.where_needed(v.compare("ogt", r, 5.0), value, far)
        value = v.select(v.compare("oeq", r, math.inf), math.inf, value)
        return v.intrinsic("copysign", value, q)

    return v.where_needed(v.compare("ogt", v.abs(q), 0.425), v.mul(q, centre), outer)


# log(m) / (m - 1) on [sqrt(1/2), sqrt(2)], mapped to [-1, 1]: to 5e-9.
_LOG = (
    0.9708432457760382,
    -0.16339529503884348,
    0.036488406839754066,
    -0.009149081192559467,
    0.002446106702970997,
    -0.0006804790553941499,
    0.0001903588999128017,
    -5.550693521183753e-05,
    2.1334712662841825e-05,
    -6.431621470732469e-06,
)
# erfinv(x) / x in w = -log(1 - x * x) [Giles 2010]: on [0, 5] in w, to 7e-9; above in its
# root.
_INVERSE = (
    1.501409360450329,
    0.6166006976365915,
    -0.02610870547001968,
    -0.019573849871456703,
    0.008529272899990876,
    -0.00048558786029831555,
    -0.0008456995282308036,
    0.00028572469974080887,
    3.560786010087296e-05,
    -3.407259357545556e-05,
)
_INVERSE_TAIL = (
    3.02551498791258,
    0.9624864596202026,
    0.005579587249416116,
    -0.003861575209013947,
    0.002555121390007552,
    -0.0016514631641381954,
    0.000849565674411434,
    -0.0002646968689611562,
    -1.3031851458592571e-05,
    6.755487080797583e-05,
    -3.663625510026267e-05,
    4.456508657555661e-06,
    5.12177079943689e-06,
    -2.0984540210311885e-06,
)
_TAIL_MIDDLE, _TAIL_HALF = 3.191915954761145, 0.9580840452388553


@_of_float32("erfinv")
def _erfinv(v: Wide, x: str) -> str:
    size = v.abs(x)
    e, _, f = split(v, v.fma(v.neg(x), x, 1.0))
    half = (math.sqrt(2) - math.sqrt(0.5)) / 2
    middle = (math.sqrt(2) + math.sqrt(0.5)) / 2
    log = v.mul(f, v.polynomial(v.fma(f, 1 / half, (1 - middle) / half), _LOG))
    w = v.neg(v.fma(e, math.log(2), log))
    found = v.polynomial(v.fma(v.at_most(w, 5.0), 0.4, -1.0), _INVERSE)

    def tail() -> str:
        t = v.mul(v.sub(v.intrinsic("sqrt", w), _TAIL_MIDDLE), 1 / _TAIL_HALF)
        return v.polynomial(t, _INVERSE_TAIL)

    found = v.mul(v.where_needed(v.compare("ogt", w, 5.0), found, tail), x)
    found = v.select(v.compare("olt", size, 1.0), found, math.nan)
    return v.select(
        v.compare("oeq", size, 1.0), v.intrinsic("copysign", v.number(math.inf), x), found
    )


@_of_float32("ndtri")
def _ndtri(v: Wide, p: str) -> str:
    other = v.sub(1.0, p)
    tail = v.select(v.compare("olt", p, other), p, other)
    found = _quantile(v, v.sub(p, 0.5), tail)
    inside = v.both(v.compare("oge", p, 0.0), v.compare("ole", p, 1.0))
    return v.select(inside, found, math.nan)


# ----------------------------------------------------------------------------------- gamma


def _sin_pi(v: Wide, x: str) -> str:
    """|sin(pi x)|, zero at integers."""
    return v.abs(v.apply("sin", v.mul(v.sub(x, v.intrinsic("rint", x)), math.pi)))


def _lgamma_positive(v: Wide, x: str) -> str:
    """Stirling's series (DLMF 5.11.1), after Gamma(x) = Gamma(x + 8) / (x ... (x + 7))."""
    small = v.compare("olt", x, float(SHIFT))
    product = v.select(small, x, 1.0)
    for i in range(1, SHIFT):
        product = v.mul(product, v.select(small, v.add(x, float(i)), 1.0))
    z = v.select(small, v.add(x, float(SHIFT)), x)
    inverse = v.div(1.0, z)
    series = v.mul(v.horner(v.mul(inverse, inverse), gamma._STIRLING[2:]), inverse)
    found = v.mul(v.sub(z, 0.5), v.apply("log", z))
    found = v.add(v.add(v.sub(found, z), 0.5 * math.log(2 * math.pi)), series)
    shifted = v.where_needed(small, found, lambda: v.sub(found, v.apply("log", product)))
    zero = v.either(v.compare("oeq", x, 1.0), v.compare("oeq", x, 2.0))
    shifted = v.select(zero, 0.0, shifted)
    return v.select(v.compare("oeq", x, math.inf), math.inf, shifted)


@_of_float32("lgamma")
def _lgamma(v: Wide, x: str) -> str:
    below = v.compare("olt", x, 0.0)
    found = _lgamma_positive(v, v.select(below, v.sub(1.0, x), x))

    def mirrored() -> str:
        sine = _sin_pi(v, x)
        value = v.sub(math.log(math.pi), v.add(v.apply("log", sine), found))
        pole = v.either(v.compare("oeq", sine, 0.0), v.compare("oeq", x, -math.inf))
        return v.select(pole, math.inf, value)

    return v.where_needed(below, found, mirrored)


@_of_float32("digamma")
def _digamma(v: Wide, x: str) -> str:
    """DLMF 5.11.2, after the recurrence 5.5.2; reflection 5.5.4."""
    below = v.compare("olt", x, 0.0)
    y = v.select(below, v.sub(1.0, x), x)
    small = v.compare("olt", y, float(SHIFT))
    z = v.select(small, v.add(y, float(SHIFT)), y)
    inverse = v.div(1.0, z)
    square = v.mul(inverse, inverse)
    found = v.sub(v.apply("log", z), v.mul(inverse, 0.5))
    found = v.sub(found, v.mul(square, v.horner(square, gamma._DIGAMMA[2:])))

    def shifted() -> str:
        # The sum of 1 / (y + i) as one quotient: the product's derivative by the product.
        product, slope = y, v.number(1.0)
        for i in range(1, SHIFT):
            t = v.add(y, float(i))
            slope = v.fma(slope, t, product)
            product = v.mul(product, t)
        return v.sub(found, v.div(slope, product))

    found = v.where_needed(small, found, shifted)

    def mirrored() -> str:
        fraction = v.sub(x, v.intrinsic("rint", x))
        value = v.sub(found, v.div(math.pi, v.apply("tan", v.mul(fraction, math.pi))))
        pole = v.either(v.compare("oeq", fraction, 0.0), v.compare("oeq", x, -math.inf))
        return v.select(pole, math.nan, value)

    found = v.where_needed(below, found, mirrored)
    pole = v.intrinsic("copysign", v.number(math.inf), v.neg(x))
    found = v.select(v.compare("oeq", x, 0.0), pole, found)
    return v.select(v.compare("oeq", x, math.inf), math.inf, found)


@_of_float32("trigamma")
def _trigamma(v: Wide, x: str) -> str:
    """The derivative of digamma: its asymptotic series (DLMF 5.15.8), shifted, reflected."""
    below = v.compare("olt", x, 0.0)
    y = v.select(below, v.sub(1.0, x), x)
    small = v.compare("olt", y, float(SHIFT))
    z = v.select(small, v.add(y, float(SHIFT)), y)
    inverse = v.div(1.0, z)
    square = v.mul(inverse, inverse)
    series = v.horner(square, gamma._BERNOULLI[:7][::-1])
    found = v.fma(v.mul(square, inverse), series, v.fma(square, 0.5, inverse))

    def shifted() -> str:
        # Minus the second derivative of the logarithm of the product of y + i.
        product, slope, bend = y, v.number(1.0), v.number(0.0)
        for i in range(1, SHIFT):
            t = v.add(y, float(i))
            bend = v.fma(bend, t, v.mul(slope, 2.0))
            slope = v.fma(slope, t, product)
            product = v.mul(product, t)
        a = v.div(slope, product)
        return v.add(found, v.fma(a, a, v.neg(v.div(bend, product))))

    found = v.where_needed(small, found, shifted)
    found = v.select(v.compare("oeq", x, 0.0), math.inf, found)

    def mirrored() -> str:
        ratio = v.div(math.pi, _sin_pi(v, x))
        return v.sub(v.mul(ratio, ratio), found)

    return v.where_needed(below, found, mirrored)


def _power(v: Wide, x: str, n: int) -> str:
    found = x
    for bit in bin(n)[3:]:
        found = v.mul(found, found)
        if bit == "1":
            found = v.mul(found, x)
    return found


def _zeta(v: Wide, s: int, q: str) -> str:
    """Hurwitz's zeta for q > 0 by Euler and Maclaurin's sum (DLMF 25.11.5)."""
    small = v.compare("olt", q, float(SHIFT))
    inverse = v.div(1.0, v.select(small, v.add(q, float(SHIFT)), q))
    coefficients, rising = [1 / (s - 1)], float(s)
    for k, b in enumerate(gamma._BERNOULLI, 1):
        coefficients.append(b / math.factorial(2 * k) * rising)
        rising *= (s + 2 * k - 1) * (s + 2 * k)
    series = v.polynomial(v.mul(inverse, inverse), coefficients)
    found = v.mul(_power(v, inverse, s - 1), v.fma(inverse, 0.5, series))

    def shifted() -> str:
        total = found
        for i in range(SHIFT):
            total = v.add(total, _power(v, v.div(1.0, v.add(q, float(i))), s))
        return total

    return v.where_needed(small, found, shifted)


@rule("polygamma", "f")
def _polygamma(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    """The n-th derivative of digamma, n > 1, by Hurwitz's zeta (DLMF 25.11.12)."""
    v, n = Wide(e), attrs["n"]
    x = v.widen(xs[0])
    below = v.compare("olt", x, 0.0)
    floor = v.intrinsic("floor", x)
    # The sum over all integers depends on the fraction alone: those below are taken away.
    fraction = v.sub(x, floor)
    found = _zeta(v, n + 1, v.select(below, fraction, x))
    sign = 1.0 if n % 2 else -1.0

    def mirrored() -> str:
        rest = v.sub(_zeta(v, n + 1, v.sub(1.0, fraction)), _zeta(v, n + 1, v.sub(1.0, x)))
        return v.fma(rest, sign, found)

    found = v.where_needed(below, found, mirrored)
    pole = v.both(v.compare("ole", x, 0.0), v.compare("oeq", x, floor))
    found = v.mul(v.select(pole, math.inf, found), sign * math.factorial(n))
    found = v.select(v.compare("oeq", x, math.inf), 0.0, found)
    return v.narrow(found)


lowering("polygamma")(_lowered)
