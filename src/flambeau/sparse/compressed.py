"""Compressed tensors: matrices (of numbers or of blocks) by rows or by columns, also in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.layouts import sparse_bsc, sparse_bsr, sparse_csc, sparse_csr
from flambeau.sparse import places
from flambeau.sparse.coo import CooTensor, at_places, coo, dense_at, from_dense
from flambeau.sparse.tensor import SparseTensor
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.layouts import layout as Layout

__all__ = ["BY_COLUMNS", "BLOCKED", "NAMES", "CompressedTensor", "compress", "compressed"]

BY_COLUMNS = frozenset({sparse_csc, sparse_bsc})
BLOCKED = frozenset({sparse_bsr, sparse_bsc})
# What PyTorch calls them in errors.
NAMES = {
    sparse_csr: "SparseCsr",
    sparse_csc: "SparseCsc",
    sparse_bsr: "SparseBsr",
    sparse_bsc: "SparseBsc",
}


class CompressedTensor(SparseTensor):
    """Rows (in CSC and BSC: columns) one behind the other: where each begins, and what it holds.

    Starts (\\*batch, rows + 1), plain indices (\\*batch, nnz), values (\\*batch, nnz, \\*block,
    \\*dense dims); ``block`` is there in BSR and BSC only.
    """

    _starts: Tensor
    _plain: Tensor
    _layout: Layout

    @property
    def _kind(self) -> str:  # type: ignore[override]
        return NAMES[self._layout]

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def is_sparse_csr(self) -> bool:  # type: ignore[override]
        return self._layout is sparse_csr

    def _with_values(self, values: Tensor) -> CompressedTensor:
        return compressed(self._layout, self._starts, self._plain, values, self._shape)

    def _values_like(self, dense_or_sparse: Tensor) -> Tensor:
        other = dense_or_sparse
        if isinstance(other, CompressedTensor) and other._plain is self._plain:
            return other._values_
        indices = self._element_indices()
        if getattr(other, "_is_sparse_layout", False):
            other = other.to_sparse_coo()
            found = at_places(other, places.flat(indices, self._shape[: len(indices)]))
        else:
            found = dense_at(other, indices)
        return found.reshape(self._values_.shape)  # type: ignore[attr-defined]

    def _index_tensors(self) -> tuple[Tensor, ...]:
        return self._starts, self._plain

    # --- parts ------------------------------------------------------------------------------

    @property
    def _batch(self) -> tuple[int, ...]:
        return self._plain._meta.shape[:-1]

    @property
    def _block(self) -> tuple[int, ...]:
        """The size of a block, or nothing."""
        if self._layout not in BLOCKED:
            return ()
        n = len(self._batch) + 1
        return self._values_._meta.shape[n : n + 2]

    def sparse_dim(self) -> int:
        """Two: rows and columns."""
        return 2

    def dense_dim(self) -> int:
        """How many dimensions each element has."""
        return len(self._shape) - len(self._batch) - 2

    def _nnz(self) -> int:
        return self._plain._meta.shape[-1]

    def values(self) -> Tensor:
        """The values, with history."""
        return self._values_.view(self._values_.shape)  # type: ignore[attr-defined]

    def _values(self) -> Tensor:
        return self.refuse("_values")

    _indices = _values

    def _index(self, name: str, by_columns: bool, starts: bool) -> Tensor:
        if (self._layout in BY_COLUMNS) != by_columns:
            kind = "column" if by_columns else "row"
            raise RuntimeError(
                f"{name} expected sparse {kind} compressed tensor layout but got {self._kind}"
            )
        return (self._starts if starts else self._plain).detach()

    def crow_indices(self) -> Tensor:
        """Where each row begins, and the end. ``RuntimeError`` for tensors held by columns."""
        return self._index("crow_indices", False, True)

    def col_indices(self) -> Tensor:
        """The column of each element, row by row. ``RuntimeError`` for those held by columns."""
        return self._index("col_indices", False, False)

    def ccol_indices(self) -> Tensor:
        """Where each column begins, and the end. ``RuntimeError`` for tensors held by rows."""
        return self._index("ccol_indices", True, True)

    def row_indices(self) -> Tensor:
        """The row of each element, column by column. ``RuntimeError`` for those held by rows."""
        return self._index("row_indices", True, False)

    def _element_indices(self) -> np.ndarray:
        """The place of each number in the values' order: (batch dims + 2, count)."""
        batch = self._batch
        starts = places.array_of(self._starts).reshape(-1, self._starts.shape[-1])
        plain = places.array_of(self._plain).astype(np.int64)
        nnz = plain.shape[-1]
        plain = plain.reshape(-1)
        major = np.concatenate([places.expanded(s) for s in starts] or [plain[:0]])
        which = places.unflat(np.repeat(np.arange(places.volume(batch)), nnz), batch)
        row, column = (plain, major) if self._layout in BY_COLUMNS else (major, plain)
        if self._block:
            high, wide = self._block
            inside = np.indices((high, wide)).reshape(2, -1)
            row = (row[:, None] * high + inside[0]).reshape(-1)
            column = (column[:, None] * wide + inside[1]).reshape(-1)
            which = np.repeat(which, high * wide, axis=1)
        return np.concatenate([which, row[None], column[None]]).astype(np.int64)

    def _saved_parts(self) -> tuple[Any, tuple]:
        parts = (t.detach() for t in (self._starts, self._plain, self._values_))
        return self.layout, (*parts, self.shape)

    # --- other layouts ----------------------------------------------------------------------

    def to_sparse_coo(self) -> CooTensor:
        """The same elements as a coalesced coordinate tensor."""
        indices = self._element_indices()
        shape = self._shape[: len(indices)]
        dense = self._shape[len(indices) :]
        values = self._values_.reshape(indices.shape[1], *dense)  # type: ignore[attr-defined]
        keys = places.flat(indices, shape)
        if not places.in_order(keys):
            order = np.argsort(keys, kind="stable")
            indices, values = indices[:, order], places.taken(values, order)
        return coo(places.index_tensor(indices), values, self._shape, True)

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
        """The same numbers as a strided tensor."""
        return self.to_sparse_coo().to_dense(dtype)


def compressed(
    layout: Layout, starts: Tensor, plain: Tensor, values: Tensor, shape: Sequence[int]
) -> CompressedTensor:
    """A compressed tensor of these very parts."""
    made = object.__new__(CompressedTensor)
    made._layout, made._starts, made._plain = layout, starts, plain
    made._values_, made._shape = values, tuple(shape)
    return made


def compress(
    tensor: Tensor,
    layout: Layout,
    block: Sequence[int] | None = None,
    dense_dims: int | None = None,
) -> CompressedTensor:
    """A tensor of another layout in a compressed one; the last two sparse dimensions are rows and
    columns, those before them batches.
    """
    what = str(layout).removeprefix("torch.")
    if isinstance(tensor, CompressedTensor):
        if tensor._layout is layout and (block is None or tuple(block) == tensor._block):
            return tensor
        tensor = tensor.to_sparse_coo()
    if not isinstance(tensor, CooTensor):
        dense_dims = dense_dims or 0
        if not 0 <= dense_dims <= tensor.dim() - 2:
            raise RuntimeError(
                f"dense_to_{what}: dense_dim argument must be in [0,{tensor.dim() - 2}] range, "
                f"but {dense_dims} is given"
            )
        tensor = from_dense(tensor, tensor.dim() - dense_dims)
    if tensor.sparse_dim() < 2:
        raise RuntimeError(f"to_{what}: a tensor with at least 2 sparse dimensions is wanted")
    coalesced = tensor.coalesce()
    indices = places.array_of(coalesced._indices_)
    sizes = coalesced._sparse_shape
    values = coalesced._values_
    inner = tuple(values.shape[1:])
    high, wide = _block_size(block, sizes[-2:], what) if layout in BLOCKED else (1, 1)
    shape = (*sizes[:-2], sizes[-2] // high, sizes[-1] // wide)
    at = indices.copy()
    at[-2] //= high
    at[-1] //= wide
    # The order in which blocks are held: by batch, then by what is compressed.
    turn = [*range(len(at) - 2), len(at) - 1, len(at) - 2]
    held = at[turn] if layout in BY_COLUMNS else at
    held_shape = tuple(shape[d] for d in turn) if layout in BY_COLUMNS else shape
    keys = places.flat(held, held_shape)
    found, group = places.unique(keys)
    if high * wide == 1:
        if not places.in_order(keys):
            values = places.taken(values, np.argsort(keys, kind="stable"))
    else:
        inside = indices[-2] % high * wide + indices[-1] % wide
        values = places.summed(values, group * (high * wide) + inside, len(found) * high * wide)
    where = places.unflat(found, held_shape)
    batch = held_shape[:-2]
    count, starts, plain = _by_batch(where, batch, held_shape[-2])
    blocks = (high, wide) if layout in BLOCKED else ()
    return compressed(
        layout,
        places.index_tensor(starts),
        places.index_tensor(plain),
        values.reshape(*batch, count, *blocks, *inner),  # type: ignore[attr-defined]
        tensor._shape,
    )


def _by_batch(
    where: np.ndarray, batch: tuple[int, ...], rows: int
) -> tuple[int, np.ndarray, np.ndarray]:
    """How many elements each batch has, where its rows begin, and its plain indices."""
    batches = places.volume(batch)
    number = places.flat(where[:-2], batch)
    counts = np.bincount(number, minlength=batches)
    if batches and (counts != counts[0]).any():
        raise RuntimeError(
            f"Expect the same number of specified elements per batch, but got {counts.tolist()}"
        )
    count = int(counts[0]) if batches else 0
    starts = [places.compressed(r, rows) for r in where[-2].reshape(batches, count)]
    return (
        count,
        np.array(starts, np.int64).reshape(*batch, rows + 1),
        where[-1].reshape(*batch, count),
    )


def _block_size(block: Sequence[int] | None, sizes: tuple[int, ...], what: str) -> tuple[int, int]:
    if block is None:
        raise RuntimeError(f"to_{what}: a blocksize of two numbers is wanted")
    high, wide = block
    if high <= 0 or wide <= 0 or sizes[0] % high or sizes[1] % wide:
        raise RuntimeError(
            f"dense_to_{what}: tensor sparse size ({sizes[0]},{sizes[1]}) must be divisible by "
            f"given blocksize ({high},{wide})"
        )
    return high, wide
