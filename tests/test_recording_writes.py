"""Writes to memory whose earlier values a backward needs: its gradients are those of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from flambeau.run import program as tiers

# Memory that NumPy holds is copied when bound, unless it is larger than this many floats.
LARGE = 40_000


def both(f):
    return f(flambeau), f(torch)


def agree(f):
    ours, theirs = both(f)
    np.testing.assert_allclose(ours.tolist(), theirs.tolist(), 1e-4)


def test_what_a_write_to_foreign_memory_read_is_kept():
    def run(f):
        x = f.from_numpy(np.linspace(0, 1, LARGE, dtype=np.float32))
        w = f.tensor(2.0, requires_grad=True)
        x.mul_(w)
        x.sum().backward()
        return w.grad

    agree(run)


def test_a_call_begun_again_forgets_the_copy_of_foreign_memory():
    """Its second operand, a leaf that the trace has written to, ends the trace."""

    def run(f):
        held = np.arange(3.0)
        x = f.from_numpy(held)
        w = f.ones(3, dtype=f.float64, requires_grad=True)
        with f.no_grad():
            w.add_(1)
        (x * w).sum().backward()
        return w.grad

    agree(run)


def test_a_transposed_parameter_in_foreign_memory_is_watched():
    for f in (flambeau, torch):
        held = np.ones((200, 200), np.float32)
        w = f.from_numpy(held).requires_grad_()
        x = f.ones(2, 200, requires_grad=True)
        y = f.nn.functional.linear(x, w)
        y.detach().sum().item()
        with f.no_grad():
            w.mul_(2)
        with pytest.raises(RuntimeError, match="inplace operation"):
            y.sum().backward()


@pytest.mark.parametrize("tier", ["interpret", "compile"])
def test_old_values_of_a_view_are_read_in_every_tier(monkeypatch, tier):
    """What was written to in the trace that read it has new memory, however it was computed."""
    monkeypatch.setattr(tiers, "TIER", tier)
    monkeypatch.setattr(tiers, "START", 1 if tier == "compile" else 2)
    monkeypatch.setattr(tiers, "PROMOTE", 1 if tier == "compile" else 4)

    def run(f):
        w = f.tensor(0.5, requires_grad=True)
        s = f.arange(6.0).reshape(2, 3)
        for _ in range(3):
            s.t().mul_(w.tanh())
            w.detach().add(1).item()
            s[0].sum().backward(retain_graph=True)
        return w.grad

    agree(run)
