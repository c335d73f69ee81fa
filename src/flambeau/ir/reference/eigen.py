"""Eigenvalues and singular values of stacks of matrices, and pseudo-inverses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from flambeau.errors import LinAlgError
from flambeau.ir.reference import lapack
from flambeau.ir.reference.batches import share, stack, together

Pair = tuple[np.ndarray, np.ndarray]


def _adjoint(x: np.ndarray) -> np.ndarray:
    return np.conj(np.swapaxes(x, -1, -2))


@contextmanager
def _converging(x: np.ndarray, name: str, values: str) -> Iterator[None]:
    """NumPy's refusal of what did not converge as ``LinAlgError``."""
    try:
        yield
    except np.linalg.LinAlgError as error:
        wrong = np.argwhere(~np.isfinite(stack(x)).all((1, 2)))
        where = f" (Batch element {wrong[0, 0]}):" if len(wrong) and x.ndim > 2 else ""
        why = (
            "contained non-finite values."
            if len(wrong)
            else f"is ill-conditioned or has too many repeated {values}."
        )
        raise LinAlgError(
            f"{name}:{where} The algorithm failed to converge because the input matrix {why}"
        ) from error


def eigh(x: np.ndarray, *, upper: bool = False) -> Pair:
    """Ascending eigenvalues and eigenvectors of Hermitian matrices."""
    if x.size and lapack.available(x.dtype):
        values, vectors, info = lapack.eigh(x, upper)
        # Of those that fail NumPy says it, below.
        if not info.any():
            return values, vectors
    with _converging(x, "linalg.eigh", "eigenvalues"):
        w, v = together(lambda part: np.linalg.eigh(part, "U" if upper else "L"), x, 9 * _cube(x))
    return w, v


def eigvalsh(x: np.ndarray, *, upper: bool = False) -> np.ndarray:
    """Ascending eigenvalues of Hermitian matrices, without the eigenvectors."""
    if not x.size:
        return np.zeros(x.shape[:-1], x.real.dtype)
    side: Any = "U" if upper else "L"
    with _converging(x, "linalg.eigh", "eigenvalues"):
        return together(lambda part: (np.linalg.eigvalsh(part, side),), x, 2 * _cube(x))[0]


def eig(x: np.ndarray) -> Pair:
    """Eigenvalues and eigenvectors, complex."""
    kind = np.result_type(x.dtype, np.complex64)
    if not x.size:
        return np.zeros(x.shape[:-1], kind), np.zeros(x.shape, kind)
    if not np.isfinite(x).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")

    def part(x: np.ndarray) -> Pair:
        w, v = np.linalg.eig(x)
        return w.astype(kind), v.astype(kind)

    with _converging(x, "linalg.eig", "eigenvalues"):
        w, v = together(part, x, 25 * _cube(x))
    return w, v


def _cube(x: np.ndarray) -> int:
    """Rows times columns, times the fewer of them."""
    return math.prod(x.shape[-2:]) * min(x.shape[-2:])


def svd(x: np.ndarray, *, full_matrices: bool) -> tuple[np.ndarray, ...]:
    """U, descending singular values, and V^H."""
    if not x.size:
        n, m = x.shape[-2:]
        k, lead = min(n, m), x.shape[:-2]
        rows, columns = (n, m) if full_matrices else (k, k)
        return (
            np.broadcast_to(np.eye(n, rows, dtype=x.dtype), (*lead, n, rows)).copy(),
            np.zeros((*lead, k), x.real.dtype),
            np.broadcast_to(np.eye(columns, m, dtype=x.dtype), (*lead, columns, m)).copy(),
        )

    def part(x: np.ndarray) -> tuple[np.ndarray, ...]:
        return np.linalg.svd(x, full_matrices=full_matrices)

    with _converging(x, "linalg.svd", "singular values"):
        return together(part, x, 20 * _cube(x), panels=True)


def svdvals(x: np.ndarray) -> np.ndarray:
    """Descending singular values, without the vectors."""
    if not x.size:
        return np.zeros((*x.shape[:-2], min(x.shape[-2:])), x.real.dtype)

    def part(x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.linalg.svd(x, compute_uv=False),)

    with _converging(x, "linalg.svd", "singular values"):
        return together(part, x, 4 * _cube(x), panels=True)[0]


def pinv(x: np.ndarray, atol: Any, rtol: Any, *, hermitian: bool) -> np.ndarray:
    """Moore-Penrose inverses; singular values up to max(atol, rtol * largest) count as zero."""
    n, m = x.shape[-2:]
    if not x.size:
        return np.zeros((*x.shape[:-2], m, n), x.dtype)
    if hermitian:
        s, u = eigh(x)
        vh = _adjoint(u)
    else:
        u, s, vh = svd(x, full_matrices=False)
    size = np.abs(s)
    atol, rtol = np.asarray(atol)[..., None], np.asarray(rtol)[..., None]
    limit = np.maximum(atol, rtol * size.max(-1, keepdims=True))
    inverse = np.where(size > limit, 1 / np.where(s == 0, 1, s), 0).astype(s.dtype)
    out = np.empty((*x.shape[:-2], m, n), x.dtype)
    flat, left, right = stack(out), stack(_adjoint(vh)), stack(_adjoint(u))
    scale = inverse.reshape(len(flat), 1, min(n, m))

    def part(begin: int, end: int) -> None:
        flat[begin:end] = (left[begin:end] * scale[begin:end]) @ right[begin:end]

    share(len(flat), part, 2 * _cube(x))
    return out
