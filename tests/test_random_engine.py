"""The random engine draws PyTorch's numbers, bit for bit, and ends in PyTorch's state."""

import copy
import math
import pickle
import struct
import threading

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.run import random
from flambeau.run.random import MersenneTwister

SIZES = (0, 1, 2, 7, 15, 16, 17, 31, 32, 100, 1000, 100003)
SEEDS = (0, 1, 42, 2**40 + 5, -3)
FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")


def numpy_type(name):
    return np.dtype(getattr(ml_dtypes, name) if name == "bfloat16" else name)


def bits(array):
    """The bytes of an array or a tensor, so that -0.0 is not 0.0 and NaN is NaN."""
    if isinstance(array, torch.Tensor):
        array = array.contiguous()
        if array.dtype == torch.bfloat16:
            array = array.view(torch.int16)
        array = array.numpy()
    return np.ascontiguousarray(array).view(np.uint8).tobytes()


def draws_taken(draw):
    """How many 32-bit draws PyTorch takes from a fresh generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draw()
        return struct.unpack_from("<Q", torch.get_rng_state().numpy().tobytes(), 16)[0]


# On Intel processors PyTorch hands these two to MKL, which seeds a generator of its own with one
# draw; elsewhere, and always in Flambeau, each element takes a 64-bit draw.
PORTABLE = draws_taken(lambda: torch.empty(4).bernoulli_(0.5)) == 8
PORTABLE_EXPONENTIAL = draws_taken(lambda: torch.empty(4).exponential_()) == 8
# Where it has no AVX2, PyTorch's float32 logarithm, sine and cosine are others.
SAME_KERNELS = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")

portable = pytest.mark.skipif(not PORTABLE, reason="PyTorch draws by MKL on this processor")
portable_exponential = pytest.mark.skipif(
    not PORTABLE_EXPONENTIAL, reason="PyTorch draws by MKL on this processor"
)


class Pair:
    """The two generators from one seed, drawn from in step."""

    def __init__(self, seed):
        self.engine = MersenneTwister(seed)
        self.generator = torch.Generator().manual_seed(seed)

    def same(self, ours, theirs, ulp=0):
        assert ours.shape == tuple(theirs.shape)
        assert ours.dtype.name == str(theirs.dtype).removeprefix("torch.")
        if ulp:
            np.testing.assert_array_max_ulp(ours, theirs.numpy(), ulp)
        elif bits(ours) != bits(theirs):
            theirs = theirs.to(torch.float64).numpy()
            wrong = np.flatnonzero(ours.astype(np.float64) != theirs)
            pytest.fail(f"{len(wrong)} of {ours.size} differ, first at {wrong[:5]}")
        assert self.engine.get_state().tobytes() == self.generator.get_state().numpy().tobytes()

    def check(self, ours, theirs, n, name, **kwargs):
        """``ours(engine, n, dtype)`` against ``theirs(tensor of n, generator)``."""
        result = torch.empty(n, dtype=getattr(torch, name))
        theirs(result, self.generator)
        self.same(ours(self.engine, n, numpy_type(name)), result, **kwargs)


# The draws themselves and the state


@pytest.mark.parametrize("seed", [*SEEDS, 2**64 - 1, -(2**63)])
def test_a_seeded_engine_has_pytorch_s_state(seed):
    state = torch.Generator().manual_seed(seed).get_state().numpy()
    assert MersenneTwister(seed).get_state().tobytes() == state.tobytes()
    assert MersenneTwister(seed).initial_seed == seed % 2**64


def test_draws_are_those_of_the_reference_implementation():
    # The first output of MT19937 for its default seed 5489, and the 10000th, which the C++
    # standard gives as the check of std::mt19937.
    draws = MersenneTwister(5489).random32(10000)
    assert (draws[0], draws[-1]) == (3499211612, 4123659995)


def test_a_64_bit_draw_is_two_32_bit_draws_high_first():
    low, high = MersenneTwister(3), MersenneTwister(3)
    words = low.random32(20).astype(object)
    assert [int(h) << 32 | int(w) for h, w in words.reshape(-1, 2)] == high.random64(10).tolist()


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match="Overflow when unpacking long long"):
        MersenneTwister(seed)
    with pytest.raises(ValueError, match="Overflow when unpacking long long"):
        torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2000), st.integers(0, 3))
def test_states_are_interchangeable_both_ways(seed, n, normals):
    generator = torch.Generator().manual_seed(seed)
    torch.randint(0, 100, (n,), generator=generator)
    torch.randn(normals, generator=generator)
    engine = MersenneTwister()
    engine.set_state(generator.get_state().numpy())
    assert engine.initial_seed == seed
    assert engine.get_state().tobytes() == generator.get_state().numpy().tobytes()
    assert bits(random.normal(engine, 5)) == bits(torch.randn(5, generator=generator))

    random.uniform(engine, n)
    generator.set_state(torch.from_numpy(engine.get_state()))
    assert bits(random.normal(engine, 7)) == bits(torch.randn(7, generator=generator))
    assert generator.initial_seed() == seed


@pytest.mark.parametrize("n", [0, 1, 623, 624, 625, 1247, 1248])
def test_states_agree_around_the_ends_of_a_block(n):
    pair = Pair(9)
    pair.check(*CONTINUOUS["uniform"], n, "float32")
    pair.engine.set_state(pair.generator.get_state().numpy())
    pair.check(*CONTINUOUS["uniform"], 3, "float32")


def test_a_bad_state_is_refused_and_changes_nothing():
    engine = MersenneTwister(4)
    before = engine.get_state().tobytes()
    with pytest.raises(TypeError, match=r"RNG state must be a torch\.ByteTensor"):
        engine.set_state(np.zeros(5056, np.float32))
    with pytest.raises(RuntimeError, match=r"of size 5056 but found .* to be 10"):
        engine.set_state(np.zeros(10, np.uint8))
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        engine.set_state(np.zeros(5056, np.uint8))
    assert engine.get_state().tobytes() == before


@pytest.mark.parametrize(
    "copied", [MersenneTwister.clone, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_a_copy_goes_on_alike_and_apart(copied):
    engine = MersenneTwister(8)
    random.normal(engine, 3)
    twin = copied(engine)
    assert twin.get_state().tobytes() == engine.get_state().tobytes()
    assert bits(random.normal(twin, 20)) == bits(random.normal(engine, 20))
    random.uniform(twin, 1)
    assert twin.get_state().tobytes() != engine.get_state().tobytes()


def test_skipping_is_drawing():
    ahead, drawn = MersenneTwister(1), MersenneTwister(1)
    ahead.skip(1000)
    drawn.random32(1000)
    assert ahead.get_state().tobytes() == drawn.get_state().tobytes()


def test_threads_share_out_the_draws():
    engine = MersenneTwister(5)
    parts = [[] for _ in range(4)]

    def work(part):
        for _ in range(50):
            part.append(engine.random32(100))

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drawn = np.sort(np.concatenate([block for part in parts for block in part]))
    assert (drawn == np.sort(MersenneTwister(5).random32(20000))).all()


# Continuous distributions: all sizes and seeds, one after the other from one generator, so that
# each starts from the state, and the cached normal number, that the one before it left.

CONTINUOUS = {
    "uniform": (
        lambda e, n, d: random.uniform(e, n, dtype=d),
        lambda t, g: t.uniform_(generator=g),
    ),
    "uniform of a range": (
        lambda e, n, d: random.uniform(e, n, -0.7, 1.9, d),
        lambda t, g: t.uniform_(-0.7, 1.9, generator=g),
    ),
    "uniform of an init": (
        lambda e, n, d: random.uniform(e, n, -1 / math.sqrt(7), 1 / math.sqrt(7), d),
        lambda t, g: t.uniform_(-1 / math.sqrt(7), 1 / math.sqrt(7), generator=g),
    ),
    "uniform of a thin range": (
        lambda e, n, d: random.uniform(e, n, 1000, 1001, d),
        lambda t, g: t.uniform_(1000, 1001, generator=g),
    ),
    "uniform of a point": (
        lambda e, n, d: random.uniform(e, n, 2, 2, d),
        lambda t, g: t.uniform_(2, 2, generator=g),
    ),
    "normal": (
        lambda e, n, d: random.normal(e, n, dtype=d),
        lambda t, g: t.normal_(generator=g),
    ),
    "normal, mean and deviation": (
        lambda e, n, d: random.normal(e, n, 0.3, 1.7, d),
        lambda t, g: t.normal_(0.3, 1.7, generator=g),
    ),
    "normal of an init": (
        lambda e, n, d: random.normal(e, n, 0, 0.01, d),
        lambda t, g: t.normal_(0, 0.01, generator=g),
    ),
    "normal without deviation": (
        lambda e, n, d: random.normal(e, n, 2, 0, d),
        lambda t, g: t.normal_(2, 0, generator=g),
    ),
    "cauchy": (
        lambda e, n, d: random.cauchy(e, n, 0.5, 2.5, d),
        lambda t, g: t.cauchy_(0.5, 2.5, generator=g),
    ),
    "log_normal": (
        lambda e, n, d: random.log_normal(e, n, 0.5, 1.25, d),
        lambda t, g: t.log_normal_(0.5, 1.25, generator=g),
    ),
    "geometric": (
        lambda e, n, d: random.geometric(e, n, 0.3, d),
        lambda t, g: t.geometric_(0.3, generator=g),
    ),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_numbers_are_pytorch_s(name, dtype):
    ours, theirs = CONTINUOUS[name]
    ulp = 0 if SAME_KERNELS or not name.startswith("normal") else 4
    for seed in SEEDS:
        pair = Pair(seed)
        for n in SIZES:
            pair.check(ours, theirs, n, dtype, ulp=ulp)


@portable_exponential
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rate", [1.0, 0.3, 1e-9])
def test_exponential_numbers_are_pytorch_s(rate, dtype):
    for seed in SEEDS:
        pair = Pair(seed)
        for n in SIZES:
            pair.check(
                lambda e, n, d: random.exponential(e, n, rate, d),
                lambda t, g: t.exponential_(rate, generator=g),
                n,
                dtype,
            )


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("n", SIZES)
def test_complex_numbers_are_pytorch_s(n, dtype):
    pair = Pair(6)
    kind = getattr(torch, dtype)
    parts = np.empty(0, dtype).real.dtype
    ulp = 0 if SAME_KERNELS else 4
    pair.same(
        random.uniform(pair.engine, n, dtype=dtype),
        torch.rand(n, dtype=kind, generator=pair.generator),
    )
    pair.same(
        random.normal(pair.engine, n, dtype=dtype).view(parts.name),
        torch.view_as_real(torch.randn(n, dtype=kind, generator=pair.generator)).flatten(),
        ulp=ulp,
    )


@pytest.mark.parametrize("dtype", FLOATS)
def test_normal_numbers_of_a_strided_tensor_are_made_in_pairs(dtype):
    pair = Pair(11)
    for n in SIZES:
        theirs = torch.empty(2 * n, dtype=getattr(torch, dtype))[::2]
        if n > 1:
            assert not theirs.is_contiguous()
        theirs.normal_(0.1, 2.0, generator=pair.generator)
        ours = random.normal(
            pair.engine, n, 0.1, 2.0, numpy_type(dtype), contiguous=theirs.is_contiguous()
        )
        pair.same(ours, theirs)


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-1e4, 1e4, width=32),
    st.floats(0, 1e4, width=32),
    st.sampled_from(FLOATS),
    st.integers(0, 40),
)
def test_any_range_and_deviation(low, width, dtype, n):
    pair = Pair(12)
    pair.check(
        lambda e, n, d: random.uniform(e, n, low, low + width, d),
        lambda t, g: t.uniform_(low, low + width, generator=g),
        n,
        dtype,
    )
    pair.check(
        lambda e, n, d: random.normal(e, n, low, width, d),
        lambda t, g: t.normal_(low, width, generator=g),
        n,
        dtype,
        ulp=0 if SAME_KERNELS else 4,
    )


def test_shapes():
    engine = MersenneTwister(0)
    assert random.uniform(engine, (2, 3)).shape == (2, 3)
    assert random.normal(engine, ()).shape == ()
    assert random.normal(engine, (4, 0)).shape == (4, 0)
    assert random.randint(engine, (2, 1, 2), 0, 5).shape == (2, 1, 2)
    assert random.bernoulli(engine, (5, 5), 0.1).shape == (5, 5)
    assert random.uniform(engine, (3, 2), dtype=np.complex64).shape == (3, 2)


# Integers

RANGES = {
    "bool": [(0, 1), (0, 2), (1, 2)],
    "uint8": [(0, 10), (0, 256), (3, 4)],
    "int8": [(-128, 128), (-5, 7)],
    "int16": [(-(2**15), 2**15), (7, 9)],
    "int32": [(0, 2**28 - 1), (0, 2**28), (-(2**31), 2**31), (-3, 1000)],
    "int64": [
        (0, 10),
        (0, 2**28 - 1),
        (-5, 2**28 - 5),
        (-(2**40), 2**40 + 3),
        (-(2**63), 2**63 - 1),
        (2**62, 2**63 - 1),
    ],
    "uint16": [(0, 65536), (100, 200)],
    "uint32": [(0, 2**32), (5, 6)],
    "uint64": [(0, 2**63 - 1), (3, 10**6)],
    "float32": [(0, 10), (-(2**24), 2**24), (-100, 100)],
    "float64": [(0, 10), (-(2**53), 2**53), (-7, 2**30)],
    "float16": [(0, 10), (-2048, 2048)],
    "bfloat16": [(0, 10), (-256, 256)],
}


@pytest.mark.parametrize("dtype", RANGES)
def test_randint_is_pytorch_s(dtype):
    for bounds in RANGES[dtype]:
        for seed in SEEDS[:3]:
            pair = Pair(seed)
            for n in SIZES:
                pair.check(
                    lambda e, n, d, bounds=bounds: random.randint(e, n, *bounds, d),
                    lambda t, g, bounds=bounds: t.random_(*bounds, generator=g),
                    n,
                    dtype,
                )


@pytest.mark.filterwarnings("ignore:.*is out of bounds:UserWarning")
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("float32", 2**30, 2**30 + 999),
        ("float32", -(2**30) - 39, 2**30 + 39),
        ("float32", -(2**63), 2**63 - 1),
        ("float16", 2047, 2053),
        ("float16", -65504, 65504),
        ("bfloat16", 255, 300),
        ("bfloat16", -1001, 1003),
        ("float64", 2**60 + 1, 2**60 + 999),
    ],
)
def test_bounds_that_a_floating_type_lacks_move_inwards(dtype, low, high):
    Pair(0).check(
        lambda e, n, d: random.randint(e, n, low, high, d),
        lambda t, g: t.random_(low, high, generator=g),
        1000,
        dtype,
    )


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS])
def test_random_without_bounds_is_pytorch_s(dtype):
    for seed in SEEDS:
        pair = Pair(seed)
        for n in SIZES:
            pair.check(random.random, lambda t, g: t.random_(generator=g), n, dtype)


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS, "uint16", "uint32"])
@pytest.mark.parametrize("low", [0, 1, 5, 100, -3, -(2**20), -(2**63)])
def test_random_from_a_lower_bound_is_pytorch_s(dtype, low):
    pair = Pair(2)
    result = torch.empty(1000, dtype=getattr(torch, dtype))
    try:
        result.random_(low, None, generator=pair.generator)
    except RuntimeError as error:
        with pytest.raises(type(error)) as ours:
            random.random_from(pair.engine, 1000, low, numpy_type(dtype))
        assert str(ours.value) == str(error)
        return
    except UserWarning:
        with pytest.warns(UserWarning, match="is out of bounds"):
            random.random_from(pair.engine, 1000, low, numpy_type(dtype))
        return
    pair.same(random.random_from(pair.engine, 1000, low, numpy_type(dtype)), result)


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
def test_randperm_is_pytorch_s(dtype):
    limit = {"uint8": 256, "int8": 128, "int16": 2**15, "float16": 2049, "bfloat16": 1000}
    for seed in SEEDS:
        pair = Pair(seed)
        for n in SIZES:
            if n <= limit.get(dtype, n):
                theirs = torch.randperm(n, dtype=getattr(torch, dtype), generator=pair.generator)
                pair.same(random.randperm(pair.engine, n, numpy_type(dtype)), theirs)


# Bernoulli


@portable
@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1 / 3, 1.0])
def test_bernoulli_of_a_number_is_pytorch_s(p, dtype):
    for seed in SEEDS:
        pair = Pair(seed)
        for n in SIZES:
            pair.check(
                lambda e, n, d: random.bernoulli(e, n, p, d),
                lambda t, g: t.bernoulli_(p, generator=g),
                n,
                dtype,
            )


@portable
def test_dropout_s_mask_is_pytorch_s():
    x = torch.ones(1000)
    torch.manual_seed(3)
    theirs = torch.nn.functional.dropout(x, 0.3)
    mask = random.bernoulli(MersenneTwister(3), 1000, 1 - 0.3)
    assert ((theirs != 0).numpy() == mask.astype(bool)).all()


@pytest.mark.parametrize("dtype", ["bool", "int64", *FLOATS])
@pytest.mark.parametrize("kind", FLOATS)
def test_bernoulli_of_an_array_is_pytorch_s(kind, dtype):
    for seed in SEEDS:
        pair = Pair(seed)
        for n in SIZES:
            p = torch.linspace(0, 1, n, dtype=torch.float64).to(getattr(torch, kind))
            theirs = torch.empty(n, dtype=getattr(torch, dtype))
            theirs.bernoulli_(p, generator=pair.generator)
            array = p.double().numpy().astype(numpy_type(kind))
            pair.same(random.bernoulli_array(pair.engine, array, numpy_type(dtype)), theirs)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_geometric_integers_are_pytorch_s(dtype):
    pair = Pair(1)
    for n in SIZES:
        for p in (0.5, 0.9, 0.2):
            pair.check(
                lambda e, n, d, p=p: random.geometric(e, n, p, d),
                lambda t, g, p=p: t.geometric_(p, generator=g),
                n,
                dtype,
            )


# Rejection and multinomial

REJECTION_SIZES = (0, 1, 2, 17, 1000, 20001)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rates", [[0.0, 0.1, 3.0, 9.9], [10.0, 30.0, 1000.0], [0.5, 200.0, 0.0]])
def test_poisson_is_pytorch_s(rates, dtype):
    for seed in SEEDS:
        pair = Pair(seed)
        for n in REJECTION_SIZES:
            rate = torch.tensor(rates, dtype=getattr(torch, dtype)).repeat(n)[:n]
            array = rate.double().numpy().astype(numpy_type(dtype))
            theirs = torch.poisson(rate, generator=pair.generator)
            pair.same(random.poisson(pair.engine, array), theirs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "alphas", [[0.5, 0.9, 1e-3], [1.0, 1.5, 40.0, 1e5], [0.0, 0.2, 3.0, 1.0 / 3, -1.0]]
)
def test_gamma_is_pytorch_s(alphas, dtype):
    for seed in SEEDS:
        pair = Pair(seed)
        for n in REJECTION_SIZES:
            alpha = torch.tensor(alphas, dtype=getattr(torch, dtype)).repeat(n)[:n]
            theirs = torch._standard_gamma(alpha, generator=pair.generator)
            pair.same(random.standard_gamma(pair.engine, alpha.numpy()), theirs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [1, 2, 3, 50])
def test_dirichlet_is_pytorch_s(classes, dtype):
    pair = Pair(4)
    alpha = torch.linspace(0.05, 5, classes * 200, dtype=getattr(torch, dtype)).view(200, classes)
    theirs = torch._sample_dirichlet(alpha, generator=pair.generator)
    # The sum over many classes is taken in another order, in float64.
    ulp = 4 if dtype == "float64" and classes > 8 else 0
    pair.same(random.dirichlet(pair.engine, alpha.numpy()), theirs, ulp=ulp)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("counts", [[0.0, 1.0, 10.0], [40.0, 1000.0, 1e6], [7.0, 300.0, -1.0]])
def test_binomial_is_pytorch_s(counts, dtype):
    for seed in SEEDS:
        pair = Pair(seed)
        for n in REJECTION_SIZES:
            count = torch.tensor(counts, dtype=getattr(torch, dtype)).repeat(n)[:n]
            prob = torch.rand(n, dtype=count.dtype, generator=torch.Generator().manual_seed(1))
            prob[::7] = 0.5
            prob[::11] = 1.0
            prob[::13] = 0.0
            theirs = torch.binomial(count, prob, generator=pair.generator)
            pair.same(random.binomial(pair.engine, count.numpy(), prob.numpy()), theirs)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1,), (2,), (10,), (257,), (3, 5), (20, 64), (0, 3)])
@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_is_pytorch_s(replacement, shape, dtype):
    if not PORTABLE_EXPONENTIAL and not replacement:
        pytest.skip("PyTorch draws by MKL on this processor")
    for seed in SEEDS:
        pair = Pair(seed)
        weights = torch.rand(shape, generator=torch.Generator().manual_seed(7))
        weights = (weights + 0.01).to(getattr(torch, dtype))
        array = weights.double().numpy().astype(numpy_type(dtype))
        for k in (1, 2, 1000) if replacement else sorted({1, shape[-1] // 2 + 1}):
            theirs = torch.multinomial(weights, k, replacement, generator=pair.generator)
            ours = random.multinomial(pair.engine, array, k, replacement)
            if dtype in ("float16", "bfloat16") and not replacement and k > 1:
                # Coarse keys tie, and PyTorch's partial sort orders ties as it likes: the keys
                # drawn are the same, so must be their number and the state.
                assert ours.shape == tuple(theirs.shape)
                theirs = torch.from_numpy(ours)
            pair.same(ours, theirs)


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_draws_in_proportion(replacement):
    weights = np.array([0.0, 1.0, 3.0, 4.0], np.float32)
    engine = MersenneTwister(0)
    rows = np.broadcast_to(weights, (20000, 4))
    drawn = random.multinomial(engine, rows, 2, replacement)[:, 0]
    frequency = np.bincount(drawn, minlength=4) / len(drawn)
    expected = weights / weights.sum()
    if not replacement:
        # The two drawn come in order of their keys, so the first is a draw in proportion too.
        assert frequency[0] == 0
    np.testing.assert_allclose(frequency, expected, atol=0.02)
