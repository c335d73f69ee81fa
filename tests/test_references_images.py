"""The NumPy references of primitives on images agree with PyTorch, on random shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flambeau.ir import reference as R
from random_arrays import (
    FLOATS,
    HALVES,
    SEEDS,
    Draw,
    agree,
    oracle,
    quiet,  # noqa: F401  (a fixture that is always on)
    same,
)

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


# ---- convolution -------------------------------------------------------------------------------


def check_convolution(draw, dtype, d, groups, stride, samples):
    channels, outputs = groups * draw.int(1, 3), groups * draw.int(1, 3)
    kernel, dilation = draw.ints(1, 3, d), draw.ints(1, 2, d)
    size, padding = draw.ints(5, 13, d), draw.ints(0, 2, d)
    x = draw.array((samples, channels, *size), dtype)
    w = draw.array((outputs, channels // groups, *kernel), dtype)
    how = {
        "stride": stride,
        "padding": tuple((p, p) for p in padding),
        "dilation": dilation,
        "groups": groups,
    }
    tx, tw = oracle(x).requires_grad_(), oracle(w).requires_grad_()
    y = CONVOLVE[d](tx, tw, None, stride, padding, dilation, groups)
    agree(R.convolution(x, w, **how), y)
    g = draw.array(tuple(y.shape), dtype)
    # PyTorch conjugates the other argument of a complex product; ours are plain transposes.
    gx, gw = torch.autograd.grad(y, (tx, tw), oracle(g.conj()))
    ours = R.convolution_input_gradient(g, w, input_size=size, **how)
    agree(ours, gx.conj().resolve_conj())
    ours = R.convolution_weight_gradient(g, x, kernel_size=kernel, **how)
    agree(ours, gw.conj().resolve_conj())


@pytest.mark.parametrize("seed", SEEDS)
def test_convolution(seed):
    draw = Draw(seed)
    d, groups = draw.int(1, 3), draw.pick(1, 1, 2, 3)
    stride = draw.ints(1, 3, d) if seed % 2 else (1,) * d
    check_convolution(draw, FLOATS[seed % 2], d, groups, stride, draw.int(0, 3))


def test_convolution_of_complex():
    for seed in range(4):
        check_convolution(Draw(seed), np.complex128, 2, 1, (1, 1 + seed % 2), 2)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_convolution_of_halves(dtype):
    draw = Draw(0)
    x, w = draw.array((2, 3, 8, 8), dtype), draw.array((4, 3, 3, 3), dtype)
    how = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    theirs = F.conv2d(oracle(x).float(), oracle(w).float(), padding=1)
    agree(R.convolution(x, w, **how), theirs.to(oracle(x).dtype))
    assert R.convolution_weight_gradient(x[:, :3], x, kernel_size=(3, 3), **how).dtype == dtype


@pytest.mark.parametrize("samples", [1, 70])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_in_chunks(kernel, samples):
    draw = Draw(kernel)
    x = draw.array((samples, 40, 20, 20), np.float32)
    w = draw.array((8, 40, kernel, kernel), np.float32)
    how = {"stride": (1, 1), "padding": ((0, 0),) * 2, "dilation": (1, 1), "groups": 1}
    tx, tw = oracle(x).requires_grad_(), oracle(w).requires_grad_()
    y = F.conv2d(tx, tw)
    agree(R.convolution(x, w, **how), y)
    g = draw.array(tuple(y.shape), np.float32)
    gx, gw = torch.autograd.grad(y, (tx, tw), oracle(g))
    agree(R.convolution_input_gradient(g, w, input_size=(20, 20), **how), gx)
    agree(R.convolution_weight_gradient(g, x, kernel_size=(kernel, kernel), **how), gw)


@pytest.mark.parametrize("seed", range(12))
def test_convolution_with_uneven_or_negative_padding(seed):
    draw = Draw(seed)
    d, stride = 2, draw.pick((1, 1), (2, 1))
    pads = tuple(draw.ints(-1, 3, 2) for _ in range(d))
    x, w = draw.array((2, 4, 7, 9)), draw.array((3, 4, 2, 3))
    how = {"stride": stride, "padding": pads, "dilation": (1, 2), "groups": 1}
    tx, tw = oracle(x).requires_grad_(), oracle(w).requires_grad_()
    y = F.conv2d(F.pad(tx, (*pads[1], *pads[0])), tw, None, stride, 0, (1, 2))
    agree(R.convolution(x, w, **how), y)
    g = draw.array(tuple(y.shape))
    gx, gw = torch.autograd.grad(y, (tx, tw), oracle(g))
    agree(R.convolution_input_gradient(g, w, input_size=(7, 9), **how), gx)
    agree(R.convolution_weight_gradient(g, x, kernel_size=(2, 3), **how), gw)


def test_convolution_of_integers():
    x, w = np.arange(24).reshape(1, 2, 3, 4), np.arange(12).reshape(2, 2, 1, 3)
    how = {"stride": (1, 1), "padding": ((0, 0), (1, 1)), "dilation": (1, 1), "groups": 1}
    same(R.convolution(x, w, **how), F.conv2d(oracle(x), oracle(w), padding=(0, 1)))


# ---- pooling -----------------------------------------------------------------------------------

MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_AVG = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
ADAPTIVE_MAX = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}


def pool_case(draw):
    d = draw.int(1, 3)
    kernel = draw.ints(1, 4, d)
    stride = kernel if draw.int(0, 1) else draw.ints(1, 3, d)
    padding = tuple(draw.int(0, k // 2) for k in kernel) if draw.int(0, 1) else (0,) * d
    return d, draw.ints(7, 12, d), kernel, stride, padding, bool(draw.int(0, 1))


@pytest.mark.parametrize("seed", range(60))
def test_max_pool(seed):
    draw = Draw(seed)
    d, size, kernel, stride, padding, ceil = pool_case(draw)
    dilation = draw.ints(1, 2, d)
    x = draw.pick(draw.array, draw.coarse)((2, draw.int(1, 2), *size), FLOATS[seed % 2])
    if seed % 3 == 0:
        x[draw.rng.random(x.shape) < 0.1] = np.nan
    if seed % 3 == 1:
        x[draw.rng.random(x.shape) < 0.7] = -np.inf
    tx = oracle(x).requires_grad_()
    y, places = MAX_POOL[d](tx, kernel, stride, padding, dilation, ceil, return_indices=True)
    values, indices = R.max_pool(
        x, kernel_size=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil
    )
    same(values, y)
    same(indices, places)
    g = draw.array(values.shape, x.dtype)
    (gx,) = torch.autograd.grad(y, tx, oracle(g))
    agree(R.max_pool_gradient(g, indices, input_size=size), gx)
    if all(s >= 1 + (k - 1) * e for k, s, e in zip(kernel, stride, dilation, strict=True)):
        same(R.max_pool_gradient(g, indices, input_size=size, disjoint=True), gx)


@pytest.mark.parametrize("special", [0.0, np.nan, -np.inf])
@pytest.mark.parametrize("padding", [0, 3])
def test_max_pool_of_large_windows(special, padding):
    draw = Draw(5)
    x = draw.array((2, 3, 9, 9))
    x[draw.rng.random(x.shape) < 0.5] = special
    x[0, 0] = special
    how = {"kernel_size": (8, 8), "stride": (4, 4), "padding": (padding,) * 2}
    y, places = F.max_pool2d(oracle(x), 8, 4, padding, return_indices=True)
    values, indices = R.max_pool(x, **how)
    same(values, y)
    same(indices, places)


def test_max_pool_of_other_types():
    for dtype in (np.int64, np.int32, np.uint8):
        x = Draw(1).rng.integers(0, 9, (1, 2, 6, 6)).astype(dtype)
        y, places = F.max_pool2d(oracle(x), 3, 2, 1, return_indices=True)
        values, indices = R.max_pool(x, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
        same(values, y)
        same(indices, places)
    for dtype in HALVES:
        x = Draw(1).array((1, 2, 6, 6), dtype)
        values, _ = R.max_pool(x, kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))
        same(values, F.max_pool2d(oracle(x), 2))


@pytest.mark.parametrize("seed", range(60))
def test_avg_pool(seed):
    draw = Draw(seed)
    d, size, kernel, stride, padding, ceil = pool_case(draw)
    x = draw.array((2, draw.int(1, 2), *size), FLOATS[seed % 2])
    include, divisor = bool(draw.int(0, 1)), draw.pick(None, 3) if d > 1 else None
    how = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil,
        "count_include_pad": include,
        "divisor_override": divisor,
    }
    tx = oracle(x).requires_grad_()
    more = (divisor,) if d > 1 else ()
    y = AVG_POOL[d](tx, kernel, stride, padding, ceil, include, *more)
    agree(R.avg_pool(x, **how), y)
    g = draw.array(tuple(y.shape), x.dtype)
    (gx,) = torch.autograd.grad(y, tx, oracle(g))
    agree(R.avg_pool_gradient(g, input_size=size, **how), gx)


@pytest.mark.parametrize("seed", range(40))
def test_adaptive_pools(seed):
    draw = Draw(seed)
    d = draw.int(1, 3)
    size, output = draw.ints(1, 9, d), draw.ints(1, 7, d)
    if seed % 3 == 0:
        output = tuple(draw.pick(1, n) for n in size)
    x = draw.coarse((2, 2, *size), FLOATS[seed % 2])
    tx = oracle(x).requires_grad_()
    y = ADAPTIVE_AVG[d](tx, output)
    agree(R.adaptive_avg_pool(x, output_size=output), y)
    g = draw.array(tuple(y.shape), x.dtype)
    (gx,) = torch.autograd.grad(y, tx, oracle(g))
    agree(R.adaptive_avg_pool_gradient(g, input_size=size), gx)
    if seed % 4 == 0:
        x[draw.rng.random(x.shape) < 0.1] = np.nan
    y, places = ADAPTIVE_MAX[d](oracle(x), output, return_indices=True)
    values, indices = R.adaptive_max_pool(x, output_size=output)
    same(values, y)
    same(indices, places)


def test_pools_of_nothing():
    x = np.zeros((0, 3, 8, 8), np.float32)
    how = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    assert R.max_pool(x, **how)[1].shape == (0, 3, 4, 4)
    assert R.avg_pool(x, **how).shape == (0, 3, 4, 4)
    assert R.avg_pool_gradient(x, input_size=(16, 16), **how).shape == (0, 3, 16, 16)
    assert R.adaptive_avg_pool(x, output_size=(3, 1)).shape == (0, 3, 3, 1)
    assert R.adaptive_max_pool(x, output_size=(3, 1))[0].shape == (0, 3, 3, 1)
    assert R.max_pool_gradient(x, x.astype(int), input_size=(16, 16)).shape == (0, 3, 16, 16)


def test_pool_padding_is_at_most_half_the_kernel():
    with pytest.raises(RuntimeError, match="pad should be at most half of effective kernel size"):
        R.pool_output_size((8,), kernel_size=(3,), stride=(1,), padding=(2,))


# ---- patches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_patches(seed):
    draw = Draw(seed)
    size = draw.ints(5, 9, 2)
    how = {
        "kernel_size": draw.ints(1, 3, 2),
        "dilation": draw.ints(1, 2, 2),
        "padding": draw.ints(0, 2, 2),
        "stride": draw.ints(1, 2, 2),
    }
    x = draw.array((draw.int(0, 2), 3, *size), FLOATS[seed % 2])
    columns = R.unfold(x, **how)
    if len(x):
        same(columns, F.unfold(oracle(x), **how))
        agree(R.fold(columns, output_size=size, **how), F.fold(oracle(columns), size, **how))


# ---- resampling --------------------------------------------------------------------------------

NAMES = {1: "linear", 2: "bilinear", 3: "trilinear"}


@pytest.mark.parametrize("seed", range(80))
def test_interpolate(seed):
    draw = Draw(seed)
    d = draw.int(1, 3)
    kind = draw.pick("nearest", "nearest-exact", "linear", "bicubic", "area")
    d = 2 if kind == "bicubic" else d
    mode = NAMES[d] if kind == "linear" else kind
    smooth = kind in ("linear", "bicubic")
    size, output = draw.ints(1, 8, d), draw.ints(1, 12, d)
    more = {"align_corners": bool(draw.int(0, 1))} if smooth else {}
    if smooth and d == 2:
        # PyTorch 2.13 repeats the first row when it antialiases to a width of one.
        more["antialias"] = bool(draw.int(0, 1)) and output[-1] > 1
    x = draw.array((draw.int(1, 2), 2, *size), FLOATS[seed % 2])
    tx = oracle(x).requires_grad_()
    if kind != "area" and seed % 3 == 0:
        scales = tuple(draw.pick(0.7, 1.3, 2.0, 2.6, 3.0) for _ in range(d))
        output = tuple(int(n * s) for n, s in zip(size, scales, strict=True))
        if min(output) == 0:
            pytest.skip("an empty output")
        y = F.interpolate(tx, scale_factor=scales, mode=mode, **more)
        more["scales"] = scales
    else:
        y = F.interpolate(tx, output, mode=mode, **more)
    tolerance = 1e-5 if seed % 2 == 0 else None
    agree(R.interpolate(x, output_size=output, mode=mode, **more), y, tolerance)
    g = draw.array(tuple(y.shape), x.dtype)
    (gx,) = torch.autograd.grad(y, tx, oracle(g))
    ours = R.interpolate_gradient(g, input_size=size, mode=mode, **more)
    agree(ours, gx, 5e-5 if seed % 2 == 0 else None)


def test_interpolate_leaves_infinities_where_they_are():
    x = np.array([[[np.inf, 1.0, 2.0]]])
    same(R.interpolate(x, output_size=(6,)), F.interpolate(oracle(x), 6))
    theirs = F.interpolate(oracle(x), 6, mode="linear")
    same(R.interpolate(x, output_size=(6,), mode="linear"), theirs)


def test_interpolate_keeps_halves_and_empty_batches():
    for dtype in HALVES:
        x = Draw(0).array((1, 2, 5), dtype)
        y = F.interpolate(oracle(x).float(), 7, mode="linear").to(oracle(x).dtype)
        agree(R.interpolate(x, output_size=(7,), mode="linear"), y)
    assert R.interpolate(np.zeros((0, 2, 5)), output_size=(7,), mode="linear").shape == (0, 2, 7)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("d", [2, 3])
def test_grid_sample(d, mode, padding, align):
    if d == 3 and mode == "bicubic":
        with pytest.raises(NotImplementedError, match="bicubic"):
            R.grid_sample(np.zeros((1, 1, 2, 2, 2)), np.zeros((1, 1, 1, 1, 3)), mode)
        return
    for dtype in FLOATS:
        draw = Draw(d)
        x = draw.array((2, 3, *draw.ints(1, 6, d)), dtype)
        grid = draw.array((2, *draw.ints(2, 5, d), d), dtype) * dtype(1.5)
        y = F.grid_sample(oracle(x), oracle(grid), mode, padding, align)
        agree(
            R.grid_sample(x, grid, mode, padding, align), y, 1e-4 if dtype == np.float32 else None
        )
    assert R.grid_sample(x[:0], grid[:0], mode, padding, align).shape[0] == 0


@pytest.mark.parametrize("seed", range(40))
def test_pad(seed):
    draw = Draw(seed)
    mode = draw.pick("constant", "reflect", "replicate", "circular")
    d = draw.int(1, 3)
    size = draw.ints(4, 6, d)
    low = -2 if mode != "reflect" else 0
    pads = tuple(draw.ints(low, 3, 2) for _ in range(d))
    if mode == "circular":
        pads = tuple((max(a, 0), max(b, 0)) for a, b in pads)
    x = draw.array((2, 2, *size), FLOATS[seed % 2])
    tx = oracle(x).requires_grad_()
    value = draw.pick(0, 1.5) if mode == "constant" else 0
    flat = [w for pair in reversed(pads) for w in pair]
    y = F.pad(tx, flat, mode, value)
    same(R.pad(x, pads, mode, value), y)
    g = draw.array(tuple(y.shape), x.dtype)
    (gx,) = torch.autograd.grad(y, tx, oracle(g))
    agree(R.pad_gradient(g, pads, mode), gx)


def test_pad_refuses_what_it_cannot_reach():
    x = np.zeros((1, 3))
    with pytest.raises(RuntimeError, match="Padding size should be less than"):
        R.pad(x, ((3, 0),), "reflect")
    with pytest.raises(RuntimeError, match="wrapping around more than once"):
        R.pad(x, ((4, 0),), "circular")


def test_results_are_new_arrays():
    x = np.ones((1, 2, 3, 3))
    how = {"kernel_size": (1, 1), "stride": (1, 1), "padding": (0, 0)}
    one = {"stride": (1, 1), "padding": ((0, 0),) * 2, "dilation": (1, 1), "groups": 1}
    results = [
        R.convolution(x, np.ones((2, 2, 1, 1)), **one),
        R.max_pool(x, **how)[0],
        R.avg_pool(x, **how),
        R.avg_pool_gradient(x, input_size=(3, 3), **how),
        R.adaptive_avg_pool(x, output_size=(3, 3)),
        R.unfold(x, dilation=(1, 1), **how),
        R.fold(x.reshape(1, 2, 9), output_size=(3, 3), dilation=(1, 1), **how),
        R.interpolate(x, output_size=(3, 3)),
        R.interpolate_gradient(x, input_size=(3, 3), mode="bilinear"),
        R.pad(x, ((0, 0),)),
        R.pad(x, ((0, 0),), "reflect"),
        R.pad_gradient(x, ((0, 0),), "circular"),
        R.index(x, (None,)),
        R.unique_consecutive(np.arange(3))[0],
    ]
    for result in results:
        assert result.flags.writeable
        assert not np.may_share_memory(result, x)
