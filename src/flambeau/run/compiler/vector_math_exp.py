"""Exponentials and what is made of them, as vector IR.

The argument is split as n log 2 + r with |r| <= log(2) / 2 (Cody and Waite 1980, in two parts with
fused multiply-adds), e**r - 1 is a polynomial, 2**n is put together from bits. Polynomials are
minimax fits (Remez exchange at 60 digits, then rounded) of what the comments beside them say.
Every function: x in ``lanes`` lanes of ``element``, the result likewise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .vector_math_base import Lanes

if TYPE_CHECKING:
    from .emit import Function

__all__ = [
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "exponential",
    "sigmoid",
    "sinh",
    "tanh",
]

LN2 = 0.6931471805599453
LOG2E = 1.4426950408889634

# (e**r - 1 - r) / r**2
_EXP_SINGLE = (0.5, 0.16666518, 0.0416662, 0.008368954, 0.0013950901)
_EXP_DOUBLE = (
    0.5000000000000013,
    0.166666666666667,
    0.04166666666651435,
    0.008333333333306919,
    0.0013888888947325882,
    0.0001984126991798247,
    2.4801489554593798e-05,
    2.7557215770152796e-06,
    2.7631412802975813e-07,
    2.5118029327025385e-08,
)


def _expm1_polynomial(v: Lanes, r: str) -> str:
    p = v.polynomial(r, _EXP_SINGLE if v.single else _EXP_DOUBLE)
    return v.fma(v.mul(r, r), p, r)


def _split(v: Lanes, x: str, more: str = "") -> tuple[str, str]:
    """n in the last bits of integers, and e**r - 1, where x (and little more) = n log 2 + r."""
    n, bits = v.nearest(x, LOG2E)
    high, low = v.format.ln2
    r = v.fma(n, -high, x)
    if more:
        r = v.add(r, more)
    return bits, _expm1_polynomial(v, v.fma(n, -low, r))


def _scale(v: Lanes, p: str, bits: str) -> str:
    """p * 2**n, right (rounded once) where that is subnormal or overflows."""
    half = v.whole("lshr", bits, 1)
    rest = v.whole("sub", bits, half)
    return v.mul(v.mul(p, v.power(half)), v.power(rest))


def _bounded(v: Lanes, x: str, single: tuple[float, float], double: tuple[float, float]) -> str:
    low, high = single if v.single else double
    return v.at_most(v.at_least(x, low), high)


def exponential(v: Lanes, x: str) -> str:
    """e**x."""
    bits, p = _split(v, _bounded(v, x, (-104.0, 89.0), (-746.0, 710.0)))
    return _scale(v, v.add(p, 1.0), bits)


def exponential_of_sum(v: Lanes, x: str, low: str) -> str:
    """e**(x + low), ``low`` below the last bit of x: doubles."""
    bits, p = _split(v, _bounded(v, x, (-104.0, 89.0), (-746.0, 710.0)), low)
    return _scale(v, v.add(p, 1.0), bits)


def exponential_base_2(v: Lanes, x: str) -> str:
    """2**x: exact where x is an integer."""
    x = _bounded(v, x, (-151.0, 129.0), (-1076.0, 1025.0))
    n, bits = v.nearest(x, 1.0)
    p = _expm1_polynomial(v, v.mul(v.sub(x, n), LN2))
    return _scale(v, v.add(p, 1.0), bits)


def decay(v: Lanes, magnitude: str) -> str:
    """e**-magnitude for what is not negative."""
    bits, p = _split(v, v.at_least(v.neg(magnitude), -104.0 if v.single else -746.0))
    return _scale(v, v.add(p, 1.0), bits)


def _half_expm1(v: Lanes, x: str, fraction: float = 0.5) -> str:
    """(e**x - 1) * fraction (a power of two) for x within bounds; 2**n of normal size."""
    bits, p = _split(v, x)
    power = v.power(bits, {0.5: -1, 0.25: -2}[fraction])
    return v.fma(power, p, v.sub(power, fraction))


def exp(f: Function, lanes: int, element: str, x: str) -> str:
    """e**x."""
    return exponential(Lanes(f, lanes, element), x)


def exp2(f: Function, lanes: int, element: str, x: str) -> str:
    """2**x."""
    return exponential_base_2(Lanes(f, lanes, element), x)


def expm1(f: Function, lanes: int, element: str, x: str) -> str:
    """e**x - 1, small where x is."""
    v = Lanes(f, lanes, element)
    half = _half_expm1(v, _bounded(v, x, (-20.0, 89.0), (-40.0, 710.0)))
    small = v.compare("olt", v.abs(x), v.format.tiny)
    return v.select(small, x, v.add(half, half))


def sigmoid(f: Function, lanes: int, element: str, x: str) -> str:
    """1 / (1 + e**-x), as e**x / (1 + e**x) where x is negative: it underflows gradually."""
    v = Lanes(f, lanes, element)
    z = decay(v, v.abs(x))
    top = v.select(v.compare("olt", x, 0.0), z, 1.0)
    return v.div(top, v.add(z, 1.0))


def tanh(f: Function, lanes: int, element: str, x: str) -> str:
    """h / (h + 1) with h = (e**2|x| - 1) / 2, with the sign of x."""
    v = Lanes(f, lanes, element)
    a = v.abs(x)
    h = _half_expm1(v, v.at_most(v.add(a, a), 20.0 if v.single else 44.0))
    return v.intrinsic("copysign", v.div(h, v.add(h, 1.0)), x)


def sinh(f: Function, lanes: int, element: str, x: str) -> str:
    """(t + t / (t + 1)) / 2 with t = e**|x| - 1 (fdlibm), with the sign of x."""
    v = Lanes(f, lanes, element)
    a = v.abs(x)
    quarter = _half_expm1(v, v.at_most(a, 89.5 if v.single else 710.5), 0.25)
    more = v.div(quarter, v.fma(quarter, 4.0, 1.0))
    half = v.add(quarter, more)
    result = v.select(v.compare("olt", a, v.format.tiny), a, v.add(half, half))
    return v.intrinsic("copysign", result, x)


def cosh(f: Function, lanes: int, element: str, x: str) -> str:
    """h + 1 / (4 h) with h = e**|x| / 2."""
    v = Lanes(f, lanes, element)
    bits, p = _split(v, v.at_most(v.abs(x), 89.5 if v.single else 710.5))
    quarter = v.mul(v.add(p, 1.0), v.power(bits, -2))
    half = v.add(quarter, quarter)
    return v.add(half, v.div(0.125, quarter))


# -log(erfc(x)) / x on [0, 3.95]
_ERF_SINGLE = (
    1.1283792,
    0.6366194,
    0.10277783,
    -0.019153057,
    -0.00016041106,
    0.0016670416,
    -0.0006328437,
    0.00011764285,
    -9.256399e-06,
)
# erf(x) / x - 1 in x**2 on [0, 1]
_ERF_DOUBLE = (
    0.12837916709551256,
    -0.3761263890318355,
    0.11283791670945253,
    -0.02686617064327622,
    0.005223977607423468,
    -0.0008548325989696758,
    0.00012055295320494294,
    -1.4924744663335489e-05,
    1.6447517677871873e-06,
    -1.6209175911748696e-07,
    1.3722976265924504e-08,
    -7.801188874097751e-10,
)
# e**(x * x) erfc(x) (1 + 2 x) in (x - 3) / (x + 3), (x - 4) / (x + 4) for x >= 0
_ERFC_SINGLE = (
    1.2530080592108952,
    -0.1356211401639122,
    -0.04756241339549909,
    0.12964642898640225,
    -0.1192706933043247,
    0.06829588916554785,
    -0.023799186092669074,
    0.0025654670617259235,
    0.0020042422361936387,
    -0.0007726833821167617,
    -0.00026604458175355874,
)
_ERFC_DOUBLE = (
    1.2329951186255526,
    -0.13962111684056283,
    0.015379652102620276,
    0.06809705425473218,
    -0.10103906603633009,
    0.09373283499695521,
    -0.06633036581191183,
    0.03716751556015959,
    -0.016197734056029797,
    0.005031969774448103,
    -0.000757773353362967,
    -0.0001992555951586048,
    0.00015062225888058626,
    -2.4402916937647197e-05,
    -1.1224744362520179e-05,
    5.717451335401864e-06,
    3.011559636067521e-07,
    -8.347437215822403e-07,
    6.298914952661634e-08,
    1.151719244681823e-07,
    -7.880534767651292e-09,
    -1.3662374261190661e-08,
    -1.7988344910845767e-09,
)


def _erfc_of_magnitude(v: Lanes, a: str) -> str:
    """e**(-a * a) times a polynomial in (a - 4) / (a + 4), over 1 + 2 a (Juffa; Shepherd 1981)."""
    a = v.at_most(a, 27.5)
    inverse = v.div(1.0, v.add(a, 4.0))
    t = v.mul(v.sub(a, 4.0), inverse)
    # one step towards the exact quotient: the polynomial is steep where t is near -1
    residue = v.fma(v.neg(t), a, v.fma(v.add(t, 1.0), -4.0, a))
    t = v.fma(residue, inverse, t)
    q = v.div(v.polynomial(t, _ERFC_DOUBLE), v.fma(a, 2.0, 1.0))
    square = v.mul(a, a)
    missing = v.fma(a, a, v.neg(square))
    bits, p = _split(v, v.neg(square))
    p = v.add(p, 1.0)
    p = v.fma(p, v.neg(missing), p)
    return _scale(v, v.mul(p, q), bits)


def _erfc_of_single(v: Lanes, a: str) -> str:
    """The same in double precision, for a single-precision result."""
    d = v.doubles()
    a = d.at_most(d.widen(a), 10.25)
    t = d.div(d.sub(a, 3.0), d.add(a, 3.0))
    q = d.div(d.polynomial(t, _ERFC_SINGLE), d.fma(a, 2.0, 1.0))
    square = d.neg(d.mul(a, a))
    n, bits = d.nearest(square, LOG2E)
    r = d.fma(n, -LN2, square)
    p = d.fma(d.mul(r, r), d.polynomial(r, _EXP_SINGLE), d.add(r, 1.0))
    return d.narrow(d.mul(d.mul(p, q), d.power(bits)))


def erfc(f: Function, lanes: int, element: str, x: str) -> str:
    """1 - erf(x), by its ratio to e**(-x * x)."""
    v = Lanes(f, lanes, element)
    of_magnitude = _erfc_of_single if v.single else _erfc_of_magnitude
    tail = of_magnitude(v, v.abs(x))
    return v.select(v.compare("olt", x, 0.0), v.sub(2.0, tail), tail)


def erf(f: Function, lanes: int, element: str, x: str) -> str:
    """2 / sqrt(pi) times the integral of e**(-t * t) from 0 to x.

    Single precision: 1 - e**-g(x), g a polynomial; double: a polynomial below 1, 1 - erfc above.
    """
    v = Lanes(f, lanes, element)
    a = v.abs(x)
    if v.single:
        a = v.at_most(a, 3.95)
        g = v.mul(a, v.polynomial(a, _ERF_SINGLE))
        half = _half_expm1(v, v.neg(g))
        result = v.mul(half, -2.0)
        result = v.select(v.compare("olt", a, v.format.tiny), g, result)
    else:
        small = v.fma(a, v.polynomial(v.mul(a, a), _ERF_DOUBLE), a)
        result = v.sub(1.0, _erfc_of_magnitude(v, a))
        result = v.select(v.compare("olt", a, 1.0), small, result)
    return v.intrinsic("copysign", result, x)
