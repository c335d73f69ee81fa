"""Products of matrices of which one, at least, is sparse."""

from __future__ import annotations

from typing import Any

import numpy as np

import flambeau
from flambeau.functions.inplace import write_out
from flambeau.layouts import sparse_csr
from flambeau.sparse import places
from flambeau.sparse.arithmetic import add
from flambeau.sparse.arithmetic import mul as times
from flambeau.sparse.compressed import CompressedTensor, compress
from flambeau.sparse.coo import CooTensor, coo
from flambeau.sparse.dispatch import is_sparse, operation
from flambeau.tensor import Tensor

__all__ = ["addmm", "hspmm", "mm", "sampled_addmm", "smm", "sparse_mm", "sspaddmm"]


def _checked(a: Tensor, b: Tensor, name: str = "mm") -> None:
    for side, t in (("self", a), ("mat2", b)):
        if t.dim() != 2:
            raise RuntimeError(f"{name}: {side} must be a matrix, got {t.dim()}-D tensor")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(
            f"{name}: Argument #3 (dense): Expected dim 0 size {a.shape[1]}, got {b.shape[0]}"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(f"expected scalar type {_title(a)} but found {_title(b)}")


def _title(t: Tensor) -> str:
    from flambeau.functions.inplace import title

    return title(t.dtype)


def _parts(t: Any) -> tuple[np.ndarray, Tensor]:
    """Places of the numbers of a sparse tensor, and their values in that order."""
    if isinstance(t, CompressedTensor):
        at = t._element_indices()
        return at, t._values_.reshape(at.shape[1])  # type: ignore[attr-defined]
    if t.dense_dim():
        t = flatten(t)
    return places.array_of(t._indices_), t._values_


def flatten(t: CooTensor) -> CooTensor:
    """A hybrid tensor with all its dimensions sparse."""
    dense = t._shape[t.sparse_dim() :]
    n = places.volume(dense)
    at = places.array_of(t._indices_)
    inside = places.unflat(np.arange(n), dense)
    outer = np.repeat(at, n, axis=1)
    inner = np.tile(inside, at.shape[1])
    indices = places.index_tensor(np.concatenate([outer, inner]))
    return coo(indices, t._values_.reshape(-1), t._shape, t._coalesced)  # type: ignore[attr-defined]


def _with_dense(a: Any, b: Tensor) -> Tensor:
    """Sparse (m, k) times strided (k, n): row by row, each scaled and added where it belongs."""
    at, values = _parts(a)
    rows = places.taken(b, at[1]) * values.unsqueeze(1)  # type: ignore[attr-defined]
    return places.summed(rows, at[0], a.shape[0])


def _with_sparse(a: Any, b: Any) -> CooTensor:
    """Sparse times sparse: every element of ``a`` meets the row of ``b`` that its column names."""
    left, x = _parts(a)
    right, y = _parts(b.to_sparse_coo().coalesce())
    starts = places.compressed(right[0], b.shape[0])
    counts = np.diff(starts)[left[1]]
    first = np.repeat(np.arange(left.shape[1]), counts)
    # The rank of each pair among those of its element of ``a``.
    rank = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    second = starts[left[1][first]] + rank
    at = places.index_tensor(np.stack([left[0][first], right[1][second]]))
    pairs = places.taken(x, first) * places.taken(y, second)
    return coo(at, pairs, (a.shape[0], b.shape[1])).coalesce()


@operation("mm", "spmm", "dsmm")
def mm(input: Any, mat2: Any, *, out: Any = None) -> Tensor:
    """The product of two matrices: sparse if both are."""
    found = _product(input, mat2)
    if out is None or is_sparse(found):
        return _into(out, found)
    return write_out(out, found, "mm", (mat2,))


def _product(input: Any, mat2: Any) -> Tensor:
    _checked(input, mat2, "addmm" if is_sparse(input) and not is_sparse(mat2) else "mm")
    if not is_sparse(mat2):
        return _with_dense(input, mat2)
    if not is_sparse(input):
        return _with_dense(mat2.t(), input.t()).t()
    product = _with_sparse(input, mat2)
    if isinstance(input, CompressedTensor) and isinstance(mat2, CompressedTensor):
        return compress(product, sparse_csr)
    return product


spmm = mm


def sparse_mm(mat1: Any, mat2: Any, reduce: str | None = None) -> Tensor:
    """The product of matrices of which one, at least, is sparse; sparse if both are.

    ``reduce`` ("sum", "mean", "amax", "amin") is how the terms of an element are put together,
    for a CSR ``mat1`` and a strided ``mat2``. Gradients of a sparse operand have its pattern.

    >>> a = torch.eye(2).to_sparse()
    >>> torch.sparse.mm(a, torch.ones(2, 1))
    tensor([[1.],
            [1.]])
    """
    if reduce is None:
        if not (is_sparse(mat1) or is_sparse(mat2)):
            return flambeau.mm(mat1, mat2)
        return mm(mat1, mat2)
    if reduce not in ("sum", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, mean, amax or amin, got {reduce}")
    if not (isinstance(mat1, CompressedTensor) and mat1.layout is sparse_csr) or is_sparse(mat2):
        raise NotImplementedError(
            "Could not run 'aten::_sparse_mm_reduce_impl': `reduce` wants a CSR and a strided "
            "matrix."
        )
    _checked(mat1, mat2)
    at, values = _parts(mat1)
    rows = places.taken(mat2, at[1]) * values.unsqueeze(1)  # type: ignore[attr-defined]
    if reduce in ("amax", "amin"):
        start = flambeau.zeros((mat1.shape[0], mat2.shape[1]), dtype=rows.dtype)
        index = places.index_tensor(np.broadcast_to(at[0][:, None], tuple(rows.shape)))
        return start.scatter_reduce(0, index, rows, reduce, include_self=False)
    total = places.summed(rows, at[0], mat1.shape[0])
    if reduce == "mean":
        counts = np.maximum(np.bincount(at[0], minlength=mat1.shape[0]), 1)
        total = total / flambeau.from_numpy(counts).to(total.dtype).unsqueeze(1)
    return total


@operation("addmm")
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``.

    >>> eye = torch.eye(2)
    >>> torch.sparse.addmm(eye, eye.to_sparse(), eye, beta=2)
    tensor([[3., 0.],
            [0., 3.]])
    """
    product = mm(mat1, mat2) if is_sparse(mat1) or is_sparse(mat2) else flambeau.mm(mat1, mat2)
    if is_sparse(input):
        if not is_sparse(product):
            raise RuntimeError("addmm: a sparse `input` needs two sparse matrices")
        return add(times(input, beta), product, alpha=alpha)
    if is_sparse(product):
        product = product.to_dense()
    return (input if beta == 1 else input * beta) + (product if alpha == 1 else product * alpha)


@operation("addmm_")
def addmm_(self: Tensor, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``addmm`` in place."""
    return self.copy_(addmm(self, mat1, mat2, beta=beta, alpha=alpha))  # type: ignore[attr-defined]


@operation("mv")
def mv(input: Any, vec: Tensor) -> Tensor:
    """A sparse matrix times a vector."""
    return mm(input, vec.unsqueeze(1)).squeeze(1)  # type: ignore[attr-defined]


@operation("bmm")
def bmm(input: Any, mat2: Any) -> Tensor:
    """Products of a batch of sparse (b, m, k) and strided (b, k, n) matrices."""
    if is_sparse(mat2):
        if is_sparse(input):
            input.refuse("bmm")
        turned = bmm(mat2.transpose(1, 2), input.transpose(1, 2))
        return turned.transpose(1, 2)  # type: ignore[attr-defined]
    if (
        input.dim() != 3
        or mat2.dim() != 3
        or input.shape[0] != mat2.shape[0]
        or (input.shape[2] != mat2.shape[1])
    ):
        raise RuntimeError(f"bmm: sizes {list(input.shape)} and {list(mat2.shape)} do not fit")
    at, values = _parts(input)
    batch, m, k = input.shape
    rows = places.taken(mat2.reshape(batch * k, mat2.shape[2]), at[0] * k + at[2])  # type: ignore[attr-defined]
    total = places.summed(rows * values.unsqueeze(1), at[0] * m + at[1], batch * m)  # type: ignore[attr-defined]
    return total.reshape(batch, m, mat2.shape[2])  # type: ignore[attr-defined]


@operation("matmul")
def matmul(input: Any, other: Any) -> Tensor:
    """``input @ other``: matrices, a matrix and a vector, or batches of matrices."""
    dims = input.dim(), other.dim()
    if dims == (2, 2):
        return mm(input, other)
    if dims == (2, 1):
        return mv(input, other)
    if dims == (1, 2):
        return mv(other.t(), input)
    if dims == (3, 3):
        return bmm(input, other)
    return (input if is_sparse(input) else other).refuse("matmul")


def sampled_addmm(
    input: Any, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> CompressedTensor:
    """``beta * input + alpha * mat1 @ mat2`` at the places of the CSR tensor ``input`` alone.

    Shapes: (\\*, m, n), (\\*, m, k), (\\*, k, n). Raises ``RuntimeError`` unless they fit and
    ``input`` is CSR.

    >>> eye = torch.eye(2).to_sparse_csr()
    >>> torch.sparse.sampled_addmm(eye, torch.ones(2, 3), torch.ones(3, 2)).to_dense()
    tensor([[4., 0.],
            [0., 4.]])
    """
    if not (isinstance(input, CompressedTensor) and input.layout is sparse_csr):
        raise NotImplementedError(
            f"sampled_addmm: Expected self to have layout SparseCsr, but got {input.layout}"
        )
    batch = tuple(input.shape[:-2])
    fits = (
        mat1.dim() == mat2.dim() == input.dim()
        and tuple(mat1.shape[:-2]) == tuple(mat2.shape[:-2]) == batch
        and mat1.shape[-1] == mat2.shape[-2]
        and (mat1.shape[-2], mat2.shape[-1]) == tuple(input.shape[-2:])
    )
    if not fits:
        raise RuntimeError(
            f"sampled_addmm: mat1 and mat2 shapes cannot be multiplied ({list(mat1.shape)} and "
            f"{list(mat2.shape)}) into {list(input.shape)}"
        )
    if not mat1.dtype is mat2.dtype is input.dtype:
        raise RuntimeError("sampled_addmm: Expected mat1 and mat2 to have the dtype of input")
    at = input._element_indices()
    left = places.flat(at[:-1], (*batch, input.shape[-2]))
    right = places.flat(np.delete(at, -2, axis=0), (*batch, input.shape[-1]))
    k = mat1.shape[-1]
    x = places.taken(mat1.reshape(-1, k), left)  # type: ignore[attr-defined]
    y = places.taken(mat2.transpose(-2, -1).reshape(-1, k), right)  # type: ignore[attr-defined]
    product = (x * y).sum(1).reshape(input._values_.shape)
    values = input._values_ * beta + product * alpha if beta != 0 else product * alpha
    return _into(out, input._with_values(values))


def _into(out: Any, found: Tensor) -> Any:
    """``out`` made to hold a sparse result, which it is without."""
    if out is None:
        return found
    if not is_sparse(out):
        raise RuntimeError("expected a sparse tensor as out, but got a strided one")
    from flambeau.sparse.arithmetic import become

    return become(out, found)


@operation("hspmm", "hsmm")
def hspmm(mat1: Any, mat2: Tensor, *, out: Any = None) -> CooTensor:
    """The product of a sparse and a strided matrix, as a coordinate tensor of rows."""
    at, values = _parts(mat1.coalesce())
    found, group = places.unique(at[0])
    rows = places.taken(mat2, at[1]) * values.unsqueeze(1)  # type: ignore[attr-defined]
    total = places.summed(rows, group, len(found))
    shape = (mat1.shape[0], mat2.shape[1])
    return _into(out, coo(places.index_tensor(found[None]), total, shape, True))


@operation("smm")
def smm(input: Any, mat: Tensor) -> CooTensor:
    """``hspmm`` with every element of the rows held by itself."""
    return flatten(hspmm(input, mat))


@operation("sspaddmm")
def sspaddmm(
    input: Any, mat1: Any, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2`` of a sparse, a sparse and a strided matrix."""
    # What both hold at a place is not yet added up.
    both = [times(input, beta), times(smm(mat1, mat2), alpha)]
    at = np.concatenate([places.array_of(t._indices_) for t in both], axis=1)
    values = flambeau.cat([t._values_ for t in both])
    return _into(out, coo(places.index_tensor(at), values, input.shape))


SAMPLES = {
    "dsmm": "i.float().to_sparse(), m; !i.float().to_sparse(), x",
    "hsmm": "i.float().to_sparse(), m.detach(); !i.float().to_sparse(), x.detach()",
    "hspmm": "(x * truth).to_sparse(), m # no-grad; !(x * truth).to_sparse(), y",
    "smm": "i.float().to_sparse(), m; !i.float().to_sparse(), x",
    "spmm": "i.float().to_sparse(), m; !i.float().to_sparse(), x",
    "sspaddmm": (
        "i.float().to_sparse(), k.float().to_sparse(), m.detach(); "
        "i.float().to_sparse(), k.float().to_sparse(), m.detach(), beta=0.5, alpha=2; "
        "!i.float().to_sparse(), k.float().to_sparse(), x.detach()"
    ),
    "sparse.mm": (
        "(x * truth).to_sparse(), m; (x * truth).to_sparse(), (m * mask).to_sparse(); "
        "x, (m * mask).to_sparse(); (x * truth).to_sparse_csr(), m; !(x * truth).to_sparse(), y"
    ),
    "sparse.addmm": (
        "y, (x * truth).to_sparse(), m; "
        "y, (x * truth).to_sparse(), m, beta=0.5, alpha=2.0 # floats; "
        "!y, (x * truth).to_sparse(), y"
    ),
    "sparse.sampled_addmm": (
        "(m * mask).to_sparse_csr(), x.T, y # no-grad; "
        "(m * mask).to_sparse_csr(), x.T, y, beta=0.5, alpha=2.0 # no-grad; !m, x.T, y"
    ),
}
