"""Linear algebra beside PyTorch's: values, gradients, second gradients, failures."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import flambeau
from beside_torch import compare, same_refusal

RNG = np.random.default_rng(3)


def complex_normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


ARRAYS = {
    "A": RNG.standard_normal((3, 3)) + 2 * np.eye(3),
    "B": RNG.standard_normal((2, 3, 3)),
    "C": complex_normal(3, 3),
    "T": RNG.standard_normal((5, 3)),
    "W": RNG.standard_normal((3, 5)),
    "D": complex_normal(4, 2),
    "S": np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]]),
    "v": RNG.standard_normal(3),
    "r": RNG.standard_normal((3, 2)),
    "q": RNG.standard_normal((2, 3, 2)),
    "k": RNG.standard_normal((5, 2)),
    "n": RNG.integers(-3, 4, (3, 3)),
}
# What has a unique result, with its second gradient.
CALLS = """
torch.linalg.det(A); torch.linalg.det(B); torch.linalg.det(C); torch.linalg.slogdet(A)
torch.linalg.slogdet(C); torch.logdet(A @ A.T); torch.linalg.inv(A); torch.linalg.inv(C)
torch.linalg.inv_ex(B); torch.linalg.solve(A, v); torch.linalg.solve(B, q); torch.linalg.solve(A, q)
torch.linalg.solve(A, W.T[:, :3], left=False); torch.linalg.solve_ex(A, r); torch.linalg.solve(C, C)
torch.linalg.cholesky(A @ A.T); torch.linalg.cholesky(C @ C.mH); torch.cholesky(A @ A.T, upper=True)
torch.linalg.cholesky_ex(B @ B.mT); torch.linalg.solve_triangular(A, r, upper=True)
torch.linalg.solve_triangular(A, W.T, upper=False, left=False, unitriangular=True)
torch.linalg.lu(A); torch.linalg.lu(T); torch.linalg.lu(W); torch.linalg.lu_factor(C)
torch.linalg.lu_solve(*torch.linalg.lu_factor(A), r)
torch.linalg.lu_solve(*torch.linalg.lu_factor(A), W.T, left=False, adjoint=True)
torch.linalg.svdvals(T); torch.linalg.svdvals(W); torch.linalg.eigvalsh(A + A.T)
torch.linalg.eigvalsh(C + C.mH); torch.linalg.eigh(A + A.T)[1].abs()
torch.linalg.eigh(C + C.mH)[1].abs()
torch.linalg.svd(T, full_matrices=False)[0].abs(); torch.linalg.svd(W, full_matrices=False)[2].abs()
torch.linalg.svd(D, full_matrices=False)[0].abs(); torch.svd(A)[2].abs(); torch.linalg.pinv(T)
torch.linalg.pinv(W); torch.linalg.pinv(D); torch.linalg.pinv(A, hermitian=False, rtol=0.2)
torch.linalg.qr(A)[1].abs(); torch.linalg.qr(T)[0].abs(); torch.linalg.qr(W)[1].abs()
torch.linalg.qr(D)[1].abs(); torch.linalg.matrix_exp(A); torch.matrix_exp(B); torch.matrix_exp(C)
torch.linalg.matrix_power(A, 5); torch.linalg.matrix_power(A, -2); torch.matrix_power(n, 3)
torch.linalg.multi_dot([v, W, k, k.T]); torch.chain_matmul(A, W, k)
torch.linalg.vecdot(T, T + 1, dim=0)
torch.linalg.cross(A[None], B); torch.linalg.vander(v, N=4); torch.linalg.diagonal(B)
torch.linalg.vector_norm(T, 3, dim=0); torch.linalg.vector_norm(T); torch.linalg.norm(A)
torch.linalg.matrix_norm(B); torch.linalg.matrix_norm(B, "nuc"); torch.linalg.matrix_norm(T, 2)
torch.linalg.matrix_norm(T, 1); torch.linalg.matrix_norm(T, -inf); torch.linalg.norm(T, 2, dim=1)
torch.linalg.cond(A); torch.linalg.lstsq(T, k)
torch.linalg.tensorinv(B[:, :, 0].reshape(2, 3)[:, :2].reshape(2, 1, 2), 1)
torch.linalg.tensorsolve(A, v); torch.cholesky_solve(r, torch.linalg.cholesky(A @ A.T))
torch.cholesky_inverse(torch.linalg.cholesky(A @ A.T)); torch.triangular_solve(r, A, transpose=True)
torch.linalg.householder_product(T, v); torch.lu_unpack(*torch.linalg.lu_factor(A))
torch.inverse(A); torch.det(A); torch.pinverse(T); torch.slogdet(A); torch.qr(A)[1].abs()
"""
CASES = [c.strip() for line in CALLS.strip().splitlines() for c in line.split(";")]
# What is not differentiable, here or there.
PLAIN = """
torch.linalg.matrix_rank(S); torch.linalg.matrix_rank(B, hermitian=False, tol=0.5)
torch.linalg.ldl_factor(A + A.T); torch.linalg.ldl_factor(C + C.mH, hermitian=True)
torch.linalg.ldl_solve(*torch.linalg.ldl_factor(A + A.T), r); torch.geqrf(T)
torch.ormqr(*torch.geqrf(T), k); torch.ormqr(*torch.geqrf(T), k.T, left=False, transpose=True)
torch.linalg.eigvals(A).abs().sort().values; torch.linalg.lu_factor_ex(S)
torch.linalg.lstsq(T, k, driver="gelsd"); torch.linalg.inv_ex(torch.zeros(2, 2))[1]
torch.linalg.cond(A, 1); torch.linalg.cond(A, "fro"); torch.linalg.cond(B, -2)
torch.linalg.qr(T, mode="complete")[1].abs(); torch.linalg.qr(T, "r")[1].abs()
torch.linalg.cholesky_ex(S)[1]; torch.linalg.svd(T)[1]; torch.lu(A)
"""
PLAINS = [c.strip() for line in PLAIN.strip().splitlines() for c in line.split(";")]
# PyTorch's gradient of these is written without a second derivative, or is not unique.
FIRST_ONLY = ("householder", "lu(W)", "tensorinv", "slogdet(C)", "D", "cholesky_solve")


def used(call: str) -> dict[str, np.ndarray]:
    return {n: a for n, a in ARRAYS.items() if re.search(rf"(?<![\w.\"]){n}(?![\w\"=])", call)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CASES)
def test_agrees_with_torch(call: str) -> None:
    compare(call, used(call), second=not any(f in call for f in FIRST_ONLY), tolerance=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", PLAINS)
def test_agrees_without_gradient(call: str) -> None:
    compare(call, used(call), grad=False, second=False)


def test_eigenvectors_solve_the_equation_and_differentiate() -> None:
    a = flambeau.from_numpy(ARRAYS["A"].copy()).requires_grad_(True)
    w, v = flambeau.linalg.eig(a)
    np.testing.assert_allclose(
        (a.to(flambeau.complex128) @ v).detach().numpy(), (v * w).detach().numpy(), atol=1e-10
    )
    (v.abs().sum() + w.abs().sum()).backward()
    b = torch.from_numpy(ARRAYS["A"].copy()).requires_grad_(True)
    w2, v2 = torch.linalg.eig(b)
    (v2.abs().sum() + w2.abs().sum()).backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), atol=1e-9)


def test_det_of_a_singular_matrix_has_its_gradient() -> None:
    s = flambeau.from_numpy(ARRAYS["S"].copy()).requires_grad_(True)
    flambeau.det(s).backward()
    minors = [
        [
            (-1) ** (i + j) * np.linalg.det(np.delete(np.delete(ARRAYS["S"], i, 0), j, 1))
            for j in range(3)
        ]
        for i in range(3)
    ]
    np.testing.assert_allclose(s.grad.numpy(), minors, atol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        "torch.linalg.cholesky(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))",
        "torch.linalg.cholesky(-torch.ones(2, 1, 1))", "torch.linalg.inv(torch.zeros(2, 2))",
        "torch.inverse(torch.zeros(1, 2, 2))",
        "torch.linalg.solve(torch.zeros(2, 2), torch.ones(2))",
        "torch.linalg.lu_factor(torch.zeros(2, 2))", "torch.linalg.cholesky(torch.ones(2, 3))",
        "torch.linalg.inv(torch.ones(3))", "torch.linalg.eigh(torch.ones(2, 3))",
        "torch.linalg.det(torch.ones(2, 2, dtype=torch.int64))",
        "torch.linalg.qr(torch.ones(2, 2), 'other')",
        "torch.linalg.solve(torch.eye(2), torch.ones(3))",
    ],
)  # fmt: skip
def test_errors_are_torchs(call: str) -> None:
    same_refusal(call)


def test_lu_without_pivoting() -> None:
    a = ARRAYS["A"] @ ARRAYS["A"].T
    p, low, up = flambeau.linalg.lu(flambeau.from_numpy(a), pivot=False)
    assert p.numel() == 0
    np.testing.assert_allclose((low @ up).numpy(), a, atol=1e-12)


def test_a_failed_decomposition_raises_at_its_call_and_harms_nothing() -> None:
    k = flambeau.tensor([[1.0, 2.0], [2.0, 1.0]], requires_grad=True)
    doubled = k * 2
    with pytest.raises(flambeau.linalg.LinAlgError):
        flambeau.linalg.cholesky(doubled)
    low = flambeau.linalg.cholesky(doubled + 5 * flambeau.eye(2))
    low.sum().backward()
    assert np.isfinite(k.grad.numpy()).all()
    assert issubclass(flambeau.linalg.LinAlgError, RuntimeError)


def test_low_rank_decompositions() -> None:
    x = np.outer(np.arange(6.0), np.arange(1.0, 5.0)) + np.eye(6, 4)
    u, s, v = flambeau.svd_lowrank(flambeau.from_numpy(x), q=4)
    np.testing.assert_allclose(((u * s) @ v.mT).numpy(), x, atol=1e-8)
    _, s, _ = flambeau.pca_lowrank(flambeau.from_numpy(x), q=4)
    want = np.linalg.svd(x - x.mean(0), compute_uv=False)
    np.testing.assert_allclose(s.numpy(), want, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", ["eigh", "cholesky"])
def test_gradients_beyond_hermitian_changes_are_torchs(name: str, dtype: str) -> None:
    """The matrix itself is the leaf: which of the gradients that fit it gets shows."""
    rng = np.random.default_rng(0)
    part = rng.standard_normal((2, 3, 3))
    made = part if dtype == "float64" else part + 1j * rng.standard_normal((2, 3, 3))
    given = made @ made.conj().swapaxes(-1, -2) + 3 * np.eye(3)
    found = []
    for module in (torch, flambeau):
        x = module.from_numpy(given.copy()).requires_grad_()
        if name == "eigh":
            values, vectors = module.linalg.eigh(x)
            loss = (values * module.arange(3.0)).sum() + (vectors.abs() ** 3)[:, 0].sum()
        else:
            loss = (module.linalg.cholesky(x) * module.from_numpy(made)).real.sum()
        loss.backward()
        found.append(x.grad.numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-10)


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
@pytest.mark.parametrize("name", ["pinv", "matrix_rank"])
@pytest.mark.parametrize("lead", [(), (2,), (3, 1)])
@pytest.mark.parametrize("which", ["atol", "rtol"])
def test_tolerances_that_broadcast(name: str, lead: tuple[int, ...], which: str) -> None:
    """A tolerance for each of several results, of which one matrix may have many."""
    a = torch.randn(*lead, 4, 3, dtype=torch.float64)
    limits = torch.tensor([[0.1, 0.5], [1e-6, 2.0], [0.3, 0.9]], dtype=torch.float64)
    given = limits if lead else limits.reshape(-1)
    expected = getattr(torch.linalg, name)(a, **{which: given})
    mine = flambeau.tensor(a.tolist(), dtype=flambeau.float64)
    options = {which: flambeau.tensor(given.tolist(), dtype=flambeau.float64)}
    found = getattr(flambeau.linalg, name)(mine, **options)
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m.linalg.svd(x),
        lambda m, x: m.linalg.svdvals(x),
        lambda m, x: m.linalg.pinv(x),
        lambda m, x: m.linalg.matrix_rank(x),
        lambda m, x: m.linalg.cond(x),
        lambda m, x: m.linalg.matrix_norm(x, "nuc"),
    ],
)
@pytest.mark.parametrize("batch", [False, True])
def test_singular_values_of_what_is_not_finite(call, batch: bool) -> None:
    """They are refused by the call, as a ``RuntimeError``."""
    rows = [[float("nan"), 1.0], [1.0, 2.0]]
    given = [[[1.0, 0.0], [0.0, 1.0]], rows] if batch else rows
    with pytest.raises(torch.linalg.LinAlgError) as expected:
        call(torch, torch.tensor(given))
    with pytest.raises(flambeau.linalg.LinAlgError) as found:
        call(flambeau, flambeau.tensor(given))
    assert isinstance(found.value, RuntimeError)
    assert str(found.value) == str(expected.value)


def test_gradient_of_a_determinant_that_is_nan() -> None:
    x = flambeau.tensor([[[float("nan"), 1.0], [1.0, 2.0]], [[1.0, 2.0], [2.0, 4.0]]])
    x.requires_grad_()
    flambeau.linalg.det(x).sum().backward()
    assert x.grad[0].isnan().all()
    np.testing.assert_allclose(x.grad[1].numpy(), [[4.0, -2.0], [-2.0, 1.0]], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1, 1), (3, 3), (0, 0)])
def test_matrix_exp_of_16_bits(dtype: str, shape: tuple[int, ...]) -> None:
    """Rounded once from what it is in 32 bits; and its gradient comes back in 16."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
    expected = torch.linalg.matrix_exp(x.double()).to(x.dtype)
    mine = flambeau.tensor(x.tolist(), dtype=getattr(flambeau, dtype)).reshape(shape)
    mine.requires_grad_()
    found = flambeau.linalg.matrix_exp(mine)
    np.testing.assert_allclose(
        np.array(found.tolist()), np.array(expected.tolist()), rtol=2 * torch.finfo(x.dtype).eps
    )
    found.sum().backward()
    assert mine.grad.dtype is mine.dtype and mine.grad.shape == mine.shape
    assert mine.grad.isfinite().all()
