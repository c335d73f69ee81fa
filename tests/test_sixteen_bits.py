"""16-bit results and gradients are as near to float64 as PyTorch's, which rounds once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau

RNG = np.random.default_rng(5)
EPSILON = {"bfloat16": 2.0**-8, "float16": 2.0**-11}


def rand(*shape, scale=2.0):
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


X, Y, Z = rand(40, 30), rand(40, 30), rand(40, 30)
PROBABILITIES = RNG.uniform(0.05, 0.95, (40, 30)).astype(np.float32)
CASES = {
    "elu": (lambda t, x: t.nn.functional.elu(x), [X]),
    "elu far below": (lambda t, x: t.nn.functional.elu(x), [-np.abs(X) - 6]),
    "selu": (lambda t, x: t.selu(x), [X]),
    "celu": (lambda t, x: t.celu(x, 1.5), [X]),
    "gelu": (lambda t, x: t.nn.functional.gelu(x), [X]),
    "gelu by tanh": (lambda t, x: t.nn.functional.gelu(x, approximate="tanh"), [X]),
    "silu": (lambda t, x: t.nn.functional.silu(x), [X]),
    "mish": (lambda t, x: t.nn.functional.mish(x), [X]),
    "softplus": (lambda t, x: t.nn.functional.softplus(x, 0.5), [X]),
    "logsigmoid": (lambda t, x: t.nn.functional.logsigmoid(x), [X]),
    "hardswish": (lambda t, x: t.nn.functional.hardswish(x), [X]),
    "hardsigmoid": (lambda t, x: t.nn.functional.hardsigmoid(x), [X]),
    "addcmul": (lambda t, x, y, z: t.addcmul(x, y, z, value=0.7), [X, Y, Z]),
    "addcdiv": (lambda t, x, y, z: t.addcdiv(x, y, z, value=0.7), [X, Y, np.abs(Z) + 0.5]),
    "smooth_l1": (lambda t, x, y: t.nn.functional.smooth_l1_loss(x, y), [X, Y]),
    "huber": (lambda t, x, y: t.nn.functional.huber_loss(x, y, delta=0.7), [X, Y]),
    "bce": (
        lambda t, x, y: t.nn.functional.binary_cross_entropy_with_logits(x, y),
        [X, PROBABILITIES],
    ),
    "attention": (
        lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v, scale=3.0),
        [rand(4, 3, 8), rand(4, 6, 8), rand(4, 6, 8)],
    ),
    "causal attention": (
        lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        [rand(2, 2, 9, 8), rand(2, 2, 9, 8), rand(2, 2, 9, 8)],
    ),
    "layer_norm": (lambda t, x: t.nn.functional.layer_norm(x, (30,)), [X]),
    "normalize": (lambda t, x: t.nn.functional.normalize(x), [X]),
}


def outcome(t, call, arrays, dtype, wide=False):
    """The result and the gradients, as float64, of operands that ``dtype`` holds."""
    leaves = [t.from_numpy(a).to(getattr(t, dtype)) for a in arrays]
    if wide:
        leaves = [x.to(t.float64) for x in leaves]
    leaves = [x.detach().requires_grad_() for x in leaves]
    out = call(t, *leaves)
    draws = np.random.default_rng(1).standard_normal(tuple(out.shape)).astype(np.float32)
    weight = t.from_numpy(np.asarray(draws)).to(getattr(t, dtype)).to(out.dtype)
    out.backward(weight)
    return [x.detach().to(t.float64).numpy() for x in (out, *[x.grad for x in leaves])]


@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.parametrize("name", CASES)
def test_no_further_from_float64_than_pytorch(name, dtype):
    call, arrays = CASES[name]
    exact = outcome(torch, call, arrays, dtype, wide=True)
    theirs = outcome(torch, call, arrays, dtype)
    # The fifth run is native code.
    for _ in range(5):
        ours = outcome(flambeau, call, arrays, dtype)
    for a, b, c in zip(ours, theirs, exact, strict=True):
        # Half a unit in the last place of the largest value is what a rounding may cost.
        allowed = max(1.3 * np.abs(b - c).max(), 0.6 * EPSILON[dtype] * np.abs(c).max())
        assert np.abs(a - c).max() <= allowed
