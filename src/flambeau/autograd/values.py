"""Gradients as tensors: made, added, and fitted to what they are gradients of."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.ir.primitive import PRIMITIVES, broadcast_shapes
from flambeau.record import alias
from flambeau.record.absent import absent, is_absent
from flambeau.record.builder import new_tensor
from flambeau.record.meta import meta
from flambeau.record.single import apply
from flambeau.record.storage import Storage
from flambeau.record.trace import open_, set_grad


class grad_mode:
    """A block in which history is, or is not, recorded."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __enter__(self) -> None:
        self.before = set_grad(self.on)

    def __exit__(self, *exc: object) -> None:
        set_grad(self.before)


def add(a: Any, b: Any) -> Any:
    if a._is_sparse_layout or b._is_sparse_layout:
        from flambeau.sparse import gradients  # upward: sparse tensors are made of functions

        return gradients.added(a, b)
    return apply(PRIMITIVES["add"], a, b)


def by_values(tensors: Any, gradients: Any) -> tuple[Any, Any]:
    """Roots of a pass and their gradients; of sparse ones, the values, whose history is theirs."""
    if not any(t._is_sparse_layout for t in tensors):
        return tensors, gradients
    from flambeau.sparse import gradients as sparse  # upward: sparse tensors are made of functions

    return sparse.by_values(tensors, gradients)


def concrete(array: np.ndarray, dtype: Any) -> Any:
    """A tensor without history on an array that is its own."""
    t = new_tensor(None, 0, meta(array.shape, dtype))
    t._storage = Storage(array)
    return t


def ones_like(t: Any) -> Any:
    if is_absent(t):
        return absent(meta(t._meta.shape, t._meta.dtype))
    return concrete(np.ones(t._meta.shape, t._meta.dtype.numpy), t._meta.dtype)


def fitted(g: Any, t: Any, name: str) -> Any:
    """A custom gradient in the dtype and shape of its tensor."""
    if g._meta.shape != t._meta.shape:
        shape = t._meta.shape
        if broadcast_shapes(g._meta.shape, shape) != g._meta.shape:
            raise RuntimeError(
                f"Function {name} returned an invalid gradient: got {list(g._meta.shape)} but "
                f"expected shape compatible with {list(shape)}"
            )
        extra = len(g._meta.shape) - len(shape)
        dims = tuple(range(extra)) + tuple(
            i + extra for i, n in enumerate(shape) if n == 1 and g._meta.shape[i + extra] != 1
        )
        g = apply(PRIMITIVES["sum"], g, dims=dims, keepdim=False)
        g = apply(PRIMITIVES["reshape"], g, shape=shape)
    if g._meta.dtype is not t._meta.dtype:
        g = apply(PRIMITIVES["cast"], g, dtype=t._meta.dtype)
    return g


def replace_value(old: Any, new: Any) -> None:
    """Copies a concrete value into a concrete tensor."""
    if is_absent(old):
        return
    how = alias.turn_of(old)
    if how is not None:
        old, new = (alias.turn(t, how, "") for t in (old, new))
    value = new._array()
    old._storage.writable()
    old._array()[...] = value
    old._storage.version += 1


def private(g: Any) -> Any:
    """A gradient that shares memory with nothing the caller holds."""
    storage = g._storage
    if is_absent(g):
        return g
    if storage is not None and storage.trace is None and (storage.shared or storage.foreign):
        return concrete(np.array(g._array(), order="C"), g._meta.dtype)
    twin = new_tensor(g._trace, g._slot, g._meta)
    if storage is None:
        if g._trace is open_.trace:
            open_.trace.hold(twin)
            return twin
        return g
    if storage.trace is not None:
        return g
    twin._trace = None
    twin._storage = Storage(np.array(storage.array, order="C"))
    return twin
