"""Tensors that are given other memory: what was recorded, and views, keep what they had."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import flambeau

pytestmark = pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")


def replaced(m: Any, x: Any, how: str) -> None:
    if how == "data":
        x.data = m.ones(3)
    elif how == "data, a view":
        x.data = m.arange(10.0)[2:5]
    elif how == "set_":
        x.set_(m.ones(3))
    elif how == "set_ to nothing":
        x.set_()
    elif how == "resize_":
        x.resize_(4)


WAYS = ["data", "data, a view", "set_", "set_ to nothing", "resize_"]


@pytest.mark.parametrize("how", WAYS)
def test_what_was_recorded_read_the_memory_that_was_there(how: str) -> None:
    def run(m: Any) -> Any:
        found = []
        for _ in range(5):
            x = m.arange(3.0)
            y = x * 2 + 1
            replaced(m, x, how)
            found.append((y.tolist(), tuple(x.shape), y.sum().item()))
        return found

    assert run(flambeau) == run(torch)


# ``resize_`` is refused of a tensor that requires grad.
@pytest.mark.parametrize(
    ("how", "grad"), [*((w, False) for w in WAYS), *((w, True) for w in WAYS if w != "resize_")]
)
def test_views_keep_the_memory_that_they_are_views_of(how: str, grad: bool) -> None:
    def run(m: Any) -> Any:
        x = m.arange(6.0, requires_grad=grad)
        every, matrix, same = x[::2], x.view(2, 3), x.detach()
        with m.no_grad():
            replaced(m, x, how)
            found = [every.tolist(), matrix.tolist()]
            for _ in range(5):
                every.add_(1)
                matrix.mul_(2)
                found += [every.tolist(), same.tolist(), (every + matrix[0, 0]).tolist()]
        return found, x.requires_grad, x.is_leaf

    assert run(flambeau) == run(torch)
    # And nothing of it is left behind.
    assert (flambeau.ones(2) + 1).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("size", [2, 3, 5])
def test_out_of_another_size_stays_in_the_memory_it_is_a_view_of(size: int) -> None:
    def run(m: Any) -> Any:
        base = m.zeros(10)
        part = base[3:7]
        m.add(m.arange(float(size)), 1, out=part)
        part.mul_(2)
        return base.tolist(), part.tolist()

    assert run(flambeau) == run(torch)


def test_out_of_another_size_that_requires_grad_still_does() -> None:
    out = flambeau.zeros(2, requires_grad=True)
    with flambeau.no_grad():
        flambeau.add(flambeau.ones(3), 1, out=out)
    assert out.requires_grad and out.is_leaf and out.tolist() == [2.0] * 3
