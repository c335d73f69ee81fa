"""The order in which a tensor's elements lie in memory: random numbers are drawn in that order."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flambeau.layouts import preserve_format
from flambeau.record.meta import CHANNELS_LAST

if TYPE_CHECKING:
    from flambeau.tensor import Tensor

__all__ = ["memory_order", "order_of", "restored"]

Order = tuple[int, ...]


def memory_order(x: Tensor) -> Order | None:
    """The dimensions from the outermost in memory to the innermost; None if they are in order.

    >>> memory_order(torch.zeros(2, 3)), memory_order(torch.zeros(2, 3).t())
    (None, (1, 0))
    """
    spec = x._spec
    if x._meta.order is not None:
        return _ordered(x._meta.shape, x.stride())
    return None if spec is None else _ordered(spec[0], spec[1])


def order_of(input: Tensor, memory_format: Any) -> tuple[int, ...] | None:
    """The order of dimensions that a format means for a tensor; None if it is row-major.

    Raises ``RuntimeError`` for a tensor of another number of dimensions than the format is for.
    """
    n = {"torch.channels_last": 4, "torch.channels_last_3d": 5}.get(str(memory_format))
    if n is None:
        return input._meta.order if memory_format is preserve_format else None
    if len(input._meta.shape) != n:
        name = "channels_last" if n == 4 else "channels_last_3d"
        raise RuntimeError(f"required rank {n} tensor to use {name} format")
    return CHANNELS_LAST[n]


@lru_cache(1024)
def _ordered(shape: tuple[int, ...], strides: tuple[int, ...]) -> Order | None:
    """PyTorch sorts by insertion, innermost first, and passes over what is broadcast."""
    order = list(reversed(range(len(shape))))
    for start in range(1, len(order)):
        at = start
        for before in reversed(range(start)):
            one, other = order[before], order[at]
            if not strides[one] or not strides[other]:
                continue
            if (strides[one], shape[one]) > (strides[other], shape[other]):
                order[before], order[at] = other, one
                at = before
            elif strides[one] < strides[other]:
                break
    order.reverse()
    # Where a dimension of one element stands is no difference.
    wide = [d for d in order if shape[d] != 1]
    return tuple(order) if wide != sorted(wide) else None


@lru_cache(1024)
def restored(order: Order) -> Order:
    """The permutation that undoes ``order``.

    >>> restored((2, 0, 1))
    (1, 2, 0)
    """
    return tuple(sorted(range(len(order)), key=order.__getitem__))
