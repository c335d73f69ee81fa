"""Whose memory a gradient is: that of the gradient given where it only changes its shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import flambeau

# (shape of the gradient that is given, what is differentiated)
CASES: dict[str, tuple[tuple[int, ...], Callable]] = {
    "reshape": ((12,), lambda m, a: a.reshape(-1)),
    "ravel": ((12,), lambda m, a: m.ravel(a)),
    "view": ((2, 6), lambda m, a: a.view(12).view(2, 6)),
    "None": ((4, 1, 3), lambda m, a: a[:, None]),
    "unsqueeze": ((1, 4, 3), lambda m, a: a.unsqueeze(0)),
    "the leaf": ((4, 3), lambda m, a: a),
    "transposed": ((3, 4), lambda m, a: a.t()),
    "clone": ((4, 3), lambda m, a: a.clone()),
    "doubled": ((12,), lambda m, a: (a * 2).reshape(-1)),
    "a part": ((2, 3), lambda m, a: a[1:3]),
    "used twice": ((12,), lambda m, a: a.view(-1) + a.view(-1) * 1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("strided", [False, True])
def test_gradients_on_the_memory_given(case, strided):
    found = []
    for m in (torch, flambeau):
        shape, f = CASES[case]
        a = m.arange(12.0).reshape(4, 3).requires_grad_()
        seed = m.arange(1.0, 1 + m.zeros(shape).numel()).reshape(shape)
        if strided:
            seed = m.stack((seed, seed), -1)[..., 0]
        for _ in range(3):
            a.grad = None
            f(m, a).backward(seed)
        facts = [a.grad.data_ptr() == seed.data_ptr(), a.grad.tolist(), a.grad.requires_grad]
        with m.no_grad():
            a.grad.mul_(2)
        f(m, a).backward(seed)
        found.append([*facts, a.grad.tolist(), seed.tolist(), a.grad.is_contiguous()])
    assert found[1] == found[0]


def test_several_leaves_share_the_gradient_given():
    def run(m: Any) -> list:
        a, b = m.ones(2, 3).requires_grad_(), m.ones(3, 2).requires_grad_()
        seed = m.arange(6.0)
        (a.view(-1) + b.view(-1)).backward(seed)
        a.grad.add_(1)
        return [a.grad.tolist(), b.grad.tolist(), seed.tolist()]

    assert run(flambeau) == run(torch)


def test_a_pending_gradient_is_not_shared():
    def run(m: Any) -> list:
        a = m.ones(2, 3).requires_grad_()
        seed = m.arange(6.0) * 2
        a.view(-1).backward(seed)
        return [a.grad.tolist(), seed.tolist()]

    assert run(flambeau) == run(torch)
