"""Runs reduced, ranges that include their end, and the order of dimensions in memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import flambeau


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "max", "min"])
@pytest.mark.parametrize("initial", [None, 3.0])
def test_segment_reduce_agrees_with_torch(reduce, initial):
    def outcome(m: Any) -> tuple[list, list]:
        data = m.tensor([1.0, 5.0, 5.0, 3.5, 3.25, 2.0], requires_grad=True)
        lengths = m.tensor([2, 3, 1])
        found = m.segment_reduce(data, reduce, lengths=lengths, initial=initial)
        (found * m.tensor([1.0, 2.0, 3.0])).sum().backward()
        return found.tolist(), data.grad.tolist()

    ours, theirs = outcome(flambeau), outcome(torch)
    assert ours[0] == pytest.approx(theirs[0])
    assert ours[1] == pytest.approx(theirs[1])


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "max", "min"])
@pytest.mark.parametrize("initial", [None, 3.0])
def test_segments_of_rows_in_batches_some_of_them_empty(reduce, initial):
    def outcome(m: Any) -> list:
        data = m.arange(24.0).sin().reshape(2, 6, 2)
        lengths = m.tensor([[2, 0, 4], [1, 5, 0]])
        found = m.segment_reduce(data, reduce, lengths=lengths, axis=1, initial=initial)
        return found.flatten().tolist()

    assert outcome(flambeau) == pytest.approx(outcome(torch), nan_ok=True)


def test_segments_by_offsets_and_of_fewer_rows():
    for how in ({"offsets": [0, 2, 6]}, {"lengths": [2, 3], "unsafe": True}):
        found = []
        for m in (flambeau, torch):
            where = {k: m.tensor(v) if isinstance(v, list) else v for k, v in how.items()}
            found.append(m.segment_reduce(m.arange(6.0), "sum", **where).tolist())
        assert found[0] == found[1]


@pytest.mark.parametrize(
    "code",
    [
        "segment_reduce(arange(6.0), 'sum')",
        "segment_reduce(arange(6.0), 'no', lengths=tensor([6]))",
        "segment_reduce(arange(6.0), 'sum', lengths=tensor([2, 3]))",
        "segment_reduce(arange(6.0), 'sum', lengths=tensor([-2, 8]))",
        "segment_reduce(arange(6.0), 'sum', lengths=tensor([2.0, 4.0]))",
        "segment_reduce(arange(6), 'sum', lengths=tensor([2, 4]))",
        "segment_reduce(zeros(6, 2), 'sum', lengths=tensor([2, 4]), axis=1)",
        "range(4, 1)",
        "range(0, 1, 0)",
        "range(0, float('inf'))",
        "zeros(1, 2, 3).dim_order(ambiguity_check=True)",
        "zeros(2, 3).dim_order(ambiguity_check='a')",
    ],
)
@pytest.mark.filterwarnings("ignore:torch.range is deprecated")
def test_what_is_refused(code):
    with pytest.raises(Exception) as theirs:
        eval(code, dict(vars(torch)))
    with pytest.raises(type(theirs.value)):
        eval(code, dict(vars(flambeau)))


WHOLE = [(1, 4), (4, 1, -1), (-2, 2), (3, 3), (0, 10, 3)]
BROKEN = [(1, 4, 0.5), (0.0, 1.0, 0.3)]


@pytest.mark.parametrize(
    "arguments, dtype",
    [
        *((a, d) for a in WHOLE for d in (None, "int64", "float64")),
        *((a, d) for a in BROKEN for d in (None, "float64")),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.range is deprecated")
def test_range_includes_its_end(arguments, dtype):
    ours = flambeau.range(*arguments, dtype=dtype and getattr(flambeau, dtype))
    theirs = torch.range(*arguments, dtype=dtype and getattr(torch, dtype))
    assert str(ours.dtype) == str(theirs.dtype)
    assert ours.tolist() == pytest.approx(theirs.tolist())


def test_range_says_that_it_is_deprecated():
    for m in (torch, flambeau):
        with pytest.warns(UserWarning, match="torch.range is deprecated"):
            m.range(0, 1)


@pytest.mark.parametrize(
    "code",
    [
        "zeros(2, 3, 5).dim_order()",
        "zeros(2, 3, 5).transpose(0, 2).dim_order()",
        "zeros(2, 3, 5).permute(2, 0, 1).dim_order(ambiguity_check=True)",
        "zeros(()).dim_order()",
        "zeros(2, 3).expand(4, 2, 3).dim_order()",
        "zeros(2, 1, 1).dim_order()",
        "zeros(1, 2, 3, 4).dim_order(ambiguity_check=[contiguous_format, channels_last])",
        "zeros(2, 3, 4, 5).permute(0, 3, 1, 2).dim_order(ambiguity_check=[channels_last])",
    ],
)
def test_dim_order(code):
    assert eval(code, dict(vars(flambeau))) == eval(code, dict(vars(torch)))
