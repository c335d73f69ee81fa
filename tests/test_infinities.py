"""Infinite values and their gradients, where a formula would multiply them by zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau

INF = float("inf")


@pytest.mark.parametrize("name", ["smooth_l1_loss", "huber_loss"])
def test_losses_that_are_linear_far_away(name):
    def run(m):
        x = m.tensor([0.3, INF, -INF, 5.0, 1.0, -1.0, 0.0], requires_grad=True)
        loss = getattr(m.nn.functional, name)(x, m.zeros(7), reduction="none")
        loss.backward(m.full((7,), 2.0))
        return loss.detach().numpy(), x.grad.numpy()

    for _ in range(5):
        for ours, theirs in zip(run(flambeau), run(torch), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_product_over_one_element():
    def run(m):
        return (m.zeros(2, 1) @ m.tensor([[1.0, INF, -INF]])).numpy()

    for _ in range(5):
        np.testing.assert_array_equal(run(flambeau), run(torch))


def test_a_complementary_error_function_far_left():
    def run(m):
        return m.special.erfcx(m.tensor([-INF, INF, -27.5, -26.0, float("nan")]).double()).numpy()

    for _ in range(5):
        np.testing.assert_allclose(run(flambeau), run(torch), rtol=1e-14)
