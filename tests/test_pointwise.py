"""Pointwise functions agree with PyTorch: values, gradients, dtypes, in-place forms, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch

import flambeau
from flambeau.ir.reference import bessel, erf, gamma

LINE = np.concatenate([np.linspace(-3, 3, 25), [0.0, -0.0]])
UNIT = np.linspace(-0.95, 0.95, 21)
OPEN = np.linspace(0.05, 0.95, 15)
POSITIVE = np.concatenate([np.linspace(0.1, 4, 15), [12.5, 30.0]])
WIDE = np.concatenate([np.linspace(-12, 12, 31)])
SPECIAL = np.array([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-30])

# Functions of one number, by the values they are compared on.
UNARY = {
    "LINE": "exp exp2 expm1 square sin cos tan atan sinh cosh tanh asinh sigmoid sinc abs sign sgn "
    "relu floor ceil trunc round frac nan_to_num deg2rad rad2deg positive angle erf erfc i0 neg "
    "isnan isinf isposinf isneginf isfinite isreal signbit logical_not special.erfcx special.ndtr "
    "special.log_ndtr special.i0e special.i1 special.i1e special.bessel_j0 special.bessel_j1 "
    "special.spherical_bessel_j0 special.airy_ai special.entr special.modified_bessel_i0 "
    "special.modified_bessel_i1 arctan absolute fix arcsinh special.expit special.round",
    "UNIT": "asin acos atanh erfinv log1p arcsin arccos arctanh",
    "OPEN": "logit special.ndtri",
    "POSITIVE": "log log2 log10 sqrt rsqrt reciprocal lgamma digamma special.psi special.gammaln "
    "special.bessel_y0 special.bessel_y1 special.modified_bessel_k0 special.modified_bessel_k1 "
    "special.scaled_modified_bessel_k0 special.scaled_modified_bessel_k1",
}
ABOVE_ONE = np.linspace(1.1, 5, 10)
CASES = [(name, grid) for grid, names in UNARY.items() for name in names.split()]
CASES += [("acosh", "ABOVE_ONE"), ("arccosh", "ABOVE_ONE")]

# Calls of several operands: expression, with x, y, z positive and i, j, k integral.
CALLS = """
torch.maximum(x, y); torch.minimum(x, y); torch.fmax(x, y); torch.fmin(x, y); torch.atan2(x, y)
torch.hypot(x, y); torch.copysign(x, -y); torch.copysign(x, -1.0); torch.logaddexp(x, y)
torch.logaddexp2(x, y); torch.xlogy(x, y); torch.xlogy(2, x); torch.float_power(x, 2)
torch.float_power(x, y); torch.ldexp(x, y); torch.lerp(x, y, 0.3); torch.lerp(x, y, z)
torch.addcmul(x, y, z, value=0.5); torch.addcdiv(x, y, z, value=2); torch.clamp(x, 0.5, 1.5)
torch.clamp(x, y, z); torch.clamp(x, min=y); torch.clamp_min(x, 1); torch.clamp_max(x, y)
torch.where(x > y, x, y); torch.where(x > 1, x, 0.0); x.where(x > 1, 2)
torch.round(x, decimals=2); torch.round(x, decimals=-1); torch.polygamma(2, x)
torch.mvlgamma(x + 3, 3); torch.igamma(y, x); torch.igammac(y.detach(), x)
torch.special.zeta(2.5, x); torch.special.xlog1py(x, y); torch.logit(x / 5, 0.3)
torch.nan_to_num(x, 1.0, 2.0, 3.0); x.clone(); x.double(); x.to(torch.float64)
x.detach() // y.detach(); x % y; 2 / x; 2 - x; 2**x; x**2; -x; abs(x); x / 2; 3.0 // x.detach()
torch.special.chebyshev_polynomial_t(x.detach() / 5, k)
torch.special.hermite_polynomial_h(x.detach(), k)
torch.special.laguerre_polynomial_l(x.detach(), 3)
torch.special.legendre_polynomial_p(x.detach(), k)
torch.special.shifted_chebyshev_polynomial_w(x.detach() / 5, 12); torch.bitwise_and(i, j)
torch.bitwise_or(i, 3); torch.bitwise_xor(i, j); torch.bitwise_not(i)
torch.bitwise_left_shift(i, k); torch.bitwise_right_shift(i, k); i & 3; 1 | i; i ^ j; ~i; i << 2
i >> 1; torch.gcd(i, j); torch.lcm(i, j); torch.logical_and(i, j); torch.logical_xor(x, i)
i // 3; i % 3; torch.exp(i); torch.sqrt(j); torch.floor(i); torch.clamp(i, 0.5); torch.square(b)
torch.sgn(i); torch.angle(i); torch.heaviside(i, j); torch.atan2(i, j); torch.true_divide(i, 2)
torch.isnan(i); torch.isclose(x, x + 1e-6); torch.isclose(i, i); i.float(); i.bool()
i.to(torch.complex64); b.long(); torch.exp(c); torch.sigmoid(c); torch.abs(c); torch.sgn(c)
torch.angle(c); torch.conj(c); c.real; c.imag; torch.sqrt(c); torch.tanh(c); torch.log(c)
torch.view_as_real(c); torch.view_as_complex(p); p.mT; c.H; torch.complex(x, y)
torch.polar(x, y); torch.nextafter(x, y); torch.reciprocal(c); torch.asin(c); torch.frexp(x)[0]
torch.frexp(x)[1]; x.T; x.new_tensor([1, 2]); x.new_full((2,), 3); x.new_zeros(2, 3)
"""
EXPRESSIONS = [e.strip() for line in CALLS.strip().splitlines() for e in line.split(";")]

REFUSED = """
torch.exp("a"); torch.bitwise_and(x, x); ~x; x << 1; torch.floor(b); torch.floor(c)
torch.sign(c); i.exp_(); torch.erf(c); torch.abs(b); c.detach().abs_(); torch.relu(b)
torch.clamp(x); torch.clamp(c, 0, 1); torch.clamp(x, min=y, max=3); torch.frac(i)
torch.positive(b); torch.gcd(x, x); torch.heaviside(x, i); torch.lerp(x, i, 0.5)
torch.nextafter(i, i); torch.hypot(i, i); torch.maximum(c, c); torch.frexp(i); torch.signbit(c)
torch.isposinf(c); torch.addcdiv(i, i, i); torch.where(i, x, x); torch.isclose(x, i)
torch.logaddexp(i, i); torch.imag(x); torch.complex(x, x.double()); torch.complex(i, i)
torch.polygamma(-1, x); torch.mvlgamma(x, 0); x.cuda(); x.to("cuda"); torch.is_nonzero(x)
x[0].mT; x[0].H; torch.numel(3); x.apply_(abs); x @ 2; x + None; x + "a"; torch.view_as_real(x)
torch.view_as_complex(x[:1]); torch.maximum(x, 2); torch.isclose(x, x, rtol=-1)
"""
REFUSALS = [e.strip() for line in REFUSED.strip().splitlines() for e in line.split(";")]


def find(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def array(t: Any) -> np.ndarray:
    return np.asarray(t.detach().resolve_conj().numpy(force=True))


def agree(mine: Any, theirs: Any, tolerance: float) -> None:
    assert str(mine.dtype) == str(theirs.dtype)
    assert tuple(mine.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(array(mine), array(theirs), rtol=tolerance, atol=tolerance)


def operands(m: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)

    def positive() -> Any:
        return m.tensor(rng.uniform(0.2, 3, (2, 3)).astype(np.float32), requires_grad=True)

    def whole(low: int, high: int) -> Any:
        return m.tensor(rng.integers(low, high, (2, 3)))

    c = rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3))
    return {
        "torch": m, "x": positive(), "y": positive(), "z": positive(), "i": whole(-9, 9),
        "j": whole(1, 9), "k": whole(0, 5), "b": m.tensor([True, False]),
        "c": m.tensor(c.astype(np.complex64), requires_grad=True),
        "p": m.tensor(rng.normal(size=(3, 2)).astype(np.float32), requires_grad=True),
    }  # fmt: skip


def outcome(m: Any, expression: str) -> tuple[Any, list[Any]]:
    """The value of an expression, and the gradients that reach its operands."""
    given = operands(m)
    found = eval(expression, given)
    grads = []
    if found.requires_grad and "igamma(" not in expression:
        weight = np.random.default_rng(2).normal(size=tuple(found.shape))
        seed = m.tensor(weight).to(found.dtype)
        found.backward(seed)
        grads = [given[name].grad for name in "xyzcp"]
    return found, grads


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "grid"), CASES)
def test_one_number(name: str, grid: str, dtype: str) -> None:
    values = globals()[grid]
    # PyTorch's own are no better for these.
    loose = {"digamma": 1e-8, "special.psi": 1e-8, "special.airy_ai": 1e-5}
    tolerance = 3e-6 if dtype == "float32" else 1e-11
    if "bessel_" in name:
        tolerance = max(tolerance, 1e-8)
    tolerance = max(tolerance, loose.get(name, 0.0))
    results = []
    for m in (flambeau, torch):
        x = m.tensor(values.astype(dtype), requires_grad=True)
        y = find(m, name)(x)
        if y.requires_grad:
            y.backward(m.ones_like(y))
        results.append((y, x.grad))
    (mine, grad), (theirs, expected) = results
    agree(mine, theirs, tolerance)
    assert (grad is None) == (expected is None)
    if grad is not None:
        np.testing.assert_allclose(array(grad), array(expected), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "grid"), [c for c in CASES if "." not in c[0] and c[0] != "i0"])
def test_special_values(name: str, grid: str) -> None:
    mine, theirs = (find(m, name)(m.tensor(SPECIAL)) for m in (flambeau, torch))
    agree(mine, theirs, 1e-11)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expression(expression: str) -> None:
    (mine, grads), (theirs, expected) = (outcome(m, expression) for m in (flambeau, torch))
    agree(mine, theirs, 5e-6)
    assert [g is None for g in grads] == [g is None for g in expected]
    for g, e in zip(grads, expected, strict=True):
        if g is not None:
            agree(g, e, 2e-5)


@pytest.mark.parametrize("expression", REFUSALS)
def test_refused(expression: str) -> None:
    with pytest.raises(Exception) as theirs:
        eval(expression, operands(torch))
    with pytest.raises(theirs.type) as mine:
        eval(expression, operands(flambeau))
    wording = str(theirs.value)
    if "invalid combination" not in wording:
        assert str(mine.value)[:60] == wording[:60]


@pytest.mark.parametrize(
    "name", [name for name, _ in CASES if "." not in name and hasattr(torch.Tensor, name + "_")]
)
def test_in_place_equals_plain(name: str) -> None:
    x = flambeau.tensor(OPEN.astype(np.float32))
    expected = array(getattr(x, name)()).copy()
    assert getattr(x, name + "_")() is x
    np.testing.assert_array_equal(array(x), expected)


@pytest.mark.parametrize(
    ("mine", "theirs", "values"),
    [
        (erf.erf64, scipy.special.erf, LINE),
        (erf.erfc64, scipy.special.erfc, np.linspace(-3, 3, 101)),
        (erf.erfinv64, scipy.special.erfinv, np.linspace(-0.9999, 0.9999, 301)),
        (gamma.lgamma64, scipy.special.gammaln, np.linspace(-9.7, 150, 1234)),
        (gamma.digamma64, scipy.special.digamma, np.linspace(-9.7, 150, 1234)),
        (bessel.j0, scipy.special.j0, np.linspace(-60, 60, 999)),
        (bessel.j1, scipy.special.j1, np.linspace(-60, 60, 999)),
        (bessel.y0, scipy.special.y0, np.linspace(0.01, 60, 999)),
        (bessel.y1, scipy.special.y1, np.linspace(0.01, 60, 999)),
        (bessel.airy_ai, lambda x: scipy.special.airy(x)[0], np.linspace(-40, 20, 999)),
    ],
)
def test_kernels_to_twelve_digits(mine: Any, theirs: Any, values: np.ndarray) -> None:
    np.testing.assert_allclose(mine(values), theirs(values), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_finfo(name: str) -> None:
    from flambeau.limits import finfo

    assert repr(finfo(getattr(flambeau, name))) == repr(torch.finfo(getattr(torch, name)))


def test_iinfo() -> None:
    from flambeau.limits import iinfo

    for name in ("int8", "uint8", "int16", "int32", "int64"):
        assert repr(iinfo(getattr(flambeau, name))) == repr(torch.iinfo(getattr(torch, name)))


def test_default_dtype_changes_promotion() -> None:
    flambeau.set_default_dtype(flambeau.float64)
    try:
        assert flambeau.exp(flambeau.tensor([1])).dtype is flambeau.float64
    finally:
        flambeau.set_default_dtype(flambeau.float32)
    assert flambeau.exp(flambeau.tensor([1])).dtype is flambeau.float32


def test_clone_has_memory_of_its_own() -> None:
    x = flambeau.tensor([1.0, 2.0])
    y = x.clone()
    y.add_(1)
    assert x.tolist() == [1.0, 2.0]
    assert y.tolist() == [2.0, 3.0]
