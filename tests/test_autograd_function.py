"""Custom functions: each scenario gives what it gives in PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

from scenarios import Scenarios, compare, leaf

scenario = Scenarios()


def _scaled(m: Any) -> Any:
    class Scaled(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor, unused=None):
            ctx.save_for_backward(x)
            ctx.factor = factor
            return x * x * factor

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x * ctx.factor * g, None, None

    return Scaled


@scenario
def a_custom_function(m):
    x = leaf(m, 1, 2)
    y = _scaled(m).apply(x, 3.0)
    y.sum().backward()
    return y, x.grad


@scenario
def double_backward_through_a_custom_function(m):
    x = leaf(m, 1, 2)
    (g,) = m.autograd.grad(_scaled(m).apply(x * 2, 3.0).sum(), x, create_graph=True)
    (g * g).sum().backward()
    return g, x.grad


@scenario
def a_custom_function_with_setup_context(m):
    class Square(m.autograd.Function):
        @staticmethod
        def forward(x):
            return x * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            return 2 * ctx.saved_tensors[0] * g

    x = leaf(m, 1, 2)
    Square.apply(x).sum().backward()
    return x.grad


@scenario
def a_custom_function_with_several_outputs(m):
    class Parts(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.needs = ctx.needs_input_grad
            index = (x > y).long()
            ctx.mark_non_differentiable(index)
            return x + y, x * 2, index

        @staticmethod
        def backward(ctx, a, b, c):
            return a + 2 * b, None

    x, y = leaf(m, 1, 5), m.tensor([2.0, 3.0])
    a, _, c = Parts.apply(x, y)
    (a * 3).sum().backward()
    return x.grad, a, c


@scenario
def a_custom_function_that_writes(m):
    class Double(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(2)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(m, 1, 2)
    h = x * 1
    out = Double.apply(h)
    (out * out).sum().backward()
    return out is h, out, x.grad


@scenario
def a_once_differentiable_function(m):
    class Square(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @m.autograd.function.once_differentiable
        def backward(ctx, g):
            return 2 * ctx.saved_tensors[0] * g

    x = leaf(m, 1, 2)
    Square.apply(x).sum().backward()
    return x.grad


@scenario
def saved_tensors_hooks_on_a_custom_function(m):
    seen = []
    x = leaf(m, 1, 2)
    with m.autograd.graph.saved_tensors_hooks(
        lambda t: seen.append("pack") or t.detach(), lambda t: seen.append("unpack") or t
    ):

        class Square(m.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x.detach() ** 2

            @staticmethod
            def backward(ctx, g):
                return 2 * ctx.saved_tensors[0] * g

        with m.no_grad():
            pass
        y = Square.apply(x)
    y.sum().backward()
    return seen[-1], x.grad


@pytest.mark.parametrize("name", scenario)
def test_as_in_pytorch(name):
    compare(scenario[name])
