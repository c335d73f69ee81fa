"""When programs become native: after counts of runs, whatever time they took."""

from __future__ import annotations

import sys

import pytest

import flambeau as fl
from flambeau.run import pace, program, tier
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
    # From the third shape on, one plan with run-time sizes serves them all.
    for n in range(5, 10):
        run(n)()
    assert native_runs(monkeypatch, run(11), 4) == [True] * 4


def shorter(monkeypatch, epochs: int) -> list[bool]:
    """Whether the runs of the last, shorter batch of each epoch are native, but for the first."""
    x = fl.ones(12, 5)

    def run(n):
        return (x[:n] * 7 - 1).cos().sinh().sum().item()

    native_runs(monkeypatch, lambda: run(12), 5)
    native_runs(monkeypatch, lambda: run(9), 1)
    found = []
    for _ in range(epochs):
        assert all(native_runs(monkeypatch, lambda: run(12), 5))
        found += native_runs(monkeypatch, lambda: run(9), 1)
    return found


def test_a_shorter_last_batch_is_not_waited_for(monkeypatch):
    fresh(monkeypatch)
    assert shorter(monkeypatch, 4) == [False] * 4


def test_nor_one_whose_plan_needs_kernels_of_its_own(monkeypatch):
    fresh(monkeypatch)
    x = fl.ones(12, 5)

    def run(n, runs):
        return native_runs(
            monkeypatch, lambda: (x[:n] * 7).logcumsumexp(0).cosh().sum().item(), runs
        )

    # Three shapes make a plan, for which the fourth waits.
    for n in (12, 11, 10):
        run(n, 5)
    assert run(9, 1) == [False]
    # That much had been done before it was asked for.
    monkeypatch.setattr(pace, "PATIENCE", pace.now()[1])
    assert all(run(12, 5))
    assert run(9, 1) == [False]


@pytest.mark.parametrize("name", ["PATIENCE", "LOSS"])
def test_it_is_native_when_its_kernels_had_time_or_much_is_lost(monkeypatch, name):
    fresh(monkeypatch)
    monkeypatch.setattr(pace, name, 0)
    assert shorter(monkeypatch, 2) == [True, True]


def test_a_heavy_one_that_is_rare_is_not_waited_for_at_its_first_run(monkeypatch):
    fresh(monkeypatch)
    monkeypatch.setattr(program, "HEAVY", 100)
    x, w = fl.ones(12, 13), fl.ones(13, 4)

    def run(n):
        return native_runs(monkeypatch, lambda: (x[:n] @ w).tanh().cosh().sum().item(), 1)

    assert [run(12), run(12), *[run(12) for _ in range(6)]] == [[False], *[[True]] * 7]
    assert [run(9), run(12), run(9)] == [[False], [True], [True]]


def test_an_interrupt_of_the_wait_costs_no_native_code(monkeypatch):
    fresh(monkeypatch)
    wait = code.Ticket.wait
    interrupts = [0]

    def interrupted(self):
        if not interrupts[0]:
            return wait(self)
        interrupts[0] -= 1
        raise KeyboardInterrupt

    monkeypatch.setattr(code.Ticket, "wait", interrupted)

    def run(n, runs):
        x = fl.ones(n, 7)
        return native_runs(monkeypatch, lambda: (x * 9 - 1).cos().tan().sum().item(), runs)

    def run_interrupted(n):
        interrupts[0] = 1
        with pytest.raises(KeyboardInterrupt):
            run(n, 1)
        assert not interrupts[0]
        # Ends the trace, in which what was interrupted is still recorded.
        fl.ones(1).mul(2).item()

    assert run(3, 3) == [False] * 3
    run_interrupted(3)
    assert run(3, 1) == [True]
    for n in (4, 5):
        run(n, 3)
    # The plan for all shapes.
    run_interrupted(6)
    assert run(7, 1) == [True]


def fresh(monkeypatch) -> None:
    """As if no program had run yet."""
    from flambeau.record import flush, trace
    from flambeau.run import forms

    flush.flush(trace.open_.trace)
    trace.trie.roots.clear()
    trace.trie.count = 0
    trace.renew(trace.open_.trace)
    monkeypatch.setattr(forms, "_forms", {})
    monkeypatch.setattr(pace, "rounds", pace.Rounds())


def test_the_second_round_of_a_loop_is_not_interpreted_again(monkeypatch):
    fresh(monkeypatch)
    monkeypatch.setattr(program, "HEAVY", 100)
    monkeypatch.setattr(pace, "SMALL", 10)
    x, w = fl.ones(11, 13), fl.ones(13, 4)

    def run(*functions, runs=1):
        def body():
            y = x @ w
            for f in functions:
                y = f(y)
            return y.sum().item()

        return native_runs(monkeypatch, body, runs)

    assert run(fl.exp) == [False]
    # Its product was run: the step of a loop whose optimizer has a state now.
    assert run(fl.exp, fl.sin) == [True]
    # That one did not come again: no more of them are compiled on the chance.
    assert run(fl.exp, fl.cos) == [False]
    assert run(fl.exp, fl.sin) == [True]
    assert run(fl.exp, fl.tanh) == [True]


def test_python_gives_the_lock_to_the_loop_while_the_compiler_works():
    # Who holds ``working`` sees the interval outside of the worker's turns.
    with code._worker.working:
        before = sys.getswitchinterval()
    assert code.defer(sys.getswitchinterval).wait() <= min(before, code.TURN)
    with code._worker.working:
        assert sys.getswitchinterval() == before
