"""Where PyTorch takes a write between a function and its backward, Flambeau does; else neither."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import flambeau

# What draws random numbers, or is a kernel of PyTorch's with another signature than Flambeau's,
# or whose gradient is nothing (sgn).
LEFT_OUT = {
    "bernoulli", "dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "rrelu",
    "dropout1d", "dropout2d", "dropout3d", "gumbel_softmax", "rand_like", "randn_like", "poisson",
    "native_dropout", "binomial", "normal", "binary_cross_entropy_with_logits", "kl_div",
    "sgn",
}  # fmt: skip

# PyTorch keeps the result although its gradient can do without: writes to it are taken here.
NOT_KEPT = {"ldexp/2"}
# Flambeau keeps an operand that PyTorch does not: x * 2**y is a product of two values.
KEPT = {"ldexp/2"}

# Calls that one or two tensors of one shape do not make up.
SPECIAL: dict[str, Callable] = {
    "where": lambda m, x, y: m.where(x > 0.5, x, y),
    "clamp": lambda m, x, y: m.clamp(x, 0.3, 0.6),
    "clamp_tensor": lambda m, x, y: m.clamp(x, y),
    "lerp": lambda m, x, y: m.lerp(x, y, 0.3),
    "lerp_tensor": lambda m, x, y: m.lerp(x, y, x),
    "addcmul": lambda m, x, y: m.addcmul(x, x, y),
    "addcdiv": lambda m, x, y: m.addcdiv(x, x, y),
    "pow_number": lambda m, x, y: m.pow(x, 2.5),
    "pow_of_number": lambda m, x, y: m.pow(2.5, x),
    "div_number": lambda m, x, y: x / 3.0,
    "number_div": lambda m, x, y: 3.0 / x,
    "div_computed": lambda m, x, y: x / (x.abs() + 0.5),
    "div_floor": lambda m, x, y: m.div(x, y, rounding_mode="floor"),
    "nan_to_num": lambda m, x, y: m.nan_to_num(x, 1.0),
    "layer_norm": lambda m, x, y: m.nn.functional.layer_norm(x, (4,)),
    "layer_norm_affine": lambda m, x, y: m.nn.functional.layer_norm(x, (4,), y[0, 0], y[0, 1]),
    "rms_norm": lambda m, x, y: m.nn.functional.rms_norm(x, (4,)),
    "rms_norm_affine": lambda m, x, y: m.nn.functional.rms_norm(x, (4,), y[0, 0]),
    "group_norm": lambda m, x, y: m.nn.functional.group_norm(x, 3),
    "group_norm_affine": lambda m, x, y: m.nn.functional.group_norm(x, 3, y[0, :, 0], y[0, :, 1]),
    "batch_norm": lambda m, x, y: m.nn.functional.batch_norm(x, None, None, training=True),
    "batch_norm_affine": lambda m, x, y: m.nn.functional.batch_norm(
        x, None, None, y[0, :, 0], y[0, :, 1], training=True
    ),
    "batch_norm_of_running": lambda m, x, y: m.nn.functional.batch_norm(
        x, y[0, :, 0].detach(), y[0, :, 1].detach()
    ),
    "instance_norm": lambda m, x, y: m.nn.functional.instance_norm(x),
    "instance_norm_affine": lambda m, x, y: m.nn.functional.instance_norm(
        x, None, None, y[0, :, 0], y[0, :, 1]
    ),
    "local_response_norm": lambda m, x, y: m.nn.functional.local_response_norm(x, 2),
    "normalize": lambda m, x, y: m.nn.functional.normalize(x, dim=-1),
    "normalize_1": lambda m, x, y: m.nn.functional.normalize(x, p=1.0),
    "softmax": lambda m, x, y: m.softmax(x, -1),
    "log_softmax": lambda m, x, y: m.log_softmax(x, -1),
    "softmin": lambda m, x, y: m.nn.functional.softmin(x, -1),
    "cumsum": lambda m, x, y: m.cumsum(x, 0),
    "cumprod": lambda m, x, y: m.cumprod(x, 0),
    "logcumsumexp": lambda m, x, y: m.logcumsumexp(x, 0),
    "renorm": lambda m, x, y: m.renorm(x, 2, 0, 0.5),
    "prelu": lambda m, x, y: m.nn.functional.prelu(x, y[0, :, 0]),
    "threshold": lambda m, x, y: m.nn.functional.threshold(x, 0.5, 0.2),
    "standardised_by_hand": lambda m, x, y: (
        (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5).sqrt()
    ),
    "unit_by_hand": lambda m, x, y: x / x.norm(dim=-1, keepdim=True),
}

WRITES: dict[str, Callable] = {
    "relu_": lambda y: y.relu_(),
    "mul_": lambda y: y.mul_(2.0),
    "sigmoid_": lambda y: y.sigmoid_(),
}


def places(m: Any) -> dict[str, Any]:
    return {"": m, "nn.functional.": m.nn.functional, "special.": m.special}


def operands(m: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    return tuple(
        m.tensor(rng.uniform(0.1, 0.9, (2, 3, 4)).tolist(), dtype=m.float64, requires_grad=True)
        for _ in range(2)
    )


def candidates() -> Iterator[tuple[str, Callable]]:
    """Every public function of PyTorch's that maps one or two tensors to one of their shape."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = torch.overrides.get_overridable_functions()
        for path, module in places(torch).items():
            for name in sorted({f.__name__ for f in known[module] if hasattr(f, "__name__")}):
                if name.startswith("_") or name.endswith("_") or name in LEFT_OUT:
                    continue
                if not hasattr(module, name) or not hasattr(places(flambeau)[path], name):
                    continue
                for count in (1, 2):
                    call = _call(path, name, count)
                    if _fit(call):
                        yield f"{path}{name}/{count}", call
    yield from SPECIAL.items()


def _call(path: str, name: str, count: int) -> Callable:
    return lambda m, x, y: getattr(places(m)[path], name)(*(x, y)[:count])


def _fit(call: Callable) -> bool:
    """Whether PyTorch has such a call, real and of memory of its own, and its gradient."""
    x, y = operands(torch)
    try:
        made = call(torch, x * 1, y * 1)
        if made.shape != x.shape or made.is_complex() or made._is_view():
            return False
        made.sum().backward()
    except Exception:  # whatever says that this is no function of so many tensors
        return False
    return True


CASES = dict(candidates())


def outcome(m: Any, call: Callable, change: str, target: str, apart: bool = False) -> Any:
    """The gradients, or None where a backward after a write is refused.

    ``apart``: the write goes to other memory than the value that backward may need.
    """
    x, y = operands(m)
    a, b = x * 1, y * 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = call(m, a, b)
        if target == "result":
            made = made.clone() if apart else made
            WRITES[change](made)
        elif not apart:
            WRITES[change](a if target == "first" else b)
        try:
            made.sum().backward()
        except RuntimeError as e:
            assert "modified by an inplace operation" in str(e), e
            return None
    return [np.zeros((2, 3, 4)) if t.grad is None else t.grad.numpy() for t in (x, y)]


@pytest.mark.parametrize("target", ["result", "first", "second"])
@pytest.mark.parametrize("change", WRITES)
@pytest.mark.parametrize("name", CASES)
def test_write_before_backward(name, change, target):
    call = CASES[name]
    want = outcome(torch, call, change, target)
    got = outcome(flambeau, call, change, target)
    if want is not None:
        assert got is not None or (name in KEPT and target == "first"), "PyTorch takes it"
    elif target == "result":
        # What is kept of operands is Flambeau's own affair: it may keep less.
        assert (got is None) != (name in NOT_KEPT), "PyTorch refuses it"
    if got is not None:
        for g, w in zip(got, want or outcome(torch, call, change, target, True), strict=True):
            np.testing.assert_allclose(g, w, 1e-7, 1e-9)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_epsilon_of_rms_norm(dtype):
    found = []
    for m in (torch, flambeau):
        x = m.tensor([[0.02]], dtype=getattr(m, dtype))
        found.append(m.nn.functional.rms_norm(x, (1,)).tolist())
    np.testing.assert_allclose(found[1], found[0], 1e-3)


LAYERS: dict[str, Callable] = {
    "InstanceNorm2d": lambda nn: nn.InstanceNorm2d(3),
    "InstanceNorm2d affine": lambda nn: nn.InstanceNorm2d(3, affine=True),
    "BatchNorm2d": lambda nn: nn.BatchNorm2d(3),
    "BatchNorm2d plain": lambda nn: nn.BatchNorm2d(3, affine=False),
    "BatchNorm2d of running": lambda nn: nn.BatchNorm2d(3).eval(),
    "GroupNorm": lambda nn: nn.GroupNorm(3, 3),
    "GroupNorm plain": lambda nn: nn.GroupNorm(3, 3, affine=False),
    "LayerNorm": lambda nn: nn.LayerNorm(4),
    "LayerNorm plain": lambda nn: nn.LayerNorm(4, elementwise_affine=False),
    "RMSNorm": lambda nn: nn.RMSNorm(4),
    "LocalResponseNorm": lambda nn: nn.LocalResponseNorm(2),
}


@pytest.mark.parametrize("look", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_a_normalising_layer_before_an_activation_in_place(name, look):
    found = []
    for m in (torch, flambeau):
        net = m.nn.Sequential(LAYERS[name](m.nn), m.nn.ReLU(inplace=True))
        x = m.arange(96.0).reshape(2, 3, 4, 4).sin().requires_grad_()
        y = net(x * 2)
        if look:
            y.tolist()
        (y * y).sum().backward()
        found.append([x.grad.tolist(), *[p.grad.tolist() for p in net.parameters()]])
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, 1e-3, 1e-4)
