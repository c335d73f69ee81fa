"""Operators beside PyTorch's: what they refuse, dtypes, degenerate values, lower-level names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from beside_torch import compare
from own_draws import own_draw, rng  # noqa: F401  (a fixture)

RNG = np.random.default_rng(0)
ARRAYS = {
    "x": RNG.standard_normal((2, 4, 3)),
    "image": RNG.standard_normal((2, 3, 4, 5)),
    "places": RNG.uniform(-1.2, 1.2, (2, 3, 3, 2)),
    "volume": RNG.standard_normal((1, 2, 3, 4, 5)),
    "points": RNG.uniform(-1.2, 1.2, (1, 2, 2, 2, 3)),
    "w": RNG.standard_normal(4),
    "b": RNG.standard_normal(4),
    "w3": RNG.standard_normal(3),
    "i": np.array([[3, -1, 2], [1, 1, 0]]),
    "j": np.array([[-5, 2, 7], [0, 1, -3]]),
    "s": np.array([[1, -1, 1], [-1, 1, 1]]),
    "t": np.array([1, -1]),
    "p": np.array([[True, False, True], [False, True, True]]),
    "q": np.array([[True, True, True], [False, False, True]]),
    "c": RNG.standard_normal((2, 3)) * 3 + 3j * RNG.standard_normal((2, 3)),
    "zeros": np.array([0.0, 0.0, 2.0, -1.0]),
    "powers": np.array([3.0, 0.0, 1.5, 2.0]),
    "none": np.zeros((0, 3)),
}
CALLS = """
torch.native_layer_norm(x, (4, 3), None, None, 1e-3)
torch.native_layer_norm(x, (3,), w3, None, 0.5); torch.native_group_norm(x, w, b, 2, 4, 3, 2, 0.1)
torch.native_group_norm(x, None, None, 2, 4, 3, 4, 1)
torch.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-3)
torch.native_batch_norm(x, w, None, b.detach(), b.detach() ** 2, False, 0.1, 1e-3)
torch.grid_sampler(image, places, 0, 1, True); torch.grid_sampler_2d(image, places, 2, 0, False)
torch.grid_sampler_3d(volume, points, 0, 2, False); torch.hash_tensor(x.detach())
i.hash_tensor(1); torch.hash_tensor(i, (0, 1), keepdim=True); p.hash_tensor(0); zeros ** powers
2.0 ** powers; c.logcumsumexp(1); x.logcumsumexp(1)
torch.nn.functional.rms_norm(c, (3,), eps=0.5); torch.linspace(4.3, -3, 9, dtype=torch.int64)
torch.logspace(0, 1.2, 3, dtype=torch.int64); torch.diff(x, 0, 1, x[:, :1])
torch.linalg.norm(none, 'nuc'); torch.linalg.norm(none, 1); torch.linalg.norm(none, inf)
torch.linalg.norm(none, 2); p.sum_to_size(1, 3); p[0, 0].sum_to_size(()); p.sum_to_size(2, 3)
"""
INTEGERS = """
margin_ranking_loss(i, j, s); poisson_nll_loss(i, j); pairwise_distance(i, j)
local_response_norm(i[None], 2); margin_ranking_loss(i, j, s, margin=0.5, reduction='none')
triplet_margin_loss(i, j, s); cosine_embedding_loss(i, j, t, reduction='none')
cosine_embedding_loss(p, q, t, reduction='none'); avg_pool1d(j, 2, 1); avg_pool2d(j[None], 2, 1)
avg_pool2d(j[None], 2, 1, divisor_override=-3); poisson_nll_loss(i, j, log_input=True, full=True)
"""


def listed(text: str) -> list[str]:
    return [call.strip() for line in text.strip().splitlines() for call in line.split("; ")]


@pytest.mark.parametrize("call", listed(CALLS))
def test_calls(call):
    second = not any(name in call for name in ("native", "grid", "hash"))
    compare(call, ARRAYS, second=second)


@pytest.mark.parametrize("call", listed(INTEGERS))
def test_integers_in_losses_and_pools(call):
    compare(f"torch.nn.functional.{call}", ARRAYS, tolerance=1e-6)


def both(call: str, **names):
    """What a call written with ``torch`` gives or raises in both libraries."""
    found = []
    for library in (flambeau, torch):
        try:
            found.append(eval(call, {"torch": library, "np": np, **names}))
        except Exception as error:
            found.append(error)
    return found


REFUSED = """
torch.eq(2, torch.ones(2)); torch.lt(2, 3); torch.ge(2, torch.ones(2))
torch.fmod(2, torch.ones(2)); torch.fmod(2, 3); torch.remainder(2, 3); torch.pow(2, 3)
torch.rsub(2, 3); torch.rsub(2, torch.ones(2)); torch.bitwise_and(2, 3)
torch.bitwise_left_shift(2, 3); torch.Tensor.__radd__(2, torch.ones(2))
torch.Tensor.__rand__(2, 3); torch.linspace(0, 3, 1.0); torch.logspace(0, 3, 1.0)
torch.linspace(0, 3, True); torch.hash_tensor(torch.ones(2), mode=1)
torch.hash_tensor(torch.ones(0)); torch.hash_tensor(torch.ones(0, 2), 0)
torch.hash_tensor(torch.ones(2) * 1j); torch.empty_strided((2,), (1, 2))
torch.empty_strided((2,), (-1,)); torch.empty_strided((-2,), (1,))
torch.empty_permuted((2, 3), (0,)); torch.empty_permuted((2, 3), (0, 5))
torch.empty_permuted((2, 3), (0, 0)); torch.linalg.norm(torch.ones(0, 3), -float('inf'))
torch.linalg.norm(torch.ones(0, 3), -2)
torch.native_group_norm(torch.ones(2, 4, 3), None, None, 2, 4, 3, 3, 0.1)
torch.native_group_norm(torch.ones(2, 4, 3), None, None, 2, 4, 4, 2, 0.1)
torch.native_layer_norm(torch.ones(2, 3), (), None, None, 0.1)
torch.grid_sampler_2d(torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 1, 1, 3), 0, 0, False)
"""


@pytest.mark.parametrize("call", listed(REFUSED))
def test_refused(call):
    ours, theirs = both(call)
    assert isinstance(theirs, Exception)
    assert isinstance(ours, type(theirs)), ours


OTHER_DTYPE = """
torch.abs(x, out=d); torch.floor(x, out=d); torch.gather(x, 0, i, out=d); torch.amax(x, 0, out=d)
torch.argmax(x, 0, out=torch.empty(0, dtype=torch.int32)); torch.multinomial(x.abs(), 1, out=d)
torch.mm(x[None], x[:, None], out=d); torch.where(x > 0, x, x, out=d)
torch.cummax(x, 0, out=(d, n)); torch.aminmax(x, dim=0, out=(d, d))
torch.complex(x, x, out=torch.empty(0, dtype=torch.complex128)); torch.any(x, out=n)
torch.linalg.det(torch.eye(2), out=d); torch.linalg.vector_norm(x, out=d); torch.exp(x, out=d)
torch.add(x, x, out=d); torch.sum(x, 0, out=d); torch.cumsum(x, 0, out=d)
torch.fft.fft(x, out=torch.empty(0, dtype=torch.complex128)); torch.cat([x, x], out=d)
torch.eq(x, x, out=n)
"""


@pytest.mark.parametrize("call", listed(OTHER_DTYPE))
def test_out_of_another_dtype_is_refused_or_converted_to(call):
    """Which functions convert differs from function to function."""
    found = []
    for library in (flambeau, torch):
        names = {
            "torch": library,
            "x": library.tensor([1.0, -2.5, 3.0]),
            "i": library.tensor([2, 0, 1]),
            "n": library.empty(0, dtype=library.int64),
            "d": library.empty(0, dtype=library.float64),
        }
        try:
            result = eval(call, names)
        except RuntimeError:
            found.append(("refused", 0))
        else:
            found.append((str(result.dtype), result.tolist()))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)


def test_out_takes_no_memory_of_inputs():
    x, mask = flambeau.arange(6.0), flambeau.arange(6) % 2 == 0
    for call in (
        lambda: flambeau.kthvalue(x, 2, out=(x, flambeau.empty(0, dtype=flambeau.int64))),
        lambda: flambeau.masked_select(x, mask, out=x),
        lambda: flambeau.masked_select(mask, mask, out=mask),
    ):
        with pytest.raises(RuntimeError, match="unsupported operation"):
            call()
    assert x.tolist() == [0, 1, 2, 3, 4, 5]


def test_memory_of_numpy_does_not_grow():
    array = np.zeros(2, np.float32)
    for library in (flambeau, torch):
        t = library.from_numpy(array)
        with pytest.raises(RuntimeError, match="not resizable"):
            t.resize_(5)
        assert tuple(library.from_numpy(array).resize_(1).shape) == (1,)


@pytest.mark.parametrize("values", [[1.0, float("nan"), 2.0], [float("nan")] * 2, [3.0, 1.0, 3.0]])
@pytest.mark.parametrize("name", ["min", "max", "amin", "median"])
def test_gradient_of_an_extreme_with_nan(name, values):
    grads = []
    for library in (flambeau, torch):
        x = library.tensor(values, requires_grad=True)
        getattr(library, name)(x).backward()
        grads.append(x.grad.tolist())
    np.testing.assert_equal(*grads)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_default_eps_of_rms_norm(dtype):
    results = []
    for library in (flambeau, torch):
        x = library.tensor([[1e-4, 2e-4, -3e-4]], dtype=getattr(library, dtype))
        results.append(library.nn.functional.rms_norm(x, (3,)).to(library.float64).tolist())
    np.testing.assert_allclose(*results, rtol=1e-6)


@pytest.mark.parametrize("name", ["var_mean", "layer_norm", "batch_norm", "group_norm"])
def test_sixteen_bits_round_once(name):
    """Gradients within the rounding of bfloat16 of those of float64."""
    values = rng.standard_normal((4, 6, 5)) * 4 - 5
    weight = rng.standard_normal((4, 6, 5))

    def gradient(library, dtype):
        x = library.tensor(values, dtype=dtype).requires_grad_(True)
        F = library.nn.functional
        y = {
            "var_mean": lambda: library.var_mean(x, 1)[0],
            "layer_norm": lambda: F.layer_norm(x, (5,)),
            "batch_norm": lambda: F.batch_norm(x, None, None, training=True),
            "group_norm": lambda: F.group_norm(x, 2),
        }[name]()
        (y * library.tensor(weight[:, : y.shape[1]] if y.dim() == 3 else weight[:, 0], dtype=dtype)
         ).sum().backward()  # fmt: skip
        return np.array(x.grad.to(library.float64).tolist())

    ours, theirs = (gradient(m, m.bfloat16) for m in (flambeau, torch))
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=1e-2 * scale)


def test_native_batch_norm_moves_running_statistics():
    rows = []
    for library in (flambeau, torch):
        x = library.tensor(ARRAYS["x"])
        mean, var = (f(4, dtype=library.float64) for f in (library.zeros, library.ones))
        library.native_batch_norm(x, None, None, mean, var, True, 0.25, 1e-5)
        rows.append((mean.tolist(), var.tolist()))
    np.testing.assert_allclose(*rows, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "bool", "bfloat16", "float32"])
def test_hash_tensor_takes_64_bits(dtype):
    hashes = [
        library.hash_tensor(library.tensor([-3, 1, 2, 0, 5]).to(getattr(library, dtype))).numpy()
        for library in (flambeau, torch)
    ]
    assert hashes[0] == hashes[1]
    assert hashes[0].dtype == np.uint64


def test_strided_memory():
    for call in (
        "torch.empty_strided((2, 3), (1, 2))",
        "torch.empty_strided((2, 3), (3, 1))",
        "torch.empty_strided((2, 2), (0, 1), dtype=torch.int32)",
        "torch.empty_strided((0, 2), (5, 1))",
        "torch.empty_permuted((2, 3, 4), (0, 2, 1))",
        "torch.zeros(1, dtype=torch.float64).new_empty_strided((2, 3), (1, 2))",
        "torch.zeros(1).new_empty_strided((2,), (3,), dtype=torch.int64)",
    ):
        ours, theirs = both(call)
        assert (tuple(ours.shape), ours.stride(), str(ours.dtype)) == (
            tuple(theirs.shape), theirs.stride(), str(theirs.dtype)
        )  # fmt: skip
    t = flambeau.empty_strided((2, 3), (1, 2), requires_grad=True)
    with flambeau.no_grad():
        t.copy_(flambeau.arange(6.0).reshape(2, 3))
    (t * t).sum().backward()
    assert t.grad.tolist() == [[0, 2, 4], [6, 8, 10]]


def test_renorm_in_place():
    rows = []
    for library in (flambeau, torch):
        x = library.tensor([[3.0, 4.0], [0.3, 0.4]])
        same = x.renorm_(2, 0, 1.0)
        assert same is x
        rows.append(x.tolist())
    np.testing.assert_allclose(*rows, rtol=1e-6)


def test_angles_of_running_sums_are_followed():
    """The imaginary part goes on past half a turn, as PyTorch's does."""
    values = (np.full(6, 1.0) + 1j * np.linspace(2.5, 4.0, 6)).astype(np.complex64)
    ours = flambeau.from_numpy(values).logcumsumexp(0).numpy()
    theirs = torch.from_numpy(values).logcumsumexp(0).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert ours.imag.max() > np.pi


def test_fractional_pooling_of_no_images():
    for library in (flambeau, torch):
        x, samples = library.zeros(0, 1, 8, 8, 8), library.zeros(0, 1, 3)
        pooled = library.nn.functional.fractional_max_pool3d(
            x, 2, output_size=(4, 4, 4), _random_samples=samples
        )
        assert tuple(pooled.shape) == (0, 1, 4, 4, 4)
