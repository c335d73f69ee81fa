"""What tests of kernels share: programs compiled at their first run, and no reference called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import flambeau
from flambeau.ir.primitive import PRIMITIVES
from flambeau.run import program as programs
from flambeau.run.compiler import lower

needs_native = pytest.mark.skipif(
    programs.TIER == "interpret", reason="FLAMBEAU_TIER=interpret: no native code"
)


@contextmanager
def kernels_of(
    monkeypatch: pytest.MonkeyPatch, names: frozenset[str] | None = None
) -> Iterator[None]:
    """Compiles everything at once; the primitives of these names, or all, call no reference."""
    assert names is None or names <= PRIMITIVES.keys(), names - PRIMITIVES.keys()
    original = lower.Lowering.host

    def host(self: lower.Lowering, e: object, why: str) -> object:
        assert names is not None and e.prim.name not in names, (
            f"{e.prim.name} calls its reference: {why}"
        )
        return original(self, e, why)

    monkeypatch.setattr(lower.Lowering, "host", host)
    monkeypatch.setenv("FLAMBEAU_DEBUG", "1")
    flambeau.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        flambeau.use_deterministic_algorithms(False)


@pytest.fixture
def only_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything is compiled at its first run, and may call no reference."""
    with kernels_of(monkeypatch):
        yield


def results(f, *arrays, gradients=True):
    """Of both libraries: outputs, and gradients of the floating-point arrays."""
    found = []
    for mod in (flambeau, torch):
        given = [mod.from_numpy(a.copy()) for a in arrays]
        floats = [t for t in given if t.is_floating_point()] if gradients else []
        for t in floats:
            t.requires_grad_()
        out = f(mod, *given)
        outs = tuple(out) if isinstance(out, tuple) else (out,)
        if floats:
            weight = mod.arange(outs[0].numel(), dtype=outs[0].dtype).reshape(outs[0].shape).cos()
            (outs[0] * weight).nansum().backward()
        found.append([o.detach().numpy() for o in outs] + [t.grad.numpy() for t in floats])
    return found


def agree(f, *arrays, gradients=True, rtol=1e-5, atol=1e-5):
    for ours, theirs in zip(*results(f, *arrays, gradients=gradients), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
