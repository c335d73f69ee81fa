"""Orthogonal polynomials by their three-term recurrences (DLMF 18.9), in vectorised NumPy.

Arguments are flat float64 ``x`` and int64 ``n`` of one length; a negative degree gives 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

# Degrees past this would cost more than the closed form of Chebyshev's polynomials.
_CLOSED = 8


def recurrence(
    x: np.ndarray, n: np.ndarray, first: np.ndarray, step: Callable[..., np.ndarray]
) -> np.ndarray:
    """p_0 = 1, p_1 = first, p_{k + 1} = step(k, p_k, p_{k - 1}); p_n for each element."""
    out = np.where(n == 0, 1.0, np.where(n < 0, 0.0, first))
    before, here = np.ones_like(x), first
    for k in range(1, int(n.max(initial=0))):
        before, here = here, step(k, here, before)
        out = np.where(n == k + 1, here, out)
    return out


def _chebyshev(
    x: np.ndarray, n: np.ndarray, first: np.ndarray, closed: Callable[..., np.ndarray]
) -> np.ndarray:
    inside = (np.abs(x) < 1) & (n > _CLOSED)
    short = np.where(inside, 0, n)
    with np.errstate(all="ignore"):
        out = recurrence(x, short, first, lambda k, p, q: 2 * x * p - q)
        if inside.any():
            out[inside] = closed(np.arccos(x[inside]), n[inside])
    return out


def chebyshev_t(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """First kind: ``cos(n t)`` with ``x = cos(t)``."""
    return _chebyshev(x, n, x, lambda t, n: np.cos(n * t))


def chebyshev_u(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Second kind: ``sin((n + 1) t) / sin(t)``."""
    return _chebyshev(x, n, 2 * x, lambda t, n: np.sin((n + 1) * t) / np.sin(t))


def chebyshev_v(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Third kind: ``cos((n + 1/2) t) / cos(t / 2)``."""
    return _chebyshev(x, n, 2 * x - 1, lambda t, n: np.cos((n + 0.5) * t) / np.cos(t / 2))


def chebyshev_w(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Fourth kind: ``sin((n + 1/2) t) / sin(t / 2)``."""
    return _chebyshev(x, n, 2 * x + 1, lambda t, n: np.sin((n + 0.5) * t) / np.sin(t / 2))


def shifted(f: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A polynomial moved from [-1, 1] to [0, 1]."""
    return lambda x, n: f(2 * x - 1, n)


def hermite_h(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The physicist's Hermite polynomial."""
    return recurrence(x, n, 2 * x, lambda k, p, q: 2 * x * p - 2 * k * q)


def hermite_he(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The probabilist's Hermite polynomial."""
    return recurrence(x, n, x, lambda k, p, q: x * p - k * q)


def laguerre_l(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Laguerre's polynomial."""
    return recurrence(x, n, 1 - x, lambda k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1))


def legendre_p(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Legendre's polynomial."""
    return recurrence(x, n, x, lambda k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1))
