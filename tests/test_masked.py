"""``masked``: what the elements that a mask names give, beside PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import flambeau

LIBRARIES = (torch, flambeau)

# Under names ``x`` (floats), ``n`` (integers), ``mask`` and ``row`` (a mask that broadcasts).
EXPRESSIONS = """
sum(x, 0, mask=mask) | sum(x, mask=mask) | sum(x, (0, 1), keepdim=True, mask=row) | sum(n, 1)
sum(n, 0, mask=mask, dtype=torch.float64) | prod(x, 1, mask=mask) | prod(n, (0, 1), mask=mask)
amax(x, 0, mask=mask) | amax(n, 1, mask=mask) | amin(x, (0, 1), mask=row) | amin(n, 0, mask=mask)
argmax(x, 0, mask=mask) | argmin(x, 1, keepdim=True, mask=mask) | argmax(n, 1, mask=mask)
mean(x, 0, mask=mask) | mean(n, 1, dtype=torch.float64) | mean(x, mask=row)
median(n, 0) | median(n, 0, mask=mask) | median(x, 1, mask=mask)
logsumexp(x, 0, mask=mask) | norm(x, 2.0, 1, mask=mask) | norm(x, 1.0, mask=mask)
norm(x, float("-inf"), 0, mask=mask) | var(x, 0, mask=mask) | var(x, 1, unbiased=False, mask=mask)
var(n, 0, correction=0, mask=mask) | std(x, 1, mask=mask) | std(x, (0, 1), False, mask=mask)
softmax(x, 1, mask=mask) | log_softmax(x, 0, mask=mask) | softmin(x, 1, mask=row) | softmax(x, 0)
normalize(x, 2.0, 1, mask=mask) | cumsum(x, 1, mask=mask) | cumprod(n, 0, mask=mask)
logaddexp(x, x + 1, input_mask=mask, other_mask=row) | logaddexp(x, x)
"""


def names(lib: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "torch": lib,
        "x": lib.from_numpy(rng.standard_normal((3, 4))).requires_grad_(),
        "n": lib.from_numpy(rng.integers(-5, 6, (3, 4))),
        # A row of nothing, a row of all.
        "mask": lib.tensor([[True, False, True, True], [False] * 4, [True] * 4]),
        "row": lib.tensor([True, False, True, False]),
    }


@pytest.mark.parametrize(
    "expression", [e.strip() for line in EXPRESSIONS.strip().splitlines() for e in line.split("|")]
)
def test_values_and_gradients(expression):
    found = []
    for lib in LIBRARIES:
        space = names(lib)
        out = eval(f"torch.masked.{expression}", space)
        grad = None
        if out.requires_grad:
            held = lib.where(lib.isfinite(out), out, lib.zeros_like(out))
            (held * lib.arange(1.0, held.numel() + 1).reshape(held.shape)).sum().backward()
            grad = space["x"].grad.tolist()
        found.append((str(out.dtype), tuple(out.shape), out.detach().tolist(), grad))
    (dtype, shape, values, grad), ours = found
    assert (dtype, shape) == ours[:2]
    assert np.allclose(values, ours[2], equal_nan=True)
    assert (grad is None) == (ours[3] is None)
    if grad is not None:
        assert np.allclose(grad, ours[3], equal_nan=True)


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("var(x, 0, unbiased=True, correction=1)", AssertionError),
        ("median(n, 1, mask=mask)", ValueError),
        ("mean(n, 0, mask=mask)", ValueError),
        ("sum(x, 5)", IndexError),
    ],
)
def test_what_is_refused(expression, kind):
    for lib in LIBRARIES:
        with pytest.raises(kind):
            eval(f"torch.masked.{expression}", names(lib))
