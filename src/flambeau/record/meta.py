"""What is known of a value before it is computed, interned so that keys compare by identity."""

from __future__ import annotations

from flambeau.dtypes import dtype
from flambeau.ir.graph import Aval

_LIMIT = 20_000


class Meta:
    """Shape, dtype, and whether (and how) a value takes part in differentiation."""

    __slots__ = ("shape", "dtype", "requires_grad", "leaf", "aval")

    def __init__(
        self, shape: tuple[int, ...], dtype: dtype, requires_grad: bool, leaf: bool
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.requires_grad = requires_grad
        self.leaf = leaf
        self.aval = Aval(shape, dtype)

    def __repr__(self) -> str:
        return f"Meta({self.aval}, grad={self.requires_grad}, leaf={self.leaf})"


_metas: dict[tuple, Meta] = {}


def meta(
    shape: tuple[int, ...], dtype: dtype, requires_grad: bool = False, leaf: bool = True
) -> Meta:
    """The one ``Meta`` with these parts."""
    key = (shape, dtype, requires_grad, leaf)
    found = _metas.get(key)
    if found is None:
        if len(_metas) > _LIMIT:
            # Forgetting only costs misses in the trie: identity is never relied on for truth.
            _metas.clear()
        found = _metas[key] = Meta(shape, dtype, requires_grad, leaf)
    return found
