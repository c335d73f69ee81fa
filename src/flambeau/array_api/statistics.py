"""The standard's reductions, scans, sorting and sets, where PyTorch's arguments differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flambeau
from flambeau import Tensor

__all__ = [
    "all",
    "any",
    "argsort",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "max",
    "mean",
    "min",
    "nonzero",
    "prod",
    "sort",
    "std",
    "sum",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "var",
]

Axis = int | tuple[int, ...] | None


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes, counted from 0, in ascending order; None: all.

    Raises: ``IndexError`` for an axis that is not there, or is given twice.
    """
    if axis is None:
        return tuple(range(ndim))
    found = []
    for a in (axis,) if isinstance(axis, int) else axis:
        if not -ndim <= a < ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], "
                f"but got {a})"
            )
        if a % ndim in found:
            raise IndexError(f"Axis {a} appears multiple times in the list of axes")
        found.append(a % ndim)
    return tuple(sorted(found))


def one_by_one(
    f: Callable[..., Tensor], x: Tensor, axis: Axis, keepdims: bool, **options: Any
) -> Tensor:
    """A reduction that takes one dimension, over several: laid side by side as the last."""
    axes = axes_of(axis, x.dim())
    if not axes:
        return f(x[..., None], -1, **options)
    if len(axes) > 1:
        kept = [d for d in range(x.dim()) if d not in axes]
        flat = x.permute(*kept, *axes).flatten(len(kept))
        result = f(flat, -1, **options)
    else:
        result = f(x, axes[0], **options)
    if keepdims:
        for a in axes:
            result = result.unsqueeze(a)
    return result


def _all_of(f: Callable[..., Tensor], x: Tensor, axis: Axis, **options: Any) -> Tensor:
    """A reduction that takes several dimensions; over none of them it is over one of size 1."""
    if axis == () or x.dim() == 0:
        axes_of(axis, x.dim())
        return f(x[..., None], -1, **{**options, "keepdim": False})
    return f(x, axes_of(axis, x.dim()), **options)


def max(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The greatest.

    >>> torch.array_api.max(torch.tensor([[1, 5], [3, 4]]), axis=0)
    tensor([3, 5])
    """
    return _all_of(flambeau.amax, x, axis, keepdim=keepdims)


def min(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The least.

    >>> torch.array_api.min(torch.tensor([[1, 5], [3, 4]]))
    tensor(1)
    """
    return _all_of(flambeau.amin, x, axis, keepdim=keepdims)


def sum(
    x: Tensor, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False, **options: Any
) -> Tensor:
    """The sum; integers add up in int64.

    >>> torch.array_api.sum(torch.ones(2, 3), axis=(0, 1))
    tensor(6.)
    """
    return _all_of(flambeau.sum, x, axis, dtype=dtype, keepdim=keepdims, **options)


def prod(
    x: Tensor, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False, **options: Any
) -> Tensor:
    """The product; integers multiply in int64.

    >>> torch.array_api.prod(torch.tensor([2, 3]))
    tensor(6)
    """
    return one_by_one(flambeau.prod, x, axis, keepdims, dtype=dtype, **options)


def any(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False, **options: Any) -> Tensor:
    """Whether one at least is not zero.

    >>> torch.array_api.any(torch.tensor([[0, 1], [0, 0]]), axis=1)
    tensor([ True, False])
    """
    return one_by_one(flambeau.any, x, axis, keepdims, **options).to(flambeau.bool)


def all(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False, **options: Any) -> Tensor:
    """Whether none is zero.

    >>> torch.array_api.all(torch.tensor([[1, 1], [0, 1]]), axis=1)
    tensor([ True, False])
    """
    return one_by_one(flambeau.all, x, axis, keepdims, **options).to(flambeau.bool)


def mean(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False, **options: Any) -> Tensor:
    """The mean.

    >>> torch.array_api.mean(torch.tensor([1.0, 2.0]), keepdims=True)
    tensor([1.5000])
    """
    return _all_of(flambeau.mean, x, axis, keepdim=keepdims, **options)


def var(
    x: Tensor,
    /,
    *,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
    **options: Any,
) -> Tensor:
    """The variance: squared distances from the mean, added up, over n - ``correction``.

    >>> torch.array_api.var(torch.tensor([1.0, 3.0]))
    tensor(1.)
    """
    given = {"correction": _whole(correction), "keepdim": keepdims}
    return _all_of(flambeau.var, x, axis, **given, **options)


def std(
    x: Tensor,
    /,
    *,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
    **options: Any,
) -> Tensor:
    """The standard deviation, the root of :func:`var`.

    >>> torch.array_api.std(torch.tensor([1.0, 3.0]))
    tensor(1.)
    """
    given = {"correction": _whole(correction), "keepdim": keepdims}
    return _all_of(flambeau.std, x, axis, **given, **options)


def _whole(correction: float) -> float:
    return int(correction) if float(correction).is_integer() else correction


def count_nonzero(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many are not zero.

    >>> torch.array_api.count_nonzero(torch.tensor([0, 2, 3]))
    tensor(2)
    """
    return sum((x != 0).to(flambeau.int64), axis=axis, keepdims=keepdims)


def cumulative_sum(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
    **options: Any,
) -> Tensor:
    """The sums of all up to each; with ``include_initial`` a 0 before them.

    Raises: ``ValueError`` without ``axis`` for more than one dimension.

    >>> torch.array_api.cumulative_sum(torch.tensor([1, 2]), include_initial=True)
    tensor([0, 1, 3])
    """
    return _scan(flambeau.cumsum, 0, x, axis, dtype, include_initial, options)


def cumulative_prod(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
    **options: Any,
) -> Tensor:
    """The products of all up to each; with ``include_initial`` a 1 before them.

    Raises: ``ValueError`` without ``axis`` for more than one dimension.

    >>> torch.array_api.cumulative_prod(torch.tensor([2, 3]))
    tensor([2, 6])
    """
    return _scan(flambeau.cumprod, 1, x, axis, dtype, include_initial, options)


def _scan(
    f: Callable[..., Tensor],
    first: int,
    x: Tensor,
    axis: int | None,
    dtype: Any,
    include_initial: bool,
    options: dict[str, Any],
) -> Tensor:
    if axis is None:
        if x.dim() != 1:
            raise ValueError("axis must be specified for arrays that are not one-dimensional")
        axis = 0
    result = f(x, axis, dtype=dtype, **options)
    if not include_initial:
        return result
    shape = list(result.shape)
    shape[axis] = 1
    return flambeau.cat([flambeau.full(shape, first, dtype=result.dtype), result], axis)


def diff(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Each less the one before, ``n`` times.

    >>> torch.array_api.diff(torch.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    return flambeau.diff(x, n, axis, prepend, append)


def sort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True, **options: Any
) -> Tensor:
    """Sorted along an axis.

    >>> torch.array_api.sort(torch.tensor([3, 1, 2]), descending=True)
    tensor([3, 2, 1])
    """
    return flambeau.sort(x, dim=axis, descending=descending, stable=stable, **options)[0]


def argsort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True, **options: Any
) -> Tensor:
    """The positions that sort along an axis; of equals the first comes first.

    >>> torch.array_api.argsort(torch.tensor([3, 1, 2]))
    tensor([1, 2, 0])
    """
    return flambeau.argsort(x, dim=axis, descending=descending, stable=stable, **options)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The positions of what is not zero, a tensor a dimension.

    Raises: ``ValueError`` for a tensor without dimensions.

    >>> torch.array_api.nonzero(torch.tensor([0, 2, 3]))
    (tensor([1, 2]),)
    """
    if x.dim() == 0:
        raise ValueError("nonzero() does not support zero-dimensional arrays")
    return tuple(flambeau.nonzero(x, as_tuple=True))


class UniqueAllResult(NamedTuple):
    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCountsResult(NamedTuple):
    values: Tensor
    counts: Tensor


class UniqueInverseResult(NamedTuple):
    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor, /) -> UniqueAllResult:
    """The distinct values, where each is first, which of them each element is, how often each is.

    >>> torch.array_api.unique_all(torch.tensor([5, 3, 5])).indices
    tensor([1, 0])
    """
    values, inverse, counts = flambeau.unique(x, return_inverse=True, return_counts=True)
    places = flambeau.arange(inverse.numel())
    # Each value's least place: those of equal values lie together, in their order, once sorted.
    order = flambeau.argsort(inverse.reshape(-1), stable=True)
    starts = flambeau.cumsum(counts, 0) - counts
    return UniqueAllResult(values, places[order][starts], inverse, counts)


def unique_counts(x: Tensor, /) -> UniqueCountsResult:
    """The distinct values and how often each is there; every NaN is distinct.

    >>> torch.array_api.unique_counts(torch.tensor([5, 3, 5])).counts
    tensor([1, 2])
    """
    return UniqueCountsResult(*flambeau.unique(x, return_counts=True))


def unique_inverse(x: Tensor, /) -> UniqueInverseResult:
    """The distinct values and which of them each element is.

    >>> torch.array_api.unique_inverse(torch.tensor([5, 3, 5])).inverse_indices
    tensor([1, 0, 1])
    """
    return UniqueInverseResult(*flambeau.unique(x, return_inverse=True))


def unique_values(x: Tensor, /) -> Tensor:
    """The distinct values, in ascending order.

    >>> torch.array_api.unique_values(torch.tensor([5, 3, 5]))
    tensor([3, 5])
    """
    return flambeau.unique(x)
