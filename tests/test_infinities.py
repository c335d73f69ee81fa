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


@pytest.mark.parametrize(
    "f",
    [
        lambda m, x, y: m.copysign(x, y),
        lambda m, x, y: m.div(x, y, rounding_mode="floor"),
        lambda m, x, y: m.div(x, y, rounding_mode="trunc"),
        lambda m, x, y: m.pow(x, y),
        lambda m, x, y: x**0 + 0 * y.detach(),
        lambda m, x, y: m.pow(0.0, y) + 0 * x.detach(),
        lambda m, x, y: m.angle(x),
        lambda m, x, y: m.maximum(x, y),
        lambda m, x, y: m.minimum(x, y),
        lambda m, x, y: m.lerp(x, y, 0.25),
        lambda m, x, y: m.fill(x, 2.0) + 0 * y.detach(),
    ],
)
def test_where_a_gradient_is_zero_it_is_so_for_any_other(f):
    def run(m):
        x = m.tensor([1.0, 0.0, -2.0, 3.0, 0.0], requires_grad=True)
        y = m.tensor([1.0, -1.0, 3.0, 0.0, 0.0], requires_grad=True)
        f(m, x, y).backward(m.tensor([float("nan"), INF, 1.0, float("nan"), -INF]))
        return [t.grad.numpy() for t in (x, y) if t.grad is not None]

    for _ in range(5):
        for ours, theirs in zip(run(flambeau), run(torch), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["max", "min", "median", "nanmedian"])
@pytest.mark.parametrize("incoming", [INF, float("nan"), 3.0])
def test_a_choice_of_one_gives_nothing_to_the_others(name, incoming):
    def run(m):
        found = []
        for last in (2.0, 9.0, float("nan")):
            x = m.tensor([[1.0, 3.0, 2.0], [2.0, -1.0, last]], requires_grad=True)
            getattr(x, name)().backward(m.tensor(incoming))
            found.append(x.grad.numpy())
        return found

    for _ in range(5):
        np.testing.assert_array_equal(run(flambeau), run(torch))
