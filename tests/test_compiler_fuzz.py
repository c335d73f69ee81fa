"""Random programs give the same under every tier, and what PyTorch gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import compiler_fuzz
from fuzz_programs import HARD

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
# Programs that once failed, by seed and by what was wrong.
FOUND: dict[int, str] = {}


@settings(
    max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False
)
@given(st.integers(0, 1 << 30))
def test_tiers_agree(seed):
    # Hypothesis draws programs whole: lines are taken out by a reducer of the fuzzer's own.
    failure = compiler_fuzz.check(seed)
    if failure is not None:
        failure = compiler_fuzz.reduced(failure)
        pytest.fail(f"{failure}\n{failure.program.listing()}")


@pytest.mark.parametrize("seed", sorted(FOUND))
def test_found_before(seed):
    assert compiler_fuzz.check(seed) is None


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
