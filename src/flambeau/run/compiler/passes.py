"""Rewrites of a program that make better kernels: each takes entries and gives entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.ir.graph import Aval, Const, Entry
from flambeau.ir.primitive import PRIMITIVES
from flambeau.run.compiler.passes_halves import widen_halves
from flambeau.run.compiler.sizes import whole

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["PASSES", "fill_last", "join_slices", "rewrite"]


def _uses(entries: Sequence[Entry], outs: Collection[int]) -> dict[int, int]:
    """How often each slot is read; outputs count."""
    found: dict[int, int] = dict.fromkeys(outs, 1)
    for e in entries:
        for i in e.inputs:
            if i.__class__ is int:
                found[i] = found.get(i, 0) + 1
    return found


def _terms(root: Entry, made: dict[int, Entry], uses: dict[int, int]) -> list[tuple[Any, Aval]]:
    """The terms of a sum that is written as a tree of additions."""
    found: list[tuple[Any, Aval]] = []
    stack: list[tuple[Any, Aval]] = [(root.outputs[0], root.out_avals[0])]
    while stack:
        i, aval = stack.pop()
        e = made.get(i) if i.__class__ is int else None
        is_sum = e is not None and e.prim.name == "add" and (e is root or uses[i] == 1)
        if is_sum and all(a.shape == root.out_avals[0].shape for a in e.in_avals):
            stack.extend(zip(reversed(e.inputs), reversed(e.in_avals), strict=True))
        else:
            found.append((i, aval))
    return found


def _piece(e: Entry | None) -> tuple[int, int] | None:
    """(dimension, start) of an entry that is zeros but for a plain run of one dimension."""
    if e is None or e.prim.name != "unslice" or len(e.attrs["dims"]) != 1:
        return None
    start = e.inputs[1]
    if e.attrs["steps"] != (1,) or start.__class__ is not Const:
        return None
    return e.attrs["dims"][0], whole(start.value)


def join_slices(entries: Sequence[Entry], outs: Collection[int]) -> list[Entry]:
    """A sum of gradients of disjoint slices as the slices laid side by side.

    What ``chunk`` and indexing leave behind: ``n`` zero-filled arrays added up become one that is
    written once.
    """
    uses = _uses(entries, outs)
    made = {e.outputs[0]: e for e in entries if len(e.outputs) == 1}
    inner = set()
    for e in entries:
        if e.prim.name == "add":
            for i in e.inputs:
                other = made.get(i) if i.__class__ is int else None
                if other is not None and other.prim.name == "add" and uses[i] == 1:
                    if other.out_avals[0].shape == e.out_avals[0].shape:
                        inner.add(i)
    fresh = 1 + max((s for e in entries for s in e.outputs), default=-1)
    kept: list[Entry] = []
    for e in entries:
        if e.prim.name != "add" or e.outputs[0] in inner:
            kept.append(e)
            continue
        terms = _terms(e, made, uses)
        pieces: dict[int, list[tuple[int, Entry]]] = {}
        others = []
        for i, aval in terms:
            source = made.get(i) if i.__class__ is int else None
            place = _piece(source)
            if place is None or uses[i] != 1:
                others.append((i, aval))
            else:
                pieces.setdefault(place[0], []).append((place[1], source))
        if not any(len(p) > 1 for p in pieces.values()):
            kept.append(e)
            continue
        out = e.out_avals[0]
        sums: list[tuple[Any, Aval]] = list(others)
        for dim, found in pieces.items():
            for layer in _layers(found, dim):
                joined, fresh = _joined(layer, dim, out, kept, fresh)
                sums.append((joined, out))
        total, aval = sums[0]
        for k, (i, other) in enumerate(sums[1:]):
            last = k == len(sums) - 2
            slot = e.outputs[0] if last else fresh
            fresh += not last
            kept.append(
                Entry(PRIMITIVES["add"], (total, i), (slot,), {}, (aval, other), (out,), e.grad)
            )
            total, aval = slot, out
        if len(sums) == 1:
            kept.append(
                Entry(PRIMITIVES["detach"], (total,), e.outputs, {}, (out,), (out,), e.grad)
            )
    return kept


def _layers(found: list[tuple[int, Entry]], dim: int) -> list[list[tuple[int, Entry]]]:
    """The pieces in as few lists as it takes for none of a list to overlap."""
    layers: list[list[tuple[int, Entry]]] = []
    ends: list[int] = []
    for start, e in sorted(found, key=lambda item: item[0]):
        end = start + e.in_avals[0].shape[dim]
        for k, reached in enumerate(ends):
            if reached <= start:
                layers[k].append((start, e))
                ends[k] = end
                break
        else:
            layers.append([(start, e)])
            ends.append(end)
    return layers


def _joined(
    layer: list[tuple[int, Entry]], dim: int, out: Aval, kept: list[Entry], fresh: int
) -> tuple[int, int]:
    """Appends the pieces of a layer side by side, zeros between: its slot, the next free one."""
    if len(layer) == 1:
        return layer[0][1].outputs[0], fresh
    inputs: list[Any] = []
    avals: list[Aval] = []
    at = 0

    def gap(upto: int) -> None:
        nonlocal fresh
        if upto > at:
            shape = (*out.shape[:dim], upto - at, *out.shape[dim + 1 :])
            aval = Aval(shape, out.dtype)
            attrs = {"shape": shape, "dtype": out.dtype}
            kept.append(
                Entry(
                    PRIMITIVES["full"],
                    (Const(0),),
                    (fresh,),
                    attrs,
                    (Aval((), None),),
                    (aval,),
                    False,
                )
            )
            inputs.append(fresh)
            avals.append(aval)
            fresh += 1

    for start, e in layer:
        gap(start)
        inputs.append(e.inputs[0])
        avals.append(e.in_avals[0])
        at = start + e.in_avals[0].shape[dim]
    gap(out.shape[dim])
    kept.append(
        Entry(
            PRIMITIVES["concat"], tuple(inputs), (fresh,), {"dim": dim}, tuple(avals), (out,), False
        )
    )
    return fresh, fresh + 1


def fill_last(entries: Sequence[Entry], outs: Collection[int]) -> list[Entry]:
    """Permutes a slice before zeros are put around it: the zeros are then written once, in place.

    What indexing a transposed value leaves behind, as ``output[:, -1]`` of a recurrent layer.
    """
    uses = _uses(entries, outs)
    fillings = {
        e.outputs[0]: e for e in entries if e.prim.name == "unslice" and uses[e.outputs[0]] == 1
    }
    fresh = 1 + max((s for e in entries for s in e.outputs), default=-1)
    kept: list[Entry] = []
    for e in entries:
        inner = fillings.get(e.inputs[0]) if e.prim.name == "permute" else None
        if inner is None or e.inputs[0] in outs:
            kept.append(e)
            continue
        order = e.attrs["dims"]
        small = inner.in_avals[0]
        turned = Aval(tuple(small.shape[d] for d in order), small.dtype)
        kept.append(Entry(e.prim, inner.inputs[:1], (fresh,), e.attrs, (small,), (turned,), e.grad))
        attrs = {
            **inner.attrs,
            "dims": tuple(order.index(d) for d in inner.attrs["dims"]),
            "shape": e.out_avals[0].shape,
        }
        kept.append(
            Entry(
                inner.prim, (fresh, *inner.inputs[1:]), e.outputs, attrs,
                (turned, *inner.in_avals[1:]), e.out_avals, inner.grad,
            )
        )  # fmt: skip
        fresh += 1
    dead = {e.outputs[0] for e in kept if e.outputs[0] in fillings} - {
        i for e in kept for i in e.inputs if i.__class__ is int
    }
    return [e for e in kept if e.outputs[0] not in dead or e.outputs[0] in outs]


# Fillings before sums: what they are put into may then be one side of a sum of slices.
PASSES = (widen_halves, fill_last, join_slices)


def rewrite(entries: Sequence[Entry], outs: Collection[int]) -> list[Entry]:
    """All passes, one after the other."""
    for one in PASSES:
        entries = one(entries, outs)
    return list(entries)
