"""``torch.lobpcg``, and whether tensors are one view of the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import flambeau

MODULES = (torch, flambeau)


def symmetric(m: Any, n: int = 12) -> Any:
    x = np.random.default_rng(0).standard_normal((2, n, n))
    return m.from_numpy(x @ x.swapaxes(-1, -2))


@pytest.mark.parametrize("options", [{}, {"k": 2}, {"k": 3, "largest": False}, {"k": 1, "n": 2}])
@pytest.mark.parametrize("second", [False, True])
def test_eigenpairs(options, second):
    found = []
    for m in MODULES:
        m.manual_seed(0)
        A = symmetric(m)
        eye = m.eye(12, dtype=m.float64).expand(2, 12, 12)
        B = eye * 2 + 0.1 if second else None
        values, vectors = m.lobpcg(A, B=B, niter=200, tol=1e-10, **options)
        product = (B if second else eye) @ vectors * values[:, None]
        residual = (A @ vectors - product).abs().max().item()
        assert residual < 1e-6, m.__name__
        found.append([values.tolist(), list(vectors.shape)])
    np.testing.assert_allclose(found[1][0], found[0][0], 1e-6)
    assert found[1][1] == found[0][1]


def test_sparse_matrices():
    for size in (30, 1200):
        values = np.linspace(1.0, 50.0, size)
        A = flambeau.diag(flambeau.from_numpy(values)).to_sparse()
        flambeau.manual_seed(0)
        found, vectors = flambeau.lobpcg(A, k=2, tol=1e-6)
        np.testing.assert_allclose(found.tolist(), values[::-1][:2], 1e-3)
        assert vectors.shape == (size, 2)


def test_gradients_of_eigenvalues():
    grads = []
    for m in MODULES:
        A = symmetric(m)[0].requires_grad_()
        m.manual_seed(0)
        values, _ = m.lobpcg(A, k=1, niter=500, tol=1e-12)
        values.sum().backward()
        grads.append((A.grad + A.grad.mT).tolist())
    np.testing.assert_allclose(grads[1], grads[0], 1e-4, 1e-5)


def test_refusals():
    for m in MODULES:
        with pytest.raises(ValueError, match="is not applicable"):
            m.lobpcg(m.eye(4), k=2)
    with pytest.raises(NotImplementedError, match="no iteration"):
        flambeau.lobpcg(flambeau.eye(4), k=1, tracker=print)


def test_is_set_to():
    for m in MODULES:
        x = m.ones(3)
        y = x[1:]
        same = [x.is_set_to(x.view(3)), y.is_set_to(x[1:]), y.is_set_to(x.detach()[1:])]
        other = [x.is_set_to(y), x.is_set_to(x.clone()), x.is_set_to(x.view(3, 1))]
        assert all(same) and not any(other)
