"""Other rivals, where they are installed: ``torch.compile`` and JAX."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.bench.workloads import Workload, stepper

__all__ = ["Peer", "absent", "present"]

# The step of a workload, or why there is none.
Peer = Callable[[Workload, tuple[np.ndarray, ...]], Callable[[int], float] | str]


def present() -> dict[str, Peer]:
    """Column title -> how to make a step."""
    missing = absent()
    found: dict[str, Peer] = {"torch.compile": compiled, "JAX": jitted}
    return {name: peer for name, peer in found.items() if name not in missing}


def absent() -> dict[str, str]:
    """Column title -> why there is none."""
    reasons = {}
    if not any(map(shutil.which, ("g++", "clang++", "c++", "cl"))):
        reasons["torch.compile"] = "it needs a C++ compiler, and there is none"
    if importlib.util.find_spec("jax") is None:
        reasons["JAX"] = "it is not installed (pip install jax)"
    return reasons


def compiled(workload: Workload, arrays: tuple[np.ndarray, ...]) -> Callable[[int], float] | str:
    """The workload with its model under ``torch.compile``."""
    torch: Any = importlib.import_module("torch")
    torch._dynamo.reset()
    return stepper(workload, torch, arrays, wrap=torch.compile)


# Layer sizes, last activation, loss, optimizer of the workloads that are chains of dense layers.
CHAINS: dict[str, tuple[tuple[int, ...], str, str, str, float]] = {
    "quadratic": ((1, 10, 1), "", "mse", "sgd", 0.2),
    "two_layer": ((1000, 100, 10), "", "mse", "sgd", 1e-2),
    "cat_logistic": ((12288, 1), "sigmoid", "bce", "sgd", 1e-4),
    "cat_deep": ((12288, 512, 12288, 512, 1), "sigmoid", "bce", "sgd", 1e-3),
    "mlp": ((784, 128, 10), "", "cross_entropy", "adam", 1e-3),
    "autoencoder": ((784, 128, 32, 128, 784), "sigmoid", "mse", "adam", 1e-3),
}


def jitted(workload: Workload, arrays: tuple[np.ndarray, ...]) -> Callable[[int], float] | str:
    """The workload as one ``jax.jit``ed step, parameters donated."""
    if workload.name not in CHAINS:
        return "not written"
    jax: Any = importlib.import_module("jax")
    jnp: Any = importlib.import_module("jax.numpy")

    sizes, last, kind, rule, lr = CHAINS[workload.name]
    rng = np.random.default_rng(0)
    shapes = [s for a, b in itertools.pairwise(sizes) for s in ((b, a), (b,))]
    bounds = [a**-0.5 for a in sizes[:-1] for _ in range(2)]
    params = [
        jnp.asarray(rng.uniform(-k, k, s).astype(np.float32))
        for k, s in zip(bounds, shapes, strict=True)
    ]

    def model(params: list[Any], x: Any) -> Any:
        for i in range(0, len(params), 2):
            x = x @ params[i].T + params[i + 1]
            if i + 2 < len(params):
                x = jax.nn.relu(x)
        return jax.nn.sigmoid(x) if last == "sigmoid" else x

    def loss_of(params: list[Any], x: Any, y: Any) -> Any:
        out = model(params, x)
        if kind == "mse":
            return ((out - y) ** 2).mean()
        if kind == "bce":
            # PyTorch's BCELoss does not let the logarithms fall below -100.
            log, other = jnp.maximum(jnp.log(out), -100), jnp.maximum(jnp.log1p(-out), -100)
            return -(y * log + (1 - y) * other).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], 1).mean()

    def update(params: list[Any], state: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        if rule == "sgd":
            return [p - lr * g for p, g in zip(params, grads, strict=True)], state, loss
        t, m, v = state
        t = t + 1
        m = [0.9 * a + 0.1 * g for a, g in zip(m, grads, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, grads, strict=True)]
        rate, root = lr / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        params = [
            p - rate * a / (jnp.sqrt(b) / root + 1e-8) for p, a, b in zip(params, m, v, strict=True)
        ]
        return params, (t, m, v), loss

    update = jax.jit(update, donate_argnums=(0, 1))
    state: Any = (jnp.float32(0), *([jnp.zeros_like(p) for p in params] for _ in range(2)))
    samples = [arrays[0], arrays[-1]]
    size, batches, total = workload.batch, workload.batches, len(arrays[0])

    def step(i: int) -> float:
        nonlocal params, state
        start = i % batches * size
        stop = min(start + size, total)
        params, state, loss = update(params, state, *[a[start:stop] for a in samples])
        return float(loss)

    return step
