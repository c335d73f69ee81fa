"""Division and common divisors of integers: the kernels do what PyTorch and NumPy do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from compiled import kernels_of, needs_native
from flambeau.ir import binary, numeric  # noqa: F401  (they declare what is asked for here)
from flambeau.ir.primitive import PRIMITIVES

pytestmark = [
    needs_native,
    pytest.mark.filterwarnings("ignore:(overflow|divide by zero) encountered:RuntimeWarning"),
]
NAMES = frozenset({"floor_divide", "remainder", "fmod", "trunc_divide", "gcd", "lcm"})
DTYPES = ["int64", "int32", "int16", "int8", "uint8"]
CALLS = {
    "floor_divide": lambda m, x, y: m.floor_divide(x, y),
    "remainder": lambda m, x, y: m.remainder(x, y),
    "fmod": lambda m, x, y: m.fmod(x, y),
    "trunc_divide": lambda m, x, y: m.div(x, y, rounding_mode="trunc"),
    "gcd": lambda m, x, y: m.gcd(x, y),
    "lcm": lambda m, x, y: m.lcm(x, y),
}


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    with kernels_of(monkeypatch, NAMES):
        yield


def of_all_lengths(g, n, dtype):
    """Random bits of random lengths."""
    info = np.iinfo(dtype)
    bits = g.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
    return bits >> g.integers(0, info.bits, n).astype(dtype)


def operands(dtype):
    """Edges with each other; numbers of all lengths; numbers beside multiples."""
    info = np.iinfo(dtype)
    edges = [
        0, 1, -1, 2, -2, 3, -3, 7, 100, info.min, info.min + 1, info.max, info.max - 1, 1 << 31,
        1 << 52, (1 << 52) + 1, (1 << 53) + 1, -(1 << 53) - 1, 1 << 62, -(1 << 62), 10**18 + 9,
    ]  # fmt: skip
    edges = np.array([n for n in edges if info.min <= n <= info.max], dtype)
    x, y = (m.reshape(-1) for m in np.meshgrid(edges, edges))
    g = np.random.default_rng(0)
    a, b, c = (of_all_lengths(g, 4001, dtype) for _ in range(3))
    beside = (a * b + g.integers(-2 * (info.min < 0), 3, 4001).astype(dtype)).astype(dtype)
    return np.concatenate([x, a, beside]), np.concatenate([y, c, b])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_whole_numbers(name, dtype):
    x, y = operands(dtype)
    if name not in ("gcd", "lcm"):
        x, y = x[y != 0], y[y != 0]
    found = CALLS[name](flambeau, flambeau.from_numpy(x), flambeau.from_numpy(y)).numpy()
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, PRIMITIVES[name].reference(x, y))
    # The least number has no size that PyTorch's processor could divide by.
    least = np.iinfo(dtype).min
    usual = (x != least) & (y != least) if least else np.full(x.shape, True)
    theirs = CALLS[name](torch, torch.from_numpy(x[usual]), torch.from_numpy(y[usual])).numpy()
    np.testing.assert_array_equal(found[usual], theirs)


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod", "trunc_divide"])
def test_by_a_number(name):
    x = np.arange(-50, 51)
    for number in (3, -7, 1, 1 << 40):
        found = CALLS[name](flambeau, flambeau.from_numpy(x), number).numpy()
        np.testing.assert_array_equal(found, CALLS[name](torch, torch.from_numpy(x), number))
        turned = CALLS[name](flambeau, flambeau.tensor(number), flambeau.from_numpy(x[x != 0]))
        theirs = CALLS[name](torch, torch.tensor(number), torch.from_numpy(x[x != 0]))
        np.testing.assert_array_equal(turned.numpy(), theirs)


def test_broadcast_and_strided():
    x, y = np.arange(-60, 60).reshape(12, 10), np.arange(1, 13).reshape(12, 1)
    for m in (flambeau, torch):
        a, b = m.from_numpy(x), m.from_numpy(y)
        found = [(a.t() // b.t()).numpy(), (a[::2, 1::3] % b[::2]).numpy(), m.gcd(a, b).numpy()]
        if m is flambeau:
            ours = found
    for one, other in zip(ours, found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod", "trunc_divide"])
def test_division_by_zero_is_refused(name):
    for m in (flambeau, torch):
        x, y = m.arange(100), m.arange(100).flip(0)
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            CALLS[name](m, x, y).tolist()
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            CALLS[name](m, x, 0).tolist()
        # Nothing is changed by a call that was refused.
        assert CALLS[name](m, x, y + 1).tolist() == CALLS[name](torch, *_plain(x, y)).tolist()


def _plain(x, y):
    return torch.tensor(x.tolist()), torch.tensor(y.tolist()) + 1


@pytest.mark.parametrize("name", CALLS)
def test_of_nothing(name):
    x = flambeau.zeros(0, 3, dtype=flambeau.int64)
    assert CALLS[name](flambeau, x, x).tolist() == []
