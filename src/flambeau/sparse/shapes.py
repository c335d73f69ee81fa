"""Dimensions of sparse tensors: turned, added, taken away, chosen from, joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import flambeau
from flambeau.functions.dims import wrap_dim
from flambeau.layouts import sparse_bsc, sparse_bsr, sparse_csc, sparse_csr
from flambeau.sparse import places
from flambeau.sparse.compressed import CompressedTensor, compress, compressed
from flambeau.sparse.coo import CooTensor, coo
from flambeau.sparse.dispatch import operation
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cat", "getitem", "permute", "select"]

_TURNED = {
    sparse_csr: sparse_csc, sparse_csc: sparse_csr, sparse_bsr: sparse_bsc, sparse_bsc: sparse_bsr,
}  # fmt: skip


@operation("permute")
def permute(input: Any, *dims: Any) -> Tensor:
    """Dimensions in another order; sparse ones stay before dense ones."""
    listed = dims[0] if len(dims) == 1 and isinstance(dims[0], (list, tuple)) else dims
    order = [wrap_dim(d, input.dim()) for d in listed]
    if sorted(order) != list(range(input.dim())):
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {input.dim()} is "
            f"not equal to len(dims) = {len(order)}"
        )
    if isinstance(input, CompressedTensor):
        return _turned(input, order)
    n = input.sparse_dim()
    if any(d >= n for d in order[:n]):
        raise RuntimeError(
            "transpose: sparse and dense dimensions cannot be exchanged: a tensor with "
            f"{n} sparse dimensions, dims {order}"
        )
    at = places.array_of(input._indices_)[order[:n]]
    values = input._values_
    if order[n:] != list(range(n, input.dim())):
        values = values.permute(0, *[d - n + 1 for d in order[n:]])
    shape = [input._shape[d] for d in order]
    same = order[:n] == list(range(n))
    return coo(places.index_tensor(at), values, shape, input._coalesced and same)


def _turned(input: CompressedTensor, order: list[int]) -> Tensor:
    """Rows and columns exchanged: the same arrays, in the layout's counterpart."""
    n = len(input._batch)
    plain = list(range(input.dim()))
    if order == plain:
        return input
    plain[n], plain[n + 1] = n + 1, n
    if order != plain:
        found = permute(input.to_sparse_coo(), order)
        return compress(found, input._layout, input._block or None)
    values = input._values_
    if input._block:
        values = values.transpose(n + 1, n + 2)  # type: ignore[attr-defined]
    shape = [input._shape[d] for d in order]
    return compressed(_TURNED[input._layout], input._starts, input._plain, values, shape)


@operation("transpose", "swapaxes", "swapdims")
def transpose(input: Any, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged."""
    order = list(range(input.dim()))
    a, b = wrap_dim(dim0, input.dim()), wrap_dim(dim1, input.dim())
    order[a], order[b] = b, a
    return permute(input, order)


@operation("t")
def t(input: Any) -> Tensor:
    """A matrix turned; a vector as it is. ``RuntimeError`` for more dimensions."""
    if input.dim() > 2:
        raise RuntimeError(
            "t() expects a tensor with <= 2 sparse and 0 dense dimensions, but got "
            f"{input.sparse_dim()} sparse and {input.dense_dim()} dense dimensions"
        )
    return input if input.dim() < 2 else transpose(input, 0, 1)


@operation("transpose_")
def transpose_(self: Any, dim0: int, dim1: int) -> Tensor:
    """``transpose`` in place."""
    from flambeau.sparse.arithmetic import become

    return become(self, transpose(self, dim0, dim1))  # type: ignore[arg-type]


@operation("t_")
def t_(self: Any) -> Tensor:
    """``t`` in place."""
    return self if self.dim() < 2 else transpose_(self, 0, 1)


for _name, _value in {"T": property(t), "mT": property(lambda x: transpose(x, -2, -1))}.items():
    setattr(CooTensor, _name, _value)
    setattr(CompressedTensor, _name, _value)


@operation("unsqueeze")
def unsqueeze(input: Any, dim: int) -> Tensor:
    """A dimension of size 1 put in: a sparse one up to the last sparse dimension."""
    if isinstance(input, CompressedTensor):
        input.refuse("unsqueeze")
    d = wrap_dim(dim, input.dim() + 1)
    n = input.sparse_dim()
    shape = [*input._shape[:d], 1, *input._shape[d:]]
    if d > n:
        return coo(input._indices_, input._values_.unsqueeze(d - n + 1), shape, input._coalesced)
    at = np.insert(places.array_of(input._indices_), d, 0, axis=0)
    return coo(places.index_tensor(at), input._values_, shape, input._coalesced)


@operation("squeeze")
def squeeze(input: Any, dim: Any = None) -> Tensor:
    """Dimensions of size 1 (all, or those named) taken away."""
    if isinstance(input, CompressedTensor):
        input.refuse("squeeze")
    n = input.sparse_dim()
    wanted = (
        range(input.dim())
        if dim is None
        else [wrap_dim(d, input.dim()) for d in (dim if isinstance(dim, (list, tuple)) else [dim])]
    )
    gone = [d for d in wanted if input._shape[d] == 1]
    at = np.delete(places.array_of(input._indices_), [d for d in gone if d < n], axis=0)
    values = input._values_
    inner = [s for d, s in enumerate(input._shape) if d >= n and d not in gone]
    shape = [s for d, s in enumerate(input._shape) if d not in gone]
    values = values.reshape(values.shape[0], *inner)
    return coo(places.index_tensor(at), values, shape, input._coalesced)


@operation("select")
def select(input: Any, dim: int, index: int) -> Tensor:
    """The slice at an index of a dimension; strided where no sparse dimension is left."""
    if isinstance(input, CompressedTensor):
        return select(input.to_sparse_coo(), dim, index)
    d = wrap_dim(dim, input.dim())
    size = input._shape[d]
    if not -size <= index < size:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input._shape)} at "
            f"dimension {d}"
        )
    index %= size
    n = input.sparse_dim()
    shape = [*input._shape[:d], *input._shape[d + 1 :]]
    if d >= n:
        return coo(
            input._indices_, input._values_.select(d - n + 1, index), shape, input._coalesced
        )
    array = places.array_of(input._indices_)
    chosen = np.flatnonzero(array[d] == index)
    values = places.taken(input._values_, chosen)
    if n == 1:
        return values.sum(0)  # type: ignore[attr-defined]
    at = places.index_tensor(np.delete(array[:, chosen], d, axis=0))
    return coo(at, values, shape, input._coalesced)


@operation("index_select")
def index_select(input: Any, dim: int, index: Tensor) -> Tensor:
    """The slices of a dimension at the integers ``index``, which may repeat."""
    if isinstance(input, CompressedTensor):
        input.refuse("index_select")
    d = wrap_dim(dim, input.dim())
    wanted = places.array_of(index.detach()).reshape(-1).astype(np.int64)
    size = input._shape[d]
    if wanted.size and not (-size <= wanted.min() and wanted.max() < size):
        raise IndexError(f"index_select(): index out of range for tensor of size {size}")
    wanted = np.where(wanted < 0, wanted + size, wanted)
    n = input.sparse_dim()
    shape = [*input._shape[:d], len(wanted), *input._shape[d + 1 :]]
    if d >= n:
        values = input._values_.index_select(d - n + 1, places.index_tensor(wanted))
        return coo(input._indices_, values, shape, input._coalesced)
    array = places.array_of(input._indices_)
    # Elements by their index along ``d``, then for each wanted index its run of them.
    order = np.argsort(array[d], kind="stable")
    starts = places.compressed(array[d], size)
    counts = np.diff(starts)[wanted]
    new = np.repeat(np.arange(len(wanted)), counts)
    rank = np.arange(len(new)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = order[np.repeat(starts[wanted], counts) + rank]
    at = array[:, chosen].copy()
    at[d] = new
    found = coo(places.index_tensor(at), places.taken(input._values_, chosen), shape)
    return found.coalesce() if input._coalesced else found


@operation("narrow_copy", "narrow")
def narrow_copy(input: Any, dim: int, start: int, length: int) -> Tensor:
    """``length`` slices of a dimension from ``start`` on."""
    if isinstance(input, CompressedTensor):
        input.refuse("narrow_copy")
    d = wrap_dim(dim, input.dim())
    start = int(start)
    start = start + input._shape[d] if start < 0 else start
    if not 0 <= start <= start + length <= input._shape[d]:
        raise RuntimeError(
            f"Invalid range to narrow. range(start, start+length) must be a subset of range(0, "
            f"{input._shape[d]})."
        )
    n = input.sparse_dim()
    shape = [*input._shape[:d], length, *input._shape[d + 1 :]]
    if d >= n:
        values = input._values_.narrow(d - n + 1, start, length)
        return coo(input._indices_, values, shape, input._coalesced)
    array = places.array_of(input._indices_)
    chosen = np.flatnonzero((array[d] >= start) & (array[d] < start + length))
    at = array[:, chosen].copy()
    at[d] -= start
    values = places.taken(input._values_, chosen)
    return coo(places.index_tensor(at), values, shape, input._coalesced)


@operation("cat", "concat", "concatenate", method=False)
def cat(tensors: Sequence[Any], dim: int = 0, *, out: Any = None) -> Tensor:
    """Coordinate tensors joined along a dimension; all must be sparse, with the same dimensions."""
    if not all(isinstance(x, CooTensor) for x in tensors):
        raise RuntimeError("Concatenating sparse tensors, but a dense tensor was found")
    first = tensors[0]
    d, n = wrap_dim(dim, first.dim()), first.sparse_dim()
    for i, x in enumerate(tensors):
        same = x.dim() == first.dim() and all(
            a == b or k == d for k, (a, b) in enumerate(zip(x._shape, first._shape, strict=True))
        )
        if not same:
            raise RuntimeError(
                f"Sizes of tensors must match except in dimension {d}. Expected size "
                f"{list(first._shape)} but got size {list(x._shape)} for tensor number {i}"
            )
        if x.sparse_dim() != n:
            raise RuntimeError("All tensors must have the same number of sparse dimensions")
    sizes = [x._shape[d] for x in tensors]
    shape = [*first._shape[:d], sum(sizes), *first._shape[d + 1 :]]
    arrays = [places.array_of(x._indices_).copy() for x in tensors]
    blocks = [x._values_ for x in tensors]
    offsets = np.cumsum([0, *sizes])
    if d < n:
        for array, offset in zip(arrays, offsets, strict=False):
            array[d] += offset
    else:
        # Dense parts are padded with zeros to the width of the whole.
        for i, (x, block) in enumerate(zip(tensors, blocks, strict=True)):
            before, after = (list(block.shape) for _ in range(2))
            before[d - n + 1] = int(offsets[i])
            after[d - n + 1] = shape[d] - int(offsets[i]) - x._shape[d]
            zeros = [flambeau.zeros(s, dtype=block.dtype) for s in (before, after)]
            blocks[i] = flambeau.cat([zeros[0], block, zeros[1]], d - n + 1)
    at = places.index_tensor(np.concatenate(arrays, axis=1))
    return coo(at, flambeau.cat(blocks), shape)


@operation("stack", method=False)
def stack(tensors: Sequence[Any], dim: int = 0, *, out: Any = None) -> Tensor:
    """Coordinate tensors of the same size along a new dimension."""
    return cat([unsqueeze(x, dim) for x in tensors], dim)


@operation("unbind")
def unbind(input: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices of a dimension."""
    return tuple(select(input, dim, i) for i in range(input.shape[dim]))


@operation("__getitem__")
def getitem(input: Any, index: Any) -> Tensor:
    """Integers, integer tensors, None, ``...`` and whole slices; other slices are refused."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(p is Ellipsis for p in parts):
        where = next(i for i, p in enumerate(parts) if p is Ellipsis)
        used = sum(p is not None and p is not Ellipsis for p in parts)
        parts[where : where + 1] = [slice(None)] * (input.dim() - used)
    found, d = input, 0
    for part in parts:
        if part is None:
            found, d = found.unsqueeze(d), d + 1
        elif isinstance(part, slice):
            if part != slice(None):
                input.refuse("as_strided")
            d += 1
        elif isinstance(part, Tensor) and part.dim():
            if part.dtype is flambeau.bool:
                part = part.nonzero().reshape(-1)  # type: ignore[attr-defined]
            found, d = found.index_select(d, part), d + 1
        elif isinstance(part, (list, np.ndarray)):
            found, d = found.index_select(d, flambeau.as_tensor(part)), d + 1
        else:
            found = found.select(d, int(part))
    return found


CooTensor.__getitem__ = CompressedTensor.__getitem__ = getitem  # type: ignore[attr-defined]


def _reshape(input: Any, *shape: Any) -> Tensor:
    raise RuntimeError("reshape is not implemented for sparse tensors")


def _view(input: Any, *shape: Any) -> Tensor:
    return input.refuse("view")


for _kind in (CooTensor, CompressedTensor):
    _kind.reshape = _kind.flatten = _reshape  # type: ignore[attr-defined]
    _kind.view = _view  # type: ignore[attr-defined]


@operation("sparse_resize_")
def sparse_resize_(self: Any, size: Sequence[int], sparse_dim: int, dense_dim: int) -> Tensor:
    """Another size, in place; what is held stays where it is.

    Raises ``RuntimeError`` if dimensions do not add up, or what is held would not fit.
    """
    if len(size) != sparse_dim + dense_dim:
        raise RuntimeError(
            "'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = "
            f"{len(size)}, sparse_dim = {sparse_dim}, dense_dim = {dense_dim}"
        )
    if self._nnz() and (sparse_dim, dense_dim) != (self.sparse_dim(), self.dense_dim()):
        raise RuntimeError("changing the number of dimensions of a non-empty tensor")
    if self._nnz() and any(a < b for a, b in zip(size, self._shape, strict=True)):
        raise RuntimeError("shrinking the size of sparse dimensions of a non-empty tensor")
    if not self._nnz():
        return sparse_resize_and_clear_(self, size, sparse_dim, dense_dim)
    self._shape = tuple(size)
    return self


@operation("sparse_resize_and_clear_")
def sparse_resize_and_clear_(
    self: Any, size: Sequence[int], sparse_dim: int, dense_dim: int
) -> Tensor:
    """Another size, in place; nothing is held any more."""
    self._indices_ = places.index_tensor(np.zeros((sparse_dim, 0)))
    inner = tuple(size)[sparse_dim:]
    self._values_ = flambeau.zeros((0, *inner), dtype=self.dtype)
    self._shape, self._coalesced = tuple(size), True
    return self
