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
    x = np.arange(40.0, dtype=np.float32)
    for run in range(10):
        start = 3 if run < change else 11
        made = flambeau.tensor(x) * 2
        part = made[start : start + 5]
        # Another program for each: a known one has seen its start change already.
        for _ in range(change):
            part = part + 1
        np.testing.assert_array_equal(part.numpy(), x[start : start + 5] * 2 + change)


# Squares, so that what is read at other places has the right shape all the same.
SQUARES = {
    "turned": lambda m, y: y + y.T,
    "flipped and turned": lambda m, y: y * y.flip(0).T,
    "sums of rows along columns": lambda m, y: y - y.sum(1),
    "maxima of columns along rows": lambda m, y: y - y.amax(0)[:, None],
    "sums of rows and of columns": lambda m, y: y.sum(0) + y.sum(1),
    "a product of maxima": lambda m, y: y.amax(0, keepdim=True).T * y.amin(1, keepdim=True),
    "softmax both ways": lambda m, y: y.softmax(0) * y.softmax(1),
}


@pytest.mark.usefixtures("only_kernels")
@pytest.mark.parametrize("n", [5, 16, 33])
@pytest.mark.parametrize("how", SQUARES)
def test_squares_agree(how, n):
    """What a nest has just made is read at other places, or combined over other dimensions."""
    x = np.random.default_rng(n).standard_normal((n, n)).astype(np.float32)
    agree(lambda m, a: SQUARES[how](m, a * 2), x)


JOINED = {
    "across the seam": lambda m, y: m.cat([y, y + 1], 1)[:, 1 : 1 + y.shape[1]] * 3,
    "before the seam": lambda m, y: m.cat([y, y + 1])[: len(y)].flip(1) * 3,
    "beside the padding": lambda m, y: m.nn.functional.pad(y, (1, 1))[:, 2:] * 3,
    "beside what was written": lambda m, y: _written(m, y)[1:, :-1] * 3,
}


def _written(m, y):
    base = m.zeros(y.shape[0] + 1, y.shape[1] + 1, dtype=y.dtype)
    base[:-1, 1:] = y
    return base


@pytest.mark.usefixtures("only_kernels")
@pytest.mark.parametrize("how", JOINED)
def test_parts_are_whole_before_they_are_read(how):
    x = np.random.default_rng(0).standard_normal((7, 40)).astype(np.float32)
    agree(lambda m, a: JOINED[how](m, a * 2), x)


SLICES = {
    "one after the other": (slice(0, 4), slice(4, 8), slice(9, 12)),
    "with a step, then without": (slice(0, 6, 2), slice(6, 12)),
    "without, then with a step": (slice(0, 3), slice(4, 12, 3)),
    "between each other": (slice(0, 12, 2), slice(1, 12, 2)),
    "over each other": (slice(0, 7), slice(5, 12), slice(6, 8)),
}


@pytest.mark.usefixtures("only_kernels")
@pytest.mark.parametrize("how", SLICES)
def test_gradients_of_slices_go_where_these_were(how):
    x = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
    agree(lambda m, a: m.cat([a[s].exp() for s in SLICES[how]]), x)
    agree(lambda m, a: m.cat([a[:, s].exp() for s in SLICES[how]], 1), x.T.copy())
