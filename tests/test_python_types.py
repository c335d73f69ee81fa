"""Where a dtype is asked for, Python's own types stand for theirs, as in PyTorch."""

from __future__ import annotations

import pickle

import pytest
import torch

import flambeau

CASES = {
    "creation": lambda mod: [
        mod.ones(2, dtype=float), mod.full((2,), 1, dtype=bool), mod.eye(2, dtype=int),
        mod.arange(3, dtype=float), mod.linspace(0, 1, 2, dtype=float),
        mod.tensor([1], dtype=complex), mod.as_tensor([1], dtype=float),
        mod.randint(3, (2,), dtype=int),
        mod.empty(0, dtype=int),
    ],
    "like": lambda mod: [
        mod.zeros_like(mod.ones(2), dtype=bool), mod.ones(2).new_zeros(2, dtype=int),
        mod.full_like(mod.ones(2), 3, dtype=int),
    ],
    "recorded": lambda mod: [
        mod.ones(2).sum(dtype=float), mod.ones(2).mean(dtype=float),
        mod.ones(2).cumsum(0, dtype=int),
        mod.prod(mod.ones(2), dtype=int), mod.nn.functional.softmax(mod.ones(2), 0, dtype=float),
        mod.ones(2).softmax(0, float), mod.log_softmax(mod.ones(2), 0, mod.float64),
    ],
    "conversion": lambda mod: [
        mod.ones(2).to(int), mod.ones(2).to("cpu", bool), mod.ones(2).to(dtype=complex),
        mod.nn.Linear(1, 1, dtype=float).weight.new_ones(1), mod.nn.Linear(1, 1).to(float).bias * 0,
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_dtypes_and_values(kind):
    torch.manual_seed(0)
    flambeau.manual_seed(0)
    for ours, theirs in zip(CASES[kind](flambeau), CASES[kind](torch), strict=True):
        assert str(ours.dtype) == str(theirs.dtype)
        assert ours.tolist() == theirs.tolist()


def test_the_functions_can_still_be_pickled():
    assert pickle.loads(pickle.dumps(flambeau.zeros)) is flambeau.zeros


def test_another_type_is_refused():
    with pytest.raises(TypeError):
        flambeau.ones(2, dtype=str)
