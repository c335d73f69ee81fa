"""The greatest and the least over dimensions: their values, their places."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from flambeau import dtypes, return_types
from flambeau.functions import dims as _dims
from flambeau.functions import promotion as _promotion
from flambeau.functions.checks import _need_order
from flambeau.functions.reduction import _common, _line, _not_empty
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    Dims = int | Sequence[int] | None


def _extreme(input: Tensor, name: str) -> Tensor:
    _not_empty(name, input, None)
    x = ops.detach(input) if input._meta.requires_grad else input
    value = getattr(ops, "a" + name)(x, dims=tuple(range(x.dim())), keepdim=False)
    return ops.rebase(value, _evenly(input, value)) if input._meta.requires_grad else value


def _evenly(x: Tensor, value: Tensor) -> Tensor:
    """The mean of the elements equal to ``value``, or NaN as it is: the history of a selection."""
    same = ops.or_(ops.eq(x, value), ops.and_(ops.isnan(x), ops.isnan(value)))
    dims = tuple(range(x.dim()))
    total = ops.sum(ops.where(same, x, 0), dims=dims, keepdim=False)
    count = ops.sum(_promotion.cast(same, x.dtype), dims=dims, keepdim=False)
    return ops.div(total, count)


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
    _need_order("max_values_cpu" if name == "amax" else "min_values_cpu", input)
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


SAMPLES = {
    "max": "x; x, 1; x, 0, True; x, y; i; i, -1; special; s; s, 0; truth; half, 1; x, row;"
    "torch.tensor([1.0, 3.0, 3.0]); torch.tensor([3.0, 1.0, 3.0]), 0; !c; !empty; !empty, 0; !x, 2;"
    "!x, (0, 1)",
    "min": "x; x, 1; x, 0, True; x, y; i; i, -1; special; s; s, 0; truth; half, 1; x, row;"
    "torch.tensor([1.0, 1.0, 3.0]); torch.tensor([3.0, 1.0, 1.0]), 0; !c; !empty; !empty, 0; !x, 2;"
    "!x, (0, 1)",
    "amax": "x; x, 1; x, (0, 1), True; i, 0; special; s; truth, 1; torch.tensor([1.0, 3.0, 3.0]);"
    "x, (); cube, (0, -1); !empty; !c; !x, 2; !x, (0, 0)",
    "amin": "x; x, 1; x, (0, 1), True; i, 0; special; s; truth, 1; torch.tensor([1.0, 1.0, 3.0]);"
    "x, (); cube, (0, -1); !empty; !c; !x, 2; !x, (0, 0)",
    "aminmax": "x; x, dim=1; i, dim=0, keepdim=True; special; s; truth;"
    "torch.tensor([1.0, 3.0, 3.0, 1.0]); !empty; !c; !x, dim=2; !x, 1",
    "argmax": "x; x, 1; x, 0, True; i; i, 1; special; s; x, -1; x, keepdim=True;"
    "torch.tensor([1, 3, 3]); !c; !truth; !empty; !empty, 0; !x, 2; !x, (0, 1)",
    "argmin": "x; x, 1; x, 0, True; i; i, 1; special; s; x, -1; x, keepdim=True;"
    "torch.tensor([1, 1, 3]); !c; !truth; !empty; !empty, 0; !x, 2; !x, (0, 1)",
}
