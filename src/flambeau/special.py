"""``flambeau.special``: special functions, under SciPy's names.

Formulas are those of the NIST Digital Library of Mathematical Functions (DLMF); the numerical
methods are named in ``flambeau.ir.reference``.
"""

from __future__ import annotations

from typing import Any

from flambeau.functions import special as _top
from flambeau.functions.checks import _need_one_tensor, _refuse
from flambeau.functions.pointwise import (
    _in_floats,
    exp2,
    expm1,
    log1p,
    logit,
    round,
    sigmoid,
    sinc,
)
from flambeau.functions.promotion import Number, floating
from flambeau.functions.special import (
    _of_one,
    digamma,
    erf,
    erfc,
    erfinv,
    i0,
    igamma,
    igammac,
    lgamma,
    mvlgamma,
    polygamma,
    xlogy,
)
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t",
    "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma",
    "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc",
    "gammaln", "hermite_polynomial_h", "hermite_polynomial_he", "i0", "i0e", "i1", "i1e",
    "laguerre_polynomial_l", "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit",
    "logsumexp", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0",
    "modified_bessel_k1", "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0", "xlog1py",
    "xlogy", "zeta",
]  # fmt: skip

psi, gammaln, multigammaln, expit = digamma, lgamma, mvlgamma, sigmoid
gammainc, gammaincc = igamma, igammac
xlog1py, zeta = _top._xlog1py, _top._zeta

entr = _of_one(
    "entr", r"Entropy :math:`-x \ln x`, 0 at 0, minus infinity below", grad="SpecialEntrBackward0"
)
erfcx = _of_one(
    "erfcx", r":math:`e^{x^2} \operatorname{erfc} x` [Cody 1969]", grad="SpecialErfcxBackward0"
)
ndtr = _of_one(
    "ndtr", r"Distribution function of the standard normal, :math:`\Phi(x)`", grad="MulBackward0"
)
ndtri = _of_one(
    "ndtri",
    r"Quantiles of the standard normal, :math:`\Phi^{-1}(x)` [Wichura 1988]",
    grad="SpecialNdtriBackward0",
)
log_ndtr = _of_one(
    "log_ndtr", r":math:`\ln \Phi(x)`, accurate in both tails", grad="SpecialLogNdtrBackward0"
)
i0e = _of_one("i0e", r":math:`e^{-|x|} I_0(x)` [DLMF 10.25]", grad="SpecialI0EBackward0")
i1 = _of_one(
    "i1", r"Modified Bessel function :math:`I_1(x)` [DLMF 10.25]", grad="SpecialI1Backward0"
)
i1e = _of_one("i1e", r":math:`e^{-|x|} I_1(x)` [DLMF 10.25]", grad="SpecialI1EBackward0")
bessel_j0 = _of_one("bessel_j0", r"Bessel function :math:`J_0(x)` [DLMF 10.2]")
bessel_j1 = _of_one("bessel_j1", r"Bessel function :math:`J_1(x)` [DLMF 10.2]")
bessel_y0 = _of_one("bessel_y0", r"Bessel function :math:`Y_0(x)` [DLMF 10.2]")
bessel_y1 = _of_one("bessel_y1", r"Bessel function :math:`Y_1(x)` [DLMF 10.2]")
modified_bessel_k0 = _of_one(
    "modified_bessel_k0", r"Modified Bessel function :math:`K_0(x)` [DLMF 10.25]"
)
modified_bessel_k1 = _of_one(
    "modified_bessel_k1", r"Modified Bessel function :math:`K_1(x)` [DLMF 10.25]"
)
scaled_modified_bessel_k0 = _of_one("scaled_modified_bessel_k0", r":math:`e^x K_0(x)` [DLMF 10.25]")
scaled_modified_bessel_k1 = _of_one("scaled_modified_bessel_k1", r":math:`e^x K_1(x)` [DLMF 10.25]")
spherical_bessel_j0 = _of_one(
    "spherical_bessel_j0", r"Spherical Bessel function :math:`\sin(x) / x` [DLMF 10.49]"
)
airy_ai = _of_one("airy_ai", r"Airy's function :math:`\operatorname{Ai}(x)` [DLMF 9.2]")


def _undifferentiated(name: str, primitive: str, meaning: str) -> Any:
    def compute(input: Tensor) -> Tensor:
        if input._meta.dtype.is_complex:
            _refuse(f"{name}_cpu", input._meta.dtype)
        return getattr(ops, primitive)(ops.detach(_in_floats(input)))

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"{meaning}, element by element; like PyTorch's it has no gradient."
    return function(compute)


modified_bessel_i0 = _undifferentiated(
    "modified_bessel_i0", "i0", r"Modified Bessel function :math:`I_0(x)` [DLMF 10.25]"
)
modified_bessel_i1 = _undifferentiated(
    "modified_bessel_i1", "i1", r"Modified Bessel function :math:`I_1(x)` [DLMF 10.25]"
)


def _polynomial(name: str, meaning: str) -> Any:
    def compute(input: Tensor | Number, n: Tensor | Number) -> Tensor:
        _need_one_tensor(name, input, n)
        x, k = floating(input, n)
        dtype = (x if isinstance(x, Tensor) else k)._meta.dtype
        if dtype.is_complex:
            _refuse(f"{name}_cpu", dtype)
        return getattr(ops, name)(x, k)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""{meaning} of degree n at x [DLMF 18.3], element by element.

    Either operand may be a number; a negative degree gives 0. There is no gradient.

    >>> torch.special.{name}(tensor([1.0]), 0)
    tensor([1.])
    """
    return function(compute)


chebyshev_polynomial_t = _polynomial(
    "chebyshev_polynomial_t", "Chebyshev polynomial of the first kind"
)
chebyshev_polynomial_u = _polynomial(
    "chebyshev_polynomial_u", "Chebyshev polynomial of the second kind"
)
chebyshev_polynomial_v = _polynomial(
    "chebyshev_polynomial_v", "Chebyshev polynomial of the third kind"
)
chebyshev_polynomial_w = _polynomial(
    "chebyshev_polynomial_w", "Chebyshev polynomial of the fourth kind"
)
shifted_chebyshev_polynomial_t = _polynomial(
    "shifted_chebyshev_polynomial_t", "Chebyshev polynomial of the first kind on [0, 1]"
)
shifted_chebyshev_polynomial_u = _polynomial(
    "shifted_chebyshev_polynomial_u", "Chebyshev polynomial of the second kind on [0, 1]"
)
shifted_chebyshev_polynomial_v = _polynomial(
    "shifted_chebyshev_polynomial_v", "Chebyshev polynomial of the third kind on [0, 1]"
)
shifted_chebyshev_polynomial_w = _polynomial(
    "shifted_chebyshev_polynomial_w", "Chebyshev polynomial of the fourth kind on [0, 1]"
)
hermite_polynomial_h = _polynomial("hermite_polynomial_h", "Physicist's Hermite polynomial")
hermite_polynomial_he = _polynomial("hermite_polynomial_he", "Probabilist's Hermite polynomial")
laguerre_polynomial_l = _polynomial("laguerre_polynomial_l", "Laguerre's polynomial")
legendre_polynomial_p = _polynomial("legendre_polynomial_p", "Legendre's polynomial")


# These live with the reductions; looked up at the call, as the package imports this module.


def logsumexp(
    input: Tensor, dim: Any, keepdim: bool = False, *, out: Tensor | None = None
) -> Tensor:
    """``flambeau.logsumexp``."""
    import flambeau

    return flambeau.logsumexp(input, dim, keepdim, out=out)


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """``flambeau.softmax``."""
    import flambeau

    return flambeau.softmax(input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """``flambeau.log_softmax``."""
    import flambeau

    return flambeau.log_softmax(input, dim, dtype=dtype)


# Calls that the tests make in PyTorch too: `tests/generated/`. At infinities PyTorch's Bessel
# functions are none of a number; its Airy and Y1 are off by 1e-6 in 64 bits, too.
SAMPLES = {
    "special.airy_ai": "x; 4 * y # loose; i; !c",
    "special.bessel_j0": "x; big; special[:2]; special[4:]; s; !c",
    "special.bessel_j1": "x; big; special[:2]; special[4:]; empty; !c",
    "special.bessel_y0": "positive; 20 * unit; special[:2]; special[4:]; i; !c",
    "special.bessel_y1": "positive; 20 * unit # loose; special[:2]; special[4:]; i; !c",
    "special.chebyshev_polynomial_t": (
        "unit, k; unit, 5; x, 3; 0.5, k; unit.double(), 8; x, -1; !1, 2"
    ),
    "special.chebyshev_polynomial_u": (
        "unit, k; unit, 5; x, 3; 0.5, k; unit.double(), 8; x, -1; !1, 2"
    ),
    "special.chebyshev_polynomial_v": "unit, k; unit, 5; 0.5, k; unit.double(), 8; x, -1; !1, 2",
    "special.chebyshev_polynomial_w": "unit, k; unit, 5; 0.5, k; unit.double(), 8; x, -1; !1, 2",
    "special.digamma": "x; positive; i + 0.5; s; special[2:6]; !c",
    "special.entr": "x; unit; special; i; !c",
    "special.erf": "x; big; special; i; !c",
    "special.erfc": "x; big; special; i; !c",
    "special.erfcx": "x; big / 10; s; i; !c",
    "special.erfinv": "unit; -unit; special; 2 * x; !c",
    "special.exp2": "x; big; special; i; c",
    "special.expit": "x; big; special; i; c",
    "special.expm1": "x; 1e-6 * x; special; i; c",
    "special.gammainc": (
        "positive, unit; positive, positive.flip(0); positive, row.abs(); !c, d # no-grad"
    ),
    "special.gammaincc": "positive, unit; positive, 9 * unit; positive, row.abs(); !c, d # no-grad",
    "special.gammaln": "x; positive; 20 * unit; special[2:6]; i; !c",
    "special.hermite_polynomial_h": "x, k; unit, 5; 0.5, k; x.double(), 6; x, -1; !1, 2",
    "special.hermite_polynomial_he": "x, k; unit, 5; 0.5, k; x.double(), 6; x, -1; !1, 2",
    "special.i0": "x; big / 5; special[:2]; special[4:]; i; !c",
    "special.i0e": "x; big; special; i; !c",
    "special.i1": "x; big / 5; special[:2]; special[4:]; i; !c",
    "special.i1e": "x; big; special[:2]; special[4:]; i; !c",
    "special.laguerre_polynomial_l": "x, k; unit, 5; 0.5, k; x.double(), 6; x, -1; !1, 2",
    "special.legendre_polynomial_p": "unit, k; x, 5; 0.5, k; unit.double(), 8; x, -1; !1, 2",
    "special.log1p": "positive; 1e-6 * x; special; i.abs(); c",
    "special.log_ndtr": "x; big / 10; special; i; !c",
    "special.log_softmax": "x, 0; x, dim=-1; i, 1, dtype=torch.float64; cube, 1; !x, 2",
    "special.logit": "unit; unit, 0.3; x, eps=0.125; !c",
    "special.logsumexp": "x, 0; x, (0, 1); x, 1, True; big, -1, keepdim=True; !x, 2",
    "special.modified_bessel_i0": "x; big / 5; special[:2]; special[4:]; i; !c",
    "special.modified_bessel_i1": "x; big / 5; special[:2]; special[4:]; i; !c",
    "special.modified_bessel_k0": "positive; 20 * unit; special; i; !c",
    "special.modified_bessel_k1": "positive; 20 * unit; special; i; !c",
    "special.multigammaln": "positive + 2, 3; positive, 1; i.abs() + 1, 2; !positive, 0",
    "special.ndtr": "x; big; special; i; !c",
    "special.ndtri": "unit; special; s.sigmoid(); truth; !c",
    "special.polygamma": "0, positive; 1, positive; 3, x; 2, i.abs() + 1; !-1, x",
    "special.psi": "x; positive; special[2:6]; i + 0.5; !c",
    "special.round": "big; big, decimals=1; big, decimals=-1; special; !c",
    "special.scaled_modified_bessel_k0": "positive; 20 * unit; special; i; !c",
    "special.scaled_modified_bessel_k1": "positive; 20 * unit; special; i; !c",
    "special.shifted_chebyshev_polynomial_t": "unit, k; unit, 5; 0.5, k; unit.double(), 8; !1, 2",
    "special.shifted_chebyshev_polynomial_u": "unit, k; unit, 5; 0.5, k; unit.double(), 8; !1, 2",
    "special.shifted_chebyshev_polynomial_v": "unit, k; unit, 5; 0.5, k; unit.double(), 8; !1, 2",
    "special.shifted_chebyshev_polynomial_w": "unit, k; unit, 5; 0.5, k; unit.double(), 8; !1, 2",
    "special.sinc": "x; x * 0; i; c; empty",
    "special.softmax": "x, 0; x, dim=-1; i, 1, dtype=torch.float64; cube, 1; !x, 2",
    "special.spherical_bessel_j0": "x; big; special; i; !c",
    "special.xlog1py": "x, positive; x, 2.0; 0.5, unit; i, k; special, special; !c, d",
    "special.xlogy": "x, positive; x, 2.0; 0.5, unit; i, k; special, special; !c, d",
    "special.zeta": "1 + positive, positive; 3, unit; positive + 1, 2.0; i, positive; !c, d",
}
