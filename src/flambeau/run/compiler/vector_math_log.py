"""Logarithms and what is made of them, as vector IR.

The argument is split as m 2**e with m in [sqrt(1/2), sqrt(2)) by integer arithmetic on its bits;
log(m) = f + tail(f) with f = m - 1 exact. Minimax fits (Remez exchange at 60 digits, then rounded);
for double precision in s = f / (2 + f), as fdlibm's e_log.c has it.
Every function: x (and y) in ``lanes`` lanes of ``element``, the result likewise.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from .vector_math_base import Lanes, Operand
from .vector_math_exp import decay

if TYPE_CHECKING:
    from .emit import Function

__all__ = [
    "acosh",
    "asinh",
    "atanh",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "softplus",
    "split",
    "xlog1py",
    "xlogy",
]

LN2 = math.log(2)
LOG2E = 1 / LN2
LOG10E = 1 / math.log(10)

# (log(1 + f) - f + f * f / 2) / f**3
_LOG_SINGLE = (
    0.3333333,
    -0.2500082,
    0.20001233,
    -0.16623364,
    0.14201616,
    -0.13159983,
    0.12762453,
    -0.076360494,
)
# (2 atanh(s) / s - 2) / s**2 in s**2
_LOG_DOUBLE = (
    0.6666666666666734,
    0.39999999999415103,
    0.28571428742305244,
    0.22222198580826275,
    0.18183563968016286,
    0.15314058715130152,
    0.14795877985850744,
)


def _bits(x: float, single: bool) -> int:
    if single:
        return int(struct.unpack("i", struct.pack("f", x))[0])
    return int(struct.unpack("q", struct.pack("d", x))[0])


def split(v: Lanes, x: str) -> tuple[str, str, str]:
    """e as a number, e as the exponent's bits, m - 1, for positive normal x = m 2**e."""
    bits = v.bits(x)
    shifted = v.whole("sub", bits, _bits(math.sqrt(0.5), v.single))
    e = v.whole("ashr", shifted, v.format.fraction)
    exponent = v.whole("shl", e, v.format.fraction)
    m = v.from_bits(v.whole("sub", bits, exponent))
    return v.f.value(f"sitofp {v.ity} {e} to {v.ty}"), exponent, v.sub(m, 1.0)


def _tail(v: Lanes, f: str) -> str:
    """log(1 + f) - f."""
    square = v.mul(f, f)
    if v.single:
        p = v.mul(v.mul(v.polynomial(f, _LOG_SINGLE), f), square)
        return v.fma(square, -0.5, p)
    s = v.div(f, v.add(f, 2.0))
    z = v.mul(s, s)
    half = v.mul(square, 0.5)
    p = v.fma(v.polynomial(z, _LOG_DOUBLE), z, half)
    return v.fma(s, p, v.neg(half))


def _with_exponent(v: Lanes, e: str, f: str, tail: str) -> str:
    high, low = v.format.ln2
    return v.fma(e, high, v.add(f, v.fma(e, low, tail)))


def normalized(v: Lanes, x: str) -> tuple[str, str]:
    """x made normal by a power of two where it is not; minus that power's exponent."""
    shift = v.format.fraction + 1
    small = v.compare("olt", x, v.format.smallest)
    return v.select(small, v.mul(x, 2.0**shift), x), v.select(small, float(-shift), 0.0)


def _parts(v: Lanes, x: str) -> tuple[str, str, str]:
    """e, f, log(1 + f) - f, for positive x = (1 + f) 2**e."""
    scaled, less = normalized(v, x)
    e, _, f = split(v, scaled)
    return v.add(e, less), f, _tail(v, f)


def _special(v: Lanes, result: str, x: str, zero: Operand = 0.0) -> str:
    """A logarithm's values where x is at most ``zero`` (its pole), infinite or NaN."""
    result = v.select(v.compare("olt", x, math.inf), result, x)
    beyond = v.select(v.compare("oeq", x, zero), -math.inf, math.nan)
    return v.select(v.compare("ole", x, zero), beyond, result)


def logarithm(v: Lanes, x: str) -> str:
    """log(x), all special cases included."""
    return _special(v, _with_exponent(v, *_parts(v, x)), x)


def log(f: Function, lanes: int, element: str, x: str) -> str:
    """The natural logarithm."""
    return logarithm(Lanes(f, lanes, element), x)


def log2(f: Function, lanes: int, element: str, x: str) -> str:
    """The logarithm to base 2: exact for powers of two."""
    v = Lanes(f, lanes, element)
    e, m, tail = _parts(v, x)
    return _special(v, v.fma(v.add(m, tail), LOG2E, e), x)


def log10(f: Function, lanes: int, element: str, x: str) -> str:
    """The logarithm to base 10."""
    v = Lanes(f, lanes, element)
    e, m, tail = _parts(v, x)
    high, low = v.format.log10_2
    rest = v.fma(e, low, v.mul(v.add(m, tail), LOG10E))
    return _special(v, v.fma(e, high, rest), x)


def _log1p(v: Lanes, x: str) -> str:
    """log(1 + x) for finite x > -1 whose square is not lost beside it.

    What rounding took from u = 1 + x goes back to u's mantissa.
    """
    u = v.add(x, 1.0)
    lost = v.sub(x, v.sub(u, 1.0))
    e, exponent, f = split(v, u)
    # a quarter of what was lost, 4 / 2**e: 2**-128 would be subnormal
    inverse = v.whole("sub", v.format.bias + 2 << v.format.fraction, exponent)
    f = v.fma(v.mul(lost, 0.25), v.from_bits(inverse), f)
    return _with_exponent(v, e, f, _tail(v, f))


def _log1p_all(v: Lanes, x: str) -> str:
    result = _special(v, _log1p(v, x), x, -1.0)
    return v.select(v.compare("olt", v.abs(x), v.format.tiny), x, result)


def log1p(f: Function, lanes: int, element: str, x: str) -> str:
    """log(1 + x), small where x is."""
    return _log1p_all(Lanes(f, lanes, element), x)


def _add_log(v: Lanes, x: str, y: str, base: float) -> str:
    equal = v.compare("oeq", x, y)
    distance = v.select(equal, 0.0, v.abs(v.sub(x, y)))
    if base == 2.0:
        scaled = v.mul(distance, LN2)
        added = v.mul(_log1p(v, decay(v, scaled)), LOG2E)
    else:
        added = _log1p(v, decay(v, distance))
    return v.add(v.select(v.compare("ogt", x, y), x, y), added)


def logaddexp(f: Function, lanes: int, element: str, x: str, y: str) -> str:
    """log(e**x + e**y) = max(x, y) + log(1 + e**-|x - y|)."""
    return _add_log(Lanes(f, lanes, element), x, y, math.e)


def logaddexp2(f: Function, lanes: int, element: str, x: str, y: str) -> str:
    """log2(2**x + 2**y)."""
    return _add_log(Lanes(f, lanes, element), x, y, 2.0)


def softplus(f: Function, lanes: int, element: str, x: str) -> str:
    """log(1 + e**x) = max(x, 0) + log(1 + e**-|x|), with no threshold."""
    v = Lanes(f, lanes, element)
    z = decay(v, v.abs(x))
    small = v.compare("olt", z, v.format.tiny)
    return v.add(v.at_least(x, 0.0), v.select(small, z, _log1p(v, z)))


def xlogy(f: Function, lanes: int, element: str, x: str, y: str) -> str:
    """x log(y); 0 where x is 0 and y is a number."""
    v = Lanes(f, lanes, element)
    zero = v.both(v.compare("oeq", x, 0.0), v.compare("ord", y, y))
    return v.select(zero, 0.0, v.mul(x, logarithm(v, y)))


def xlog1py(f: Function, lanes: int, element: str, x: str, y: str) -> str:
    """x log(1 + y); 0 where x is 0 and y is a number."""
    v = Lanes(f, lanes, element)
    zero = v.both(v.compare("oeq", x, 0.0), v.compare("ord", y, y))
    return v.select(zero, 0.0, v.mul(x, _log1p_all(v, y)))


def asinh(f: Function, lanes: int, element: str, x: str) -> str:
    """log1p(a + a**2 / (1 + sqrt(1 + a**2))), a = |x|, with the sign of x; log(2 a) far out."""
    v = Lanes(f, lanes, element)
    a = v.abs(x)
    square = v.mul(a, a)
    root = v.intrinsic("sqrt", v.add(square, 1.0))
    far = v.compare("ogt", a, v.format.huge)
    t = v.add(a, v.select(far, 0.0, v.div(square, v.add(root, 1.0))))
    result = v.add(_log1p_all(v, t), v.select(far, LN2, 0.0))
    return v.intrinsic("copysign", result, x)


def acosh(f: Function, lanes: int, element: str, x: str) -> str:
    """log1p(t + sqrt(t (t + 2))), t = x - 1; log(2 x) far out."""
    v = Lanes(f, lanes, element)
    far = v.compare("ogt", x, v.format.huge)
    t = v.sub(x, 1.0)
    root = v.intrinsic("sqrt", v.mul(t, v.add(t, 2.0)))
    s = v.add(t, v.select(far, 0.0, root))
    result = v.add(_log1p_all(v, s), v.select(far, LN2, 0.0))
    return v.select(v.compare("olt", x, 1.0), math.nan, result)


def atanh(f: Function, lanes: int, element: str, x: str) -> str:
    """log1p(2 a / (1 - a)) / 2, a = |x|, with the sign of x."""
    v = Lanes(f, lanes, element)
    a = v.abs(x)
    t = v.div(v.add(a, a), v.sub(1.0, a))
    result = v.mul(_log1p_all(v, t), 0.5)
    return v.intrinsic("copysign", result, x)
