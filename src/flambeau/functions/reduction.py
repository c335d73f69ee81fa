"""Sums, products, extremes and truths over dimensions."""

from __future__ import annotations

import builtins
import math
from typing import TYPE_CHECKING, Any

import flambeau.ir.scattering
import flambeau.ir.statistics  # noqa: F401  (declares primitives)
from flambeau import dtypes, return_types
from flambeau.functions import dims as _dims
from flambeau.functions import inplace as _inplace
from flambeau.functions import promotion as _promotion
from flambeau.functions.checks import _need_order
from flambeau.functions.precision import raised
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    Dims = int | Sequence[int] | None

_cast = _promotion.cast
_16_BIT = (dtypes.float16, dtypes.bfloat16)


def _common(dim: Any, keepdim: bool, axis: Any, keepdims: bool) -> tuple[Any, bool]:
    """``dim`` and ``keepdim``, which may be given by NumPy's names."""
    return (dim if axis is None else axis), (keepdim or keepdims)


def _line(input: Tensor) -> Tensor:
    """All elements in one dimension, inside a body."""
    return ops.reshape(input, shape=(math.prod(input._meta.shape),))


def _not_empty(name: str, input: Tensor, dims: tuple[int, ...] | None) -> None:
    """Extremes of nothing are refused."""
    shape = input._meta.shape
    if 0 not in shape:
        return
    if dims is None:
        kind = IndexError if name in ("argmax", "argmin") else RuntimeError
        tail = "" if kind is IndexError else " Specify the reduction dim with the 'dim' argument."
        raise kind(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0.{tail}"
        )
    for d in dims:
        if shape[d] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


# --------------------------------------------------------------------------- sums and means


def _summed(input: Tensor, dim: Any, keepdim: bool, dtype: dtypes.dtype | None) -> Tensor:
    if dtype is None and input.dtype.category < 2:
        dtype = dtypes.int64
    x = _cast(input, dtype or input.dtype)
    return ops.sum(x, dims=_dims.wrap_dims(dim, x.dim()), keepdim=keepdim)


@function(grad="SumBackward0")
def _sum_all(input: Tensor, dtype: Any = None) -> Tensor:
    return _summed(input, None, False, dtype)


@function(grad="SumBackward1")
def _sum_dims(input: Tensor, dim: Any, keepdim: bool = False, dtype: Any = None) -> Tensor:
    return _summed(input, dim, keepdim, dtype)


def sum(
    input: Tensor,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: dtypes.dtype | None = None,
    out: Tensor | None = None,
    axis: Dims = None,
    keepdims: bool = False,
) -> Tensor:
    r"""Sum over dimensions (all, if none are named): :math:`\sum_i x_i`.

    Bool and integral tensors are summed in int64 unless ``dtype`` says otherwise.

    >>> sum(tensor([[1, 2], [3, 4]]), 0)
    tensor([4, 6])
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    if dim is None and not keepdim:
        return _sum_all(input, dtype, out=out)
    return _sum_dims(input, dim, keepdim, dtype, out=out)


def _mean_of(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """The mean, taken in float32 for the 16-bit types."""
    dtype = x.dtype
    wide = _cast(x, dtypes.float32) if dtype in _16_BIT else x
    count = float(math.prod(x._meta.shape[d] for d in dims))
    return _cast(ops.div(ops.sum(wide, dims=dims, keepdim=keepdim), count), dtype)


def _averaged(input: Tensor, dim: Any, keepdim: bool, dtype: dtypes.dtype | None) -> Tensor:
    if dtype is None and input.dtype.category < 2:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point "
            f"or complex dtype. Got: {_inplace.title(input.dtype)}"
        )
    if dtype is not None and dtype.category < 2:
        raise RuntimeError(
            "mean(): could not infer output dtype. Optional dtype must be either a floating "
            f"point or complex dtype. Got: {_inplace.title(dtype)}"
        )
    x = _cast(input, dtype or input.dtype)
    return _mean_of(x, _dims.wrap_dims(dim, x.dim()), keepdim)


@function(grad="MeanBackward0")
def _mean_all(input: Tensor, dtype: Any = None) -> Tensor:
    return _averaged(input, None, False, dtype)


@function(grad="MeanBackward1")
def _mean_dims(input: Tensor, dim: Any, keepdim: bool = False, dtype: Any = None) -> Tensor:
    return _averaged(input, dim, keepdim, dtype)


def mean(
    input: Tensor,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: dtypes.dtype | None = None,
    out: Tensor | None = None,
    axis: Dims = None,
    keepdims: bool = False,
) -> Tensor:
    r"""Mean over dimensions (all, if none are named): :math:`\frac1n \sum_i x_i`.

    NaN of no elements. Raises ``RuntimeError`` unless the dtype is floating or complex.

    >>> mean(tensor([[1.0, 2.0], [3.0, 4.0]]), 1)
    tensor([1.5000, 3.5000])
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    if dim is None and not keepdim:
        return _mean_all(input, dtype, out=out)
    return _mean_dims(input, dim, keepdim, dtype, out=out)


@function
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum of what is not NaN.

    >>> nansum(tensor([1.0, torch.nan]))
    tensor(1.)
    """
    if input.dtype.is_complex:
        raise RuntimeError("nansum does not support complex inputs")
    if input.dtype.category < 2:
        return _summed(input, dim, keepdim, dtype)
    return _summed(ops.where(ops.isnan(input), 0.0, input), dim, keepdim, dtype)


@function
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean of what is not NaN.

    >>> nanmean(tensor([1.0, torch.nan, 3.0]))
    tensor(2.)
    """
    if input.dtype.category < 2:
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got "
            f"{_inplace.title(input.dtype)}"
        )
    if input.dtype.is_complex:
        raise RuntimeError("nansum on CPU does not support complex inputs")
    dims = _dims.wrap_dims(dim, input.dim())
    missing = ops.isnan(input)
    total = _summed(ops.where(missing, 0.0, input), dim, keepdim, dtype)
    found = _cast(ops.not_(missing), total.dtype)
    return ops.div(total, ops.sum(found, dims=dims, keepdim=keepdim))


def _multiplied(input: Tensor, dims: tuple[int, ...], keepdim: bool, dtype: Any) -> Tensor:
    if dtype is None and input.dtype.category < 2:
        dtype = dtypes.int64
    (input,) = raised(input)
    return ops.prod(_cast(input, dtype or input.dtype), dims=dims, keepdim=keepdim)


@function(grad="ProdBackward0")
def _prod_all(input: Tensor, dtype: Any = None) -> Tensor:
    return _multiplied(input, _dims.wrap_dims(None, input.dim()), False, dtype)


@function(grad="ProdBackward1")
def _prod_dim(input: Tensor, dim: int, keepdim: bool = False, dtype: Any = None) -> Tensor:
    return _multiplied(input, _dims.wrap_dims(dim, input.dim()), keepdim, dtype)


def prod(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    dtype: dtypes.dtype | None = None,
    out: Tensor | None = None,
    axis: int | None = None,
    keepdims: bool = False,
) -> Tensor:
    r"""Product of all elements, or along ``dim``: :math:`\prod_i x_i`.

    Bool and integral tensors are multiplied in int64 unless ``dtype`` says otherwise.

    >>> prod(tensor([1.0, 2.0, 3.0]))
    tensor(6.)
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    if dim is None:
        return _prod_all(input, dtype, out=out)
    return _prod_dim(input, dim, keepdim, dtype, out=out)


# ---------------------------------------------------------------------------------- extremes


def _extreme(input: Tensor, name: str) -> Tensor:
    _not_empty(name, input, None)
    x = ops.detach(input) if input._meta.requires_grad else input
    value = getattr(ops, "a" + name)(x, dims=tuple(range(x.dim())), keepdim=False)
    return ops.rebase(value, _evenly(input, value)) if input._meta.requires_grad else value


def _evenly(x: Tensor, value: Tensor) -> Tensor:
    """The mean of the elements equal to ``value``, or NaN as it is: the history of a selection."""
    same = ops.or_(ops.eq(x, value), ops.and_(ops.isnan(x), ops.isnan(value)))
    weight = _promotion.cast(same, x.dtype)
    dims = tuple(range(x.dim()))
    total = ops.sum(ops.mul(x, weight), dims=dims, keepdim=False)
    return ops.div(total, ops.sum(weight, dims=dims, keepdim=False))


def _tensors_only(name: str, *operands: Any) -> None:
    """``TypeError`` in the words that PyTorch has for no fitting form of max and min."""
    if builtins.all(isinstance(x, Tensor) for x in operands):
        return
    given = ", ".join("Tensor" if isinstance(x, Tensor) else type(x).__name__ for x in operands)
    raise TypeError(
        f"{name}() received an invalid combination of arguments - got ({given}), but expected one "
        "of:\n * (Tensor input, *, Tensor out = None)\n"
        " * (Tensor input, Tensor other, *, Tensor out = None)\n"
        " * (Tensor input, int dim, bool keepdim = False, *, tuple of Tensors out = None)\n"
    )


def _no_complex(name: str, input: Tensor) -> None:
    if input.dtype.is_complex:
        raise RuntimeError(f"{name}(): does not support complex input")


def _extreme_at(input: Tensor, dim: int, keepdim: bool, name: str) -> Any:
    """The extreme along a dimension and the first place it is at, which gets the gradient."""
    _tensors_only(name, input)
    _no_complex(name, input)
    return getattr(return_types, name)(_gathered(input, "arg" + name, name, dim, keepdim))


def _gathered(
    input: Tensor, primitive: str, name: str, dim: int, keepdim: bool, **attrs: Any
) -> tuple[Tensor, Tensor]:
    """Values at the positions that a primitive of one index a row finds."""
    shape = input._meta.shape
    d = _dims.wrap_dim(dim, len(shape))
    x = input if shape else ops.reshape(input, shape=(1,))
    _not_empty(name, x, (d,))
    if primitive in ("argmax", "argmin"):
        attrs["keepdim"] = True
    at = getattr(ops, primitive)(x, dim=d, **attrs)
    values = ops.gather(x, at, dim=d)
    if shape and keepdim:
        return values, at
    final = tuple(n for i, n in enumerate(shape) if i != d)
    return ops.reshape(values, shape=final), ops.reshape(at, shape=final)


@function(grad="MaxBackward1")
def _max_all(input: Tensor) -> Tensor:
    _need_order("max_all", input)
    return _extreme(input, "max")


@function(grad="MaxBackward0")
def _max_dim(input: Tensor, dim: int, keepdim: bool = False) -> Any:
    return _extreme_at(input, dim, keepdim, "max")


@function(grad="MinBackward1")
def _min_all(input: Tensor) -> Tensor:
    _need_order("min_all", input)
    return _extreme(input, "min")


@function(grad="MinBackward0")
def _min_dim(input: Tensor, dim: int, keepdim: bool = False) -> Any:
    return _extreme_at(input, dim, keepdim, "min")


@function(grad="MaximumBackward0")
def _larger(input: Tensor, other: Tensor) -> Tensor:
    _tensors_only("max", input, other)
    return ops.maximum(*_promotion.promoted(input, other))


@function(grad="MinimumBackward0")
def _smaller(input: Tensor, other: Tensor) -> Tensor:
    _tensors_only("min", input, other)
    return ops.minimum(*_promotion.promoted(input, other))


def max(
    input: Tensor,
    dim: int | Tensor | None = None,
    keepdim: bool = False,
    *,
    other: Tensor | None = None,
    out: Any = None,
    axis: int | None = None,
    keepdims: bool = False,
) -> Any:
    """The largest element; along ``dim``: (values, indices); with a tensor: the larger of each.

    NaN wins. The gradient of the first form is shared evenly among equals, that of the second
    goes to the index given back. Raises ``IndexError`` or ``RuntimeError`` for no elements.

    >>> max(tensor([[1, 5], [4, 2]]), 1).indices
    tensor([1, 0])
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return _larger(input, other, out=out)
    if dim is None:
        return _max_all(input, out=out)
    return _max_dim(input, dim, keepdim, out=out)


def min(
    input: Tensor,
    dim: int | Tensor | None = None,
    keepdim: bool = False,
    *,
    other: Tensor | None = None,
    out: Any = None,
    axis: int | None = None,
    keepdims: bool = False,
) -> Any:
    """The smallest element; along ``dim``: (values, indices); with a tensor: the smaller of each.

    As ``max`` in all else.

    >>> min(tensor([[1, 5], [4, 2]]), 1).values
    tensor([1, 2])
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return _smaller(input, other, out=out)
    if dim is None:
        return _min_all(input, out=out)
    return _min_dim(input, dim, keepdim, out=out)


@function
def _amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    return _extreme_over(input, dim, keepdim, "amax")


@function
def _amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    return _extreme_over(input, dim, keepdim, "amin")


def _extreme_over(input: Tensor, dim: Any, keepdim: bool, name: str) -> Tensor:
    dims = _dims.wrap_dims(dim, input.dim())
    _not_empty(name, input, None if dim in ((), None) else dims)
    return getattr(ops, name)(input, dims=dims, keepdim=keepdim)


def amax(
    input: Tensor,
    dim: Dims = (),
    keepdim: bool = False,
    *,
    out: Tensor | None = None,
    axis: Dims = None,
    keepdims: bool = False,
) -> Tensor:
    """The largest elements over dimensions; the gradient is shared evenly among equals.

    >>> amax(tensor([[1, 5], [4, 2]]), (0, 1))
    tensor(5)
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    return _amax(input, dim, keepdim, out=out)


def amin(
    input: Tensor,
    dim: Dims = (),
    keepdim: bool = False,
    *,
    out: Tensor | None = None,
    axis: Dims = None,
    keepdims: bool = False,
) -> Tensor:
    """The smallest elements over dimensions; the gradient is shared evenly among equals.

    >>> amin(tensor([[1, 5], [4, 2]]), 0)
    tensor([1, 2])
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    return _amin(input, dim, keepdim, out=out)


@function
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest and the largest element, of all or along ``dim``.

    >>> aminmax(tensor([3, 1, 2])).max
    tensor(3)
    """
    _need_order("aminmax_cpu", input)
    dims = _dims.wrap_dims(dim, input.dim())
    if 0 in input._meta.shape:
        if dim is None:
            raise RuntimeError(
                "aminmax(): cannot compute aminmax over an empty dimension as the operation has "
                "no identity."
            )
        _not_empty("aminmax", input, dims)
    low = ops.amin(input, dims=dims, keepdim=keepdim)
    return return_types.aminmax((low, ops.amax(input, dims=dims, keepdim=keepdim)))


def _position(input: Tensor, dim: Any, keepdim: bool, name: str) -> Tensor:
    _no_complex(name, input)
    if input.dtype is dtypes.bool_:
        raise RuntimeError(f"{name}(): does not support bool input")
    x = input
    shape = x._meta.shape
    if dim is None:
        _not_empty(name, x, None)
        at = getattr(ops, name)(_line(x), dim=0, keepdim=False)
        return ops.reshape(at, shape=(1,) * len(shape)) if keepdim and shape else at
    d = _dims.wrap_dim(dim, len(shape))
    if not shape:
        return ops.full(0, shape=(), dtype=dtypes.int64)
    _not_empty(name, x, (d,))
    return getattr(ops, name)(x, dim=d, keepdim=keepdim)


@function
def _argmax(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _position(input, dim, keepdim, "argmax")


@function
def _argmin(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _position(input, dim, keepdim, "argmin")


def argmax(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    out: Tensor | None = None,
    axis: int | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The position of the largest element, of all (flattened) or along ``dim``.

    >>> argmax(tensor([[1, 5], [4, 2]]), dim=1)
    tensor([1, 0])
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    return _argmax(input, dim, keepdim, out=out)


def argmin(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    out: Tensor | None = None,
    axis: int | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The position of the smallest element, of all (flattened) or along ``dim``.

    >>> argmin(tensor([[1, 5], [4, 2]]), dim=1)
    tensor([0, 1])
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    return _argmin(input, dim, keepdim, out=out)


# ------------------------------------------------------------------------------------ truths


def _truth(input: Tensor, dim: Any, keepdim: bool, name: str) -> Tensor:
    # PyTorch answers in uint8 when it is asked in uint8.
    kind = dtypes.uint8 if input.dtype is dtypes.uint8 else dtypes.bool_
    x = input if input.dtype is dtypes.bool_ else ops.ne(input, 0)
    found = getattr(ops, name)(x, dims=_dims.wrap_dims(dim, x.dim()), keepdim=keepdim)
    return _cast(found, kind)


@function
def _all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _truth(input, dim, keepdim, "all")


@function
def _any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _truth(input, dim, keepdim, "any")


def all(
    input: Tensor,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    out: Tensor | None = None,
    axis: Dims = None,
    keepdims: bool = False,
) -> Tensor:
    """Whether all elements are true (not zero), over dimensions.

    >>> all(tensor([True, False]))
    tensor(False)
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    return _all(input, dim, keepdim, out=out)


def any(
    input: Tensor,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    out: Tensor | None = None,
    axis: Dims = None,
    keepdims: bool = False,
) -> Tensor:
    """Whether any element is true (not zero), over dimensions.

    >>> any(tensor([True, False]))
    tensor(True)
    """
    dim, keepdim = _common(dim, keepdim, axis, keepdims)
    return _any(input, dim, keepdim, out=out)


@function
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not zero, of all or over dimensions.

    >>> count_nonzero(tensor([0, 2, 3]))
    tensor(2)
    """
    found = _cast(ops.ne(input, 0), dtypes.int64)
    return ops.sum(found, dims=_dims.wrap_dims(dim, input.dim()), keepdim=False)


def equal(input: Tensor, other: Tensor) -> builtins.bool:
    """Whether two tensors have the same shape and elements (NaN differs from all).

    >>> equal(tensor([1, 2]), tensor([1, 2]))
    True
    """
    if not isinstance(other, Tensor):
        raise TypeError(
            f"equal(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}"
        )
    if input._meta.shape != other._meta.shape:
        return False
    if input._meta.dtype is other._meta.dtype and not (input.is_sparse or other.is_sparse):
        return _same_values(input._value()._array(), other._value()._array())
    return builtins.bool(_all(ops.eq(*_promotion.promoted(input, other))).item())


def _same_values(x: np.ndarray, y: np.ndarray) -> builtins.bool:
    """Whether all elements are equal; it stops at a part where one is not."""
    if not (x.flags.c_contiguous and y.flags.c_contiguous):
        return builtins.bool((x == y).all())
    x, y = x.reshape(-1), y.reshape(-1)
    start, size = 0, _FIRST_PART
    while start < len(x):
        if not (x[start : start + size] == y[start : start + size]).all():
            return False
        start, size = start + size, _PART
    return True


# Elements compared at a time: few at first, then what stays in the processor's cache.
_FIRST_PART, _PART = 1 << 10, 1 << 15


def allclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: builtins.bool = False,
) -> builtins.bool:
    r"""Whether :math:`|x - y| \le atol + rtol |y|` everywhere.

    >>> allclose(tensor([1.0]), tensor([1.0 + 1e-9]))
    True
    """
    return builtins.bool(input.isclose(other, rtol, atol, equal_nan).all().item())
