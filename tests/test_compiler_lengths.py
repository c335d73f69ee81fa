"""Programs that differ in sizes share a plan: few kernels for all lengths, values as PyTorch's."""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau
from compiled import needs_native
from flambeau.ir.graph import Aval, Const, Entry
from flambeau.ir.primitive import PRIMITIVES
from flambeau.run import forms
from flambeau.run.compiler import code, gemm_sizes
from flambeau.run.compiler.gemm_spec import Product
from flambeau.run.compiler.leaves import leaves
from flambeau.run.compiler.sizes import Size, Sizes, divides, later
from flambeau.run.compiler.target import Target

pytestmark = needs_native

# Long and short, multiples of vectors and none, the ends of what there may be.
SHAPES = [
    (3, 17), (3, 33), (3, 40), (3, 21), (3, 64), (3, 5), (3, 2), (3, 16), (3, 1), (3, 0), (3, 100),
]  # fmt: skip
BATCHES = [
    (3, 17),
    (5, 33),
    (4, 20),
    (7, 21),
    (2, 64),
    (16, 3),
    (1, 9),
    (9, 1),
    (6, 48),
    (17, 17),
    (8, 70),
    (20, 30),
]


@pytest.fixture
def fits(monkeypatch):
    """How many programs got their code by a plan for several sizes; all run natively."""
    from flambeau.run.compiler.template import Template

    found = []
    original = Template.fill

    def fill(self, sample):
        ticket = original(self, sample)
        if ticket is not None:
            found.append(sample)
        return ticket

    monkeypatch.setattr(Template, "fill", fill)
    monkeypatch.setenv("FLAMBEAU_DEBUG", "1")
    forms._forms.clear()
    flambeau.use_deterministic_algorithms(True)
    yield found
    flambeau.use_deterministic_algorithms(False)


def values(shape, dtype="float32", seed=0):
    rng = np.random.default_rng((seed, *shape))
    if dtype == "int64":
        return rng.integers(0, 9, shape)
    return rng.standard_normal(shape).astype(dtype)


def same(f, arrays, tolerance=1e-5):
    """``f(library, *tensors)`` and its gradients, in both libraries."""
    found = []
    for mod in (flambeau, torch):
        given = [mod.tensor(a) for a in arrays]
        floats = [t for t in given if t.is_floating_point()]
        for t in floats:
            t.requires_grad_()
        out = f(mod, *given)
        results = [out]
        if out.is_floating_point() and out.requires_grad:
            (out * out).sum().backward()
            results += [t.grad for t in floats if t.grad is not None]
        found.append([r.detach().numpy() for r in results])
    for own, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=tolerance, atol=tolerance, strict=True)


WEIGHT = values((24, 8), seed=1)


def attention(m, x):
    q, k, v = (x.unsqueeze(1) * w for w in (1.0, 0.5, 0.25))
    scores = (q @ k.transpose(-1, -2)) / 3
    hidden = m.ones(x.shape[1], x.shape[1], dtype=m.bool).triu(1)
    return m.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v


def standardized(m, x):
    return m.nn.functional.layer_norm(x, (8,)).mean(1) - x.var((0, 1))


# x has shape (rows, length, 8).
CASES = {
    "pointwise": lambda m, x: (x * 2 + 1).exp().sigmoid() * x,
    "turned": lambda m, x: x.transpose(1, 2) * 3 + x.flip(1).transpose(1, 2),
    "sums": lambda m, x: x.sum(1) + x.mean((0, 1)) + x.amax(2).sum(1, keepdim=True),
    "softmax along": lambda m, x: m.softmax(x, 1) * m.log_softmax(x, 2),
    "standardized": standardized,
    "linear": lambda m, x: m.relu(m.nn.functional.linear(x, m.tensor(WEIGHT))),
    "weights": lambda m, x: x.reshape(-1, 8).T @ x.reshape(-1, 8) / x.shape[1],
    "products": lambda m, x: (x @ x.transpose(1, 2)) @ x,
    "attention": attention,
    "slices": lambda m, x: x[:, 1:].sum(1) + x[:, :1].sum(1) + x[:, ::2].sum(1),
    "joined": lambda m, x: m.cat([x, x * 2], 1) * m.arange(2 * x.shape[1]).view(1, -1, 1),
    "statistics": lambda m, x: (
        m.logsumexp(x, 1)
        + x.std(1)
        + m.linalg.vector_norm(x, dim=1)
        + x.argmax(1)
        + m.nn.functional.pad(x, (0, 0, 2, 1)).amax(1)
        + m.fmod(x, 0.7).sum(1)
        + m.lgamma(x.abs() + 1).sum(1)
    ),
    "running": lambda m, x: m.cumsum(x, 1) * x,
    "convolution": lambda m, x: m.nn.functional.conv1d(
        x.transpose(1, 2), m.tensor(WEIGHT.reshape(8, 8, 3)), padding=1
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shapes", [SHAPES, BATCHES], ids=["lengths", "both"])
def test_all_lengths_share_a_plan(fits, name, shapes):
    f = CASES[name]
    for shape in shapes:
        if name == "slices" and shape[1] < 2:
            continue
        if name == "convolution" and not shape[1]:
            continue
        if name == "statistics" and shape[1] < 2:
            continue
        if 0 in shape and name in ("sums", "softmax along", "standardized", "weights"):
            continue
        same(f, [values((*shape, 8))], 1e-3 if name in ("weights", "products") else 1e-4)
    assert len(fits) >= 3


def test_attention_of_the_library(fits):
    """Queries and keys of lengths of their own, with and without masks, causal or not."""
    for shape in [
        (2, 17, 20),
        (3, 33, 9),
        (2, 40, 64),
        (4, 21, 5),
        (2, 64, 100),
        (5, 3, 16),
        (2, 130, 7),
    ]:
        rows, queries, keys = shape
        arrays = [values((rows, 2, n, 8), seed=k) for k, n in enumerate((queries, keys, keys))]
        hidden = values((rows, 1, 1, keys), seed=9)

        def f(m, q, k, v, mask):
            attend = m.nn.functional.scaled_dot_product_attention
            own = attend(q, q, q * 2, is_causal=True)
            return attend(q, k, v, attn_mask=mask > 0.3) + attend(q, k, v) * own

        # A row that sees nothing is zeros here as there.
        same(f, [*arrays, np.abs(hidden) + (np.arange(keys) == 0)], 1e-4)
    assert len(fits) >= 3


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers(fits, kind):
    layers = []
    for mod in (torch, flambeau):
        mod.manual_seed(0)
        layers.append(getattr(mod.nn, kind)(8, 12, batch_first=True, bidirectional=True))
    for shape in [(3, 17), (5, 33), (4, 20), (7, 21), (2, 64), (16, 3), (17, 17), (9, 40)]:
        found = []
        for mod, layer in zip((torch, flambeau), layers, strict=True):
            x = mod.tensor(values((*shape, 8)), requires_grad=True)
            out = layer(x)[0]
            (out * out).sum().backward()
            found.append([out.detach().numpy(), x.grad.numpy()])
            found[-1] += [p.grad.numpy().copy() for p in layer.parameters()]
            layer.zero_grad()
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3, strict=True)
    assert len(fits) >= 3


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(fits, dtype):
    def f(m, x):
        x = x.to(getattr(m, dtype))
        y = m.softmax(x @ x.transpose(1, 2), 2) @ x
        return (y + x.mean(1, keepdim=True)).float() + m.arange(x.shape[1]).view(1, -1, 1)

    for shape in BATCHES:
        same(f, [values((*shape, 8)) / 2], 1e-4 if dtype == "float64" else 0.02)
    assert len(fits) >= 3


def test_whole_numbers_and_choices(fits):
    def f(m, x):
        table = m.nn.functional.embedding(x, m.tensor(WEIGHT))
        kept = (x != 0).unsqueeze(2)
        count = kept.sum(1)
        return (table * kept).sum(1) / count.clamp(min=1) + x.amax(1, keepdim=True)

    for shape in BATCHES:
        same(f, [values(shape, "int64")])
    assert len(fits) >= 3


def test_images_of_any_size(fits):
    def f(m, x):
        F = m.nn.functional
        y = F.relu(F.conv2d(x, m.tensor(values((4, 2, 3, 3))), padding=1, stride=2))
        return F.conv2d(y, m.tensor(values((5, 4, 2, 3))), dilation=2).amax((2, 3))

    for h, w in [(12, 17), (20, 33), (13, 20), (30, 21), (15, 16), (21, 40), (18, 19)]:
        same(f, [values((2, 2, h, w))], 1e-3)
    assert len(fits) >= 3


def around(m, x):
    """Windows along the length, with and without padding, and over all of it."""
    F = m.nn.functional
    y = x.transpose(1, 2)
    parts = [
        F.max_pool1d(y, 2),
        F.max_pool1d(y, 3, stride=2, padding=1, dilation=2),
        F.max_pool1d(y, 5, stride=1, padding=2),
        F.avg_pool1d(y, 3, stride=1, padding=1),
        F.avg_pool1d(y, 2, ceil_mode=True),
        F.avg_pool1d(y, 4, padding=1, count_include_pad=False),
        F.adaptive_avg_pool1d(y, 3),
        F.adaptive_max_pool1d(y, 1),
    ]
    whole = F.max_pool1d(y, y.shape[2]) - F.avg_pool1d(y, y.shape[2]) * F.adaptive_avg_pool1d(y, 1)
    return m.cat(parts, 2) * whole


def windows_of_images(m, x):
    F = m.nn.functional
    y = F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)
    y = m.cat([F.max_pool2d(y, 3, 1, 1), F.avg_pool2d(y, 3, 1, 1)], 1)
    return F.adaptive_avg_pool2d(y, (2, 3)).flatten(1).sum(1) * F.adaptive_max_pool2d(y, 1).sum()


def chosen(m, x):
    """Gathered, scattered, indexed and put back: along the length, before and after it."""
    rows, length, width = x.shape
    ends = m.arange(rows) % length
    last = x.gather(1, ends.view(-1, 1, 1).expand(-1, 1, width)).squeeze(1)
    own = x[m.arange(rows), (ends * 3) % length]
    every = x[:, m.arange(length - 1, -1, -1)]
    turned = x.transpose(1, 2).contiguous()
    order = (m.arange(length) * 5 + 1).remainder(length).expand(rows, width, length)
    swept = turned.gather(2, order)
    spread = m.zeros_like(turned).scatter_add(2, order, swept)
    spread = spread + m.zeros_like(turned).scatter(2, order.flip(2), 1.5)
    least = m.zeros_like(x).scatter_reduce(1, order.transpose(1, 2), x, "amin")
    put = m.zeros_like(x).index_put((m.arange(rows), ends), own * 2)
    return (spread.transpose(1, 2) + every + least + put) * (last + own).unsqueeze(1)


def in_groups(m, x):
    """Convolutions of which each channel, or each half of them, is one."""
    F = m.nn.functional
    y = x.transpose(1, 2)
    each = F.conv1d(y, m.tensor(values((8, 1, 3))), padding=1, groups=8)
    halves = F.conv1d(y, m.tensor(values((8, 4, 2))), stride=2, padding=1, groups=2)
    more = F.conv1d(y, m.tensor(values((16, 1, 3))), padding=2, dilation=2, groups=8)
    rest = m.cat([more, halves.mean(2, True) * more[:, :8]], 1).mean(1, True)
    return (each * rest).mean(2)


OF_ALL_LENGTHS = {"around": around, "chosen": chosen, "in groups": in_groups}


@pytest.mark.parametrize("name", OF_ALL_LENGTHS)
def test_kernels_of_windows_and_places_are_those_of_all_lengths(fits, name):
    """No other length compiles anything once the plan is there."""
    f = OF_ALL_LENGTHS[name]
    for n in (24, 31, 40, 57, 26, 18):
        same(f, [values((3, n, 8))], 1e-4)
    before, taken = code.stats.compiled, len(fits)
    assert taken
    for n in (100, 33, 17, 64, 63, 9, 48):
        same(f, [values((3, n, 8))], 1e-4)
    assert code.stats.compiled == before
    assert len(fits) >= taken + 7


def test_windows_of_images_of_any_size(fits):
    sizes = [(12, 17), (20, 33), (13, 20), (30, 21), (15, 16), (21, 40), (18, 19), (9, 70)]
    for h, w in sizes:
        same(windows_of_images, [values((2, 2, h, w))], 1e-4)
    assert len(fits) >= 3


def test_groups_of_images_of_any_size(fits):
    def f(m, x):
        F = m.nn.functional
        each = F.conv2d(x, m.tensor(values((12, 1, 3, 3))), padding=1, stride=2, groups=6)
        few = F.conv2d(each, m.tensor(values((4, 6, 1, 2))), groups=2)
        wide = F.conv2d(each, m.tensor(values((8, 6, 2, 1))), dilation=2, groups=2)
        return few.amax((2, 3)) @ wide.mean((2, 3))[:, :4].T

    sizes = [(12, 17), (20, 33), (13, 20), (30, 21), (15, 16), (21, 40), (18, 19), (9, 70)]
    for h, w in sizes:
        same(f, [values((2, 6, h, w))], 1e-3)
    assert len(fits) >= 3


def test_convolutions_of_what_begins_where_it_is_told(fits):
    def f(m, x, start):
        F = m.nn.functional
        y = (x * 2).transpose(1, 2)[:, :, start:]
        one = F.conv1d(y, m.tensor(values((4, 8, 3))))
        return one.sum(2) + F.conv1d(y, m.tensor(values((8, 1, 2))), groups=8).sum(2)[:, :4]

    for k, n in enumerate((24, 31, 40, 57, 26, 18, 90, 33)):
        same(lambda m, x, k=k: f(m, x, k % 5 + 1), [values((3, n, 8))], 1e-3)
    assert len(fits) >= 3


def test_windows_that_grow_with_the_image(fits):
    """What has no kernel for all sizes is compiled for each, beside what has."""

    def f(m, x):
        F = m.nn.functional
        y = x.transpose(1, 2) * 2
        half = y.shape[2] // 2
        parts = [
            F.max_pool1d(y, half),
            F.avg_pool1d(y, half, stride=2),
            F.avg_pool1d(y, 3, stride=half),
            F.adaptive_max_pool1d(y, 3),
            F.adaptive_avg_pool1d(y, 4),
            F.adaptive_max_pool1d(y, half),
            F.adaptive_avg_pool1d(y, half),
            F.adaptive_max_pool1d(y[:, :, :13], half),
            F.adaptive_avg_pool1d(y[:, :, :13], half),
            F.adaptive_max_pool2d(y, (3, 1)).flatten(1).unsqueeze(1).expand(-1, 8, -1),
            F.adaptive_avg_pool2d(y, (1, 2)).expand(-1, 8, -1),
            F.adaptive_max_pool2d(y, (4, 2)).flatten(1).unsqueeze(1).expand(-1, 8, -1),
        ]
        return m.cat(parts, 2).exp()

    for n in (24, 31, 40, 57, 26, 18, 90, 33, 64):
        for _ in range(2):
            same(f, [values((3, n, 8)) / 4], 1e-4)
    assert len(fits) >= 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_greatest_of_all_is_the_last_nan_or_the_first(fits, dtype):
    def f(m, x):
        return m.stack(
            [v.double() for v in m.nn.functional.max_pool1d(x, x.shape[2], return_indices=True)]
        )

    rng = np.random.default_rng(0)
    for n in (40, 33, 17, 90, 5, 16, 64, 70):
        x = rng.integers(0, 3, (7, 4, n)).astype(dtype)
        x[0] = -np.inf
        x[1, :, rng.integers(0, n, 3)] = np.nan
        x[2] = -x[2] * 0
        x[3, :, :-1] = -np.inf
        same(f, [x])
    assert len(fits) >= 3


def test_a_place_out_of_range_is_refused_whatever_the_length(fits):
    def f(m, x, y):
        return x.gather(1, y.unsqueeze(1)) + x[m.arange(len(x)), y].unsqueeze(1)

    for n in (9, 12, 20, 17, 31, 6):
        same(f, [values((n, 5)), values((n,), "int64") % 5])
    assert fits
    x = flambeau.tensor(values((7, 5))).mul(1.0)
    with pytest.raises(RuntimeError, match="out of bounds"):
        f(flambeau, x, flambeau.tensor([0, 1, 2, 7, 1, 0, 3]).add(0)).sum().item()


def test_kernels_stay_the_same(fits):
    """Once the plan is there, other lengths need no LLVM."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    def step(length):
        x = values((4, length, 8), seed=length)
        same(attention, [x], 1e-4)

    lengths = rng.permutation(np.arange(17, 101))
    for n in lengths[:5]:
        step(int(n))
    before, taken = code.stats.compiled, len(fits)
    for n in lengths[5:30]:
        step(int(n))
    assert code.stats.compiled == before
    assert len(fits) - taken == 25


def test_two_shapes_have_plans_of_their_own(fits):
    for _ in range(3):
        for n in (32, 20):
            same(CASES["linear"], [values((n, 5, 8))], 1e-4)
    assert not fits


def test_a_branch_on_the_length_is_another_program(fits):
    """The same primitives with attributes that do not follow from the sizes."""

    def f(m, x):
        n = x.shape[1]
        return (x[:, : n // 2] if n < 40 else x[:, : n - 7]).sum(1)

    for n in (18, 30, 22, 26, 38, 50, 60, 44, 81, 45, 24, 66):
        same(f, [values((3, n, 8))], 1e-4)


def test_a_class_out_of_range_is_refused(fits):
    def f(m, x, y):
        return m.nn.functional.cross_entropy(x, y)

    for n in (9, 12, 20, 17, 31, 6):
        same(f, [values((n, 5)), values((n,), "int64") % 5])
    assert fits
    wrong = flambeau.tensor([0, 1, 2, 7, 1, 0, 3])
    logits = flambeau.tensor(values((7, 5))).mul(1.0)
    with pytest.raises(IndexError):
        flambeau.nn.functional.cross_entropy(logits, wrong.add(0)).item()


def test_views_of_data_are_copied_to_where_the_plan_wants_them(fits):
    for shape in BATCHES:
        found = []
        for mod in (flambeau, torch):
            x = mod.tensor(values((8, *shape))).permute(1, 2, 0)
            found.append(CASES["standardized" if shape[1] > 1 else "pointwise"](mod, x * 1).numpy())
        np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4)
    assert len(fits) >= 3


def test_a_plan_that_fails_is_given_up(fits, monkeypatch):
    """Programs are compiled by themselves then, with a warning once."""
    from flambeau.run.compiler import template

    monkeypatch.delenv("FLAMBEAU_DEBUG")
    monkeypatch.setattr(template.Filled, "fill", lambda self: 1 / 0)
    # Shapes that no other test has: whose programs are all made here.
    arrays = iter([values((3, n, 6)) for n in (17, 33, 40, 21, 64)])
    for _ in range(3):
        same(CASES["turned"], [next(arrays)])
    with pytest.warns(RuntimeWarning, match="a plan for several sizes"):
        same(CASES["turned"], [next(arrays)])
    same(CASES["turned"], [next(arrays)])
    assert not fits


TARGETS = {
    "avx2": Target("x86_64-unknown-linux-gnu", "haswell", "", 256, 16),
    "avx512": Target("x86_64-unknown-linux-gnu", "skylake-avx512", "", 512, 32),
    "neon": Target("aarch64-unknown-linux-gnu", "neoverse-n1", "", 128, 32),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("turned", [False, True])
def test_products_assemble_for_other_processors(name, turned):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = TARGETS[name]
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2
    )
    sizes = Sizes()
    rows, length = sizes.variable(3), sizes.variable(50)
    b = (length * 24, 1, 24) if turned else (length * 24, length, 1)
    c = (length * length, length, 1)
    spec = Product(length, length, 24, rows, (length * 24, 24, 1), b, c, "float")
    for stage in gemm_sizes.product(spec, target).stages:
        module = llvm.parse_assembly(stage.kernel.text)
        module.verify()
        assert len(machine.emit_object(module)) > 0
        assert stage.kernel.sizes


# Sizes themselves.

EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", "1", "2", "16", "64"]),
    lambda inner: st.tuples(st.sampled_from(["+", "-", "*", "//", "%"]), inner, inner),
    max_leaves=8,
)


def worked_out(expression, names):
    if isinstance(expression, str):
        return names.get(expression) or int(expression)
    op, x, y = expression
    x, y = worked_out(x, names), worked_out(y, names)
    if op in "+-*":
        return {"+": x + y, "-": x - y, "*": x * y}[op]
    if not y:
        return x
    return x // y if op == "//" else x % y


@settings(max_examples=150, deadline=None)
@given(
    expression=EXPRESSIONS,
    other=EXPRESSIONS,
    planned=st.tuples(st.integers(2, 90), st.integers(2, 90)),
    again=st.lists(st.tuples(st.integers(2, 90), st.integers(2, 90)), min_size=3, max_size=6),
)
def test_what_is_asked_of_sizes_decides_whom_a_plan_fits(expression, other, planned, again):
    sizes = Sizes()
    names = dict(zip("ab", map(sizes.variable, planned), strict=True))
    x, y = worked_out(expression, names), worked_out(other, names)
    asked = (x < y, x == 0, x == 1, bool(x), x >= 16)
    twice = later(lambda n: 2 * abs(n), x)
    function = sizes.compiled([x, y, twice, x + y])
    for given_ in [planned, *again]:
        plain = dict(zip("ab", given_, strict=True))
        u, v = worked_out(expression, plain), worked_out(other, plain)
        answers = (u < v, u == 0, u == 1, bool(u), u >= 16)
        found = function(*given_)
        assert found is not None if given_ == planned else True
        if found is not None:
            assert found == (u, v, 2 * abs(u), u + v)
            assert answers == asked


def test_sizes_know_what_holds_for_all():
    sizes = Sizes()
    a, b = sizes.variable(12), sizes.variable(7)
    assert a * b * 64 // b == a * 64
    assert (a * b + b) // b == a + 1
    assert a - a == 0
    assert type(a - a) is int
    assert divides(a, a * b)
    assert not divides(16, a * 4)
    assert a * b > a
    assert a != 1
    assert a * b != b
    assert not sizes.guards
    assert a < 50
    assert [*sizes.guards.values()] == [True]
    assert isinstance(a * 2, Size)
    assert int(a) == 12
    assert sizes.compiled([a])(12, 9) == (12,)
    assert sizes.compiled([a])(13, 9) is None


@pytest.mark.parametrize("lengths", [(121, 91, 77, 50, 33), (7, 9, 11, 22, 40)])
def test_complex_signals_of_any_length(lengths: tuple[int, ...]) -> None:
    """Masks of kernels for pairs are named by how many lanes they have."""
    draw = np.random.default_rng(0)
    for n in lengths:
        z = draw.standard_normal((3, n)) + 1j * draw.standard_normal((3, n))
        found = flambeau.from_numpy(z).conj().resolve_conj() * flambeau.from_numpy(z) + 1
        np.testing.assert_allclose(found.numpy(), z.conj() * z + 1, rtol=1e-12)


@pytest.mark.parametrize("r", [2, 3, 4, 5])
def test_a_copy_is_reshaped_to_any_sizes(r: int) -> None:
    """What the sizes of a dense value divide by need not be known."""
    x = flambeau.arange(2 * 2 * r * r * 30).double().reshape(2, 2 * r * r, 5, 6)
    y = flambeau.nn.functional.pixel_shuffle(x.transpose(2, 3), r)
    expected = x.numpy().swapaxes(2, 3).reshape(2, 2, r, r, 6, 5)
    expected = expected.transpose(0, 1, 4, 2, 5, 3).reshape(2, 2, 6 * r, 5 * r)
    np.testing.assert_array_equal(y.numpy(), expected)


@pytest.mark.parametrize(
    "one, other", [(0.0, -0.0), (0j, complex(0, -0.0)), (1, True), (1, 1.0), (2.0, 2 + 0j)]
)
def test_numbers_that_only_compare_equal_are_told_apart(one, other):
    def sample(number):
        aval = Aval((3,), flambeau.float32)
        inputs = (-1, Const(number))
        entry = Entry(PRIMITIVES["mul"], inputs, (0,), {}, (aval, Aval((), None)), (aval,), False)
        return forms.Sample([entry], (0,), (), (((3,), flambeau.float32),), ())

    assert leaves(sample(one)) == leaves(sample(one)) != leaves(sample(other))
