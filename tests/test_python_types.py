"""Where a dtype is asked for, Python's own types stand for theirs, as in PyTorch."""

from __future__ import annotations

import pickle

import numpy as np
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
    "views": lambda mod: [
        mod.ones(2).view(float), mod.ones(2).view(dtype=int), mod.view_copy(mod.ones(2), float),
    ],
    "frequencies": lambda mod: [
        mod.fft.fftfreq(3, dtype=float), mod.fft.rfftfreq(3, dtype=float),
        mod.ones(2).nansum(dtype=float), mod.ones(2).nanmean(dtype=float),
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


def test_limits_and_promotion():
    for kind in (float, int, bool, complex):
        found = []
        for mod in (flambeau, torch):
            values: list[object] = []
            for call in (mod.finfo, mod.iinfo):
                try:
                    values.append(repr(call(kind)))
                except TypeError as error:
                    values.append(str(error))
            values += [mod.can_cast(kind, mod.float32), mod.can_cast(mod.float32, kind)]
            values.append(str(mod.promote_types(kind, mod.float32)))
            found.append(values)
        assert found[0] == found[1]


def test_another_type_is_refused():
    with pytest.raises(TypeError):
        flambeau.ones(2, dtype=str)


@pytest.mark.parametrize(
    "call",
    [
        "T.softmax(x, axis=0)", "x.log_softmax(axis=1)", "T.cat([x, x], axis=1)",
        "x.unsqueeze(axis=1)", "T.squeeze(x[None], axis=0)", "x.topk(2, axis=1)[0]",
        "T.sort(x, axis=0, descending=True)[1]",
        "x.cumsum(axis=0)", "T.logsumexp(x, axis=(0, 1), keepdims=True)", "T.sort(a=x, axis=1)[0]",
        "x.unbind(axis=1)[0]", "T.chunk(x, 2, axis=0)[1]", "T.diff(x, axis=0)", "x.nanmean(axis=1)",
        "T.count_nonzero(x, axis=0)", "T.kthvalue(x, 2, axis=1)[0]", "T.quantile(x, 0.3, axis=0)",
        "x.repeat_interleave(2, axis=0)", "T.fft.fft(x, axis=0).real", "T.cummax(x=x, axis=1)[0]",
        "T.tensor_split(x, 2, axis=0)[0]", "T.flatten(x).sum(axis=0)", "x.argsort(axis=0)",
    ],
)  # fmt: skip
def test_numpys_names_of_arguments(call):
    found = []
    for T in (torch, flambeau):
        x = T.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
        found.append(eval(call, {"T": T, "x": x}).tolist())
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_both_names_of_an_argument_are_refused():
    for T in (torch, flambeau):
        with pytest.raises(TypeError):
            T.softmax(T.ones(2, 2), dim=0, axis=0)
