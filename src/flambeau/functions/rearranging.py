"""Elements repeated, rolled, reversed and split."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.functions import slicing, views
from flambeau.functions.checks import _refuse
from flambeau.functions.dims import as_int, sizes_given, wrap_dim
from flambeau.functions.geometry import _remembered
from flambeau.functions.inplace import write_out
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor, concrete

if TYPE_CHECKING:
    from collections.abc import Sequence


@function(grad="RepeatBackward0")
def _repeat(input: Tensor, repeats: tuple[int, ...]) -> Tensor:
    shape = (1,) * (len(repeats) - input.dim()) + input._meta.shape
    # (a, b) repeated (r, s) times is (r, a, s, b) flattened in pairs.
    apart = tuple(k for n in shape for k in (1, n))
    wide = tuple(k for r, n in zip(repeats, shape, strict=True) for k in (r, n))
    final = tuple(r * n for r, n in zip(repeats, shape, strict=True))
    return ops.reshape(ops.broadcast(ops.reshape(input, shape=apart), shape=wide), shape=final)


def repeat(input: Tensor, *repeats: Any, **named: Any) -> Tensor:
    """Copies laid side by side: as many along each dimension as ``repeats`` says.

    >>> repeat(tensor([1, 2]), 2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    counts = sizes_given("repeat", "repeats", repeats, named)
    if len(counts) < input.dim():
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    if any(n < 0 for n in counts):
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {min(counts)}: {list(counts)}"
        )
    return _repeat(input, counts)


def tile(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """``repeat`` with missing leading counts taken as 1.

    >>> tile(tensor([[1, 2]]), (2,))
    tensor([[1, 2, 1, 2]])
    """
    counts = sizes_given("tile", "dims", dims, named)
    return repeat(input, (1,) * (input.dim() - len(counts)) + counts)


@function(grad="RepeatInterleaveBackward0")
def _repeat_each(input: Tensor, repeats: int, dim: int) -> Tensor:
    shape = input._meta.shape
    wide = (*shape[: dim + 1], repeats, *shape[dim + 1 :])
    one = ops.reshape(input, shape=(*shape[: dim + 1], 1, *shape[dim + 1 :]))
    final = (*shape[:dim], shape[dim] * repeats, *shape[dim + 1 :])
    return ops.reshape(ops.broadcast(one, shape=wide), shape=final)


def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each entry of a dimension repeated, as often as an integer or a tensor of counts says.

    Without ``dim`` the input is flattened; given counts alone, their positions are repeated.

    >>> repeat_interleave(tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    """
    from flambeau.functions.gathering import index_select

    if repeats is None:
        return concrete(_positions(input, output_size), dtypes.int64)
    x = input.reshape(-1) if dim is None else input
    d = wrap_dim(0 if dim is None else dim, x.dim())
    if isinstance(repeats, (list, tuple)):
        from flambeau.functions.creation import tensor

        repeats = tensor(list(repeats))
    if isinstance(repeats, Tensor) and repeats.numel() == 1:
        if repeats.dim() > 1:
            raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
        if repeats.dtype.category != 1:
            _refuse("repeat_interleave_cpu", repeats.dtype)
        repeats = int(repeats.item())
    if not isinstance(repeats, Tensor):
        repeats = as_int(repeats, "repeats")
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        if not x.dim():
            x, d = x.reshape(1), 0
        if output_size is not None and output_size != x.shape[d] * repeats:
            raise RuntimeError("repeat_interleave: Invalid output_size")
        return _repeat_each(x, repeats, d)
    if repeats.dim() > 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    if (x.shape[d] if x.dim() else 1) != repeats.numel():
        raise RuntimeError(
            "repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{repeats.numel()} and input.size({d}) = {x.shape[d] if x.dim() else 1}"
        )
    return index_select(x, d, concrete(_positions(repeats, output_size), dtypes.int64))


def _positions(repeats: Tensor, output_size: int | None) -> np.ndarray:
    """0, 1, 2 … each as often as a tensor of counts says."""
    if repeats.dim() != 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if repeats.dtype not in (dtypes.int64, dtypes.int32):
        _refuse("repeat_interleave_cpu", repeats.dtype)
    counts = repeats._value()._array()
    if counts.size and counts.min() < 0:
        raise RuntimeError("repeats can not be negative")
    places = np.repeat(np.arange(counts.size, dtype=np.int64), counts)
    if output_size is not None and output_size != places.size:
        raise RuntimeError("allocated size does not match required size")
    return places


@function(grad="RollBackward0")
def _roll(input: Tensor, shifts: tuple[int, ...], dims: tuple[int, ...]) -> Tensor:
    x = input
    for k, d in zip(shifts, dims, strict=True):
        n = input._meta.shape[d]
        k = k % n if n else 0
        if k:
            whole = {"dims": (d,), "steps": (1,)}
            tail = ops.slice(x, n - k, sizes=(k,), **whole)
            x = ops.concat(tail, ops.slice(x, 0, sizes=(n - k,), **whole), dim=d)
    return ops.clone(x) if x is input else x


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Entries moved along dimensions, those that fall off coming back at the front.

    Without ``dims`` the flattened tensor is rolled.

    >>> roll(tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    shifts = tuple(shifts) if isinstance(shifts, (tuple, list)) else (as_int(shifts, "shifts"),)
    if dims is None:
        dims = ()
    elif not isinstance(dims, (tuple, list)):
        dims = (as_int(dims, "dims"),)
    if not shifts:
        raise RuntimeError("`shifts` required")
    if not dims and len(shifts) == 1:
        return _roll(input.reshape(-1), shifts, (0,)).view(tuple(input.shape))
    if len(shifts) != len(dims):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}"
        )
    return _roll(input, shifts, tuple(wrap_dim(d, input.dim(), scalar=False) for d in dims))


@function
def _flip(input: Tensor, dims: tuple[int, ...]) -> Tensor:
    return ops.flip(input, dims=dims) if dims and input.dim() else ops.clone(input)


def flip(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """Dimensions reversed, as a copy.

    >>> flip(tensor([1, 2, 3]), 0)
    tensor([3, 2, 1])
    """
    wanted = tuple(wrap_dim(d, input.dim()) for d in sizes_given("flip", "dims", dims, named))
    for d in wanted:
        if wanted.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return _flip(input, wanted)


def fliplr(input: Tensor) -> Tensor:
    """Columns reversed: ``flip(1)`` of at least two dimensions.

    >>> fliplr(tensor([[1, 2]]))
    tensor([[2, 1]])
    """
    if input.dim() < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return _flip(input, (1,))


def flipud(input: Tensor) -> Tensor:
    """Rows reversed: ``flip(0)`` of at least one dimension.

    >>> flipud(tensor([[1], [2]]))
    tensor([[2],
            [1]])
    """
    if input.dim() < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return _flip(input, (0,))


def rot90(input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Turned ``k`` times by 90 degrees in the plane of two dimensions, from the first to the other.

    >>> rot90(tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    dims = tuple(dims)
    n = input.dim()
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if n < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {n}")
    a, b = (wrap_dim(d, n) for d in dims)
    if a == b:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    k %= 4
    if k == 1:
        return _flip(input, (b,)).transpose(a, b)
    if k == 2:
        return _flip(input, (a, b))
    if k == 3:
        return _flip(input, (a,)).transpose(a, b)
    return input.clone()


# ---------------------------------------------------------------------------------- splitting


@_remembered
def tensor_split(
    input: Tensor,
    indices_or_sections: Any = None,
    dim: int = 0,
    *,
    indices: Any = None,
    sections: int | None = None,
) -> tuple[Tensor, ...]:
    """Pieces as equal as can be, the first ones larger; or cut before the given positions.

    >>> tensor_split(arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    cuts = next((c for c in (indices_or_sections, indices, sections) if c is not None), None)
    _check_cuts("tensor_split", cuts)
    if not input.dim():
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    d = wrap_dim(dim, input.dim())
    n = input._meta.shape[d]
    if isinstance(cuts, Tensor):
        if cuts.dtype is not dtypes.int64:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to have dtype of long, but got "
                f"{_long_name(cuts.dtype)}"
            )
        if cuts.dim() > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or "
                f"one-dimensional tensor, but got a tensor with {cuts.dim()} dims"
            )
        cuts = cuts.tolist()
    if isinstance(cuts, int):
        if cuts <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {cuts}")
        small, extra = divmod(n, cuts)
        sizes = [small + (i < extra) for i in range(cuts)]
        ends = np.cumsum(sizes).tolist()
        starts = [0, *ends[:-1]]
    else:
        marks = [int(c) for c in cuts]
        places = [min(max(m + n if m < 0 else m, 0), n) for m in marks]
        starts, ends = [0, *places], [*places, n]
        sizes = [max(e - s, 0) for s, e in zip(starts, ends, strict=True)]
    return tuple(
        slicing.sliced(input, (d,), (s if k else 0,), (k,), (1,))
        for s, k in zip(starts, sizes, strict=True)
    )


def _long_name(dtype: dtypes.dtype) -> str:
    from flambeau.functions.inplace import title

    return title(dtype)


def _check_cuts(name: str, cuts: Any) -> None:
    """Refuses what is no number of pieces nor places to cut at."""
    whole = (
        isinstance(cuts, Tensor)
        or hasattr(cuts, "__index__")
        or (isinstance(cuts, (tuple, list)) and all(hasattr(c, "__index__") for c in cuts))
    )
    if not whole:
        raise TypeError(
            f"{name}(): argument 'indices_or_sections' (position 2) must be int or tuple of ints, "
            f"not {cuts!r}"
        )


def _split_along(name: str, input: Tensor, cuts: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    if isinstance(cuts, np.integer):
        cuts = int(cuts)
    _check_cuts(name, cuts)
    if input.dim() < least:
        raise RuntimeError(
            f"torch.{name} requires a tensor with at least {least} dimension"
            f"{'s' if least > 1 else ''}, but got a tensor with {input.dim()} dimensions!"
        )
    if isinstance(cuts, int) and (cuts <= 0 or input._meta.shape[dim] % cuts):
        raise RuntimeError(
            f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension "
            f"{input._meta.shape[dim]} is not divisible by the split_size {cuts}!"
        )
    return tensor_split(input, cuts, dim)


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Pieces along dimension 1 (0 of a vector).

    >>> hsplit(arange(4), 2)
    (tensor([0, 1]), tensor([2, 3]))
    """
    return _split_along("hsplit", input, indices_or_sections, 0 if input.dim() == 1 else 1, 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Pieces along dimension 0 of at least two.

    >>> len(vsplit(zeros(4, 1), 2))
    2
    """
    return _split_along("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Pieces along dimension 2 of at least three.

    >>> len(dsplit(zeros(1, 1, 4), 2))
    2
    """
    return _split_along("dsplit", input, indices_or_sections, 2, 3)


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple:
    """Pieces of the sizes given.

    >>> split_with_sizes(arange(3), [1, 2])
    (tensor([0]), tensor([1, 2]))
    """
    return slicing.split(input, list(split_sizes), dim)


def unsafe_split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """``split``, whose pieces PyTorch lets be written to freely."""
    return slicing.split(input, split_size, dim)


def unsafe_split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple:
    """``split_with_sizes``, whose pieces PyTorch lets be written to freely."""
    return slicing.split(input, list(split_sizes), dim)


def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """``chunk``, whose pieces PyTorch lets be written to freely."""
    return slicing.chunk(input, chunks, dim)


@_remembered
def ravel(input: Tensor) -> Tensor:
    """One dimension: a view where possible.

    >>> ravel(tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])
    """
    return views.reshape(input, (-1,)) if input.numel() else views.reshape(input, (0,))


@function(grad="RenormBackward0")
def _renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    rest = tuple(d for d in range(input.dim()) if d != dim)
    p = float(p)
    size = ops.abs(input)
    if p == math.inf:
        norm = ops.amax(size, dims=rest, keepdim=True)
    elif p == 1:
        norm = ops.sum(size, dims=rest, keepdim=True)
    elif p == 2:
        norm = ops.sqrt(ops.sum(ops.mul(size, size), dims=rest, keepdim=True))
    else:
        norm = ops.pow(ops.sum(ops.pow(size, p), dims=rest, keepdim=True), 1 / p)
    # The small number keeps the quotient below maxnorm, as PyTorch's does.
    factor = ops.div(ops.full(maxnorm, shape=(), dtype=norm.dtype), ops.add(norm, 1e-7))
    one = ops.full(1, shape=(), dtype=norm.dtype)
    return ops.mul(input, ops.where(ops.gt(norm, maxnorm), factor, one))


def renorm(
    input: Tensor, p: float, dim: int, maxnorm: float, *, out: Tensor | None = None
) -> Tensor:
    """Every entry of ``dim`` scaled down so that its ``p``-norm is at most ``maxnorm``.

    >>> renorm(tensor([[3.0, 4.0]]), 2, 0, 1)
    tensor([[0.6000, 0.8000]])
    """
    if input.dim() < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.dim()} dimensions"
        )
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.dtype.category < 2:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{_long_name(input.dtype)}"
        )
    result = _renorm(input, float(p), wrap_dim(dim, input.dim()), float(maxnorm))
    return result if out is None else write_out(out, result, "renorm", (input,))


def renorm_(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """In-place ``renorm``."""
    # The gradient reads what is written over.
    return input.copy_(renorm(input.clone(), p, dim, maxnorm))


SAMPLES = {
    "Tensor.repeat": "x, 2, 1; v, 2, 3; x, (1, 2); s, 3; i, 2, 1, 1; x, 0, 1; v, (2,); x, [2, 2];"
    "!x, 2; !x, -1, 1; !x, 1.5, 1; !x",
    "tile": "x, (2,); x, (2, 1, 2); v, (3,); s, (2, 2); i, (1, 2); x, (0,); x, (); !x, (-1,)",
    "repeat_interleave": "v, 2; x, 2, 0; x, labels, dim=0; x, torch.tensor([2]), 1; x, 3;"
    "i, labels, 0; x, 0, 1; x, labels, 0, output_size=x.shape[0] * 0 + int(labels.sum()); s, 3;"
    "!x, -1; !x, labels, 1; !x, v, 1; !x, 2, 2; !x, k",
    "roll": "x, 1; x, 1, 0; x, (1, -2), (0, 1); v, -1, 0; i, 5, 1; x, 0, 1; empty, 1, 0;"
    "x, [1, 1], [0, 0]; s, 0; !x, (1, 2), 0; !x, 1, 2; !x, 1.5",
    "flip": "x, (0,); x, (0, 1); cube, (-1,); i, [1]; x, (); s, (); empty, (0,); c, (1,);"
    "!x, (0, 0); !x, (2,); !x, 0.5",
    "fliplr": "x; i; cube; empty; !v; !s",
    "flipud": "x; i; v; cube; empty; !s",
    "rot90": "x; x, 2; x, 3, (0, 1); x, -1; cube, 1, (1, 2); x, 4, [1, 0]; i, 1, (0, -1); !v;"
    "!x, 1, (0,); !x, 1, (0, 0); !x, 1, (0, 2)",
    "tensor_split": "x, 2; x, 3, 1; x, (1, 3), dim=1; v, [1]; x, 5; i, torch.tensor([1, 2]), 1;"
    "x, torch.tensor(2); x, (0, -1), 1; x, (9,); !x, 0; !s, 1; !x, 2, 2; !x, torch.ones(1); !x, k",
    "hsplit": "x, 2; x, (1, 3); v, 2; cube, [1]; i, 4; !x, 3; !s, 1; !x, 0",
    "vsplit": "x, 3; x, (1, 2); cube, 2; i, [1]; !x, 2; !v, 1; !x, 0",
    "dsplit": "cube, 2; cube, (1, 3); image, 3; !x, 2; !cube, 3; !cube, 0",
    "split_with_sizes": "x, [1, 2]; x, (1, 3), 1; i, [0, 4], -1; x, [3]; !x, [1, 1]; !x, [-1, 4];"
    "!x, [2, 1], 2; !s, [1]",
    "unsafe_split": "x, 2; x, 3, 1; i, 2, -1; x, 9; !x, -1; !x, 0; !x, 2, 2",
    "unsafe_split_with_sizes": "x, [1, 2]; x, (1, 3), 1; i, [0, 4], -1; !x, [1, 1]; !x, [-1, 4]",
    "unsafe_chunk": "x, 2; x, 3, 1; i, 5, -1; v, 1; !x, 0; !x, 2, 2; !s, 1",
    "ravel": "x; s; i; x.t(); cube; empty; c; !2",
    "renorm": "x, 2, 0, 1.0; x, 1, 1, 0.5; cube, 2, -1, 1.0; x, inf, 0, 0.7 # no-grad;"
    "x, 0.5, 1, 2.0; c, 2, 0, 1.0; x, 2, 0, 100.0; !x, 0, 0, 1.0; !x, 2, 0, -1.0; !x, 2, 2, 1.0;"
    "!v, 2, 0, 1.0; !i, 2, 0, 1.0",
}
