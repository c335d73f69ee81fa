"""Several tensors into one: cat, stack and their kin, grids, products of sets."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.dims import wrap_dim
from flambeau.functions.inplace import write_out
from flambeau.functions.promotion import cast, result_type
from flambeau.ir.primitive import broadcast_shapes as _broadcast_shapes
from flambeau.record import alias
from flambeau.record.macro import function, ops
from flambeau.tensor import Size, Tensor, concrete

if TYPE_CHECKING:
    from collections.abc import Sequence


def _sequence(tensors: Any, name: str) -> tuple[Tensor, ...]:
    """A tuple or list of tensors (or a tensor's entries) as a tuple."""
    if isinstance(tensors, Tensor):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor"
        )
    found = tuple(tensors)
    for i, t in enumerate(found):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}"
            )
    return found


def given_tensors(tensors: tuple, name: str) -> tuple[Tensor, ...]:
    """Tensors given as ``f(a, b)`` or ``f([a, b])``."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    return _sequence(tensors, name)


def _joined_data(tensors: Sequence[Tensor], dim: Any, new: bool) -> Tensor | None:
    """Data along a dimension, or a ``new`` one, at once; None: the call is recorded, or refused."""
    first = tensors[0]._meta
    shape, dtype = first.shape, first.dtype
    rank = len(shape) + new
    if dim.__class__ is not int or not -rank <= dim < rank:
        return None
    d = dim % rank
    for t in tensors:
        m = t._meta
        if m is not first and (
            m.dtype is not dtype
            or len(m.shape) != len(shape)
            or any(n != k for a, (n, k) in enumerate(zip(m.shape, shape)) if new or a != d)
        ):
            return None
    arrays = alias.at_once(tensors)
    if arrays is None:
        return None
    if new:
        one = (*shape[:d], 1, *shape[d:])
        arrays = [a.reshape(one) for a in arrays]
    # NumPy's own result may lie in another order.
    shape = (
        *shape[:d],
        len(arrays) if new else sum(a.shape[d] for a in arrays),
        *shape[d + (not new) :],
    )
    return concrete(np.concatenate(arrays, d, np.empty(shape, arrays[0].dtype)), dtype)


@function(grad="CatBackward0")
def _cat(tensors: Sequence[Tensor], dim: int) -> Tensor:
    dtype = result_type(*tensors)
    # Empty 1-dim tensors join anything, for historical reasons.
    real = [t for t in tensors if t._meta.shape != (0,)]
    if not real:
        return cast(tensors[0], dtype) if tensors[0].dtype is not dtype else ops.clone(tensors[0])
    first = real[0]._meta.shape
    d = wrap_dim(dim, len(first))
    for t in real[1:]:
        shape = t._meta.shape
        if len(shape) != len(first):
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}"
            )
    for i, t in enumerate(tensors):
        shape = t._meta.shape
        if shape == (0,):
            continue
        for k, (n, m) in enumerate(zip(first, shape, strict=True)):
            if k != d and n != m:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {d}. Expected size {n} but "
                    f"got size {m} for tensor number {i} in the list."
                )
    if len(real) == 1:
        joined = cast(real[0], dtype) if real[0].dtype is not dtype else ops.clone(real[0])
    else:
        joined = ops.concat(*[cast(t, dtype) for t in real], dim=d)
    # They have gradients, with nothing in them.
    empty = [t for t in tensors if t._meta.shape == (0,) and t._meta.requires_grad]
    return ops.tied(joined, *empty) if empty else joined


def cat(
    tensors: Any, dim: int = 0, *, axis: int | None = None, out: Tensor | None = None
) -> Tensor:
    """Tensors joined along a dimension; their dtypes promote.

    All other sizes must agree (``RuntimeError``), but empty 1-dim tensors are passed over.

    >>> cat([tensor([1, 2]), tensor([3])])
    tensor([1, 2, 3])
    """
    dim = dim if axis is None else axis
    tensors = _sequence(tensors, "cat")
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    for i, t in enumerate(tensors):
        if not t._meta.shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    result = _joined_data(tensors, dim, new=False)
    if result is None:
        result = _cat(tensors, dim)
    return result if out is None else write_out(out, result, "cat", tensors)


def concat(tensors: Any, dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """``cat``."""
    return cat(tensors, dim, out=out)


def concatenate(
    tensors: Any, dim: int = 0, *, axis: int | None = None, out: Tensor | None = None
) -> Tensor:
    """``cat``."""
    return cat(tensors, dim, axis=axis, out=out)


@function(grad="StackBackward0")
def _stack(tensors: Sequence[Tensor], dim: int) -> Tensor:
    shape = tensors[0]._meta.shape
    for i, t in enumerate(tensors):
        if t._meta.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 "
                f"and {list(t._meta.shape)} at entry {i}"
            )
    d = wrap_dim(dim, len(shape) + 1)
    dtype = result_type(*tensors)
    one = (*shape[:d], 1, *shape[d:])
    parts = [ops.reshape(cast(t, dtype), shape=one) for t in tensors]
    return parts[0] if len(parts) == 1 else ops.concat(*parts, dim=d)


def stack(
    tensors: Any, dim: int = 0, *, axis: int | None = None, out: Tensor | None = None
) -> Tensor:
    """Tensors of one shape joined along a new dimension.

    >>> stack([tensor([1, 2]), tensor([3, 4])], dim=1)
    tensor([[1, 3],
            [2, 4]])
    """
    dim = dim if axis is None else axis
    tensors = _sequence(tensors, "stack")
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    result = _joined_data(tensors, dim, new=True)
    if result is None:
        result = _stack(tensors, dim)
    return result if out is None else write_out(out, result, "stack", tensors)


def _non_empty(tensors: Any, name: str) -> tuple[Tensor, ...]:
    found = _sequence(tensors, name)
    if not found:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return found


def hstack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Tensors joined along dimension 1, 1-dim ones along 0.

    >>> hstack((tensor([1, 2]), tensor([3])))
    tensor([1, 2, 3])
    """
    found = atleast_1d(_non_empty(tensors, "hstack"))
    return cat(found, 0 if found[0].dim() == 1 else 1, out=out)


def vstack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Tensors joined along dimension 0, 1-dim ones as rows.

    >>> vstack((tensor([1, 2]), tensor([3, 4])))
    tensor([[1, 2],
            [3, 4]])
    """
    return cat(atleast_2d(_non_empty(tensors, "vstack")), 0, out=out)


def row_stack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """``vstack``."""
    return vstack(tensors, out=out)


def dstack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Tensors joined along dimension 2.

    >>> dstack((tensor([1, 2]), tensor([3, 4])))
    tensor([[[1, 3],
             [2, 4]]])
    """
    return cat(atleast_3d(_non_empty(tensors, "dstack")), 2, out=out)


def column_stack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Tensors joined along dimension 1, those of fewer than 2 dimensions as columns.

    >>> column_stack((tensor([1, 2]), tensor([3, 4])))
    tensor([[1, 3],
            [2, 4]])
    """
    found = [
        t if t.dim() > 1 else t.reshape(t.numel(), 1) for t in _non_empty(tensors, "column_stack")
    ]
    return hstack(found, out=out)


def _atleast(tensors: tuple, name: str, one: Any) -> Any:
    if len(tensors) == 1:
        if isinstance(tensors[0], Tensor):
            return one(tensors[0])
        tensors = tensors[0]
    return tuple(one(t) for t in _sequence(tensors, name))


def atleast_1d(*tensors: Any) -> Any:
    """0-dim tensors as 1-dim ones; others as they are.

    >>> atleast_1d(tensor(1))
    tensor([1])
    """
    return _atleast(tensors, "atleast_1d", lambda t: t if t.dim() else t.reshape(1))


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with leading dimensions of size 1 up to two.

    >>> atleast_2d(tensor([1, 2]))
    tensor([[1, 2]])
    """

    def one(t: Tensor) -> Tensor:
        if t.dim() > 1:
            return t
        return t.reshape(1, 1) if not t.dim() else t.unsqueeze(0)

    return _atleast(tensors, "atleast_2d", one)


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with dimensions of size 1 up to three: a vector lies along the middle one.

    >>> atleast_3d(tensor([1, 2])).shape
    torch.Size([1, 2, 1])
    """

    def one(t: Tensor) -> Tensor:
        if t.dim() > 2:
            return t
        if not t.dim():
            return t.reshape(1, 1, 1)
        return t.unsqueeze(0).unsqueeze(-1) if t.dim() == 1 else t.unsqueeze(-1)

    return _atleast(tensors, "atleast_3d", one)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that shapes broadcast to; ``RuntimeError`` if there is none.

    >>> broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    whole = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    for s in whole:
        if any(n < 0 for n in s):
            raise ValueError(f"Attempting to broadcast a dimension with negative length: {list(s)}")
    try:
        return Size(_broadcast_shapes(*whole))
    except RuntimeError as e:
        raise RuntimeError("Shape mismatch: objects cannot be broadcast to a single shape") from e


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Views of tensors in the shape that all broadcast to; those that have it are given back.

    >>> a, b = broadcast_tensors(zeros(2, 1), zeros(3))
    >>> a.shape
    torch.Size([2, 3])
    """
    found = given_tensors(tensors, "broadcast_tensors")
    shape = tuple(_broadcast_shapes(*[t._meta.shape for t in found]))
    return tuple(t if t._meta.shape == shape else t.expand(shape) for t in found)


@function
def _block_diag(tensors: Sequence[Tensor]) -> Tensor:
    dtype = result_type(*tensors)
    parts = []
    for i, t in enumerate(tensors):
        shape = t._meta.shape
        if len(shape) > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has "
                f"{len(shape)} dimensions"
            )
        rows = (1,) * (2 - len(shape)) + shape
        parts.append(ops.reshape(cast(t, dtype), shape=rows))
    width = sum(p._meta.shape[1] for p in parts)
    left, lines = 0, []
    for p in parts:
        n = p._meta.shape[1]
        lines.append(ops.pad(p, 0, pads=((0, 0), (left, width - left - n))))
        left += n
    return lines[0] if len(lines) == 1 else ops.concat(*lines, dim=0)


def block_diag(*tensors: Any) -> Tensor:
    """A matrix with the given ones along its diagonal, zero elsewhere.

    >>> block_diag(tensor([[1, 2]]), tensor([[3]]))
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    found = given_tensors(tensors, "block_diag")
    if not found:
        from flambeau.functions.creation import empty

        return empty(1, 0)
    return _block_diag(found)


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Grids of coordinates from 1-dim tensors: ``indexing`` "ij" or "xy" (first two exchanged).

    >>> x, y = meshgrid(tensor([1, 2]), tensor([3, 4]), indexing="ij")
    >>> y
    tensor([[3, 4],
            [3, 4]])
    """
    found = given_tensors(tensors, "meshgrid")
    if indexing is None:
        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing "
            "argument.",
            UserWarning,
            stacklevel=2,
        )
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise RuntimeError(
            'torch.meshgrid: indexing must be one of "xy" or "ij", but received: ' + str(indexing)
        )
    if not found:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in found:
        if t.dim() > 1:
            raise RuntimeError(
                "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: "
                f"{list(t.shape)}"
            )
        if t.dtype is not found[0].dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    # "xy" has the second tensor's values along the first dimension.
    swap = indexing == "xy" and len(found) > 1
    order = [found[1], found[0], *found[2:]] if swap else list(found)
    shape = tuple(t.numel() for t in order)
    grids = [
        t.reshape(tuple(n if k == d else 1 for k, n in enumerate(shape))).expand(shape)
        for d, t in enumerate(order)
    ]
    if swap:
        grids[:2] = grids[1], grids[0]
    return tuple(grids)


def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of one element from each 1-dim tensor, a row each.

    >>> cartesian_prod(tensor([1, 2]), tensor([3]))
    tensor([[1, 3],
            [2, 3]])
    """
    found = given_tensors(tensors, "cartesian_prod")
    if not found:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in found:
        if t.dim() != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len(found) == 1:
        return found[0]
    return stack([g.reshape(-1) for g in meshgrid(*found, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of ``r`` elements of a 1-dim tensor, in order, a row each.

    >>> combinations(tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        from flambeau.functions.creation import empty

        return empty(0, dtype=input.dtype)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.numel()), r)), np.int64).reshape(-1, r)
    return _chosen(input, concrete(rows, dtypes.int64))


@function(grad="IndexBackward0")
def _chosen(input: Tensor, rows: Tensor) -> Tensor:
    return ops.index(input, rows, where=(0,))


SAMPLES = {
    "cat": "(x, y); [x, y], 1; (x, row, i), -2; (x,); (v, torch.zeros(0), w); (i, j.int());"
    "(x, i), dim=1; (c, x); (x, x); (half, x); (empty, x); !(x, u); !(s, s); ![]; !x; !(x, y), 2;"
    "!(x, 1)",
    "concat": "(x, y); [x, y], 1; (x, i); !(x, u); ![]",
    "concatenate": "(x, y); [x, y], 1; (x, i), axis=1; !(x, u); ![]",
    "stack": "(x, y); [x, y], 1; (x, i), -1; (s, s); (x,), 2; (empty, empty); (c, x), dim=0;"
    "!(x, u); ![]; !x; !(x, y), 3; !(x, 2)",
    "hstack": "(x, y); (u, v); (s, s); [i, j]; (cube, cube); (x, column); !(x, row); ![]; !(x, v)",
    "vstack": "(x, y); (v, w); (s, s); [i, j]; (x, row); (x, v); !(x, column); ![]; !(u, v)",
    "row_stack": "(x, y); (v, w); (x, v); !(u, v); ![]",
    "dstack": "(x, y); (v, w); (s, s); (cube, cube); !(x, row); ![]; !(u, v)",
    "column_stack": "(x, y); (v, w); (s, s); (v, m); (u, x); !(x, v); ![]; !(u, v)",
    "atleast_1d": "s; x; s, v; [s, v]; i; cube",
    "atleast_2d": "s; v; x; s, v, x; [s, v]; cube",
    "atleast_3d": "s; v; x; s, v, x; (s, v); cube",
    "broadcast_shapes": "(3, 1), (4,); (2, 1, 4), (3, 1), (1,); (); (3,), 3; 3, (2, 1); (0,), (1,);"
    "!(3,), (4,); !(-1,), (2,); !x",
    "broadcast_tensors": "x, row; x, v, s; u[:, None], row; x; i, x; empty, row; !x, u; !x, 1;"
    "!empty, x",
    "block_diag": "x, m; x, v; s, x; i, j[:1]; x; v, s, column; c, i; truth, mask; !x, cube; !x, 1",
    "meshgrid": "u, v, indexing='ij'; u, v, indexing='xy'; u, v, w; [labels, counts];"
    "v, indexing='xy'; u, s, indexing='ij'; u, v, labels[:2].float(), indexing='xy';"
    "!u, v, indexing='ji'; !u, x; !u, labels; !",
    "cartesian_prod": "u, v; v; labels, counts[:2]; u, v, signs; u, v[:0]; !x, v; !u, labels;!s, u",
    "combinations": "v; v, 3; v, 2, True; v, 1; v, 0; labels, r=2; v, 5;"
    "u, 3, with_replacement=True; !x; !v, -1; !s",
}
