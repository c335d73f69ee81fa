"""Copies of views in row-major order: read where they lie, interleaved, added back to windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from compiled import agree, kernels_of, needs_native
from own_draws import own_draw, rng  # noqa: F401  (a fixture)

pytestmark = needs_native


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    with kernels_of(monkeypatch, frozenset({"unstrided", "as_strided"})):
        yield


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8, np.float16, bool])
@pytest.mark.parametrize("lines", [2, 3, 4])
def test_lines_are_interleaved(lines, dtype):
    for width in (4, 5, 16, 19, 33):
        x = rng.integers(0, 2 if dtype is bool else 100, (3, 2, lines, width)).astype(dtype)
        agree(lambda m, a: (a.transpose(2, 3).reshape(3, -1), a), x, gradients=False)
        agree(lambda m, a: (a[1:, 1].transpose(1, 2).contiguous(), a), x, gradients=False)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_pixels_are_shuffled_and_back(factor):
    x = rng.standard_normal((2, 2 * factor**2, 5, 6)).astype(np.float32)
    agree(lambda m, a: m.nn.functional.pixel_shuffle(a, factor), x)
    x = rng.standard_normal((2, 3, 5 * factor, 6 * factor)).astype(np.float64)
    agree(lambda m, a: m.nn.functional.pixel_unshuffle(a, factor), x)


VIEWS = [
    lambda a: a.unfold(1, 10, 5),
    lambda a: a.unfold(0, 3, 1),
    lambda a: a.unfold(1, 20, 1),
    lambda a: a.unfold(0, 2, 1).unfold(1, 4, 2),
    lambda a: a.as_strided((3, 4, 5), (2, 1, 0), 3),
    lambda a: a.t().unfold(0, 7, 3),
    lambda a: a[2:].unfold(1, 18, 7),
    lambda a: a.as_strided((4, 3), (1, 1)),
    lambda a: a.expand(3, -1, -1),
    lambda a: a[:, ::2],
    lambda a: a.diagonal(),
]


@pytest.mark.parametrize("which", range(len(VIEWS)))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_windows_are_added_back(which, dtype):
    x = rng.standard_normal((7, 40)).astype(dtype)
    agree(lambda m, a: VIEWS[which](a).contiguous(), x)


@pytest.mark.parametrize("which", range(len(VIEWS)))
def test_large_views_of_data_are_read_in_place(which):
    x = rng.standard_normal((200, 300)).astype(np.float32)
    with torch.no_grad(), flambeau.no_grad():
        agree(lambda m, a: (VIEWS[which](a).contiguous(), a), x, gradients=False)
        agree(lambda m, a: (VIEWS[which](a[3:]).contiguous() + 1, a), x, gradients=False)


def test_a_copy_does_not_see_later_writes():
    base = flambeau.zeros(200, 300)
    laid = base.t().contiguous()
    base[3, 4] = 1.0
    again = base.t().contiguous()
    assert (laid.sum().item(), again.sum().item(), again[4, 3].item()) == (0.0, 1.0, 1.0)
    laid[0, 0] = 5.0
    assert base[0, 0].item() == 0.0


def test_a_view_of_memory_that_numpy_holds():
    array = np.zeros((200, 300), np.float32)
    t = flambeau.from_numpy(array)
    laid = t.t().contiguous()
    array[1, 2] = 7.0
    assert laid[2, 1].item() == 0.0
    assert t.t().contiguous()[2, 1].item() == 7.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.int8, np.float16])
@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_elements_a_few_places_apart(step, dtype):
    """Read and written between others, which are not touched, from the first to the very last."""

    def parts(m, a):
        wide = m.zeros(a.shape[0], a.shape[1] * step, dtype=a.dtype)
        wide[:, step - 1 :: step] = a + a
        lines = m.stack([a + k for k in range(step)], 2)
        some = a[:, ::step] + a[:, ::step]
        last = a.reshape(-1)[(a.numel() - 1) % step :: step]
        return wide, lines, some, last * last, a.t()[::step] + 1

    for shape in ((7, 200), (1, 64), (3, 129), (50, 48)):
        x = rng.integers(-50, 50, shape).astype(dtype)
        agree(parts, x, gradients=False)
        if dtype in (np.float32, np.float64):
            agree(lambda m, a: a[:, 1::step] * a[:, 1::step] + 1, x)
