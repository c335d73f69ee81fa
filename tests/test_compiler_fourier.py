"""Compiled Fourier transforms: as accurate as NumPy's, within their memory, with gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import flambeau
from compiled import needs_native, only_kernels  # noqa: F401  (a fixture)
from flambeau import dtypes
from flambeau.ir.graph import Aval
from flambeau.run.compiler import code
from flambeau.run.compiler import fourier_kernels as fourier
from flambeau.run.compiler.convolution_blocks import Lanes
from flambeau.run.compiler.fourier_passes import Passes, roots
from flambeau.run.compiler.stages import Plan, Stage
from native_plans import Runner

pytestmark = needs_native


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    g = np.random.default_rng(0)
    x = g.standard_normal(shape)
    return (x + 1j * g.standard_normal(shape) if dtype.startswith("c") else x).astype(dtype)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Within a few units of the precision, relative to the norm."""
    assert found.shape == expected.shape
    eps = np.finfo(found.dtype).eps * (2 + math.log2(found.size))
    assert np.linalg.norm(found - expected) <= 0.5 * eps * np.linalg.norm(expected)


def test_roots_are_those_of_exact_angles() -> None:
    # Octants, their ends, and a length that none divides.
    assert (roots(8)[::2] == [1, -1j, -1, 1j]).all()
    k = np.arange(1001)
    angles = np.array([math.fmod(2 * math.pi * i, 2 * math.pi * 1001) / 1001 for i in k])
    np.testing.assert_allclose(roots(1001), np.exp(-1j * angles), atol=2e-15)
    np.testing.assert_allclose(np.abs(roots(1001)), 1, rtol=3e-16)


KINDS = {
    "complex": (np.fft.fft, "complex64", "complex64"),
    "real": (np.fft.rfft, "float32", "complex64"),
    "whole": (np.fft.irfft, "complex64", "float32"),
}


@pytest.mark.parametrize(
    ("n", "outer", "inner"),
    [(2, 5, 1), (12, 17, 1), (15, 40, 1), (16, 33, 1), (30, 3, 1), (56, 2, 5), (11, 3, 40)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_keep_to_their_memory(kind: str, n: int, outer: int, inner: int) -> None:
    oracle, source, result = KINDS[kind]
    half = n // 2 + 1
    given, made = {"complex": (n, n), "real": (n, half), "whole": (half, n)}[kind]
    how = fourier.Transform(kind, n, outer, inner, given, made, kind == "whole", 0.5)
    passes = Passes.of(how.length, 8)
    assert passes is not None
    table, start = fourier.tables(how, passes, "float32")
    kernel, units = fourier.kernel(how, passes, Lanes("float", 4, code.target().lanes(4)), start)
    shape = (outer, made, inner)
    plan = Plan((Stage(kernel, ("0", "out0", "1"), units, 1),))
    runner = Runner(plan, [Aval(shape, getattr(dtypes, result))])
    x = numbers((outer, given, inner), source)
    found = runner.run(x, table)[0].copy()
    runner.check_guards()
    expected = oracle(x.astype("complex128" if source[0] == "c" else "float64"), axis=1, n=n)
    close(found, (expected * (0.5 * n if kind == "whole" else 0.5)).astype(result))
    # Units in any order, apart or together: the same bits.
    again = runner.run(x, table, cuts=lambda n: [(k, k + 1) for k in reversed(range(n))])[0]
    assert again.tobytes() == found.tobytes()


@pytest.mark.parametrize(
    "lanes", [Lanes("float", 4, 4), Lanes("float", 4, 8), Lanes("double", 8, 2)]
)
@pytest.mark.parametrize("inner", [1, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_narrower_vectors(kind: str, inner: int, lanes: Lanes) -> None:
    """Of other processors, and of few transforms."""
    oracle, source, result = KINDS[kind]
    if lanes.size == 8:
        source, result = (
            {"float32": "float64", "complex64": "complex128"}[t] for t in (source, result)
        )
    n, outer = 20, 9
    given, made = {"complex": (n, n), "real": (n, 11), "whole": (11, n)}[kind]
    how = fourier.Transform(kind, n, outer, inner, given, made, kind == "whole", 1.0)
    passes = Passes.of(how.length, 4)
    assert passes is not None
    table, start = fourier.tables(how, passes, "float32" if lanes.size == 4 else "float64")
    kernel, units = fourier.kernel(how, passes, lanes, start)
    plan = Plan((Stage(kernel, ("0", "out0", "1"), units, 1),))
    runner = Runner(plan, [Aval((outer, made, inner), getattr(dtypes, result))])
    x = numbers((outer, given, inner), source)
    found = runner.run(x, table)[0]
    runner.check_guards()
    expected = oracle(x.astype("complex128" if source[0] == "c" else "float64"), axis=1, n=n)
    close(found, (expected * (n if kind == "whole" else 1)).astype(result))


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("shape", [(6, 9), (20, 16), (7, 75), (3, 5, 24), (91, 121), (17, 97)])
@pytest.mark.usefixtures("only_kernels")
def test_transforms_are_numpys(shape: tuple[int, ...], double: bool) -> None:
    """Of real and complex numbers, along each dimension, and along two."""
    x = numbers(shape, "float64" if double else "float32")
    z = numbers(shape, "complex128" if double else "complex64")
    for dim in range(len(shape)):
        for name, a in (("fft", x), ("fft", z), ("ifft", z), ("rfft", x), ("irfft", z)):
            if name == "irfft" and shape[dim] == 3:
                continue
            found = getattr(flambeau.fft, name)(flambeau.from_numpy(a), dim=dim).numpy()
            wide = a.astype(np.result_type(a, np.float64))
            close(found, getattr(np.fft, name)(wide, axis=dim).astype(found.dtype))
    for name, a in (("fft2", x), ("ifft2", z), ("rfft2", x), ("irfft2", z)):
        found = getattr(flambeau.fft, name)(flambeau.from_numpy(a), norm="ortho").numpy()
        wide = a.astype(np.result_type(a, np.float64))
        close(found, getattr(np.fft, name)(wide, norm="ortho").astype(found.dtype))


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("shape", [(8192,), (2, 9009), (3, 17280)])
@pytest.mark.usefixtures("only_kernels")
def test_long_transforms(shape: tuple[int, ...], double: bool) -> None:
    """In two stages."""
    z = numbers(shape, "complex128" if double else "complex64")
    for name in ("fft", "ifft"):
        given = flambeau.from_numpy(z)
        found = getattr(flambeau.fft, name)(given, norm="ortho").numpy()
        oracle = getattr(np.fft, name)(z.astype(np.complex128), norm="ortho")
        close(found, oracle.astype(found.dtype))


def test_threads_change_no_bit() -> None:
    x = flambeau.from_numpy(numbers((300, 128), "float32"))
    z = flambeau.from_numpy(numbers((1 << 16,), "complex64"))
    flambeau.use_deterministic_algorithms(True)
    threads, found = flambeau.get_num_threads(), []
    try:
        for count in (1, 2):
            flambeau.set_num_threads(count)
            y = flambeau.fft.rfft2(x)
            results = (y, flambeau.fft.irfft2(y), flambeau.fft.fft(z))
            found.append([r.numpy().tobytes() for r in results])
    finally:
        flambeau.set_num_threads(threads)
        flambeau.use_deterministic_algorithms(False)
    assert found[0] == found[1]


def test_lengths_without_a_kernel_are_the_references() -> None:
    """Large primes, few transforms: right, if not fast."""
    flambeau.use_deterministic_algorithms(True)
    try:
        for shape in ((4, 202), (2, 64), (1, 9), (40, 1)):
            x = numbers(shape, "float32")
            close(flambeau.fft.fft(flambeau.from_numpy(x)).numpy(), np.fft.fft(x))
    finally:
        flambeau.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("only_kernels")
def test_rows_do_not_touch_each_other() -> None:
    """Neither NaN nor a great number in one reaches another."""
    x = numbers((40, 32), "float32")
    x[3], x[7], x[20, 5] = np.nan, 1e30, np.inf
    for name in ("fft", "rfft"):
        found = getattr(flambeau.fft, name)(flambeau.from_numpy(x)).numpy()
        alone = np.isfinite(x).all(1)
        assert np.isfinite(found[alone]).all()
        assert not np.isfinite(found[~alone]).any(1).all() or np.isnan(found[3]).all()
        oracle = getattr(np.fft, name)(x[alone].astype(np.float64))
        size = np.linalg.norm(oracle, axis=1)
        assert (np.linalg.norm(found[alone] - oracle, axis=1) < 3e-7 * size).all()


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fft2", "rfft2"])
def test_gradients_are_pytorchs(name: str) -> None:
    x = numbers((12, 10), "float64")
    flambeau.use_deterministic_algorithms(True)
    try:
        gradients = []
        for lib in (flambeau, torch):
            leaf = lib.from_numpy(x.copy()).requires_grad_()
            out = getattr(lib.fft, name)(leaf)
            (out.abs() ** 2 * lib.arange(out.numel()).reshape(out.shape)).sum().backward()
            gradients.append(leaf.grad.numpy())
    finally:
        flambeau.use_deterministic_algorithms(False)
    np.testing.assert_allclose(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "f",
    [
        lambda lib, a, b: lib.complex(a.real, b.imag),
        lambda lib, a, b: a.conj() * b,
        lambda lib, a, b: a * b[:1] + 0,
        lambda lib, a, b: lib.real(a * a),
        lambda lib, a, b: a.real.to(a.dtype) * b,
        lambda lib, a, b: lib.fft.fft(a).imag * a.real,
    ],
    ids=["complex", "conj", "broadcast", "square", "cast", "parts"],
)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_in_memory(f, dtype: str) -> None:
    """Compiled programs give PyTorch's complex numbers, special values included."""
    a, b = numbers((2, 5, 37), dtype)
    a[0, :4] = [complex(math.inf, 1), complex(math.nan, 0), complex(0, -math.inf), -0.0]
    found = []
    flambeau.use_deterministic_algorithms(True)
    try:
        for lib in (flambeau, torch):
            given = [lib.from_numpy(v.copy()) * 1 for v in (a, b)]
            found.append(f(lib, *given).resolve_conj().numpy())
    finally:
        flambeau.use_deterministic_algorithms(False)
    assert found[0].dtype == found[1].dtype
    close(found[0][1:], found[1][1:])
    np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(found[1]))
