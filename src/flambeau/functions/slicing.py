"""Views of some positions along a dimension."""

from __future__ import annotations

from typing import Any

from flambeau.functions.dims import as_int, wrap_dim
from flambeau.functions.geometry import _remembered
from flambeau.functions.views import _without
from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import alias
from flambeau.tensor import Tensor

P = PRIMITIVES


def sliced(
    input: Tensor,
    dims: tuple[int, ...],
    starts: tuple,
    sizes: tuple,
    steps: tuple,
    grad: str = "SliceBackward0",
) -> Tensor:
    """Every step-th of ``sizes`` positions from ``starts``: a run-time number, not a path."""
    shape, strides, offset = alias.spec_of(input)
    new, into = list(shape), list(strides)
    for d, start, n, step in zip(dims, starts, sizes, steps, strict=True):
        offset += start * strides[d]
        new[d], into[d] = n, strides[d] * step
    spec = (tuple(new), tuple(into), offset)
    return alias.view(
        input, spec, P["slice"], starts, dims=dims, sizes=sizes, steps=steps, grad=grad
    )


@_remembered
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """``length`` positions of a dimension from ``start``.

    >>> narrow(arange(5), 0, 1, 3)
    tensor([1, 2, 3])
    """
    if input.dim() == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.dim())
    n = input._meta.shape[d]
    if isinstance(start, Tensor) and (start.dim() or start.dtype.category != 1):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    start, length = as_int(start, "start"), as_int(length, "length")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(
            f"start out of range (expected to be in range of [{-n}, {n}], but got {start})"
        )
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return sliced(input, (d,), (start,), (length,), (1,))


@_remembered
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One position of a dimension, which goes away.

    >>> select(tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([3, 4])
    """
    if input.dim() == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.dim())
    n = input._meta.shape[d]
    index = as_int(index, "index")
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at "
            f"dimension {d}"
        )
    return _selected(input, d, index % n, "SelectBackward0")


def _selected(input: Tensor, d: int, index: int, grad: str) -> Tensor:
    return _without(sliced(input, (d,), (index,), (1,), (1,)), {d}, grad)


@_remembered
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of one size (the last may be shorter), or of the sizes given.

    >>> split(arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    if tensor.dim() == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = wrap_dim(dim, tensor.dim())
    n = tensor._meta.shape[d]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = [as_int(s, "split_sizes") for s in split_size_or_sections]
        grad = "SplitWithSizesBackward0"
        if sum(sizes) != n or any(s < 0 for s in sizes):
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size "
                f"at dimension {d}), but got split_sizes={sizes}"
            )
    else:
        size, grad = as_int(split_size_or_sections, "split_size"), "SplitBackward0"
        if size < 0:
            raise RuntimeError(
                f"split expects split_size be non-negative, but got split_size={size}"
            )
        if size == 0:
            if n:
                raise RuntimeError(
                    "split_size can only be 0 if dimension size is 0, "
                    f"but got dimension size of {n}"
                )
            sizes = [0]
        else:
            sizes = [min(size, n - i) for i in range(0, n, size)] or [0]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(
        sliced(tensor, (d,), (s,), (k,), (1,), grad) for s, k in zip(starts, sizes, strict=True)
    )


@_remembered
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` pieces of equal size (the last may be shorter).

    >>> len(chunk(arange(5), 3))
    3
    """
    if input.dim() == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    chunks = as_int(chunks, "chunks")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._meta.shape[wrap_dim(dim, input.dim())]
    size = -(-n // chunks)
    if size == 0:
        return split(input, [0] * chunks, dim)
    return split(input, size, dim)


@_remembered
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All positions of a dimension as separate tensors.

    >>> unbind(tensor([1, 2]))
    (tensor(1), tensor(2))
    """
    d = wrap_dim(dim, input.dim())
    if input.dim() == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return tuple(_selected(input, d, i, "UnbindBackward0") for i in range(input._meta.shape[d]))


SAMPLES = {
    "chunk": "x, 2; x, 3, 1; i, 5, -1; v, 1; empty, 2; x, 9, 0; !x, 0; !x, 2, 2; !s, 1; !x, 1.5",
    "narrow": "x, 1, 1, 2; x, 0, -2, 2; i, -1, 0, 4; x, 0, 1, 0; x, 0, torch.tensor(1), 2;"
    "!x, 1, 3, 2; !x, 2, 0, 1; !s, 0, 0, 1; !x, 0, 0, -1",
    "select": "x, 0, 1; x, -1, -1; i, 1, 0; cube, 1, 2; !x, 0, 3; !x, 2, 0; !s, 0, 0; !x, 0, 1.5",
    "split": "x, 2; x, 3, 1; i, 2, -1; x, [1, 2]; x, (1, 3), 1; x, 9; empty, 2; x, [0, 4], -1;"
    "!x, -1; !x, 2, 2; !x, [1, 1]; !x, [-1, 4]; !s, 1",
    "unbind": "x; x, 1; i, -1; v; empty; cube, dim=1; !s; !x, 2",
}
