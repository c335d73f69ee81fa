"""Methods of strided tensors that concern sparse layouts: conversions to them, and refusals."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NoReturn

from flambeau.layouts import (
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.layouts import layout as Layout


def to_sparse(
    self: Tensor,
    sparse_dim: int | None = None,
    *,
    layout: Layout | None = None,
    blocksize: Sequence[int] | None = None,
    dense_dim: int | None = None,
) -> Tensor:
    """The elements that are not zero, as a sparse tensor: coordinates, unless ``layout`` says else.

    ``sparse_dim`` first dimensions are given by indices (all by default); ``blocksize`` is for BSR
    and BSC, ``dense_dim`` for the compressed layouts.

    >>> tensor([[0, 2], [0, 0]]).to_sparse()
    tensor(indices=tensor([[0],
                           [1]]),
           values=tensor([2]),
           size=(2, 2), nnz=1, layout=torch.sparse_coo)
    """
    from flambeau.sparse import compressed, coo  # upward: sparse tensors are made of functions

    if layout not in (None, sparse_coo):
        if layout is strided:
            return self.to_dense()  # type: ignore[attr-defined]
        return compressed.compress(self, layout, blocksize, dense_dim)
    if isinstance(self, coo.CooTensor):
        if sparse_dim is not None and sparse_dim != self.sparse_dim():
            raise RuntimeError(
                f"to_sparse: conversion from Sparse to Sparse with sparse_dim argument "
                f"!={self.sparse_dim()} is not supported"
            )
        return self
    if isinstance(self, compressed.CompressedTensor):
        return self.to_sparse_coo()
    if dense_dim is not None and sparse_dim is None:
        sparse_dim = self.dim() - dense_dim
    return coo.from_dense(self, sparse_dim)


def to_sparse_coo(self: Tensor) -> Tensor:
    """``to_sparse()``.

    >>> eye(2).to_sparse_coo().layout
    torch.sparse_coo
    """
    return to_sparse(self)


def to_sparse_csr(self: Tensor, dense_dim: int | None = None) -> Tensor:
    """The elements that are not zero, by rows.

    >>> eye(2).to_sparse_csr().crow_indices()
    tensor([0, 1, 2])
    """
    return to_sparse(self, layout=sparse_csr, dense_dim=dense_dim)


def to_sparse_csc(self: Tensor, dense_dim: int | None = None) -> Tensor:
    """The elements that are not zero, by columns.

    >>> eye(2).to_sparse_csc().row_indices()
    tensor([0, 1])
    """
    return to_sparse(self, layout=sparse_csc, dense_dim=dense_dim)


def to_sparse_bsr(self: Tensor, blocksize: Sequence[int], dense_dim: int | None = None) -> Tensor:
    """The blocks that are not all zero, by rows.

    >>> eye(4).to_sparse_bsr((2, 2)).values().shape
    torch.Size([2, 2, 2])
    """
    return to_sparse(self, layout=sparse_bsr, blocksize=blocksize, dense_dim=dense_dim)


def to_sparse_bsc(self: Tensor, blocksize: Sequence[int], dense_dim: int | None = None) -> Tensor:
    """The blocks that are not all zero, by columns.

    >>> eye(4).to_sparse_bsc((2, 2)).ccol_indices()
    tensor([0, 1, 2])
    """
    return to_sparse(self, layout=sparse_bsc, blocksize=blocksize, dense_dim=dense_dim)


def to_dense(self: Tensor, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
    """The same numbers in the strided layout: a strided tensor itself.

    >>> eye(2).to_sparse().to_dense()
    tensor([[1., 0.],
            [0., 1.]])
    """
    return self if dtype is None else self.to(dtype)  # type: ignore[attr-defined]


def sparse_mask(self: Tensor, mask: Tensor) -> Tensor:
    """What the tensor has at the places of a sparse one.

    >>> ones(2, 2).sparse_mask(eye(2).to_sparse()).values()
    tensor([1., 1.])
    """
    from flambeau.sparse import arithmetic  # upward: sparse tensors are made of functions

    return arithmetic.sparse_mask(self, mask)


def sparse_dim(self: Tensor) -> int:
    """How many dimensions are given by indices: none of a strided tensor.

    >>> zeros(2, 3).sparse_dim()
    0
    """
    return 0


def dense_dim(self: Tensor) -> int:
    """How many dimensions are not given by indices.

    >>> zeros(2, 3).dense_dim()
    2
    """
    return self.dim()


def smm(self: Tensor, mat: Tensor) -> Tensor:
    """``torch.smm`` of the tensor."""
    from flambeau.sparse import products  # upward: sparse tensors are made of functions

    return products.smm(self, mat)


def sspaddmm(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``torch.sspaddmm`` of the tensor."""
    from flambeau.sparse import products  # upward: sparse tensors are made of functions

    return products.sspaddmm(self, mat1, mat2, beta=beta, alpha=alpha)


_EXPECTED = {
    "indices": "sparse coordinate",
    "coalesce": "sparse coordinate",
    "is_coalesced": "sparse coordinate",
    "values": "sparse",
    "crow_indices": "sparse row compressed",
    "col_indices": "sparse row compressed",
    "ccol_indices": "sparse column compressed",
    "row_indices": "sparse column compressed",
}


def _of_layout(f: Any) -> Any:
    """A method that, taken from ``Tensor``, is a sparse tensor's own where that has one."""
    name = f.__name__

    @functools.wraps(f)
    def method(self: Tensor, *args: Any, **options: Any) -> Any:
        own = getattr(type(self), name)
        return (f if own is method else own)(self, *args, **options)

    return method


def _expecting(name: str, what: str) -> Any:
    def refused(self: Tensor) -> Any:
        own = getattr(type(self), name)
        if own is not refused:
            return own(self)
        kind = getattr(self, "_kind", "Strided")
        raise RuntimeError(f"{name} expected {what} tensor layout but got {kind}")

    refused.__name__ = name
    refused.__doc__ = f"Raises: ``RuntimeError``: a {what} tensor has it, this is none."
    return refused


def _absent(name: str) -> Any:
    def refused(self: Tensor) -> NoReturn:
        raise NotImplementedError(
            f"Could not run 'aten::{name}' with arguments from the 'CPU' backend."
        )

    refused.__name__ = name
    return refused


def attach() -> None:
    """Gives strided tensors these methods."""
    own = (
        to_sparse, to_sparse_coo, to_sparse_csr, to_sparse_csc, to_sparse_bsr, to_sparse_bsc,
        to_dense, sparse_mask, sparse_dim, dense_dim, smm, sspaddmm,
    )  # fmt: skip
    for f in own:
        setattr(Tensor, f.__name__, _of_layout(f))
    for name, what in _EXPECTED.items():
        setattr(Tensor, name, _expecting(name, what))
    for name in ("_nnz", "_indices", "_values"):
        setattr(Tensor, name, _absent(name))


SAMPLES = {
    "Tensor.to_sparse": "x; x * truth; i; m, 1; truth; x * truth, layout=torch.sparse_csr;"
    "!s.float(), 5",
    "Tensor.to_sparse_coo": "x * truth; i; v",
    "Tensor.to_sparse_csr": "x * truth; i; batch",
    "Tensor.to_sparse_csc": "x * truth; i; batch",
    "Tensor.to_sparse_bsr": "m, (2, 2); i[:2], (1, 2); !m, (3, 2)",
    "Tensor.to_sparse_bsc": "m, (2, 2); i[:2], (1, 2); !m, (3, 2)",
    "Tensor.to_dense": "x; (x * truth).to_sparse(); i.to_sparse_csr(); x, torch.float64;"
    "truth.to_sparse()",
    "Tensor.coalesce": "torch.sparse_coo_tensor(torch.tensor([[0, 0, 1]]), u, (2,)); i.to_sparse();"
    "!x",
    "Tensor.is_coalesced": "torch.sparse_coo_tensor(torch.tensor([[0, 0, 1]]), u, (2,));"
    "i.to_sparse(); !x",
    "Tensor.indices": "i.to_sparse(); (x * truth).to_sparse(); !x;"
    "!torch.sparse_coo_tensor(torch.tensor([[0, 0, 1]]), u, (2,))",
    "Tensor.values": "i.to_sparse(); (x * truth).to_sparse(); i.to_sparse_csr(); !x",
    "Tensor.crow_indices": "i.to_sparse_csr(); !i.to_sparse(); !x",
    "Tensor.col_indices": "i.to_sparse_csr(); !i.to_sparse(); !x",
    "Tensor.ccol_indices": "i.to_sparse_csc(); !i.to_sparse(); !x",
    "Tensor.row_indices": "i.to_sparse_csc(); !i.to_sparse(); !x",
    "Tensor.dense_dim": "i.to_sparse(); i.to_sparse(1); x",
    "Tensor.sparse_dim": "i.to_sparse(); i.to_sparse(1); x",
    "Tensor.sparse_mask": "x, truth.to_sparse(); x.detach(), i.to_sparse(); !x, truth;"
    "!x, m.detach().to_sparse()",
}
