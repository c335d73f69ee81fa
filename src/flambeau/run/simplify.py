"""Small rewrites of a program that pay at tier 0: each takes entries and gives entries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.graph import Aval, Const, Entry
from flambeau.run.interpreter import called

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# Results with more elements than this are not computed ahead.
FOLD = 1 << 14


def with_inputs(entry: Entry, inputs: tuple) -> Entry:
    """The same entry reading other slots."""
    return Entry(
        entry.prim, inputs, entry.outputs, entry.attrs, entry.in_avals, entry.out_avals, entry.grad
    )


def fold_constants(entries: Sequence[Entry], outs: Collection[int]) -> list[Entry]:
    """Computes what depends on literals alone, such as the gradient of a mean, once."""
    known: dict[int, Any] = {}
    kept = []
    keep = set(outs)
    for e in entries:
        inputs = tuple(known.get(i, i) if i.__class__ is int else i for i in e.inputs)
        foldable = (
            not e.prim.host
            and not e.prim.raises
            and len(e.outputs) == 1
            and e.outputs[0] not in keep
            and all(i.__class__ is Const for i in inputs)
            and all(n.__class__ is int for n in e.out_avals[0].shape)
            and math.prod(e.out_avals[0].shape) <= FOLD
        )
        if foldable:
            with np.errstate(all="ignore"):
                value = called(e, [i.value for i in inputs])
            known[e.outputs[0]] = Const(
                np.ascontiguousarray(value) if e.out_avals[0].shape else value
            )
        else:
            kept.append(with_inputs(e, inputs) if inputs != e.inputs else e)
    return kept


def cancel_permutes(entries: Sequence[Entry], outs: Collection[int]) -> list[Entry]:
    """Reads through permutations of permutations."""
    made: dict[int, Entry] = {}
    kept = []
    for e in entries:
        if e.prim.name == "permute" and e.inputs[0].__class__ is int:
            inner = made.get(e.inputs[0])
            if inner is not None:
                dims = tuple(inner.attrs["dims"][d] for d in e.attrs["dims"])
                e = Entry(
                    e.prim, inner.inputs, e.outputs, {"dims": dims}, inner.in_avals, e.out_avals,
                    e.grad,
                )  # fmt: skip
            made[e.outputs[0]] = e
        kept.append(e)
    return kept


def transpose_products(entries: Sequence[Entry], outs: Collection[int]) -> list[Entry]:
    """``(a @ b).T`` as ``b.T @ a.T``: the result of a weight's gradient lies in memory in order."""
    readers: dict[int, int] = {}
    for e in entries:
        for i in e.inputs:
            if i.__class__ is int:
                readers[i] = readers.get(i, 0) + 1
    products = {
        e.outputs[0]: e
        for e in entries
        if e.prim.name == "matmul" and readers.get(e.outputs[0]) == 1 and e.outputs[0] not in outs
    }
    fresh = 1 + max((s for e in entries for s in e.outputs), default=0)
    kept: list[Entry] = []
    for e in entries:
        product = products.get(e.inputs[0]) if e.prim.name == "permute" else None
        if product is None or not _swaps_last(e.attrs["dims"]):
            kept.append(e)
            continue
        sides = []
        for i, aval in zip(reversed(product.inputs), reversed(product.in_avals), strict=True):
            n = aval.ndim
            dims = (*range(n - 2), n - 1, n - 2)
            out = Aval((*aval.shape[:-2], aval.shape[-1], aval.shape[-2]), aval.dtype)
            kept.append(Entry(e.prim, (i,), (fresh,), {"dims": dims}, (aval,), (out,), False))
            sides.append((fresh, out))
            fresh += 1
        kept = [k for k in kept if k is not product]
        kept.append(
            Entry(
                product.prim,
                tuple(s for s, _ in sides),
                e.outputs,
                {},
                tuple(a for _, a in sides),
                e.out_avals,
                e.grad,
            )
        )
    return kept


def share_common(entries: Sequence[Entry], outs: Collection[int]) -> list[Entry]:
    """Computes equal entries once; an output keeps an entry of its own."""
    first: dict[Any, tuple[int, ...]] = {}
    place: dict[int, int] = {}
    keep = set(outs)
    kept = []
    for e in entries:
        inputs = tuple(place.get(i, i) if i.__class__ is int else i for i in e.inputs)
        if inputs != e.inputs:
            e = with_inputs(e, inputs)
        literal = tuple(_literal(i) if i.__class__ is Const else i for i in inputs)
        try:
            key = (e.prim, literal, tuple(e.attrs.items()))
            before = first.setdefault(key, e.outputs)
        except TypeError:
            # An attribute that cannot be a key: such an entry is left alone.
            before = e.outputs
        if before is e.outputs or not keep.isdisjoint(e.outputs):
            kept.append(e)
        else:
            place.update(zip(e.outputs, before, strict=True))
    return kept


def _literal(c: Const) -> Any:
    """A literal as part of a key: equal numbers of other types differ, arrays are themselves."""
    value = c.value
    if isinstance(value, (np.ndarray, np.generic)):
        return id(value)
    return (value.__class__, repr(value))


def _swaps_last(dims: tuple[int, ...]) -> bool:
    n = len(dims)
    return n >= 2 and dims == (*range(n - 2), n - 1, n - 2)


# In this order: products are turned before the permutes that this makes are cancelled.
PASSES = (fold_constants, transpose_products, cancel_permutes, share_common)


def simplify(entries: Sequence[Entry], outs: Collection[int]) -> list[Entry]:
    """All passes, one after the other."""
    for rewrite in PASSES:
        entries = rewrite(entries, outs)
    return list(entries)
