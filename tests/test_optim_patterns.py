"""An optimizer's rule runs once for parameters that are alike; what it left is left again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from flambeau.record import patterns

SHAPES = [(3, 2), (2,), (3, 2), (2,), (3, 2), ()]
KINDS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.1, "maximize": True}),
    ("RMSprop", {"lr": 0.1, "centered": True, "momentum": 0.5}),
    ("Adafactor", {"lr": 0.1}),
    ("Rprop", {}),
    ("RAdam", {}),
]


@pytest.fixture
def runs(monkeypatch):
    """The shapes that a rule has run for, from now on."""
    monkeypatch.setattr(patterns, "_patterns", {})
    found = []

    def watch(kind):
        update = kind.update

        def counted(self, param, *args):
            found.append(tuple(param.shape))
            return update(self, param, *args)

        monkeypatch.setattr(kind, "update", counted)
        return found

    return watch


def trained(mod, name, options, steps, scale):
    """Parameters after some steps, each with gradients of another size."""
    g = np.random.default_rng(3)
    params = [mod.nn.Parameter(mod.tensor(g.standard_normal(s).astype(np.float32))) for s in SHAPES]
    optimizer = getattr(mod.optim, name)(params, **options)
    for i in range(steps):
        optimizer.zero_grad()
        x = mod.ones(scale + i)
        sum(((p * p).sum() * (k + 1) * x.mean() for k, p in enumerate(params))).backward()
        optimizer.step()
    return [p.detach().numpy() for p in params]


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_parameters_that_are_alike_are_updated_as_by_pytorch(name, options):
    for ours, theirs in zip(
        trained(flambeau, name, options, 6, 2), trained(torch, name, options, 6, 2), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)


def test_the_rule_runs_once_for_a_shape(runs):
    found = runs(flambeau.optim.Adam)
    trained(flambeau, "Adam", {"lr": 0.01}, 1, 2)
    assert sorted(found) == sorted({*SHAPES})
    # A step that is new because of what came before it has no need of the rule.
    trained(flambeau, "Adam", {"lr": 0.01}, 3, 7)
    assert len(found) == len({*SHAPES})


def test_another_number_that_is_no_run_time_one_is_another_rule(runs):
    found = runs(flambeau.optim.Adam)
    trained(flambeau, "Adam", {"lr": 0.01}, 1, 2)
    before = len(found)
    trained(flambeau, "Adam", {"lr": 0.01, "amsgrad": True}, 1, 2)
    assert len(found) == 2 * before


def test_where_bodies_are_checked_every_rule_runs(runs, monkeypatch):
    from flambeau.record import checking

    found = runs(flambeau.optim.SGD)
    monkeypatch.setattr(checking, "ENABLED", True)
    trained(flambeau, "SGD", {"lr": 0.01}, 2, 2)
    assert len(found) >= 2 * len(SHAPES)


def test_a_gradient_that_is_its_parameter_is_no_pattern():
    def run(m):
        whole = m.nn.Parameter(m.ones(4))
        optimizer = m.optim.Adam([whole], lr=0.1)
        # The gradient is the parameter itself.
        whole.grad = whole.detach()
        optimizer.step()
        return whole.detach().numpy()

    np.testing.assert_allclose(run(flambeau), run(torch), rtol=1e-6)
