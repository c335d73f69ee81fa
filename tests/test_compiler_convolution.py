"""The compiler's convolution and pooling kernels against the primitives' references."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from flambeau import dtypes
from flambeau.ir import reference
from flambeau.ir.graph import Aval
from flambeau.ir.primitive import PRIMITIVES
from flambeau.run.compiler import convolution, pooling
from flambeau.run.compiler.convolution_blocks import Code, Lanes
from flambeau.run.compiler.convolution_winograd_tiles import SIDE, Transforms
from flambeau.run.compiler.stages import Plan, Stage
from flambeau.run.compiler.target import Target, host
from native_plans import Runner

PLANS = convolution.PLANS | pooling.PLANS


def aval(a):
    return Aval(a.shape, getattr(dtypes, a.dtype.name))


def results(name, attrs, *inputs, target=None):
    """The plan's results; they must not depend on how its units are cut, nor leave their arrays."""
    found = PRIMITIVES[name].reference(*inputs, **attrs)
    found = found if isinstance(found, tuple) else (found,)
    outs = [aval(a) for a in found]
    plan = PLANS[name](attrs, [aval(a) for a in inputs], outs, target or host())
    if plan is None:
        return None, found
    runner = Runner(plan, outs)
    first = [a.copy() for a in runner.run(*inputs)]
    runner.check_guards()
    rng = np.random.default_rng(0)
    again = runner.run(*inputs, cuts=lambda units: shuffled(rng, units))
    for a, b in zip(first, again, strict=True):
        assert a.tobytes() == b.tobytes()
    return first, found


def shuffled(rng, units):
    """Ranges of units that cover them, in any order."""
    cuts = sorted({0, units, *rng.integers(0, units + 1, 1 + units // 2).tolist()})
    ranges = list(itertools.pairwise(cuts))
    rng.shuffle(ranges)
    return [(int(a), int(b)) for a, b in ranges]


def close(ours, theirs, eps):
    scale = np.abs(theirs).max(initial=1e-30)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=eps * scale)


def check_convolutions(rng, dtype, n, channels, outputs, groups, size, kernel, how, **options):
    """Forward and both gradients."""
    output = reference.convolution_output_size(size, kernel, **how)
    x = rng.standard_normal((n, groups * channels, *size)).astype(dtype)
    w = rng.standard_normal((groups * outputs, channels, *kernel)).astype(dtype)
    g = rng.standard_normal((n, groups * outputs, *output)).astype(dtype)
    how = {**how, "groups": groups}
    for name, inputs, extra in (
        ("convolution", (x, w), {}),
        ("convolution_input_gradient", (g, w), {"input_size": size}),
        ("convolution_weight_gradient", (g, x), {"kernel_size": kernel}),
    ):
        ours, theirs = results(name, {**how, **extra}, *inputs, **options)
        close(ours[0], theirs[0], 5e-6 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("seed", range(24))
def test_convolutions_of_every_kind(seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 4))
    dtype = np.float64 if rng.random() < 0.3 else np.float32

    def some(low, high, share):
        return tuple(int(v) for v in rng.integers(low, high, d)) if rng.random() < share else None

    output = (0,)
    while min(output) < 1:
        kernel = some(1, (8, 6, 4)[d - 1], 1)
        pads = [(int(a), int(b)) for a, b in rng.integers(0, 3, (d, 2))]
        how = {
            "stride": some(1, 4, 0.5) or (1,) * d,
            "padding": tuple(pads) if rng.random() < 0.6 else ((0, 0),) * d,
            "dilation": some(1, 3, 0.4) or (1,) * d,
        }
        size = some(1, (60, 24, 9)[d - 1], 1)
        output = reference.convolution_output_size(size, kernel, **how)
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    channels, outputs = int(rng.choice([1, 2, 3, 8, 17])), int(rng.choice([1, 2, 5, 16, 20, 33]))
    n = int(rng.integers(1, 5))
    check_convolutions(rng, dtype, n, channels, outputs, groups, size, kernel, how)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "channels", "outputs", "groups", "size", "kernel", "padding"),
    [
        (3, 16, 32, 1, (24, 24), 3, 0),
        (5, 32, 20, 1, (8, 8), 3, 1),
        (2, 17, 33, 2, (13, 30), 3, 1),
        (2, 16, 16, 1, (21, 9), 5, 2),
        (1, 64, 64, 1, (7, 7), 3, 1),
    ],
)
def test_winograd(dtype, n, channels, outputs, groups, size, kernel, padding):
    how = {"stride": (1, 1), "padding": ((padding, padding),) * 2, "dilation": (1, 1)}
    rng = np.random.default_rng(0)
    check_convolutions(rng, dtype, n, channels, outputs, groups, size, (kernel,) * 2, how)


@pytest.mark.parametrize(
    ("dtype", "n", "channels", "outputs", "groups", "size", "kernel"),
    [
        (np.float32, 3, 64, 32, 1, (7, 7), (3, 3)),
        (np.float32, 2, 32, 48, 2, (13, 14), (3, 3)),
        (np.float32, 5, 96, 16, 1, (5, 4), (5, 5)),
        (np.float32, 2, 32, 16, 1, (3, 6, 7), (2, 3, 3)),
        (np.float64, 2, 32, 16, 1, (9, 6), (3, 3)),
    ],
)
def test_tiles_of_many_channels(dtype, n, channels, outputs, groups, size, kernel, monkeypatch):
    for name in ("direct", "narrow", "winograd"):
        monkeypatch.delattr(convolution, name)
    gain, used = convolution.deep_winograd_gain, []

    def always(c, lanes, target):
        used.append(gain(c, lanes, target))
        return 3.0

    monkeypatch.setattr(convolution, "deep_winograd_gain", always)
    monkeypatch.setattr(convolution, "winograd_gain", lambda *a, **k: 2.0)
    convolution._remembered.cache_clear()
    d = len(size)
    how = {"stride": (1,) * d, "padding": ((1, 1),) * d, "dilation": (1,) * d}
    rng = np.random.default_rng(0)
    check_convolutions(rng, dtype, n, channels, outputs, groups, size, kernel, how)
    assert len(used) == 2 and 0 not in used


@pytest.mark.parametrize(
    ("dtype", "n", "channels", "outputs", "groups", "size", "kernel", "low", "dilation"),
    [
        (np.float32, 2, 17, 19, 1, (5, 9, 10), (3, 3, 3), 1, 1),
        (np.float32, 1, 16, 33, 2, (4, 19, 21), (2, 3, 3), 0, 2),
        (np.float32, 3, 16, 16, 1, (3, 4, 5), (1, 3, 3), 0, 1),
        (np.float32, 2, 18, 16, 1, (1, 6, 5), (3, 5, 5), 2, 1),
        (np.float64, 2, 9, 11, 1, (4, 6, 7), (3, 3, 3), 1, 2),
    ],
)
def test_tiles_in_three_axes(
    dtype, n, channels, outputs, groups, size, kernel, low, dilation, monkeypatch
):
    for name in ("direct", "narrow", "direct_weights", "narrow_weights"):
        monkeypatch.delattr(convolution, name)
    monkeypatch.setattr(convolution, "winograd_gain", lambda *a, **k: 2.0)
    convolution._remembered.cache_clear()
    how = {
        "stride": (1, 1, 1),
        "padding": ((low, low + 1), (1, 1), (2, 0)),
        "dilation": (dilation, 1, 1),
    }
    rng = np.random.default_rng(0)
    check_convolutions(rng, dtype, n, channels, outputs, groups, size, kernel, how)


@pytest.mark.parametrize(
    ("channels", "outputs", "groups", "stride", "kernel"),
    [(1, 1, 24, 1, 3), (1, 1, 24, 2, 3), (1, 2, 8, 2, 5), (3, 32, 1, 2, 7), (32, 16, 1, 2, 1)],
)
def test_depthwise_and_strided(channels, outputs, groups, stride, kernel):
    pad = kernel // 2
    how = {"stride": (stride,) * 2, "padding": ((pad, pad),) * 2, "dilation": (1, 1)}
    rng = np.random.default_rng(0)
    check_convolutions(rng, np.float32, 2, channels, outputs, groups, (19, 37), (kernel,) * 2, how)


@pytest.mark.parametrize("size", [(49,), (7, 7), (14, 14), (28, 12), (3, 5, 11)])
@pytest.mark.parametrize(("channels", "outputs", "groups"), [(3, 5, 2), (16, 40, 1)])
def test_pointwise(size, channels, outputs, groups):
    d = len(size)
    how = {"stride": (1,) * d, "padding": ((0, 0),) * d, "dilation": (1,) * d}
    rng = np.random.default_rng(0)
    check_convolutions(rng, np.float32, 2, channels, outputs, groups, size, (1,) * d, how)


@pytest.mark.parametrize("bits", [128, 256])
def test_narrower_vectors(bits):
    machine = host()
    if bits > machine.bits:
        pytest.skip("no such vectors here")
    target = Target(machine.triple, machine.cpu, machine.features, bits, 16)
    rng = np.random.default_rng(0)
    for stride, kernel, channels in ((1, 3, 16), (2, 3, 12), (1, 1, 5)):
        how = {"stride": (stride,) * 2, "padding": ((1, 1),) * 2, "dilation": (1, 1)}
        for dtype in (np.float32, np.float64):
            check_convolutions(
                rng, dtype, 2, channels, 24, 1, (14, 11), (kernel,) * 2, how, target=target
            )


@pytest.mark.parametrize(("m", "r"), [(4, 3), (2, 5), (3, 4)])
def test_transforms_filter(m, r):
    t = Transforms.of(m, r)
    image, kernel, result = (
        np.array([[float(v) for v in row] for row in matrix])
        for matrix in (t.image, t.scaled_kernel, t.result)
    )
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal(r), rng.standard_normal(SIDE)
    np.testing.assert_allclose(
        result @ ((kernel @ w) * (image @ x)), np.correlate(x, w, "valid"), atol=1e-12
    )


@pytest.mark.parametrize(("bits", "element"), [(512, 4), (512, 8), (256, 4), (256, 8), (128, 4)])
def test_squares_are_turned_over(bits, element):
    n = bits // (8 * element)
    lanes = Lanes("float" if element == 4 else "double", element, n)
    f = Code()
    source, result = f.pointer(0), f.pointer(1)

    def load(k):
        return f.load(lanes.type, f.along(source, (k, lanes.bytes)))

    def store(k, value):
        f.store(lanes.type, value, f.along(result, (k, lanes.bytes)))

    f.turn(lanes, "%scratch", load, store)
    kernel = f.kernel(n * lanes.bytes)
    square = np.arange(n * n, dtype=f"f{element}").reshape(n, n)
    kind = dtypes.float32 if element == 4 else dtypes.float64
    plan = Plan((Stage(kernel, ("0", "out0"), 1, 1),))
    (turned,) = Runner(plan, [Aval((n, n), kind)]).run(square)
    np.testing.assert_array_equal(turned, square.T)


def test_kernels_are_named_by_content_and_serve_other_batches():
    how = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}

    def plan(n):
        x, w = (Aval(s, dtypes.float32) for s in ((n, 16, 32, 32), (16, 16, 3, 3)))
        return PLANS["convolution"](how, [x, w], [x], host())

    names = [[stage.kernel.name for stage in plan(n).stages] for n in (8, 32)]
    assert names[0] == names[1]


def test_without_a_kernel():
    x, w = Aval((2, 3, 8), dtypes.int64), Aval((4, 3, 3), dtypes.int64)
    how = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
    assert PLANS["convolution"](how, [x, w], [Aval((2, 4, 6), dtypes.int64)], host()) is None
    x, w = Aval((0, 3, 8), dtypes.float32), Aval((4, 3, 3), dtypes.float32)
    assert PLANS["convolution"](how, [x, w], [Aval((0, 4, 6), dtypes.float32)], host()) is None


def same(name, attrs, *inputs, eps=None):
    ours, theirs = results(name, attrs, *inputs)
    if ours is None:
        return theirs
    for a, b in zip(ours, theirs, strict=True):
        if eps is None or a.dtype.kind == "i":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=eps)
    return ours


@pytest.mark.parametrize("seed", range(30))
def test_pooling(seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 4))
    dtype = np.float64 if rng.random() < 0.3 else np.float32
    eps = 1e-5 if dtype == np.float32 else 1e-12
    kernel = tuple(int(v) for v in rng.integers(1, 5, d))
    stride = tuple(int(v) for v in rng.integers(1, 5, d)) if rng.random() < 0.7 else kernel
    if rng.random() < 0.3:
        kernel = stride = (2,) * d
    how = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel),
        "ceil_mode": bool(rng.random() < 0.5),
    }
    size = tuple(int(v) for v in rng.integers(8, (70, 26, 12)[d - 1], d))
    lead = tuple(int(v) for v in rng.integers(1, 4, 2))
    dilation = tuple(int(v) for v in rng.integers(1, 3, d)) if rng.random() < 0.3 else (1,) * d
    x = np.round(rng.standard_normal((*lead, *size)) * 2).astype(dtype)
    if rng.random() < 0.4:
        x[rng.random(x.shape) < 0.1] = np.nan
    if rng.random() < 0.3:
        x[rng.random(x.shape) < 0.6] = -np.inf
    with np.errstate(all="ignore"):
        values, places = same("max_pool", {**how, "dilation": dilation}, x)
    g = rng.standard_normal(values.shape).astype(dtype)
    apart = all(s >= k for s, k in zip(stride, kernel, strict=True)) and set(dilation) == {1}
    same("plane_add", {"input_size": size, "disjoint": apart}, g, places, eps=eps)
    same("plane_take", {"d": d}, x, places)
    x = rng.standard_normal(x.shape).astype(dtype)
    how |= {
        "count_include_pad": bool(rng.random() < 0.5),
        "divisor_override": None if rng.random() < 0.7 else 3,
    }
    (mean,) = same("avg_pool", how, x, eps=eps)
    same("avg_pool_gradient", {"input_size": size, **how}, mean, eps=eps)


@pytest.mark.parametrize("output", [(1, 1), (4, 6), (5, 7), (12, 18), (1, 3)])
def test_adaptive_pooling(output):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 12, 18)).astype(np.float32)
    (mean,) = same("adaptive_avg_pool", {"output_size": output}, x, eps=1e-5)
    same("adaptive_avg_pool_gradient", {"input_size": (12, 18)}, mean, eps=1e-5)
    same("adaptive_max_pool", {"output_size": output}, x)
