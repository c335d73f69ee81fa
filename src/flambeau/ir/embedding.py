"""Rows of a table: looked up, and gathered back."""

from __future__ import annotations

import numpy as np

from flambeau import dtypes
from flambeau.ir import reference
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, primitive

P = PRIMITIVES


def _embedding(weight: np.ndarray, index: np.ndarray, *, padding: int | None) -> np.ndarray:
    try:
        return reference.embedding(weight, np.asarray(index))
    except IndexError:
        raise IndexError("index out of range in self") from None


def _embedding_gradient(
    g: np.ndarray, index: np.ndarray, *, rows: int, padding: int | None
) -> np.ndarray:
    out = reference.embedding_gradient(g, np.asarray(index), rows=rows)
    if padding is not None:
        out[padding] = 0
    return out


def _lookup_again(h: Var, g: Var, index: Var, *, out: Var, rows: int, padding: int | None) -> Var:
    found = P["embedding"](h, index, padding=padding)
    if padding is None:
        return found
    is_padding = P["eq"](P["reshape"](index, shape=(*index.shape, 1)), padding)
    return P["where"](is_padding, 0.0, found)


def _frequency(index: np.ndarray, *, rows: int, dtype: dtypes.dtype) -> np.ndarray:
    index = np.asarray(index)
    return np.bincount(index.ravel(), minlength=rows)[index].astype(dtype.numpy)


primitive(
    "embedding",
    "the rows of a table at given places; row ``padding`` gets no gradient",
    rule=lambda weight, index, *, padding: Aval((*index.shape, *weight.shape[1:]), weight.dtype),
    reference=_embedding,
    gradient=(
        lambda g, weight, index, *, out, padding: P["embedding_gradient"](
            g, index, rows=weight.shape[0], padding=padding
        ),
        None,
    ),
)
primitive(
    "embedding_gradient",
    "rows added to the places of a table they came from",
    rule=lambda g, index, *, rows, padding: Aval((rows, *g.shape[index.ndim :]), g.dtype),
    reference=_embedding_gradient,
    gradient=(_lookup_again, None),
)
primitive(
    "frequency",
    "how often each number (below ``rows``) occurs, at its places",
    rule=lambda index, *, rows, dtype: Aval(index.shape, dtype),
    reference=_frequency,
)
primitive(
    "shared_gradient",
    "x, whose gradient is divided by the second operand",
    rule=lambda x, count: x,
    reference=lambda x, count: x,
    gradient=(lambda g, x, count, *, out: g / count, None),
)


def _bag_argmax(rows: np.ndarray, bag: np.ndarray, kept: np.ndarray, *, bags: int) -> np.ndarray:
    out = np.full((bags, rows.shape[1]), -1, np.int64)
    best = np.full((bags, rows.shape[1]), -np.inf, np.float64)
    for i in range(len(rows)):
        if kept[i]:
            b = bag[i]
            better = (rows[i] > best[b]) | (out[b] < 0)
            out[b] = np.where(better, i, out[b])
            best[b] = np.where(better, rows[i], best[b])
    return out


primitive(
    "bag_argmax",
    "the row of each bag with the greatest element, by column; -1 for an empty bag",
    rule=lambda rows, bag, kept, *, bags: Aval((bags, rows.shape[1]), dtypes.int64),
    reference=_bag_argmax,
)


def _pair_rows(*, n: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.triu_indices(n, 1)
    return first.astype(np.int64), second.astype(np.int64)


primitive(
    "pair_rows",
    "the first and the second of all pairs i < j below n",
    rule=lambda *, n: (Aval((n * (n - 1) // 2,), dtypes.int64),) * 2,
    reference=_pair_rows,
)
