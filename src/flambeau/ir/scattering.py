"""Primitives that move elements along one dimension, to and from places given by a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.ir import reference
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, conj, primitive

P = PRIMITIVES


def _array(f: Any) -> Any:
    """A kernel given arrays even for 0-dim values."""

    def call(*xs: Any, **attrs: Any) -> np.ndarray:
        return f(*[np.asarray(x) for x in xs], **attrs)

    return call


def _zeros(shape: tuple[int, ...], like: Var) -> Var:
    return P["full"](0.0, shape=shape, dtype=like.dtype)


primitive(
    "gather",
    "out[i][j] = x[index[i][j]][j] for dim 0, in the shape of the index",
    rule=lambda x, index, *, dim: Aval(index.shape, x.dtype),
    reference=_array(reference.gather),
    gradient=(
        lambda g, x, index, *, out, dim: P["scatter_add"](_zeros(x.shape, g), index, g, dim=dim),
        None,
    ),
)
primitive(
    "scatter",
    "the base with base[index[i][j]][j] = src[i][j] for dim 0; the last of several stays",
    rule=lambda base, index, src, *, dim: base,
    reference=_array(reference.scatter),
    gradient=(
        lambda g, base, index, src, *, out, dim: P["scatter"](
            g, index, _zeros(index.shape, g), dim=dim
        ),
        None,
        lambda g, base, index, src, *, out, dim: P["gather"](g, index, dim=dim),
    ),
)
primitive(
    "scatter_add",
    "the base with base[index[i][j]][j] += src[i][j] for dim 0",
    rule=lambda base, index, src, *, dim: base,
    reference=_array(reference.scatter_add),
    gradient=(
        lambda g, base, index, src, *, out, dim: g,
        None,
        lambda g, base, index, src, *, out, dim: P["gather"](g, index, dim=dim),
    ),
)


def _without_self(g: Var, index: Var, dim: int, include_self: bool) -> Var:
    """The base's gradient: nothing where its own value was forgotten."""
    if include_self:
        return g
    return P["scatter"](g, index, _zeros(index.shape, g), dim=dim)


def _count(base: Var, index: Var, dim: int, include_self: bool) -> Var:
    """How many values the mean of each place was taken of."""
    start = P["full"](1.0 if include_self else 0.0, shape=base.shape, dtype=base.dtype)
    ones = P["full"](1.0, shape=index.shape, dtype=base.dtype)
    count = P["scatter_add"](start, index, ones, dim=dim)
    return P["where"](P["eq"](count, 0), P["full"](1.0, shape=base.shape, dtype=base.dtype), count)


def _shares(base: Var, index: Var, src: Var, out: Var, dim: int) -> tuple[Var, Var, Var]:
    """Which values are the extreme, of the base and of the sources, and how many at each place."""
    own = P["cast"](P["eq"](base, out), dtype=base.dtype)
    theirs = P["cast"](P["eq"](src, P["gather"](out, index, dim=dim)), dtype=base.dtype)
    return own, theirs, P["scatter_add"](own, index, theirs, dim=dim)


def _one_for(mask: Var, x: Var) -> Var:
    return P["where"](mask, P["full"](1.0, shape=x.shape, dtype=x.dtype), x)


def _base_gradient(
    g: Var, base: Var, index: Var, src: Var, *, out: Var, dim: int, reduce: str, include_self: bool
) -> Var:
    if reduce == "mean":
        g = g / _count(base, index, dim, include_self)
    elif reduce == "prod":
        # The product of the others: exact where the base itself is zero.
        nonzero = _one_for(P["eq"](base, 0), base)
        how = {"dim": dim, "reduce": reduce, "include_self": include_self}
        g = g * conj(P["scatter_reduce"](nonzero, index, src, **how) / nonzero)
    elif reduce in ("amax", "amin"):
        own, _, count = _shares(base, index, src, out, dim)
        g = own * (g / count)
    return _without_self(g, index, dim, include_self)


def _source_gradient(
    g: Var, base: Var, index: Var, src: Var, *, out: Var, dim: int, reduce: str, include_self: bool
) -> Var:
    if reduce == "mean":
        g = g / _count(base, index, dim, include_self)
    elif reduce == "prod":
        zero = P["eq"](src, 0)
        zeros = P["cast"](zero, dtype=src.dtype)
        count = P["scatter_add"](_zeros(base.shape, src), index, zeros, dim=dim)
        only = P["and"](zero, P["eq"](P["gather"](count, index, dim=dim), 1))
        how = {"dim": dim, "reduce": reduce, "include_self": include_self}
        others = P["scatter_reduce"](base, index, _one_for(only, src), **how)
        at_zero = P["gather"](g * conj(others), index, dim=dim)
        elsewhere = P["gather"](g * conj(out), index, dim=dim) / conj(_one_for(zero, src))
        return P["where"](only, at_zero, elsewhere)
    elif reduce in ("amax", "amin"):
        _, theirs, count = _shares(base, index, src, out, dim)
        return theirs * P["gather"](g / count, index, dim=dim)
    return P["gather"](g, index, dim=dim)


primitive(
    "scatter_reduce",
    "the base with the sources of each place reduced into it (sum, prod, mean, amax or amin)",
    rule=lambda base, index, src, *, dim, reduce, include_self: base,
    reference=_array(reference.scatter_reduce),
    gradient=(_base_gradient, None, _source_gradient),
)


def _bisect(
    edges: np.ndarray, values: np.ndarray, *sorter: np.ndarray, right: bool, dtype: Any
) -> np.ndarray:
    order = sorter[0] if sorter else None
    found = reference.searchsorted(np.asarray(edges), np.asarray(values), right=right, sorter=order)
    return found.astype(dtype.numpy, copy=False)


primitive(
    "searchsorted",
    "where values would go into rows that are in order",
    rule=lambda edges, values, *sorter, right, dtype: Aval(values.shape, dtype),
    reference=_bisect,
)
