"""Resampling by kernels: as the reference has it, and as PyTorch has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from compiled import agree, kernels_of, needs_native
from flambeau.ir.reference.resample import interpolate
from own_draws import own_draw, rng  # noqa: F401  (a fixture)

pytestmark = needs_native


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    with kernels_of(monkeypatch, frozenset({"interpolate", "interpolate_gradient"})):
        yield


SIZES = [((7, 9), (13, 20)), ((32, 32), (20, 20)), ((40, 33), (11, 9)), ((5, 70), (5, 140)),
         ((1, 1), (3, 4)), ((6, 100), (1, 1)), ((17, 64), (34, 17))]  # fmt: skip


def resized(mode, size=None, **how):
    def call(m, x):
        return m.nn.functional.interpolate(x, size, mode=mode, **how)

    return call


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_images(mode, corners):
    for (h, w), size in SIZES:
        x = rng.standard_normal((2, 3, h, w)).astype(np.float32)
        agree(resized(mode, size, align_corners=corners), x)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area"])
def test_images_of_the_nearest_and_by_area(mode):
    for (h, w), size in SIZES:
        x = rng.standard_normal((2, 3, h, w)).astype(np.float32)
        agree(resized(mode, size), x)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialiased(mode):
    for size in ((5, 7), (40, 11), (3, 90)):
        x = rng.standard_normal((2, 2, 30, 45)).astype(np.float32)
        agree(resized(mode, size, antialias=True), x)


@pytest.mark.parametrize("mode", ["nearest", "linear", "area"])
def test_signals(mode):
    for n, o in ((9, 20), (50, 31), (16, 32), (3, 200), (300, 40)):
        x = rng.standard_normal((4, 5, n)).astype(np.float32)
        agree(resized(mode, o), x)


@pytest.mark.parametrize("mode", ["nearest", "trilinear", "area"])
def test_volumes(mode):
    x = rng.standard_normal((2, 3, 5, 6, 7)).astype(np.float32)
    for size in ((10, 12, 14), (3, 9, 4), (5, 6, 20)):
        agree(resized(mode, size), x)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_floats(dtype):
    x = rng.standard_normal((2, 3, 12, 20)).astype(dtype)
    for mode in ("bilinear", "bicubic", "nearest"):
        # PyTorch rounds what it adds up to halves; here it is added up in float32.
        close = 4e-3 if dtype is np.float16 else 1e-12
        agree(resized(mode, (9, 31)), x, gradients=dtype is np.float64, rtol=close, atol=close)


def test_factors_and_views():
    x = rng.standard_normal((2, 3, 12, 20)).astype(np.float32)
    for factor in (2, 0.7, (1.5, 3.1)):
        agree(resized("bilinear", scale_factor=factor), x)
        agree(resized("bicubic", scale_factor=factor, recompute_scale_factor=True), x)
    agree(lambda m, a: resized("bilinear", (9, 9))(m, a.transpose(2, 3)[:, 1:]), x)
    agree(lambda m, a: resized("nearest", (24, 40))(m, (a * 2).relu()) + 1, x)


def test_infinities_stay_in_their_windows():
    x = rng.standard_normal((1, 1, 6, 8)).astype(np.float32)
    x[0, 0, 2, 3], x[0, 0, 5, 7] = np.inf, np.nan
    for mode in ("bilinear", "bicubic", "nearest"):
        agree(resized(mode, (9, 16)), x, gradients=False)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest", "area"])
def test_second_gradients(mode):
    x = rng.standard_normal((1, 2, 5, 6))
    found = []
    for m in (flambeau, torch):
        a = m.from_numpy(x.copy()).requires_grad_()
        y = resized(mode, (7, 4))(m, a)
        (g,) = m.autograd.grad((y * y).sum(), a, create_graph=True)
        (g * g).sum().backward()
        found.append(a.grad.numpy())
    np.testing.assert_allclose(*found, 1e-10, 1e-10)


KEPT = [("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 2), ("linear", 1),
        ("bilinear", 2), ("bicubic", 2), ("trilinear", 3)]  # fmt: skip


@pytest.mark.parametrize("mode, dims", KEPT)
def test_factors_that_keep_a_size_or_double_it(mode, dims):
    """PyTorch then leaves some axes alone: 3 by 1.3 is 3, and by 2.2 it is 6."""
    x = rng.standard_normal((2, 3, 3, 4, 5)[: dims + 2]).astype(np.float32)
    for factors in ((1.3, 1.0, 2.2), (1.0, 1.2, 1.1), (2.2, 2.3, 1.19), (0.7, 1.2, 2.0)):
        factor = factors[:dims]
        agree(resized(mode, scale_factor=factor), x, gradients=False)
        if mode in ("bilinear", "bicubic"):
            agree(resized(mode, scale_factor=factor, antialias=True), x, gradients=False)
            given = (x * 40 + 120).astype(np.uint8)
            theirs = resized(mode, scale_factor=factor, antialias=True)(torch, torch.tensor(given))
            size = tuple(theirs.shape[2:])
            ours = interpolate(given, output_size=size, mode=mode, scales=factor, antialias=True)
            np.testing.assert_array_equal(ours, theirs)
