"""A tensor of one number, or a number of NumPy's, where a plain number is wanted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau

CALLS = {
    "addmm": lambda t, n, x: t.addmm(x[0], x[0], x[0], beta=n(2), alpha=n(1.5)),
    "add": lambda t, n, x: t.add(x, x, alpha=n(3)),
    "sub_": lambda t, n, x: (x * 1).sub_(x, alpha=n(2)),
    "addcmul": lambda t, n, x: t.addcmul(x, x, x, value=n(0.5)),
    "index_add": lambda t, n, x: t.index_add(x, 0, t.tensor([0]), x[:1], alpha=n(2)),
    "leaky_relu": lambda t, n, x: t.nn.functional.leaky_relu(x - 9, n(0.25)),
    "diff": lambda t, n, x: t.diff(x, n(2)),
    "roll": lambda t, n, x: t.roll(x, n(2), n(1)),
    "hsplit": lambda t, n, x: t.cat(t.hsplit(x, int(n(3)))),
    "pixel_shuffle": lambda t, n, x: t.pixel_shuffle(x.reshape(1, 9, 1, 3), n(3)),
    "vector_norm": lambda t, n, x: t.linalg.vector_norm(x, n(3)),
    "norm": lambda t, n, x: t.linalg.norm(x[0], n(1)),
    "matrix_power": lambda t, n, x: t.linalg.matrix_power(x, n(3)),
    "fft": lambda t, n, x: t.fft.fft(x, n(2)).abs(),
    "conv1d": lambda t, n, x: t.conv1d(x, t.ones(3, 1, 2), groups=n(3)),
    "diag_embed": lambda t, n, x: t.diag_embed(x, offset=n(1)),
    "max_pool1d": lambda t, n, x: t.nn.functional.max_pool1d(x, 2, int(n(1))),
    "polygamma": lambda t, n, x: t.polygamma(n(1), x + 1),
}
NUMBERS = {
    "tensor": lambda t: t.tensor,
    "numpy": lambda t: lambda v: np.int64(v) if isinstance(v, int) else np.float64(v),
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", CALLS)
def test_taken_as_pytorch_does(name, kind):
    answers = []
    for t in (torch, flambeau):
        x = t.arange(27.0).reshape(3, 3, 3) / 9
        try:
            answers.append([CALLS[name](t, NUMBERS[kind](t), x) for _ in range(3)])
        except TypeError as error:
            answers.append(error)
    wanted, found = answers
    if isinstance(wanted, TypeError):
        assert isinstance(found, TypeError)
        return
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.pixel_shuffle(t.ones(1, 4, 2, 2), t.tensor(2.0)),
        lambda t: t.add(t.ones(2), t.ones(2), alpha=t.ones(2)),
        lambda t: t.diff(t.arange(5), t.tensor(2.0)),
    ],
)
def test_refused_where_it_is_no_such_number(call):
    for t in (torch, flambeau):
        with pytest.raises(TypeError, match="must be"):
            call(t)


def test_normalize_over_all():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = flambeau.nn.functional.normalize(flambeau.from_numpy(x), dim=None)
    wanted = torch.nn.functional.normalize(torch.from_numpy(x), dim=None)
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.cumsum(t.ones(2), True),
        lambda t: t.diff(t.arange(3), True),
        lambda t: t.amax(t.ones(2), 0, 1),
        lambda t: t.linalg.cholesky(t.eye(2), upper=1),
    ],
)
def test_numbers_of_another_kind_are_refused(call):
    for t in (torch, flambeau):
        with pytest.raises(TypeError, match="must be"):
            call(t)


def test_attention_broadcasts_its_batches():
    q, k = np.random.default_rng(0).standard_normal((2, 4, 3, 8)).astype(np.float32)
    for rows in (q[:1], q[0]):
        ours, theirs = (
            t.nn.functional.scaled_dot_product_attention(*map(t.from_numpy, (rows, k, k)))
            for t in (flambeau, torch)
        )
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
