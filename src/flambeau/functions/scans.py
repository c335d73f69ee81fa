"""Running sums, products and extremes along a dimension."""

from __future__ import annotations

from typing import Any

import flambeau.ir.scattering
import flambeau.ir.sorting
import flambeau.ir.statistics  # noqa: F401  (declares primitives)
from flambeau import dtypes, return_types
from flambeau.functions import dims as _dims
from flambeau.functions import promotion as _promotion
from flambeau.functions.checks import _need_order, _refuse
from flambeau.functions.inplace import inplace
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _running(input: Tensor, dim: int, dtype: Any, name: str) -> Tensor:
    d = _dims.wrap_dim(dim, input.dim())
    if dtype is None and input.dtype.category < 2:
        dtype = dtypes.int64
    return getattr(ops, name)(_promotion.cast(input, dtype or input.dtype), dim=d)


@function
def _cumsum(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    return _running(input, dim, dtype, "cumsum")


@function
def _cumprod(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    return _running(input, dim, dtype, "cumprod")


def _along(name: str, dim: int | None, axis: int | None) -> int:
    if dim is None and axis is None:
        raise TypeError(f'{name}() missing 1 required positional arguments: "dim"')
    return dim if axis is None else axis  # type: ignore[return-value]


def cumsum(
    input: Tensor,
    dim: int | None = None,
    *,
    dtype: dtypes.dtype | None = None,
    out: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    r"""Running sum: :math:`y_i = \sum_{j \le i} x_j`; int64 for bool and integral tensors.

    >>> cumsum(tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    return _cumsum(input, _along("cumsum", dim, axis), dtype, out=out)


def cumprod(
    input: Tensor,
    dim: int | None = None,
    *,
    dtype: dtypes.dtype | None = None,
    out: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    r"""Running product: :math:`y_i = \prod_{j \le i} x_j`; int64 for bool and integral tensors.

    >>> cumprod(tensor([1, 2, 3]), 0)
    tensor([1, 2, 6])
    """
    return _cumprod(input, _along("cumprod", dim, axis), dtype, out=out)


def _own(input: Tensor, dtype: Any, name: str) -> dtypes.dtype:
    """The dtype of what is written to a tensor: its own, in which there must be numbers."""
    own = input._meta.dtype
    if dtype not in (None, own):
        raise RuntimeError(
            f"Bad in-place call: input tensor dtype {own.name} and output tensor dtype "
            f"{dtype.name} should match"
        )
    if own.category == 0:
        _refuse(f"{name}_out_cpu", own)
    return own


@function(grad="CumsumBackward0")
def cumsum_(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """In-place ``cumsum``, in the dtype of the tensor."""
    from flambeau.functions.inplace import assign

    return assign(input, _running(input, dim, _own(input, dtype, "cumsum"), "cumsum"))


@function(grad="CumprodBackward0")
def cumprod_(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """In-place ``cumprod``, in the dtype of the tensor."""
    from flambeau.functions.inplace import assign

    return assign(input, _running(input, dim, _own(input, dtype, "cumprod"), "cumprod"))


@function
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    r"""Running logarithm of a sum of exponentials: :math:`y_i = \log \sum_{j \le i} e^{x_j}`.

    >>> logcumsumexp(tensor([0.0, 0.0]), 0)
    tensor([0.0000, 0.6931])
    """
    d = _dims.wrap_dim(dim, input.dim())
    if input.dtype.category < 2:
        from flambeau.functions.inplace import title

        raise NotImplementedError(
            f"\"logcumsumexp_out_cpu\" not implemented for '{title(input.dtype)}'"
        )
    return ops.logcumsumexp(input, dim=d)


def _best_so_far(input: Tensor, dim: int, name: str) -> Any:
    if input._meta.shape:
        _need_order(f"{name}_cpu", input)
    d = _dims.wrap_dim(dim, input.dim())
    if not input._meta.shape:
        at = ops.full(0, shape=(), dtype=dtypes.int64)
        return ops.reshape(input, shape=()), at
    at = getattr(ops, "arg" + name)(input, dim=d)
    return ops.gather(input, at, dim=d), at


@function
def cummax(input: Tensor, dim: int) -> Any:
    """The greatest element so far, and the last position it was seen at.

    >>> cummax(tensor([1, 3, 2]), 0).values
    tensor([1, 3, 3])
    """
    return return_types.cummax(_best_so_far(input, dim, "cummax"))


@function
def cummin(input: Tensor, dim: int) -> Any:
    """The least element so far, and the last position it was seen at.

    >>> cummin(tensor([3, 1, 2]), 0).values
    tensor([3, 1, 1])
    """
    return return_types.cummin(_best_so_far(input, dim, "cummin"))


logcumsumexp_ = inplace(logcumsumexp)


SAMPLES = {
    "cumsum": "x, 0; x, -1; i, 1; truth, 0; x, 1, dtype=torch.float64; s, 0; empty, 0; c, 1;"
    "special, 0; half, 1; i, 0, dtype=torch.float32; !x, 2; !x; !s, 1",
    "cumprod": "x, 0; x, -1; i, 1; truth, 0; i, 1, dtype=torch.float64; s, 0; empty, 0; c, 1;"
    "x * truth, 1; half, 1 # no-grad; !x, 2; !x; !s, 1",
    "cummax": "x, 0; x, -1; i, 1; special, 0; s, 0; truth, 1; empty, 0; half, 1;"
    "torch.tensor([1, 3, 3, 2, 3]), 0; !x, 2; !x; !c, 0",
    "cummin": "x, 0; x, -1; i, 1; special, 0; s, 0; truth, 1; empty, 0; half, 1;"
    "torch.tensor([3, 1, 1, 2, 1]), 0; !x, 2; !x; !c, 0",
    "logcumsumexp": "x, 0; x, -1; big, 1; s, 0; special, 0; empty, 0; half, 1; c, 1; !i, 0; !x, 2;"
    "!x",
}
