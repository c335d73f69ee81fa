"""Attention in tiles: its kernels against the reference, its gradients against PyTorch's."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau
from compiled import needs_native
from flambeau import dtypes
from flambeau.ir.graph import NUMBERS, Aval, Entry
from flambeau.ir.primitive import PRIMITIVES
from flambeau.run.compiler import code
from flambeau.run.compiler.lower import Lowering
from flambeau.run.compiler.target import Target, host
from native_graphs import Built
from native_plans import Runner

NAMES = ("attention", "attention_gradient")
# Narrower vectors and fewer registers than here, as other processors have them.
NARROW = {"AVX2": (256, 16), "NEON": (128, 32)}


@pytest.fixture
def compiling():
    """Every program is compiled at its first run."""
    if needs_native.args[0]:
        pytest.skip(needs_native.kwargs["reason"])
    flambeau.use_deterministic_algorithms(True)
    yield
    flambeau.use_deterministic_algorithms(False)


def aval(a):
    return Aval(a.shape, dtypes.from_numpy_dtype(a.dtype))


def planned(name, inputs, scale, causal, target=None, monkeypatch=None):
    """The node that one primitive becomes, and its results; the scale comes after ``inputs``."""
    at = 3 if name == "attention" else 6
    operands = [*inputs[:at], scale, *inputs[at:]]
    slots = [NUMBERS if x is scale else -1 - i for i, x in enumerate(operands)]
    avals = [Aval((), None) if x is scale else aval(x) for x in operands]
    prim = PRIMITIVES[name]
    outs = prim.rule(*avals, causal=causal)
    entry = Entry(
        prim, tuple(slots), tuple(range(len(outs))), {"causal": causal}, tuple(avals), outs, False
    )
    low = Lowering([entry], list(entry.outputs), [scale])
    if target:
        with monkeypatch.context() as patch:
            patch.setattr(code, "target", lambda: target)
            low.run([entry])
    else:
        low.run([entry])
    assert low.host_reasons == []
    (node,) = [n for n in low.nodes if n.kind == "stages"]
    return node, outs, operands


def operands(queries, keys, width, values, dtype, stack=(2, 3), mask=None, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(*stack, queries, width), (*stack, keys, width), (*stack, keys, values)]
    found = [rng.standard_normal(s).astype(dtype) for s in shapes]
    if mask is not None:
        found.append(rng.standard_normal(mask).astype(dtype))
    return found


def check(name, inputs, scale, causal, target=None, monkeypatch=None):
    """The kernel against the reference in float64, and in however small pieces: the same bits."""
    node, outs, given = planned(name, inputs, scale, causal, target, monkeypatch)
    wide = [x.astype(np.float64) if isinstance(x, np.ndarray) else x for x in given]
    expected = PRIMITIVES[name].reference(*wide, causal=causal)
    shapes = [Aval(tuple(s), outs[0].dtype) for s in made(node, outs)]
    runner = Runner(node.plan, shapes)
    dtype = inputs[0].dtype
    at = 3 if name == "attention" else 6
    arrays = [*inputs[:at], np.array([scale], dtype), *inputs[at:]]
    found = [a.copy() for a in runner.run(*arrays)]
    runner.check_guards()
    again = runner.run(*arrays, cuts=lambda n: [(i, i + 1) for i in reversed(range(n))])
    for a, b in zip(found, again, strict=True):
        assert a.tobytes() == b.tobytes()
    eps = 4e-6 if dtype == np.float32 else 2e-14
    for a, b in zip(found, expected, strict=True):
        if a.shape != b.shape:
            a = a.sum(0).reshape(b.shape)
        # Sums of what cancels are as exact as what they are sums of.
        large = max(np.abs(x).max(initial=1) for x in (b, *inputs))
        np.testing.assert_allclose(a, b, rtol=eps, atol=eps * large)
    return found


def made(node, outs):
    """Shapes of the results: the queries' gradient may come in parts."""
    parts = node.plan.stages[0].units // math.prod(outs[0].shape[:-2])
    first = outs[0].shape
    if node.op == "attention_gradient" and parts > 1:
        first = (parts, math.prod(first))
    return [first, *(o.shape for o in outs[1:])]


def both_ways(sizes, dtype, causal=False, mask=None, target=None, monkeypatch=None):
    scale = 1 / math.sqrt(sizes[2])
    inputs = operands(*sizes, dtype, mask=mask)
    out, lse = check("attention", inputs, scale, causal, target, monkeypatch)
    g = np.random.default_rng(1).standard_normal(out.shape).astype(dtype)
    delta = (g * out).sum(-1)
    given = [g, *inputs[:3], lse, delta, *inputs[3:]]
    check("attention_gradient", given, scale, causal, target, monkeypatch)


SIZES = [
    (1, 1, 1, 1), (3, 5, 4, 7), (1, 70, 64, 64), (16, 16, 16, 16), (33, 17, 9, 20), (50, 130, 8, 8),
    (100, 40, 40, 24), (40, 256, 256, 130),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", SIZES)
def test_sizes(sizes, dtype):
    both_ways(sizes, dtype)
    both_ways(sizes, dtype, causal=True)


@pytest.mark.parametrize("lead", [(), (3,), (2, 1), (2, 3)])
@pytest.mark.parametrize("rows", [(37, 70), (1, 70), (37, 1), (1, 1)])
def test_masks_of_every_shape(lead, rows):
    both_ways((37, 70, 12, 20), np.float32, mask=(*lead, *rows))


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("sizes", [SIZES[1], SIZES[4]])
def test_narrower_vectors(name, sizes, monkeypatch):
    bits, registers = NARROW[name]
    target = replace(host(), bits=bits, registers=registers)
    for dtype in (np.float32, np.float64):
        both_ways(sizes, dtype, target=target, monkeypatch=monkeypatch)
        mask = (2, 1, *sizes[:2])
        both_ways(sizes, dtype, mask=mask, target=target, monkeypatch=monkeypatch)


@settings(max_examples=8, deadline=None)
@given(
    st.tuples(st.integers(1, 80), st.integers(1, 150), st.integers(1, 70), st.integers(1, 70)),
    st.booleans(),
)
def test_any_sizes(sizes, causal):
    both_ways(sizes, np.float32, causal)


def test_a_mask_besides_causality_has_no_kernel():
    inputs = operands(4, 4, 4, 4, np.float32, mask=(4, 4))
    with pytest.raises(AssertionError, match="a mask besides causality"):
        planned("attention", inputs, 0.5, True)


# ---- what users see ------------------------------------------------------------------------------


def attend(mod, arrays, mask=None, swap=False, **how):
    """The output, and the gradients of a sum weighed by cosines."""
    given = [mod.tensor(a).requires_grad_() for a in arrays]
    if mask is not None:
        how["attn_mask"] = mod.tensor(mask)
    used = [x.transpose(-2, -3) for x in given] if swap else given
    out = mod.nn.functional.scaled_dot_product_attention(*used, **how)
    weights = np.cos(np.arange(math.prod(out.shape))).reshape(tuple(out.shape))
    (out * mod.tensor(weights).to(out.dtype)).sum().backward()
    return [out, *[x.grad for x in given]]


def numbers(x):
    return np.array(
        x.detach()
        .to(flambeau.float64 if isinstance(x, flambeau.Tensor) else torch.float64)
        .tolist()
    )


def agree(ours, theirs, eps):
    for a, b in zip(ours, theirs, strict=True):
        a, b = numbers(a), numbers(b)
        largest = np.abs(b, where=np.isfinite(b), out=np.zeros_like(b)).max(initial=1)
        np.testing.assert_allclose(a, b, rtol=eps, atol=eps * largest)


CASES = {
    "plain": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3},
    "heads apart": {"swap": True},
}
MASKS = [(20, 24), (2, 1, 1, 24), (4, 20, 1), (2, 4, 20, 24)]


@pytest.fixture(params=["as set", "compiled"])
def tier(request):
    """As FLAMBEAU_TIER says, and compiled at the first run."""
    if request.param == "compiled":
        request.getfixturevalue("compiling")


@pytest.mark.usefixtures("tier")
@pytest.mark.parametrize("case", CASES)
def test_as_pytorch(case):
    how = CASES[case]
    stack = (2, 30, 4) if "swap" in how else (2, 4, 30)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((*stack, 16)) for _ in range(3)]
    agree(attend(flambeau, arrays, **how), attend(torch, arrays, **how), 1e-13)
    arrays = [a.astype(np.float32) for a in arrays]
    agree(attend(flambeau, arrays, **how), attend(torch, arrays, **how), 5e-6)


@pytest.mark.usefixtures("tier")
@pytest.mark.parametrize("shape", MASKS)
def test_masks_as_pytorch(shape):
    arrays = operands(20, 24, 8, 6, np.float32, (2, 4))
    rng = np.random.default_rng(3)
    mask = rng.random(shape) < 0.6
    mask[..., :1, :] = False  # rows with nothing to attend to, where the mask has them
    agree(attend(flambeau, arrays, mask), attend(torch, arrays, mask), 5e-6)
    mask = np.where(mask, rng.standard_normal(shape), -np.inf).astype(np.float32)
    agree(attend(flambeau, arrays, mask), attend(torch, arrays, mask), 5e-6)


@pytest.mark.usefixtures("tier")
@pytest.mark.parametrize("heads", [(6, 2, 2), (6, 1, 1), (6, 2, 3)])
def test_grouped_heads_as_pytorch(heads):
    rng = np.random.default_rng(0)
    lengths, widths = (11, 20, 20), (8, 8, 5)
    arrays = [
        rng.standard_normal((2, h, n, w)) for h, n, w in zip(heads, lengths, widths, strict=True)
    ]
    for how in ({"is_causal": True}, {"mask": rng.standard_normal((2, 6, 11, 20))}):
        how["enable_gqa"] = True
        agree(attend(flambeau, arrays, **how), attend(torch, arrays, **how), 1e-13)


@pytest.mark.usefixtures("tier")
@pytest.mark.parametrize("mask", [None, (2, 6, 1, 20), (2, 1, 1, 20), (6, 1, 1)])
@pytest.mark.parametrize("keys", [1, 2])
def test_one_query_of_grouped_heads_as_pytorch(keys, mask):
    rng = np.random.default_rng(0)
    shapes = [(2, 6, 1, 8), (2, keys, 20, 8), (2, keys, 20, 5)]
    arrays = [rng.standard_normal(s) for s in shapes]
    how = {"enable_gqa": True}
    if mask:
        how["mask"] = rng.standard_normal(mask)
    agree(attend(flambeau, arrays, **how), attend(torch, arrays, **how), 1e-13)


@pytest.mark.usefixtures("tier")
def test_one_query_and_a_mask_that_lies_across():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in ((2, 6, 1, 8), (2, 2, 20, 8), (2, 2, 20, 5))]
    across = rng.standard_normal((2, 20, 1, 6))
    found = [
        mod.nn.functional.scaled_dot_product_attention(
            *map(mod.tensor, arrays), mod.tensor(across).transpose(1, 3), enable_gqa=True
        )
        for mod in (flambeau, torch)
    ]
    agree(found[:1], found[1:], 1e-13)


@pytest.mark.usefixtures("tier")
def test_leading_dimensions_broadcast():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((*s, 9, 4)) for s in ((1, 3), (2, 1), (3,))]
    agree(attend(flambeau, arrays), attend(torch, arrays), 1e-13)


@pytest.mark.usefixtures("tier")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", range(3))
def test_what_is_not_finite_as_pytorch(where, value):
    arrays = operands(20, 24, 8, 8, np.float32, (1, 2))
    arrays[where][0, 1, 3] = value
    mask = np.ones((20, 24), bool)
    mask[:, 3] = False
    for how in ({}, {"attn_mask": mask}, {"is_causal": True}):
        found = []
        for mod in (flambeau, torch):
            given = {k: mod.tensor(v) if k == "attn_mask" else v for k, v in how.items()}
            xs = [mod.tensor(a) for a in arrays]
            found.append([mod.nn.functional.scaled_dot_product_attention(*xs, **given)])
        agree(*found, 5e-6)


@pytest.mark.usefixtures("tier")
def test_scores_of_minus_infinity_alone_give_zeros():
    q, k = np.full((1, 1, 3, 4), np.inf, np.float32), np.full((1, 1, 5, 4), -1, np.float32)
    for mod in (flambeau, torch):
        x, y = mod.tensor(q), mod.tensor(k)
        out = mod.nn.functional.scaled_dot_product_attention(x, y, y)
        assert out.tolist() == np.zeros((1, 1, 3, 4)).tolist()


@pytest.mark.usefixtures("tier")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_computed_in_float32(dtype):
    """Where PyTorch's kernel of tiles is not for: it takes four dimensions."""
    arrays = operands(20, 24, 8, 8, np.float32, (2,))
    xs = [flambeau.tensor(a).to(getattr(flambeau, dtype)) for a in arrays]
    attention = flambeau.nn.functional.scaled_dot_product_attention
    found = attention(*xs, is_causal=True)
    assert found.dtype is getattr(flambeau, dtype)
    wide = attention(*[x.float() for x in xs], is_causal=True)
    ulp = {"float16": 2**-10, "bfloat16": 2**-7}[dtype]
    np.testing.assert_allclose(numbers(found), numbers(wide), rtol=ulp, atol=1e-5)


@pytest.mark.usefixtures("tier")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("how", ["plain", "causal", "mask", "mask of float32", "bool mask", "gqa"])
def test_weights_of_sixteen_bits(how, dtype):
    """Four dimensions: the bits that PyTorch's kernel of tiles gives, forward and backward."""
    arrays = operands(7, 8, 8, 8, np.float32, (2, 4))
    if how == "gqa":
        arrays[1:] = [a[:, :2] for a in arrays[1:]]
    mask = np.random.default_rng(1).standard_normal((7, 8)).astype(np.float32)
    g = np.random.default_rng(2).standard_normal(arrays[0].shape).astype(np.float32)
    found = []
    for mod in (flambeau, torch):
        low = getattr(mod, dtype)
        q, k, v = [mod.from_numpy(a.copy()).to(low).requires_grad_() for a in arrays]
        given = {"is_causal": how == "causal", "enable_gqa": how == "gqa"}
        if "mask" in how:
            m = mod.from_numpy(mask > -1 if how == "bool mask" else mask)
            given["attn_mask"] = m.to(low) if how == "mask" else m
        out = mod.nn.functional.scaled_dot_product_attention(q, k, v, **given)
        out.backward(mod.from_numpy(g).to(low))
        # Heads that share keys add up their gradients there, in PyTorch in 16 bits.
        shared = () if how == "gqa" else (k.grad, v.grad)
        found.append([numbers(x) for x in (out.detach(), q.grad, *shared)])
    for ours, theirs in zip(*found, strict=True):
        # Weights that are not rounded change a fifth and more.
        assert (ours != theirs).mean() < 0.03
        bound = {"float16": 2**-10, "bfloat16": 2**-7}[dtype]
        np.testing.assert_allclose(ours, theirs, rtol=bound, atol=bound * np.abs(theirs).max())


def twice(mod, arrays, mask):
    """Gradients of gradients, the mask's among them."""
    given = [mod.tensor(a).requires_grad_() for a in (*arrays, *mask)]
    out = mod.nn.functional.scaled_dot_product_attention(*given)
    first = mod.autograd.grad((out**3).sum(), given, create_graph=True)
    return [*first, *mod.autograd.grad(sum((g * g).sum() for g in first), given)]


@pytest.mark.usefixtures("tier")
@pytest.mark.parametrize("shape", [None, (9, 12), (2, 1, 1, 12)])
def test_second_derivatives_as_pytorch(shape):
    arrays = operands(9, 12, 4, 5, np.float64, (2, 2))
    mask = [] if shape is None else [np.random.default_rng(5).standard_normal(shape)]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        theirs = twice(torch, arrays, mask)
    agree(twice(flambeau, arrays, mask), theirs, 1e-11)


@pytest.mark.usefixtures("tier")
def test_nothing_to_attend_to_or_from():
    for lengths in ((0, 4, 3), (4, 0, 3), (4, 5, 0)):
        shapes = [(2, lengths[0], lengths[2]), (2, lengths[1], lengths[2]), (2, lengths[1], 6)]
        found = [
            mod.nn.functional.scaled_dot_product_attention(*map(mod.ones, shapes))
            for mod in (flambeau, torch)
        ]
        assert tuple(found[0].shape) == tuple(found[1].shape)
        np.testing.assert_allclose(numbers(found[0]), numbers(found[1]), rtol=1e-6)


def test_shapes_that_do_not_fit():
    attention = flambeau.nn.functional.scaled_dot_product_attention
    x = flambeau.ones(2, 5, 4)
    for bad in ((x, flambeau.ones(2, 5, 3), x), (x, x, flambeau.ones(2, 6, 4))):
        with pytest.raises(RuntimeError):
            attention(*bad)
    for mask in (flambeau.ones(3, 1, 5), flambeau.ones(4, 2, 5, 5)):
        with pytest.raises(RuntimeError, match=r"must match|doesn't match"):
            attention(x, x, x, mask)


@pytest.mark.usefixtures("compiling")
def test_threads_change_no_bit():
    arrays = operands(130, 300, 24, 24, np.float32, (1, 2))
    before, found = flambeau.get_num_threads(), []
    try:
        for threads in (1, 2):
            flambeau.set_num_threads(threads)
            found.append([x.detach().numpy().tobytes() for x in attend(flambeau, arrays)])
    finally:
        flambeau.set_num_threads(before)
    assert found[0] == found[1]


# ---- programs ------------------------------------------------------------------------------------


def heads(x):
    """``(B, L, H, D)`` as ``(B, H, L, D)``."""
    return PRIMITIVES["permute"](x, dims=(0, 2, 1, 3))


def layer(g, q, k, v, scale):
    """Attention of heads that lie side by side, and its gradient, as a layer has them."""
    g, q, k, v = map(heads, (g, q, k, v))
    out, lse = PRIMITIVES["attention"](q, k, v, scale, causal=False)
    delta = PRIMITIVES["sum"](g * out, dims=(3,), keepdim=False)
    found = PRIMITIVES["attention_gradient"](g, q, k, v, lse, delta, scale, causal=False)
    return tuple(map(heads, (out, *found)))


def test_neither_scores_nor_copies_are_in_memory():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((2, 300, 2, 16)).astype(np.float32) for _ in range(4)]
    built = Built(layer, *arrays, numbers=[0.25])
    draft = built.draft()
    assert draft.low.host_reasons == []
    assert draft.arena_bytes < 300 * 300 * 4
    copies = [n for n in draft.low.nodes if n.op == "copy" and math.prod(n.shape) > 1]
    assert copies == []
    built.check(rtol=2e-5, atol=2e-5)


TARGETS = [
    Target("aarch64-linux-gnu", "neoverse-n1", "", 128, 32),
    Target("x86_64-unknown-linux-gnu", "haswell", "", 256, 16),
    Target("x86_64-unknown-linux-gnu", "skylake-avx512", "", 512, 32),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.cpu)
def test_other_processors_need_no_library(target, monkeypatch):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2
    )
    q, k, v, mask = operands(50, 70, 24, 40, np.float32, mask=(50, 70))
    rows = np.zeros((2, 3, 50), np.float32)
    out = np.zeros((2, 3, 50, 40), np.float32)
    for name, inputs in (
        ("attention", [q, k, v, mask]),
        ("attention_gradient", [out, q, k, v, rows, rows, mask]),
    ):
        node, _, _ = planned(name, inputs, 0.5, False, target, monkeypatch)
        for stage in node.plan.stages:
            module = llvm.parse_assembly(stage.kernel.text)
            module.triple = target.triple
            module.verify()
            assembly = machine.emit_assembly(module)
            assert not re.search(r"(?m)^\s+(call|blr?\s)", assembly), name
            assert machine.emit_object(module)
