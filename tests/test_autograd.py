"""Backward passes: each scenario gives what it gives in PyTorch."""

from __future__ import annotations

import pytest

from scenarios import Scenarios, compare, leaf

scenario = Scenarios()


@scenario
def accumulates(m):
    x = leaf(m, 1, 2)
    for k in range(3):
        (x * x * k).sum().backward()
    return x.grad


@scenario
def accumulates_after_reading_the_loss(m):
    x = leaf(m, 1, 2)
    seen = []
    for k in range(4):
        loss = (x.tanh() * (k + 1)).sum()
        seen.append(loss.item())
        loss.backward()
        if k % 2:
            seen.append(x.grad.tolist())
    return seen, x.grad


@scenario
def keeps_the_gradient_object(m):
    x = leaf(m, 1, 2)
    (x * x).sum().backward()
    g = x.grad
    loss = (x * 3).sum()
    loss.item()
    loss.backward()
    return g is x.grad, g


@scenario
def a_loop_with_a_descent_step(m):
    w = leaf(m, 0.3, -0.2)
    losses = []
    for k in range(5):
        x = m.tensor([1.0 + k, 2.0])
        loss = ((w * x).sum() - 1) ** 2
        losses.append(loss.item())
        w.grad = None
        loss.backward()
        with m.no_grad():
            w -= 0.01 * w.grad
    return losses, w


@scenario
def accumulates_over_micro_batches(m):
    w = leaf(m, 0.3, -0.2)
    seen = []
    for _ in range(2):
        for k in range(3):
            loss = ((w * (k + 1)).sum() - 1) ** 2 / 3
            loss.backward()
        seen.append(w.grad.tolist())
        with m.no_grad():
            w.sub_(w.grad, alpha=0.1)
        w.grad.zero_()
    return seen, w


@scenario
def a_subgraph_shared_by_two_losses(m):
    x = leaf(m, 1, 2)
    h = (x * x).tanh()
    (h * 2).sum().backward(retain_graph=True)
    first = x.grad.tolist()
    h.exp().sum().backward()
    return first, x.grad


@scenario
def disjoint_losses_flushed_together(m):
    x, y = leaf(m, 1, 2), leaf(m, 3)
    a, b = (x * x).sum(), (y * y).sum()
    seen = [a.item(), b.item()]
    a.backward()
    b.backward()
    return seen, x.grad, y.grad


@scenario
def backward_to_some_inputs_only(m):
    x, y = leaf(m, 1, 2), leaf(m, 3, 4)
    h = x * y
    (h * h).sum().backward(inputs=[x])
    return x.grad, y.grad


@scenario
def backward_of_a_vector(m):
    x = leaf(m, 1, 2)
    (x * x).backward(m.tensor([1.0, -1.0]))
    m.autograd.backward([x * 2, x * 3], [m.ones(2), m.ones(2)])
    return x.grad


@scenario
def a_deep_chain(m):
    x = leaf(m, 1)
    y = x
    for _ in range(5000):
        y = y * 1.0001
    y.backward()
    return x.grad


@scenario
def third_derivative(m):
    x = leaf(m, 2, dtype="float64")
    y, seen = (x**4).sum(), []
    for _ in range(3):
        (g,) = m.autograd.grad(y, x, create_graph=True)
        seen.append(g)
        y = g.sum()
    return seen


@scenario
def third_derivative_with_reads_between(m):
    x = leaf(m, 0.5, 1.5, dtype="float64")
    y, seen = (x.sin() * x).sum(), []
    for _ in range(3):
        seen.append(y.item())
        (g,) = m.autograd.grad(y, x, create_graph=True)
        seen.append(g.tolist())
        y = (g * x).sum()
    y.backward()
    return seen, x.grad


@scenario
def gradient_penalty(m):
    w, x = leaf(m, 0.5, -1), leaf(m, 2, 3)
    out = (w * x).tanh().sum()
    out.item()
    (g,) = m.autograd.grad(out, x, create_graph=True)
    penalty = (((g * g).sum() + 1e-6).sqrt() - 1) ** 2
    (out + penalty).backward()
    return w.grad, x.grad


@scenario
def an_inner_step_is_differentiated(m):
    w = leaf(m, 0.5, -1)
    (g,) = m.autograd.grad((w**3).sum(), w, create_graph=True)
    adapted = w - 0.1 * g
    (adapted**2).sum().backward()
    return w.grad


@scenario
def backward_with_create_graph(m):
    x = leaf(m, 2)
    (x**3).sum().backward(create_graph=True)
    first = x.grad.clone()
    g = x.grad
    x.grad = None
    g.sum().backward()
    return first, x.grad


@scenario
def grad_of_an_unused_input(m):
    x, y = leaf(m, 1), leaf(m, 2)
    return m.autograd.grad((x * x).sum(), [x, y], allow_unused=True)


@scenario
def grad_of_an_unused_input_is_refused(m):
    x, y = leaf(m, 1), leaf(m, 2)
    return m.autograd.grad((x * x).sum(), [x, y])


@scenario
def grad_of_an_unused_input_as_zeros(m):
    x, y = leaf(m, 1), leaf(m, 2)
    return m.autograd.grad((x * x).sum(), [x, y], materialize_grads=True)


@scenario
def grad_to_a_non_leaf(m):
    x = leaf(m, 1, 2)
    h = x * 2
    y = (h * h).sum()
    return m.autograd.grad(y, [h, x])


@scenario
def grad_to_a_non_leaf_after_a_flush(m):
    x = leaf(m, 1, 2)
    h = x * 2
    y = (h * h).sum()
    y.item()
    return m.autograd.grad(y, [h, x])


@scenario
def grad_with_weights(m):
    x = leaf(m, 1, 2)
    return m.autograd.grad([x * x, x * 3], x, [m.tensor([1.0, 2.0]), m.tensor([3.0, 4.0])])


@scenario
def grad_leaves_leaves_alone(m):
    x = leaf(m, 1, 2)
    m.autograd.grad((x * x).sum(), x)
    return x.grad


@scenario
def grad_with_batched_weights(m):
    x = leaf(m, 1, 2)
    return m.autograd.grad(x * x, x, m.eye(2), is_grads_batched=True)


@scenario
def backward_twice(m):
    x = leaf(m, 1)
    y = (x * x).sum()
    y.backward()
    y.backward()


@scenario
def backward_twice_after_a_flush(m):
    x = leaf(m, 1)
    y = (x * x).sum()
    y.item()
    y.backward()
    y.backward()


@scenario
def backward_twice_where_nothing_is_saved(m):
    x = leaf(m, 1, 2)
    y = (x + 3).sum()
    y.backward()
    y.backward()
    return x.grad


@scenario
def backward_of_a_non_scalar(m):
    (leaf(m, 1, 2) * 2).backward()


@scenario
def backward_without_history(m):
    m.ones(1).backward()


@scenario
def backward_under_no_grad(m):
    with m.no_grad():
        y = leaf(m, 1).sum()
    y.backward()


@scenario
def writing_to_a_leaf(m):
    leaf(m, 1).add_(1)


@scenario
def writing_to_a_view_of_a_leaf(m):
    leaf(m, 1, 2)[0].add_(1)


@scenario
def writing_to_what_backward_needs(m):
    x = leaf(m, 1, 2)
    y = x.exp()
    z = y * y
    y.add_(1)
    z.sum().backward()


@scenario
def writing_to_what_backward_needs_after_a_flush(m):
    x = leaf(m, 1, 2)
    y = x.exp()
    z = (y * y).sum()
    z.item()
    y.add_(1)
    z.backward()


@scenario
def numpy_of_what_requires_grad(m):
    leaf(m, 1).numpy()


@scenario
def integers_cannot_require_grad(m):
    m.tensor([1], requires_grad=True)


@scenario
def a_non_leaf_stays_differentiable(m):
    (leaf(m, 1) * 2).requires_grad_(False)


@scenario
def a_hook_where_there_is_no_gradient(m):
    m.ones(1).register_hook(print)


@scenario
def modes(m):
    x = leaf(m, 1)
    seen = []
    with m.no_grad():
        seen.append((x * 2).requires_grad)
        with m.enable_grad():
            seen.append((x * 2).requires_grad)
        seen.append(m.is_grad_enabled())
    with m.set_grad_enabled(False):
        seen.append((x * 2).requires_grad)
    m.set_grad_enabled(False)
    seen.append((x * 2).requires_grad)
    m.set_grad_enabled(True)
    with m.inference_mode():
        seen.append((x * 2).requires_grad)

    @m.no_grad()
    def f():
        return (x * 2).requires_grad

    @m.no_grad()
    def g():
        yield (x * 2).requires_grad
        yield m.is_grad_enabled()

    seen.append(f())
    for value in g():
        seen += [value, m.is_grad_enabled()]
    return seen


@scenario
def a_mode_ends_with_an_error(m):
    try:
        with m.no_grad():
            raise KeyError
    except KeyError:
        return m.is_grad_enabled()


@scenario
def leaves(m):
    x, c = leaf(m, 1), m.ones(1)
    y = x * 2
    with m.no_grad():
        z = x * 2
    seen = [x, y, c, c * 2, y.detach(), z, x.detach(), y.data]
    return [(t.is_leaf, t.requires_grad) for t in seen]


@scenario
def detach_shares_memory_and_stops_gradients(m):
    x = leaf(m, 1, 2)
    y = x * 2
    d = y.detach()
    z = (y * d).sum()
    z.backward()
    d.zero_()
    return y, x.grad


@scenario
def writes_with_history(m):
    x = leaf(m, 1, 2, 3)
    y = x * 1
    y[0] = x[1] * 5
    y.mul_(2)
    y[1:].add_(x[:2])
    (y * y).sum().backward()
    return y, x.grad


@scenario
def writes_without_history(m):
    x = leaf(m, 1, 2, 3)
    y = x * 2
    with m.no_grad():
        y.mul_(10)
    (y * y).sum().backward()
    return y, x.grad


@scenario
def a_leaf_changed_after_its_use_in_a_sum(m):
    x = leaf(m, 1, 2)
    y = x.tanh()
    with m.no_grad():
        x.mul_(3)
    (g,) = m.autograd.grad(y.sum() + (x * x).sum(), x, create_graph=True)
    return g


@pytest.mark.parametrize("name", scenario)
def test_as_in_pytorch(name):
    compare(scenario[name])
