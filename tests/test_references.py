"""The NumPy references of the structured primitives agree with PyTorch, on random shapes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flambeau.ir import reference as R

SEEDS = range(40)
FLOATS = [np.float32, np.float64]
HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


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


# ---- gather and scatter ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_gather_and_scatter(seed):
    draw = Draw(seed)
    dtype = draw.pick(np.float32, np.float64, np.int64, np.complex64, *HALVES)
    d = draw.int(1, 3)
    dim = draw.int(-d, d - 1)
    shape = draw.ints(1, 5, d)
    other = list(draw.int(0, n) for n in shape)
    other[dim] = draw.int(0, 7)
    index = draw.index(shape[dim], other)
    x, src = draw.array(shape, dtype), draw.array([n + draw.int(0, 1) for n in other], dtype)
    tx, ti, ts = oracle(x), oracle(index), oracle(src)
    same(R.gather(x, index, dim), tx.gather(dim, ti))
    agree(R.scatter_add(x, index, src, dim), tx.scatter_add(dim, ti, ts))
    once = np.argsort(draw.rng.random(shape), axis=dim)
    same(R.scatter(x, once, x * 2, dim), tx.scatter(dim, oracle(once), tx * 2))
    same(R.scatter(x, index, np.asarray(3, dtype), dim), tx.scatter(dim, ti, 3))
    if np.dtype(dtype).kind == "c":
        return
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for include in (True, False):
            ours = R.scatter_reduce(x, index, src, dim, reduce, include)
            agree(ours, tx.scatter_reduce(dim, ti, ts, reduce, include_self=include))


@pytest.mark.parametrize("seed", SEEDS)
def test_whole_entries(seed):
    draw = Draw(seed)
    dtype = draw.pick(np.float32, np.float64, np.int64, np.complex128, *HALVES)
    d = draw.int(1, 3)
    dim = draw.int(-d, d - 1)
    shape = draw.ints(1, 5, d)
    index = draw.index(shape[dim], draw.int(0, 9))
    x = draw.array(shape, dtype)
    tx, ti = oracle(x), oracle(index)
    same(R.index_select(x, index, dim), tx.index_select(dim, ti))
    src = draw.array([len(index) if a == dim % d else n for a, n in enumerate(shape)], dtype)
    agree(R.index_add(x, index, src, dim), tx.index_add(dim, ti, oracle(src)))
    agree(R.index_add(x, index, src, dim, 2), tx.index_add(dim, ti, oracle(src), alpha=2))


def test_scatters_of_scalars():
    x, at = np.array(3.0), np.array(0)
    assert R.gather(x, at, 0) == 3 and R.gather(x, at, 0).shape == ()
    assert R.scatter(x, at, np.array(5.0), 0) == 5
    assert R.scatter_add(x, at, np.array(5.0), 0) == 8
    assert R.scatter_reduce(x, at, np.array(5.0), 0, "prod") == 15
    assert R.index_add(x, np.array([0]), np.array(5.0), 0) == 8
    assert R.index_select(x, np.array([0]), 0).shape == ()


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES], ids=str)
@pytest.mark.parametrize("rows", [5, 5000])
def test_embedding(dtype, rows):
    draw = Draw(rows)
    weight, index = draw.array((rows, 4), dtype), draw.index(rows, (3, 7))
    tw = oracle(weight).requires_grad_()
    y = F.embedding(oracle(index), tw)
    same(R.embedding(weight, index), y)
    g = draw.array((3, 7, 4), dtype)
    (gw,) = torch.autograd.grad(y, tw, oracle(g))
    agree(R.embedding_gradient(g, index, rows=rows), gw)
    assert R.embedding(weight, index[:0]).shape == (0, 7, 4)
    assert not R.embedding_gradient(g[:0], index[:0], rows=rows).any()


def test_many_additions_to_one_place_are_accurate():
    g = np.full((200_000, 1), 0.1, np.float32)
    total = R.embedding_gradient(g, np.zeros(200_000, np.int64), rows=2)
    assert total[0, 0] == np.float32(200_000 * np.float64(np.float32(0.1)))


KEYS = [
    (np.array([1, -1]),),
    (None, np.array([0, 2, 2])),
    (np.array([[0], [1]]), np.array([0, 2, 2])),
    (np.array([0, 1, 0]), None, np.array([3, 1, 3])),
    (None, np.array(1), np.array([1, 1])),
    (np.array(1), np.array(2), np.array(3)),
    (np.zeros((0,), np.int64),),
    (None,),
]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.complex64])
def test_indexing_by_arrays(key, dtype):
    draw = Draw(3)
    x = draw.array((2, 3, 4), dtype)
    tkey = tuple(slice(None) if k is None else oracle(k) for k in key)
    tx = oracle(x)
    same(R.index(x, key), tx[tkey])
    values = draw.array(tuple(tx[tkey].shape), dtype)
    expected = tx.clone()
    expected[tkey] = 5
    same(R.index_put(x, key, np.asarray(5, dtype)), expected)
    flat = tuple(k for k in tkey)
    if not any(isinstance(k, slice) for k in flat):
        expected = tx.index_put(flat, oracle(values), accumulate=True)
        agree(R.index_put(x, key, values, accumulate=True), expected)
    else:
        expected = x.copy()
        np.add.at(expected, tuple(slice(None) if k is None else k for k in key), values)
        agree(R.index_put(x, key, values, accumulate=True), expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, i: R.gather(x, i, 0),
        lambda x, i: R.scatter(x, i, x[:1, :1], 0),
        lambda x, i: R.scatter_add(x, i, x[:1, :1], 0),
        lambda x, i: R.scatter_reduce(x, i, x[:1, :1], 0, "amax"),
        lambda x, i: R.index_add(x, i[0], x[:1], 0),
        lambda x, i: R.index_select(x, i[0], 0),
        lambda x, i: R.embedding(x, i),
        lambda x, i: R.index(x, (i,)),
        lambda x, i: R.index_put(x, (i,), x[0]),
    ],
)
@pytest.mark.parametrize("bad", [5, -4])
def test_out_of_range(call, bad):
    x = np.zeros((3, 4))
    with pytest.raises(IndexError, match=f"^index {bad} is out of bounds for dimension 0 with siz"):
        call(x, np.array([[bad]]))


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


# ---- order -------------------------------------------------------------------------------------


def order_case(seed, nan=True):
    draw = Draw(seed)
    d = draw.int(1, 3)
    shape, dim = draw.ints(1, 9, d), draw.int(-d, d - 1)
    dtype = draw.pick(np.float32, np.float64, np.int64, np.uint8, *HALVES)
    if dtype == np.uint8:
        x = draw.rng.integers(0, 9, shape).astype(dtype)
    else:
        x = draw.coarse(shape, dtype)
    if nan and np.dtype(dtype).kind not in "iu" and seed % 2:
        x[draw.rng.random(shape) < 0.2] = np.nan
    return draw, x, dim


@pytest.mark.parametrize("seed", SEEDS)
def test_sort_and_select(seed):
    draw, x, dim = order_case(seed)
    tx, n = oracle(x), x.shape[dim]
    for descending in (False, True):
        values, indices = R.sort(x, dim, descending)
        theirs = torch.sort(tx, dim=dim, descending=descending, stable=True)
        same(values, theirs.values)
        same(indices, theirs.indices)
    k = draw.int(1, n)
    for largest in (True, False):
        values, indices = R.topk(x, k, dim, largest)
        same(values, torch.topk(tx, k, dim, largest).values)
        same(np.take_along_axis(x, indices, dim), values)
    for keepdim in (True, False):
        picks = [
            (R.kthvalue(x, k, dim, keepdim), torch.kthvalue(tx, k, dim, keepdim)),
            (R.median(x, dim, keepdim), torch.median(tx, dim, keepdim)),
            (R.nanmedian(x, dim, keepdim), torch.nanmedian(tx, dim, keepdim)),
        ]
        for (values, indices), theirs in picks:
            same(values, theirs.values)
            assert indices.shape == values.shape and indices.dtype == np.int64
            if keepdim:
                same(np.take_along_axis(x, indices, dim), values)
    same(R.median(x)[0], tx.median())
    same(R.nanmedian(x)[0], tx.nanmedian())


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("special", [0.0, np.nan, np.inf])
def test_topk_of_long_rows(special, largest):
    draw = Draw(0)
    x = draw.array((4, 300))
    x[draw.rng.random(x.shape) < 0.01] = special
    for k in (0, 1, 5):
        values, indices = R.topk(x, k, 1, largest)
        same(values, torch.topk(oracle(x), k, 1, largest).values)
        same(np.take_along_axis(x, indices, 1), values)


@pytest.mark.parametrize("seed", SEEDS)
def test_mode_and_running_extremes(seed):
    _, x, dim = order_case(seed)
    tx = oracle(x)
    for ours, theirs in ((R.cummax, torch.cummax), (R.cummin, torch.cummin)):
        values, indices = ours(x, dim)
        expected = theirs(tx, dim)
        same(values, expected.values)
        same(indices, expected.indices)
    _, x, dim = order_case(seed, nan=False)
    values, indices = R.mode(x, dim)
    expected = torch.mode(oracle(x), dim)
    same(values, expected.values)
    same(indices, expected.indices)


def test_order_of_scalars_and_of_nothing():
    x = np.array(2.0)
    for pair in (R.sort(x), R.median(x), R.mode(x), R.cummax(x), R.kthvalue(x, 1), R.topk(x, 1)):
        assert pair[0] == 2 and pair[1] == 0 and pair[0].shape == pair[1].shape == ()
    none = np.zeros((0, 3))
    assert R.sort(none)[1].shape == R.cummin(none, 0)[1].shape == (0, 3)
    assert R.mode(none)[0].shape == R.median(none, 1)[0].shape == (0,)
    assert np.isnan(R.median(np.zeros(0))[0])
    with pytest.raises(RuntimeError, match="selected index k out of range"):
        R.topk(np.zeros(3), 4)
    with pytest.raises(RuntimeError, match="selected number k out of range for dimension 0"):
        R.kthvalue(np.zeros(3), 4, 0)
    with pytest.raises(IndexError, match="non-zero size"):
        R.median(none, 0)


@pytest.mark.parametrize("seed", range(20))
def test_searchsorted(seed):
    draw = Draw(seed)
    lead = draw.ints(1, 3, draw.int(0, 2))
    ordered = np.sort(draw.coarse((*lead, draw.int(0, 8))), -1)
    values = draw.coarse((*lead, draw.int(0, 5)))
    shuffle = np.argsort(draw.rng.random(ordered.shape), -1)
    mixed = np.take_along_axis(ordered, shuffle, -1)
    sorter = np.argsort(mixed, -1)
    for right in (False, True):
        theirs = torch.searchsorted(oracle(ordered), oracle(values), right=right)
        same(R.searchsorted(ordered, values, right=right), theirs)
        same(R.searchsorted(mixed, values, right=right, sorter=sorter), theirs)


@pytest.mark.parametrize("seed", range(30))
def test_unique(seed):
    _, x, dim = order_case(seed, nan=False)
    x = np.abs(x) % 3 if x.dtype.kind != "V" else x
    tx = oracle(np.ascontiguousarray(x))
    for at in (None, dim):
        for ours, theirs in ((R.unique, torch.unique), (R.unique_consecutive, None)):
            theirs = theirs or torch.unique_consecutive
            expected = theirs(tx, return_inverse=True, return_counts=True, dim=at)
            for mine, other in zip(ours(x, at), expected, strict=True):
                same(mine, other)


def test_unique_nans_are_distinct():
    x = np.array([np.nan, 1, np.nan])
    expected = torch.unique(oracle(x), return_inverse=True, return_counts=True)
    values, _, counts = R.unique(x)
    same(values, expected[0])
    same(counts, expected[2])


def test_counts():
    draw = Draw(0)
    x, weights = draw.index(6, 50), draw.array((50,), np.float32)
    same(R.bincount(x), torch.bincount(oracle(x)))
    same(R.bincount(x, minlength=9), torch.bincount(oracle(x), minlength=9))
    for w in (weights, weights.astype(np.float64), x):
        agree(R.bincount(x, w), torch.bincount(oracle(x), oracle(w)))
    same(R.bincount(x[:0], minlength=2), torch.bincount(oracle(x[:0]), minlength=2))
    with pytest.raises(RuntimeError, match="bincount only supports 1-d non-negative"):
        R.bincount(np.array([-1]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_histc(dtype):
    draw = Draw(1)
    x = draw.array((40, 30), dtype)
    for args in ((), (10,), (7, -1, 2), (12, 0.5, 0.5), (100, -0.3, 3.7)):
        same(R.histc(x, *args), torch.histc(oracle(x), *args))
    steps = np.arange(-20, 21).astype(dtype) / dtype(10)
    same(R.histc(steps, 20, -1, 1), torch.histc(oracle(steps), 20, -1, 1))
    ones = np.ones(5, dtype)
    same(R.histc(ones, 4), torch.histc(oracle(ones), 4))
    with pytest.raises(RuntimeError, match="is not finite"):
        R.histc(np.array([np.nan, 1], dtype))
