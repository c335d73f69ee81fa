"""Bessel functions of orders 0 and 1, modified and not, and Airy's function.

"DLMF" is the NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov. All functions
take and give flat float64 arrays.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from flambeau.ir.reference.erf import horner
from flambeau.ir.reference.gamma import EULER

# Where the asymptotic expansions take over: their error is about exp(-2 x).
_FAR = 25.0
_FAR_MODIFIED = 20.0


def _hankel_terms(order: int, count: int) -> list[float]:
    """a_k of DLMF 10.17.1."""
    found = [1.0]
    for k in range(1, count):
        found.append(found[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    return found


def _phase(x: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of ``x - order * pi / 2 - pi / 4``, without subtracting in the argument."""
    c, s = np.cos(x), np.sin(x)
    cos, sin = (c + s) * math.sqrt(0.5), (s - c) * math.sqrt(0.5)
    return (cos, sin) if order == 0 else (sin, -cos)


def _far(x: np.ndarray, order: int, second: bool) -> np.ndarray:
    """J or Y by Hankel's expansions (DLMF 10.17.3 and 10.17.4)."""
    terms = _hankel_terms(order, 24)
    inverse = 1 / x
    square = -inverse * inverse
    p = horner(square, terms[0::2][::-1])
    q = horner(square, terms[1::2][::-1]) * inverse
    cos, sin = _phase(x, order)
    wave = sin * p + cos * q if second else cos * p - sin * q
    return np.sqrt(2 / (math.pi * x)) * wave


def _near(x: np.ndarray, second: bool) -> tuple[np.ndarray, np.ndarray]:
    """(J0, J1) or (Y0, Y1) for 1e-4 <= x <= 25.

    Miller's backward recurrence (DLMF 3.6.iii), normalised by 10.12.4; Y by Neumann's series of
    bounded terms (DLMF 10.8.2's consequence; Watson, Theory of Bessel Functions, 3.571).
    """
    above, here = np.zeros_like(x), np.full_like(x, 1e-280)
    total, y0, y1 = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    two = 2 / x
    top = 72
    for n in range(top, 0, -1):
        # Here: J_n, above: J_{n + 1}, both up to a factor.
        below = n * two * here - above
        if n % 2 == 0:
            k = n // 2
            total += here
            sign = (1 if k % 2 == 0 else -1) / k
            y0 += sign * here
            y1 += sign * (below - above)
        above, here = here, below
    scale = 1 / (here + 2 * total)
    j0, j1 = here * scale, above * scale
    if not second:
        return j0, j1
    log = np.log(x / 2) + EULER
    first = (2 * log * j0 - 4 * y0 * scale) / math.pi
    return first, (2 * log * j1 - two * j0 + 2 * y1 * scale) / math.pi


def _tiny(x: np.ndarray, order: int, second: bool) -> np.ndarray:
    """The first terms of the power series, for x < 1e-4 (DLMF 10.2.2, 10.8.1)."""
    quarter = x * x / 4
    if not second:
        return 1 - quarter if order == 0 else x / 2
    log = np.log(x / 2)
    if order == 0:
        return 2 / math.pi * ((log + EULER) * (1 - quarter) + quarter)
    return (-2 / x + log * x - x / 2 * (1 - 2 * EULER)) / math.pi


def _bessel(x: np.ndarray, order: int, second: bool) -> np.ndarray:
    """J or Y for x >= 0."""
    out = np.empty_like(x)
    tiny, far = x < 1e-4, x > _FAR
    near = ~tiny & ~far
    with np.errstate(all="ignore"):
        out[tiny] = _tiny(x[tiny], order, second)
        out[near] = _near(x[near], second)[order]
        out[far] = _far(x[far], order, second)
    out[np.isposinf(x)] = 0.0
    return out


def j0(x: np.ndarray) -> np.ndarray:
    """The Bessel function of the first kind of order 0."""
    return _bessel(np.abs(x), 0, False)


def j1(x: np.ndarray) -> np.ndarray:
    """The Bessel function of the first kind of order 1."""
    found = _bessel(np.abs(x), 1, False)
    return np.where(np.signbit(x), -found, found)


def _second_kind(x: np.ndarray, order: int) -> np.ndarray:
    found = _bessel(np.where(x > 0, x, 1.0), order, True)
    return np.where(x > 0, found, np.where(x == 0, -np.inf, np.nan))


def y0(x: np.ndarray) -> np.ndarray:
    """The Bessel function of the second kind of order 0."""
    return _second_kind(x, 0)


def y1(x: np.ndarray) -> np.ndarray:
    """The Bessel function of the second kind of order 1."""
    return _second_kind(x, 1)


@functools.cache
def _modified_series(order: int) -> tuple[float, ...]:
    """Coefficients of DLMF 10.25.2 in ``x * x / 4``, highest power first."""
    return tuple(1 / (math.factorial(k) * math.factorial(k + order)) for k in range(60, -1, -1))


def scaled_i(x: np.ndarray, order: int) -> np.ndarray:
    """``exp(-|x|) I(x)`` (series DLMF 10.25.2, expansion 10.40.1)."""
    y = np.abs(x)
    out = np.empty_like(y)
    near = ~(y > _FAR_MODIFIED)
    z = y[near]
    out[near] = horner(z * z / 4, _modified_series(order)) * np.exp(-z) * (z / 2 if order else 1)
    z = y[~near]
    terms = [t * (-1) ** k for k, t in enumerate(_hankel_terms(order, 36))]
    out[~near] = horner(1 / z, terms[::-1]) / np.sqrt(2 * math.pi * z)
    return np.copysign(out, x) if order else out


def modified_i(x: np.ndarray, order: int) -> np.ndarray:
    """The modified Bessel function of the first kind."""
    with np.errstate(all="ignore"):
        half = np.exp(np.abs(x) / 2)
        return np.where(np.isinf(x), np.inf if order == 0 else x, scaled_i(x, order) * half * half)


def _scaled_k(x: np.ndarray, order: float) -> np.ndarray:
    """``exp(x) K(x)`` for x >= 1, from the integral of DLMF 10.32.9.

    Its integrand falls off doubly exponentially, so the trapezoidal rule converges
    geometrically (Trefethen and Weideman, SIAM Review 56, 2014).
    """
    steps = 48
    h = np.arccosh(1 + 42 / x) / steps
    total = np.full_like(x, 0.5)
    for k in range(1, steps + 1):
        t = k * h
        s = np.sinh(t / 2)
        total += np.exp(-2 * x * s * s) * np.cosh(order * t)
    return total * h


def _k_series(x: np.ndarray, order: int) -> np.ndarray:
    """K for small x (DLMF 10.31.1 and 10.31.2)."""
    z = x * x / 4
    log = np.log(x / 2)
    if order == 0:
        harmonic, terms = 0.0, []
        for k in range(24):
            harmonic += 1 / k if k else 0.0
            terms.append((harmonic - EULER) / math.factorial(k) ** 2)
        return horner(z, terms[::-1]) - log * horner(z, _modified_series(0))
    terms, psi = [], -EULER
    for k in range(24):
        # psi(k + 1) + psi(k + 2)
        both = 2 * psi + 1 / (k + 1)
        terms.append(both / (math.factorial(k) * math.factorial(k + 1)))
        psi += 1 / (k + 1)
    return 1 / x + x / 2 * (log * horner(z, _modified_series(1)) - horner(z, terms[::-1]) / 2)


def modified_k(x: np.ndarray, order: int, scaled: bool) -> np.ndarray:
    """The modified Bessel function of the second kind, times ``exp(x)`` if ``scaled``."""
    out = np.full_like(x, np.nan)
    with np.errstate(all="ignore"):
        near, far = (x > 0) & (x <= 1), (x > 1) & np.isfinite(x)
        z = x[near]
        out[near] = _k_series(z, order) * (np.exp(z) if scaled else 1)
        z = x[far]
        out[far] = _scaled_k(z, order) * (1 if scaled else np.exp(-z))
    out[x == 0] = np.inf
    out[np.isposinf(x)] = 0.0
    return out


def spherical_j0(x: np.ndarray) -> np.ndarray:
    """``sin(x) / x``."""
    with np.errstate(all="ignore"):
        found = np.sin(x) / np.where(x == 0, 1, x)
    return np.where(x == 0, 1.0, np.where(np.isinf(x), 0.0, found))


_STEP, _LOW, _HIGH = 0.5, -11.5, 1.5


@functools.cache
def _airy_table() -> np.ndarray:
    """Taylor coefficients of Ai at the centres, from those at 0 (DLMF 9.2.3 and 9.2.4)."""
    count = 32

    def around(c: float, value: float, slope: float) -> list[float]:
        # y'' = x y
        t = [value, slope, c * value / 2]
        for n in range(1, count - 2):
            t.append((c * t[n] + t[n - 1]) / ((n + 1) * (n + 2)))
        return t

    def step(t: list[float], h: float) -> tuple[float, float]:
        value = sum(a * h**k for k, a in enumerate(t))
        return value, sum(k * a * h ** (k - 1) for k, a in enumerate(t) if k)

    origin = around(0.0, 0.355028053887817239, -0.258819403792806798)
    rows = {0: origin}
    for direction, last in ((-1, round(_LOW / _STEP)), (1, round(_HIGH / _STEP))):
        row = origin
        for k in range(direction, last + direction, direction):
            row = around(k * _STEP, *step(row, direction * _STEP))
            rows[k] = row
    return np.array([rows[k] for k in sorted(rows)])


def airy_ai(x: np.ndarray) -> np.ndarray:
    """Airy's function Ai."""
    out = np.full_like(x, np.nan)
    with np.errstate(all="ignore"):
        high, low = (x > _HIGH) & np.isfinite(x), (x < _LOW) & np.isfinite(x)
        z = x[high]
        zeta = 2 / 3 * z * np.sqrt(z)
        # DLMF 9.6.2
        out[high] = np.sqrt(z / 3) / math.pi * _scaled_k(zeta, 1 / 3) * np.exp(-zeta)
        near = (x >= _LOW) & (x <= _HIGH)
        z = x[near]
        table = _airy_table()
        centre = np.rint(z / _STEP)
        rows = table[centre.astype(np.int64) - round(_LOW / _STEP)]
        h = z - centre * _STEP
        total = np.zeros_like(z)
        for k in range(table.shape[1] - 1, -1, -1):
            total = total * h + rows[:, k]
        out[near] = total
        # DLMF 9.7.9
        z = -x[low]
        zeta = 2 / 3 * z * np.sqrt(z)
        u = [1.0]
        for k in range(19):
            u.append(
                u[-1] * (6 * k + 5) * (6 * k + 3) * (6 * k + 1) / (216 * (k + 1) * (2 * k + 1))
            )
        square = -1 / (zeta * zeta)
        cos, sin = _phase(zeta, 0)
        wave = cos * horner(square, u[0::2][::-1]) + sin * horner(square, u[1::2][::-1]) / zeta
        out[low] = wave / (math.sqrt(math.pi) * np.sqrt(np.sqrt(z)))
    out[np.isposinf(x)] = 0.0
    return out
