"""Diagonals, triangles, and copies with a part replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.functions import striding
from flambeau.functions.dims import as_int, as_shape, wrap_dim
from flambeau.functions.geometry import _is_short_data
from flambeau.functions.inplace import assign, title, write_out
from flambeau.functions.making import is_meta
from flambeau.functions.promotion import cast
from flambeau.record import alias
from flambeau.record.macro import function, ops
from flambeau.record.storage import contiguous_strides
from flambeau.run import tier as _tier
from flambeau.tensor import Tensor, concrete

if TYPE_CHECKING:
    from collections.abc import Sequence


def _zero(dtype: dtypes.dtype) -> Tensor:
    return ops.full(0, shape=(), dtype=dtype)


def _offsets(rows: int, columns: int) -> Tensor:
    """Column minus row, at each place of a matrix."""
    i = ops.iota(shape=(rows, columns), dim=0, dtype=dtypes.int64)
    return ops.sub(ops.iota(shape=(rows, columns), dim=1, dtype=dtypes.int64), i)


@function(grad="DiagEmbedBackward0")
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices, in two new dimensions, with the last dimension along a diagonal and zeros around.

    >>> diag_embed(tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    n = input.dim() + 1
    a, b = wrap_dim(dim1, n), wrap_dim(dim2, n)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if a > b:
        # Below the diagonal of one order is above that of the other.
        a, b, offset = b, a, -offset
    *lead, k = input._meta.shape
    size = k + abs(offset)
    x = ops.pad(input, 0, pads=(*[(0, 0)] * len(lead), (0, size - k)))
    side = (size, 1) if offset >= 0 else (1, size)
    x = ops.reshape(x, shape=(*lead, *side))
    on = ops.eq(_offsets(size, size), offset)
    made = ops.where(on, x, _zero(input.dtype))
    order = list(range(n - 2))
    order.insert(a, n - 2)
    order.insert(b, n - 1)
    return ops.permute(made, dims=tuple(order))


def diag(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The diagonal of a matrix (a copy), or a matrix with a vector along its diagonal.

    >>> diag(tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    if input.dim() not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.dim()}D")
    result = diag_embed(input, diagonal) if input.dim() == 1 else _diagonal_of(input, diagonal)
    return result if out is None else write_out(out, result, "diag")


def _diagonal_of(input: Tensor, offset: int) -> Tensor:
    """A matrix's diagonal as a copy, made at once of data."""
    if input.__class__ is Tensor and offset.__class__ is int and _is_short_data(input):
        return concrete(input._array().diagonal(offset).copy(), input._meta.dtype)
    return _diagonal(input, offset)


def _diagonal_spec(
    shape: tuple[int, ...], offset: int, dim1: int, dim2: int
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Shape, strides and offset of a diagonal of a contiguous value."""
    a, b = wrap_dim(dim1, len(shape)), wrap_dim(dim2, len(shape))
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    steps = contiguous_strides(shape)
    rows, columns = (shape[a], shape[b] - offset) if offset >= 0 else (shape[a] + offset, shape[b])
    n = max(min(rows, columns), 0)
    start = (offset * steps[b] if offset >= 0 else -offset * steps[a]) if n else 0
    kept = [i for i in range(len(shape)) if i not in (a, b)]
    return (
        (*[shape[i] for i in kept], n),
        (*[steps[i] for i in kept], steps[a] + steps[b]),
        start,
    )


@function(grad="DiagonalBackward0")
def _diagonal(input: Tensor, offset: int, dim1: int = 0, dim2: int = 1) -> Tensor:
    shape, strides, start = _diagonal_spec(input._meta.shape, offset, dim1, dim2)
    return ops.as_strided(input, start, shape=shape, strides=strides)


def diagonal_copy(
    input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1, *, out: Tensor | None = None
) -> Tensor:
    """``diagonal`` as a copy."""
    result = _diagonal(input, offset, dim1, dim2)
    return result if out is None else write_out(out, result, "diagonal_copy")


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements along its diagonal.

    >>> diagflat(tensor([[1], [2]]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag_embed(input.reshape(-1), offset)


def _triangle(name: str, keep: str, what: str) -> Any:
    def body(input: Tensor, diagonal: int = 0) -> Tensor:
        if input.dim() < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        diagonal = as_int(diagonal, "diagonal")
        kept = getattr(ops, keep)(_offsets(*input._meta.shape[-2:]), diagonal)
        return ops.where(kept, input, _zero(input.dtype))

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"""The part of matrices on and {what} a diagonal; zero elsewhere.

    >>> {name}(ones(2, 2)).sum()
    tensor(3.)
    """
    return body


_tril, _triu = _triangle("tril", "le", "below"), _triangle("triu", "ge", "above")
tril, triu = function(_tril), function(_triu)


def _triangle_(name: str, f: Any) -> Any:
    def body(input: Tensor, diagonal: int = 0) -> Tensor:
        return assign(input, f(input, diagonal))

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"In-place ``{name[:-1]}``."
    return function(body)


tril_, triu_ = _triangle_("tril_", _tril), _triangle_("triu_", _triu)


# From so many rows a native loop is worth its loading.
_MANY_ROWS = 128


def _triangle_indices(
    name: str, row: int, col: int, offset: int, dtype: Any, lower: bool
) -> Tensor:
    if row < 0 or col < 0:
        what, n = ("row", row) if row < 0 else ("col", col)
        raise RuntimeError(f"{what} must be non-negative, got{n}")
    dtype = dtype or dtypes.int64
    if dtype not in (dtypes.int64, dtypes.int32):
        raise NotImplementedError(f"\"{name}\" not implemented for '{title(dtype)}'")
    edges = np.clip(np.arange(row) + offset + lower, 0, col)
    first = np.zeros_like(edges) if lower else edges
    count = edges if lower else col - edges
    if row >= _MANY_ROWS and _tier.chosen() != "interpret":
        from flambeau.run.compiler.triangles import listed

        places = listed(first, count)
    else:
        places = np.stack((np.tril_indices if lower else np.triu_indices)(row, offset, col))
    return concrete(np.ascontiguousarray(places, dtype.numpy), dtype)


def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Rows and columns of the places on and below a diagonal, in row-major order.

    >>> tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    found = _triangle_indices("tril_indices", row, col, offset, dtype, lower=True)
    return found.to("meta") if is_meta(device) else found  # type: ignore[attr-defined]


def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Rows and columns of the places on and above a diagonal, in row-major order.

    >>> triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    found = _triangle_indices("triu_indices", row, col, offset, dtype, lower=False)
    return found.to("meta") if is_meta(device) else found  # type: ignore[attr-defined]


@function
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix.

    >>> trace(tensor([[1, 2], [3, 4]]))
    tensor(5)
    """
    if input.dim() != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.dim()}")
    shape, strides, start = _diagonal_spec(input._meta.shape, 0, 0, 1)
    line = ops.as_strided(input, start, shape=shape, strides=strides)
    if input.dtype.category < 2:
        line = cast(line, dtypes.int64)
    return ops.sum(line, dims=(0,), keepdim=False)


@function
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements as columns: ``N`` of them, the highest first by default.

    >>> vander(tensor([1, 2, 3]), 3)
    tensor([[1, 1, 1],
            [4, 2, 1],
            [9, 3, 1]])
    """
    if x.dim() != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    rows = x._meta.shape[0]
    columns = rows if N is None else N
    if columns < 0:
        raise RuntimeError("N must be non-negative.")
    dtype = dtypes.int64 if x.dtype.category < 2 else x.dtype
    if columns == 0:
        return ops.full(0, shape=(rows, 0), dtype=dtype)
    one = ops.full(1, shape=(rows, 1), dtype=dtype)
    if columns == 1:
        return one
    wide = ops.reshape(cast(x, dtype), shape=(rows, 1))
    wide = ops.broadcast(wide, shape=(rows, columns - 1))
    powers = ops.concat(one, ops.cumprod(wide, dim=1), dim=1)
    return powers if increasing else ops.flip(powers, dims=(1,))


# ------------------------------------------------------------------- a part replaced, as a copy


def _replace(
    name: str, input: Tensor, src: Tensor, shape: tuple, strides: tuple, start: int
) -> Tensor:
    if src._meta.shape != shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = "
            f"{list(src._meta.shape)}, slice size = {list(shape)}"
        )
    src = cast(src, input.dtype)
    return ops.write_strided(input, src, start, shape=shape, strides=strides)


@function(grad="DiagonalScatterBackward0")
def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy of ``input`` with a diagonal replaced by ``src``.

    >>> diagonal_scatter(zeros(2, 2), ones(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    spec = _diagonal_spec(input._meta.shape, offset, dim1, dim2)
    return _replace("diagonal_scatter", input, src, *spec)


@function(grad="SelectScatterBackward0")
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of ``input`` with one position of a dimension replaced by ``src``.

    >>> select_scatter(zeros(2, 2), ones(2), 0, 1)
    tensor([[0., 0.],
            [1., 1.]])
    """
    shape = input._meta.shape
    d = wrap_dim(dim, len(shape))
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    if not -shape[d] <= index < shape[d]:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(shape)} at dimension "
            f"{d}"
        )
    steps = contiguous_strides(shape)
    kept = [i for i in range(len(shape)) if i != d]
    return _replace(
        "select_scatter",
        input,
        src,
        tuple(shape[i] for i in kept),
        tuple(steps[i] for i in kept),
        index % shape[d] * steps[d],
    )


@function(grad="SliceScatterBackward0")
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy of ``input`` with every ``step``-th position from ``start`` to ``end`` replaced.

    >>> slice_scatter(zeros(3), ones(2), start=1)
    tensor([0., 1., 1.])
    """
    shape = input._meta.shape
    d = wrap_dim(dim, len(shape))
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    first, last, step = slice(start, end, step).indices(shape[d])
    count = max(0, -(-(last - first) // step))
    steps = contiguous_strides(shape)
    return _replace(
        "slice_scatter",
        input,
        src,
        (*shape[:d], count, *shape[d + 1 :]),
        (*steps[:d], steps[d] * step, *steps[d + 1 :]),
        first * steps[d] if count else 0,
    )


@function(grad="AsStridedScatterBackward0")
def _as_strided_scatter(
    input: Tensor, src: Tensor, size: tuple, stride: tuple, offset: int
) -> Tensor:
    return _replace("as_strided_scatter", input, src, size, stride, offset)


def _scattered(
    input: Tensor, src: Tensor, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> Tensor:
    """``as_strided_scatter`` in memory where the elements do not lie one after another."""
    from flambeau.functions.gathering import put

    striding.as_strided(input.detach(), size, stride, offset)
    if tuple(src.shape) != size:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(size)}"
        )
    at = striding.element_at(input, size, stride, offset).reshape(-1)
    inside = concrete(np.flatnonzero(at >= 0), dtypes.int64)
    places = concrete(np.ascontiguousarray(at[at >= 0]), dtypes.int64)
    return put(input, places, cast(src.reshape(-1)[inside], input.dtype))


def as_strided_scatter(
    input: Tensor,
    src: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """A copy of ``input`` with the view of given shape, strides and offset replaced by ``src``.

    Raises ``RuntimeError`` as ``as_strided`` does.

    >>> as_strided_scatter(zeros(2, 2), ones(2), (2,), (1,))
    tensor([[1., 1.],
            [0., 0.]])
    """
    size, stride = as_shape(tuple(size)), as_shape(tuple(stride))
    offset = alias.spec_of(input)[2]
    if storage_offset is not None:
        offset = as_int(storage_offset, "storage_offset")
    if not input.is_contiguous():
        return _scattered(input, src, size, stride, offset)
    striding.check_strides(size, stride, offset, input.numel(), input.itemsize)
    return _as_strided_scatter(input, src, size, stride, offset)


def fill_diagonal_(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Sets the main diagonal; of a tall matrix again after each full one with ``wrap``.

    Raises ``RuntimeError`` for fewer than two dimensions, or more of different sizes.

    >>> fill_diagonal_(zeros(2, 2), 1)
    tensor([[1., 0.],
            [0., 1.]])
    """
    shape, strides, offset = tuple(input.shape), input.stride(), input.storage_offset()
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    count = min(shape)
    step = sum(strides)
    striding.as_strided(input, (count,), (step,), offset).fill_(fill_value)
    if wrap and len(shape) == 2 and shape[0] > shape[1] + 1:
        fill_diagonal_(input[shape[1] + 1 :], fill_value, wrap)
    return input


# PyTorch has no gradient of ``vander`` and a wrong one of ``as_strided_scatter``.
SAMPLES = {
    "diag_embed": "v; x; v, 1; x, -2; x, 0, 0, 2; x, 1, 2, 0; i; empty; !x, 0, 1, 1; !x, 0, 5, 1;"
    "!s",
    "diag": "v; m; x; x, 1; x, -1; v, 2; i, -3; x, 9; !cube; !s; !x, 0.5",
    "diagonal_copy": "x; m, 1; cube, -1, 0, 2; cube, 0, -2, -1; x, 9; i; !v; !x, 0, 1, 1;"
    "!x, 0, 0, 2",
    "diagflat": "v; x; v, -1; i, 2; s; empty; !2",
    "tril": "x; m, 1; batch, -1; tall; i; truth; x, -9; empty; c; !v; !s; !x, 0.5",
    "triu": "x; m, 1; batch, -1; tall; i; truth; x, 9; empty; c; !v; !s; !x, 0.5",
    "tril_indices": "3, 4; 4, 3, 1; 3, 3, -1; 0, 2; 3, 3, dtype=torch.int32; !-1, 2; !2, -1;"
    "!2, 2, dtype=torch.float32",
    "triu_indices": "3, 4; 4, 3, 1; 3, 3, -1; 0, 2; 3, 3, dtype=torch.int32; !-1, 2; !2, -1;"
    "!2, 2, dtype=torch.float32",
    "trace": "m; x; tall; i; c; torch.zeros(0, 0); !v; !cube; !s",
    "vander": "v # no-grad; v, 3 # no-grad; v, 2, True # no-grad; labels, 4; v, 0; v, 1;"
    "cv # no-grad; !x; !v, -1; !s",
    "diagonal_scatter": "x, u; m, u, 1; m, u, -1; cube, torch.ones(4, 2), 0, 0, 1; i, labels;"
    "x, labels; !x, v; !x, 1.0; !x, u, 0, 1, 1",
    "select_scatter": "x, v, 0, 1; x, u, 1, -1; i, j[0], 0, 0; cube, x, 0, 1; !x, u, 0, 1;"
    "!x, v, 0, 3; !x, v, 2, 0",
    "slice_scatter": "x, torch.ones(2, 4), 0, 1; x, torch.ones(3, 2), 1, 0, 4, 2; x, y;"
    "x, y, 1, -9, 9; i, j[:1], 0, 2; !x, v; !x, y, 0, 0, 1, 0; !x, y, 2",
    "as_strided_scatter": "x, torch.ones(2, 2), (2, 2), (4, 1) # no-grad;"
    "x, u, (3,), (5,), 1 # no-grad; x, s, (), () # no-grad; !x, u, (2,), (1,); !x, u, (3,), (9,);"
    "!x, u, (3,), (-1,)",
    "Tensor.fill_diagonal_": "torch.zeros(3, 4), 2; torch.zeros(5, 3), 1.5;"
    "torch.zeros(7, 3), 1, wrap=True; i, 9; torch.zeros(2, 2, 2), 1; !torch.zeros(3), 1;"
    "!torch.zeros(2, 3, 2), 1",
}
