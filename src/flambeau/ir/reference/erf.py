"""The error function and its kin, and the normal distribution, in vectorised NumPy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

# Elements that a pass works on at a time: what stays in the second-level cache.
BLOCK = 1 << 14

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969):
# numerators and denominators, highest power first, on [0, 0.46875], [0.46875, 4] and [4, inf).
_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2,
     3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0,
     6.61191906371416295e1, 2.98635138197400131e2, 8.81952221241769090e2,
     1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3,
     3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
_FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
     1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346047e0, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip
# A rational approximation of erf(x) / x in x * x on [-4, 4], good to float32: the one published
# with Eigen (Hardy and Steinbach, "generic_fast_erf_float").
_SINGLE = (
    (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
     -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
    (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
     -1.42647390514189e-02),
)  # fmt: skip
# M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution" (PPND16).
_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
     4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
     1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
     2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
     4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
     4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
     2.05319162663775882187e0, 1.0),
)  # fmt: skip
_END = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
     2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0,
     5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
     7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
     5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def horner(x: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """A polynomial, highest power first."""
    total = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total *= x
        total += c
    return total


def ratio(x: np.ndarray, parts: tuple[Sequence[float], Sequence[float]]) -> np.ndarray:
    """A rational function."""
    return horner(x, parts[0]) / horner(x, parts[1])


def exp_minus_square(y: np.ndarray) -> np.ndarray:
    """``exp(-y * y)`` without the error of rounding the square, which the exponent magnifies."""
    high = np.trunc(y * 16) / 16
    return np.exp(-high * high) * np.exp(-(y - high) * (y + high))


def scaled_complement(y: np.ndarray) -> np.ndarray:
    """``exp(y * y) * erfc(y)`` for y > 0.46875."""
    out = np.empty_like(y)
    far = y > 4
    middle = ~far
    out[middle] = ratio(y[middle], _MIDDLE)
    z = y[far]
    inverse = 1 / (z * z)
    out[far] = (1 / math.sqrt(math.pi) - inverse * ratio(inverse, _FAR)) / z
    return out


def erf64(x: np.ndarray) -> np.ndarray:
    """The error function to about 1e-16."""
    y = np.abs(x)
    out = np.empty_like(y)
    near = ~(y > 0.46875)
    z = x[near]
    out[near] = z * ratio(z * z, _NEAR)
    z = y[~near]
    z = np.minimum(z, 6)
    out[~near] = np.copysign(1 - exp_minus_square(z) * scaled_complement(z), x[~near])
    return out


def erf32(x: np.ndarray) -> np.ndarray:
    """The error function to float32 rounding, in few passes over small blocks."""
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty_like(flat)
    for start in range(0, flat.size, BLOCK):
        y = np.clip(flat[start : start + BLOCK], np.float32(-4), np.float32(4))
        square = y * y
        y *= horner(square, _SINGLE[0])
        np.divide(y, horner(square, _SINGLE[1]), out=out[start : start + BLOCK])
    return out.reshape(x.shape)


def erfc64(x: np.ndarray) -> np.ndarray:
    """``1 - erf(x)``, relatively accurate in the tail."""
    y = np.abs(x)
    out = np.empty_like(y)
    near = ~(y > 0.46875)
    z = x[near]
    out[near] = 1 - z * ratio(z * z, _NEAR)
    z = np.minimum(y[~near], 30)
    tail = exp_minus_square(z) * scaled_complement(z)
    out[~near] = np.where(x[~near] < 0, 2 - tail, tail)
    return out


def erfcx64(x: np.ndarray) -> np.ndarray:
    """``exp(x * x) * erfc(x)``."""
    y = np.abs(x)
    out = np.empty_like(y)
    near = ~(y > 0.46875)
    z = x[near]
    out[near] = np.exp(z * z) * (1 - z * ratio(z * z, _NEAR))
    z = y[~near]
    positive = scaled_complement(z)
    # Infinite from there on, and an infinity less itself is none.
    z = np.minimum(z, 27)
    with np.errstate(all="ignore"):
        high = np.trunc(z * 16) / 16
        growth = np.exp(high * high) * np.exp((z - high) * (z + high))
    out[~near] = np.where(x[~near] < 0, 2 * growth - positive, positive)
    return out


def _quantile(q: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """The normal quantile at ``0.5 + q``, where ``tail`` is the smaller of p and 1 - p."""
    out = np.empty_like(q)
    centre = np.abs(q) <= 0.425
    z = q[centre]
    out[centre] = z * ratio(0.180625 - z * z, _CENTRE)
    with np.errstate(all="ignore"):
        r = np.sqrt(-np.log(tail[~centre]))
    value = np.empty_like(r)
    end = r > 5
    value[~end] = ratio(r[~end] - 1.6, _TAIL)
    value[end] = ratio(np.minimum(r[end], 1e3) - 5, _END)
    value[np.isinf(r)] = np.inf
    out[~centre] = np.copysign(value, q[~centre])
    return out


def erfinv64(x: np.ndarray) -> np.ndarray:
    """The inverse of erf; infinite at -1 and 1, NaN beyond."""
    with np.errstate(all="ignore"):
        found = _quantile(x / 2, (1 - np.abs(x)) / 2) / math.sqrt(2)
    return np.where(np.abs(x) <= 1, found, np.nan)


def ndtri64(p: np.ndarray) -> np.ndarray:
    """The quantile function of the standard normal distribution."""
    with np.errstate(all="ignore"):
        found = _quantile(p - 0.5, np.minimum(p, 1 - p))
    return np.where((p >= 0) & (p <= 1), found, np.nan)


def ndtr64(x: np.ndarray) -> np.ndarray:
    """The standard normal distribution function."""
    return erfc64(x * -math.sqrt(0.5)) / 2


def log_ndtr64(x: np.ndarray) -> np.ndarray:
    """The logarithm of ``ndtr``, accurate in both tails."""
    z = x * -math.sqrt(0.5)
    out = np.empty_like(x)
    left = x < -1
    out[left] = np.log(erfcx64(z[left]) / 2) - x[left] * x[left] / 2
    out[~left] = np.log1p(-erfc64(-z[~left]) / 2)
    return out
