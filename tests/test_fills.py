"""Large new tensors of one value: whichever way they are filled, they are NumPy's."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import flambeau
from compiled import needs_native
from flambeau.run import fills

DTYPES = ["bool", "uint8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
          "complex64", "complex128"]  # fmt: skip


@pytest.fixture
def native(monkeypatch):
    """The kernel is there, and used from the first array on."""
    monkeypatch.setenv("FLAMBEAU_TIER", "compile")
    fills.filled((fills.LARGE,), 0, np.int8)
    assert fills._ticket is not None
    fills._ticket.wait()
    fills._function.cache_clear()


@needs_native
@pytest.mark.parametrize("dtype", DTYPES)
def test_filled_by_the_kernel(native, dtype):
    """Sizes that are no whole number of lines, and memory that begins anywhere."""
    kind = getattr(flambeau, dtype).numpy
    item = np.dtype(kind).itemsize
    for n in (fills.LARGE // item, fills.LARGE // item + 1, 300_001, 1_000_003):
        for value in (1, 0):
            found = fills.filled((n,), value, kind)
            assert found.dtype == kind
            np.testing.assert_array_equal(found, np.full(n, value, kind))
    assert fills._function.cache_info().misses > 0


@needs_native
def test_nothing_beside_is_written(native):
    size = 4 * fills.LARGE
    memory = np.full(size + 512, 7, np.uint8)
    for start in (0, 4, 64, 100, 204):
        memory[:] = 7
        part = memory[start : start + size]
        fills._function(size)((np.full(16, 5, np.int32),), (part.view(np.int32),), (size,))
        assert (part.view(np.int32) == 5).all()
        assert (memory[:start] == 7).all() and (memory[start + size :] == 7).all()


@pytest.mark.parametrize("tier", ["auto", "interpret", "compile"])
def test_tensors(monkeypatch, tier):
    monkeypatch.setenv("FLAMBEAU_TIER", tier)
    for _ in range(3):
        for make in (
            lambda m: m.zeros(300, 401),
            lambda m: m.ones(300, 401, dtype=m.int64),
            lambda m: m.full((120_001,), -2.5),
            lambda m: m.full((300, 401), 3),
            lambda m: m.full((300, 401), 2 - 1j),
            lambda m: m.ones_like(m.empty(0, 300)),
            lambda m: m.full_like(m.empty(300, 301, dtype=m.float64), 1e300),
            lambda m: m.eye(401),
            lambda m: m.eye(401, 300),
            lambda m: m.eye(300, 401, dtype=m.int32),
            lambda m: m.eye(0, 3),
        ):
            ours, theirs = make(flambeau).numpy(), make(torch).numpy()
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


def test_when_python_exits_nothing_is_compiled_any_more():
    """What has no code by then is done without: large fills and draws, programs run again."""
    text = """
import atexit
atexit.register(lambda: late())
import flambeau as torch
torch.zeros(3).add(1).tolist()
def late():
    ones, drawn = torch.ones(1 << 20), torch.rand(1 << 20)
    for _ in range(6):
        assert ones.mul(3).sum().item() == 3 << 20
    assert 0 <= drawn.min() and drawn.max() < 1
    print("done")
"""
    environment = {**os.environ, "FLAMBEAU_TIER": "compile"}
    made = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (made.stdout, made.stderr) == ("done\n", "")
