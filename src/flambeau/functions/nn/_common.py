"""What the functions of neural networks share: reductions, sizes, concrete values."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.functions.dims import as_int
from flambeau.functions.promotion import cast
from flambeau.record.macro import ops
from flambeau.record.trace import open_
from flambeau.tensor import Tensor, concrete

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.dtypes import dtype

_REDUCTIONS = ("none", "mean", "sum")


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """What the deprecated flags ``size_average`` and ``reduce`` mean, with PyTorch's warning."""
    if size_average is None and reduce is None:
        return reduction
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    meant = "mean" if size_average and reduce else "sum" if reduce else "none"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{meant}' instead.",
        stacklevel=3,
    )
    return meant


def check_reduction(reduction: str) -> None:
    """``ValueError`` unless one of "none", "mean", "sum"."""
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")


def total(x: Tensor) -> Tensor:
    """The sum of all elements."""
    return ops.sum(x, dims=tuple(range(x.dim())), keepdim=False)


def mean(x: Tensor) -> Tensor:
    """The mean of all elements; NaN if there are none."""
    n = math.prod(x._meta.shape)
    return ops.mul(total(x), math.nan) if n == 0 else ops.div(total(x), float(n))


def last_step(unreduced: str) -> Callable[[dict[str, Any]], str]:
    """The ``grad_fn`` name of a loss by its ``reduction``; ``unreduced``: that without one."""
    names = {"mean": "Mean", "sum": "Sum", "batchmean": "Div", "none": unreduced}
    return lambda given: names.get(given["reduction"], unreduced) + "Backward0"


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """A loss an element reduced as ``reduction`` says."""
    if reduction == "mean":
        return mean(loss)
    if reduction == "sum":
        return total(loss)
    check_reduction(reduction)
    return loss


def spread(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``x`` broadcast to ``shape``."""
    if x._meta.shape == shape:
        return x
    x = reshape(x, (1,) * (len(shape) - x.dim()) + x._meta.shape)
    return ops.broadcast(x, shape=shape)


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``x`` in another shape, inside a body."""
    return x if x._meta.shape == shape else ops.reshape(x, shape=shape)


def part(x: Tensor, dim: int, start: int, size: int) -> Tensor:
    """``size`` positions of a dimension from ``start``, inside a body."""
    return ops.slice(x, start, dims=(dim,), sizes=(size,), steps=(1,))


def clamp_min(x: Tensor, low: Any) -> Tensor:
    """The larger of ``x`` and a number; no gradient below it."""
    return ops.where(ops.lt(x, low), low, x)


def log_sigmoid(x: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x))) for any x, inside a body.

    Sides are chosen, not mixed as ``abs`` and ``minimum`` do it: so all derivatives are right at 0.
    """
    below = ops.lt(x, 0.0)
    tail = ops.log1p(ops.exp(ops.where(below, x, ops.neg(x))))
    return ops.sub(ops.where(below, x, 0.0), tail)


def per_channel(x: Tensor, ndim: int) -> Tensor:
    """A row ``(C,)`` ready to stand beside ``(N, C, ...)`` of ``ndim`` dimensions."""
    return reshape(x, (1, x._meta.shape[0], *(1,) * (ndim - 2))) if ndim > 1 else x


def same_dtype(x: Tensor, *others: Tensor) -> list[Tensor]:
    """All in the dtype they promote to."""
    from flambeau.functions.promotion import result_type

    target = result_type(x, *others)
    return [cast(v, target) for v in (x, *others)]


def difference(x: Tensor, y: Tensor) -> Tensor:
    """``x - y`` of any two dtypes, inside a body; ``RuntimeError`` for bools, as the operator."""
    if x.dtype.category == 0 or y.dtype.category == 0:
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying "
            "to invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return ops.sub(*same_dtype(x, y))


def constant(function: str, **arguments: Tensor | None) -> None:
    """``RuntimeError`` if an argument that has no gradient requires one."""
    for name, value in arguments.items():
        if value is not None and value._meta.requires_grad and open_.state.grad:
            raise RuntimeError(
                f"The function '{function}' is not differentiable with respect to argument "
                f"'{name}'. This input cannot have requires_grad True."
            )


def known(t: Tensor) -> np.ndarray | None:
    """The value of a tensor that is concrete already, not to be written; else None."""
    storage = t._storage
    if storage is None or storage.trace is not None or storage.memory is None:
        return None
    return t._array()


def value_of(t: Tensor) -> np.ndarray:
    """The value of a tensor, not to be written; computed if it is pending."""
    return t._value()._array()


def made(array: np.ndarray, like: dtype) -> Tensor:
    """A tensor on a private array."""
    return concrete(np.ascontiguousarray(array).reshape(np.shape(array)), like)


def ntuple(value: Any, n: int, name: str = "argument") -> tuple[int, ...]:
    """``n`` integers, given as one number, one in a sequence, or all."""
    if isinstance(value, int):
        return (int(value),) * n
    if isinstance(value, (tuple, list)):
        found = tuple(as_int(v, name) for v in value)
        if len(found) == n:
            return found
        if len(found) == 1:
            return found * n
        raise RuntimeError(
            f"{name} must be either a single int, or a tuple of {n} ints, but got a tuple of "
            f"{len(found)}"
        )
    if hasattr(value, "__index__"):
        return (value.__index__(),) * n
    raise TypeError(f"{name} must be int or a sequence of ints, not {type(value).__name__}")


def broadcast_warning(input: Tensor, target: Tensor) -> None:
    """Warns that a loss broadcasts its target, which is seldom meant."""
    if input._meta.shape != target._meta.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def broadcast_together(*xs: Tensor) -> list[Tensor]:
    """All in the shape they broadcast to."""
    from flambeau.ir.primitive import broadcast_shapes

    shape = broadcast_shapes(*[x._meta.shape for x in xs])
    return [spread(x, shape) for x in xs]


def check_shapes(what: str, given: Sequence[int], wanted: Sequence[int]) -> None:
    """``ValueError`` unless two shapes are the same."""
    if tuple(given) != tuple(wanted):
        raise ValueError(f"{what}: expected {list(wanted)}, got {list(given)}")
