"""The history as a graph: which parts a backward goes through, hooks on it, walks over it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import flambeau

SCENARIOS: dict[str, Callable] = {}


def scenario(f: Callable) -> Callable:
    SCENARIOS[f.__name__] = f
    return f


def plain(x: Any) -> Any:
    if hasattr(x, "detach"):
        return x.detach().tolist()
    if isinstance(x, (tuple, list)):
        return [plain(y) for y in x]
    return x


def outcome(f: Callable, m: Any) -> tuple[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "gives", plain(f(m))
        except RuntimeError as e:
            return "refuses", str(e)[:40]


def leaf(m: Any, *values: float) -> Any:
    return m.tensor(values, dtype=m.float64, requires_grad=True)


def same(got: Any, want: Any) -> None:
    if isinstance(want, list):
        assert isinstance(got, list), (got, want)
        assert len(got) == len(want), (got, want)
        for g, w in zip(got, want, strict=True):
            same(g, w)
    elif isinstance(want, float):
        np.testing.assert_allclose(got, want, 1e-7, 1e-9)
    else:
        assert got == want


# ------------------------------------------------------------- which parts are gone through


@scenario
def second_derivatives_through_a_segment_and_what_it_was(m):
    w = leaf(m, 0.3)
    x = m.tensor([0.4], dtype=m.float64)
    a = m.nn.functional.binary_cross_entropy(w.sigmoid(), x)
    b = m.nn.functional.gelu(a)
    x.sum().item()
    (g,) = m.autograd.grad((a * 0.3).sin().mean(), [w], create_graph=True)
    g = g.clone()
    g.sum().item()
    (g.sum() + (b * 0.3).sin().mean()).backward()
    return w.grad


def _spent(m: Any, look: bool) -> tuple:
    w, other = leaf(m, 0.3, -0.2), leaf(m, 1.0, 2.0)
    v = m.nn.functional.normalize(w, dim=0)
    t = v.tanh()
    if look:
        t.sum().item()
    (t.sum() + (other * other).mean()).backward()
    if look:
        w.grad.tolist()
    # What leads to ``w`` is spent, and not on the way to ``other``.
    found = m.autograd.grad(v.tanh().sum() + t.sum() + (other * 3.0).sum(), [other])
    return (w.grad, other.grad, *found)


@scenario
def what_is_spent_and_not_asked_for(m):
    return _spent(m, False)


@scenario
def what_is_spent_and_not_asked_for_across_flushes(m):
    return _spent(m, True)


@scenario
def what_is_spent_and_asked_for(m):
    w = leaf(m, 0.3)
    v = w.tanh()
    v.sum().backward()
    return m.autograd.grad(v.sum(), [w])


@scenario
def gradient_of_inner_values_only(m):
    w, u = leaf(m, 0.3, 0.4), leaf(m, 0.7, 0.1)
    a = w.sin()
    b = (a * u).tanh()
    b.sum().backward(inputs=[u], retain_graph=True)
    return u.grad, w.grad is None, m.autograd.grad(b.sum(), [a])


@scenario
def a_gradient_that_is_not_there(m):
    x, y = leaf(m, 0.5), leaf(m, 2.0)
    z = m.heaviside(x * 1, y * 1) if m is flambeau else None
    if z is not None:
        with pytest.raises(NotImplementedError, match="heaviside"):
            z.sum().backward()
    # What comes after it is sound.
    (x * y).sum().backward()
    return x.grad, y.grad


# ------------------------------------------------------------------- hooks on what is written


def _doubled(seen: list) -> Callable:
    def hook(g: Any) -> Any:
        seen.append(g.detach().tolist())
        return g * 2.0

    return hook


@scenario
def hooks_that_replace_under_second_derivatives(m):
    w, seen = leaf(m, 0.3, -0.7), []
    y = w * w
    y.register_hook(_doubled(seen))
    (g,) = m.autograd.grad((y * y).sum(), [w], create_graph=True)
    (g * g).sum().backward()
    return g, w.grad, sorted(seen)


@scenario
def hooks_across_flushes_under_second_derivatives(m):
    w, seen = leaf(m, 0.3, -0.7), []
    y = w * w
    y.register_hook(_doubled(seen))
    z = (y * y).sum()
    z.item()
    (g,) = m.autograd.grad(z, [w], create_graph=True)
    g.tolist()
    ((g * g).sum() + y.sin().sum()).backward()
    return g, w.grad, sorted(seen)


@scenario
def a_hook_before_a_copy_sees_zeros(m):
    w, u, seen = leaf(m, 0.3, -0.7), leaf(m, 1.0, 2.0), []
    y = w * 2
    y.register_hook(_doubled(seen))
    y.copy_(u)
    (y * y).sum().backward()
    return u.grad, w.grad, seen


@scenario
def hooks_before_and_after_a_write(m):
    w, u = leaf(m, 0.3, -0.7), leaf(m, 1.0, 2.0)
    before, after = [], []
    y = w * 2
    y.register_hook(_doubled(before))
    y.mul_(u)
    y.register_hook(_doubled(after))
    (y * y).sum().backward()
    return u.grad, w.grad, before, after


@scenario
def a_hook_on_a_view_written_through(m):
    w, seen = leaf(m, 0.3, -0.7), []
    x = m.zeros(2, dtype=m.float64)
    v = x.view_as(x)
    v.copy_(w)
    v.register_hook(_doubled(seen))
    ((v * v).sum() + x.sin().sum()).backward()
    return w.grad, seen


@scenario
def a_view_that_keeps_its_gradient_when_its_base_is_written(m):
    w, u = leaf(m, 0.3, -0.7), leaf(m, 1.0, 2.0)
    y = w * 1
    v = y.view(2, 1)
    v.retain_grad()
    y.mul_(u)
    (v * v).sum().backward()
    return w.grad, v.grad


@scenario
def a_write_through_a_detached_alias_keeps_hooks(m):
    w, u, seen = leaf(m, 0.3, -0.7), leaf(m, 1.0, 2.0), []
    y = w * u
    d = y.detach()
    y.register_hook(_doubled(seen))
    z = y * 3
    d.mul_(2.0)
    y.retain_grad()
    (z.sum() + y.sin().sum()).backward()
    return w.grad, u.grad, y.grad, seen


@scenario
def what_a_write_replaced_may_be_written_again(m):
    w = leaf(m, 0.3, -0.7)
    x = m.ones(2, dtype=m.float64)
    x.mul_(w)
    y = x.sum()
    y.item()
    x[1].zero_()
    y.backward()
    return w.grad


@scenario
def gradients_of_linear_functions_want_none(m):
    w = leaf(m, 0.3, -0.7)
    (g,) = m.autograd.grad((w * 3).sum(), [w], create_graph=True)
    (h,) = m.autograd.grad((w * w).sum(), [w], create_graph=True)
    return g, g.requires_grad, h.requires_grad


# -------------------------------------------------------------------------- the graph itself


def _steps(m: Any, look: bool) -> tuple:
    w, u = leaf(m, 0.3, -0.7), leaf(m, 1.0, 2.0)
    seen: list = []

    def note(inputs: tuple, outputs: tuple) -> None:
        seen.append(plain([*inputs, *outputs]))

    def double(inputs: tuple, outputs: tuple) -> tuple:
        if look:
            note(inputs, outputs)
        return tuple(g if g is None else g * 2 for g in inputs)

    a = w * u
    b = a.sin()
    c = (b + w).sum()
    node = a.grad_fn
    if look:
        a.tolist()
    node.register_hook(double)
    handle = b.grad_fn.register_hook(note)
    b.grad_fn.register_prehook(lambda g: (g[0] * 3,))
    c.backward(retain_graph=True)
    first = plain((w.grad, u.grad))
    handle.remove()
    (g,) = m.autograd.grad(c, [w], create_graph=True)
    (g * g).sum().backward()
    return first, w.grad, u.grad, seen


@scenario
def hooks_on_steps(m):
    return _steps(m, False)


@scenario
def hooks_on_steps_that_look_at_values(m):
    return _steps(m, True)


def _walk(node: Any, seen: list) -> list:
    """A graph as names, each node once, as drawings of graphs go through it."""
    if any(node is s for s in seen):
        return [node.name()]
    seen.append(node)
    is_leaf = hasattr(node, "variable")
    shape = list(node.variable.shape) if is_leaf else type(node).__name__
    found = [_walk(n, seen) for n, _ in node.next_functions if n is not None]
    return [node.name(), shape, *found]


@scenario
def a_walk_over_the_graph(m):
    w, u = leaf(m, 0.3, -0.7), leaf(m, 1.0, 2.0)
    a = (w * u).tanh()
    return _walk((a * w + a.exp()).sum().grad_fn, [])


@scenario
def a_walk_over_the_graph_after_a_flush(m):
    w, u = leaf(m, 0.3, -0.7), leaf(m, 1.0, 2.0)
    a = (w * u).tanh()
    node = (a * w + a.exp()).sum().grad_fn
    a.tolist()
    return _walk(node, [])


@scenario
def a_custom_function_shows_what_it_saved(m):
    class Square(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.factor = 2
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0] * ctx.factor

    y = Square.apply(leaf(m, 3.0))
    node = y.grad_fn
    return node.name(), node.factor, list(node.saved_tensors), node is y.grad_fn


def test_a_walk_over_a_network_ends_at_its_parameters():
    net = flambeau.nn.Sequential(
        flambeau.nn.Linear(3, 4), flambeau.nn.ReLU(), flambeau.nn.Linear(4, 1)
    )
    loss = flambeau.nn.functional.mse_loss(net(flambeau.ones(2, 3)), flambeau.zeros(2, 1))
    seen: list = []
    assert _walk(loss.grad_fn, seen)[0] == "MseLossBackward0"
    leaves = [n.variable for n in seen if hasattr(n, "variable")]
    assert {id(p) for p in net.parameters()} == {id(t) for t in leaves}


@pytest.mark.parametrize("name", SCENARIOS)
def test_as_in_pytorch(name):
    want = outcome(SCENARIOS[name], torch)
    got = outcome(SCENARIOS[name], flambeau)
    assert got[0] == want[0], (got, want)
    same(got[1], want[1])
