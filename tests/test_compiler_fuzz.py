"""Random programs give the same under every tier, and what PyTorch gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import compiler_fuzz
from fuzz_programs import HARD, FuzzProgram, Input

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
# Programs that once failed: inputs (name, type, shape, values), lines, results.
CASES = {
    "bfloat16 with a number": (
        "w1 bfloat16 15x15, s2 bfloat16 15x15",
        ["S['s2'] = (s2 * 0.9 + w1 * 0.1).detach()"],
        [],
    ),
    "gradient of bfloat16": (
        "w1 bfloat16 1",
        ["v1 = (w1 * 0.3).sin().mean().float()", "look(v1.item())", "v1.backward()"],
        [],
    ),
    "embedding of bfloat16": (
        "w1 bfloat16 7x1, x2 int64 3 index",
        ["v1 = F.embedding(x2, w1, padding_idx=2)"],
        ["v1"],
    ),
    "an input handed through": (
        "w1 float32 2",
        [
            "v1 = w1.mean()",
            "v2 = f.cat([w1.clone(), w1.clone()], 0)",
            "v3 = v2.detach().numpy(); hold(v3)",
            "v1.sum().float().backward()",
        ],
        [],
    ),
    "integers out of range": (
        "x1 uint8 3x3",
        ["v1 = x1 * 100003", "v2 = x1 + 200", "x1.unbind(0)[1].clamp_(-2, 3)"],
        ["v1", "v2", "x1"],
    ),
    "NumPy writes to what a pending value reads": (
        "s1 float32 16",
        ["v1 = s1.amax((0,), keepdim=True)", "v2 = s1.detach().numpy(); v2[...] = v2 * 0.5"],
        ["v1"],
    ),
    "NumPy writes to a copy's source": (
        "s1 float32 3, s2 float32 3",
        ["s2.copy_(s1)", "v1 = s2.detach().numpy(); hold(v1)", "v1[...] = v1 * 0.5"],
        [],
    ),
    "NumPy writes between two reads": (
        "s1 float32 64",
        ["v1 = s1.detach().numpy(); v1[...] = v1 * 0.5", "v2 = (s1 * (0.1 * t) + s1).square()"],
        ["v2"],
    ),
    "values refused in some iterations": (
        "x1 float32 5x3, x2 int64 5 bad",
        [
            "try: v1 = F.cross_entropy(x1, x2)\n"
            "except (IndexError, RuntimeError): v1 = f.ones(()); look('refused')"
        ],
        ["v1"],
    ),
    "a normalised value written to": (
        "w1 float32 5x3",
        ["v1 = F.layer_norm(w1, (3,))", "v1.relu_()", "(v1 * v1).mean().backward()"],
        [],
    ),
    "old values of a view that a backward reads": (
        "w1 float32 1, s2 float32 8x15x15, w3 float32 63",
        [
            "v6 = s2[(t // 6) % 8]",
            "v12 = v6.tanh() * s2 + v6",
            "s2.movedim(1, 0).mul_(w1.tanh())",
            "v14 = f.lerp(v6, v12, 1.5)",
            "look(w3.detach().sum().item())",
            "((v14 * v14).mean() + v6.sum()).backward(retain_graph=True)",
        ],
        [],
    ),
    "a sum read in a wider type": (
        "w1 float32 7x8, x2 int64 1 bad",
        [
            "try: v5 = F.embedding((x2 + x2) - x2, w1).sum()\n"
            "except (IndexError, RuntimeError): v5 = f.ones(()); look('refused')"
        ],
        ["v5.double()"],
    ),
    "a second gradient that begins at what the first has read": (
        "w1 float32 63x1, s2 float32 63x1, w3 float32 1x1",
        [
            "v7 = w1.mT",
            "v8 = w1 + s2",
            "v13 = v8 @ w3.t()",
            "v15 = F.layer_norm(v13, (1,))",
            "with f.no_grad(): v7.flatten(0).mul_(-1.0 + 0.1 * t)",
            "v18 = (v15 * v15).mean() + v7.tanh().sum() + v8.tanh().sum() + v13.sin().mean()",
            "v19 = f.autograd.grad(v18, [w1], create_graph=True)[0].clone()",
            "(v19.sum() + (v15 * 0.3).sin().mean()).backward(retain_graph=True)",
        ],
        [],
    ),
    "history that a refused value had no part in": (
        "w1 float32 3x4, w2 float32 5x3, x3 int64 5 bad",
        [
            "v1 = w2 @ w1",
            "try: v2 = F.cross_entropy(w2 * 1, (x3 + x3) - x3); v2.item()\n"
            "except (IndexError, RuntimeError): v2 = f.ones(()); look('refused')",
            "(v1.tanh().sum() + v2).backward()",
        ],
        ["v2"],
    ),
    "a sum and a mask gone back through twice": (
        "x1 float32 3x4, w2 float32 4x4",
        [
            "v1 = w2.mT",
            "look(x1.sum().item())",
            "v2 = v1.sum()",
            "v2.backward()",
            "v3 = f.triu(w2, 1)",
            "(v3.sum() + v1.sin().mean()).backward()",
            "(v3.sum() + v2.tanh()).backward()",
        ],
        [],
    ),
    "attention of three dimensions written to": (
        "w1 float32 2x4x5, s2 float32 5",
        [
            "v1 = F.scaled_dot_product_attention(w1, w1, w1)",
            "v1.copy_(s2)",
            "(v1.sum() + w1.sin().sum()).backward()",
        ],
        ["v1"],
    ),
    "code compiled anew that writes over no input": (
        "x1 float32 3x1, s2 float32 3x1, w3 float32 1",
        [
            "v1 = (s2 * F.softmax(x1, 1)).sum(1).mean()",
            "v2 = v1.detach().numpy(); hold(v2)",
            "v3 = F.scaled_dot_product_attention(s2, s2, s2)",
            "v3[(t // 6) % 3, :] = w3",
            "v3.sum().backward(retain_graph=True)",
        ],
        [],
    ),
    "the larger of numbers of which one is none": (
        "w1 float32 3, w2 float32 3",
        ["f.maximum(w1, w2 * float('nan')).sum().backward()", "f.minimum(w1, w2).sum().backward()"],
        [],
    ),
    "a number that a backward reads": (
        "w1 bfloat16 3x9, s2 bfloat16 3x9, w3 bfloat16 7, x4 bfloat16 9",
        [
            "v1 = w3 + (-0.3 if t < 6 else -0.3 + 0.5)",
            "v2 = f.atan2(x4.sum((0,)), w1.abs() + 0.5)",
            "look(s2.sum().item())",
            "(v2.tanh().sum().float() + (v1 * 0.3).sin().mean().float())"
            ".backward(retain_graph=True)",
        ],
        [],
    ),
    "products of empty matrices": (
        "s1 float32 2, w2 float32 0x2",
        [
            "v1 = (s1 - s1.mean(0, keepdim=True)) @ w2.t().contiguous()",
            "(w2.unbind(1)[1].tanh().sum() + v1.sum()).backward()",
        ],
        ["v1"],
    ),
}


@pytest.mark.parametrize("text", ["x > 0.2", "x == 0.1", "x <= 0.3", "x != 0.1", "x < 257"])
def test_bfloat16_is_compared_in_its_own_type(text):
    import flambeau

    for f in (flambeau, compiler_fuzz.torch):
        x = f.tensor([0.1, 0.2, 0.3, 256.0, 258.0], dtype=f.bfloat16)
        found = [eval(text, {"x": x}).tolist()]
        if f is flambeau:
            ours = found
    assert ours == found


def test_softplus_of_what_float16_holds():
    import flambeau

    ours, theirs = (
        f.nn.functional.softplus(f.tensor([11.5, 19.0, -3.0], dtype=f.float16)).tolist()
        for f in (flambeau, compiler_fuzz.torch)
    )
    assert ours == theirs


def test_huber_loss_has_the_type_of_its_input():
    import flambeau

    for f in (flambeau, compiler_fuzz.torch):
        x, y = f.ones(3), f.zeros(3, dtype=f.float64)
        assert f.nn.functional.huber_loss(x, y, reduction="none").dtype is f.float32
        assert f.nn.functional.huber_loss(y, x).dtype is f.float64


def case(inputs, lines, results):
    p = FuzzProgram(1, lines=lines, returns=results, reads=(1, 4, 5))
    for text in inputs.split(", "):
        name, dtype, shape, *values = text.split()
        extent = {"index": (0, 7), "bad": (0, 3)}.get(values[0] if values else "", (0, 6))
        p.inputs.append(
            Input(
                name,
                name[0],
                tuple(map(int, shape.split("x"))),
                dtype,
                values[0] if values else "normal",
                low=extent[0],
                high=extent[1],
            )
        )
    p.coarse = "float16" in inputs
    return p


# The same programs each time; ``python benchmarks/fuzz.py`` draws others.
@pytest.mark.parametrize("seed", range(60))
def test_tiers_agree(seed):
    tier = ("auto", "compile")[seed % 2]
    failure = compiler_fuzz.check(seed, ("interpret", tier))
    if failure is not None:
        failure = compiler_fuzz.reduced(failure)
        pytest.fail(f"{failure}\n{failure.program.listing()}")


@pytest.mark.parametrize("name", CASES)
def test_found_before(name):
    failure = compiler_fuzz.judge(case(*CASES[name]))
    assert failure is None, str(failure)


def test_share_of_hard_programs():
    programs = [compiler_fuzz.generate(seed) for seed in range(60)]
    hard = sum(bool(p.kinds & HARD) for p in programs)
    assert hard >= 0.3 * len(programs)
    kinds = set().union(*[p.kinds for p in programs])
    assert kinds >= HARD | {"backward", "optimizer", "in place"}


def test_generation_is_repeatable():
    assert compiler_fuzz.generate(7).listing() == compiler_fuzz.generate(7).listing()


def test_a_planted_fault_is_seen(monkeypatch):
    from flambeau.run import program as tiers

    right = tiers.Program.__call__

    def wrong(self, inputs, numbers, donate=None):
        found = right(self, inputs, numbers, donate)
        if self.native is not None and self.visits > 3:
            found = [a + a.dtype.type(1) if a.dtype.kind == "f" else a for a in found]
        return found

    monkeypatch.setattr(tiers.Program, "__call__", wrong)
    assert any(compiler_fuzz.check(seed) for seed in range(12))


def test_command_line(tmp_path):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "fuzz.py"), "--programs", "3", "--first", "5"],
        capture_output=True,
        text=True,
        env={**os.environ, "FLAMBEAU_CACHE": str(tmp_path)},
        timeout=120,
    )
    assert done.stdout.startswith("3 programs"), done.stdout + done.stderr
