"""Sparse tensors from indices and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import flambeau
from flambeau.layouts import (
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
)
from flambeau.sparse import invariants, places
from flambeau.sparse.compressed import (
    BLOCKED,
    BY_COLUMNS,
    CompressedTensor,
    compress,
    compressed,
)
from flambeau.sparse.coo import CooTensor, coo
from flambeau.sparse.tensor import kept_history
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.layouts import layout as Layout

__all__ = [
    "empty",
    "sparse_bsc_tensor",
    "sparse_bsr_tensor",
    "sparse_compressed_tensor",
    "sparse_coo_tensor",
    "sparse_csc_tensor",
    "sparse_csr_tensor",
    "spdiags",
]


def _index(data: Any) -> Tensor:
    given = flambeau.as_tensor(data)
    return given.detach() if given.dtype is flambeau.int64 else given.detach().to(flambeau.int64)


def _values(data: Any, dtype: Any) -> Tensor:
    return flambeau.as_tensor(data, dtype=dtype)


def _same_dtype(index: Any) -> Tensor:
    """Indices of compressed tensors may be int32, too."""
    given = flambeau.as_tensor(index)
    return given.detach() if given.dtype is flambeau.int32 else _index(given)


def sparse_coo_tensor(
    indices: Any = None,
    values: Any = None,
    size: Sequence[int] | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> CooTensor:
    """A tensor with ``values`` (nnz, \\*dense dims) at the places ``indices`` (sparse dims, nnz).

    Values of the same place add up. Without ``size`` it is as small as holds all places; with
    ``size`` alone it is empty. Gradients reach ``values``.

    Raises ``RuntimeError`` if the shapes disagree, and, with ``check_invariants``, for places
    outside of ``size`` or if it is not coalesced though ``is_coalesced`` says so.

    >>> torch.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 0.]])
    """
    if values is None:
        shape = indices if size is None else size
        return empty(shape, layout=sparse_coo, dtype=dtype, requires_grad=requires_grad)
    own = _values(values, dtype)
    at = _index(indices)
    if at.dim() == 1 and at.numel() == 0:
        at = at.reshape(1, 0)
    if at.dim() != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(at.shape)}")
    if own.dim() == 0:
        own = own.reshape(1).expand(at.shape[1])
    array = places.array_of(at)
    inner = tuple(own.shape[1:])
    if at.shape[1] != own.shape[0]:
        raise RuntimeError(
            f"indices and values must have same nnz, but got nnz from indices: {at.shape[1]}, nnz "
            f"from values: {own.shape[0]}"
        )
    if size is None:
        if array.size and int(array.min()) < 0:
            dim = int(np.argmax(array.min(axis=1) < 0))
            raise RuntimeError(f"found negative index {int(array[dim].min())} for dim {dim}")
        greatest = array.max(axis=1) + 1 if array.shape[1] else np.zeros(len(array), np.int64)
        size = (*map(int, greatest), *inner)
    shape = tuple(map(int, size))
    if len(shape) != len(array) + len(inner):
        raise RuntimeError(
            "'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = "
            f"{len(shape)}, sparse_dim = {len(array)}, dense_dim = {len(inner)}"
        )
    if shape[len(array) :] != inner:
        raise RuntimeError(
            f"values has incorrect size, expected {[own.shape[0], *shape[len(array) :]]}, got "
            f"{list(own.shape)}"
        )
    if invariants.wanted(check_invariants):
        invariants.check_coo(at, own, shape, is_coalesced)
    # A single place is in order; so is none.
    coalesced = array.shape[1] < 2 if is_coalesced is None else bool(is_coalesced)
    return coo(at, kept_history(own, requires_grad), shape, coalesced)


def sparse_compressed_tensor(
    compressed_indices: Any,
    plain_indices: Any,
    values: Any,
    size: Sequence[int] | None = None,
    *,
    dtype: Any = None,
    layout: Layout | None = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> CompressedTensor:
    """A tensor of ``layout`` (CSR, CSC, BSR, BSC): where each row (in CSC and BSC: column) begins,
    the place of each element (in BSR and BSC: block) in it, and their values.

    Without ``size`` it is as small as holds all places. Gradients reach ``values``. Raises
    ``RuntimeError`` if the shapes disagree, and, with ``check_invariants``, for indices that are
    out of range or order.

    >>> made = torch.sparse_compressed_tensor([0, 1, 2], [1, 0], [3.0, 4.0],
    ...                                       layout=torch.sparse_csr)
    >>> made.to_dense()
    tensor([[0., 3.],
            [4., 0.]])
    """
    if layout is None:
        raise RuntimeError("expected sparse compressed tensor layout but got none")
    if layout not in (sparse_csr, sparse_csc, sparse_bsr, sparse_bsc):
        raise RuntimeError(f"expected sparse compressed tensor layout but got {layout}")
    starts, plain, own = (
        _same_dtype(compressed_indices),
        _same_dtype(plain_indices),
        _values(values, dtype),
    )
    by_columns = layout in BY_COLUMNS
    names = ("ccol_indices", "row_indices") if by_columns else ("crow_indices", "col_indices")
    batch = tuple(starts.shape[:-1])
    blocks = 2 if layout in BLOCKED else 0
    skipped = len(batch) + 1 + blocks
    if own.dim() < skipped:
        raise RuntimeError(
            f"values must have dimensionality > sum of batch and block dimensionalities "
            f"(={len(batch)} + {blocks}), but got {own.dim()}"
        )
    high, wide = tuple(own.shape[len(batch) + 1 : skipped]) or (1, 1)
    inner = tuple(own.shape[skipped:])
    if plain.shape[-1] != own.shape[len(batch)] or tuple(plain.shape[:-1]) != batch:
        raise RuntimeError(
            f"number of elements in {names[1]} {list(plain.shape)} and values "
            f"{list(own.shape)} disagree"
        )
    array = places.array_of(plain)
    rows = starts.shape[-1] - 1
    if size is None:
        columns = int(array.max()) + 1 if array.size else 0
        sizes = (columns, rows) if by_columns else (rows, columns)
        size = (*batch, sizes[0] * high, sizes[1] * wide, *inner)
    shape = tuple(map(int, size))
    if len(shape) != len(batch) + 2 + len(inner):
        raise RuntimeError(
            f"tensor dimensionality must be sum of batch, base, and dense dimensionalities "
            f"(={len(batch)} + 2 + {len(inner)}), but got {len(shape)}"
        )
    grid = (shape[len(batch)] // high, shape[len(batch) + 1] // wide)
    counts = grid[::-1] if by_columns else grid
    if rows != counts[0]:
        what = "columns" if by_columns else "rows"
        raise RuntimeError(
            f"{names[0]}.shape[-1] must be equal to the number of {what} + 1 (={counts[0] + 1}), "
            f"but got {rows + 1}"
        )
    if invariants.wanted(check_invariants):
        invariants.check_compressed(
            names, places.array_of(starts), array, counts, ("ncols", "nrows")[by_columns]
        )
    return compressed(layout, starts, plain, kept_history(own, requires_grad), shape)


def _of_layout(name: str, layout: Layout, starts: str, plain: str) -> Any:
    def make(*args: Any, **options: Any) -> CompressedTensor:
        for given, meant in ((starts, "compressed_indices"), (plain, "plain_indices")):
            if given in options:
                options[meant] = options.pop(given)
        return sparse_compressed_tensor(*args, layout=layout, **options)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""``sparse_compressed_tensor`` with ``layout=torch.{layout._name}``.

    Arguments: ``{starts}, {plain}, values, size=None`` and its options.
    """
    return make


sparse_csr_tensor = _of_layout("sparse_csr_tensor", sparse_csr, "crow_indices", "col_indices")
sparse_csc_tensor = _of_layout("sparse_csc_tensor", sparse_csc, "ccol_indices", "row_indices")
sparse_bsr_tensor = _of_layout("sparse_bsr_tensor", sparse_bsr, "crow_indices", "col_indices")
sparse_bsc_tensor = _of_layout("sparse_bsc_tensor", sparse_bsc, "ccol_indices", "row_indices")


def empty(
    size: Sequence[int], *, layout: Layout, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """A sparse tensor that holds nothing: all zeros."""
    shape = tuple(map(int, size))
    values = flambeau.zeros((0,), dtype=dtype)
    made: Tensor = coo(places.index_tensor(np.zeros((len(shape), 0))), values, shape, True)
    if layout is not sparse_coo:
        if layout in BLOCKED:
            raise RuntimeError(f"empty tensors of layout {layout} need a block size")
        made = compress(made, layout)
    return made.requires_grad_() if requires_grad else made


def _of_dtype(name: str, dtype: Any) -> Any:
    def make(*parts: Any) -> CooTensor:
        if parts and isinstance(parts[0], Tensor):
            return sparse_coo_tensor(*parts, dtype=dtype)
        sizes = parts[0] if len(parts) == 1 and isinstance(parts[0], (tuple, list)) else parts
        return sparse_coo_tensor(size=sizes, dtype=dtype)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"The old spelling of ``sparse_coo_tensor(..., dtype={dtype!r})``."
    return make


ByteTensor = _of_dtype("ByteTensor", flambeau.uint8)
CharTensor = _of_dtype("CharTensor", flambeau.int8)
ShortTensor = _of_dtype("ShortTensor", flambeau.int16)
IntTensor = _of_dtype("IntTensor", flambeau.int32)
LongTensor = _of_dtype("LongTensor", flambeau.int64)
HalfTensor = _of_dtype("HalfTensor", flambeau.float16)
BFloat16Tensor = _of_dtype("BFloat16Tensor", flambeau.bfloat16)
FloatTensor = _of_dtype("FloatTensor", flambeau.float32)
DoubleTensor = _of_dtype("DoubleTensor", flambeau.float64)


def rebuild(layout: Layout, parts: tuple) -> Tensor:
    """A sparse tensor of the parts that a file has of it."""
    if layout is sparse_coo:
        indices, values, size, *rest = parts
        return coo(indices, values, size, bool(rest and rest[0]))
    starts, plain, values, size = parts
    return compressed(layout, starts, plain, values, size)


def spdiags(
    diagonals: Tensor,
    offsets: Tensor,
    shape: tuple[int, int],
    layout: Layout | None = None,
) -> Tensor:
    """A matrix with the rows of ``diagonals`` as the diagonals that ``offsets`` number.

    A diagonal above the main one (a positive offset) begins with the row's element at that
    offset: element ``(i, j)`` is ``diagonals[k, j]`` for ``j - i = offsets[k]``. Raises
    ``RuntimeError`` for offsets that are out of range or named twice.

    >>> torch.sparse.spdiags(torch.ones(1, 2), torch.tensor([0]), (2, 2)).to_dense()
    tensor([[1., 0.],
            [0., 1.]])
    """
    if diagonals.dim() == 1:
        diagonals = diagonals.unsqueeze(0)
    if diagonals.dim() != 2:
        raise RuntimeError("Diagonals must be vector or matrix")
    if len(shape) != 2:
        raise RuntimeError("Output shape must be 2d")
    if layout not in (None, sparse_coo, sparse_csr, sparse_csc):
        raise RuntimeError(
            f"Only output layouts (Sparse, SparseCsc, SparseCsr) are supported, got {layout}"
        )
    steps = places.array_of(flambeau.as_tensor(offsets).reshape(-1))
    if len(steps) != diagonals.shape[0]:
        raise RuntimeError(
            f"Number of diagonals ({diagonals.shape[0]}) does not match the number of offsets "
            f"({len(steps)})"
        )
    if len(np.unique(steps)) != len(steps):
        raise RuntimeError("Offset tensor contains duplicate values")
    rows, columns = shape
    found = []
    for k, step in enumerate(steps):
        if not -rows < step < columns:
            raise RuntimeError(
                f"Diagonal offsets must be within -{rows} < offset < {columns}, but got {step}"
            )
        last = min(columns, rows + step, diagonals.shape[1])
        j = np.arange(max(step, 0), max(last, 0))
        found.append(np.stack([np.full(len(j), k), j - step, j]))
    at = np.concatenate(found, axis=1)
    values = diagonals.reshape(-1).index_select(
        0, places.index_tensor(at[0] * diagonals.shape[1] + at[2])
    )
    made = coo(places.index_tensor(at[1:]), values, shape)
    return made if layout in (None, sparse_coo) else compress(made, layout)


SAMPLES = {
    "sparse_coo_tensor": (
        "torch.tensor([[0, 2], [1, 0]]), u[:2], (3, 2); torch.tensor([[0, 1]]), x[:2]; "
        "[[0, 1], [1, 0]], [1.0, 2.0]; torch.tensor([[0, 0]]), u[:2], (2,); "
        "torch.tensor([[0, 1]]), [1, 2], (4,), dtype=torch.float64; (2, 3); "
        "!torch.tensor([[0, 5]]), u[:2], (3,), check_invariants=True; !torch.tensor([[0]]), u; "
        "!torch.tensor([[-1]]), u[:1]; !torch.tensor([0.5]), u"
    ),
    "sparse_csr_tensor": (
        "[0, 1, 2], [1, 0], [1.0, 2.0]; "
        "torch.tensor([0, 2, 2]), torch.tensor([0, 1]), u[:2], (2, 3); "
        "[0, 1, 2], [1, 0], [1, 2], (2, 2), dtype=torch.float64; "
        "![0, 1, 2], [1], [1.0, 2.0], check_invariants=True; "
        "![0, 1], [5], [1.0], (1, 2), check_invariants=True; "
        "![0, 2, 1], [0, 1], [1.0, 2.0], (2, 2), check_invariants=True"
    ),
    "sparse_csc_tensor": (
        "[0, 1, 2], [1, 0], [1.0, 2.0]; "
        "torch.tensor([0, 2, 2]), torch.tensor([0, 1]), u[:2], (3, 2); "
        "![0, 1, 2], [1], [1.0, 2.0], check_invariants=True"
    ),
    "sparse_bsr_tensor": (
        "[0, 1, 2], [1, 0], torch.ones(2, 2, 2); [0, 1], [0], [[[1.0, 2.0]]], (1, 2); "
        "![0, 1, 2], [1, 0], [1.0, 2.0]"
    ),
    "sparse_bsc_tensor": (
        "[0, 1, 2], [1, 0], torch.ones(2, 2, 2); [0, 1], [0], [[[1.0, 2.0]]], (1, 2); "
        "![0, 1, 2], [1, 0], [1.0, 2.0]"
    ),
    "sparse_compressed_tensor": (
        "[0, 1, 2], [1, 0], [1.0, 2.0], layout=torch.sparse_csr; "
        "[0, 1, 2], [1, 0], [1.0, 2.0], layout=torch.sparse_csc; "
        "[0, 1], [0], [[[1.0, 2.0]]], (1, 2), layout=torch.sparse_bsr; "
        "![0, 1, 2], [1, 0], [1.0, 2.0]"
    ),
    "sparse.spdiags": (
        "x, torch.tensor([-1, 0, 2]), (4, 4); v, torch.tensor([1]), (3, 4) # no-grad; "
        "x.detach(), torch.tensor([-1, 0, 1]), (5, 4), torch.sparse_csr; "
        "!x, torch.tensor([0, 0, 1]), (4, 4); !x, torch.tensor([0, 1]), (4, 4)"
    ),
}
