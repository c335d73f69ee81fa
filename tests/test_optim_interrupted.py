"""Ctrl-C in the middle of an optimizer's step: it is taken wholly, or not at all."""

from __future__ import annotations

import copy
import os

import pytest

import flambeau
from test_recording_cases import PACKAGE, interrupted_at

FILES = tuple(
    os.path.join(PACKAGE, *parts)
    for parts in (
        ("optim", ""),
        ("record", "update.py"),
        ("record", "flush.py"),
        ("record", "commit.py"),
    )
)
OPTIMIZERS = {
    "Adam": {"lr": 0.1},
    "NAdam": {"lr": 0.1},
    "ASGD": {"lr": 0.1, "t0": 2},
    "SGD": {"lr": 0.1, "momentum": 0.9},
}


def made(name):
    flambeau.manual_seed(0)
    leaves = [flambeau.nn.Parameter(flambeau.randn(n)) for n in (3, 4, 5)]
    optimizer = getattr(flambeau.optim, name)(leaves, **OPTIMIZERS[name])
    return leaves, optimizer


def step(leaves, optimizer):
    for p in leaves:
        p.grad = p.detach() * 0.5 + 1
    optimizer.step()


def seen(leaves, optimizer):
    state = optimizer.state_dict()["state"]
    kept = [{k: v if v is None else flambeau.as_tensor(v).tolist() for k, v in s.items()}
            for s in state.values()]  # fmt: skip
    return [p.tolist() for p in leaves], kept


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("taken", [2, 6])
def test_a_step_is_taken_wholly_or_not_at_all(name, taken):
    """``taken`` steps come before: one the long way, and one as all that follow."""
    leaves, optimizer = made(name)
    for _ in range(taken):
        step(leaves, optimizer)
    line = 1
    while True:
        before = seen(leaves, optimizer)
        twins, twin = made(name)
        for p, q in zip(twins, leaves, strict=True):
            p.data.copy_(q.detach())
        twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        step(twins, twin)
        after = seen(twins, twin)
        for p in leaves:
            p.grad = p.detach() * 0.5 + 1
        came = interrupted_at(line, optimizer.step, FILES)
        flambeau.set_grad_enabled(True)
        assert near(seen(leaves, optimizer), before) or near(seen(leaves, optimizer), after), line
        if not came:
            break
        line += 1
    assert line > 20


def near(ours, theirs):
    (values, states), (others, known) = ours, theirs
    flat = [x for v in values for x in v] + [x for s in states for v in s.values() for x in many(v)]
    rest = [x for v in others for x in v] + [x for s in known for v in s.values() for x in many(v)]
    return flat == pytest.approx(rest, rel=1e-6)


def many(x):
    return x if isinstance(x, list) else [x]


@pytest.mark.parametrize("name", ["Adam", "NAdam", "ASGD"])
def test_a_refused_step_counts_nothing(name):
    """The loss is refused when the step needs it; the next step is the one that it was to be."""
    found = []
    for refused in (False, True):
        leaves, optimizer = made(name)
        for k in range(5):
            if refused and k in (0, 3):
                optimizer.zero_grad()
                bad = flambeau.nn.functional.cross_entropy(
                    flambeau.stack([leaves[0], leaves[0]]), flambeau.tensor([0, 7]).add(0)
                )
                bad.backward()
                with pytest.raises(IndexError):
                    optimizer.step()
            step(leaves, optimizer)
        found.append(seen(leaves, optimizer))
    assert near(*found)
