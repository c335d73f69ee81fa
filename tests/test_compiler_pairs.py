"""Arithmetic of complex numbers: the kernels do what the references do, and PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import flambeau
from compiled import kernels_of, needs_native
from flambeau.ir import binary, pointwise  # noqa: F401  (they declare what is asked for here)
from flambeau.ir.primitive import PRIMITIVES

pytestmark = [
    needs_native,
    pytest.mark.filterwarnings(
        "ignore:(overflow|underflow|invalid value|divide by zero) encountered:RuntimeWarning"
    ),
]
NAMES = frozenset(
    {"add", "sub", "mul", "div", "neg", "exp", "conj", "real", "imag", "complex", "reciprocal",
     "square", "cast", "cumsum"}
)  # fmt: skip
DTYPES = ["complex64", "complex128"]
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 88.0, 89.0, 100.0, -100.0, 1e30, 1e-40,
         math.inf, -math.inf, math.nan]  # fmt: skip


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    with kernels_of(monkeypatch, NAMES):
        yield


def numbers(n, dtype, seed):
    g = np.random.default_rng(seed)
    return (
        (g.standard_normal(n) + 1j * g.standard_normal(n)) * 10 ** g.uniform(-3, 1.8, n)
    ).astype(dtype)


def parts(z):
    return z.view(z.real.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["add", "sub", "div"])
def test_of_two_numbers(name, dtype):
    """The bits of the references, edges included; of plain numbers what PyTorch has."""
    edges = np.array([complex(a, b) for a in EDGES for b in EDGES], dtype)
    x, y = (m.reshape(-1) for m in np.meshgrid(edges, edges))
    a, b = numbers(1003, dtype, 0), numbers(1003, dtype, 1)
    call = getattr(flambeau, name)
    found = call(*map(flambeau.from_numpy, (np.append(x, a), np.append(y, b)))).numpy()
    expected = PRIMITIVES[name].reference(np.append(x, a), np.append(y, b))
    np.testing.assert_array_equal(parts(found), parts(expected))
    theirs = getattr(torch, name)(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(
        found[x.size :], theirs, rtol=1e-6 if dtype == "complex64" else 1e-14
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_one_number(dtype):
    edges = np.array([complex(a, b) for a in EDGES for b in EDGES], dtype)
    x = np.append(edges, numbers(1003, dtype, 0))
    for name in ("reciprocal", "neg"):
        found = getattr(flambeau, name)(flambeau.from_numpy(x)).numpy()
        expected = PRIMITIVES[name].reference(x)
        np.testing.assert_array_equal(parts(found), parts(expected))
    found = flambeau.square(flambeau.from_numpy(x[edges.size :])).numpy()
    theirs = torch.square(torch.from_numpy(x[edges.size :])).numpy()
    np.testing.assert_allclose(found, theirs, rtol=1e-6 if dtype == "complex64" else 1e-14)


@pytest.mark.filterwarnings("ignore:Casting complex values to real:UserWarning")
@pytest.mark.parametrize("target", ["float32", "float64", "float16", "int64", "int32", "int8"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_casts_to_real_numbers(dtype, target):
    x = numbers(77, dtype, 0).reshape(7, 11)
    for z in (x, x[:, ::2], x.T, x[:1, :1]):
        found = flambeau.from_numpy(z).to(getattr(flambeau, target)).numpy()
        theirs = torch.from_numpy(z).to(getattr(torch, target)).numpy()
        np.testing.assert_array_equal(found, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_running_sums(dtype):
    for shape in ((7,), (3, 5), (2, 3, 4), (40, 17), (1, 1)):
        x = numbers(math.prod(shape), dtype, 0).reshape(shape)
        for dim in range(len(shape)):
            # Sums of complex64 are kept in complex128, unlike NumPy's.
            found = flambeau.from_numpy(x).cumsum(dim).numpy()
            np.testing.assert_array_equal(found, torch.from_numpy(x).cumsum(dim).numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponentials(dtype):
    x = np.array([complex(a, b) for a in EDGES for b in EDGES], dtype)
    x = np.append(x, numbers(5001, dtype, 0))
    found = flambeau.exp(flambeau.from_numpy(x)).numpy()
    reference = PRIMITIVES["exp"].reference(x)
    # Infinities, NaN and zeros are the same in each part.
    special = ~np.isfinite(parts(reference)) | (parts(reference) == 0)
    np.testing.assert_array_equal(parts(found)[special], parts(reference)[special])
    true = parts(np.exp(x.astype(np.complex128)) if dtype == "complex64" else reference)
    top = np.finfo(found.real.dtype)
    usual = np.isfinite(true) & (abs(true) < top.max) & (abs(true) > top.tiny) & ~special
    units = abs(parts(found)[usual] - true[usual]) / np.spacing(abs(parts(reference)[usual]))
    assert units.max() <= 4, units.max()
    theirs = torch.exp(torch.from_numpy(x[-5001:])).numpy()
    np.testing.assert_allclose(parts(found)[-10002:], parts(theirs), rtol=2e-6, atol=1e-30)


@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes_and_gradients(dtype):
    """Broadcast, strided and short operands; gradients as PyTorch's."""
    a, b = numbers(60, dtype, 0).reshape(12, 5), numbers(5, dtype, 1)
    # No exponential is infinite.
    a, b = (z / np.maximum(abs(z), 1) * 2 + 0.5 for z in (a, b))
    found = []
    for m in (flambeau, torch):
        x, y = m.from_numpy(a.copy()).requires_grad_(), m.from_numpy(b.copy()).requires_grad_()
        out = (x.exp() / 64 - y) + (-x / y).exp() * 1e-3 + x[:, ::2].sum() + x.t()[2, 3]
        (out.real * 0.25 + out.imag).sum().backward()
        found.append([out.detach().numpy(), x.grad.numpy(), y.grad.numpy()])
    for ours, theirs in zip(*found, strict=True):
        scale = abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=scale * 1e-5)
