"""Primitives that read and write at positions given by tensors."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir import reference
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, broadcast_shapes, primitive, unbroadcast

if TYPE_CHECKING:
    from collections.abc import Sequence

P = PRIMITIVES


def result_shape(
    shape: tuple[int, ...], where: tuple[int, ...], indices: Sequence[tuple[int, ...]]
) -> tuple[int, ...]:
    """Shape of ``x[indices]`` from the indices' shapes: their dimensions stand where the first of
    them stood, or in front if something lies between them."""
    found = broadcast_shapes(*indices)
    rest = [n for d, n in enumerate(shape) if d not in where]
    adjacent = all(b - a == 1 for a, b in pairwise(where))
    at = where[0] if adjacent else 0
    return (*rest[:at], *found, *rest[at:])


def _full_index(ndim: int, where: tuple[int, ...], indices: tuple) -> tuple:
    index: list[Any] = [slice(None)] * ndim
    for d, i in zip(where, indices, strict=True):
        index[d] = i
    return tuple(index)


def _index_rule(x: Aval, *indices: Aval, where: tuple[int, ...]) -> Aval:
    return Aval(result_shape(x.shape, where, [i.shape for i in indices]), x.dtype)


def _index(x: np.ndarray, *indices: np.ndarray, where: tuple[int, ...]) -> np.ndarray:
    if len(where) == 1:
        # Several times as fast as an index with slices around it.
        return np.take(x, indices[0], axis=where[0])
    return x[_full_index(x.ndim, where, indices)]


primitive(
    "index",
    "the elements at positions given for some dimensions",
    rule=_index_rule,
    reference=_index,
    gradient=(
        lambda g, x, *indices, out, where: P["index_put"](
            P["full"](0.0, shape=x.shape, dtype=g.dtype), g, *indices, where=where, accumulate=True
        ),
    ),
)


def _index_put(
    base: np.ndarray,
    value: np.ndarray,
    *indices: np.ndarray,
    where: tuple[int, ...],
    accumulate: bool,
) -> np.ndarray:
    if accumulate and len(where) == 1:
        at, d = np.asarray(indices[0]), where[0]
        n = base.shape[d]
        if at.size and at.min() < 0:
            at = np.where(at < 0, at + n, at)
        shape = (*base.shape[:d], *at.shape, *base.shape[d + 1 :])
        value = np.broadcast_to(value, shape)
        value = value.reshape(*base.shape[:d], at.size, *base.shape[d + 1 :])
        return reference.index_add(np.array(base, order="C"), at.reshape(-1), value, d)
    if accumulate:
        spread = [None] * base.ndim
        for d, i in zip(where, indices, strict=True):
            spread[d] = np.asarray(i)
        return reference.index_put(np.array(base, order="C"), tuple(spread), value, True)
    out = np.array(base, order="C")
    out[_full_index(base.ndim, where, indices)] = value
    return out


def _put_rule(
    base: Aval, value: Aval, *indices: Aval, where: tuple[int, ...], accumulate: bool
) -> Aval:
    shape = result_shape(base.shape, where, [i.shape for i in indices])
    try:
        fits = broadcast_shapes(value.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to "
            f"indexing result of shape {list(shape)}"
        )
    return base


def _put_base_gradient(
    g: Var, base: Var, value: Var, *indices: Var, out: Var, where: tuple, accumulate: bool
) -> Var:
    if accumulate:
        return g
    zero = P["full"](0.0, shape=value.shape, dtype=g.dtype)
    return P["index_put"](g, zero, *indices, where=where, accumulate=False)


primitive(
    "index_put",
    "the base with the elements at given positions replaced (or added to)",
    rule=_put_rule,
    reference=_index_put,
    gradient=(
        _put_base_gradient,
        lambda g, base, value, *indices, out, where, accumulate: unbroadcast(
            P["index"](g, *indices, where=where), value
        ),
    ),
)
