"""Sums, means, products, truths over dimensions."""

from __future__ import annotations

import builtins
import math
from typing import TYPE_CHECKING, Any

import flambeau.ir.scattering
import flambeau.ir.statistics  # noqa: F401  (declares primitives)
from flambeau import dtypes
from flambeau.functions import dims as _dims
from flambeau.functions import inplace as _inplace
from flambeau.functions import promotion as _promotion
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


def _truth(input: Tensor, dim: Any, keepdim: bool, name: str) -> Tensor:
    # PyTorch answers in uint8 when it is asked in uint8.
    kind = dtypes.uint8 if input.dtype is dtypes.uint8 else dtypes.bool_
    x = input if input.dtype is dtypes.bool_ else ops.ne(input, 0)
    if isinstance(dim, (tuple, list)) and not dim:
        # No dimension, where sums mean all of them.
        return _cast(x, kind)
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


SAMPLES = {
    "sum": "x; x, 1; x, (0, 1), keepdim=True; x, -1, True; i; i, 0; truth; x, dtype=torch.float64;"
    "s; empty; empty, 0; c; x, []; cube, (0, 2); special; i, 0, dtype=torch.float32; half, 1;"
    "x, axis=1; !x, 2; !x, (0, 0); !s, 1; !2",
    "mean": "x; x, 1; x, (0, 1), keepdim=True; c; i, dtype=torch.float32;"
    "x, -1, dtype=torch.float64; s; empty; empty, 0; half, 1; cube, [0, 2]; !i; !truth; !x, 2;"
    "!x, (0, 0); !x, dtype=torch.int64",
    "nansum": "special; x; x, 1; i; x, (0, 1), True; special, dtype=torch.float64; empty, 0; truth;"
    "!c; !x, 2",
    "nanmean": "special; x; x, 1; x, (0, 1), True; x.where(truth, nan), 1; !i; !x, 2",
    "prod": "x; x, 1; x, 0, keepdim=True; i; i, 1; truth; x * truth; x * truth, 1;"
    "x, dtype=torch.float64; s; empty; empty, 0; c, 0; half # no-second; !x, 2; !x, (0, 1); !s, 1",
    "all": "truth; truth, 1; x; i, 0, True; truth, (0, 1); empty; empty, 0; c; small; s; special;"
    "x, (); !x, 2; !2",
    "any": "truth; truth, 1; x; i, 0, True; truth, (0, 1); empty; empty, 0; c; small; s; special;"
    "x, (); !x, 2; !2",
    "count_nonzero": "i; x; i, 0; i, (0, 1); truth, -1; c; empty; special; s; !i, 2; !2",
    "equal": "x, x; x, y; i, i; x, u; special, special; c, c; truth, other_truth; empty, empty;"
    "!x, 1; x, i",
    "allclose": "x, x; x, y; x, x + 1e-6; special, special; special, special, equal_nan=True;"
    "x, x + 0.1, rtol=0, atol=0.5; i, i; c, c; x, row; !x, i; !x, 1.0; !x, u; !x, x, rtol=-1",
}
