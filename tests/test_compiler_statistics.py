"""Statistics, positions and running sums have kernels, and give what PyTorch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from compiled import needs_native, only_kernels  # noqa: F401  (a fixture)
from flambeau import dtypes
from flambeau.ir.graph import Aval
from flambeau.run.compiler.convolution_blocks import Lanes
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.scans import scan
from native_plans import Runner

pytestmark = [needs_native, pytest.mark.usefixtures("only_kernels")]


def compare(f, *arrays, tolerance=2e-5):
    ours = f(flambeau, *[flambeau.tensor(a) for a in arrays])
    theirs = f(torch, *[torch.tensor(a) for a in arrays])
    for a, b in zip(ours, theirs, strict=True):
        assert str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1]
        np.testing.assert_allclose(
            np.asarray(a.tolist()), np.asarray(b.tolist()), rtol=tolerance, atol=tolerance
        )


def along(x, d):
    return [
        x.cumsum(d), x.cumprod(d), x.flip(d).cumsum(d), x.var(d), x.std(d, keepdim=True),
        x.var(d, unbiased=False), x.norm(dim=d), x.norm(1, dim=d), x.norm(float("inf"), dim=d),
        x.norm(-float("inf"), dim=d), x.argmax(d), x.argmin(d, keepdim=True), x.logsumexp(d),
    ]  # fmt: skip


def array(shape, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    x.flat[0] = -0.0
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (4, 17, 33), (2, 64, 16)])
def test_along_each_dimension(shape, dtype):
    for d in range(len(shape)):
        compare(lambda mod, x, d=d: along(x, d), array(shape, dtype))


@pytest.mark.parametrize("shape", [(7,), (3, 5), (4, 17, 33)])
def test_over_everything(shape):
    def f(mod, x):
        whole = [x.var(), x.std(unbiased=False), x.norm(), x.argmax(), x.argmin()]
        return [*whole, x.transpose(0, -1).argmax(), x.logsumexp(tuple(range(x.dim())))]

    compare(f, array(shape, "float32"))


def test_nan_and_infinity():
    x = array((5, 9), "float32")
    x[1, 2], x[1, 5], x[2, 3], x[3, 3] = np.nan, np.nan, np.inf, -np.inf

    def f(mod, x):
        return [x.argmax(1), x.argmin(0), x.logsumexp(1), x.cumsum(1), x.norm(dim=0)]

    compare(f, x)
    compare(lambda mod, x: [x.logsumexp(1)], np.full((2, 3), -np.inf, np.float32))


def test_whole_numbers_wrap():
    x = np.random.default_rng(0).integers(-5, 5, (6, 11))
    compare(lambda mod, x: [x.cumsum(0), x.cumprod(1), x.argmax(-1), x.argmin(0)], x)
    large = np.full((3,), 2**62)
    compare(lambda mod, x: [x.cumsum(0), x.cumprod(0)], large)


def test_narrow_floats_are_summed_wide():
    def f(mod, x):
        x = x.to(mod.bfloat16)
        return [x.cumsum(0), x.var(0), x.norm(dim=0), x.logsumexp(0), x.argmax(0)]

    compare(f, array((40, 6), "float32"), tolerance=1e-2)


@pytest.mark.parametrize("op", ["fadd", "fmul"])
@pytest.mark.parametrize("inner, count", [(1, 1), (5, 8), (16, 16), (37, 16)])
def test_a_scan_leaves_what_is_beside_it(op, inner, count):
    x = array((3, 4, inner), "float32")
    plan = scan(op, x.shape, Lanes("float", 4, count), element(dtypes.float32), "double")
    runner = Runner(plan, [Aval(x.shape, dtypes.float32)])
    (found,) = runner.run(x)
    runner.check_guards()
    wide = (np.add if op == "fadd" else np.multiply).accumulate(x, axis=1, dtype=np.float64)
    expected = wide.astype(np.float32)
    np.testing.assert_array_equal(found, expected)
