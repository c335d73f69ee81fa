"""What becomes one kernel: fusion, views, stages, memory; all against the references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flambeau
from compiled import needs_native
from flambeau import dtypes, nn
from flambeau.ir.graph import Const
from flambeau.ir.primitive import PRIMITIVES as P
from flambeau.run import program as programs
from flambeau.run.compiler import memory, passes
from flambeau.run.compiler.program import Faulty
from flambeau.run.compiler.views import contiguous
from native_graphs import Built

F32 = dtypes.float32


def nests(built):
    return [g for g in built.draft().groups if g.nest]


def total(x, *dims, keepdim=False):
    return P["sum"](x, dims=dims, keepdim=keepdim)


X = np.random.default_rng(0).standard_normal((6, 37)).astype(np.float32)


# ------------------------------------------------------------------------------- fusion


def test_a_chain_is_one_nest_and_stores_only_its_end():
    built = Built(lambda x: P["tanh"](P["exp"](x) * 2.0 + 1.0), X)
    (group,) = nests(built)
    assert len(group.nodes) == 4
    assert sum(n.slot in built.draft().stored for n in group.nodes) == 1
    built.check()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dim", [0, 1])
def test_a_row_is_normalised_in_one_pass(name, dim):
    built = Built(lambda x: P[name](x, dim=dim), X)
    assert len(nests(built)) == 1
    built.check()


def test_standardisation_with_its_statistics_is_one_nest():
    built = Built(lambda x: P["standardize"](x, 1e-5, dims=(1,)), X)
    assert len(nests(built)) == 1
    built.check(rtol=2e-5, atol=2e-5)


def test_cross_entropy_and_its_gradient_take_few_nests():
    target = np.array([0, 36, 5, 5, 1, 2])

    def loss(x, t):
        y = P["log_softmax"](x, dim=1)
        return P["nll"](y, t, reduction="mean", ignore=-100)

    built = Built(loss, X, target)
    assert len(nests(built)) <= 3
    built.check()


def test_a_product_between_two_nests_keeps_them_apart():
    def f(x, w):
        y = P["relu"](x)
        return P["matmul"](y, w) + total(y, 1, keepdim=True)

    built = Built(f, X, np.ones((37, 37), np.float32))
    assert [g.nodes[0].kind for g in built.draft().groups].count("stages") == 1
    built.check(rtol=1e-5, atol=1e-5)


def test_groups_never_wait_for_each_other():
    # Joining y to the nest of x would make it wait for a product that waits for it.
    def f(x, w):
        a = P["exp"](x)
        b = P["matmul"](a, w)
        return a + P["sqrt"](P["abs"](b)), a * 2.0

    Built(f, X, np.ones((37, 37), np.float32)).check(rtol=1e-5, atol=1e-5)


def test_an_optimizers_update_is_one_nest_whatever_the_shape():
    def adam(p, g, m, v):
        m = P["lerp"](m, g, 0.1)
        v = v * 0.999 + g * g * 0.001
        return p - m / (P["sqrt"](v) + 1e-8), m, v

    small = Built(adam, *[np.abs(X) + i for i in range(4)])
    large = Built(adam, *[np.abs(np.ones((40, 9), np.float32)) + i for i in range(4)])
    assert len(nests(small)) == len(nests(large)) == 1
    assert list(small.draft().kernels) == list(large.draft().kernels)
    small.check()
    large.check()


def test_slices_gradients_are_laid_side_by_side():
    def f(a, b, c):
        parts = [
            P["unslice"](v, k * 4, dims=(1,), steps=(1,), shape=(3, 12))
            for k, v in enumerate((a, b, c))
        ]
        return parts[0] + parts[1] + parts[2]

    built = Built(f, *[np.full((3, 4), i + 1.0, np.float32) for i in range(3)])
    names = [e.prim.name for e in passes.rewrite(built.entries, built.outs)]
    assert "concat" in names
    assert all(len(g.nodes) <= 3 for g in nests(built))
    built.check()


def test_overlapping_slices_are_still_added():
    def f(a, b):
        return P["unslice"](a, 0, dims=(0,), steps=(1,), shape=(6,)) + P["unslice"](
            b, 2, dims=(0,), steps=(1,), shape=(6,)
        )

    Built(f, np.ones(4, np.float32), np.full(4, 2.0, np.float32)).check()


def test_views_cost_nothing():
    def f(x):
        y = P["permute"](P["reshape"](x, shape=(6, 37, 1)), dims=(2, 1, 0))
        return P["flip"](P["slice"](y, 3, dims=(1,), sizes=(8,), steps=(4,)), dims=(1,)) * 2.0

    built = Built(f, X)
    assert len(built.draft().groups) == 1
    built.check()


# ------------------------------------------------------------- the three kinds of nests


@pytest.mark.parametrize("shape", [(5,), (16,), (1, 1), (3, 70), (2, 3, 17), (4, 1, 33)])
@pytest.mark.parametrize("op", ["sum", "amax", "amin", "prod"])
def test_reductions_over_every_choice_of_dimensions(shape, op):
    x = np.random.default_rng(1).uniform(0.5, 1.5, shape).astype(np.float32)
    for mask in range(1, 1 << len(shape)):
        dims = tuple(d for d in range(len(shape)) if mask >> d & 1)
        built = Built(lambda v, d=dims: P[op](v, dims=d, keepdim=False) * 1.0, x)
        built.check(rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 7, 15, 16, 17, 33, 1000])
@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "int64", "int32", "uint8"])
def test_every_length_and_type(n, kind):
    x = np.arange(n).astype(kind)
    Built(lambda v: v * v + v, x).check(rtol=1e-3 if kind == "float16" else 1e-6)


def test_no_byte_beside_the_result_is_touched():
    x = np.arange(19, dtype=np.float32)
    built = Built(lambda v: v + 1.0, x)
    compiled = built.compiled()
    around = np.full(64, 7.0, np.float32)
    out = around[16:35]
    compiled.allocate = lambda *given: [out]
    compiled([x], [])
    np.testing.assert_array_equal(out, x + 1)
    assert (around[:16] == 7).all() and (around[35:] == 7).all()


def test_bfloat16_rounds_after_each_operation():
    x = np.linspace(-3, 3, 41).astype(dtypes.bfloat16.numpy)
    Built(lambda v: P["mul"](P["add"](v, v), v), x).check(rtol=0, atol=0)


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 12), st.integers(0, 6)), max_size=12))
def test_memory_of_values_alive_together_never_overlaps(lives):
    given_ = {k: (size, first, first + more) for k, (size, first, more) in enumerate(lives)}
    offsets, bytes_ = memory.layout(given_)
    for a, (size, first, last) in given_.items():
        assert offsets[a] % memory.ALIGN == 0 and offsets[a] + size <= bytes_
        for b, (other, begin, end) in given_.items():
            if a < b and not (last < begin or end < first):
                assert offsets[a] + size <= offsets[b] or offsets[b] + other <= offsets[a]


# --------------------------------------------------------------------- writing in place


def test_an_update_may_overwrite_what_it_read():
    built = Built(lambda p, g: p - g * 0.1, X, X * 2)
    assert built.compiled(((0, 0),)).donations == [(0, 0)]


def test_nothing_is_overwritten_that_is_read_elsewhere_or_later():
    turned = Built(lambda p: P["permute"](p, dims=(1, 0)) + 1.0, np.ones((4, 4), np.float32))
    assert turned.compiled(((0, 0),)).donations == []

    def later(p, w):
        new = p * 0.5
        return new, P["matmul"](P["exp"](P["matmul"](new, w)), p)

    eye = np.eye(4, dtype=np.float32)
    assert Built(later, eye, eye).compiled(((0, 0),)).donations == []


def test_a_fault_comes_before_anything_is_overwritten():
    def f(p, x, t):
        loss = P["nll"](x, t, reduction="mean", ignore=-100)
        return p - loss, loss

    good = Built(f, X, X, np.array([0, 1, 2, 3, 4, 5]))
    bad = np.array([0, 1, 2, 3, 4, 99])
    compiled = good.compiled(((0, 0),))
    inputs = [a.copy() for a in good.inputs]
    inputs[2] = bad
    kept = inputs[0].copy()
    with pytest.raises(Faulty):
        compiled(inputs, [], [(0, inputs[0])])
    np.testing.assert_array_equal(inputs[0], kept)
    inputs[2] = good.inputs[2]
    compiled(inputs, [], [(0, inputs[0])])
    assert (inputs[0] != kept).any()


# ---------------------------------------------------------------------- from the outside


@pytest.fixture
def compiled_at_once():
    flambeau.use_deterministic_algorithms(True)
    yield
    flambeau.use_deterministic_algorithms(False)


@needs_native
def test_training_is_the_same_compiled_and_interpreted(compiled_at_once):
    def train():
        flambeau.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Dropout(0.2), nn.Linear(36, 5),
        )  # fmt: skip
        optimizer = flambeau.optim.AdamW(net.parameters())
        x, y = flambeau.randn(8, 1, 8, 8), flambeau.randint(0, 5, (8,))
        losses = []
        for _ in range(6):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    native = train()
    with programs.steady():
        before, programs.TIER = programs.TIER, "auto"
        try:
            interpreted = train()
        finally:
            programs.TIER = before
    assert math.isfinite(native[-1])
    np.testing.assert_allclose(native, interpreted, rtol=1e-4)


def test_a_class_out_of_range_raises_and_changes_nothing(compiled_at_once):
    net = nn.Linear(3, 4)
    optimizer = flambeau.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(6):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(flambeau.ones(2, 3)), flambeau.tensor([0, 3])).backward()
        optimizer.step()
    before = net.weight.detach().clone()
    with pytest.raises(IndexError, match="out of bounds"):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(flambeau.ones(2, 3)), flambeau.tensor([0, 4]))
        loss.backward()
        optimizer.step()
    assert flambeau.equal(net.weight, before)


def test_a_time_step_that_changes_is_seen():
    x = flambeau.arange(40.0).reshape(10, 4).requires_grad_()
    y = x * 2
    found = [y[i % 10].sum().item() for i in range(25)]
    assert found == [float(sum(range(4 * (i % 10), 4 * (i % 10) + 4))) * 2 for i in range(25)]


def test_an_input_that_lies_otherwise_is_copied(compiled_at_once):
    x = flambeau.arange(12.0).reshape(3, 4)
    for _ in range(3):
        assert (x.t() * 2).tolist() == [[2.0 * (4 * j + i) for j in range(3)] for i in range(4)]


def test_literals_of_every_kind_survive():
    for value in (math.inf, -math.inf, math.nan, -0.0, 1e-40, 3):
        graph = Built(lambda v, c=value: P["add"](P["mul"](v, 0.0), c), X)
        graph.check()
        assert any(isinstance(i, Const) for e in graph.entries for i in e.inputs)
    assert contiguous((2, 3)).strides == (3, 1)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "int8", "int16", "int64"])
@pytest.mark.parametrize("n", [1, 3, 15, 17, 18, 33])
def test_rows_written_in_place_leave_their_neighbours(kind, n):
    """Row by row: what is written past one row's end would be read as the start of the next."""
    dtype = getattr(dtypes, kind).numpy
    values, wide = np.ones((4, n), dtype), np.full((4, n + 2), 2, dtype)

    def add(a, b):
        return P["add"](P["slice"](b, 1, dims=(1,), sizes=(n,), steps=(1,)), a)

    program = Built(add, values, wide).compiled(storages=[(0, 0)])
    assert program.donations == [(0, 0)]
    (found,) = program([values, wide], [], [(0, values)])
    assert found is values and np.all(found.astype(np.float32) == 3)


@pytest.mark.parametrize("op", ["amax", "amin", "sum", "prod"])
@pytest.mark.parametrize(
    "kind", ["int8", "uint8", "int16", "int32", "int64", "float32", "float64", "float16", "bool"]
)
def test_a_reduction_spread_over_its_row_again(kind, op):
    """LLVM 22 loses lanes where a maximum of int32 is spread as soon as it is found."""
    dtype = getattr(dtypes, "bool_" if kind == "bool" else kind).numpy
    for n in (1, 2, 4, 5, 8, 16, 17, 20, 33, 64):
        x = np.random.default_rng(n).integers(0, 100, (5, n)).astype(dtype)
        if kind == "bool":
            op, x = {"sum": "any", "prod": "all"}.get(op, op), x % 2 == 0
        if op in ("sum", "prod") and kind.startswith("float"):
            x = x % 2 + 1

        def spread(a, op=op):
            kept = P[op](a, dims=(1,), keepdim=True)
            return P["eq"](a, kept), kept

        with np.errstate(over="ignore"):
            Built(spread, x).check()


@needs_native
def test_a_program_of_too_many_primitives_stays_interpreted(monkeypatch, capsys):
    from flambeau.run.compiler import compile as compiling

    monkeypatch.setattr(compiling, "LARGEST", 3)
    monkeypatch.setattr(compiling, "LOG", frozenset({"program"}))
    x = flambeau.ones(5)
    for _ in range(8):
        y = (x + 1).exp().sin().sqrt().cos().sum().item()
    assert "primitives: too many to compile" in capsys.readouterr().err
    assert y == pytest.approx(float(np.cos(np.sqrt(np.sin(np.exp(2.0)))) * 5), rel=1e-6)
