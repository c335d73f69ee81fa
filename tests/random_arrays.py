"""What the tests of NumPy references share: arrays at random, and comparing with PyTorch."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch

SEEDS = range(40)
FLOATS = [np.float32, np.float64]
HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


@pytest.fixture(autouse=True)
def quiet():
    """The interpreter runs references with NumPy's floating-point warnings off, and so do we."""
    torch.set_num_threads(1)
    with np.errstate(all="ignore"):
        yield


def oracle(x):
    """The PyTorch tensor of an array."""
    if x.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(x.astype(np.float32)).bfloat16()
    return torch.from_numpy(np.ascontiguousarray(x)).reshape(x.shape)


def array(t):
    t = t.detach()
    if t.dtype == torch.bfloat16:
        return t.float().numpy().astype(ml_dtypes.bfloat16)
    return t.numpy()


def agree(ours, theirs, tolerance=None):
    theirs = array(theirs) if isinstance(theirs, torch.Tensor) else theirs
    assert isinstance(ours, np.ndarray | np.generic)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    if tolerance is None:
        size = ours.dtype.itemsize // (2 if ours.dtype.kind == "c" else 1)
        eps = {2: 2e-2, 4: 2e-5}.get(size, 1e-11)
        scale = np.abs(np.nan_to_num(theirs.astype(np.complex128), posinf=0, neginf=0))
        tolerance = eps * max(1.0, scale.max(initial=0)) if ours.dtype.kind in "fcV" else 0
    if ours.dtype.kind == "V" or ours.dtype == ml_dtypes.bfloat16:
        ours, theirs = ours.astype(np.float32), theirs.astype(np.float32)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, equal_nan=True)


def same(ours, theirs):
    agree(ours, theirs, 0)


class Draw:
    """Random shapes and arrays from one seed."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def ints(self, low, high, n):
        return tuple(int(v) for v in self.rng.integers(low, high + 1, n))

    def int(self, low, high):
        return self.ints(low, high, 1)[0]

    def pick(self, *options):
        return options[int(self.rng.integers(len(options)))]

    def array(self, shape, dtype=np.float64):
        """A normal array, sometimes a transposed or strided view of one."""
        layout = self.int(0, 2)
        if layout == 0 or not shape:
            x = self.rng.standard_normal(shape)
        elif layout == 1:
            x = self.rng.standard_normal(shape[::-1]).T
        else:
            x = self.rng.standard_normal((*shape[:-1], 2 * shape[-1]))[..., ::2]
        if np.dtype(dtype).kind == "c":
            return (x + 1j * self.rng.standard_normal(shape)).astype(dtype)
        return x.astype(dtype)

    def coarse(self, shape, dtype=np.float64):
        """Few distinct values, so that there are ties."""
        return self.rng.integers(-3, 4, shape).astype(dtype)

    def index(self, high, shape):
        return self.rng.integers(0, high, shape)
