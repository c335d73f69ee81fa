"""Reductions and scans along dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, conj, primitive

P = PRIMITIVES


def reduced_shape(shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    if keepdim:
        return tuple(1 if i in dims else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in dims)


def same(x: Aval, *, dims: tuple[int, ...], keepdim: bool) -> Aval:
    return Aval(reduced_shape(x.shape, dims, keepdim), x.dtype)


def index_rule(x: Aval, *, dim: int, keepdim: bool) -> Aval:
    return Aval(reduced_shape(x.shape, (dim,), keepdim), dtypes.int64)


def truth_rule(x: Aval, *, dims: tuple[int, ...], keepdim: bool) -> Aval:
    return Aval(reduced_shape(x.shape, dims, keepdim), dtypes.bool_)


def restore(g: Var, x: Var, dims: tuple[int, ...], keepdim: bool) -> Var:
    """``g`` of a reduction of ``x`` with its reduced dimensions back, of size 1."""
    if keepdim or not dims:
        return g
    return P["reshape"](g, shape=reduced_shape(x.shape, dims, True))


def spread(g: Var, x: Var, dims: tuple[int, ...], keepdim: bool) -> Var:
    """``g`` repeated over the reduced dimensions."""
    g = restore(g, x, dims, keepdim)
    return g if g.shape == x.shape else P["broadcast"](g, shape=x.shape)


def _sum(x: np.ndarray, *, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
    if x.dtype.kind in "fc" and x.dtype.itemsize > 2:
        return np.add.reduce(x, axis=dims, keepdims=keepdim)
    if x.dtype.kind == "b":
        return np.any(x, axis=dims, keepdims=keepdim)
    if x.dtype.kind in "iu":
        return np.add.reduce(x, axis=dims, keepdims=keepdim, dtype=x.dtype)
    return np.add.reduce(x.astype(np.float32), axis=dims, keepdims=keepdim).astype(x.dtype)


primitive(
    "sum",
    "sum over dimensions",
    rule=same,
    reference=_sum,
    gradient=lambda g, x, *, out, dims, keepdim: spread(g, x, dims, keepdim),
)


def _prod(x: np.ndarray, *, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
    if x.dtype.itemsize == 2 and x.dtype.kind in "fV":
        wide = np.multiply.reduce(x.astype(np.float32), axis=dims, keepdims=keepdim)
        return wide.astype(x.dtype)
    return np.multiply.reduce(x, axis=dims, keepdims=keepdim, dtype=x.dtype)


def _prod_gradient(g: Var, x: Var, *, out: Var, dims: tuple[int, ...], keepdim: bool) -> Var:
    # Products of all the others, from the left and from the right: exact where factors are zero.
    kept = [i for i in range(x.ndim) if i not in dims]
    order = (*kept, *dims)
    flat = P["permute"](x, dims=order)
    lead = tuple(x.shape[i] for i in kept)
    count = 1
    for i in dims:
        count *= x.shape[i]
    flat = P["reshape"](flat, shape=(*lead, count))
    last = len(lead)
    if count == 0:
        return x * 0.0
    one = P["slice"](flat * 0.0 + 1.0, 0, dims=(last,), sizes=(1,), steps=(1,))

    def before(v: Var) -> Var:
        head = P["slice"](v, 0, dims=(last,), sizes=(count - 1,), steps=(1,))
        return P["cumprod"](P["concat"](one, head, dim=last), dim=last)

    left = before(flat)
    right = P["flip"](before(P["flip"](flat, dims=(last,))), dims=(last,))
    others = P["reshape"](left * right, shape=(*lead, *[x.shape[i] for i in dims]))
    inverse = tuple(int(i) for i in np.argsort(order))
    return spread(g, x, dims, keepdim) * conj(P["permute"](others, dims=inverse))


primitive("prod", "product over dimensions", rule=same, reference=_prod, gradient=_prod_gradient)


def _extremum_gradient(g: Var, x: Var, *, out: Var, dims: tuple[int, ...], keepdim: bool) -> Var:
    # Shared evenly among equals, as amax and amin define it.
    best = restore(out, x, dims, keepdim)
    ties = P["cast"](P["eq"](x, best), dtype=x.dtype)
    count = P["sum"](ties, dims=dims, keepdim=True)
    return ties * (restore(g, x, dims, keepdim) / count)


def _reduce(f: Any, what: str) -> Any:
    def reference(x: np.ndarray, *, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
        return f(x, axis=dims, keepdims=keepdim)

    return reference


primitive(
    "amax",
    "largest value over dimensions, NaN if any is",
    rule=same,
    reference=_reduce(np.max, "amax"),
    gradient=_extremum_gradient,
)
primitive(
    "amin",
    "smallest value over dimensions, NaN if any is",
    rule=same,
    reference=_reduce(np.min, "amin"),
    gradient=_extremum_gradient,
)
primitive("any", "whether any is true", rule=truth_rule, reference=_reduce(np.any, "any"))
primitive("all", "whether all are true", rule=truth_rule, reference=_reduce(np.all, "all"))


def _arg(f: Any) -> Any:
    def reference(x: np.ndarray, *, dim: int, keepdim: bool) -> np.ndarray:
        return np.asarray(f(x, axis=dim, keepdims=keepdim), np.int64)

    return reference


primitive(
    "argmax",
    "position of the largest, the first if several",
    rule=index_rule,
    reference=_arg(np.argmax),
)
primitive(
    "argmin",
    "position of the smallest, the first if several",
    rule=index_rule,
    reference=_arg(np.argmin),
)


def scan_rule(x: Aval, *, dim: int) -> Aval:
    return x


def _accumulate(f: Any) -> Any:
    def reference(x: np.ndarray, *, dim: int) -> np.ndarray:
        if x.ndim == 0:
            return x
        if x.dtype.itemsize == 2 and x.dtype.kind in "fV":
            return f.accumulate(x.astype(np.float32), axis=dim).astype(x.dtype)
        return f.accumulate(x, axis=dim, dtype=x.dtype)

    return reference


def _reverse_cumsum(v: Var, dim: int) -> Var:
    return P["flip"](P["cumsum"](P["flip"](v, dims=(dim,)), dim=dim), dims=(dim,))


primitive(
    "cumsum",
    "running sum",
    rule=scan_rule,
    reference=_accumulate(np.add),
    gradient=lambda g, x, *, out, dim: _reverse_cumsum(g, dim) if x.ndim else g,
)


def _cumprod_gradient(g: Var, x: Var, *, out: Var, dim: int) -> Var:
    """sum over j >= i of g_j * prod over k <= j, k != i: exact with zeros, O(n^2) memory."""
    if not x.ndim:
        return g
    n = x.shape[dim]
    if n == 0:
        return g
    # [.., n(i), n(k)]: x_k with the i-th replaced by 1, products along k, kept where j >= i.
    last = x.ndim
    order = (*[i for i in range(x.ndim) if i != dim], dim)
    inverse = tuple(int(i) for i in np.argsort(order))
    xs, gs = P["permute"](x, dims=order), P["permute"](g, dims=order)
    lead = xs.shape[:-1]
    rows = P["broadcast"](P["reshape"](xs, shape=(*lead, 1, n)), shape=(*lead, n, n))
    i = P["iota"](shape=(n, n), dim=0, dtype=dtypes.int64)
    k = P["iota"](shape=(n, n), dim=1, dtype=dtypes.int64)
    products = P["cumprod"](P["where"](P["eq"](i, k), 1.0, rows), dim=last)
    terms = P["where"](P["ge"](k, i), conj(products), 0.0)
    weighted = terms * P["reshape"](gs, shape=(*lead, 1, n))
    return P["permute"](P["sum"](weighted, dims=(last,), keepdim=False), dims=inverse)


primitive(
    "cumprod",
    "running product",
    rule=scan_rule,
    reference=_accumulate(np.multiply),
    gradient=_cumprod_gradient,
)


def _xor_of_bits(x: np.ndarray, *, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
    if x.dtype.kind in "fV":
        bits = x.astype(np.float64).view(np.uint64)
    else:
        bits = x.astype(np.int64 if x.dtype.kind != "u" else np.uint64).view(np.uint64)
    return np.bitwise_xor.reduce(bits, axis=dims, keepdims=keepdim)


primitive(
    "xor_of_bits",
    "exclusive or, over dimensions, of the bits of numbers widened to 64",
    rule=lambda x, *, dims, keepdim: Aval(reduced_shape(x.shape, dims, keepdim), dtypes.uint64),
    reference=_xor_of_bits,
    host=True,
)
