"""The lecture programs print what they print under PyTorch, and the same bits every time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

LECTURES = Path(__file__).parents[1] / "examples" / "lectures"
SCRIPTS = sorted(path.name for path in LECTURES.glob("[0-9]*.py"))
NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e[-+]?\d+)?|nan|inf")
RELATIVE = 1e-3


def run(*command):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, env=env, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def options_for(script):
    """Dropout masks are PyTorch's only where PyTorch draws them from its portable generator."""
    return ["--dropout", "0"] if "cnn" in script and not portable_bernoulli() else []


def portable_bernoulli():
    """Whether this PyTorch build compares 53-bit uniforms, rather than call Intel's library."""
    torch.manual_seed(0)
    uniform = torch.rand(256, dtype=torch.float64)
    torch.manual_seed(0)
    return bool(((uniform < 0.5).float() == torch.empty(256).bernoulli_(0.5)).all())


def assert_same_text(ours, theirs):
    """Equal but for numbers, which may differ by rounding."""
    ours, theirs = ours.decode(), theirs.decode()
    assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
    for mine, expected in zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True):
        assert float(mine) == pytest.approx(float(expected), rel=RELATIVE, abs=1e-5)


@pytest.mark.parametrize("script", SCRIPTS)
def test_prints_what_pytorch_prints(script):
    path, options = str(LECTURES / script), options_for(script)
    theirs = run(path, *options)
    ours = run("-m", "flambeau", "run", path, *options)
    assert_same_text(ours, theirs)
    steps = [line for line in theirs.decode().splitlines() if re.match(r"\d+ \S+$", line)]
    assert len(steps) >= 50
    assert float(steps[-1].split()[1]) < float(steps[0].split()[1])


@pytest.mark.parametrize("script", SCRIPTS)
def test_repeats_bit_for_bit(script):
    command = ("-m", "flambeau", "run", str(LECTURES / script), "--steps", "50")
    assert run(*command) == run(*command)


def test_all_lectures_are_there():
    assert len(SCRIPTS) == 13
