"""Second derivatives that are zero are there wherever PyTorch has them, and only there."""

from __future__ import annotations

import numpy as np
import pytest
import torch as reference

import flambeau

RNG = np.random.default_rng(3)


def rand(*shape):
    return RNG.standard_normal(shape)


IMAGE, KERNEL, BIAS = rand(2, 4, 6, 6), rand(4, 2, 3, 3), rand(4)
SERIES, ROWS = rand(2, 4, 9), rand(5, 4)
# name -> (call, operands that require grad)
CASES = {
    "relu": (lambda t, x: t.relu(x), [ROWS]),
    "relu_": (lambda t, x: t.relu_(x * 1.0), [ROWS]),
    "leaky_relu": (lambda t, x: t.nn.functional.leaky_relu(x, 0.1), [ROWS]),
    "threshold": (lambda t, x: t.threshold(x, 0.1, 2.0), [ROWS]),
    "hardtanh": (lambda t, x: t.nn.functional.hardtanh(x), [ROWS]),
    "relu6": (lambda t, x: t.nn.functional.relu6(x), [ROWS]),
    "hardshrink": (lambda t, x: t.nn.functional.hardshrink(x), [ROWS]),
    "softshrink": (lambda t, x: t.nn.functional.softshrink(x), [ROWS]),
    "prelu": (lambda t, x, w: t.prelu(x, w), [ROWS, np.array([0.2])]),
    "abs": (lambda t, x: t.abs(x), [ROWS]),
    "maximum": (lambda t, x, y: t.maximum(x, y), [ROWS, ROWS[::-1].copy()]),
    "clamp": (lambda t, x: t.clamp(x, -0.5, 0.5), [ROWS]),
    "amax": (lambda t, x: t.amax(x, 1), [ROWS]),
    "max": (lambda t, x: t.max(x, 1).values, [ROWS]),
    "sort": (lambda t, x: t.sort(x, 1).values, [ROWS]),
    "sum": (lambda t, x: t.sum(x, 1), [ROWS]),
    "index": (lambda t, x: x[[0, 2, 2]], [ROWS]),
    "embedding": (lambda t, w: t.nn.functional.embedding(t.tensor([1, 1, 3]), w), [ROWS]),
    "max_pool1d": (lambda t, x: t.nn.functional.max_pool1d(x, 3), [SERIES]),
    "max_pool2d": (lambda t, x: t.nn.functional.max_pool2d(x, 2), [IMAGE]),
    "avg_pool2d": (lambda t, x: t.nn.functional.avg_pool2d(x, 2), [IMAGE]),
    "adaptive_avg_pool2d": (lambda t, x: t.nn.functional.adaptive_avg_pool2d(x, 3), [IMAGE]),
    "adaptive_max_pool2d": (lambda t, x: t.nn.functional.adaptive_max_pool2d(x, 3), [IMAGE]),
    "conv1d": (lambda t, x, w, b: t.conv1d(x, w, b), [SERIES, rand(3, 4, 2), rand(3)]),
    "conv2d": (lambda t, x, w, b: t.conv2d(x, w, b, groups=2), [IMAGE, KERNEL, BIAS]),
    "conv2d of one": (lambda t, x, w: t.conv2d(x[0], w, groups=2), [IMAGE, KERNEL]),
    "conv_transpose2d": (lambda t, x, w: t.conv_transpose2d(x, w), [IMAGE, KERNEL]),
    "linear": (lambda t, x, w, b: t.nn.functional.linear(x, w, b), [ROWS, rand(3, 4), rand(3)]),
    "layer_norm": (lambda t, x, w, b: t.layer_norm(x, (4,), w, b), [ROWS, rand(4), rand(4)]),
    "batch_norm": (
        lambda t, x, w, b: t.nn.functional.batch_norm(x, None, None, w, b, True, 0.1, 1e-5),
        [ROWS, rand(4), rand(4)],
    ),
    "group_norm": (lambda t, x, w, b: t.group_norm(x, 2, w, b), [SERIES, rand(4), rand(4)]),
    "pad": (lambda t, x: t.nn.functional.pad(x, (1, 1), "reflect"), [SERIES]),
    "circular": (lambda t, x: t.nn.functional.pad(x, (1, 1), "circular"), [SERIES]),
    "nll_loss": (lambda t, x: t.nn.functional.nll_loss(x, t.tensor([0, 1, 2, 3, 0])), [ROWS]),
    "area": (lambda t, x: t.nn.functional.interpolate(x, size=(3, 3), mode="area"), [IMAGE]),
    "cat": (lambda t, x, y: t.cat([x, y]), [rand(3), np.zeros(0)]),
    "two layers": (
        lambda t, x, v, w: t.relu(t.conv2d(t.max_pool2d(t.conv2d(x, v, groups=2), 2), w)),
        [IMAGE, KERNEL, rand(2, 4, 2, 2)],
    ),
}
DRAWS = RNG.standard_normal(4096)


def draws(t, like, at):
    return t.from_numpy(DRAWS[at : at + like.numel()].copy()).reshape(tuple(like.shape))


def second(t, call, arrays, read):
    """First gradients' ``requires_grad``, and what the second pass reaches, as arrays."""
    leaves = [t.from_numpy(a.copy()).requires_grad_() for a in arrays]
    out = call(t, *leaves)
    if read:
        out.sum().item()
    first = t.autograd.grad(out, leaves, draws(t, out, 7), create_graph=True, allow_unused=True)
    if read:
        [g.sum().item() for g in first]
    flags = [g.requires_grad for g in first]
    kept = [g for g in first if g.requires_grad]
    if not kept:
        return flags, first, []
    weights = [draws(t, g, 11) for g in kept]
    return flags, first, t.autograd.grad(kept, leaves, weights, allow_unused=True)


@pytest.mark.parametrize("read", [False, True], ids=["pending", "flushed"])
@pytest.mark.parametrize("name", CASES)
def test_second_gradients_are_where_pytorch_has_them(name, read):
    call, arrays = CASES[name]
    wanted_flags, wanted_first, wanted = second(reference, call, arrays, read)
    # The fifth run is native code.
    for _ in range(5):
        flags, first, found = second(flambeau, call, arrays, read)
        assert flags == wanted_flags
        assert [g is None for g in found] == [g is None for g in wanted]
        for g, w in zip((*first, *found), (*wanted_first, *wanted), strict=True):
            if w is not None:
                assert g.shape == tuple(w.shape)
                np.testing.assert_allclose(
                    g.detach().numpy(), w.detach().numpy(force=True), rtol=1e-9, atol=1e-12
                )


def test_an_unkept_value_between_has_a_zero_gradient():
    """The pool's operand is no residual: nothing but its history is asked for."""
    for t in (reference, flambeau):
        x = t.ones(1, 1, 4, 4, dtype=t.float64, requires_grad=True)
        between = x * 2.0
        out = t.nn.functional.avg_pool2d(between, 2)
        (first,) = t.autograd.grad(out.sum(), between, create_graph=True)
        assert first.requires_grad
        found = t.autograd.grad(first.sum(), (x, between))
        assert [float(g.abs().sum()) for g in found] == [0.0, 0.0]


def test_backward_with_create_graph_accumulates_zeros():
    for t in (reference, flambeau):
        w = t.full((1, 2, 4), 0.5, dtype=t.float64, requires_grad=True)
        t.nn.functional.avg_pool1d(w, 2).sum().backward(create_graph=True)
        assert w.grad.requires_grad
        first = w.grad
        w.grad = None
        first.sum().backward()
        assert w.grad is not None and float(w.grad.abs().sum()) == 0.0


def test_drawn_normals_have_gradients_of_zeros():
    for t in (reference, flambeau):
        mean = t.zeros(3, requires_grad=True)
        t.normal(mean, 1.0).sum().backward()
        assert mean.grad.tolist() == [0.0, 0.0, 0.0]
