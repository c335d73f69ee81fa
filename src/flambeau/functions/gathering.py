"""Reading and writing along one dimension at places given by a tensor: gather, scatter, index_*."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.functions.checking import as_index, check_range, pair
from flambeau.functions.dims import wrap_dim
from flambeau.functions.inplace import title, write_out
from flambeau.functions.promotion import Number, cast, fit
from flambeau.ir import scattering  # noqa: F401  (declares the primitives)
from flambeau.ir.primitive import broadcast_shapes
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


def _lifted(*xs: Any) -> list[Any]:
    """0-dim tensors as 1-dim ones, which the kernels want."""
    return [ops.reshape(x, shape=(1,)) if isinstance(x, Tensor) and not x.dim() else x for x in xs]


def _cropped(src: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The part of a source that an index of ``shape`` reaches."""
    if src._meta.shape == shape:
        return src
    n = len(shape)
    return ops.slice(src, *(0,) * n, dims=tuple(range(n)), sizes=shape, steps=(1,) * n)


def _check_sizes(
    name: str, input: Tensor, dim: int, index: Tensor, src: Tensor | None = None
) -> None:
    """Shapes of gather and scatter: alike in rank; the index no larger but along ``dim``."""
    shape, at = input._meta.shape or (1,), index._meta.shape or (1,)
    if 0 in at:
        return
    if src is None:
        if len(at) != len(shape):
            raise RuntimeError(
                "Index tensor must have the same number of dimensions as "
                + ("input tensor" if name == "gather" else "self tensor")
            )
        for d, (n, m) in enumerate(zip(at, shape, strict=True)):
            if d != dim and n > m:
                raise RuntimeError(
                    f"Size does not match at dimension {d} expected index {list(at)} to be no "
                    f"larger than self {list(shape)} apart from dimension {dim}"
                )
        return
    given = src._meta.shape or (1,)
    if len(at) != len(shape):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    if len(at) != len(given):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    for d, (n, m, k) in enumerate(zip(at, shape, given, strict=True)):
        if (d != dim and n > m) or n > k:
            raise RuntimeError(
                f"Expected index {list(at)} to be no larger than self {list(shape)} apart from "
                f"dimension {dim} and to be no larger size than src {list(given)}"
            )


# ------------------------------------------------------------------------------------- gather


@function(grad="GatherBackward0")
def _gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    shape = index._meta.shape
    if 0 in shape:
        # An empty index need not have the input's rank.
        return ops.index(ops.reshape(input, shape=(input.numel(),)), index, where=(0,))
    x, i = _lifted(input, index)
    return ops.reshape(ops.gather(x, i, dim=dim), shape=shape)


def gather(
    input: Tensor,
    dim: int,
    index: Tensor,
    *,
    sparse_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Elements along ``dim``: ``out[i][j] = input[index[i][j]][j]`` for ``dim=0``.

    The result has the shape of ``index``. Raises ``RuntimeError`` for an index out of range.

    >>> gather(tensor([[1, 2], [3, 4]]), 1, tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    d = wrap_dim(dim, input.dim())
    index = as_index(index, "gather")
    _check_sizes("gather", input, d, index)
    check_range(index, (input._meta.shape or (1,))[d], d)
    if out is not None and out.dtype is not input.dtype:
        raise RuntimeError(
            f"Expected out tensor to have dtype {input.dtype}, but got {out.dtype} instead"
        )
    result = _gather(input, d, index)
    return result if out is None else write_out(out, result, "gather", (input, index))


@function(grad="GatherBackward0")
def _take_along(input: Tensor, indices: Tensor, dim: int) -> Tensor:
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(
            "torch.take_along_dim(): dtype of indices should be Long but got "
            f"{title(indices.dtype)}"
        )
    if input.dim() != indices.dim():
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            f"but got {input.dim()} dimensions for input, and {indices.dim()} dimensions for "
            "indices"
        )
    d = wrap_dim(dim, input.dim())
    shape, at = input._meta.shape, indices._meta.shape
    both = broadcast_shapes((*shape[:d], 1, *shape[d + 1 :]), (*at[:d], 1, *at[d + 1 :]))
    whole, wanted = ((*both[:d], n[d], *both[d + 1 :]) for n in (shape, at))
    # Counted round: none is out of range.
    indices = ops.remainder(indices, max(shape[d], 1))
    x = input if shape == whole else ops.broadcast(input, shape=whole)
    i = indices if at == wanted else ops.broadcast(indices, shape=wanted)
    return _gather(x, d, i)


def take_along_dim(
    input: Tensor, indices: Tensor, dim: int | None = None, *, out: Tensor | None = None
) -> Tensor:
    """``gather`` with all other dimensions broadcast; of the flattened input without ``dim``.

    Indices along ``dim`` count round: the last is followed by the first.

    >>> take_along_dim(tensor([[10, 30, 20]]), tensor([[1, 0]]), dim=1)
    tensor([[30, 10]])
    """
    if dim is None:
        result = gather(input.reshape(-1), 0, indices.reshape(-1))
    else:
        result = _take_along(input, indices, dim)
    return result if out is None else write_out(out, result, "take_along_dim")


# ------------------------------------------------------------------------------------ scatter


@function(grad="ScatterBackward0")
def _scatter(
    input: Tensor, dim: int, index: Tensor, src: Tensor | Number, reduce: str | None
) -> Tensor:
    shape = input._meta.shape
    if 0 in index._meta.shape:
        return ops.clone(input)
    x, i, s = _lifted(input, index, src)
    at = i._meta.shape
    if isinstance(s, Tensor):
        s = _cropped(s, at)
    else:
        s = ops.full(fit(s, input.dtype), shape=at, dtype=input.dtype)
    if reduce is None:
        made = ops.scatter(x, i, s, dim=dim)
    else:
        kind = {"add": "sum", "multiply": "prod"}[reduce]
        made = ops.scatter_reduce(x, i, s, dim=dim, reduce=kind, include_self=True)
    return made if shape else ops.reshape(made, shape=shape)


def _same_dtype(name: str, input: Tensor, src: Tensor) -> None:
    if input.dtype is not src.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")


def _scatter_args(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | Number | None = None,
    *,
    value: Number | None = None,
    reduce: str | None = None,
) -> tuple:
    """Writes ``src`` along ``dim``: ``out[index[i][j]][j] = src[i][j]`` for ``dim=0``.

    ``src`` may be a number; ``reduce`` ("add" or "multiply") combines instead. Raises
    ``RuntimeError`` for an index out of range or a ``src`` of another dtype.

    >>> scatter(zeros(3), 0, tensor([0, 2]), tensor([5.0, 6.0]))
    tensor([5., 0., 6.])
    """
    if src is None:
        if value is None:
            raise TypeError("scatter(): missing required argument: 'src' or 'value'")
        src = value
    d = wrap_dim(dim, input.dim())
    index = as_index(index, "scatter")
    if reduce is not None and reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    tensor = isinstance(src, Tensor)
    _check_sizes("scatter", input, d, index, src if tensor else None)
    if tensor:
        _same_dtype("scatter", input, src)
    check_range(index, (input._meta.shape or (1,))[d], d)
    return input, d, index, src, reduce


scatter, scatter_ = pair(_scatter)(_scatter_args)


@function(grad="ScatterAddBackward0")
def _scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    shape = input._meta.shape
    if 0 in index._meta.shape:
        return ops.clone(input)
    x, i, s = _lifted(input, index, src)
    made = ops.scatter_add(x, i, _cropped(s, i._meta.shape), dim=dim)
    return made if shape else ops.reshape(made, shape=shape)


def _scatter_add_args(input: Tensor, dim: int, index: Tensor, src: Tensor) -> tuple:
    """Adds ``src`` along ``dim``: ``out[index[i][j]][j] += src[i][j]`` for ``dim=0``.

    >>> scatter_add(zeros(2), 0, tensor([0, 0]), tensor([5.0, 6.0]))
    tensor([11.,  0.])
    """
    d = wrap_dim(dim, input.dim())
    index = as_index(index, "scatter_add")
    _check_sizes("scatter_add", input, d, index, src)
    _same_dtype("scatter", input, src)
    check_range(index, (input._meta.shape or (1,))[d], d)
    return input, d, index, src


scatter_add, scatter_add_ = pair(_scatter_add)(_scatter_add_args)


@function(grad="ScatterReduceBackward0")
def _scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool
) -> Tensor:
    shape = input._meta.shape
    if 0 in index._meta.shape:
        return ops.clone(input)
    x, i, s = _lifted(input, index, src)
    s = _cropped(s, i._meta.shape)
    made = ops.scatter_reduce(x, i, s, dim=dim, reduce=reduce, include_self=include_self)
    return made if shape else ops.reshape(made, shape=shape)


def _scatter_reduce_args(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> tuple:
    """Reduces ``src`` along ``dim`` into the places of ``index``.

    ``reduce`` is "sum", "prod", "mean", "amax" or "amin". Unless ``include_self``, a place that
    any source goes to forgets its own value.

    >>> scatter_reduce(ones(2), 0, tensor([0, 0]), tensor([2.0, 6.0]), "amax")
    tensor([6., 1.])
    """
    d = wrap_dim(dim, input.dim())
    index = as_index(index, "scatter")
    reduce = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    if reduce not in _REDUCTIONS:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    _check_sizes("scatter_reduce", input, d, index, src)
    _same_dtype("scatter", input, src)
    check_range(index, (input._meta.shape or (1,))[d], d)
    return input, d, index, src, reduce, include_self


scatter_reduce, scatter_reduce_ = pair(_scatter_reduce)(_scatter_reduce_args)


# -------------------------------------------------------------------------- whole entries


def _entry_index(name: str, input: Tensor, dim: int, index: Tensor) -> tuple[int, Tensor]:
    d = wrap_dim(dim, input.dim())
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index.dim() > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector")
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32 or int64 for index")
    return d, cast(index, dtypes.int64)


@function(grad="IndexSelectBackward0")
def _index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    x, i = _lifted(input, index)
    made = ops.index(x, i, where=(dim,))
    if not input.dim():
        return ops.reshape(made, shape=())
    return made


def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The entries ``index`` (0- or 1-dim) of a dimension, as a new tensor.

    Raises ``IndexError`` for an index out of range.

    >>> index_select(tensor([[1, 2, 3]]), 1, tensor([2, 0]))
    tensor([[3, 1]])
    """
    d, index = _entry_index("index_select", input, dim, index)
    if not input.dim() and index.numel() != 1:
        raise RuntimeError(
            f"index_select(): Index to scalar can have only 1 value, got {index.numel()} value(s)"
        )
    check_range(index, (input._meta.shape or (1,))[d], d)
    result = _index_select(input, d, index)
    return result if out is None else write_out(out, result, "index_select", (input, index))


@function(grad="IndexAddBackward0")
def _index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, alpha: Number = 1) -> Tensor:
    if not (alpha.__class__ is int and alpha == 1):
        source = ops.mul(source, alpha)
    x, i, s = _lifted(input, index, source)
    made = ops.index_put(x, s, i, where=(dim,), accumulate=True)
    return made if input.dim() else ops.reshape(made, shape=())


def _entry_shapes(name: str, input: Tensor, d: int, index: Tensor, source: Tensor) -> None:
    """A source has an entry for each index, shaped as the input's."""
    if source.dtype is not input.dtype:
        if name == "index_copy":
            raise RuntimeError(
                "index_copy_(): self and source expected to have the same dtype, but got (self) "
                f"{title(input.dtype)} and (source) {title(source.dtype)}"
            )
        raise RuntimeError(
            f"{name}(): self ({title(input.dtype)}) and source "
            f"({title(source.dtype)}) must have the same scalar type"
        )
    shape, given = input._meta.shape or (1,), source._meta.shape or (1,)
    count = index.numel()
    if name == "index_copy" and not source.dim() and count != 1:
        raise IndexError(
            f"index_copy_(): When source is scalar, index should have one element (got {count})"
        )
    if name == "index_copy" and source.dim() != input.dim() and source.dim() and input.dim():
        raise IndexError(
            "index_copy_(): When source and destination are not scalars, their dimensionality "
            f"must match. Source dimensionality ({source.dim()}), destination dimensionality "
            f"({input.dim()})"
        )
    if len(given) > d and given[d] != count:
        raise (
            IndexError(
                f"{name}(): Number of indices ({count}) should be equal to "
                f"source.size(dim) ({given[d]})"
            )
            if name == "index_copy"
            else RuntimeError(
                f"{name}(): Number of indices ({count}) should be equal to "
                f"source.size(dim): ({given[d]}), for dim: {d}"
            )
        )
    if given[:d] + given[d + 1 :] != shape[:d] + shape[d + 1 :]:
        raise RuntimeError(
            f"{name}(): source/destination tensors must have same slice shapes. Destination slice "
            f"shape: {list(shape[:d] + shape[d + 1 :])} at dimension {d} and source slice shape: "
            f"{list(given[:d] + given[d + 1 :])} at dimension {d}."
            if name == "index_copy"
            else "source tensor shape must match self tensor shape, excluding the specified "
            f"dimension. Got self.shape = {list(input._meta.shape)} source.shape = "
            f"{list(source._meta.shape)}"
        )


def _index_add_args(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number = 1
) -> tuple:
    """Adds ``alpha`` times the entries of ``source`` to the entries ``index`` of a dimension.

    >>> index_add(zeros(3), 0, tensor([2, 2]), tensor([1.0, 2.0]))
    tensor([0., 0., 3.])
    """
    d, index = _entry_index("index_add", input, dim, index)
    _entry_shapes("index_add", input, d, index, source)
    if isinstance(alpha, float) and input.dtype.category < 2:
        alpha = int(alpha if input.dtype.category else alpha != 0)
    check_range(index, (input._meta.shape or (1,))[d], d)
    return input, d, index, source, alpha


index_add, index_add_ = pair(_index_add)(_index_add_args)


@function(grad="IndexCopyBackward0")
def _index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    x, i, s = _lifted(input, index, source)
    made = ops.index_put(x, s, i, where=(dim,), accumulate=False)
    return made if input.dim() else ops.reshape(made, shape=())


def _index_copy_args(input: Tensor, dim: int, index: Tensor, source: Tensor) -> tuple:
    """Replaces the entries ``index`` of a dimension with those of ``source``.

    >>> index_copy(zeros(3), 0, tensor([2, 0]), tensor([1.0, 2.0]))
    tensor([2., 0., 1.])
    """
    d = wrap_dim(dim, input.dim())
    if index.dim() > 1:
        raise IndexError(f"index_copy_(): Index should have dimension 1 or 0 (got {index.dim()})")
    if index.dtype is not dtypes.int64:
        raise RuntimeError(
            f"index_copy_(): Expected a long tensor for index, but got {title(index.dtype)}"
        )
    _entry_shapes("index_copy", input, d, index, source)
    check_range(index, (input._meta.shape or (1,))[d], d)
    return input, d, index, source


index_copy, index_copy_ = pair(_index_copy)(_index_copy_args)


@function(grad="IndexFillBackward0")
def _index_fill(input: Tensor, dim: int, index: Tensor, value: Tensor | Number) -> Tensor:
    shape = input._meta.shape or (1,)
    at = ops.reshape(index, shape=(index.numel(),))
    # Through a mask, for an entry named twice takes the value once.
    line = ops.full(False, shape=(shape[dim],), dtype=dtypes.bool_)
    true = ops.full(True, shape=(), dtype=dtypes.bool_)
    mask = ops.index_put(line, true, at, where=(0,), accumulate=False)
    if input.dim():
        mask = ops.reshape(mask, shape=tuple(n if d == dim else 1 for d, n in enumerate(shape)))
    else:
        mask = ops.reshape(mask, shape=())
    if isinstance(value, Tensor):
        value = cast(value, input.dtype)
    else:
        value = ops.full(fit(value, input.dtype), shape=(), dtype=input.dtype)
    return ops.where(mask, value, input)


def _index_fill_args(input: Tensor, dim: int, index: Tensor, value: Tensor | Number) -> tuple:
    """Sets the entries ``index`` of a dimension to one value.

    >>> index_fill(zeros(3), 0, tensor([0, 2]), 7)
    tensor([7., 0., 7.])
    """
    d = wrap_dim(dim, input.dim())
    if index.dtype is not dtypes.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if index.dim() > 1:
        raise RuntimeError("Index has to be a vector/scalar")
    if isinstance(value, Tensor) and value.dim():
        raise RuntimeError(
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value.dim()} dimension(s)."
        )
    if isinstance(value, complex) and not input.is_complex():
        raise RuntimeError(
            "index_fill_(): Converting complex Scalar to non-complex type is not supported"
        )
    n = (input._meta.shape or (1,))[d]
    check_range(index, n, d, -n)
    return input, d, index, value


index_fill, index_fill_ = pair(_index_fill)(_index_fill_args)


@function(grad="IndexReduceBackward0")
def _index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, include_self: bool
) -> Tensor:
    x, i, s = _lifted(input, index, source)
    shape = s._meta.shape
    i = ops.reshape(i, shape=tuple(n if d == dim else 1 for d, n in enumerate(shape)))
    i = ops.broadcast(i, shape=shape)
    made = ops.scatter_reduce(x, i, s, dim=dim, reduce=reduce, include_self=include_self)
    return made if input.dim() else ops.reshape(made, shape=())


def _index_reduce_args(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> tuple:
    """Reduces the entries of ``source`` into the entries ``index`` of a dimension.

    ``reduce`` is "prod", "mean", "amax" or "amin".

    >>> index_reduce(ones(2), 0, tensor([0, 0]), tensor([2.0, 3.0]), "prod")
    tensor([6., 1.])
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            "index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got "
            f"{reduce}."
        )
    d, index = _entry_index("index_reduce", input, dim, index)
    _entry_shapes("index_reduce", input, d, index, source)
    check_range(index, (input._meta.shape or (1,))[d], d)
    return input, d, index, source, reduce, include_self


index_reduce, index_reduce_ = pair(_index_reduce)(_index_reduce_args)


# ------------------------------------------------------------------------- of the flat tensor


@function(grad="TakeBackward0")
def _take(input: Tensor, index: Tensor) -> Tensor:
    flat = ops.reshape(input, shape=(input.numel(),))
    return ops.index(flat, index, where=(0,))


def take(input: Tensor, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Elements of the flattened input, in the shape of ``index``.

    >>> take(tensor([[4, 3], [5, 6]]), tensor([0, 3]))
    tensor([4, 6])
    """
    if index.dtype is not dtypes.int64:
        raise RuntimeError(
            f"take(): Expected a long tensor for index, but got {title(index.dtype)}"
        )
    n = input.numel()
    if not n and index.numel():
        raise IndexError("take(): tried to take from an empty tensor")
    check_range(index, n, 0, -n)
    result = _take(input, index)
    return result if out is None else write_out(out, result, "take", (input, index))


@function(grad="PutBackward0")
def _put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool) -> Tensor:
    shape = input._meta.shape
    flat = ops.reshape(input, shape=(input.numel(),))
    value = ops.reshape(source, shape=index._meta.shape)
    made = ops.index_put(flat, value, index, where=(0,), accumulate=accumulate)
    return ops.reshape(made, shape=shape)


def _put_args(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> tuple:
    """Writes (or adds) ``source`` at the places ``index`` of the flattened input.

    >>> put(zeros(2, 2), tensor([1, 2]), tensor([9.0, 10.0]))
    tensor([[ 0.,  9.],
            [10.,  0.]])
    """
    if index.dtype is not dtypes.int64:
        raise RuntimeError(
            f"put_(): Expected a long tensor for index, but got {title(index.dtype)}"
        )
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{title(input.dtype)} and source.dtype = {title(source.dtype)}"
        )
    if source.numel() != index.numel():
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source.numel()}, index.numel() = {index.numel()}"
        )
    n = input.numel()
    check_range(index, n, 0, -n)
    return input, index, source, accumulate


put, put_ = pair(_put)(_put_args)
