"""Compiled Bessel and incomplete gamma functions: true values, and the references' edge cases."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import torch

import flambeau
from compiled import needs_native, only_kernels  # noqa: F401  (a fixture)
from flambeau.ir.primitive import PRIMITIVES

pytestmark = [needs_native, pytest.mark.usefixtures("only_kernels")]

ORACLES: dict[str, Callable[..., np.ndarray]] = {
    "i0": scipy.special.i0,
    "i0e": scipy.special.i0e,
    "i1": scipy.special.i1,
    "i1e": scipy.special.i1e,
    "bessel_j0": scipy.special.j0,
    "bessel_j1": scipy.special.j1,
    "bessel_y0": scipy.special.y0,
    "bessel_y1": scipy.special.y1,
    "igamma": scipy.special.gammainc,
    "igammac": scipy.special.gammaincc,
}
BESSEL = list(ORACLES)[:8]
EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, 8.0, 8.000001, -8.000001, 1e-45, -1e-45, 1e-38, 1e4, -1e4, 3e38]
    + [math.inf, -math.inf, math.nan],
    np.float32,
)


def found(name: str, *operands: np.ndarray) -> np.ndarray:
    call = getattr(flambeau, name, None) or getattr(flambeau.special, name)
    return call(*[flambeau.from_numpy(x) for x in operands]).numpy()


@pytest.mark.parametrize("name", BESSEL)
def test_bessel_functions_are_rounded_once(name: str) -> None:
    g = np.random.default_rng(0)
    x = np.concatenate([g.uniform(-9, 9, 9000), g.uniform(-90, 90, 5000), g.standard_normal(999)])
    x = np.abs(x) if "y" in name else x
    x = x[np.abs(x) < 88] if name in ("i0", "i1") else x
    x = x.astype(np.float32)
    expected = ORACLES[name](x.astype(np.float64))
    ulp = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(found(name, x) - expected) / ulp) < 0.51


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero|overflow):RuntimeWarning")
@pytest.mark.parametrize("name", BESSEL)
def test_edges_are_those_of_the_reference(name: str) -> None:
    expected = PRIMITIVES[name].reference(EDGES)
    compiled = found(name, EDGES)
    np.testing.assert_allclose(compiled, expected, rtol=2e-7, atol=2e-45)
    zero = (expected == 0) & (compiled == 0)
    np.testing.assert_array_equal(np.signbit(compiled[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_floats(dtype: str) -> None:
    x = np.linspace(-20, 20, 257).astype(np.float32)
    for name in ("i0e", "bessel_j0"):
        ours = getattr(flambeau.special, name)(flambeau.from_numpy(x).to(getattr(flambeau, dtype)))
        rounded = torch.from_numpy(x).to(getattr(torch, dtype)).double().numpy()
        expected = torch.from_numpy(ORACLES[name](rounded)).to(getattr(torch, dtype))
        np.testing.assert_array_equal(ours.float().numpy(), expected.float().numpy())


@pytest.mark.parametrize("scale", [1, 20, 2000])
@pytest.mark.parametrize("name", ["igamma", "igammac"])
def test_incomplete_gamma(name: str, scale: int) -> None:
    g = np.random.default_rng(scale)
    a = (g.random(4000) * scale).astype(np.float32)
    x = (a * np.exp(g.standard_normal(4000) / 2)).astype(np.float32)
    expected = ORACLES[name](a.astype(np.float64), x.astype(np.float64))
    np.testing.assert_allclose(found(name, a, x), expected, rtol=2e-7, atol=1e-38)


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero|overflow):RuntimeWarning")
@pytest.mark.parametrize("name", ["igamma", "igammac"])
def test_edges_of_incomplete_gamma(name: str) -> None:
    few = EDGES[np.abs(EDGES) != np.float32(3e38)]
    a, x = (m.reshape(-1) for m in np.meshgrid(few, few))
    np.testing.assert_allclose(
        found(name, a, x), PRIMITIVES[name].reference(a, x), rtol=2e-6, atol=1e-40
    )


@pytest.mark.parametrize("name", ["i0", "i0e", "i1", "i1e"])
def test_gradients_agree_with_pytorch(name: str) -> None:
    x = np.random.default_rng(0).standard_normal(999).astype(np.float32) * 5
    x[0] = 0
    gradients = []
    for lib in (flambeau, torch):
        leaf = lib.from_numpy(x.copy()).requires_grad_()
        getattr(lib.special, name)(leaf).sum().backward()
        gradients.append(leaf.grad.numpy())
    np.testing.assert_allclose(*gradients, rtol=3e-5, atol=3e-6)


def test_gradient_of_incomplete_gamma() -> None:
    g = np.random.default_rng(0)
    a, x = g.uniform(0.1, 5, (2, 999)).astype(np.float32)
    gradients = []
    for lib in (flambeau, torch):
        leaf = lib.from_numpy(x.copy()).requires_grad_()
        lib.igamma(lib.from_numpy(a), leaf).sum().backward()
        gradients.append(leaf.grad.numpy())
    np.testing.assert_allclose(*gradients, rtol=2e-5)
