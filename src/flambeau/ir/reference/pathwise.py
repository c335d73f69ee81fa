"""How a gamma or beta variate moves with its parameter while its probability stays the same.

Implicit reparameterisation [Figurnov 2018]: with F the distribution function and p the density,
dx/da = -(dF/da) / p. The series are those of F differentiated term by term, each on the side of
the mean where its terms have one sign.
"""

from __future__ import annotations

import numpy as np

from flambeau.ir.reference.gamma import digamma64

# Longest series; what is left is below 1e-16 long before, but for a beta variate next to 1.
_TERMS = 20_000
# From here on the Wilson-Hilferty cube root is as good as float64 sums of thousands of terms.
_LARGE = 1e5
_NODES, _WEIGHTS = np.polynomial.laguerre.laggauss(48)


def gamma_path64(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dx/da of gamma variates ``x`` of shape ``a`` and rate 1; flat float64 arrays."""
    found = np.zeros_like(x)
    with np.errstate(all="ignore"):
        large = (a > _LARGE) & (x > 0)
        above = (x > a + 0.5 + np.sqrt(a)) & ~large
        below = (x > 0) & ~above & ~large
        for chosen, f in ((large, _gamma_cube), (above, _gamma_above), (below, _gamma_below)):
            if chosen.any():
                found[chosen] = f(a[chosen], x[chosen])
    return np.where(np.isnan(a) | np.isnan(x), np.nan, found)


def _gamma_below(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    r""":math:`-\sum_n \frac{\Gamma(a) x^{n+1}}{\Gamma(a+n+1)} (\log x - \psi(a+n+1))`."""
    log_x, psi, term = np.log(x), digamma64(a + 1), x / a
    total = term * (log_x - psi)
    for n in range(1, _TERMS):
        term = term * (x / (a + n))
        psi = psi + 1 / (a + n)
        step = term * (log_x - psi)
        total = total + step
        if not (np.abs(step) > 1e-17 * np.abs(total)).any():
            break
    return -total


def _gamma_above(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    r""":math:`\int_0^\infty (1 + u/x)^{a-1} e^{-u} (\log(x+u) - \psi(a)) du`, by Laguerre's rule.

    The variable is scaled so that the integrand falls like :math:`e^{-s}` at 0.
    """
    a, x = a[:, None], x[:, None]
    scale = np.where(a > 1, 1 / (1 - (a - 1) / x), 1.0)
    u = _NODES * scale
    shape = np.exp((a - 1) * np.log1p(u / x) - u + _NODES)
    return (scale * _WEIGHTS * shape * (np.log(x + u) - digamma64(a))).sum(-1)


def _gamma_cube(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The derivative of a (1 - 1 / 9a + z / 3 sqrt(a))**3 at a fixed normal quantile z."""
    root = np.cbrt(x / a)
    z = 3 * np.sqrt(a) * (root - 1 + 1 / (9 * a))
    return root**3 + 3 * a * root**2 * (1 / (9 * a * a) - z / (6 * a**1.5))


def beta_path64(x: np.ndarray, a: np.ndarray, total: np.ndarray) -> np.ndarray:
    """(dx/da) / (1 - x) of beta variates of parameters ``a`` and ``total - a``, the latter fixed.

    It is what a gradient of Dirichlet variates is made of. Flat float64 arrays.
    """
    b = total - a
    found = np.zeros_like(x)
    with np.errstate(all="ignore"):
        inside = (x > 0) & (x < 1) & (a > 0) & (b > 0)
        # Each side of the mean has its series, but next to the other end it needs too many terms,
        # and a few deviations across the mean the near end's is still exact.
        near_zero = (x < 0.5) & (b * x < a + 10)
        near_one = (x >= 0.5) & (a * (1 - x) < b + 10)
        below = inside & (near_zero | ((x * total <= a) & ~near_one))
        above = inside & ~below
        if below.any():
            found[below] = _beta_below(x[below], a[below], b[below])
        if above.any():
            found[above] = _beta_above(x[above], a[above], b[above])
    return np.where(np.isnan(x) | np.isnan(a) | np.isnan(total), np.nan, found)


def _beta_below(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    r""":math:`-\frac{x}{a} \sum_n t_n (\log x + \psi(a+b+n) - \psi(a+1+n))`,
    :math:`t_n = \frac{(a+b)_n}{(a+1)_n} x^n`.
    """
    return -(x / a) * _hypergeometric(x, a, b, np.log(x) + digamma64(a + b), digamma64(a + 1))


def _beta_above(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The same from the other end, where ``a`` is the second parameter."""
    start = np.log(x) + digamma64(a + b) - digamma64(a)
    return (x / b) * _hypergeometric(1 - x, b, a, start, None)


def _hypergeometric(
    x: np.ndarray, a: np.ndarray, b: np.ndarray, up: np.ndarray, down: np.ndarray | None
) -> np.ndarray:
    """Sum of t_n (up_n - down_n); ``up`` and ``down`` are digammas that move on with n."""
    term = np.ones_like(x)
    fixed = down is None
    low = np.zeros_like(x) if down is None else down
    total = up - low
    for n in range(1, _TERMS):
        term = term * ((a + b + n - 1) / (a + n) * x)
        up = up + 1 / (a + b + n - 1)
        low = low if fixed else low + 1 / (a + n)
        step = term * (up - low)
        total = total + step
        if not (np.abs(step) > 1e-16 * np.abs(total) * (1 - x)).any():
            break
    return total


def standard_gamma_gradient(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``gamma_path64`` of arrays of any shape and dtype."""
    return _shaped(gamma_path64, a, x)


def dirichlet_gradient(x: np.ndarray, a: np.ndarray, total: np.ndarray) -> np.ndarray:
    """``beta_path64`` of arrays of any shape and dtype."""
    return _shaped(beta_path64, x, a, total)


def _shaped(f: object, *operands: np.ndarray) -> np.ndarray:
    arrays = [np.asarray(x) for x in operands]
    shape = np.broadcast_shapes(*[x.shape for x in arrays])
    flat = [np.broadcast_to(x.astype(np.float64), shape).reshape(-1) for x in arrays]
    return f(*flat).astype(arrays[0].dtype).reshape(shape)  # type: ignore[operator]
