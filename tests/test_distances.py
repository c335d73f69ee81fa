"""Distances of many rows: values, gradients and second gradients are PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau


@pytest.mark.parametrize(
    "shapes", [((30, 7), (4, 7)), ((2, 3, 7), (2, 40, 7)), ((3, 7), (5, 27, 7))]
)
def test_cdist(shapes):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s) for s in shapes)
    b[..., 1, :] = a[..., 1, :] if len(shapes[0]) == len(shapes[1]) else b[..., 1, :]
    found = []
    for lib in (flambeau, torch):
        x, y = (lib.tensor(v, requires_grad=True) for v in (a, b))
        for _ in range(5):
            d = lib.cdist(x, y)
            weights = lib.arange(d.numel(), dtype=d.dtype).reshape(d.shape).cos()
            first = lib.autograd.grad((d * weights).sum(), (x, y))
        row = [d, *first]
        found.append([t.detach().numpy() for t in row])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_second_gradient():
    x = flambeau.tensor(np.random.default_rng(0).standard_normal((27, 2)), requires_grad=True)
    y = flambeau.tensor([[3.0, 4.0], [5.0, -6.0]], dtype=flambeau.float64, requires_grad=True)
    assert flambeau.autograd.gradgradcheck(lambda x, y: flambeau.cdist(x, y), (x, y))
