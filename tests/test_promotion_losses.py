"""Losses of operands of several dtypes are computed in the widest, whichever tier computes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau

DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("wide", DTYPES)
@pytest.mark.parametrize("given", DTYPES)
@pytest.mark.parametrize("which", ["weight", "pos_weight"])
def test_weights_of_another_dtype(which, given, wide):
    values = np.random.default_rng(5).random((3, 3, 4)) + 0.1

    def run(m):
        x, y = (m.tensor(v, dtype=getattr(m, wide), requires_grad=True) for v in values[:2])
        weight = m.tensor(values[2], dtype=getattr(m, given))
        loss = m.nn.functional.binary_cross_entropy_with_logits(x, y, **{which: weight})
        first = m.autograd.grad(loss * 1.5, [x, y], create_graph=True)
        second = m.autograd.grad(sum((g * g).sum() for g in first), [x, y])
        return [t.detach().numpy() for t in (loss, *first, *second)]

    # PyTorch subtracts 1 from a float32 weight in float32; its gradient does not.
    tolerance = 1e-6 if wide == "float32" else 1e-12 if given == wide else 1e-8
    for _ in range(5):
        for ours, theirs in zip(run(flambeau), run(torch), strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
