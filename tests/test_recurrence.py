"""Recurrent layers as one primitive: kernels against the reference, gradients against PyTorch."""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau
from flambeau import dtypes
from flambeau.ir.graph import Aval
from flambeau.ir.primitive import PRIMITIVES
from flambeau.run.compiler.recurrence import GATES, PLANS
from flambeau.run.compiler.target import Target, host
from native_plans import Runner

KINDS = sorted(GATES)


def aval(a):
    return Aval(a.shape, getattr(dtypes, a.dtype.name))


def operands(kind, steps, batch, size, dtype, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(steps, batch, GATES[kind] * size), (GATES[kind] * size, size), (GATES[kind] * size,)]
    shapes += [(batch, size)] * (2 if kind == "LSTM" else 1)
    found = [rng.standard_normal(s) for s in shapes]
    # As layers begin: with weights of size one each step makes roundings sqrt(size) times as large,
    # and the reference in float32 is itself 2e-5 from float64.
    found[1] /= np.sqrt(size)
    return [a.astype(dtype) for a in found]


def run(name, attrs, inputs, target=None):
    expected = PRIMITIVES[name].reference(*inputs, **attrs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    outs = [aval(a) for a in expected]
    runner = Runner(PLANS[name](attrs, [aval(a) for a in inputs], outs, target or host()), outs)
    found = [a.copy() for a in runner.run(*inputs)]
    runner.check_guards()
    # However the batch is cut up among threads, the bits are the same.
    for a, b in zip(found, runner.run(*inputs, cuts=lambda n: [(i, i + 1) for i in range(n)])):
        assert a.tobytes() == b.tobytes()
    eps = 2e-5 if inputs[0].dtype == np.float32 else 1e-13
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=eps, atol=eps * max(1, np.abs(b).max(initial=0)))
    return expected


def both_ways(kind, reverse, steps, batch, size, dtype, incoming=(True, True), target=None):
    inputs = operands(kind, steps, batch, size, dtype)
    forward = run("recurrence", {"kind": kind, "reverse": reverse}, inputs, target)
    rng = np.random.default_rng(1)
    cotangents = [rng.standard_normal((steps, batch, size)).astype(dtype) for there in incoming]
    if kind != "LSTM":
        incoming, cotangents = (True,), cotangents[:1]
    chosen = [g for g, there in zip(cotangents, incoming, strict=True) if there]
    attrs = {"kind": kind, "reverse": reverse, "given": incoming}
    run("recurrence_gradient", attrs, [*inputs, *forward, *chosen], target)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6, deadline=None)
@given(
    reverse=st.booleans(),
    steps=st.integers(1, 4),
    batch=st.integers(1, 21),
    size=st.sampled_from([1, 3, 8, 16, 19, 40, 64]),
    dtype=st.sampled_from(["float32", "float64"]),
    incoming=st.sampled_from([(True, True), (True, False), (False, True)]),
)
def test_kernels_compute_what_the_reference_does(
    kind, reverse, steps, batch, size, dtype, incoming
):
    both_ways(kind, reverse, steps, batch, size, dtype, incoming)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_too_large_for_a_cache(kind):
    both_ways(kind, False, 2, 9, 200, "float32")


@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_infinity_pass_through(kind):
    inputs = operands(kind, 2, 3, 5, "float32")
    inputs[0][0, 0, 0], inputs[0][0, 1, 1], inputs[0][0, 2, 2] = np.nan, np.inf, -np.inf
    with np.errstate(all="ignore"):
        run("recurrence", {"kind": kind, "reverse": False}, inputs)


TARGETS = {
    "avx2": Target("x86_64-unknown-linux-gnu", "haswell", "", 256, 16),
    "avx512": Target("x86_64-unknown-linux-gnu", "skylake-avx512", "", 512, 32),
    "neon": Target("aarch64-unknown-linux-gnu", "neoverse-n1", "", 128, 32),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_assemble_for_other_processors(kind, name):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = TARGETS[name]
    made = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2
    )
    inputs = operands(kind, 3, 9, 24, "float32")
    attrs = {"kind": kind, "reverse": True}
    outs = PRIMITIVES["recurrence"].reference(*inputs, **attrs)
    outs = outs if isinstance(outs, tuple) else (outs,)
    more = {**attrs, "given": (True, False) if kind == "LSTM" else (True,)}
    backward = [*inputs, *outs, outs[0]]
    results = PRIMITIVES["recurrence_gradient"].reference(*backward, **more)
    for primitive, how, given_, found in (
        ("recurrence", attrs, inputs, outs),
        ("recurrence_gradient", more, backward, results),
    ):
        plan = PLANS[primitive](how, [aval(a) for a in given_], [aval(a) for a in found], target)
        for stage in plan.stages:
            module = llvm.parse_assembly(stage.kernel.text)
            module.triple = target.triple
            module.verify()
            assert "call" not in made.emit_assembly(module).replace("@llvm", "")


def layer(mod, kind, **options):
    if kind.startswith("RNN"):
        return mod.nn.RNN(5, 7, nonlinearity=kind[4:].lower(), **options)
    return getattr(mod.nn, kind)(5, 7, **options)


def gradients(mod, kind, second, dtype="float64", **options):
    """Outputs and gradients (of the first or the second order) of everything."""
    mod.manual_seed(0)
    net = layer(mod, kind, dtype=getattr(mod, dtype), **options)
    rng = np.random.default_rng(0)
    count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    shapes = [(6, 3, 5)] + [(count, 3, 7)] * (2 if kind == "LSTM" else 1)
    x, *state = [
        mod.tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in shapes
    ]
    y, last = net(x, tuple(state) if kind == "LSTM" else state[0])
    last = last if isinstance(last, tuple) else (last,)
    loss = (y * y.cos()).sum() + sum((a.sin() * a).sum() for a in last)
    wanted = [x, *state, *net.parameters()]
    found = mod.autograd.grad(loss, wanted, create_graph=second)
    if second:
        found = mod.autograd.grad(sum((g * g.cos()).sum() for g in found), wanted)
    return [y.detach().numpy(), *[g.detach().numpy() for g in found]]


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}],
    ids=["plain", "two layers both ways", "no bias"],
)
def test_gradients_are_pytorchs(kind, options, second):
    expected = gradients(torch, kind, second, **options)
    for _ in range(2):
        for a, b in zip(gradients(flambeau, kind, second, **options), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * np.abs(b).max())


def test_only_the_last_cell_is_used():
    def loss(mod):
        mod.manual_seed(0)
        net = mod.nn.LSTM(5, 7)
        x = mod.linspace(-1, 1, 4 * 2 * 5).reshape(4, 2, 5).requires_grad_()
        net(x)[1][1].pow(2).sum().backward()
        return x.grad.numpy()

    np.testing.assert_allclose(loss(flambeau), loss(torch), rtol=1e-4, atol=1e-7)
