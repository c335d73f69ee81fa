"""The gradient of a running product, and its own gradient, with and without zeros."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau


def gradients(lib, x, g, h, dim):
    x = lib.tensor(x, requires_grad=True)
    g = lib.tensor(g, requires_grad=True)
    (first,) = lib.autograd.grad(x.cumprod(dim), x, g, create_graph=True)
    by_x, by_g = lib.autograd.grad(first, (x, g), lib.tensor(h))
    return [t.detach().numpy() for t in (first, by_x, by_g)]


@pytest.mark.parametrize("zeros", [0, 1, 4, 30])
@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_first_and_second_gradient(dtype, dim, zeros):
    rng = np.random.default_rng(zeros)
    x, g, h = rng.standard_normal((3, 3, 5, 4)).astype(dtype)
    x.reshape(-1)[rng.permutation(60)[:zeros]] = 0
    found, expected = (gradients(lib, x, g, h, dim) for lib in (flambeau, torch))
    tolerance = 1e-10 if dtype is np.float64 else 1e-4
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_a_complex_running_product():
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, 3, 4)) + 1j * rng.standard_normal((2, 3, 4))
    x[1, 2] = 0
    found = []
    for lib in (flambeau, torch):
        given = lib.tensor(x, requires_grad=True)
        given.cumprod(1).backward(lib.tensor(g))
        found.append(given.grad.resolve_conj().numpy())
    np.testing.assert_allclose(*found, rtol=1e-10)
