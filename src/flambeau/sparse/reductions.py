"""Sums and softmax over dimensions of sparse tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import flambeau
from flambeau.functions.dims import wrap_dim
from flambeau.layouts import sparse_csr
from flambeau.sparse import places
from flambeau.sparse.arithmetic import settled
from flambeau.sparse.compressed import CompressedTensor, compress
from flambeau.sparse.coo import CooTensor, coo
from flambeau.sparse.dispatch import is_sparse, operation
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["log_softmax", "softmax", "sum_over"]


def _listed(dim: Any, n: int) -> tuple[int, ...]:
    found = [wrap_dim(d, n) for d in (dim if isinstance(dim, (list, tuple)) else [dim])]
    if len(set(found)) != len(found):
        raise RuntimeError(f"dim {dim} appears multiple times in the list of dims")
    return tuple(found)


def sum_over(input: Any, dim: int | Sequence[int] | None = None, dtype: Any = None) -> Tensor:
    """The sum of a sparse tensor over all dimensions or the given ones.

    Where no sparse dimension is left the result is strided; else it is sparse.

    >>> torch.sparse.sum(torch.eye(2).to_sparse(), 0).to_dense()
    tensor([1., 1.])
    """
    if not is_sparse(input):
        return flambeau.sum(input) if dim is None else flambeau.sum(input, dim, dtype=dtype)
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return input._values_.sum(dtype=dtype)
    if isinstance(input, CompressedTensor):
        raise RuntimeError(
            "torch.sparse.sum over dimensions wants a tensor of layout torch.sparse_coo, got "
            f"{input.layout}"
        )
    dims = _listed(dim, input.dim())
    sparse = input.sparse_dim()
    input = input.coalesce()
    inner = [d - sparse + 1 for d in dims if d >= sparse]
    outer = [d for d in dims if d < sparse]
    values = input._values_ if dtype is None else input._values_.to(dtype)  # type: ignore[attr-defined]
    if dtype is None and not (values.is_floating_point() or values.is_complex()):
        values = values.to(flambeau.int64)  # type: ignore[attr-defined]
    if inner:
        values = values.sum(inner)  # type: ignore[attr-defined]
    if len(outer) == sparse:
        return values.sum(0)  # type: ignore[attr-defined]
    kept = [d for d in range(sparse) if d not in outer]
    shape = tuple(n for d, n in enumerate(input._shape) if d not in dims)
    if not outer:
        return coo(input._indices_, values, shape, True)
    at = places.array_of(input._indices_)[kept]
    return coo(places.index_tensor(at), values, shape).coalesce()


@operation("_sum_all")
def _sum_all(input: Any, dtype: Any = None) -> Tensor:
    return sum_over(input, None, dtype)


@operation("_sum_dims")
def _sum_dims(input: Any, dim: Any, keepdim: bool = False, dtype: Any = None) -> Tensor:
    if isinstance(input, CompressedTensor):
        if input.layout is not sparse_csr or not keepdim or input.dim() != 2:
            raise RuntimeError(
                "reduction operations on CSR tensors with keepdim=False is unsupported"
            )
        total = sum_over(input.to_sparse_coo(), dim, dtype)
        dims = _listed(dim, 2)
        for d in sorted(dims):
            total = total.unsqueeze(d)  # type: ignore[attr-defined]
        return compress(total, sparse_csr)
    dims = range(input.dim()) if dim is None else _listed(dim, input.dim())
    total = sum_over(input, list(dims), dtype)
    for d in sorted(dims if keepdim else ()):
        total = total.unsqueeze(d)  # type: ignore[attr-defined]
    return total


def _grouped(input: CooTensor, dim: int) -> tuple[np.ndarray, int]:
    """The number of each element's line along ``dim``, and how many lines there are."""
    at = np.delete(places.array_of(input._indices_), dim, axis=0)
    shape = tuple(n for d, n in enumerate(input._sparse_shape) if d != dim)
    found, group = places.unique(places.flat(at, shape))
    return group, len(found)


def _normalised(input: Any, dim: int, dtype: Any, log: bool) -> Tensor:
    name = "log_softmax" if log else "softmax"
    if not isinstance(input, CooTensor):
        raise RuntimeError(f"torch.sparse.{name}: a tensor of layout torch.sparse_coo is wanted")
    kept: Any = settled(input if dtype is None else input.to(dtype))  # type: ignore[attr-defined]
    d = wrap_dim(dim, kept.dim())
    sparse = kept.sparse_dim()
    values = kept._values_
    if d >= sparse:
        return kept._with_values(getattr(flambeau, name)(values, d - sparse + 1))
    group, lines = _grouped(kept, d)
    highest = np.full((lines, *values.shape[1:]), -np.inf, np.float64)
    np.maximum.at(highest, group, values.detach()._value()._array().astype(np.float64))
    highest[np.isneginf(highest)] = 0
    shift = flambeau.from_numpy(highest[group]).to(values.dtype)
    moved = values - shift
    grown = moved.exp()
    total = places.taken(places.summed(grown, group, lines), group)
    return kept._with_values(moved - total.log() if log else grown / total)  # type: ignore[attr-defined]


def softmax(input: Any, dim: int, *, dtype: Any = None) -> Tensor:
    r""":math:`e^{x_i} / \sum_j e^{x_j}` along a dimension, over the elements that are held.

    >>> torch.sparse.softmax(torch.eye(2).to_sparse(), 1).to_dense()
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _normalised(input, dim, dtype, False)


def log_softmax(input: Any, dim: int, *, dtype: Any = None) -> Tensor:
    """The logarithm of :func:`softmax`, at the places that are held.

    >>> torch.sparse.log_softmax(torch.eye(2).to_sparse(), 1).values()
    tensor([0., 0.])
    """
    return _normalised(input, dim, dtype, True)


SAMPLES = {
    "sparse.sum": (
        "(x * truth).to_sparse(); (x * truth).to_sparse(), 0 # floats; "
        "(x * truth).to_sparse(), -1 # floats; (x * truth).to_sparse(), (0, 1); "
        "(x * truth).to_sparse(), 1, torch.float64; (i * k).to_sparse(); "
        "!(x * truth).to_sparse(), 2"
    ),
    "sparse.softmax": (
        "(x * truth).to_sparse(), 1; (x * truth).to_sparse(), 0; "
        "(x * truth).to_sparse(), -1, dtype=torch.float64; !(x * truth).to_sparse(), 2"
    ),
    "sparse.log_softmax": (
        "(x * truth).to_sparse(), 1; (x * truth).to_sparse(), 0; "
        "(x * truth).to_sparse(), -1, dtype=torch.float64; !(x * truth).to_sparse(), 2"
    ),
}
