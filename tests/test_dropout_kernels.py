"""Dropout's truth values: drawn in kernels, by another thread, in memory's order; PyTorch's all."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
import torch

import flambeau as fl
from compiled import needs_native
from flambeau import dtypes
from flambeau.ir.primitive import PRIMITIVES as P
from flambeau.run import random
from flambeau.run.chores import chores
from flambeau.run.random import MersenneTwister, native
from native_graphs import Built, both_ways
from test_recording_cases import interrupted_at

LIBRARIES = (torch, fl)


@pytest.fixture
def drawing_natively(monkeypatch):
    """The kernels are there: else the first million numbers are NumPy's."""
    monkeypatch.setattr(native, "WORTH_IT", 0)
    native._ready(1)
    native._ticket.wait()
    assert native._ready(1) is not None


@pytest.fixture
def ahead(drawing_natively, monkeypatch):
    """All truth values are left to others; nobody does them of himself before they are wanted."""
    before = fl.get_num_threads()
    fl.set_num_threads(2)
    monkeypatch.setattr(native, "AHEAD", 1)
    yield
    chores.join()
    fl.set_num_threads(before)


class Words:
    """NumPy's own draws: what the kernels are held against."""

    def __init__(self, seed: int) -> None:
        self.engine = MersenneTwister(seed)

    def draw(self, n: int, dtype: type) -> np.ndarray:
        if n:
            self.engine._fresh = False
        return self.engine._fill(0, np.iinfo(dtype).max, n, dtype=dtype, endpoint=True)

    def low53(self, n: int) -> np.ndarray:
        return self.draw(n, np.uint64) & np.uint64((1 << 53) - 1)


# Around vectors, blocks of 624 words (312 pairs) and the stretch of them a kernel works on.
SIZES = (0, 1, 2, 15, 16, 17, 31, 33, 311, 312, 313, 623, 624, 625, 1871, 1872, 2184, 5000, 20_000)


@needs_native
@pytest.mark.parametrize("odd", [False, True])
def test_kernels_draw_the_generators_numbers(drawing_natively, odd):
    found, expected = MersenneTwister(3), Words(3)
    if odd:  # the first of a pair is a block's last word
        native.random32(found, 1)
        expected.draw(1, np.uint32)
    for n in (*SIZES, *SIZES[::-1]):
        words = expected.draw(n, np.uint32)
        np.testing.assert_array_equal(native.random32(found, n), words)
        words = expected.draw(n, np.uint32) & 0xFFFFFF
        scaled = words.astype(np.float32) * np.float32(2.0**-24)
        np.testing.assert_array_equal(native.uniform32(found, n), scaled)
        drawn = expected.low53(n)
        np.testing.assert_array_equal(native.mask(found, n, 3 << 51), drawn < 3 << 51)
        drawn = expected.low53(n)
        ones = np.where(drawn < 1 << 52, np.float32(1.25), np.float32(0))
        np.testing.assert_array_equal(native.bernoulli(found, n, 1 << 52, 1.25), ones)
        assert found.get_state().tobytes() == expected.engine.get_state().tobytes()


@needs_native
def test_a_limit_that_is_drawn(drawing_natively):
    """The high halves are equal: then the low ones are compared."""
    for seed in range(60):
        drawn = Words(seed).low53(40)
        place = seed % 40
        for more in (-1, 0, 1):
            limit = int(drawn[place]) + more
            found = native.mask(MersenneTwister(seed), 40, limit)
            np.testing.assert_array_equal(found, drawn < np.uint64(limit))
            ones = native.bernoulli(MersenneTwister(seed), 40, limit, 1.0)
            np.testing.assert_array_equal(ones, found)


@needs_native
def test_limits_at_the_ends(drawing_natively):
    assert not native.mask(MersenneTwister(0), 1000, 0).any()
    assert native.mask(MersenneTwister(0), 1000, 1 << 53).all()


VIEWS = {
    "whole": lambda x: x,
    "transposed": lambda x: x.transpose(0, 1),
    "permuted": lambda x: x.permute(2, 0, 1),
    "every other": lambda x: x[:, ::2],
    "transposed, every other": lambda x: x.transpose(0, 2)[:, ::2],
    "broadcast": lambda x: x[:, :1].expand(-1, 5, -1),
    "a plane": lambda x: x[1].t(),
}
KINDS = {
    "dropout": lambda F, x: F.dropout(x, 0.3),
    "in place": lambda F, x: F.dropout(x.contiguous() * 1, 0.3, inplace=True),
    "alpha": lambda F, x: F.alpha_dropout(x, 0.3, training=True),
    "feature alpha": lambda F, x: F.feature_alpha_dropout(x, 0.3, training=True),
    "channels": lambda F, x: F.dropout1d(x, 0.3),
    "all": lambda F, x: F.dropout(x, 1.0),
    "none": lambda F, x: F.dropout(x, 0.0),
}


def F(lib):
    return lib.nn.functional


def line(lib, start, stop):
    return lib.tensor(np.linspace(start, stop, 777, dtype=np.float32))


def both(run):
    """What a function of the library gives in PyTorch and here, from one seed."""
    results = []
    for lib in LIBRARIES:
        lib.manual_seed(7)
        lib.rand(3)  # pairs begin at odd places
        results.append(run(lib))
    return results


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_pytorchs(view, kind):
    data = np.random.default_rng(0).standard_normal((6, 8, 10)).astype(np.float32)

    def run(lib):
        x = lib.tensor(data, requires_grad=True)
        y = KINDS[kind](F(lib), VIEWS[view](x * 1))
        (y * lib.arange(y.numel()).reshape(y.shape)).sum().backward()
        return y.detach().numpy(), lib.get_rng_state().numpy(), x.grad.numpy()

    (*expected, slope), (*found, found_slope) = both(run)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    # Where a value was broadcast, its gradient is a sum.
    np.testing.assert_allclose(found_slope, slope, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["dropout", "alpha"])
def test_other_dtypes(dtype, kind):
    def run(lib):
        x = line(lib, -3, 3).to(getattr(lib, dtype)).requires_grad_()
        y = KINDS[kind](F(lib), x)
        y.sum().backward()
        return y.detach().double().numpy(), x.grad.double().numpy()

    for expected, found in zip(*both(run), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_complex_numbers_are_refused():
    for lib in LIBRARIES:
        with pytest.raises(NotImplementedError, match="bernoulli_scalar_cpu_"):
            F(lib).dropout(lib.ones(3, dtype=lib.complex64), 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_drawn_for_tensors_without_values(kind):
    def run(lib):
        y = KINDS[kind](F(lib), lib.ones(3, 4, 5, device="meta"))
        return y.device.type, tuple(y.shape), lib.get_rng_state().numpy().tobytes()

    expected, found = both(run)
    assert found == expected


def test_a_single_value():
    def run(lib):
        return [F(lib).dropout(lib.tensor(2.0), 0.5).item() for _ in range(20)]

    expected, found = both(run)
    assert found == expected


def test_what_is_dropped_is_multiplied_by_zero():
    def run(lib):
        x = lib.tensor([np.inf, -np.inf, np.nan, -1.0, 1.0] * 40)
        y = F(lib).dropout(x, 0.5).numpy()
        return y, np.signbit(np.where(np.isnan(y), 0, y))

    for expected, found in zip(*both(run), strict=True):
        np.testing.assert_array_equal(found, expected)


FILLERS = {
    "uniform_": (),
    "normal_": (),
    "bernoulli_": (0.4,),
    "random_": (),
    "exponential_": (),
    "geometric_": (0.3,),
    "log_normal_": (),
}


@pytest.mark.parametrize("view", [v for v in VIEWS if v != "broadcast"])
@pytest.mark.parametrize("name", FILLERS)
def test_memory_is_filled_in_its_order(name, view):
    def run(lib):
        x = lib.zeros(4, 6, 8)
        getattr(VIEWS[view](x), name)(*FILLERS[name])
        return x.numpy(), lib.rand(2).numpy()

    for expected, found in zip(*both(run), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("view", [v for v in VIEWS if v != "broadcast"])
def test_probabilities_in_memorys_order(view):
    def run(lib):
        x = lib.zeros(4, 6, 8)
        seen = VIEWS[view](x)
        p = np.linspace(0, 1, seen.numel(), dtype=np.float32).reshape(tuple(seen.shape))
        seen.bernoulli_(lib.tensor(p))
        return x.numpy()

    expected, found = both(run)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("view", VIEWS)
def test_like_another_in_its_order(view):
    def run(lib):
        x = VIEWS[view](lib.zeros(4, 6, 8))
        made = [lib.rand_like(x), lib.randn_like(x), lib.randint_like(x, 3, 90)]
        given = lib.rand_like(x, requires_grad=True)
        assert given.is_leaf and given.requires_grad
        return *[t.numpy() for t in made], given.detach().numpy()

    for expected, found in zip(*both(run), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


# ------------------------------------------------------------------------------ programs


def chain(x, kept, g, scale):
    """Forward and backward of ``(dropout(exp(x))).sum(1)``."""
    e = P["exp"](x)
    y = P["dropout"](e, kept, scale)
    return P["sum"](y, dims=(1,), keepdim=False), P["dropout"](g, kept, scale) * e


def draws(*shape):
    rng = np.random.default_rng(1)
    kept = rng.random(shape) < 0.7
    return rng.standard_normal(shape).astype(np.float32), kept, rng.random(shape, np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (64, 96), (3, 1000)])
def test_kernels_agree_with_the_reference(shape):
    Built(chain, *draws(*shape), numbers=[1.25]).check(rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64"])
def test_kernels_of_other_dtypes(name):
    dtype = getattr(dtypes, name)

    def f(x, kept, scale):
        return P["dropout"](P["cast"](x, dtype=dtype), kept, scale)

    Built(f, *draws(40, 33)[:2], numbers=[1.25]).check(rtol=0, atol=0)


def test_the_factors_are_not_kept():
    """A byte an element is read, forward and backward; all other memory is of the results."""
    x, kept, g = draws(64, 96)
    draft = Built(chain, x, kept, g, numbers=[1.25]).draft()
    assert not draft.low.host_reasons
    nests = [line for line in draft.described if "dropout" in line]
    assert len(nests) == 1 and nests[0].startswith("nest")
    assert draft.arena_bytes == 0


def test_turned_and_broadcast():
    def f(x, kept, channels, scale):
        turned = P["permute"](kept, dims=(1, 0))
        return P["dropout"](P["dropout"](x, turned, scale), channels, scale)

    x, kept, _ = draws(40, 56)
    channels = np.ascontiguousarray(kept[:, :1])
    Built(f, x, np.ascontiguousarray(kept.T), channels, numbers=[1.25]).check(rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(64, 128, 256), (5, 7, 9), (33, 1, 40), (7, 65, 300)])
def test_behind_a_product(shape, monkeypatch):
    """Bias, activation and dropout in the product's kernel: no bit differs."""
    m, n, k = shape
    rng = np.random.default_rng(2)

    def f(x, w, b, kept, scale):
        return P["dropout"](P["relu"](P["matmul"](x, w) + b), kept, scale)

    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n), (n,)))
    kept = rng.random((m, n)) < 0.7
    found = np.frombuffer(
        both_ways(Built(f, x, w, b, kept, numbers=[1.25]), monkeypatch)[0], np.float32
    ).reshape(m, n)
    assert (found[~kept] == 0).all() and (found[kept] > 0).any()


# ------------------------------------------------------------------------ left to others


def dropped(lib, n=3000, p=0.4):
    return F(lib).dropout(lib.ones(n), p)


@needs_native
@pytest.mark.usefixtures("ahead")
class TestAhead:
    """Draws that are left to a thread with nothing to do."""

    def test_values(self):
        expected, found = both(lambda lib: [dropped(lib).numpy() for _ in range(5)])
        np.testing.assert_array_equal(found, expected)

    def test_the_generator_waits(self):
        def run(lib):
            y = dropped(lib)
            drawn = lib.rand(5)
            state = lib.get_rng_state()
            z = dropped(lib)
            lib.set_rng_state(state)
            return [t.numpy() for t in (y, drawn, state, z, dropped(lib), lib.randperm(9))]

        for expected, found in zip(*both(run), strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_what_nobody_reads_is_drawn(self):
        def run(lib):
            for n in (5, 4000, 31):
                dropped(lib, n)
            return lib.get_rng_state().numpy()

        expected, found = both(run)
        np.testing.assert_array_equal(found, expected)

    def test_seeded_anew_in_between(self):
        def run(lib):
            y = dropped(lib)
            lib.manual_seed(5)
            return y.numpy(), dropped(lib).numpy()

        for expected, found in zip(*both(run), strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_more_than_the_ring_holds(self):
        expected, found = both(lambda lib: sum(dropped(lib, 100 + k).sum() for k in range(300)))
        assert float(expected) == pytest.approx(float(found))

    def test_many_before_one_is_read(self):
        expected, found = both(
            lambda lib: np.stack([y.numpy() for y in [dropped(lib) for _ in range(150)]])
        )
        np.testing.assert_array_equal(found, expected)

    def test_no_grad_and_errors(self):
        def run(lib):
            with lib.no_grad():
                y = dropped(lib)
            with pytest.raises(RuntimeError):
                dropped(lib).reshape(7)
            return y.numpy(), dropped(lib).numpy(), lib.get_rng_state().numpy()

        for expected, found in zip(*both(run), strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_forked_generators(self):
        def run(lib):
            with lib.random.fork_rng():
                y = dropped(lib)
            z = dropped(lib)
            return y.numpy(), z.numpy(), lib.rand(3).numpy()

        for expected, found in zip(*both(run), strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_checkpoints_draw_the_same_again(self):
        def run(lib):
            from importlib import import_module

            again = import_module(f"{lib.__name__}.utils.checkpoint").checkpoint
            x = line(lib, -2, 2).requires_grad_()
            y = again(lambda t: F(lib).dropout(t.exp(), 0.5).sin(), x, use_reentrant=False)
            y.sum().backward()
            return y.detach().numpy(), x.grad.numpy()

        for expected, found in zip(*both(run), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_saved_for_a_later_backward(self):
        def run(lib):
            x = line(lib, -2, 2).requires_grad_()
            y = F(lib).dropout(x, 0.5)
            y.sum().item()
            z = dropped(lib)
            y.square().sum().backward()
            return x.grad.numpy(), z.numpy()

        for expected, found in zip(*both(run), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_another_number_of_threads(self):
        def run(lib):
            y = dropped(lib)
            lib.set_num_threads(1)
            z = dropped(lib)
            lib.set_num_threads(2)
            return y.numpy(), z.numpy(), dropped(lib).numpy()

        before = torch.get_num_threads()
        try:
            for expected, found in zip(*both(run), strict=True):
                np.testing.assert_array_equal(found, expected)
        finally:
            torch.set_num_threads(before)

    @pytest.mark.parametrize("at_once", [False, True])
    def test_training_steps(self, at_once):
        """Programs wait for what they read, whichever way they are run."""

        def run(lib):
            nn = lib.nn
            net = nn.Sequential(
                nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 64), nn.Tanh(),
                nn.Dropout(0.5), nn.Linear(64, 3),
            )  # fmt: skip
            optimizer = lib.optim.Adam(net.parameters(), lr=1e-3)
            losses = []
            for _ in range(12):
                x = lib.randn(512, 20)
                optimizer.zero_grad()
                loss = net(x).square().mean()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            return losses, lib.rand(2).tolist()

        fl.use_deterministic_algorithms(at_once)
        try:
            expected, found = both(run)
        finally:
            fl.use_deterministic_algorithms(False)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-4)
        assert found[1] == expected[1]

    def test_arrays_live_until_they_are_drawn(self):
        engine, reference = MersenneTwister(1), Words(1)
        for _ in range(40):
            random.chosen_ahead(engine, 50_000, 0.5)  # nobody holds it
            reference.draw(50_000, np.uint64)
        assert engine.get_state().tobytes() == reference.engine.get_state().tobytes()

    def test_threads_with_generators_of_their_own(self):
        found = {}

        def work(seed):
            engine = MersenneTwister(seed)
            masks = [random.chosen_ahead(engine, 2000 + k, 0.3) for k in range(60)]
            chores.join()
            found[seed] = np.concatenate(masks)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for seed, masks in found.items():
            engine = MersenneTwister(seed)
            expected = [random.chosen(engine, 2000 + k, 0.3) for k in range(60)]
            np.testing.assert_array_equal(masks, np.concatenate(expected))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_fork_has_drawn_what_was_asked_for(self):
        fl.manual_seed(2)
        y = dropped(fl)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, y.numpy().tobytes() + fl.rand(2).numpy().tobytes())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 1 << 20) == y.numpy().tobytes() + fl.rand(2).numpy().tobytes()
        for end in (read, write):
            os.close(end)

    def test_interrupts(self):
        """Wherever one comes, the numbers were drawn, or none of them."""
        fl.manual_seed(4)
        fl.rand(1)
        before = fl.get_rng_state()
        dropped(fl).sum().item()
        after = fl.get_rng_state()
        seen = set()
        for line in range(1, 2000):
            fl.set_rng_state(before)
            kept = []
            came = interrupted_at(line, lambda kept=kept: kept.append(dropped(fl)))
            state = fl.get_rng_state().numpy().tobytes()
            assert state in (before.numpy().tobytes(), after.numpy().tobytes())
            seen.add(state)
            if not came:
                break
        assert len(seen) == 2
