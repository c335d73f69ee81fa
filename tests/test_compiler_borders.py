"""Reflected, replicated and circular borders have kernels, and so have their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from compiled import kernels_of, needs_native

pytestmark = needs_native


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    """Everything is compiled at its first run, and no border calls its reference."""
    with kernels_of(monkeypatch, frozenset({"border", "border_gradient"})):
        yield


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("shape", "pad"),
    [
        ((2, 3, 37), (3, 1)),
        ((2, 3, 4), (0, 3)),
        ((2, 3, 5, 16), (1, 1, 1, 1)),
        ((2, 3, 5, 33), (2, 0, 0, 4)),
        ((1, 2, 3, 4, 5), (1, 2, 0, 1, 2, 2)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_borders(mode, shape, pad, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    found = []
    for lib in (flambeau, torch):
        given = lib.tensor(x, requires_grad=True)
        out = lib.nn.functional.pad(given, pad, mode=mode)
        weights = lib.arange(out.numel(), dtype=out.dtype).reshape(out.shape).cos()
        (out * weights).sum().backward()
        found.append((out.detach().numpy(), given.grad.numpy()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-5)
