"""Trigonometric functions and their inverses, as vector IR.

sin, cos, tan: x = q pi/2 + r, |r| <= pi/4, by three fused multiply-adds (Cody and Waite 1980) while
q has few bits; beyond, lane by lane, by as many bits of 2 / pi as leave r exact (Payne and Hanek
1983), in integers. Polynomials are minimax fits (Remez exchange at 60 digits, then rounded).
Every function: x (and y) in ``lanes`` lanes of ``element``, the result likewise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .vector_math_base import Lanes

if TYPE_CHECKING:
    from .emit import Function

__all__ = ["acos", "asin", "atan", "atan2", "cos", "sin", "tan"]

# floor(2**1216 * 2 / pi)
_TWO_OVER_PI = int(
    "A2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE5163ABDEBBC561B7246E3A424D"
    "D2E006492EEA09D1921CFE1DEB1CB129A73EE88235F52EBB4484E99C7026B45F7E413991D639"
    "835339F49C845F8BBDF9283B1FF897FFDE05980FEF2F118B5A0A6D1F6D367ECF27CB09B74F46"
    "3F669E5FEA2D7527BAC7EBE5F17B3D0739F78A5292EA6BFB5FB11F8D5D0856033046FC7B6BAB",
    16,
)


class _Table(NamedTuple):
    half_pi: tuple[float, float, float]  # its parts
    limit: float  # of |x| for their use
    window: int  # bits of 2 / pi that a product needs
    width: int  # bits of 2 / pi from which they are taken
    sin: tuple[float, ...]  # (sin(r) / r - 1) / r**2 in r**2
    cos: tuple[float, ...]  # (cos(r) - 1 + r**2 / 2) / r**4 in r**2
    tan: tuple[float, ...]  # (tan(r) / r - 1) / r**2 in r**2
    asin: tuple[float, ...]  # (asin(x) / x - 1) / x**2 in x**2, x <= 1/2
    atan: tuple[float, ...]  # (atan(x) / x - 1) / x**2 in x**2, x <= 1


_SINGLE = _Table(
    (1.5707964, -4.371139e-08, -1.7151245e-15),
    131072.0,
    128,
    256,
    (-0.16666655, 0.008332174, -0.00019516675),
    (0.041666646, -0.001388731, 2.4432391e-05),
    (0.3333335, 0.13332655, 0.054061007, 0.02127631, 0.01085163, 6.8783265e-05, 0.0043868423),
    (0.16666754, 0.074952446, 0.045476917, 0.024147825, 0.042218998),
    (
        -0.333333,
        0.19998547,
        -0.1426424,
        0.10952177,
        -0.08403428,
        0.057957284,
        -0.031177603,
        0.010914505,
        -0.0017936054,
    ),
)
_DOUBLE = _Table(
    (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
    8388608.0,
    192,
    1216,
    (
        -0.16666666666666632,
        0.008333333333322316,
        -0.00019841269829725587,
        2.7557313662096582e-06,
        -2.505075326002886e-08,
        1.5896504215014043e-10,
    ),
    (
        0.041666666666666595,
        -0.0013888888888872895,
        2.480158728874843e-05,
        -2.755731414869243e-07,
        2.08756965816496e-09,
        -1.1358310932590353e-11,
    ),
    (
        0.3333333333333276,
        0.13333333333416816,
        0.053968253925617805,
        0.021869489634213923,
        0.0088632188085694,
        0.003592292292371724,
        0.001454738413245612,
        0.0005951471672796146,
        0.00022213627245461483,
        0.0001370283446395265,
        -2.7096559707799e-05,
        9.010679955786903e-05,
        -4.5230724523718106e-05,
        2.0948643211481656e-05,
    ),
    (
        0.16666666666666763,
        0.07499999999970276,
        0.04464285717510828,
        0.030381942684155526,
        0.022372215646586684,
        0.01735160031573756,
        0.013980959003842247,
        0.011397794304617924,
        0.010786434879978043,
        0.003683369169884939,
        0.021762765021827196,
        -0.02107633195654514,
        0.032676333602794795,
    ),
    (
        -0.3333333333333307,
        0.19999999999951448,
        -0.14285714282574766,
        0.11111111007020669,
        -0.09090907002948569,
        0.07692279839252746,
        -0.06666404060142224,
        0.05880527843665325,
        -0.05253518732629724,
        0.04722322969433948,
        -0.042191812403135444,
        0.036641962776234556,
        -0.029903947788612936,
        0.021984970387989584,
        -0.013900676177611567,
        0.0071965888967074915,
        -0.0028849641086651184,
        0.0008313384261727731,
        -0.00015216453888848157,
        1.3225450299586354e-05,
    ),
)


def _table(v: Lanes) -> _Table:
    return _SINGLE if v.single else _DOUBLE


def _reduce_large(v: Lanes, magnitude: str) -> tuple[str, str]:
    """r and q mod 4 (in an integer) for one large finite number, in general integers.

    x = m 2**e: the bits of 2 / pi that matter to x mod 2 pi, times m, are 2 x / pi mod 4 with all
    the bits that cancellation can ask for.
    """
    f, table, format = v.f, _table(v), v.format
    wide, window = f"i{table.width}", f"i{table.window}"
    bits = v.bits(magnitude)
    exponent = v.whole("lshr", bits, format.fraction)
    shift = v.whole("sub", exponent, format.bias)
    shift = f.value(f"call {v.integer} @llvm.smax.{v.integer}({v.integer} {shift}, {v.integer} 0)")
    f.declared.add(f"declare {v.integer} @llvm.smax.{v.integer}({v.integer}, {v.integer})")
    mantissa = v.whole("and", bits, (1 << format.fraction) - 1)
    mantissa = v.whole("or", mantissa, 1 << format.fraction)
    known = _TWO_OVER_PI >> 1216 - (table.width - 2 - format.fraction)
    shift = f.value(f"zext {v.integer} {shift} to {wide}")
    part = f.value(f"shl {wide} {known}, {shift}")
    part = f.value(f"lshr {wide} {part}, {table.width - table.window}")
    part = f.value(f"trunc {wide} {part} to {window}")
    mantissa = f.value(f"zext {v.integer} {mantissa} to {window}")
    turns = f.value(f"mul {window} {part}, {mantissa}")
    point = table.window - 2
    q = f.value(f"add {window} {turns}, {1 << point - 1}")
    q = f.value(f"lshr {window} {q}, {point}")
    turns = f.value(f"sub {window} {turns}, {f.value(f'shl {window} {q}, {point}')}")
    high = f.value(f"ashr {window} {turns}, {table.window - 64}")
    high = f.value(f"trunc {window} {high} to i64")
    low = f.value(f"lshr {window} {turns}, {table.window - 128}")
    low = f.value(f"trunc {window} {low} to i64")
    first = f.value(f"sitofp i64 {high} to double")
    rounded = f.value(f"fptosi double {first} to i64")
    second = f.value(f"sitofp i64 {f.value(f'sub i64 {high}, {rounded}')} to double")
    low = f.value(f"uitofp i64 {low} to double")
    double = Lanes(f, 1, "double")
    r = double.add(first, double.fma(low, 2.0**-64, second))
    high_pi, low_pi, _ = _DOUBLE.half_pi
    r = double.fma(r, high_pi * 2.0**-62, double.mul(r, low_pi * 2.0**-62))
    if v.single:
        r = f.value(f"fptrunc double {r} to float")
    return r, f.value(f"trunc {window} {q} to {v.integer}")


def _reduce(v: Lanes, a: str) -> tuple[str, str]:
    """r, and q in the last two bits of an integer, for a = |x|."""
    f, table = v.f, _table(v)
    n, q = v.nearest(a, 2 / math.pi)
    r = a
    for part in table.half_pi:
        r = v.fma(n, -part, r)
    large = v.compare("ogt", a, table.limit)
    some = large
    if v.lanes > 1:
        f.declared.add(f"declare i1 @llvm.vector.reduce.or.v{v.lanes}i1({v.bool})")
        some = f.value(f"call i1 @llvm.vector.reduce.or.v{v.lanes}i1({v.bool} {large})")
    before, slow, end, after = (
        f.fresh_label(hint) for hint in ("near", "far", "farend", "reduced")
    )
    f.line(f"br label %{before}")
    f.label(before)
    f.line(f"br i1 {some}, label %{slow}, label %{after}")
    f.label(slow)
    one = Lanes(f, 1, v.element)
    if v.lanes == 1:
        all_r, all_q = _reduce_large(one, a)
    else:
        carried = [(v.ty, "poison"), (v.ity, "poison")]
        with f.loop("0", str(v.lanes), carried=carried) as loop:
            x = f.value(f"extractelement {v.ty} {a}, i64 {loop.index}")
            one_r, one_q = _reduce_large(one, x)
            loop.carry(
                f.value(
                    f"insertelement {v.ty} {loop.carried[0]}, {v.element} {one_r}, i64 {loop.index}"
                ),
                f.value(
                    f"insertelement {v.ity} {loop.carried[1]}, {v.integer} {one_q},"
                    f" i64 {loop.index}"
                ),
            )
        all_r, all_q = loop.result
    all_r = v.select(v.compare("oeq", a, math.inf), math.nan, all_r)
    all_r = v.select(large, all_r, r)
    all_q = f.value(f"select {v.bool} {large}, {v.ity} {all_q}, {v.ity} {q}")
    f.line(f"br label %{end}")
    f.label(end)
    f.line(f"br label %{after}")
    f.label(after)
    r = f.value(f"phi {v.ty} [ {r}, %{before} ], [ {all_r}, %{end} ]")
    q = f.value(f"phi {v.ity} [ {q}, %{before} ], [ {all_q}, %{end} ]")
    return r, q


def _sin_cos(v: Lanes, r: str) -> tuple[str, str]:
    table = _table(v)
    z = v.mul(r, r)
    sine = v.fma(v.mul(v.polynomial(z, table.sin), z), r, r)
    cosine = v.fma(v.mul(z, z), v.polynomial(z, table.cos), v.fma(z, -0.5, 1.0))
    return sine, cosine


def _odd(v: Lanes, q: str) -> str:
    """Whether the last bit is set."""
    return v.f.value(f"trunc {v.ity} {q} to {v.bool}")


def _second_bit(v: Lanes, q: str) -> str:
    """The bit before the last, where a sign is."""
    top = v.format.width - 1
    return v.whole("and", v.whole("shl", q, top - 1), -(1 << top))


def sin(f: Function, lanes: int, element: str, x: str) -> str:
    """The sine: odd, so worked out for |x|."""
    v = Lanes(f, lanes, element)
    r, q = _reduce(v, v.abs(x))
    sine, cosine = _sin_cos(v, r)
    sign = v.whole("xor", _second_bit(v, q), v.sign_bit(x))
    return v.flip(v.select(_odd(v, q), cosine, sine), sign)


def cos(f: Function, lanes: int, element: str, x: str) -> str:
    """The cosine, one quarter of a turn on."""
    v = Lanes(f, lanes, element)
    r, q = _reduce(v, v.abs(x))
    sine, cosine = _sin_cos(v, r)
    sign = _second_bit(v, v.whole("add", q, 1))
    return v.flip(v.select(_odd(v, q), sine, cosine), sign)


def tan(f: Function, lanes: int, element: str, x: str) -> str:
    """The tangent: of r, or minus its reciprocal in odd quarters of a turn."""
    v = Lanes(f, lanes, element)
    r, q = _reduce(v, v.abs(x))
    z = v.mul(r, r)
    t = v.fma(v.mul(v.polynomial(z, _table(v).tan), z), r, r)
    t = v.select(_odd(v, q), v.div(-1.0, t), t)
    return v.flip(t, v.sign_bit(x))


def _asin_parts(v: Lanes, a: str) -> tuple[str, str]:
    """Whether a > 1/2; asin(a) if not, else asin(sqrt((1 - a) / 2))."""
    far = v.compare("ogt", a, 0.5)
    square = v.select(far, v.fma(a, -0.5, 0.5), v.mul(a, a))
    root = v.select(far, v.intrinsic("sqrt", square), a)
    p = v.mul(v.polynomial(square, _table(v).asin), square)
    return far, v.fma(p, root, root)


def asin(f: Function, lanes: int, element: str, x: str) -> str:
    """The arc sine: pi/2 - 2 asin(sqrt((1 - |x|) / 2)) beyond 1/2, with the sign of x."""
    v = Lanes(f, lanes, element)
    far, part = _asin_parts(v, v.abs(x))
    result = v.select(far, v.fma(part, -2.0, math.pi / 2), part)
    return v.intrinsic("copysign", result, x)


def acos(f: Function, lanes: int, element: str, x: str) -> str:
    """The arc cosine: pi/2 - asin(x), or 2 asin(sqrt((1 - |x|) / 2)) and pi less that."""
    v = Lanes(f, lanes, element)
    far, part = _asin_parts(v, v.abs(x))
    high, low, _ = _table(v).half_pi
    near = v.add(v.sub(low, v.intrinsic("copysign", part, x)), high)
    twice = v.add(part, part)
    beyond = v.add(v.sub(2 * low, twice), 2 * high)
    beyond = v.select(v.compare("olt", x, 0.0), beyond, twice)
    return v.select(far, beyond, near)


def _atan_of_quotient(v: Lanes, y: str, x: str) -> tuple[str, str, str]:
    """q = min / max, atan(q) - q, and whether y > x, for x, y >= 0."""
    above = v.compare("ogt", y, x)
    q = v.div(v.select(above, x, y), v.select(above, y, x))
    z = v.mul(q, q)
    return q, v.mul(v.mul(v.polynomial(z, _table(v).atan), z), q), above


def atan(f: Function, lanes: int, element: str, x: str) -> str:
    """The arc tangent: pi/2 - atan(1 / |x|) beyond 1, with the sign of x."""
    v = Lanes(f, lanes, element)
    a = v.abs(x)
    q, rest, above = _atan_of_quotient(v, a, v.number(1.0))
    part = v.add(q, rest)
    result = v.select(above, v.sub(math.pi / 2, part), part)
    return v.intrinsic("copysign", result, x)


def atan2(f: Function, lanes: int, element: str, y: str, x: str) -> str:
    """The angle of the point (x, y), in [-pi, pi], with the sign of y."""
    v = Lanes(f, lanes, element)
    a, b = v.abs(y), v.abs(x)
    q, rest, above = _atan_of_quotient(v, a, b)
    part = v.add(q, rest)
    both_zero = v.compare("oeq", v.intrinsic("maxnum", a, b), 0.0)
    both_infinite = v.compare("oeq", v.intrinsic("minnum", a, b), math.inf)
    part = v.select(both_zero, 0.0, part)
    part = v.select(both_infinite, math.pi / 4, part)
    high, low, _ = _table(v).half_pi
    result = v.select(above, v.add(v.sub(low, part), high), part)
    negative = v.f.value(f"icmp slt {v.ity} {v.bits(x)}, {v.literal(0)}")
    result = v.select(negative, v.add(v.sub(2 * low, result), 2 * high), result)
    result = v.select(v.compare("uno", x, y), math.nan, result)
    return v.intrinsic("copysign", result, y)
