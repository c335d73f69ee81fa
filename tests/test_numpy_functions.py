"""NumPy's functions of tensors, and tensors on memory that other libraries lend, as in PyTorch."""

from __future__ import annotations

import array
import warnings

import numpy as np
import pytest
import torch

import flambeau

CALLS = {
    "isnan": lambda x: np.isnan(x),
    "sine": lambda x: np.sin(x),
    "array first": lambda x: np.add(np.ones(3), x),
    "scalar first": lambda x: np.float64(2) * x,
    "of integers": lambda x: np.exp(x.long()),
    "without dimensions": lambda x: np.sqrt(x[1]),
    "reduction": lambda x: np.add.reduce(x),
    "running": lambda x: np.add.accumulate(x),
    "two results": lambda x: np.modf(x)[1],
}


@pytest.mark.parametrize("name", CALLS)
def test_numpy_functions_of_tensors_give_tensors(name):
    values = [0.5, 4.0, float("nan")]
    ours = CALLS[name](flambeau.tensor(values[:2] if name == "of integers" else values))
    with warnings.catch_warnings():
        # PyTorch's signature is that of NumPy 1.
        warnings.simplefilter("ignore", DeprecationWarning)
        expected = CALLS[name](torch.tensor(values[:2] if name == "of integers" else values))
    assert isinstance(ours, flambeau.Tensor)
    assert str(ours.dtype) == str(expected.dtype)
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-6)


def test_numpy_functions_refuse_what_records_history():
    with pytest.raises(RuntimeError, match="requires grad"):
        np.sin(flambeau.ones(2, requires_grad=True))


def test_asarray_shares_a_buffer():
    memory = array.array("f", [1.0, 2.0])
    t = flambeau.asarray(memory, copy=False)
    t[0] = 5
    assert list(memory) == [5.0, 2.0]
    apart = flambeau.asarray(memory, copy=True)
    apart[0] = 7
    assert list(memory) == [5.0, 2.0]


@pytest.mark.parametrize("options", [{}, {"copy": True}, {"requires_grad": False}])
@pytest.mark.parametrize("leaf", [True, False])
def test_asarray_and_history(options, leaf):
    found = []
    for lib in (torch, flambeau):
        x = lib.ones(2, requires_grad=True)
        with warnings.catch_warnings():
            # PyTorch tells of a default that changed.
            warnings.simplefilter("ignore", UserWarning)
            y = lib.asarray(x if leaf else x * 2, **options)
        found.append((y.requires_grad, y.is_leaf, type(y.grad_fn).__name__))
    assert found[0] == found[1]
