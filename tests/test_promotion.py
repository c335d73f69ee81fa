"""When programs become native: after counts of runs, whatever time they took."""

from __future__ import annotations

import sys

import pytest

import flambeau as fl
from flambeau.run import program, tier
from flambeau.run.compiler import code
from flambeau.run.program import Program

pytestmark = pytest.mark.skipif(
    tier.chosen() != "auto", reason="the other tiers do not change between runs"
)


def native_runs(monkeypatch: pytest.MonkeyPatch, body, runs: int) -> list[bool]:
    """Whether each run of ``body``, one program, was native."""
    seen: list[bool] = []
    interpret = Program.interpret

    def noted(self, inputs, numbers):
        seen.append(False)
        return interpret(self, inputs, numbers)

    monkeypatch.setattr(Program, "interpret", noted)
    results = []
    for _ in range(runs):
        before = len(seen)
        body()
        assert len(seen) <= before + 1
        results.append(len(seen) == before)
    return results


def test_a_light_program_is_interpreted_three_times(monkeypatch):
    x = fl.ones(11, 13)
    assert native_runs(monkeypatch, lambda: (x * 3 + 1).exp().sum().item(), 6) == [
        *[False] * 3,
        *[True] * 3,
    ]


def test_a_heavy_program_is_waited_for_when_it_repeats(monkeypatch):
    monkeypatch.setattr(program, "HEAVY", 100)
    x = fl.ones(11, 13)
    assert native_runs(monkeypatch, lambda: (x * 3 - 1).exp().sum().item(), 4) == [
        False,
        True,
        True,
        True,
    ]


def test_other_shapes_of_a_native_program_are_native_from_the_second_run(monkeypatch):
    def run(n):
        x = fl.ones(n, 7)
        return lambda: (x * 5 - 1).exp().sin().sum().item()

    assert native_runs(monkeypatch, run(3), 4) == [False, False, False, True]
    assert native_runs(monkeypatch, run(4), 3) == [False, True, True]
    # Shapes that do not come again are not compiled for long.
    for n in range(5, 10):
        run(n)()
    assert native_runs(monkeypatch, run(11), 4) == [False, False, False, True]


def test_python_gives_the_lock_to_the_loop_while_the_compiler_works():
    # Who holds ``working`` sees the interval outside of the worker's turns.
    with code._worker.working:
        before = sys.getswitchinterval()
    assert code.defer(sys.getswitchinterval).wait() <= min(before, code.TURN)
    with code._worker.working:
        assert sys.getswitchinterval() == before
