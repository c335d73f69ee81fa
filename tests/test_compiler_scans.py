"""Running logarithms of sums, gradients of running products: the kernels do what PyTorch does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import flambeau
from compiled import kernels_of, needs_native
from flambeau.ir import reduction, statistics  # noqa: F401  (they declare what is asked for here)
from flambeau.ir.primitive import PRIMITIVES

pytestmark = [
    needs_native,
    pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero):RuntimeWarning"),
]
NAMES = frozenset({"cumsum", "cumprod", "cumprod_gradient", "logcumsumexp"})
SHAPES = [(37,), (1, 50), (5, 33), (1, 1), (100, 7), (3, 4, 5), (2, 3, 40), (2, 50, 17)]


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    with kernels_of(monkeypatch, NAMES):
        yield


def places():
    return [(shape, dim) for shape in SHAPES for dim in range(len(shape))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_running_logarithms(dtype):
    g = np.random.default_rng(0)
    exact = {"rtol": 3e-7, "atol": 1e-12} if dtype == "float32" else {"rtol": 1e-13, "atol": 1e-13}
    for shape, dim in places():
        x = 5 * g.standard_normal(shape)
        odd = x.copy()
        few = g.integers(0, x.size, 1 + x.size // 8)
        odd.reshape(-1)[few] = g.choice([math.inf, -math.inf, math.nan, 800.0, -1e30], few.size)
        below = np.where(g.random(shape) < 0.7, -math.inf, x)
        for given in (x.astype(dtype), odd.astype(dtype), below.astype(dtype)):
            found = flambeau.logcumsumexp(flambeau.from_numpy(given), dim).numpy()
            assert found.dtype == given.dtype
            reference = PRIMITIVES["logcumsumexp"].reference(given, dim=dim)
            np.testing.assert_allclose(found, reference, **exact)
            theirs = torch.logcumsumexp(torch.from_numpy(given), dim).numpy()
            np.testing.assert_allclose(found, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, dtype",
    [(n, d) for n in ("cumsum", "cumprod") for d in ("float32", "float64", "float16", "bfloat16")]
    + [("cumsum", "complex64"), ("cumsum", "int64"), ("cumprod", "int64")],
)
def test_totals_are_rounded_when_they_are_stored(name, dtype):
    """To the bit: totals of 32-bit numbers are kept in 64 bits, those of 16-bit ones in 32."""
    g = torch.Generator().manual_seed(0)
    kind = getattr(flambeau, dtype)
    for shape, dim in [
        ((5, 33), 0),
        ((2, 50, 17), 1),
        ((3, 5000), 1),
        ((5000, 3), 0),
        ((5000,), 0),
    ]:
        x = 1 + torch.randn(shape, generator=g) / 50
        if name == "cumsum":
            x[0] = -0.0
        x = (x + 0.01j if dtype == "complex64" else x).to(getattr(torch, dtype))
        theirs = getattr(x, name)(dim)
        if dtype == "bfloat16":
            x, theirs = x.float(), theirs.float()
        ours = getattr(flambeau.from_numpy(x.numpy()).to(kind), name)(dim)
        assert ours.dtype is kind
        reference = PRIMITIVES[name].reference(x.numpy().astype(kind.numpy), dim=dim)
        for found in (ours.to(flambeau.float32) if dtype == "bfloat16" else ours, reference):
            found = np.asarray(found).astype(theirs.numpy().dtype)
            np.testing.assert_array_equal(found, theirs)
            if found.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(found), theirs.signbit())


@pytest.mark.parametrize("name", ["logcumsumexp", "cumprod"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves(name, dtype):
    x = torch.randn(9, 21, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    for dim in (0, 1):
        a = flambeau.tensor(x.float().tolist()).to(getattr(flambeau, dtype)).requires_grad_()
        b = x.clone().requires_grad_()
        ours, theirs = (getattr(t, name)(dim) for t in (a, b))
        close = {"rtol": 1e-2, "atol": 1e-2}
        np.testing.assert_allclose(ours.detach().float().numpy(), theirs.detach().float(), **close)
        ours.sum().backward()
        theirs.sum().backward()
        scale = b.grad.abs().max().item()
        np.testing.assert_allclose(
            a.grad.float().numpy() / scale, b.grad.float() / scale, atol=3e-2
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_running_products(dtype):
    """With no zero, one, and several of them, by the same call."""
    g = np.random.default_rng(0)
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-12}
    for shape, dim in places():
        for zeros in (0.0, 0.02, 0.3):
            x = g.standard_normal(shape).astype(dtype)
            x[g.random(shape) < zeros] = 0
            slope = g.standard_normal(shape).astype(dtype)
            found = []
            for m in (flambeau, torch):
                given = m.from_numpy(x.copy()).requires_grad_()
                given.cumprod(dim).backward(m.from_numpy(slope))
                found.append(given.grad.numpy())
            np.testing.assert_allclose(*found, **close)
            product = np.multiply.accumulate(x, dim)
            reference = PRIMITIVES["cumprod_gradient"].reference(slope, x, product, dim=dim)
            np.testing.assert_allclose(found[0], reference, **close)


def test_strided_and_broadcast():
    x = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    found = []
    for m in (flambeau, torch):
        t = m.from_numpy(x.copy()).requires_grad_()
        out = t.t().logcumsumexp(1)[::2].sum() + t[:, 1::3].cumprod(0).sum()
        out = out + t[0].expand(3, 8).logcumsumexp(0).cumprod(1).sum()
        out.backward()
        found.append((out.item(), t.grad.numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-4)
