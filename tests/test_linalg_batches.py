"""Batches of matrices shared out among threads: every matrix once, the same bits, BLAS left as it
was."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import flambeau
from flambeau.ir.reference import batches, blas, eigen, lapack, matrices

DTYPES = ["float32", "float64", "complex64", "complex128"]


@pytest.fixture
def several(monkeypatch) -> Iterator[int]:
    """Three threads, however little there is to do."""
    if blas.threads() == 1:
        blas.set_threads(3)
        if blas.threads() == 1:
            pytest.skip("this NumPy's BLAS cannot be told how many threads to use")
        blas.set_threads(1)
    before = blas.threads()
    monkeypatch.setattr(batches, "_WORTH", 0)
    blas.set_threads(3)
    yield 3
    assert blas.threads() == 3, "left otherwise"
    blas.set_threads(before)


def stack(dtype: str, *shape: int) -> np.ndarray:
    g = np.random.default_rng(0)
    x = g.standard_normal(shape)
    return (x + 1j * g.standard_normal(shape) if dtype[0] == "c" else x).astype(dtype)


@pytest.mark.parametrize("count", [3, 7, 24, 25, 1000])
def test_every_matrix_is_in_one_part(several: int, count: int) -> None:
    seen = np.zeros(count, int)
    threads = set()

    def work(begin: int, end: int) -> None:
        seen[begin:end] += 1
        threads.add(threading.get_ident())

    batches.share(count, work, 1.0)
    assert (seen == 1).all() and len(threads) <= several


def test_blas_keeps_to_its_caller_meanwhile(several: int) -> None:
    asked = blas._own("get_num_threads")
    counts = []
    batches.share(30, lambda begin, end: counts.append(asked()), 1.0)
    assert set(counts) == {1} and asked() == several


def test_another_count_may_be_set_meanwhile(several: int) -> None:
    asked = blas._own("get_num_threads")
    with blas.alone():
        blas.set_threads(2)
        assert asked() == 1 and blas.threads() == 2
    assert asked() == 2
    blas.set_threads(several)


def test_a_part_may_hold_others(several: int) -> None:
    seen = np.zeros((12, 12), int)

    def outer(begin: int, end: int) -> None:
        for row in range(begin, end):

            def inner(first: int, last: int, row: int = row) -> None:
                seen[row, first:last] += 1

            batches.share(12, inner, 1.0)

    batches.share(12, outer, 1.0)
    assert (seen == 1).all()


def test_a_failure_is_the_callers(several: int) -> None:
    for failing in range(12):

        def work(begin: int, end: int, failing: int = failing) -> None:
            if begin <= failing < end:
                raise ValueError(f"matrix {failing}")

        with pytest.raises(ValueError, match=f"matrix {failing}"):
            batches.share(12, work, 1.0)


CALLS: dict[str, Callable[[np.ndarray], object]] = {
    "cholesky": lambda a: matrices.cholesky(a),
    "lu": lambda a: matrices.lu(a),
    "inv": lambda a: matrices.inv(a),
    "solve": lambda a: matrices.solve(a, a[..., :3]),
    "solve of one": lambda a: matrices.solve(a[0, 0], a),
    "triangular": lambda a: matrices.solve_triangular(a, a[:, :1], upper=True),
    "cholesky_solve": lambda a: matrices.cholesky_solve(a, a[:1], upper=False),
    "det": lambda a: matrices.det(a),
    "slogdet": lambda a: matrices.slogdet(a),
    "cofactor": lambda a: matrices.cofactor(a),
    "qr": lambda a: matrices.qr(a[..., :9], mode="complete"),
    "eigh": lambda a: eigen.eigh(a),
    "eigvalsh": lambda a: eigen.eigvalsh(a),
    "eig": lambda a: eigen.eig(a),
    "svd": lambda a: eigen.svd(a[..., :9], full_matrices=True),
    "svdvals": lambda a: eigen.svdvals(a),
    "pinv": lambda a: eigen.pinv(a[..., :9], 0.0, np.float32(1e-6), hermitian=False),
    "pinv of Hermitian ones": lambda a: eigen.pinv(a, 0.0, np.float32(1e-6), hermitian=True),
}


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("name", CALLS)
def test_threads_change_no_bit(several: int, name: str, dtype: str) -> None:
    a = stack(dtype, 2, 13, 12, 12)
    a = a @ np.conj(np.swapaxes(a, -1, -2)) + np.eye(12, dtype=dtype)
    # Rows and columns exchanged: memory that is not contiguous.
    a = np.swapaxes(np.conj(a), -1, -2)
    found = CALLS[name](a)
    blas.set_threads(1)
    alone = CALLS[name](a)
    blas.set_threads(several)
    for x, y in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, alone)), strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_singular_ones_in_other_parts(several: int) -> None:
    a = stack("float64", 30, 4, 4)
    a[17, 2] = 0
    a[29] = 0
    info = matrices.inv(a)[1]
    np.testing.assert_array_equal(info, torch.linalg.inv_ex(torch.from_numpy(a)).info.numpy())
    with pytest.raises(flambeau.linalg.LinAlgError, match="Batch element 17"):
        flambeau.linalg.inv(flambeau.from_numpy(a))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(
    "leads", [((), ()), ((2, 3), ()), ((), (2, 3)), ((3,), (2, 1)), ((0,), ())]
)
def test_triangular_systems(dtype: str, upper: bool, leads: tuple) -> None:
    if not lapack.available(np.dtype(dtype)):
        pytest.skip("this NumPy's BLAS cannot be called directly")
    a, b = stack(dtype, *leads[0], 4, 4) + 4 * np.eye(4, dtype=dtype), stack(dtype, *leads[1], 4, 3)
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    for unit in (False, True):
        found = matrices.solve_triangular(a, b, upper=upper, unit=unit)
        theirs = torch.linalg.solve_triangular(x, y, upper=upper, unitriangular=unit)
        np.testing.assert_allclose(found, theirs.numpy(), rtol=2e-4, atol=2e-4)
    low = np.triu(a) if upper else np.tril(a)
    found = matrices.cholesky_solve(b, low, upper=upper)
    theirs = torch.cholesky_solve(y, torch.from_numpy(low), upper=upper)
    np.testing.assert_allclose(found, theirs.numpy(), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("unit", [False, True])
def test_only_one_triangle_is_read(unit: bool) -> None:
    a, b = stack("float32", 5, 5), stack("float32", 5, 2)
    whole = matrices.solve_triangular(a, b, upper=False, unit=unit)
    a[np.triu_indices(5, int(not unit))] = np.nan
    np.testing.assert_array_equal(matrices.solve_triangular(a, b, upper=False, unit=unit), whole)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_has_threads_of_its_own(several: int) -> None:
    a = stack("float32", 30, 8, 8)
    expected = matrices.inv(a)[0]
    with blas.alone():
        child = os.fork()
        if not child:
            right = blas.threads() == several and (matrices.inv(a)[0] == expected).all()
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
