"""Parts of what a program has made are read where they lie, by every kind of kernel."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from compiled import agree, needs_native, only_kernels  # noqa: F401  (a fixture)

pytestmark = needs_native

PARTS = {
    "rows": lambda b: b[..., 1:, :],
    "columns": lambda b: b[..., 2:],
    "a matrix of each": lambda b: b[:, 1],
    "a row as a column": lambda b: b[..., 2:3, :].transpose(-1, -2),
    "the end of the stack": lambda b: b[1:],
    "every other": lambda b: b[..., 1::2, :],
}
READERS = {
    "product": lambda m, p: p @ m.ones(p.shape[-1], 4),
    "product from the right": lambda m, p: m.ones(3, p.shape[-2]) @ p,
    "product with itself": lambda m, p: p @ p.transpose(-1, -2),
    "running sum": lambda m, p: p.cumsum(-2),
    "softmax": lambda m, p: p.softmax(-1),
    "sum": lambda m, p: p.sum(-1),
    "positions": lambda m, p: p.argmax(-2).to(p.dtype) + p.amax(-2),
    "pooling": lambda m, p: m.nn.functional.max_pool2d(p.flatten(0, -3)[None], 1),
    "look-up": lambda m, p: p.flatten(0, -2)[m.tensor([1, 0, 1])],
    "flipped": lambda m, p: p.flip(-1) * 2,
    "joined": lambda m, p: m.cat([p, p + 1]),
    "padded and cropped": lambda m, p: m.nn.functional.pad(p, (-1, 2), value=0.5),
}


@pytest.mark.usefixtures("only_kernels")
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("reader", READERS)
def test_agrees(reader, part):
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 6)).astype(np.float32)

    def f(m, a):
        # Wanted besides, so that it lies in memory as a whole.
        made = a * 2
        return READERS[reader](m, PARTS[part](made)), made

    agree(f, x)


@pytest.mark.parametrize("change", range(1, 8))
def test_a_start_that_changes_at_any_run(change):
    """Before a program is compiled, while it is, when its code is taken, and later."""
    x = np.arange(40.0, dtype=np.float32) + change
    for run in range(10):
        start = 3 if run < change else 11
        made = flambeau.tensor(x) * 2
        part = made[start : start + 5] + 1
        np.testing.assert_array_equal(part.numpy(), x[start : start + 5] * 2 + 1)
