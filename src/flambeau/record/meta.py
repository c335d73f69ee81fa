"""What is known of a value before it is computed, interned so that keys compare by identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.dtypes import dtype
from flambeau.ir.graph import Aval

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIMIT = 20_000


class Meta:
    """Shape, dtype, and whether (and how) a value takes part in differentiation.

    ``order``: the dimensions in the order of memory that the tensor says it has (channels last),
    where that is another than row-major, in which all values lie.
    """

    __slots__ = ("shape", "dtype", "requires_grad", "leaf", "order", "aval")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: dtype,
        requires_grad: bool,
        leaf: bool,
        order: tuple[int, ...] | None = None,
    ) -> None:
        self.order = order
        self.shape = shape
        self.dtype = dtype
        self.requires_grad = requires_grad
        self.leaf = leaf
        self.aval = Aval(shape, dtype)

    def __repr__(self) -> str:
        return f"Meta({self.aval}, grad={self.requires_grad}, leaf={self.leaf})"


# The orders of memory that are told of, by number of dimensions.
CHANNELS_LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}


def strides_of(m: Meta) -> tuple[int, ...]:
    """The strides of a dense tensor whose dimensions lie in the order of its meta."""
    strides = [0] * len(m.shape)
    step = 1
    for d in reversed(m.order or range(len(m.shape))):
        strides[d] = step
        step *= max(m.shape[d], 1)
    return tuple(strides)


def inherited(name: str, arguments: Sequence[Any], m: Meta) -> Meta:
    """The meta of a function's result, which lies in memory as its operand does.

    As in PyTorch: in the order of the first operand of as many dimensions, of a convolution in
    that of either.
    """
    if m.order is not None or len(m.shape) not in CHANNELS_LAST:
        return m
    # Steps that are one primitive are named after their ``grad_fn``: views, mostly.
    if name in _LAID_ANEW or ("Backward" in name and name != "AliasBackward0"):
        return m
    orders = [t._meta.order for t in arguments if len(t._meta.shape) == len(m.shape)]
    order = next(filter(None, orders), None) if "conv" in name else next(iter(orders), None)
    if order is None:
        return m
    return meta(m.shape, m.dtype, m.requires_grad, m.leaf, order)


# What gives row-major results, or another order of its own.
_LAID_ANEW = frozenset({
    "_in_rows", "_layer_norm", "_log_softmax", "_matmul", "_softmax", "einsum", "matmul",
})  # fmt: skip
_metas: dict[tuple, Meta] = {}


def meta(
    shape: tuple[int, ...],
    dtype: dtype,
    requires_grad: bool = False,
    leaf: bool = True,
    order: tuple[int, ...] | None = None,
) -> Meta:
    """The one ``Meta`` with these parts."""
    key = (shape, dtype, requires_grad, leaf, order)
    found = _metas.get(key)
    if found is None:
        if len(_metas) > _LIMIT:
            # Forgetting only costs misses in the trie: identity is never relied on for truth.
            _metas.clear()
        found = _metas[key] = Meta(shape, dtype, requires_grad, leaf, order)
    return found
