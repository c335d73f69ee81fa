"""A few extreme eigenpairs of a symmetric matrix, dense or sparse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import flambeau
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["lobpcg"]

# Rows from which on a sparse matrix is not made dense.
_LARGE = 1000


def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Callable | None = None,
    ortho_iparams: dict[str, int] | None = None,
    ortho_fparams: dict[str, float] | None = None,
    ortho_bparams: dict[str, bool] | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The ``k`` largest (or smallest) eigenvalues and eigenvectors of :math:`A x = \lambda B x`.

    ``A`` is symmetric, of shape (..., m, m), ``B`` positive definite (the identity, if it is not
    given). Gives eigenvalues (..., k) and vectors (..., m, k), in descending order for the largest.

    Dense matrices are decomposed, exactly and with gradients, so that ``X``, ``iK``, ``niter`` and
    the other parameters of an iteration say nothing. Sparse matrices of more than a thousand rows
    go through SciPy's iteration [Knyazev 2001], without gradients.

    Raises ``ValueError`` if ``m`` is less than ``3 k``, ``NotImplementedError`` for a ``tracker``.

    >>> torch.lobpcg(torch.diag(tensor([1.0, 2.0, 5.0])), k=1)[0]
    tensor([5.])
    """
    if tracker is not None:
        raise NotImplementedError("lobpcg(): there is no iteration to be tracked")
    m = A.shape[-1]
    k = k if k is not None else (1 if X is None else X.shape[-1])
    largest = True if largest is None else largest
    if m < 3 * k:
        raise ValueError(
            f"LOBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than "
            f"3 x the number of requested eigenpairs (={k})"
        )
    if A.is_sparse and m > _LARGE:
        return _iterated(A, k, B, X, niter, tol, largest)
    matrix: Any = A.to_dense() if A.is_sparse else A  # type: ignore[attr-defined]
    if B is None:
        values, vectors = flambeau.linalg.eigh(matrix)
    else:
        root: Any = flambeau.linalg.cholesky(B.to_dense() if B.is_sparse else B)  # type: ignore[attr-defined]
        half = flambeau.linalg.solve_triangular(root, matrix, upper=False)
        values, inner = flambeau.linalg.eigh(
            flambeau.linalg.solve_triangular(root.mT, half, upper=True, left=False)
        )
        vectors = flambeau.linalg.solve_triangular(root.mT, inner, upper=True)
    if not largest:
        return values[..., :k], vectors[..., :k]
    return values[..., -k:].flip(-1), vectors[..., -k:].flip(-1)


def _iterated(
    A: Any, k: int, B: Any, X: Any, niter: int | None, tol: float | None, largest: bool
) -> tuple[Tensor, Tensor]:
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import lobpcg as iterate

    def operand(t: Any) -> Any:
        if t is None or not t.is_sparse:
            return None if t is None else t.detach().numpy()
        t = t.detach().coalesce()
        return csr_array((t.values().numpy(), t.indices().numpy()), t.shape)

    start = flambeau.randn(A.shape[-1], k, dtype=A.dtype) if X is None else X
    values, vectors = iterate(
        operand(A), start.detach().numpy(), operand(B), tol=tol, largest=largest,
        maxiter=1000 if niter is None else niter,
    )  # fmt: skip
    kind = A.dtype.numpy
    return tuple(flambeau.from_numpy(np.array(a, kind)) for a in (values, vectors))  # type: ignore[return-value]
