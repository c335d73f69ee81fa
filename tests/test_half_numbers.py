"""Numbers beside 16-bit elements are rounded to their type where PyTorch rounds them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau

BESIDE_NUMBERS = {
    "product": lambda m, x, n: (x * n, n * x, m.mul(x, n), x * m.tensor(n)),
    "product of a tensor": lambda m, x, n: (m.tensor(n) * x,),
    "quotient": lambda m, x, n: (x / n, n / x, m.div(x, n), x / m.tensor(n)),
    "sum": lambda m, x, n: (x + n, x - n, n - x, x + m.tensor(n)),
    "scaled sum": lambda m, x, n: (m.add(x, x.flip(0), alpha=n), m.sub(x, x.flip(0), alpha=n)),
    "remainder": lambda m, x, n: (m.fmod(x, n), m.remainder(x, n)),
    "in place": lambda m, x, n: (x.clone().mul_(n), x.clone().div_(n), x.clone().add_(x, alpha=n)),
    "power": lambda m, x, n: (x.abs() ** n,),
    "slope": lambda m, x, n: (m.nn.functional.leaky_relu(x, n),),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", BESIDE_NUMBERS)
def test_numbers_beside_16_bit_elements(name, dtype):
    """To the bit, by each tier (the fourth run is native): a factor is not rounded, a term is."""
    # Whole vectors: what PyTorch's loops leave it scales and adds in two roundings.
    values = np.random.default_rng(0).standard_normal(1024).astype(np.float32)
    # 3e-5 and 1e5 are no float16.
    numbers = [1.3, -0.7] + [3e-5, 1e5] * (name in ("product", "quotient", "slope"))
    for n in numbers:
        x = torch.from_numpy(values).to(getattr(torch, dtype))
        y = flambeau.from_numpy(values).to(getattr(flambeau, dtype))
        theirs = BESIDE_NUMBERS[name](torch, x, n)
        for _ in range(5):
            ours = BESIDE_NUMBERS[name](flambeau, y, n)
            for a, b in zip(ours, theirs, strict=True):
                assert str(a.dtype) == str(b.dtype)
                np.testing.assert_array_equal(a.float().numpy(), b.float().numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_scaled_sum_keeps_nothing_for_backward(dtype):
    """A state that gathers history is differentiated again at each step."""

    def run(m):
        state = m.zeros((), dtype=getattr(m, dtype))
        w = m.tensor(0.5, dtype=getattr(m, dtype), requires_grad=True)
        for _ in range(5):
            state.add_(w, alpha=0.3)
            (state * 0.3).sin().mean().backward()
        return w.grad.item()

    assert run(flambeau) == pytest.approx(run(torch), rel=0.01)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_norm_by_way_of_64_bits_is_rounded_to_16(dtype):
    """Native code from the fourth run: of two conversions LLVM made one, by a function it lacks."""
    for _ in range(6):
        found = [
            m.arange(1, 6).to(getattr(m, dtype)).mul(0.1).norm(dim=0).tanh().sum().item()
            for m in (flambeau, torch)
        ]
        assert found[0] == found[1]
