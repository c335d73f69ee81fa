"""Where PyTorch's kernels round to 16 bits, and where they do not: the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau

DTYPES = ["bfloat16", "float16"]


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def bits(call, arrays, dtype, others=()):
    """The result and the gradient of the first operand, by both, as float64; five runs of ours."""
    found = []
    for mod, runs in ((flambeau, 5), (torch, 1)):
        for _ in range(runs):
            xs = [mod.from_numpy(a.copy()).to(getattr(mod, dtype)) for a in arrays]
            xs += [mod.from_numpy(a.copy()) for a in others]
            x = xs[0].requires_grad_()
            out = call(mod, *xs)
            g = mod.from_numpy(draw(*out.shape, seed=1)).to(out.dtype)
            out.backward(g)
            pair = [y.detach().to(mod.float64).numpy() for y in (out, x.grad)]
        found.append(pair)
    return found


def nearly_all_equal(ours, theirs):
    """All but a few, whose sums were made in another order."""
    for a, b in zip(ours, theirs, strict=True):
        assert (a != b).mean() < 0.02
        np.testing.assert_allclose(a, b, rtol=0, atol=0.01 * np.abs(b).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 33), (40, 64)])
def test_layer_norm_with_parameters_of_32_bits(shape, dtype) -> None:
    n = shape[-1]

    def call(mod, x, *rows):
        return mod.nn.functional.layer_norm(x, (n,), *rows)

    rows = [draw(n, seed=2), draw(n, seed=3)]
    nearly_all_equal(*bits(call, [draw(*shape)], dtype, rows))


@pytest.mark.parametrize("dtype", DTYPES)
def test_layer_norm_in_a_transform(dtype) -> None:
    x = flambeau.from_numpy(draw(5, 3, 8)).to(getattr(flambeau, dtype))

    def loss(row):
        return (flambeau.nn.functional.layer_norm(row, (8,)) ** 2 * 0.5).sum()

    each = flambeau.func.vmap(flambeau.func.grad(loss))(x)
    alone = flambeau.stack([flambeau.func.grad(loss)(row) for row in x])
    assert each.float().tolist() == alone.float().tolist()


PRODUCTS = {
    "addmm": ((7, 5), (7, 16), (16, 5)),
    "addmv": ((7,), (7, 16), (16,)),
    "baddbmm": ((3, 7, 5), (3, 7, 16), (3, 16, 5)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("factors", [{}, {"beta": 0.5, "alpha": 2.0}])
def test_a_product_is_not_rounded_before_the_sum(factors, name, dtype) -> None:
    def call(mod, *xs):
        return getattr(mod, name)(*xs, **factors)

    nearly_all_equal(*bits(call, [draw(*s, seed=4) for s in PRODUCTS[name]], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_group_norm_with_parameters_of_32_bits(dtype) -> None:
    def call(mod, x, *rows):
        return mod.nn.functional.group_norm(x, 3, *rows)

    rows = [draw(6, seed=2), draw(6, seed=3)]
    nearly_all_equal(*bits(call, [draw(4, 6, 5, 5)], dtype, rows))


CONVOLUTIONS = {
    "conv1d": ((2, 6, 20), (5, 6, 3), {}),
    "conv2d": ((2, 6, 9, 9), (5, 6, 3, 3), {"padding": 1}),
    "conv2d in groups": ((2, 6, 9, 9), (6, 2, 3, 3), {"groups": 3}),
    "conv2d of one": ((6, 9, 9), (5, 6, 3, 3), {"stride": 2}),
    "conv3d": ((1, 3, 6, 6, 6), (5, 3, 3, 3, 3), {}),
    "conv_transpose2d": ((2, 6, 9, 9), (6, 5, 3, 3), {"stride": 2}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_is_not_rounded_before_its_bias(name) -> None:
    x, w, how = CONVOLUTIONS[name]

    def call(mod, *xs):
        return getattr(mod.nn.functional, name.split(" ")[0])(*xs, **how)

    bias = 6 if "groups" in name else 5
    nearly_all_equal(*bits(call, [draw(*x), draw(*w), draw(bias)], "bfloat16"))
