"""Sorting, selecting and searching: the kernels put everything, equals too, where PyTorch does."""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch

import flambeau
from compiled import agree, kernels_of, needs_native
from flambeau import dtypes
from flambeau.ir import reference
from flambeau.ir.reference import introsort
from flambeau.run.compiler import code, sorting, sorting_digits
from flambeau.run.compiler.elements import element
from test_compiler_selection import DTYPES, ours, samples
from test_compiler_targets import TARGETS

pytestmark = needs_native
NAMES = "argsort argtopk argkth argmedian argnanmedian argmode gather searchsorted"


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    with kernels_of(monkeypatch, frozenset(NAMES.split())):
        yield


def same(name, x, *args, **kwargs):
    theirs = getattr(torch, name)(x, *args, **kwargs)
    found = getattr(flambeau, name)(ours(x), *args, **kwargs)
    for a, b in zip(found, theirs, strict=True):
        np.testing.assert_array_equal(a.double().numpy(), b.double().numpy())


# One vector, counts of a few and of many digits, one block and several.
SHAPES = [((7, 1), 1), ((5, 11), 1), ((3, 40), 1), ((2, 130), 1), ((2, 515), -1), ((2, 67, 3), 1)]


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
@pytest.mark.parametrize("stable", [False, True])
def test_sorting(dtype, stable):
    for shape, dim in SHAPES:
        for k, x in enumerate(samples(shape, dtype)):
            same("sort", x, dim=dim, descending=bool(k % 2), stable=stable)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_on_which_splits_are_bad_go_to_a_heap(dtype):
    n = 600
    # As in Musser's: the median of three is always among the least.
    bad = np.empty((3, n))
    half = n // 2
    bad[0] = np.r_[np.arange(0, n, 2), np.arange(n - 1, 0, -2)]
    bad[1, 0:half:2] = np.arange(1, half, 2)
    bad[1, 1:half:2] = np.arange(half + 1, n, 2)
    bad[1, half:] = 2 * np.arange(1, half + 1)
    bad[2] = 1.0
    keys = np.unique(bad, return_inverse=True)[1].reshape(bad.shape)
    calls = []
    partial = introsort.partial_sort
    try:
        introsort.partial_sort = lambda *args: calls.append(args) or partial(*args)
        for row in keys.tolist():
            introsort.sort(row, list(range(n)), 0, n)
    finally:
        introsort.partial_sort = partial
    assert calls
    x = torch.from_numpy(bad).to(getattr(torch, dtype))
    same("sort", x, 1)
    same("sort", x, 1, True)
    same("kthvalue", x, 200, 1)


def test_long_rows():
    g = np.random.default_rng(5)
    for x in (
        torch.from_numpy(g.standard_normal(70000).astype(np.float32)),
        torch.from_numpy(g.integers(-9, 9, 40000)),
        torch.from_numpy(g.integers(-(1 << 62), 1 << 62, 40000)),
        torch.from_numpy(g.standard_normal((2, 140000))),
    ):
        same("sort", x, -1)
        same("sort", x, dim=-1, stable=True)
        same("sort", x, -1, True)
        same("topk", x, 1500)
        same("topk", x, x.shape[-1] // 3, -1, False)
        same("kthvalue", x, 20000)
        same("median", x, -1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_of_each_row(dtype):
    for shape, dim in SHAPES:
        n = shape[dim]
        # NaNs: the median is the first one; the most frequent is no matter of theirs in PyTorch.
        for k, x in enumerate(samples(shape, dtype)):
            same("kthvalue", x, 1 + n // 3, dim)
            same("median", x, dim)
            if k < 2:
                same("mode", x, dim)
                same("nanmedian", x, dim)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_with_nan_are_as_the_references_have_them(dtype):
    x = np.round(np.random.default_rng(6).standard_normal((5, 90))).astype(dtype)
    x[0, ::2] = x[1] = x[2, :89] = x[3, 5] = np.nan
    for name in ("median", "nanmedian", "mode"):
        found = getattr(flambeau, name)(flambeau.from_numpy(x), 1)
        np.testing.assert_array_equal(found[1].numpy(), getattr(reference, name)(x, 1)[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_searching(dtype):
    g = np.random.default_rng(7)
    kind = getattr(torch, dtype)
    for lead, shape, n, right in [
        ((), (5, 9), 100, True),
        ((), (16,), 7, False),
        ((), (), 1, True),
        ((3,), (3, 37), 2, False),
        ((2, 3), (2, 3, 1), 33, False),
    ]:
        edges = torch.from_numpy(np.round(30 * g.standard_normal((*lead, n)))).to(kind)
        edges = edges.sort(-1).values
        at = torch.from_numpy(np.asarray(np.round(30 * g.standard_normal(shape)))).to(kind)
        if at.is_floating_point() and at.dim():
            at[..., -1] = float("nan")
        options = {"right": right, "out_int32": n == 7}
        theirs = torch.searchsorted(edges, at, **options)
        found = flambeau.searchsorted(ours(edges), ours(at), **options)
        np.testing.assert_array_equal(found.numpy(), theirs.numpy())
        assert found.numpy().dtype == theirs.numpy().dtype


def test_gradients_go_where_values_came_from():
    x = np.random.default_rng(8).standard_normal((20, 33)).astype(np.float32)
    for dim in (0, 1):
        agree(lambda m, a, d=dim: m.sort(a, d).values, x)
        agree(lambda m, a, d=dim: m.median(a, d).values, x)
        agree(lambda m, a, d=dim: m.mode(a.round(), d).values, x)
        agree(lambda m, a, d=dim: m.kthvalue(a, 7, d).values, x)
        agree(lambda m, a, d=dim: m.quantile(a, 0.3, d), x)


@pytest.mark.parametrize("name", TARGETS)
def test_kernels_assemble(name, monkeypatch):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = TARGETS[name]
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2
    )
    monkeypatch.setattr(code, "target", lambda: target)
    for dtype in (dtypes.float32, dtypes.float64, dtypes.uint8):
        el = element(dtype)
        for plan in (
            sorting.counted_rows(3, 9, el, False),
            sorting.in_steps(3, 50, el, False, True),
            sorting_digits.by_digits(3, 50, el, True),
        ):
            module = llvm.parse_assembly(code.merged([plan.stages[0].kernel.text]))
            module.triple = target.triple
            module.verify()
            assert machine.emit_object(module)
