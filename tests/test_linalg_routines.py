"""The drivers behind linear algebra: NumPy's LAPACK called directly, what does without, and both
beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from flambeau.ir.reference import eigen, exponentials, lapack, matrices

DTYPES = ["float32", "float64", "complex64", "complex128"]


def stack(dtype: str, *shape: int) -> np.ndarray:
    g = np.random.default_rng(0)
    x = g.standard_normal(shape)
    return (x + 1j * g.standard_normal(shape) if dtype[0] == "c" else x).astype(dtype)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Within the precision, relative to the greatest element."""
    assert found.shape == expected.shape and found.dtype == expected.dtype
    if found.dtype.kind in "iu":
        np.testing.assert_array_equal(found, expected)
        return
    bound = 100 * np.finfo(found.dtype).eps * np.abs(expected).max(initial=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


@pytest.fixture(params=["lapack", "numpy"])
def driver(request, monkeypatch):
    """With the routines that NumPy does not offer, and without."""
    if request.param == "numpy":
        monkeypatch.setattr(lapack, "available", lambda dtype: False)
    elif not lapack.available(np.dtype(np.float32)):
        pytest.skip("this NumPy's LAPACK cannot be called directly")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lead", [(), (1,), (2, 3)])
def test_factors_inverses_solutions(driver, dtype: str, lead: tuple[int, ...]) -> None:
    a, b = stack(dtype, *lead, 5, 5), stack(dtype, *lead, 5, 3)
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    packed, pivots, order, info = matrices.lu(a)
    theirs = torch.linalg.lu_factor_ex(x)
    close(packed, theirs.LU.numpy())
    close(pivots, theirs.pivots.numpy())
    close(info, theirs.info.numpy())
    p = torch.linalg.lu(x).P.real.argmax(-2).numpy()
    np.testing.assert_array_equal(order, p)
    close(matrices.inv(a)[0], torch.linalg.inv(x).numpy())
    close(matrices.solve(a, b)[0], torch.linalg.solve(x, y).numpy())
    close(matrices.det(a), torch.linalg.det(x).numpy())
    positive = a @ np.conj(np.swapaxes(a, -1, -2)) + np.eye(5, dtype=dtype)
    for upper in (False, True):
        found = matrices.cholesky(positive, upper=upper)[0]
        close(found, torch.linalg.cholesky(torch.from_numpy(positive), upper=upper).numpy())


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (2, 7, 4), (3, 4, 7)])
def test_lu_of_other_shapes(driver, shape: tuple[int, ...]) -> None:
    a = stack("float32", *shape)
    packed, pivots, *_ = matrices.lu(a)
    theirs = torch.linalg.lu_factor(torch.from_numpy(a))
    close(packed, theirs.LU.numpy())
    close(pivots, theirs.pivots.numpy())


def test_singular_ones_among_others(driver) -> None:
    a = stack("float64", 4, 3, 3)
    a[1], a[2, 1] = 0, a[2, 0]
    inverse, info = matrices.inv(a)
    np.testing.assert_array_equal(info, torch.linalg.inv_ex(torch.from_numpy(a)).info.numpy())
    for k in (0, 3):
        close(inverse[k], np.linalg.inv(a[k]))
    solution, info = matrices.solve(a, np.eye(3)[None])
    np.testing.assert_array_equal(info != 0, [False, True, True, False])
    close(solution[3], np.linalg.inv(a[3]))
    # Cofactors are there all the same.
    minors = [np.delete(np.delete(a[2], i, 0), j, 1) for i in range(3) for j in range(3)]
    signs = [(-1) ** (i + j) for i in range(3) for j in range(3)]
    expected = np.array([s * np.linalg.det(m) for s, m in zip(signs, minors, strict=True)])
    np.testing.assert_allclose(matrices.cofactor(a)[2], expected.reshape(3, 3), atol=1e-12)


def test_indefinite_and_not_a_number(driver) -> None:
    a = np.stack([np.eye(3), np.diag([1.0, -1.0, 1.0]), np.full((3, 3), np.nan)])
    info = matrices.cholesky(a)[1]
    theirs = torch.linalg.cholesky_ex(torch.from_numpy(a)).info.numpy()
    np.testing.assert_array_equal(info, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_signs_and_logarithms_of_determinants(dtype: str) -> None:
    a = stack(dtype, 5, 4, 4)
    a[1], a[2, 0, 0], a[3] = 0, np.nan, np.eye(4)[::-1]
    sign, size = flambeau.linalg.slogdet(flambeau.from_numpy(a))
    theirs = torch.linalg.slogdet(torch.from_numpy(a))
    for ours, other in ((sign, theirs.sign), (size, theirs.logabsdet)):
        np.testing.assert_allclose(ours.numpy(), other.numpy(), rtol=2e-5, atol=2e-5)


def test_nothing_at_all(driver) -> None:
    for shape in ((0, 0), (0, 3, 3), (2, 0, 0)):
        a = np.zeros(shape)
        x = torch.from_numpy(a)
        close(matrices.inv(a)[0], torch.linalg.inv(x).numpy())
        close(matrices.det(a), torch.linalg.det(x).numpy())
        close(matrices.lu(a)[0], torch.linalg.lu_factor(x).LU.numpy())
        close(matrices.cholesky(a)[0], torch.linalg.cholesky(x).numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_without_vectors(dtype: str) -> None:
    a = stack(dtype, 2, 4, 4)
    h = a + np.conj(np.swapaxes(a, -1, -2))
    for uplo in "LU":
        found = flambeau.linalg.eigvalsh(flambeau.from_numpy(h), UPLO=uplo)
        close(found.numpy(), torch.linalg.eigvalsh(torch.from_numpy(h), UPLO=uplo).numpy())
    for x in (a, a[:, :3], a[0, :, :2], a[:0]):
        found = flambeau.linalg.svdvals(flambeau.from_numpy(x))
        close(found.numpy(), torch.linalg.svdvals(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("name", ["eigvalsh", "svdvals"])
def test_gradients_through_transforms(name: str) -> None:
    """``func.grad`` sees a primitive without vectors; autograd one with them."""
    a = stack("float64", 3, 4, 4)
    a = a + np.swapaxes(a, -1, -2)
    found = []
    for lib, func in ((flambeau, flambeau.func), (torch, torch.func)):

        def loss(x, lib=lib):
            return (getattr(lib.linalg, name)(x) ** 3).sum()

        found.append(func.vmap(func.grad(loss))(lib.from_numpy(a)).numpy())
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_exponentials_in_single_precision(dtype: str) -> None:
    """As near to the double-precision one as PyTorch's, at all sizes at once."""
    sizes = np.array([0, 1e-3, 0.3, 1, 4, 30])[:, None, None] / 6
    a = (stack(dtype, 6, 6, 6) * sizes).astype(dtype)
    wide = np.complex128 if dtype[0] == "c" else np.float64
    exact = torch.matrix_exp(torch.from_numpy(a.astype(wide))).numpy()
    size = np.abs(exact).max((1, 2))
    ours = np.abs(exponentials.matrix_exp(a) - exact).max((1, 2)) / size
    theirs = torch.matrix_exp(torch.from_numpy(a)).numpy()
    theirs = np.abs(theirs - exact).max((1, 2)) / size
    assert (ours <= np.maximum(3 * theirs, 3e-7)).all()
    a[2, 0, 1] = np.nan
    assert np.isnan(exponentials.matrix_exp(a)[2]).all()
    assert np.isfinite(exponentials.matrix_exp(a)[[0, 1, 3]]).all()


def test_orders_that_swaps_make() -> None:
    g = np.random.default_rng(0)
    swaps = np.stack([[g.integers(k, 7) for k in range(1, 6)] for _ in range(4)])
    each = [matrices.pivots_to_order(row, n=6) for row in swaps]
    np.testing.assert_array_equal(matrices.pivots_to_order(swaps, n=6), each)
    np.testing.assert_array_equal(matrices.pivots_to_order(swaps[:1], n=6), each[:1])
    if lapack.available(np.dtype(np.float64)):
        given = swaps.astype(lapack.integers((), np.dtype(np.float64)).dtype)
        np.testing.assert_array_equal(lapack.order(given, 6), each)
        np.testing.assert_array_equal(lapack.order(given.reshape(2, 2, 5), 6).reshape(4, 6), each)
    for shape in ((0, 3), (2, 0), (0, 0)):
        assert matrices.pivots_to_order(np.zeros(shape, np.int32), n=3).shape == (shape[0], 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 5), (2, 6, 4), (2, 4, 6), (3, 1), (1, 3)])
def test_orthogonal_factors(driver, dtype: str, shape: tuple[int, ...]) -> None:
    a = stack(dtype, *shape)
    for mode in ("reduced", "complete"):
        q, r = matrices.qr(a, mode=mode)
        theirs = torch.linalg.qr(torch.from_numpy(a), mode)
        close(q, theirs.Q.numpy())
        close(r, theirs.R.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (3, 40, 40)])
def test_eigenvectors(driver, dtype: str, upper: bool, shape: tuple[int, ...]) -> None:
    """Of one triangle: the other is not read."""
    a = stack(dtype, *shape)
    half = np.triu(a, 1) if upper else np.tril(a, -1)
    i = np.arange(shape[-1])
    whole = half + np.conj(np.swapaxes(half, -1, -2))
    whole[..., i, i] = a[..., i, i].real
    a[..., i, i] = a[..., i, i].real
    w, v = eigen.eigh(a, upper=upper)
    assert w.dtype == a.real.dtype and v.dtype == a.dtype
    close(whole @ v, v * w[..., None, :])
    close(
        np.conj(np.swapaxes(v, -1, -2)) @ v, np.broadcast_to(np.eye(shape[-1], dtype=dtype), shape)
    )
    assert (np.diff(w) >= 0).all()
