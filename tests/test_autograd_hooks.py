"""Hooks, gradients of non-leaves, nodes: each scenario gives what it gives in PyTorch."""

from __future__ import annotations

import pytest

from scenarios import Scenarios, compare, leaf

scenario = Scenarios()


@scenario
def hooks_replace_gradients(m):
    x = leaf(m, 1, 2)
    h = x * 2
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    h.register_hook(lambda g: g * 10)
    (h * h).sum().backward()
    return seen, x.grad


@scenario
def hooks_after_a_flush(m):
    x = leaf(m, 1, 2)
    h = x * 2
    h.tolist()
    seen = []
    handle = h.register_hook(lambda g: seen.append(g.tolist()))
    y = (h * h).sum()
    y.item()
    y.backward(retain_graph=True)
    handle.remove()
    y.backward()
    return seen, x.grad


@scenario
def hooks_see_the_whole_gradient(m):
    x = leaf(m, 1, 2)
    h = x * 2
    seen = []
    h.register_hook(lambda g: seen.append(g.tolist()))
    (h.sum() + (h * h).sum() + h.tanh().sum()).backward()
    return seen, x.grad


@scenario
def retained_gradients(m):
    x = leaf(m, 1, 2)
    h = x * 2
    h.retain_grad()
    k = h.exp()
    k.retain_grad()
    k.sum().backward()
    return h.grad, k.grad, x.grad, h.retains_grad


@scenario
def retained_gradient_comes_after_hooks(m):
    x = leaf(m, 1, 2)
    h = x * 2
    h.retain_grad()
    h.register_hook(lambda g: g * 5)
    h.sum().backward()
    return h.grad, x.grad


@scenario
def post_accumulate_hooks(m):
    x = leaf(m, 1, 2)
    seen = []
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.tolist()))
    (x * x).sum().backward()
    x.sum().backward()
    return seen


@scenario
def multi_grad_hook(m):
    x, y, z = leaf(m, 1), leaf(m, 2), leaf(m, 3)
    seen = []
    handle = m.autograd.graph.register_multi_grad_hook(
        [x, y, z], lambda gs: seen.append([None if g is None else g.tolist() for g in gs])
    )
    (x * y).sum().backward()
    (x * y * z).sum().backward()
    handle.remove()
    x.sum().backward()
    return seen


@scenario
def names_in_the_graph(m):
    x = leaf(m, 1, 2)
    y = (x * 2).exp().sum()
    node = y.grad_fn
    found = []
    while node is not None:
        found.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    return found, x.grad_fn


@scenario
def the_variable_at_the_end(m):
    x = leaf(m, 1, 2)
    return (x * 2).grad_fn.next_functions[0][0].variable is x


@scenario
def hooks_before_a_node(m):
    x = leaf(m, 1, 2)
    y = x.exp()
    seen = []
    y.grad_fn.register_prehook(lambda gs: seen.append(gs[0].tolist()) or (gs[0] * 2,))
    (y * 3).sum().backward()
    return seen, x.grad


@scenario
def hooks_after_a_leaf_node(m):
    x = leaf(m, 1, 2)
    seen = []
    end = (x * 2).grad_fn.next_functions[0][0]
    end.register_hook(lambda ins, outs: seen.append((len(ins), outs[0].tolist())))
    (x * 3).sum().backward()
    return seen, x.grad


@pytest.mark.parametrize("name", scenario)
def test_as_in_pytorch(name):
    compare(scenario[name])
