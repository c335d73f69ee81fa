"""Elements chosen by a condition: masks, where, nonzero, and places in sorted rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.checking import known, pair, recording
from flambeau.functions.inplace import title, write_out
from flambeau.functions.places import flat_places, place_columns, place_rows
from flambeau.functions.promotion import Number, cast, fit, is_number, promoted, result_type
from flambeau.ir import scattering  # noqa: F401  (declares the primitives)
from flambeau.ir.primitive import broadcast_shapes
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor, concrete


def _check_mask(name: str, mask: Any) -> None:
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name}(): argument 'mask' must be Tensor, not {type(mask).__name__}")
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(
            f"{name} only supports boolean masks, but got mask with dtype {title(mask.dtype)}"
        )


@function(grad="MaskedFillBackward0")
def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """``input`` with ``value`` (a number or 0-dim tensor) where the bool ``mask`` is true.

    Shapes broadcast. Raises ``RuntimeError`` for a mask of another dtype or a value with
    dimensions.

    >>> masked_fill(tensor([1.0, 2.0]), tensor([True, False]), 0)
    tensor([0., 2.])
    """
    _check_mask("masked_fill", mask)
    dtype = input.dtype
    if isinstance(value, Tensor):
        if value.dim():
            raise RuntimeError(
                "masked_fill only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.dim()} dimension(s)."
            )
        is_complex = value.is_complex()
        value = cast(value, dtype)
    else:
        is_complex = isinstance(value, complex)
        if not is_complex or dtype.is_complex:
            value = ops.full(fit(value, dtype), shape=(), dtype=dtype)
    if is_complex and not dtype.is_complex:
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
    return ops.where(mask, value, input)


@function(grad="MaskedFillBackward0")
def masked_fill_(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """In-place ``masked_fill``; the mask broadcasts to the tensor."""
    from flambeau.functions.inplace import assign

    _check_mask("masked_fill_", mask)
    return assign(input, masked_fill(input, mask, value))


def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements where ``mask`` is true, as a 1-dim tensor.

    Shapes broadcast. The number of elements is a value, so what is pending is run.

    >>> masked_select(tensor([1, 2, 3]), tensor([True, False, True]))
    tensor([1, 3])
    """
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = broadcast_shapes(input._meta.shape, mask._meta.shape)
    places = flat_places(np.broadcast_to(mask._value()._array(), shape))
    result = _masked_select(input, concrete(places, dtypes.int64), shape)
    return result if out is None else write_out(out, result, "masked_select", (input, mask))


@function(grad="MaskedSelectBackward0")
def _masked_select(input: Tensor, places: Tensor, shape: tuple[int, ...]) -> Tensor:
    if input._meta.shape != shape:
        input = ops.broadcast(input, shape=shape)
    return ops.index(ops.reshape(input, shape=(input.numel(),)), places, where=(0,))


@function(grad="MaskedScatterBackward0")
def _masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    shape = broadcast_shapes(input._meta.shape, mask._meta.shape)
    if input._meta.shape != shape:
        input = ops.broadcast(input, shape=shape)
    if mask._meta.shape != shape:
        mask = ops.broadcast(mask, shape=shape)
    size = input.numel()
    if not size or not source.numel():
        return ops.clone(input)
    flat = ops.cast(ops.reshape(mask, shape=(size,)), dtype=dtypes.int64)
    # The k-th true element takes the k-th of the source; the others read what they do not keep.
    places = ops.sub(ops.cumsum(flat, dim=0), 1)
    places = ops.clamp_min(ops.clamp_max(places, source.numel() - 1), 0)
    given = ops.index(ops.reshape(source, shape=(source.numel(),)), places, where=(0,))
    return ops.where(mask, ops.reshape(given, shape=shape), input)


def _masked_scatter_args(input: Tensor, mask: Tensor, source: Tensor) -> tuple:
    """``input`` with the elements of ``source``, in order, where the bool ``mask`` is true.

    Raises ``RuntimeError`` if the source has too few.

    >>> masked_scatter(zeros(3), tensor([True, False, True]), tensor([1.0, 2.0, 3.0]))
    tensor([1., 0., 2.])
    """
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype "
            f"{title(mask.dtype)}"
        )
    if source.dtype is not input.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got "
            f"{title(input.dtype)} and {title(source.dtype)}"
        )
    shape = broadcast_shapes(input._meta.shape, mask._meta.shape)
    size = int(np.prod(shape, dtype=np.int64))
    if source.numel() < size and not recording():
        wanted = np.count_nonzero(np.broadcast_to(known(mask), shape))
        if wanted > source.numel():
            raise RuntimeError(
                f"masked_scatter: expected the number of elements of source to be at least "
                f"{wanted}, but got {source.numel()} (number of elements of source < number of "
                "ones in mask)"
            )
    return input, mask, source


masked_scatter, masked_scatter_ = pair(_masked_scatter)(_masked_scatter_args)


def where(
    condition: Tensor,
    input: Tensor | Number | None = None,
    other: Tensor | Number | None = None,
    *,
    out: Tensor | None = None,
) -> Any:
    """``input`` where the condition holds, else ``other``; alone, ``nonzero(as_tuple=True)``.

    Shapes broadcast, dtypes promote.

    >>> where(tensor([True, False]), tensor([1, 2]), 0)
    tensor([1, 0])
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if input is None or other is None:
        raise TypeError("where(): received an invalid combination of arguments")
    result = _where(condition, input, other)
    return result if out is None else write_out(out, result, "where", (condition, input, other))


@function(grad="WhereBackward0")
def _where(condition: Tensor, input: Tensor | Number, other: Tensor | Number) -> Tensor:
    if condition.dtype is dtypes.uint8:
        condition = cast(condition, dtypes.bool_)
    if condition.dtype is not dtypes.bool_:
        raise RuntimeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{title(condition.dtype)}"
        )
    if is_number(input) and is_number(other):
        dtype = result_type(input, other)
        input = ops.full(input, shape=(), dtype=dtype)
    x, y = promoted(input, other)
    dtype = (x if isinstance(x, Tensor) else y).dtype
    if dtype.category < 2:
        x, y = (
            v if isinstance(v, Tensor) else ops.full(fit(v, dtype), shape=(), dtype=dtype)
            for v in (x, y)
        )
    return ops.where(condition, x, y)


def _where_method(self: Tensor, condition: Tensor, other: Tensor | Number) -> Tensor:
    """``where(condition, self, other)``."""
    return where(condition, self, other)


Tensor.where = _where_method  # type: ignore[attr-defined]


def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: bool = False) -> Any:
    """The indices of all elements that are not zero: one row each, or a tensor a dimension.

    >>> nonzero(tensor([0, 3, 0, 4]))
    tensor([[1],
            [3]])
    """
    array = input._value()._array()
    if not as_tuple:
        result = concrete(place_rows(array), dtypes.int64)
        return result if out is None else write_out(out, result, "nonzero")
    # A scalar counts as one dimension here.
    return tuple(concrete(f, dtypes.int64) for f in place_columns(np.atleast_1d(array)))


def nonzero_static(
    input: Tensor, *, size: int, fill_value: int = -1, out: Tensor | None = None
) -> Tensor:
    """The first ``size`` rows of ``nonzero``, filled up with ``fill_value``.

    >>> nonzero_static(tensor([0, 3]), size=2)
    tensor([[ 1],
            [-1]])
    """
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    rows = nonzero(input)._array()[:size]
    full = np.full((size, input.dim()), fill_value, np.int64)
    full[: len(rows)] = rows
    return _written(concrete(full, dtypes.int64), out, "nonzero_static")


def argwhere(input: Tensor) -> Tensor:
    """``nonzero(input)``.

    >>> argwhere(tensor([1, 0, 1]))
    tensor([[0],
            [2]])
    """
    return nonzero(input)


def searchsorted(
    sorted_sequence: Tensor,
    input: Tensor | Number,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Where values go into rows in ascending order: before their equals, or after (``right``).

    ``sorted_sequence`` is 1-dim or has the leading dimensions of ``input``; ``sorter`` says how
    to sort it. Raises ``RuntimeError`` where shapes or dtypes do not fit.

    >>> searchsorted(tensor([1, 3, 5]), tensor([3, 6]))
    tensor([1, 3])
    """
    number = not isinstance(input, Tensor)
    edges = sorted_sequence
    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(
                f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}"
            )
        if side == "left" and right:
            raise RuntimeError(
                "torch.searchsorted(): side and right can't be set to opposites, got side of left "
                "while right was True"
            )
        right = side == "right"
    if edges.dim() == 0:
        raise RuntimeError(
            "torch.searchsorted(): input value can be a scalar only when boundaries tensor "
            "dimension is 1"
            if number
            else "torch.searchsorted(): boundaries tensor should have positive dimension, but got "
            "0 dimension"
        )
    if number:
        if edges.dim() != 1:
            raise RuntimeError(
                "torch.searchsorted(): input value can be a scalar only when boundaries tensor "
                f"dimension is 1, but we got boundaries tensor dim({edges.dim()}) and input "
                f"value's dim(0) numel(1)"
            )
        return _written(_searchsorted_number(edges, input, right, out_int32), out, "searchsorted")
    if edges.dim() != 1 and edges._meta.shape[:-1] != input._meta.shape[:-1]:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 "
            "dimensions of boundaries tensor and input value tensor must match, but we got "
            f"boundaries tensor {list(edges.shape)} and input value tensor {list(input.shape)}"
        )
    if sorter is not None:
        if sorter._meta.shape != edges._meta.shape:
            raise RuntimeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got "
                f"boundary tensor {list(edges.shape)}and got sorter tensor {list(sorter.shape)}"
            )
        if sorter.dtype is not dtypes.int64:
            raise RuntimeError(
                "torch.searchsorted(): sorter must be a tensor of long dtype but got dtype "
                f"{title(sorter.dtype)}"
            )
        array = known(sorter)
        if array is not None and array.size:
            if array.min() < 0 or array.max() >= edges._meta.shape[-1]:
                raise RuntimeError("torch.searchsorted(): sorter index out of range")
    return _written(_searchsorted(edges, input, right, out_int32, sorter), out, "searchsorted")


def _written(result: Tensor, out: Tensor | None, name: str) -> Tensor:
    return result if out is None else write_out(out, result, name)


@function
def _searchsorted(
    edges: Tensor, values: Tensor, right: bool, out_int32: bool, sorter: Tensor | None
) -> Tensor:
    dtype = dtypes.int32 if out_int32 else dtypes.int64
    more = () if sorter is None else (sorter,)
    common = dtypes.promote(edges.dtype, values.dtype)
    edges, values = cast(edges, common), cast(values, common)
    return ops.searchsorted(edges, values, *more, right=right, dtype=dtype)


@function
def _searchsorted_number(edges: Tensor, value: Number, right: bool, out_int32: bool) -> Tensor:
    dtype = dtypes.int32 if out_int32 else dtypes.int64
    common = result_type(edges, value)
    values = ops.full(value, shape=(), dtype=common)
    return ops.searchsorted(cast(edges, common), values, right=right, dtype=dtype)


def bucketize(
    input: Tensor | Number,
    boundaries: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """The bucket between ascending ``boundaries`` (1-dim) that each value falls in.

    >>> bucketize(tensor([3, 6, 9]), tensor([1, 3, 5, 7, 9]))
    tensor([1, 3, 4])
    """
    if boundaries.dim() != 1:
        raise RuntimeError(
            f"bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Flat indices as coordinates in a tensor of ``shape``.

    >>> unravel_index(tensor([4]), (2, 3))
    (tensor([1]), tensor([1]))
    """
    if indices.dtype.category != 1:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    if isinstance(shape, int):
        shape = (shape,)
    shape = tuple(int(n) for n in shape)
    if any(n < 0 for n in shape):
        raise ValueError(f"'shape' cannot have negative values, but got {shape}")
    steps, step = [], 1
    for n in reversed(shape):
        steps.append(step)
        step *= n
    return _unravel(indices, tuple(reversed(steps)), shape)


@function
def _unravel(indices: Tensor, steps: tuple[int, ...], shape: tuple[int, ...]) -> tuple:
    indices = cast(indices, dtypes.int64)
    return tuple(
        ops.remainder(ops.floor_divide(indices, s), n) for s, n in zip(steps, shape, strict=True)
    )


SAMPLES = {
    "masked_fill": "x, truth, 2.5; x, mask, 0; x, truth, s; i, truth, 7; column, truth, -1.0;"
    "truth, other_truth, True; c, truth, 1j; x, truth[:1], inf; empty, mask, 1; s, truth, 1;"
    "!x, i, 1; !x, truth, v; !i, truth, 1j; !x, truth[:2], 1",
    "Tensor.masked_fill_": "torch.zeros(3, 4), truth, 2.5; i, mask, 9;"
    "torch.ones(3, 4), truth, torch.tensor(3); i, truth, 2.7; !torch.zeros(1, 4), truth, 1;"
    "!i, k, 1; !i, truth, labels",
    "masked_select": "x, truth; x, mask; v, truth; i, truth; s, torch.tensor(True);"
    "x, truth & ~truth; c, truth; x, truth[:1]; !x, i; !x, truth[:2]; !x, 1",
    "masked_scatter": "x, truth, y; x, mask, y; i, truth, j; x, truth, tall;"
    "x, truth & ~truth, y[:0]; row, truth, y; !x, truth, i; !x, i, y; !x, truth, y[:0];"
    "!x, truth, 1.0",
    "where": "truth, x, y; truth, x, 2.5; truth, 1, y; mask, x, row; truth, i, y; truth, 1.0, 0;"
    "truth, i, 2.5; truth; x > 0, c, x; truth, x, y.double(); small, x, y; truth, s, x;"
    "special > 0, special, 0.0; !i, x, y; !truth, x; !truth, u, x; x; mask",
    "nonzero": "x; truth; i; s; torch.tensor(0); i, as_tuple=True; s, as_tuple=True; special;"
    "empty; torch.zeros(3); c; cube > 0, as_tuple=True; !2",
    "nonzero_static": "truth, size=4; truth, size=20; i, size=2, fill_value=9; s, size=1;"
    "x, size=0; !truth; !truth, size=-1; !truth, 4",
    "argwhere": "x; truth; i; s; torch.tensor(0); empty; cube > 0; !2",
    "searchsorted": "sorted, v; sorted, x; sorted, x, right=True; sorted, 0.5;"
    "sorted, x, out_int32=True; sorted, x, side='right'; sorted.reshape(3, 2), x, side='left';"
    "v, w, sorter=v.argsort(); sorted[:0], v; sorted, v[:0]; torch.arange(0, 9, 2), i;"
    "torch.arange(0, 9, 2), 4, right=True; !sorted.reshape(2, 3), x; !sorted, x, side='up';"
    "!sorted, x, right=True, side='left'; !s, x; !x, 0.5; !v, w, sorter=labels; !v, w, sorter=v",
    "bucketize": "x, sorted; x, sorted, right=True; 0.5, sorted;"
    "i, torch.arange(-3, 4, 2), out_int32=True; s, sorted; x, sorted[:0]; !x, sorted.reshape(2, 3);"
    "!x, s; !x, 1",
    "unravel_index": "k, (3, 4); torch.tensor(5), (2, 3); labels, 4; counts, (5, 1);"
    "torch.tensor([-1, -6]), (2, 3); k[:0], (2, 3); k, (2,); !x, (3, 4); !k, (-1, 4);"
    "torch.tensor([6]), (2, 3)",
}
