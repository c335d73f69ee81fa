"""``FLAMBEAU_CHECK_MACROS=1`` runs every body again at every call, and finds the impure ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau
from flambeau.ir.graph import Aval, Const, Entry
from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import checking

HERE = Path(__file__).parent

TRAINING = """
import flambeau as torch
from flambeau import nn
from flambeau.record.checking import ENABLED

assert ENABLED
F = nn.functional
torch.manual_seed(0)

def train(net, opt, x, y, loss, steps=5):
    first = None
    for _ in range(steps):
        opt.zero_grad()
        l = loss(net(x), y)
        l.backward()
        opt.step()
        first = l.item() if first is None else first
    assert l.item() < first, (l.item(), first)

perceptron = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Linear(16, 3))
x, y = torch.randn(32, 4), torch.randint(0, 3, (32,))
train(perceptron, torch.optim.AdamW(perceptron.parameters(), 0.01), x, y, F.cross_entropy)

image = nn.Sequential(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4), nn.ReLU(inplace=True),
                      nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))
x, y = torch.randn(8, 1, 8, 8), torch.randn(8, 2)
train(image, torch.optim.SGD(image.parameters(), 0.01, momentum=0.9), x, y, F.mse_loss)

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.names, self.layer = nn.Embedding(10, 8), nn.TransformerEncoderLayer(8, 2, 16, 0.0)
        self.out = nn.Linear(8, 10)
    def forward(self, i):
        return self.out(self.layer(self.names(i))).flatten(0, 1)

net = Attention()
i = torch.randint(0, 10, (5, 3))
opt = torch.optim.Adam(net.parameters(), 0.01)
train(net, opt, i, i.flatten(), F.cross_entropy)

recurrent, head = nn.LSTM(3, 6), nn.Linear(6, 1)
opt = torch.optim.RMSprop([*recurrent.parameters(), *head.parameters()], 0.01)
train(lambda x: head(recurrent(x)[0]), opt, torch.randn(7, 2, 3), torch.zeros(7, 2, 1), F.l1_loss)

w = torch.ones(3, requires_grad=True)
for _ in range(4):
    (g,) = torch.autograd.grad((w**3).sum(), [w], create_graph=True)
    g.sum().backward()
    with torch.no_grad():
        w[1:] -= 0.1 * w.grad[1:]
print("trained")
"""

IMPURE = """
import flambeau
from flambeau.record.macro import function, ops

factor = [1.0]

@function
def grown(input: flambeau.Tensor) -> flambeau.Tensor:
    factor[0] += {step}
    return ops.mul(input, factor[0])

for _ in range(3):
    print(grown(flambeau.ones(2)).tolist())
"""


def run(code: str, check: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "FLAMBEAU_CHECK_MACROS": check, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *(("-c", code) if code else arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE.parent)


def test_training_programs_have_pure_bodies():
    done = run(TRAINING, "1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["trained"]


def test_a_part_of_the_suite_has_pure_bodies():
    files = [HERE / name for name in ("test_quick_steps.py", "test_pointwise.py")]
    options = ["-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    done = run("", "1", *options, *map(str, files))
    assert done.returncode == 0, done.stdout[-3000:]


def test_an_interrupted_body_changes_nothing():
    # In this mode the bodies of a step run each time, and Ctrl-C may come at any of their lines.
    name = "test_recording_cases.py::test_an_interrupted_step_was_done_once_or_not_at_all"
    done = run("", "1", "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(HERE / name))
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(("step", "check"), [(1.0, "1"), (1.0, "0"), (0.0, "1")])
def test_an_impure_body_is_found(step, check):
    done = run(IMPURE.format(step=step), check)
    if step and check == "1":
        assert done.returncode == 1
        assert "AssertionError: grown: the body records something else" in done.stderr
        # The first call is right, whatever comes after.
        assert done.stdout.split("\n")[0] == "[2.0, 2.0]"
    else:
        # Not looked for, the first body's result is what is remembered: why bodies must be pure.
        assert done.returncode == 0
        assert len(set(done.stdout.split("\n")[:3])) == 1


def entry(**changes):
    a = Aval((2,), flambeau.float32)
    parts = {"prim": PRIMITIVES["mul"], "inputs": (0, Const(2.0)), "outputs": (1,), "attrs": {},
             "in_avals": (a, Aval((), None)), "out_avals": (a,), "grad": True}  # fmt: skip
    return Entry(**{**parts, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"prim": PRIMITIVES["add"]},
        {"inputs": (0, Const(3.0))},
        {"inputs": (0, Const(2))},
        {"inputs": (1, Const(2.0))},
        {"outputs": (2,)},
        {"attrs": {"dim": 1}},
        {"out_avals": (Aval((3,), flambeau.float32),)},
        {"out_avals": (Aval((2,), flambeau.float64),)},
        {"grad": False},
    ],
)
def test_entries_that_differ(changes):
    assert checking.same(entry(), entry())
    assert not checking.same(entry(), entry(**changes))
