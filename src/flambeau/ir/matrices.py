"""What gradients of matrix functions are written with: triangles, diagonals, products."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, conj
from flambeau.ir.products import swap

P = PRIMITIVES


def h(x: Var) -> Var:
    """Conjugate transpose."""
    return swap(conj(x))


def mm(*xs: Var) -> Var:
    product = xs[0]
    for x in xs[1:]:
        product = P["matmul"](product, x)
    return product


def iota(n: int, m: int, dim: int) -> Var:
    return P["iota"](shape=(n, m), dim=dim, dtype=dtypes.int64)


def tril(x: Var, k: int = 0) -> Var:
    n, m = x.shape[-2:]
    return P["where"](P["ge"](iota(n, m, 0) + k, iota(n, m, 1)), x, 0.0)


def triu(x: Var, k: int = 0) -> Var:
    n, m = x.shape[-2:]
    return P["where"](P["le"](iota(n, m, 0) + k, iota(n, m, 1)), x, 0.0)


def diagonal_part(x: Var) -> Var:
    n, m = x.shape[-2:]
    return P["where"](P["eq"](iota(n, m, 0), iota(n, m, 1)), x, 0.0)


def diagonal(x: Var) -> Var:
    """The diagonals of square matrices, as rows."""
    return P["sum"](diagonal_part(x), dims=(x.ndim - 1,), keepdim=False)


def row(v: Var) -> Var:
    return P["reshape"](v, shape=(*v.shape[:-1], 1, v.shape[-1]))


def column(v: Var) -> Var:
    return P["reshape"](v, shape=(*v.shape, 1))


def eye(n: int, dtype: Any) -> Var:
    return P["cast"](P["eq"](iota(n, n, 0), iota(n, n, 1)), dtype=dtype)


def diag(v: Var) -> Var:
    """Matrices with rows as their diagonals."""
    return eye(v.shape[-1], v.dtype) * row(v)


def cast_like(x: Var, like: Var) -> Var:
    return x if x.dtype is like.dtype else P["cast"](x, dtype=like.dtype)


def part(x: Var, dim: int, start: int, size: int) -> Var:
    return P["slice"](x, start, dims=(dim % x.ndim,), sizes=(size,), steps=(1,))


def sum_of(parts: list[Var | None]) -> Var | None:
    found = [p for p in parts if p is not None]
    total = found[0] if found else None
    for p in found[1:]:
        total = total + p
    return total


def info(x: Aval) -> Aval:
    return Aval(x.shape[:-2], dtypes.int32)
