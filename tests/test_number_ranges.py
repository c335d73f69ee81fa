"""Python numbers that a tensor's dtype does not hold: wrapped or refused, as in PyTorch."""

from __future__ import annotations

import pytest
import torch

import flambeau

# ``x`` is tensor([3, 5], dtype=uint8), ``z`` are zeros of float16.
ANSWERED = """
t.full_like(x, -9)
t.full((2,), -255, dtype=t.uint8)
t.full((2,), 2.7, dtype=t.uint8)
x.new_full((2,), -9)
x.fill_(-3)
x.fill_(2.5)
x.masked_fill(x > 3, -1)
x.masked_fill_(x > 3, -1)
t.index_fill(x, 0, t.tensor([0]), -3)
x.scatter(0, t.tensor([0]), -3)
t.where(x > 3, x, -2)
t.where(x > 3, x, 2.5)
x + 300
x * -1
300 - x
x == -3
x < -1
x >= 256
x != 259
x == 259
t.zeros(2, dtype=t.int32) == 2**32
t.zeros(2, dtype=t.int64) == 2**32
t.add(x, x, alpha=-1)
t.threshold(x, -1, 0)
t.scalar_tensor(-9, dtype=t.uint8)
t.scalar_tensor(3)
t.tensor([-3], dtype=t.uint8)
t.zeros(2, dtype=t.bool).fill_(5)
z + 70000
t.where(t.tensor([True, False]), z, 1e9)
z.masked_fill(t.tensor([True, False]), float("-inf"))
t.zeros(2, dtype=t.bfloat16).masked_fill(t.tensor([True, False]), -1e9)
t.full((), 70000, dtype=t.float16)
t.zeros(2) + 1e300
""".strip().splitlines()

REFUSED = """
t.full_like(x, 256)
t.full((2,), -256, dtype=t.uint8)
t.full((2,), -2.5, dtype=t.uint8)
t.full((2,), 200, dtype=t.int8)
t.full((2,), 2**31, dtype=t.int32)
t.full((), float("nan"), dtype=t.int32)
t.full((), 1e300, dtype=t.float32)
t.full((2,), 70000, dtype=t.float16)
x.new_full((2,), 300)
x.fill_(300)
x.__setitem__(0, 300)
x.__setitem__(x > 3, 300)
x.masked_fill(x > 3, 300)
t.index_fill(x, 0, t.tensor([0]), 300)
x.scatter(0, t.tensor([0]), 300)
t.where(x > 3, x, 300)
x.clamp(-3, 300)
x.clamp_min(300)
t.add(x, x, alpha=300)
t.addcmul(x, x, x, value=300)
t.threshold(x, 4, 300)
t.nn.functional.pad(x, (1, 1), value=300)
t.scalar_tensor(300, dtype=t.uint8)
t.tensor([300.5], dtype=t.uint8)
t.tensor(float("nan"), dtype=t.int64)
z.fill_(70000)
z.masked_fill(z == 0, -1e9)
t.zeros(2).masked_fill(t.tensor([True, False]), -1e39)
t.zeros(2).clamp(max=1e300)
""".strip().splitlines()


def answer(t, expression, n=2):
    x = t.tensor([3, 5, 5, 5][:n], dtype=t.uint8)
    names = {"t": t, "x": x, "z": t.zeros(n, dtype=t.float16)}
    found = eval(expression, names)  # the expressions are those above
    found = names["x"] if found is None else found
    return found.tolist(), str(found.dtype)


@pytest.mark.parametrize("expression", ANSWERED)
def test_numbers_that_are_taken(expression):
    for _ in range(2):
        assert answer(flambeau, expression) == answer(torch, expression)


@pytest.mark.parametrize("expression", REFUSED)
def test_numbers_that_are_refused(expression):
    with pytest.raises(RuntimeError, match="without overflow"):
        answer(torch, expression)
    with pytest.raises(RuntimeError, match="without overflow"):
        answer(flambeau, expression)


# A call that is taken, and a number for its %s that is not.
LATER = {
    "x.fill_(%s)": (30, 300),
    "x.__setitem__(0, %s)": (30, 300),
    "x.masked_fill(x > 3, %s)": (30, 300),
    "x.scatter(0, t.tensor([0]), %s)": (30, 300),
    "t.where(x > 3, x, %s)": (30, 300),
    "x.clamp_min(%s)": (4, 300),
    "x.clamp(%s, 250)": (4, 300),
    "t.add(x, x, alpha=%s)": (3, 300),
    "t.addcmul(x, x, x, value=%s)": (3, 300),
    "t.threshold(x, 4, %s)": (7, 300),
    "z.fill_(%s)": (7.0, 70000.0),
    "z.masked_fill(z == 0, %s)": (1.0, -1e9),
    "t.zeros(2).clamp(max=%s)": (1.0, 1e300),
    "t.full((2,), %s, dtype=t.uint8)": (3, 300),
}


@pytest.mark.parametrize("call", LATER)
def test_numbers_are_refused_when_the_call_is_known(call):
    taken, refused = LATER[call]
    # Recorded, known, compiled.
    for _ in range(6):
        assert answer(flambeau, call % taken) == answer(torch, call % taken)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="without overflow"):
            answer(flambeau, call % refused)
        assert answer(flambeau, call % taken) == answer(torch, call % taken)


def test_infinite_limits_are_taken():
    for value in (1.0, float("inf"), float("-inf"), float("nan"), 2.0):
        found = [t.zeros(2).masked_fill(t.tensor([True, False]), value) for t in (flambeau, torch)]
        assert str(found[0].tolist()) == str(found[1].tolist())


def test_comparisons_wrap_when_compiled():
    """Every tier, the compiler's included."""

    def run(t):
        x = t.arange(200, dtype=t.uint8)
        return [((x < n) * x).sum().item() for n in (300, 100, -1, 256, 50, 300, 7)]

    assert run(flambeau) == run(torch)
