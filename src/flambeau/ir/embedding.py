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
