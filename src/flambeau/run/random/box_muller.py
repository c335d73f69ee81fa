r"""Standard normal numbers from uniform ones, in blocks of sixteen.

.. math:: \sqrt{-2 \ln(1 - u_1)} \, (\cos 2\pi u_2, \; \sin 2\pi u_2)

A block's first eight uniform numbers are u1, its last eight u2. In float32 the logarithm, sine and
cosine are Cephes' polynomials [Moshier 1989], whose steps PyTorch evaluates with fused
multiply-adds; following them to the last rounding gives its very bits.
"""

from __future__ import annotations

import math

import numpy as np

from . import native
from ._arithmetic import each, fused

__all__ = ["blocks32", "blocks64"]

_F = np.float32


def _single(*constants: float) -> tuple[float, ...]:
    """The float32 numbers next to ``constants``, as Python floats, which fit any array's type."""
    return tuple(float(_F(c)) for c in constants)


_LOG = _single(
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
_LN2_LOW, _LN2_HIGH, _SQRT_HALF = _single(-2.12194440e-4, 0.693359375, 0.707106781186547524)

# Coefficients of the cosine, in the first row, and of the sine.
_COS_SIN = [
    np.array([_single(c), _single(s)])
    for c, s in (
        (2.443315711809948e-5, -1.9515295891e-4),
        (-1.388731625493765e-3, 8.3321608736e-3),
        (4.166664568298827e-2, -1.6666654611e-1),
    )
]
_FOUR_OVER_PI, _TWO_PI = _single(1.27323954473516, 2 * math.pi)
_MINUS_PI_4 = _single(-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)

# Sixteen-blocks worked on at a time, so that the temporaries stay in the second-level cache.
_CHUNK = 512


def _round(y: np.ndarray, single: np.ndarray) -> None:
    """Rounds float64 numbers to float32, in place, leaving them in ``single`` as well."""
    single[...] = y
    y[...] = single


def _log(u: np.ndarray) -> np.ndarray:
    """The natural logarithm of float32 in (0, 1]."""
    bits = u.view(np.int32)
    exponent = bits >> 23
    exponent -= 126
    bits = bits & 0x7FFFFF
    bits |= 0x3F000000
    mantissa = bits.view(_F)
    small = mantissa < _SQRT_HALF
    exponent -= small
    x32 = np.add(mantissa, mantissa, out=mantissa, where=small)
    x32 -= 1
    e = exponent.astype(_F)

    x = x32.astype(np.float64)
    y = x * _LOG[0]
    y += _LOG[1]
    single = y.astype(_F)
    for coefficient in _LOG[2:]:
        y[...] = single
        y *= x
        y += coefficient
        single[...] = y
    square = x32 * x32
    y[...] = single
    y *= x
    _round(y, single)
    y *= square
    y += e * _LN2_LOW
    _round(y, single)
    square *= 0.5
    y -= square
    single[...] = y
    x32 += single
    x[...] = e
    x *= _LN2_HIGH
    x += x32
    single[...] = x
    return single


def _sine_cosine(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of float32 angles that are not negative."""
    octant = (angle * _FOUR_OVER_PI).astype(np.int32)
    octant += 1
    octant &= -2
    y = octant.astype(np.float64)
    x = angle.astype(np.float64)
    single = np.empty_like(angle)
    for part in _MINUS_PI_4:
        x += y * part
        _round(x, single)
    half = single * single
    z = half.astype(np.float64)
    half *= 0.5

    # Both polynomials at once: half the calls, which is what counts where there are few numbers.
    both = z * _COS_SIN[0]
    both += _COS_SIN[1]
    singles = both.astype(_F)
    both[...] = singles
    both *= z
    both += _COS_SIN[2]
    _round(both, singles)
    both *= z
    _round(both, singles)
    cosine, sine = both
    cosine *= z
    cosine -= half
    sine *= x
    sine += x
    singles[...] = both
    cosine, sine = singles
    cosine += 1

    swapped = (octant & 2) != 0
    sine, cosine = np.where(swapped, cosine, sine), np.where(swapped, sine, cosine)
    signs = octant << 29
    signs &= -(2**31)
    sine.view(np.int32)[...] ^= signs
    octant -= 2
    np.invert(octant, out=octant)
    octant <<= 29
    octant &= -(2**31)
    cosine.view(np.int32)[...] ^= octant
    return sine, cosine


def blocks32(uniform: np.ndarray, mean: float, std: float) -> None:
    """Turns float32 uniform numbers, a multiple of sixteen, into normal ones, in place."""
    if uniform.size >= native.LARGE and native.box_muller(uniform, mean, std):
        return
    mean, std = float(_F(mean)), float(_F(std))
    blocks = uniform.reshape(-1, 2, 8)
    for start in range(0, len(blocks), _CHUNK):
        first = blocks[start : start + _CHUNK, 0]
        second = blocks[start : start + _CHUNK, 1]
        radius = _log((1 - first).reshape(-1))
        radius *= -2
        np.sqrt(radius, out=radius)
        sine, cosine = _sine_cosine((second * _TWO_PI).reshape(-1))
        cosine *= radius
        sine *= radius
        first[...] = cosine.reshape(-1, 8)
        second[...] = sine.reshape(-1, 8)
    if mean != 0 or std != 1:
        with np.errstate(over="ignore", invalid="ignore"):
            wide = uniform * np.float64(std)
            wide += mean
            uniform[...] = wide


def blocks64(uniform: np.ndarray, mean: float, std: float) -> None:
    """Turns float64 uniform numbers, a multiple of sixteen, into normal ones, in place."""
    blocks = uniform.reshape(-1, 2, 8)
    radius = np.sqrt(-2 * each(math.log, 1 - blocks[:, 0]))
    angle = 2 * math.pi * blocks[:, 1]
    blocks[:, 0] = fused(radius * np.cos(angle), std, mean)
    blocks[:, 1] = fused(radius * np.sin(angle), std, mean)
