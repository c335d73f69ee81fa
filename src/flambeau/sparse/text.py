"""The text of ``repr`` of a sparse tensor: the form PyTorch prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau import dtypes, printing
from flambeau.record.trace import defaults
from flambeau.sparse.compressed import BY_COLUMNS, CompressedTensor

if TYPE_CHECKING:
    from flambeau.sparse.tensor import SparseTensor
    from flambeau.tensor import Tensor

_INDENT = len("tensor(")


def format_sparse(tensor: SparseTensor) -> str:
    """Indices and values as tensors, then size and options."""
    by_rows = isinstance(tensor, CompressedTensor)
    names: tuple[str, ...] = ("indices",)
    if by_rows:
        by_columns = tensor.layout in BY_COLUMNS
        names = ("ccol_indices", "row_indices") if by_columns else ("crow_indices", "col_indices")
    parts = [*zip(names, tensor._index_tensors(), strict=True), ("values", tensor._values_)]
    text = (",\n" + " " * _INDENT).join(_part(name, t) for name, t in parts)
    suffixes = [f"size={tuple(tensor._shape)}", f"nnz={tensor._nnz()}"]
    evident = (defaults.dtype, defaults.dtype.to_complex(), dtypes.int64, dtypes.bool_)
    if tensor.dtype not in evident:
        suffixes.append(f"dtype={tensor.dtype!r}")
    suffixes.append(f"layout={tensor.layout!r}")
    if tensor.requires_grad:
        fn = tensor.grad_fn
        suffixes.append("requires_grad=True" if fn is None else f"grad_fn=<{fn.name()}>")
    return printing._append("tensor(" + text, suffixes, _INDENT, apart=not by_rows)


def _part(name: str, tensor: Tensor) -> str:
    """``name=tensor(...)``."""
    prefix = f"{name}=tensor("
    array = tensor.detach()._value()._array()
    if not array.size:
        return f"{prefix}[], size={tuple(array.shape)})"
    return prefix + printing._format_values(array, tensor.dtype, _INDENT + len(prefix)) + ")"
