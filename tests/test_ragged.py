"""Batches whose extents differ each time: no new kernels, no new paths; values as PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from compiled import needs_native
from flambeau.record.stats import stats
from flambeau.run import program as programs
from flambeau.run.compiler import compile as compiling
from flambeau.run.compiler import lower, planning
from flambeau.run.compiler.draft import Draft


@pytest.fixture
def drafts(monkeypatch):
    """The kernels of each program that is compiled, at its first run; none calls a reference."""
    found = []

    class Watched(Draft):
        def __init__(self, *args):
            super().__init__(*args)
            found.append(set(self.kernels))

    def host(self, e, why):
        raise AssertionError(f"{e.prim.name} calls its reference: {why}")

    monkeypatch.setattr(lower.Lowering, "host", host)
    monkeypatch.setattr(planning, "Draft", Watched)
    monkeypatch.setattr(compiling, "kept_schedule", lambda key, numbers: None)
    monkeypatch.setenv("FLAMBEAU_DEBUG", "1")
    flambeau.use_deterministic_algorithms(True)
    yield found
    flambeau.use_deterministic_algorithms(False)


def close(a, b):
    np.testing.assert_allclose(
        a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6, strict=True
    )


def rows_of_a_table(mod, places, values):
    table = mod.tensor(TABLE, requires_grad=True)
    mod.nn.functional.embedding(places, table).mul(values).sum().backward()
    return [table.grad]


def chosen_rows(mod, places, values):
    table = mod.tensor(TABLE, requires_grad=True)
    table[places].mul(values).sum().backward()
    return [table.grad]


def put_in_rows(mod, places, values):
    base = mod.tensor(TABLE)
    base.index_put_((places,), values, accumulate=True)
    return [base, base.index_add(0, places, values)]


def elements(mod, places, values):
    base, index = mod.tensor(TABLE), places.unsqueeze(1).expand(-1, 5)
    return [base.scatter_add(0, index, values), base.gather(0, index)]


def greatest(mod, places, values):
    base, index = mod.tensor(TABLE), places.unsqueeze(1).expand(-1, 5)
    return [base.scatter_reduce(0, index, values, "amax", include_self=False)]


TABLE = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)


@needs_native
@pytest.mark.parametrize("f", [rows_of_a_table, chosen_rows, put_in_rows, elements, greatest])
def test_another_number_of_places_is_the_same_kernels(f, drafts):
    rng = np.random.default_rng(1)
    begun = None
    for n in (9, 23, 6, 40):
        places, values = rng.integers(0, 7, n), rng.standard_normal((n, 5)).astype(np.float32)
        ours, theirs = (f(mod, mod.tensor(places), mod.tensor(values)) for mod in (flambeau, torch))
        for a, b in zip(ours, theirs, strict=True):
            close(a, b)
        kernels = set().union(*drafts)
        assert begun is None or kernels == begun
        begun = kernels


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_padding_data_adds_nothing_to_a_path(side, batch_first):
    rng = np.random.default_rng(2)
    for shape in ((), (3,)):
        rows = [rng.standard_normal((n, *shape)).astype(np.float32) for n in (4, 1, 6)]
        ours, theirs = (
            mod.nn.utils.rnn.pad_sequence(
                [mod.tensor(r) for r in rows], batch_first, -1.5, padding_side=side
            )
            for mod in (flambeau, torch)
        )
        close(ours, theirs)
        assert ours.stride() == theirs.contiguous().stride()
    before = stats.misses, stats.flushes
    for n in range(5, 30):
        x = flambeau.nn.utils.rnn.pad_sequence([flambeau.ones(n), flambeau.ones(3)])
        assert x.sum().item() == n + 3
    # Only the sum of another length is new.
    assert stats.misses - before[0] <= 3 * 25


def test_padding_what_has_history_is_recorded():
    a = flambeau.ones(2, requires_grad=True)
    padded = flambeau.nn.utils.rnn.pad_sequence([a, flambeau.ones(3)], batch_first=True)
    (padded * 3).sum().backward()
    assert a.grad.tolist() == [3.0, 3.0]
    # Of several dtypes: the first's, as PyTorch.
    mixed = [[1, 2], [3.5]]
    ours, theirs = (
        mod.nn.utils.rnn.pad_sequence([mod.tensor(r) for r in mixed]) for mod in (flambeau, torch)
    )
    assert str(ours.dtype) == str(theirs.dtype)
    assert ours.tolist() == theirs.tolist()


def test_data_is_joined_at_once():
    rng = np.random.default_rng(3)
    flambeau.zeros(1).sum().item()
    before = stats.flushes
    for dtype in ("float32", "int64", "bool", "float16"):
        x = rng.standard_normal((2, 3, 4)) * 3
        a, b = (
            [mod.tensor(v.tolist(), dtype=getattr(mod, dtype)) for v in x]
            for mod in (flambeau, torch)
        )
        for d in (0, 1, -1):
            for name in ("cat", "stack"):
                ours, theirs = getattr(flambeau, name)(a, d), getattr(torch, name)(b, d)
                assert ours.tolist() == theirs.tolist()
                assert ours.stride() == theirs.stride()
                assert not ours.requires_grad
    assert stats.flushes == before
    whole, other = flambeau.arange(24).view(4, 6), torch.arange(24).view(4, 6)
    for of in (
        lambda x: [x.T, x.T],
        lambda x: [x[1:3], x[:2]],
        lambda x: [x[:, 1], x[:, ::2][:, 1]],
    ):
        for name in ("cat", "stack"):
            ours, theirs = getattr(flambeau, name)(of(whole)), getattr(torch, name)(of(other))
            assert ours.tolist() == theirs.tolist()
            assert ours.is_contiguous()
    assert stats.flushes == before
    # Its memory is its own.
    x = flambeau.zeros(2)
    y = flambeau.cat([x])
    y += 1
    assert x.tolist() == [0.0, 0.0]


def test_what_is_joined_at_once_is_what_was_written_last():
    x = flambeau.zeros(4)
    view = x[1:3]
    x += 2
    assert flambeau.cat([view, x]).tolist() == [2.0] * 6
    w = flambeau.ones(2, requires_grad=True)
    base = flambeau.zeros(2, 2)
    row = base[0]
    base[1] = w * 2
    joined = flambeau.stack([row, flambeau.zeros(2)])
    assert joined.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    joined.sum().backward()
    assert w.grad.tolist() == [0.0, 0.0]
    with flambeau.no_grad():
        assert flambeau.cat([w, w]).requires_grad is False


def test_joins_are_refused_as_ever():
    a = flambeau.ones(2)
    with pytest.raises(RuntimeError, match="equal size"):
        flambeau.stack([a, flambeau.ones(3)])
    with pytest.raises(RuntimeError, match="same number of dimensions"):
        flambeau.cat([a, flambeau.ones(2, 2)])
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        flambeau.cat([flambeau.ones(2, 3), flambeau.ones(2, 2)])
    with pytest.raises(IndexError):
        flambeau.cat([a, a], 1)
    assert flambeau.cat([a, flambeau.tensor([])]).tolist() == [1.0, 1.0]
    assert flambeau.cat([a, flambeau.tensor([1])]).dtype is flambeau.float32


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_other_sizes_are_the_same_path(mode):
    rng = np.random.default_rng(4)
    table = rng.standard_normal((9, 5)).astype(np.float32)
    # A row that nobody looks up, beside what fills the arrays.
    table[8] = np.nan

    def step(mod, sizes):
        weight = mod.tensor(table, requires_grad=True)
        offsets = mod.tensor(np.cumsum(sizes) - sizes)
        index = mod.tensor(np.random.default_rng(sum(sizes)).integers(0, 8, sum(sizes)))
        found = mod.nn.functional.embedding_bag(index, weight, offsets, mode=mode, padding_idx=3)
        (found * found).sum().backward()
        return found, weight.grad

    def numbers(found):
        return [np.array(x.tolist()) for x in found]

    with programs.steady():
        for sizes in ([7, 0, 9, 4], [17, 1, 0, 1]):
            numbers(step(flambeau, sizes))
    before, found = (stats.misses, stats.programs), []
    others = [3, 9, 7, 0], [0, 0, 18, 1], [20, 0, 1, 2], [6, 6, 6, 6]
    # What is not compiled here is not asked for in a later test.
    with programs.steady():
        for sizes in others:
            found.append(numbers(step(flambeau, sizes)))
    assert (stats.misses, stats.programs) == before
    for sizes, ours in zip(others, found, strict=True):
        for a, b in zip(ours, numbers(step(torch, sizes)), strict=True):
            np.testing.assert_allclose(a[:8], b[:8], rtol=1e-5, atol=1e-6)
    with programs.steady():
        last = step(flambeau, [2, 1])
        assert last[0].grad_fn.name() == "EmbeddingBagBackward0"
        numbers(last)


@needs_native
@pytest.mark.usefixtures("drafts")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "bfloat16"])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scattered_elements_are_reduced(reduce, include_self, dtype):
    if reduce == "mean" and dtype.startswith("int"):
        pytest.skip("no kernel: the reference divides")
    rng = np.random.default_rng(5)
    base, values = rng.integers(-4, 5, (3, 6)), rng.integers(-4, 5, (2, 7))
    for dim, index in ((1, rng.integers(0, 6, (2, 7))), (0, rng.integers(0, 3, (2, 5)))):
        ours, theirs = (
            mod.tensor(base, dtype=getattr(mod, dtype)).scatter_reduce(
                dim, mod.tensor(index), mod.tensor(values, dtype=getattr(mod, dtype)), reduce,
                include_self=include_self,
            )
            for mod in (flambeau, torch)
        )  # fmt: skip
        np.testing.assert_allclose(ours.tolist(), theirs.tolist(), rtol=1e-6)
        assert str(ours.dtype) == str(theirs.dtype)


@needs_native
@pytest.mark.usefixtures("drafts")
@pytest.mark.parametrize("reduce", ["amax", "amin"])
def test_not_a_number_is_greatest_and_least(reduce):
    values = [[1.0, float("nan"), 2.0, -1.0], [float("nan"), 3.0, float("inf"), 0.0]]
    index = [[0, 0, 1, 1], [2, 2, 0, 1]]
    for start in (0.0, float("nan"), float("-inf")):
        ours, theirs = (
            mod.full((2, 3), start).scatter_reduce(1, mod.tensor(index), mod.tensor(values), reduce)
            for mod in (flambeau, torch)
        )
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_gradients_of_the_greatest_of_scattered_elements():
    rng = np.random.default_rng(6)
    values, index = rng.standard_normal((9, 4)).astype(np.float32), rng.integers(0, 3, (9, 4))
    found = []
    for mod in (flambeau, torch):
        x = mod.tensor(values, requires_grad=True)
        base = mod.zeros(3, 4, requires_grad=True)
        for _ in range(5):
            x.grad = base.grad = None
            y = base.scatter_reduce(0, mod.tensor(index), x, "amax", include_self=False)
            (y * y).sum().backward()
        found.append([y, x.grad, base.grad])
    for a, b in zip(*found, strict=True):
        close(a, b)
