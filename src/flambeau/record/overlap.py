"""Tensors that share memory: a call that writes to one of them must not read part of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flambeau.ir.shape import is_dense
from flambeau.record.alias import spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["overlap", "refuse_overlap", "refuse_reading", "refuse_repeated"]

# What refuses to write to the whole of what it reads, too: its places are not those that it reads.
_APART = frozenset({
    "cat", "stack", "gather", "index_select", "take", "cross", "kthvalue", "masked_select",
    "index_add", "index_copy", "index_put", "put", "scatter", "scatter_add", "scatter_reduce",
    "index_reduce",
})  # fmt: skip
_IN_PLACE = frozenset(f"{start}{name}_" for name in _APART for start in ("", "_"))
# What reads all of its operands, or all but the target, before it writes; reductions.
_COPYING = frozenset({
    "mm", "matmul", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "softmax",
    "log_softmax", "triu", "tril", "inverse", "hstack", "vstack", "diff", "outer", "dot",
    "masked_scatter", "fill", "masked_fill", "index_fill",
})  # fmt: skip
_REDUCING = frozenset({
    "linalg", "sum", "nansum", "mean", "nanmean", "prod", "amax", "amin", "max", "min", "var",
    "std", "logsumexp", "all", "any",
})  # fmt: skip


def overlap(a: Any, b: Any) -> str:
    """How two tensors share memory: not (""), wholly ("whole", as one another), or in "part"."""
    if a is b:
        return "whole"
    if a._storage is not b._storage:
        return ""
    spans = []
    for t in (a, b):
        shape, strides, offset = spec_of(t)
        if 0 in shape or not is_dense(shape, strides):
            # Views with gaps may lie between each other's elements: PyTorch does not look.
            return ""
        size = t.itemsize
        spans.append((offset * size, (offset + math.prod(shape)) * size, strides))
    if spans[0] == spans[1]:
        return "whole"
    return "part" if spans[0][0] < spans[1][1] and spans[1][0] < spans[0][1] else ""


def refuse_repeated(t: Any) -> None:
    """Refuses to write to a tensor that has several elements at one place, as ``expand`` makes.

    Raises ``RuntimeError``.
    """
    spec = t._spec
    if spec is None or 0 in spec[0]:
        return
    if any(n > 1 and not step for n, step in zip(spec[0], spec[1], strict=True)):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )


def refuse_overlap(target: Any, inputs: Sequence[Any], name: str) -> None:
    """Refuses to write the result of ``name`` to memory that it reads, where PyTorch does.

    Raises ``RuntimeError`` if one of ``inputs`` shares part of the memory of ``target``.
    """
    name = name.strip("_")
    if name in _COPYING or name.split("_")[0] in _REDUCING:
        return
    for t in inputs:
        found = overlap(t, target)
        if found == "part" or (found and name in _APART):
            raise RuntimeError(
                "unsupported operation: some elements of the input tensor and the written-to "
                "tensor refer to a single memory location. Please clone() the tensor before "
                "performing the operation."
            )


def refuse_reading(name: str, arguments: Sequence[Any], effects: Sequence[Any]) -> None:
    """``refuse_overlap`` for a call in place: ``effects`` begin with places of what it writes."""
    if len(arguments) < 2:
        return
    for effect in effects:
        at = effect[0]
        target = arguments[at]
        storage = target._storage
        if storage is not None and storage.shared:
            others = [t for i, t in enumerate(arguments) if i != at and t._storage is storage]
        elif name in _IN_PLACE:
            others = [t for i, t in enumerate(arguments) if i != at and t is target]
        else:
            continue
        if others:
            refuse_overlap(target, others, name)
