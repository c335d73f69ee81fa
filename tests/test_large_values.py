"""Functions that go through large values part by part: as in one piece, and as PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "complex64", "bfloat16"])
@pytest.mark.parametrize("at", [0, 1023, 1024, 33791, 33792, 99999, None])
def test_equal_finds_a_difference_wherever_it_is(dtype: str, at: int | None) -> None:
    x = flambeau.ones(100000, dtype=getattr(flambeau, dtype))
    y = x.clone()
    if at is not None:
        y[at] = 0
    assert flambeau.equal(x, y) is (at is None)


def test_equal_of_other_layouts_and_dtypes() -> None:
    x = flambeau.arange(600.0).reshape(20, 30)
    assert flambeau.equal(x.t(), x.t().contiguous())
    assert not flambeau.equal(x.t(), x.t() + (x.t() == 599))
    assert flambeau.equal(x[:, ::2], x[:, ::2].clone())
    assert flambeau.equal(x[:0], x[:0])
    assert not flambeau.equal(x, x[:10])
    nan = flambeau.tensor([float("nan")])
    assert not flambeau.equal(nan, nan)
    assert flambeau.equal(flambeau.tensor([0.0]), flambeau.tensor([-0.0]))
    # Of values that are yet to be computed.
    assert flambeau.equal(x * 2 - x, x)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "float16"])
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 16384, 16385, 40001, 100000])
def test_linspace_in_parts(steps: int, dtype: str) -> None:
    """Symmetric, exact at both ends, and PyTorch's to the last bits."""
    for start, end in ((0, 1), (-3.5, 7.25), (5, -5)):
        ours = flambeau.linspace(start, end, steps, dtype=getattr(flambeau, dtype)).numpy()
        theirs = torch.linspace(start, end, steps, dtype=getattr(torch, dtype)).numpy()
        assert ours.dtype == theirs.dtype
        if dtype == "float16" and steps > 2000:
            # PyTorch counts in 16 bits, which end at 65504.
            theirs = torch.linspace(start, end, steps, dtype=torch.float64).numpy()
        eps = np.finfo(ours.dtype).eps
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2 * eps * max(abs(start), abs(end)))
        if steps > 1:
            assert ours[0] == start and ours[-1] == end


@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
@pytest.mark.parametrize("row", [127, 128, 201])
@pytest.mark.parametrize("col", [0, 1, 9, 300])
def test_places_of_triangles(name: str, row: int, col: int) -> None:
    for offset in (-200, -130, -1, 0, 3, 250, 301):
        ours = getattr(flambeau, name)(row, col, offset)
        theirs = getattr(torch, name)(row, col, offset)
        assert ours.dtype is flambeau.int64
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert getattr(flambeau, name)(row, col, dtype=flambeau.int32).dtype is flambeau.int32
