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
    # As PyTorch has it: each result is rounded, what goes on is not.
    wider = {"float16": np.float32, "bfloat16": np.float32,
             "float32": np.float64, "complex64": np.complex128}  # fmt: skip

    def reference(x: np.ndarray, *, dim: int) -> np.ndarray:
        if x.ndim == 0:
            return x
        wide = x.astype(wider.get(x.dtype.name, x.dtype), copy=False)
        if f is np.add and wide.dtype.kind in "fc":
            # It begins with zero, so that no sum is minus zero.
            wide = wide + wide.dtype.type(0)
        with np.errstate(over="ignore"):
            return f.accumulate(wide, axis=dim, dtype=wide.dtype).astype(x.dtype, copy=False)

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


class _Omissions:
    """Running products of the last axis with the i-th factor left out: [.., i, k], k >= i.

    Exact with zeros; O(n^2) memory.
    """

    def __init__(self, x: Var, dim: int) -> None:
        self.n = n = x.shape[dim]
        self.last = x.ndim
        self.order = (*[i for i in range(x.ndim) if i != dim], dim)
        xs = self.turned(x)
        self.lead = xs.shape[:-1]
        i = P["iota"](shape=(n, n), dim=0, dtype=dtypes.int64)
        k = P["iota"](shape=(n, n), dim=1, dtype=dtypes.int64)
        self.left_out, self.behind = P["eq"](i, k), P["ge"](k, i)
        self.factors = P["where"](self.left_out, 1.0, self.across(xs))
        self.products = P["cumprod"](self.factors, dim=self.last)

    def turned(self, v: Var) -> Var:
        return P["permute"](v, dims=self.order)

    def across(self, v: Var) -> Var:
        """A value along k, the same for each i."""
        rows = P["reshape"](v, shape=(*self.lead, 1, self.n))
        return P["broadcast"](rows, shape=(*self.lead, self.n, self.n))

    def down(self, v: Var) -> Var:
        """A value along i, the same for each k."""
        return P["reshape"](v, shape=(*self.lead, self.n, 1))

    def total(self, v: Var, over_i: bool = False) -> Var:
        """Summed over k (or i) where k >= i, the axis back in its place."""
        dims = (self.last - 1 if over_i else self.last,)
        inverse = tuple(int(i) for i in np.argsort(self.order))
        return P["permute"](P["sum"](v, dims=dims, keepdim=False), dims=inverse)


def _cumprod_gradient(g: Var, x: Var, *, out: Var, dim: int) -> Var:
    """sum over j >= i of g_j * prod over k <= j, k != i."""
    if not x.ndim or x.shape[dim] == 0:
        return g
    if not x.dtype.is_complex:
        return P["cumprod_gradient"](g, x, out, dim=dim)
    o = _Omissions(x, dim)
    terms = P["where"](o.behind, conj(o.products), 0.0)
    return o.total(terms * o.across(o.turned(g)))


def _cumprod_backward(g: np.ndarray, x: np.ndarray, y: np.ndarray, *, dim: int) -> np.ndarray:
    """In a few passes: before the first zero by division, at it from what follows, then 0."""
    if x.dtype.itemsize == 2:
        wide = [v.astype(np.float32) for v in (g, x, y)]
        return _cumprod_backward(*wide, dim=dim).astype(x.dtype)

    def following(v: np.ndarray) -> np.ndarray:
        return np.flip(np.add.accumulate(np.flip(v, dim), axis=dim, dtype=v.dtype), dim)

    zero = x == 0
    with np.errstate(all="ignore"):
        if not zero.any():
            found = following(g * y)
            found /= x
            return found
        count = np.add.accumulate(zero, axis=dim, dtype=np.int64)
        first = zero & (count == 1)
        other = np.multiply.accumulate(np.where(first, 1, x), axis=dim, dtype=x.dtype)
        before = following(np.where(count == 0, g * y, 0)) / np.where(zero, 1, x)
        at = following(np.where(count == 1, g * other, 0))
    return np.where(first, at, np.where(count == 0, before, 0)).astype(x.dtype)


def _from_product(gg: Var, g: Var, x: Var, y: Var, *, out: Var, dim: int) -> Var:
    o = _Omissions(x, dim)
    weights = o.across(o.turned(g)) * o.down(o.turned(gg))
    weights = P["where"](o.behind, weights, 0.0)
    slopes = P["cumprod_gradient"](weights, o.factors, o.products, dim=o.last)
    return o.total(P["where"](o.left_out, 0.0, slopes), over_i=True)


def _from_gradient(gg: Var, g: Var, x: Var, y: Var, *, out: Var, dim: int) -> Var:
    o = _Omissions(x, dim)
    terms = P["where"](o.behind, o.products, 0.0)
    return o.total(terms * o.down(o.turned(gg)), over_i=True)


primitive(
    "cumprod_gradient",
    "from a running product's gradient, its operand and itself: the operand's gradient",
    rule=lambda g, x, y, *, dim: x,
    reference=_cumprod_backward,
    # The product is a function of the operand, whose gradient has its part.
    gradient=(_from_gradient, _from_product, None),
)
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
