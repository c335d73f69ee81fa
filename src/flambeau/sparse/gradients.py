"""Sparse tensors where autograd meets them: as roots and inputs of a pass, and as gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import flambeau
from flambeau.autograd.history import PyNode
from flambeau.record.meta import meta
from flambeau.record.trace import open_
from flambeau.sparse import places
from flambeau.sparse.coo import coo
from flambeau.sparse.dispatch import is_sparse
from flambeau.sparse.tensor import SparseTensor
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def strided_outputs(outputs: Any) -> Any:
    """Results with the values in place of sparse tensors."""
    if isinstance(outputs, (list, tuple)):
        return tuple(strided_outputs(o) for o in outputs)
    return outputs._values_ if is_sparse(outputs) else outputs


def by_values(tensors: Sequence[Any], gradients: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Roots of a pass and their gradients, with the values in place of sparse tensors."""
    roots, seeds = [], []
    for t, g in zip(tensors, gradients, strict=True):
        if isinstance(t, SparseTensor):
            if g is not None and g.shape == t.shape:
                g = t._values_like(g)
            elif g is None and t.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            t = t._values_
        roots.append(t)
        seeds.append(g)
    return roots, seeds


def added(a: Any, b: Any) -> Tensor:
    """The sum of two gradients, of which one, at least, is sparse."""
    if is_sparse(a) and is_sparse(b):
        return a + b
    return b + a if is_sparse(a) else a + b


def of_rows(
    weight: Tensor,
    index: np.ndarray,
    padding: int | None,
    forward: Callable[[Tensor], Tensor],
    refusal: str | None = None,
) -> Tensor:
    """``forward(weight)``, rows of a table at ``index``, whose gradient is a sparse tensor: of the
    rows that were looked up, in that order, but for those of ``padding``.

    ``refusal`` is what a backward is refused with.
    """
    if not (open_.state.grad and weight.requires_grad):
        return forward(weight)
    size, width = tuple(weight.shape), weight.shape[1]
    flat = index.reshape(-1)

    def backward(grads: list[Any]) -> list[Any]:
        if refusal is not None:
            raise RuntimeError(refusal)
        rows, at = grads[0].reshape(-1, width), flat
        if padding is not None and (flat == padding).any():
            kept = np.flatnonzero(flat != padding)
            rows, at = places.taken(rows, kept), flat[kept]
        return [coo(places.index_tensor(at[None]), rows, size)]

    node = PyNode("EmbeddingBackward0", [weight], backward)
    with flambeau.no_grad():
        found = forward(weight.detach())
    found._value()
    found._trace = found._btrace = None
    found._seen = -1
    found._meta = meta(found._meta.shape, found._meta.dtype, True, False)
    found._hist = (node, 0)
    return found
