"""Bessel functions of orders 0 and 1 as vector instructions, float32 computed in float64.

Near zero a polynomial in the square of the argument, far from it Hankel's form (DLMF 10.17.3,
10.17.4, 10.40.1): polynomials in the inverse. Both are interpolated at Chebyshev's points, at 50
digits; absolute errors are below 2e-16 (relative ones of the modified functions below 4e-12).
Poles and what lies beyond them are those of ``ir/reference/bessel.py``.
"""

from __future__ import annotations

import math

from flambeau.run.compiler.pointwise_special import Wide, _of_float32

# Where the forms meet.
_NEAR = 8.0

# I0(x) in x * x / 32 - 1, I1(x) / x likewise; exp(-x) sqrt(x) times either in 16 / x - 1.
_I0 = (
    49.2085542230755,
    126.19349348324572,
    133.73747015067917,
    79.09967787720697,
    29.833555025879985,
    7.773027130191707,
    1.478092065085688,
    0.21364054037782707,
    0.0242205364135411,
    0.00220847226895923,
    0.00016531166321353665,
    1.033263833788932e-05,
    5.471233961897146e-07,
    2.4972871158762267e-08,
    9.818891117760368e-10,
)
_I1 = (
    7.887093342702859,
    16.717183768834897,
    14.831189601976146,
    7.458388756469993,
    2.4290709781870747,
    0.5542845244071873,
    0.09346773640490053,
    0.01211026820649395,
    0.001242265673573443,
    0.0001033197901197941,
    7.103667068068391e-06,
    4.103419378042054e-07,
    2.029838134021388e-08,
    8.593774686655953e-10,
)
_I0_FAR = (
    0.4021765094443442,
    0.0033605519826046277,
    0.00013621612188986423,
    1.114311087692272e-05,
    1.4833120990835022e-06,
    2.964281054214407e-07,
    9.081434217159508e-08,
    4.360187412703995e-08,
    1.845898611005426e-08,
    -1.915811720182902e-09,
    -6.774380903780669e-09,
    -2.231763321753107e-09,
)
_I1_FAR = (
    0.38939845902652487,
    -0.009749577192119227,
    -0.00021923581047233277,
    -1.5038628130141042e-05,
    -1.8343872140868168e-06,
    -3.474085185519357e-07,
    -1.0202741370930566e-07,
    -4.760224345249033e-08,
    -2.053806169032612e-08,
    1.433469756395568e-09,
    7.243173301842199e-09,
    2.5026392620528505e-09,
)

# J0(x), J1(x) / x; Y0(x) and Y1(x) / x without their logarithms and pole: in x * x / 32 - 1.
_J0 = (
    0.04582966485981377,
    0.9303012472958572,
    -0.6484692830871837,
    -0.808088807669687,
    1.0383794611437211,
    -0.507468045847102,
    0.14598884856759264,
    -0.028472718610869575,
    0.004058078989140991,
    -0.00044354592247271616,
    3.8473197855944406e-05,
    -2.7177491450348606e-06,
    1.595610910454382e-07,
    -7.91540772613074e-09,
    3.363447579149498e-10,
    -1.238464418210802e-11,
    4.003763198544757e-13,
    -1.1380595432215676e-14,
)
_J1 = (
    -0.05814382795599107,
    0.08105866038589796,
    0.15151665143806634,
    -0.2595948652859303,
    0.15858376432721938,
    -0.054745818212847276,
    0.012456814392255438,
    -0.002029039494570245,
    0.0002494945813909099,
    -2.4045748660869506e-05,
    1.8684525371950885e-06,
    -1.1967081644265458e-07,
    6.431268798326299e-09,
    -2.9430378793535847e-10,
    1.1610590176624424e-11,
    -3.9908120700697754e-13,
    1.2095547763548495e-14,
    -3.237828825886891e-16,
)
_Y0 = (
    -0.382250654459425,
    -0.8284358903604587,
    1.6470964788745466,
    0.14412632369302442,
    -1.0775477338215995,
    0.6721770783431723,
    -0.21895747096171628,
    0.046367047681347105,
    -0.0070257410572709695,
    0.0008061586060550506,
    -7.279541882454126e-05,
    5.321318633761208e-06,
    -3.218507844592323e-07,
    1.6391065240160875e-08,
    -7.130461466149226e-10,
    2.6818237435502344e-11,
    -8.840111900737966e-13,
    2.5576616218907466e-14,
)
_Y1 = (
    0.07075985882118005,
    -0.24337743079193114,
    0.023367571720993584,
    0.23507209206669755,
    -0.19639839859930425,
    0.07854786922242545,
    -0.019628756833099423,
    0.0034224907399180455,
    -0.00044381734351149876,
    4.4674330129143775e-05,
    -3.6009998743578177e-06,
    2.3804929913727272e-07,
    -1.3153322551124148e-08,
    6.16974260611845e-10,
    -2.488750990528334e-11,
    8.728814257439169e-13,
    -2.6951389107285232e-14,
    7.338090945282559e-16,
)

# Hankel's P, and Q by 8 / x, of orders 0 and 1: in 128 / (x * x) - 1.
_P0 = (
    0.9994572757882519,
    -0.0005363673192140434,
    6.137416080485309e-06,
    -2.052744609259914e-07,
    1.2803754179834385e-08,
    -1.212231927513999e-09,
    1.5504597197599842e-10,
    -2.4631193427474074e-11,
    4.695090892783958e-12,
    -1.2969352268199892e-12,
    3.3715266679787027e-13,
)
_Q0 = (
    -0.015555113879513518,
    6.833149099443617e-05,
    -1.4771388329758413e-06,
    7.106212876243259e-08,
    -5.668709577933453e-09,
    6.433876083519467e-10,
    -9.473957865696243e-11,
    1.6790101149114403e-11,
    -3.510987937555115e-12,
    1.0885418998262977e-12,
    -3.0377315735015883e-13,
)
_P1 = (
    1.0009070262780821,
    0.000898804941671665,
    -7.959694698837206e-06,
    2.4536764022725565e-07,
    -1.4708505282683516e-08,
    1.3604270469793975e-09,
    -1.7135355304623532e-10,
    2.6935859497280777e-11,
    -5.0935811696162e-12,
    1.3951041528127422e-12,
    -3.608605547577502e-13,
)
_Q1 = (
    0.04677687402744898,
    -9.621458822160463e-05,
    1.8212018515767092e-06,
    -8.291958600263414e-08,
    6.420125638790734e-09,
    -7.152269124422039e-10,
    1.0398854959529459e-10,
    -1.826622139438498e-11,
    3.793356034322518e-12,
    -1.1668400494309572e-12,
    3.241737934287219e-13,
)

_PHASES = ((_P0, _Q0), (_P1, _Q1))
_REGULAR = (_J0, _J1)
_SECOND = (_Y0, _Y1)
_MODIFIED = ((_I0, _I0_FAR), (_I1, _I1_FAR))


def _modified(v: Wide, x: str, order: int, scaled: bool) -> str:
    """I, times exp(-abs(x)) where ``scaled``; odd for order 1."""
    near, far = _MODIFIED[order]
    a = v.abs(x)
    if not scaled:
        # The exponential is infinite long before: infinity takes part as a number.
        a = v.at_most(a, 1e3)
    size = v.at_most(a, _NEAR)
    found = v.polynomial(v.fma(v.mul(size, size), 1 / 32, -1.0), near)
    if order:
        found = v.mul(found, size)
    if scaled:
        found = v.mul(found, v.apply("exp", v.neg(size)))

    def beyond() -> str:
        value = v.polynomial(v.fma(v.div(1.0, a), 16.0, -1.0), far)
        value = v.div(value, v.intrinsic("sqrt", a))
        return value if scaled else v.mul(value, v.apply("exp", a))

    found = v.where_needed(v.compare("ogt", a, _NEAR), found, beyond)
    return v.intrinsic("copysign", found, x) if order else found


@_of_float32("i0")
def _i0(v: Wide, x: str) -> str:
    return _modified(v, x, 0, scaled=False)


@_of_float32("i0e")
def _i0e(v: Wide, x: str) -> str:
    return _modified(v, x, 0, scaled=True)


@_of_float32("i1")
def _i1(v: Wide, x: str) -> str:
    return _modified(v, x, 1, scaled=False)


@_of_float32("i1e")
def _i1e(v: Wide, x: str) -> str:
    return _modified(v, x, 1, scaled=True)


def _square(v: Wide, a: str) -> str:
    return v.fma(v.mul(a, a), 1 / 32, -1.0)


def _near(v: Wide, a: str, order: int, table: tuple[tuple[float, ...], ...]) -> str:
    value = v.polynomial(_square(v, a), table[order])
    return v.mul(value, a) if order else value


def _far(v: Wide, a: str, order: int, second: bool) -> str:
    """J or Y of large numbers; zero at infinity."""
    inverse = v.div(8.0, a)
    t = v.fma(v.mul(inverse, inverse), 2.0, -1.0)
    p, q = (v.polynomial(t, table) for table in _PHASES[order])
    q = v.mul(q, inverse)
    c, s = v.apply("cos", a), v.apply("sin", a)
    # cos and sin of a - order pi / 2 - pi / 4, times the root of 2.
    cos, sin = v.add(c, s), v.sub(s, c)
    if order:
        cos, sin = sin, v.neg(cos)
    wave = v.fma(sin, p, v.mul(cos, q)) if second else v.fma(cos, p, v.neg(v.mul(sin, q)))
    value = v.mul(wave, v.intrinsic("sqrt", v.div(1 / math.pi, a)))
    return v.select(v.compare("oeq", a, math.inf), 0.0, value)


def _first_kind(v: Wide, x: str, order: int) -> str:
    a = v.abs(x)
    found = _near(v, v.at_most(a, _NEAR), order, _REGULAR)
    far = v.compare("ogt", a, _NEAR)
    found = v.where_needed(far, found, lambda: _far(v, a, order, second=False))
    return v.flip(found, v.sign_bit(x)) if order else found


def _second_kind(v: Wide, x: str, order: int) -> str:
    """DLMF 10.8.2: the logarithm's part, the pole of order 1, and an even function."""
    near = v.at_most(x, _NEAR)
    log = v.mul(v.apply("log", near), _near(v, near, order, _REGULAR))
    if order:
        log = v.sub(log, v.div(1.0, near))
    found = v.fma(log, 2 / math.pi, _near(v, near, order, _SECOND))
    far = v.compare("ogt", x, _NEAR)
    found = v.where_needed(far, found, lambda: _far(v, x, order, second=True))
    found = v.select(v.compare("oeq", x, 0.0), -math.inf, found)
    return v.select(v.compare("olt", x, 0.0), math.nan, found)


@_of_float32("bessel_j0")
def _bessel_j0(v: Wide, x: str) -> str:
    return _first_kind(v, x, 0)


@_of_float32("bessel_j1")
def _bessel_j1(v: Wide, x: str) -> str:
    return _first_kind(v, x, 1)


@_of_float32("bessel_y0")
def _bessel_y0(v: Wide, x: str) -> str:
    return _second_kind(v, x, 0)


@_of_float32("bessel_y1")
def _bessel_y1(v: Wide, x: str) -> str:
    return _second_kind(v, x, 1)
