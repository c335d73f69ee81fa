"""Primitives for special functions: NumPy kernels of ``ir.reference``, computed in float64."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.numeric import as_array, undefined
from flambeau.ir.pointwise import same
from flambeau.ir.primitive import PRIMITIVES, primitive, unbroadcast
from flambeau.ir.reference import bessel, erf, gamma, polynomials

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.ir.graph import Var

P = PRIMITIVES


def precise(f: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """``f`` of flat float64 arrays, rounded once to the operands' dtype."""

    def reference(x: Any, **attrs: Any) -> np.ndarray:
        x = np.asarray(x)
        flat = np.array(x, np.float64).reshape(-1)
        return f(flat, **attrs).astype(x.dtype).reshape(x.shape)

    return reference


def precise_pair(f: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The same for two operands that broadcast; either may be a number."""

    def reference(x: Any, y: Any) -> np.ndarray:
        dtype = x.dtype if hasattr(x, "dtype") else y.dtype
        a, b = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        found = f(a.reshape(-1).copy(), b.reshape(-1).copy())
        return found.astype(dtype).reshape(a.shape)

    return reference


def _special(
    name: str, meaning: str, f: Callable[..., np.ndarray], gradient: Callable | None = None
) -> None:
    primitive(name, meaning, rule=same, reference=precise(f), gradient=gradient)


# ------------------------------------------------------------------- error function and normal

_TWO_BY_ROOT_PI = 2 / math.sqrt(math.pi)


def _erf(x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype == np.float32:
        return erf.erf32(x)
    if x.dtype.itemsize == 2:
        return erf.erf32(x.astype(np.float32)).astype(x.dtype)
    return erf.erf64(x)


primitive(
    "erf",
    "error function",
    rule=same,
    reference=_erf,
    gradient=lambda g, x, *, out: g * P["exp"](-(x * x)) * _TWO_BY_ROOT_PI,
)
_special(
    "erfc",
    "1 - erf(x)",
    erf.erfc64,
    lambda g, x, *, out: g * P["exp"](-(x * x)) * -_TWO_BY_ROOT_PI,
)
_special(
    "erfcx",
    "exp(x * x) erfc(x)",
    erf.erfcx64,
    lambda g, x, *, out: g * (x * out * 2.0 - _TWO_BY_ROOT_PI),
)
_special(
    "erfinv",
    "inverse of erf",
    erf.erfinv64,
    lambda g, x, *, out: g * P["exp"](P["square"](P["erfinv"](x))) * (math.sqrt(math.pi) / 2),
)
_special(
    "ndtr",
    "standard normal distribution function",
    erf.ndtr64,
    lambda g, x, *, out: g * P["exp"](x * x * -0.5) * (1 / math.sqrt(2 * math.pi)),
)
_special(
    "log_ndtr",
    "logarithm of ndtr",
    erf.log_ndtr64,
    lambda g, x, *, out: g / P["erfcx"](x * -math.sqrt(0.5)) * math.sqrt(2 / math.pi),
)
_special(
    "ndtri",
    "quantile of the standard normal distribution",
    erf.ndtri64,
    lambda g, x, *, out: g * P["exp"](out * out * 0.5) * math.sqrt(2 * math.pi),
)

# -------------------------------------------------------------------------------------- gamma

_special("lgamma", "log |Gamma(x)|", gamma.lgamma64, lambda g, x, *, out: g * P["digamma"](x))
_special(
    "digamma",
    "derivative of log Gamma",
    gamma.digamma64,
    lambda g, x, *, out: g * P["polygamma"](x, n=1),
)
_special(
    "polygamma",
    "n-th derivative of digamma",
    gamma.polygamma64,
    lambda g, x, *, out, n: g * P["polygamma"](x, n=n + 1),
)


def _gamma_density(g: Var, a: Any, x: Var, sign: float) -> Var:
    """The derivative of P(a, x) by x."""
    log_gamma = P["lgamma"](a)
    return unbroadcast(g * P["exp"]((a - 1.0) * P["log"](x) - x - log_gamma) * sign, x)


primitive(
    "igamma",
    "regularised lower incomplete gamma function",
    rule=same,
    reference=precise_pair(gamma.igamma64),
    gradient=(
        undefined("igamma: input", 0),
        lambda g, a, x, *, out: _gamma_density(g, a, x, 1.0),
    ),
)
primitive(
    "igammac",
    "regularised upper incomplete gamma function",
    rule=same,
    reference=precise_pair(gamma.igammac64),
    gradient=(
        undefined("igammac: input", 0),
        lambda g, a, x, *, out: _gamma_density(g, a, x, -1.0),
    ),
)


def _zeta_by_q(g: Var, s: Var, q: Var) -> Var:
    return unbroadcast(-g * s * P["zeta"](s + 1.0, q), q)


primitive(
    "zeta",
    "Hurwitz's zeta function",
    rule=same,
    reference=precise_pair(gamma.zeta64),
    gradient=(
        undefined("zeta", 0),
        lambda g, s, q, *, out: _zeta_by_q(g, as_array(s, q.dtype), q),
    ),
)

# ------------------------------------------------------------------------------------- Bessel

_special(
    "i0",
    "modified Bessel function of the first kind, order 0",
    lambda x: bessel.modified_i(x, 0),
    lambda g, x, *, out: g * P["i1"](x),
)
_special(
    "i0e",
    "i0 times exp(-|x|)",
    lambda x: bessel.scaled_i(x, 0),
    lambda g, x, *, out: g * (P["i1e"](x) - P["sign"](x) * out),
)


def _by_x(numerator: Var, x: Var, at_zero: float) -> Var:
    """``numerator / x``, with its limit at zero."""
    zero = P["eq"](x, 0.0)
    return P["where"](zero, at_zero, numerator / P["where"](zero, 1.0, x))


_special(
    "i1",
    "modified Bessel function of the first kind, order 1",
    lambda x: bessel.modified_i(x, 1),
    lambda g, x, *, out: g * (P["i0"](x) - _by_x(out, x, 0.5)),
)
_special(
    "i1e",
    "i1 times exp(-|x|)",
    lambda x: bessel.scaled_i(x, 1),
    lambda g, x, *, out: g * (P["i0e"](x) - out * P["sign"](x) - _by_x(out, x, 0.5)),
)
for _name, _meaning, _f in (
    ("bessel_j0", "Bessel function of the first kind, order 0", bessel.j0),
    ("bessel_j1", "Bessel function of the first kind, order 1", bessel.j1),
    ("bessel_y0", "Bessel function of the second kind, order 0", bessel.y0),
    ("bessel_y1", "Bessel function of the second kind, order 1", bessel.y1),
    (
        "modified_bessel_k0",
        "modified Bessel function of the second kind, order 0",
        lambda x: bessel.modified_k(x, 0, False),
    ),
    (
        "modified_bessel_k1",
        "modified Bessel function of the second kind, order 1",
        lambda x: bessel.modified_k(x, 1, False),
    ),
    (
        "scaled_modified_bessel_k0",
        "modified_bessel_k0 times exp(x)",
        lambda x: bessel.modified_k(x, 0, True),
    ),
    (
        "scaled_modified_bessel_k1",
        "modified_bessel_k1 times exp(x)",
        lambda x: bessel.modified_k(x, 1, True),
    ),
    ("spherical_bessel_j0", "sin(x) / x", bessel.spherical_j0),
    ("airy_ai", "Airy's function Ai", bessel.airy_ai),
):
    _special(_name, _meaning, _f)

# -------------------------------------------------------------------------------- polynomials


def _polynomial(f: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def reference(x: np.ndarray, n: np.ndarray) -> np.ndarray:
        degrees = n.astype(np.int64)
        with np.errstate(all="ignore"):
            return f(x, degrees)

    return precise_pair(reference)


_KINDS = {"t": "first", "u": "second", "v": "third", "w": "fourth"}
for _kind, _nth in _KINDS.items():
    _f = getattr(polynomials, f"chebyshev_{_kind}")
    _meaning = f"Chebyshev's polynomial of the {_nth} kind, of degree n, at x"
    primitive(f"chebyshev_polynomial_{_kind}", _meaning, rule=same, reference=_polynomial(_f))
    primitive(
        f"shifted_chebyshev_polynomial_{_kind}",
        _meaning.removesuffix("x") + "2 x - 1",
        rule=same,
        reference=_polynomial(polynomials.shifted(_f)),
    )

for _name, _meaning, _f in (
    (
        "hermite_polynomial_h",
        "Hermite's polynomial of degree n, physicists'",
        polynomials.hermite_h,
    ),
    (
        "hermite_polynomial_he",
        "Hermite's polynomial of degree n, probabilists'",
        polynomials.hermite_he,
    ),
    ("laguerre_polynomial_l", "Laguerre's polynomial of degree n", polynomials.laguerre_l),
    ("legendre_polynomial_p", "Legendre's polynomial of degree n", polynomials.legendre_p),
):
    primitive(_name, _meaning, rule=same, reference=_polynomial(_f))
