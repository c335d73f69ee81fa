"""Convolutions and pooling of 16-bit values run natively, rounded once as their references are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from compiled import needs_native, only_kernels  # noqa: F401  (a fixture)

pytestmark = [needs_native, pytest.mark.usefixtures("only_kernels")]


PLACES = [[0, 3, 3, 1], [5, 3, 0, 3]]
LAYERS = {
    "rows": lambda m, x, w: x.flatten(1)[:, :9].matmul(
        m.nn.functional.embedding(m.tensor(PLACES), w.flatten(1)[:, :9]).transpose(1, 2)
    ),
    "chosen": lambda m, x, w: x[:, m.tensor(PLACES[0])].sum() * w[m.tensor(PLACES)],
    "scattered": lambda m, x, w: w.flatten(1).scatter_add(1, m.tensor(PLACES), x.flatten(1)[:, :4]),
    "convolution": lambda m, x, w: m.nn.functional.conv2d(x, w, padding=1),
    "strided": lambda m, x, w: m.nn.functional.conv2d(x, w, stride=2),
    "transposed": lambda m, x, w: m.nn.functional.conv_transpose2d(x, w.transpose(0, 1), stride=2),
    "greatest": lambda m, x, w: m.nn.functional.max_pool2d(x, 2) * w.sum(),
    "mean": lambda m, x, w: m.nn.functional.avg_pool2d(x, 3, 2, 1) * w.sum(),
    "shared": lambda m, x, w: m.nn.functional.adaptive_avg_pool2d(x, 3) * w.sum(),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("layer", LAYERS)
def test_values_and_gradients(layer, dtype):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 7, 9)), rng.standard_normal((6, 4, 3, 3)) / 6
    found = []
    for mod in (flambeau, torch):
        a, b = (
            mod.tensor(v.tolist(), dtype=getattr(mod, dtype), requires_grad=True) for v in (x, w)
        )
        y = LAYERS[layer](mod, a, b)
        (y.float().square().sum() / 8).backward()
        assert str(y.dtype) == str(a.grad.dtype) == f"torch.{dtype}"
        found.append([np.array(v.float().tolist()) for v in (y, a.grad, b.grad)])
    eps = 2.0**-8 if dtype == "bfloat16" else 2.0**-11
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=4 * eps * np.abs(theirs).max())


def test_a_value_is_rounded_once():
    rng = np.random.default_rng(1)
    x, w = (
        flambeau.tensor(rng.standard_normal(s).tolist(), dtype=flambeau.bfloat16)
        for s in ((2, 3, 8, 8), (5, 3, 3, 3))
    )
    conv = flambeau.nn.functional.conv2d
    exact = conv(x.double(), w.double()).float().bfloat16()
    ours = conv(x, w)
    same = (ours == exact).float().mean().item()
    # A sum in float32 rarely falls on the other side of a boundary.
    assert same > 0.98


def test_under_autocast():
    flambeau.manual_seed(0)
    torch.manual_seed(0)
    found = []
    for mod in (flambeau, torch):
        nn = mod.nn
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip
        optimizer = mod.optim.SGD(model.parameters(), lr=0.1)
        x = mod.tensor(np.random.default_rng(2).standard_normal((6, 3, 12, 12)).astype(np.float32))
        for _ in range(3):
            with mod.autocast("cpu", dtype=mod.bfloat16):
                loss = model(x).logsumexp(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    np.testing.assert_allclose(found[:3], found[3:], rtol=2e-2)
