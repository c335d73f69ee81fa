"""x ** y as vector IR.

2 ** (y log2 |x|) with the logarithm of more precision than the result: singles compute in double
precision; doubles in pairs of doubles (Dekker 1971, with fused multiply-adds), as fdlibm and SLEEF
do. Then what IEEE 754 says of negative bases, zeros, infinities and NaN.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .vector_math_base import Lanes
from .vector_math_exp import exponential_of_sum
from .vector_math_log import normalized, split

if TYPE_CHECKING:
    from .emit import Function

__all__ = ["pow"]

# 2 atanh(s) / s / log(2) in s**2, to 4e-12
_LOG2 = (
    2.8853900817901406,
    0.9617966732843503,
    0.5770835944521374,
    0.41167221829441747,
    0.3407383551050965,
)
# 2**r, to 4e-11
_EXP2 = (
    0.9999999999595348,
    0.6931471805350286,
    0.24022651213692373,
    0.05550410976105039,
    0.00961802559259364,
    0.0013333422647083518,
    0.000154697347408328,
    1.5316461574910607e-05,
)
# ((2 atanh(s) / s - 2) / s**2 - 2 / 3) / s**2 in s**2
_LOG_REST = (
    0.40000000000002256,
    0.2857142857010033,
    0.2222222251977572,
    0.18181784380642438,
    0.15386756689224018,
    0.1325683300395378,
    0.13196184999409957,
)
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def _at_ends(v: Lanes, logarithm: str, a: str) -> str:
    """A logarithm of a >= 0, also where that is zero or infinite."""
    result = v.select(v.compare("oeq", a, 0.0), -math.inf, logarithm)
    return v.select(v.compare("oeq", a, math.inf), math.inf, result)


def _product(v: Lanes, y: str, logarithm: str) -> str:
    """y times a logarithm; zero times infinity is zero here."""
    t = v.mul(y, logarithm)
    return v.select(v.compare("uno", t, t), 0.0, t)


def _of_single(v: Lanes, a: str, y: str) -> str:
    d = v.doubles()
    a, y = d.widen(a), d.widen(y)
    e, _, m = split(d, a)
    s = d.div(m, d.add(m, 2.0))
    logarithm = d.fma(s, d.polynomial(d.mul(s, s), _LOG2), e)
    t = _product(d, y, _at_ends(d, logarithm, a))
    t = d.at_most(d.at_least(t, -160.0), 160.0)
    n, bits = d.nearest(t, 1.0)
    return d.narrow(d.mul(d.polynomial(d.sub(t, n), _EXP2), d.power(bits)))


def _times(v: Lanes, a: tuple[str, str], b: tuple[str, str]) -> tuple[str, str]:
    """The product of two pairs as a pair."""
    high = v.mul(a[0], b[0])
    low = v.fma(a[0], b[0], v.neg(high))
    return high, v.fma(a[0], b[1], v.fma(a[1], b[0], low))


def _of_double(v: Lanes, a: str, y: str) -> str:
    scaled, less = normalized(v, a)
    e, _, m = split(v, scaled)
    e = v.add(e, less)
    # s = m / (2 + m)
    d = v.add(m, 2.0)
    d_low = v.sub(m, v.sub(d, 2.0))
    high = v.div(m, d)
    residue = v.fma(v.neg(high), d_low, v.fma(v.neg(high), d, m))
    s = high, v.div(residue, d)
    # log(1 + m) = 2 s + s**3 (2 / 3 + s**2 (...))
    z = _times(v, s, s)
    rest = v.mul(z[0], v.polynomial(z[0], _LOG_REST))
    high = v.add(rest, _TWO_THIRDS[0])
    w = high, v.add(v.sub(rest, v.sub(high, _TWO_THIRDS[0])), _TWO_THIRDS[1])
    cubic = _times(v, s, _times(v, z, w))
    double = v.add(s[0], s[0])
    high = v.add(double, cubic[0])
    low = v.add(v.sub(cubic[0], v.sub(high, double)), v.fma(s[1], 2.0, cubic[1]))
    # + e log 2, which is greater unless it is zero
    ln2, ln2_low = v.format.ln2
    whole = v.mul(e, ln2)
    whole_low = v.fma(e, ln2_low, v.fma(e, ln2, v.neg(whole)))
    total = v.add(whole, high)
    low = v.add(v.add(v.sub(high, v.sub(total, whole)), whole_low), low)
    total = _at_ends(v, total, a)
    t = _product(v, y, total)
    t_low = v.fma(y, low, v.fma(y, total, v.neg(t)))
    # no more than that where e**t is neither zero nor infinite
    within = v.compare("olt", v.abs(t_low), 1e-6)
    return exponential_of_sum(v, t, v.select(within, t_low, 0.0))


def pow(f: Function, lanes: int, element: str, x: str, y: str) -> str:
    """x ** y, as C's pow: 1 for y = 0 and for x = 1, NaN for negative x and fractional y."""
    v = Lanes(f, lanes, element)
    a = v.abs(x)
    result = _of_single(v, a, y) if v.single else _of_double(v, a, y)
    half = v.mul(y, 0.5)
    fractional = v.compare("une", v.intrinsic("trunc", y), y)
    odd = v.compare("one", v.intrinsic("trunc", half), half)
    odd = v.f.value(f"select {v.bool} {fractional}, {v.bool} {v.truth(False)}, {v.bool} {odd}")
    result = v.select(odd, v.intrinsic("copysign", result, x), result)
    below = v.both(v.compare("olt", x, 0.0), v.compare("ogt", x, -math.inf))
    undefined = v.compare("uno", x, y)
    known = v.either(v.compare("oeq", y, 0.0), v.compare("oeq", x, 1.0))
    result = v.select(v.either(undefined, v.both(below, fractional)), math.nan, result)
    return v.select(known, 1.0, result)
