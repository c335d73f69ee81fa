"""Coordinate tensors: a list of places, and a value (a number or a dense block) at each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import flambeau
from flambeau.layouts import sparse_coo
from flambeau.sparse import places
from flambeau.sparse.tensor import SparseTensor
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CooTensor", "coo"]


class CooTensor(SparseTensor):
    """``indices`` (sparse dims, nnz), ``values`` (nnz, \\*dense dims); duplicates add up.

    Made by ``sparse_coo_tensor`` and ``to_sparse``. A *coalesced* one has its places in row-major
    order and each only once.
    """

    is_sparse = True
    layout = sparse_coo
    _indices_: Tensor
    _coalesced: bool

    def _with_values(self, values: Tensor) -> CooTensor:
        return coo(self._indices_, values, self._shape, self._coalesced)

    def _values_like(self, dense_or_sparse: Tensor) -> Tensor:
        other = dense_or_sparse
        if isinstance(other, CooTensor):
            if other._indices_ is self._indices_:
                return other._values_
            return at_places(other, self._places())
        if getattr(other, "_is_sparse_layout", False):
            return self._values_like(other.to_sparse_coo())
        return dense_at(other, places.array_of(self._indices_))

    def _index_tensors(self) -> tuple[Tensor, ...]:
        return (self._indices_,)

    def _places(self) -> np.ndarray:
        """The number of each place among the sparse dimensions."""
        return places.flat(places.array_of(self._indices_), self._sparse_shape)

    @property
    def _sparse_shape(self) -> tuple[int, ...]:
        return self._shape[: self.sparse_dim()]

    # --- parts ------------------------------------------------------------------------------

    def sparse_dim(self) -> int:
        """How many dimensions are given by indices."""
        return self._indices_._meta.shape[0]

    def dense_dim(self) -> int:
        """How many dimensions the values have."""
        return len(self._shape) - self.sparse_dim()

    def _nnz(self) -> int:
        return self._indices_._meta.shape[1]

    def _indices(self) -> Tensor:
        return self._indices_.detach()

    def _values(self) -> Tensor:
        return self._values_.detach()

    def indices(self) -> Tensor:
        """The places: (sparse dims, nnz). Raises ``RuntimeError`` unless coalesced."""
        self._need_coalesced("indices")
        return self._indices_.detach()

    def values(self) -> Tensor:
        """The values: (nnz, \\*dense dims), with history. ``RuntimeError`` unless coalesced."""
        self._need_coalesced("values")
        return self._values_.view(self._values_.shape)  # type: ignore[attr-defined]

    def _need_coalesced(self, what: str) -> None:
        if not self._coalesced:
            raise RuntimeError(
                f"Cannot get {what} on an uncoalesced tensor, please call .coalesce() first"
            )

    def is_coalesced(self) -> bool:
        """Whether places are known to be in order and distinct."""
        return self._coalesced

    def _coalesced_(self, coalesced: bool) -> CooTensor:
        self._coalesced = bool(coalesced)
        return self

    def coalesce(self) -> CooTensor:
        """The same tensor with its places in order and the values of duplicates added up."""
        if self._coalesced:
            return self
        keys = self._places()
        if places.in_order(keys):
            return coo(self._indices_, self._values_, self._shape, True)
        found, group = places.unique(keys)
        if len(found) == len(keys):
            order = np.argsort(keys, kind="stable")
            values = places.taken(self._values_, order)
        else:
            values = places.summed(self._values_, group, len(found))
        indices = places.unflat(found, self._sparse_shape)
        return coo(places.index_tensor(indices), values, self._shape, True)

    def _saved_parts(self) -> tuple[Any, tuple]:
        return self.layout, (self._indices(), self._values(), self.shape, self._coalesced)

    # --- other layouts ----------------------------------------------------------------------

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
        """The same numbers as a strided tensor."""
        values = self._values_ if dtype is None else self._values_.to(dtype)  # type: ignore[attr-defined]
        shape = self._sparse_shape
        total = places.summed(values, self._places(), places.volume(shape))
        return total.reshape(self._shape)  # type: ignore[attr-defined]


def coo(
    indices: Tensor, values: Tensor, shape: Sequence[int], coalesced: bool = False
) -> CooTensor:
    """A coordinate tensor of these very parts."""
    made = object.__new__(CooTensor)
    made._indices_, made._values_ = indices, values
    made._shape, made._coalesced = tuple(shape), coalesced
    return made


def from_dense(input: Tensor, sparse_dims: int | None = None) -> CooTensor:
    """The elements (or, of the first ``sparse_dims`` dimensions, blocks) that are not all zero."""
    shape = tuple(input.shape)
    count = len(shape) if sparse_dims is None else sparse_dims
    if not 0 <= count <= len(shape) or (count == 0 and shape):
        raise RuntimeError(
            f"dense_to_sparse: sparse_dim argument must be in [0,{len(shape)}] range, but {count} "
            "is given"
        )
    array = input.detach()._value()._array()
    filled = array != 0
    if count < len(shape):
        filled = filled.any(axis=tuple(range(count, len(shape))))
    indices = (
        np.stack(np.nonzero(np.atleast_1d(filled)))
        if shape
        else np.zeros((0, int(bool(filled))), np.int64)
    )
    return coo(places.index_tensor(indices), dense_at(input, indices), shape, True)


def dense_at(dense: Tensor, indices: np.ndarray) -> Tensor:
    """What a strided tensor has at places (dims, n): (n, \\*the dimensions left)."""
    shape = tuple(dense.shape)
    count = len(indices)
    rows = dense.reshape(places.volume(shape[:count]), *shape[count:])
    return places.taken(rows, places.flat(indices, shape[:count]))


def at_places(tensor: CooTensor, wanted: np.ndarray) -> Tensor:
    """The values of a coordinate tensor at numbered places; zero where it has none."""
    tensor = tensor.coalesce()
    values = tensor._values_
    at, found = places.matched(wanted, tensor._places())
    if not tensor._nnz():
        return flambeau.zeros((len(wanted), *values.shape[1:]), dtype=values.dtype)
    picked = places.taken(values, at)
    if found.all():
        return picked
    there = flambeau.from_numpy(found).reshape(-1, *[1] * (values.dim() - 1))
    return flambeau.where(there, picked, flambeau.zeros((), dtype=values.dtype))
