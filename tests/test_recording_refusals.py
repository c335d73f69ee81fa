"""What is refused, and when: values found wrong at a flush, results that overlap an operand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import flambeau

F = flambeau.nn.functional

# ----------------------------------------------------------- values that are found wrong late


def _cross_entropy(target: Any) -> Any:
    return F.cross_entropy(flambeau.ones(3, 4), target)


def _nll(target: Any) -> Any:
    return F.nll_loss(flambeau.ones(3, 4), target)


def _embedding(target: Any) -> Any:
    return F.embedding(target, flambeau.ones(4, 2))


LATE = {"cross_entropy": _cross_entropy, "nll": _nll, "embedding": _embedding}


@pytest.mark.parametrize("name", LATE)
def test_a_known_index_is_refused_at_the_call(name):
    with pytest.raises(IndexError, match="out of"):
        LATE[name](flambeau.tensor([0, 1, 4]))


@pytest.mark.parametrize("name", LATE)
@pytest.mark.parametrize("rounds", [1, 6])
def test_a_computed_index_is_refused_with_the_line_of_the_call(name, rounds):
    for k in range(rounds):
        before = flambeau.arange(3.0) * 2
        index = flambeau.tensor([0, 1, 3]) + (k == rounds - 1) * 1
        made = LATE[name](index)
        after = before + 1
        if k < rounds - 1:
            made.tolist()
            continue
        with pytest.raises(IndexError, match="out of") as caught:
            made.tolist()
        line = LATE[name].__code__.co_firstlineno + 1
        assert f"{__file__}:{line} " in caught.value.__notes__[0]
        assert len(caught.value.__notes__) == 1
        # What does not depend on it is there, and it says so whenever it is asked.
        assert after.tolist() == [1.0, 3.0, 5.0]
        assert index.tolist() == [1, 2, 4]
        with pytest.raises(IndexError, match="out of"):
            (made + 1).tolist()


def test_a_computed_probability_is_refused_with_the_line_of_the_call():
    x = flambeau.tensor([0.5]) * 3
    kept = flambeau.ones(2) * 2
    loss = F.binary_cross_entropy(x, flambeau.ones(1))
    with pytest.raises(RuntimeError, match="between 0 and 1") as caught:
        loss.item()
    assert __file__ in caught.value.__notes__[0]
    assert kept.tolist() == [2.0, 2.0]


def test_training_goes_on_after_a_refused_step():
    net = flambeau.nn.Linear(2, 3)
    opt = flambeau.optim.SGD(net.parameters(), 0.1)
    x = flambeau.ones(2, 2)
    for bad in (0, 0, 3, 0):
        before = net.weight.tolist()
        opt.zero_grad()
        target = flambeau.tensor([0, 1]) + bad
        F.cross_entropy(net(x), target).backward()
        if bad:
            with pytest.raises(IndexError):
                opt.step()
            assert net.weight.tolist() == before
        else:
            opt.step()
            assert net.weight.tolist() != before


# --------------------------------------------------------------- ``out`` that overlaps an operand

OUT: dict[str, Callable] = {
    "exp": lambda m, x, b, i, out: m.exp(x, out=out),
    "neg": lambda m, x, b, i, out: m.neg(x, out=out),
    "add": lambda m, x, b, i, out: m.add(x, b, out=out),
    "rsub": lambda m, x, b, i, out: m.sub(b, x, out=out),
    "clamp": lambda m, x, b, i, out: m.clamp(x, 0.1, 0.2, out=out),
    "where": lambda m, x, b, i, out: m.where(x > 0.3, x, b, out=out),
    "lerp": lambda m, x, b, i, out: m.lerp(x, b, 0.3, out=out),
    "addcmul": lambda m, x, b, i, out: m.addcmul(x, b, b, out=out),
    "cumsum": lambda m, x, b, i, out: m.cumsum(x, 0, out=out),
    "renorm": lambda m, x, b, i, out: m.renorm(x, 2, 0, 1.0, out=out),
    "mm": lambda m, x, b, i, out: m.mm(x, b, out=out),
    "triu": lambda m, x, b, i, out: m.triu(x, out=out),
    "sum": lambda m, x, b, i, out: m.sum(x, 0, keepdim=True, out=out[:1]),
    "cat": lambda m, x, b, i, out: m.cat([x[:1], x[1:]], out=out),
    "stack": lambda m, x, b, i, out: m.stack([x[0], x[1], x[2]], out=out),
    "gather": lambda m, x, b, i, out: m.gather(x, 0, i, out=out),
    "index_select": lambda m, x, b, i, out: m.index_select(x, 0, i[0], out=out),
    "take": lambda m, x, b, i, out: m.take(x, i, out=out),
}

# PyTorch does not look, and reads what it has written: the values are what its loops make of it.
LOOSE = {"mm", "triu", "sum"}

PLACES: dict[str, Callable] = {
    "itself": lambda base, x: x,
    "a twin": lambda base, x: base[:9].view(3, 3),
    "turned": lambda base, x: x.t(),
    "a part": lambda base, x: base[3:12].view(3, 3),
    "beside it": lambda base, x: base[20:29].view(3, 3),
    "with gaps": lambda base, x: base[:36].view(6, 6)[:3, :3],
}


def _overlapping(m: Any, call: Callable, place: Callable) -> Any:
    base = m.arange(40.0) / 40
    x = base[:9].view(3, 3)
    out = place(base, x)
    i = m.tensor([[0, 1, 2]] * 3)
    try:
        call(m, x, m.ones(3, 3), i, out)
    except RuntimeError as e:
        assert "single memory location" in str(e), e
        return None
    return out.tolist()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", OUT)
def test_results_that_overlap_an_operand(name, place):
    want = _overlapping(torch, OUT[name], PLACES[place])
    got = _overlapping(flambeau, OUT[name], PLACES[place])
    assert (got is None) == (want is None), ("PyTorch gives", want, "Flambeau", got)
    if got is not None and (place == "beside it" or (place != "with gaps" and name not in LOOSE)):
        np.testing.assert_allclose(got, want, 1e-6)
