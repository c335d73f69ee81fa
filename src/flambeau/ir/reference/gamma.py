"""The gamma function and its kin, and Hurwitz's zeta function, in vectorised NumPy.

"DLMF" is the NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from flambeau.ir.reference.erf import horner

EULER = 0.57721566490153286061
# Bernoulli numbers B_2, B_4, ... B_24.
_BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798,
    -174611 / 330, 854513 / 138, -236364091 / 2730,
)  # fmt: skip
_STIRLING = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI[:9], 1))[::-1]
_DIGAMMA = tuple(b / (2 * k) for k, b in enumerate(_BERNOULLI[:9], 1))[::-1]


def sin_pi(x: np.ndarray) -> np.ndarray:
    """``sin(pi * x)``, exactly zero at integers."""
    near = np.rint(x)
    s = np.sin(math.pi * (x - near))
    return np.where(np.mod(near, 2) == 0, s, -s)


@functools.cache
def _near_two() -> tuple[float, ...]:
    """Taylor coefficients of log Gamma(2 + z) (DLMF 5.7.3), highest power first."""
    terms = [0.0, 1 - EULER]
    for k in range(2, 40):
        tail = float(zeta64(np.array([float(k)]), np.array([2.0]))[0])
        terms.append((-1) ** k * tail / k)
    return tuple(reversed(terms))


def _lgamma_positive(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    low, high = x < 0.5, x >= 8
    near, middle = ~low & (x < 2.5), (x >= 2.5) & ~high
    # Gamma(x) = Gamma(x + 2) / (x (x + 1)) below 1/2, Gamma(x + 1) / x up to 3/2.
    z = x[low]
    out[low] = horner(z, _near_two()) - np.log1p(z) - np.log(z)
    z = x[near]
    first = z < 1.5
    s = z - np.where(first, 1, 2)
    out[near] = horner(s, _near_two()) - np.where(first, np.log1p(np.where(first, s, 0)), 0)
    z = x[middle].copy()
    product = np.ones_like(z)
    for _ in range(6):
        small = z < 8
        product = np.where(small, product * z, product)
        z = np.where(small, z + 1, z)
    out[middle] = _stirling(z) - np.log(product)
    out[high] = _stirling(x[high])
    return out


def _stirling(x: np.ndarray) -> np.ndarray:
    """log Gamma(x) for x >= 8 (DLMF 5.11.1)."""
    with np.errstate(all="ignore"):
        found = (
            (x - 0.5) * np.log(x)
            - x
            + 0.5 * math.log(2 * math.pi)
            + horner(1 / (x * x), _STIRLING) / x
        )
    return np.where(np.isinf(x), np.inf, found)


def lgamma64(x: np.ndarray) -> np.ndarray:
    """``log |Gamma(x)|``; infinite at zero and the negative integers."""
    out = np.empty_like(x)
    positive = ~(x <= 0)
    with np.errstate(all="ignore"):
        out[positive] = _lgamma_positive(x[positive])
        z = x[~positive]
        # Reflection (DLMF 5.5.3).
        mirrored = math.log(math.pi) - np.log(np.abs(sin_pi(z))) - _lgamma_positive(1 - z)
        out[~positive] = np.where(np.isinf(z) | (z == np.floor(z)), np.inf, mirrored)
    out[np.isnan(x)] = np.nan
    return out


def digamma64(x: np.ndarray) -> np.ndarray:
    """The derivative of log Gamma; NaN at the negative integers, infinite at zero."""
    with np.errstate(all="ignore"):
        negative = x < 0
        z = np.where(negative, 1 - x, x)
        shift = np.zeros_like(z)
        for _ in range(10):
            small = z < 10
            shift = np.where(small, shift - 1 / z, shift)
            z = np.where(small, z + 1, z)
        # DLMF 5.11.2; reflection 5.5.4.
        inverse = 1 / (z * z)
        found = shift + np.log(z) - 0.5 / z - inverse * horner(inverse, _DIGAMMA)
        fraction = x - np.rint(x)
        mirrored = found - math.pi / np.tan(math.pi * fraction)
        out = np.where(negative, np.where(fraction == 0, np.nan, mirrored), found)
        out = np.where(x == 0, np.copysign(np.inf, -x), out)
        out = np.where(np.isposinf(x), np.inf, out)
    return np.where(np.isneginf(x), np.nan, out)


def _zeta_positive(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Hurwitz's zeta for q > 0 by Euler and Maclaurin's sum (DLMF 25.11.5)."""
    total = np.zeros_like(q)
    a = q.copy()
    for _ in range(11):
        total += a**-s
        a += 1
    power = a**-s
    total += power * a / (s - 1) + 0.5 * power
    factor, term = s.copy(), power / a
    for k, b in enumerate(_BERNOULLI, 1):
        total += b / math.factorial(2 * k) * factor * term
        factor *= (s + 2 * k - 1) * (s + 2 * k)
        term = term / (a * a)
        factor = np.where(np.isfinite(factor), factor, 0)
    return total


def _zeta_whole(s: int, q: np.ndarray) -> np.ndarray:
    """The same for one whole s, its powers by multiplication."""

    def power(x: np.ndarray) -> np.ndarray:
        found = x.copy()
        for _ in range(s - 1):
            found *= x
        return found

    total = np.zeros_like(q)
    a = q.copy()
    for _ in range(11):
        total += power(1 / a)
        a += 1
    inverse = 1 / a
    last = power(inverse)
    total += last * a / (s - 1) + 0.5 * last
    square = inverse * inverse
    term, factor = last * inverse, float(s)
    for k, b in enumerate(_BERNOULLI, 1):
        total += (b / math.factorial(2 * k) * factor) * term
        factor *= (s + 2 * k - 1) * (s + 2 * k)
        term *= square
    return total


def zeta64(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Hurwitz's zeta function: the sum of ``(q + k) ** -s`` over k >= 0, for s > 1."""
    s, q = (np.array(v, np.float64) for v in np.broadcast_arrays(s, q))
    with np.errstate(all="ignore"):
        negative = q < 0
        f = np.where(negative, q - np.floor(q), q)
        safe = np.where(f > 0, f, 1.0)
        found = _zeta_positive(s, safe)
        if negative.any():
            # The sum over all integers depends on the fraction alone: take away those below.
            sign = np.where(np.mod(s, 2) == 0, 1.0, -1.0)
            rest = _zeta_positive(s, 1 - np.where(negative, f, 0)) - _zeta_positive(
                s, np.where(negative, 1 - q, 1.0)
            )
            found = np.where(negative, found + sign * rest, found)
            found = np.where(negative & (s != np.floor(s)), np.nan, found)
        found = np.where((q <= 0) & (q == np.floor(q)), np.inf, found)
        found = np.where(s == 1, np.inf, np.where(s < 1, np.nan, found))
    return np.where(np.isnan(s) | np.isnan(q), np.nan, found)


def polygamma64(x: np.ndarray, n: int) -> np.ndarray:
    """The n-th derivative of digamma (DLMF 25.11.12)."""
    if n == 0:
        return digamma64(x)
    sign = -1.0 if n % 2 == 0 else 1.0
    with np.errstate(all="ignore"):
        positive = (x > 0) & np.isfinite(x)
        if n < 16:
            zeta = np.empty_like(x)
            zeta[positive] = _zeta_whole(n + 1, x[positive])
            rest = x[~positive]
            zeta[~positive] = zeta64(np.full_like(rest, n + 1.0), rest)
        else:
            zeta = zeta64(np.full_like(x, n + 1.0), x)
        found = sign * math.exp(math.lgamma(n + 1)) * zeta
    return np.where(np.isposinf(x), 0.0, found)


def _series(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """P(a, x) by its series (DLMF 8.7.1), for x < a + 1."""
    term = np.ones_like(a)
    total = np.ones_like(a)
    n = a.copy()
    for _ in range(5000):
        n += 1
        term *= x / n
        total += term
        if not np.any(term > total * 1e-17):
            break
    return total * np.exp(a * np.log(x) - x - lgamma64(a + 1))


def _fraction(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Q(a, x) by its continued fraction (DLMF 8.9.2), for x >= a + 1, after Lentz."""
    tiny = 1e-300
    b = x + 1 - a
    c = np.full_like(a, 1 / tiny)
    d = 1 / b
    h = d.copy()
    for i in range(1, 5000):
        coefficient = -i * (i - a)
        b += 2
        d = coefficient * d + b
        d = 1 / np.where(np.abs(d) < tiny, tiny, d)
        c = b + coefficient / c
        c = np.where(np.abs(c) < tiny, tiny, c)
        step = c * d
        h *= step
        if not np.any(np.abs(step - 1) > 1e-16):
            break
    return h * np.exp(a * np.log(x) - x - lgamma64(a))


def _incomplete(a: np.ndarray, x: np.ndarray, upper: bool) -> np.ndarray:
    a, x = (np.array(v, np.float64) for v in np.broadcast_arrays(a, x))
    shape = a.shape
    a, x = a.reshape(-1), x.reshape(-1)
    out = np.full(a.shape, np.nan)
    plain = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
    with np.errstate(all="ignore"):
        low = plain & (x < a + 1)
        high = plain & ~low
        if low.any():
            p = _series(a[low], x[low])
            out[low] = 1 - p if upper else p
        if high.any():
            q = _fraction(a[high], x[high])
            out[high] = q if upper else 1 - q
    zero, one = (1.0, 0.0) if upper else (0.0, 1.0)
    out[(x == 0) & (a > 0)] = zero
    out[(a == 0) & (x > 0)] = one
    out[np.isposinf(x) & (a >= 0) & np.isfinite(a)] = one
    out[np.isposinf(a) & (x >= 0) & np.isfinite(x)] = zero
    return out.reshape(shape)


def igamma64(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The regularised lower incomplete gamma function P(a, x)."""
    return _incomplete(a, x, False)


def igammac64(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The regularised upper incomplete gamma function Q(a, x)."""
    return _incomplete(a, x, True)
