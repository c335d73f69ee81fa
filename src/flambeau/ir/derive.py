"""Reverse-mode differentiation of a list of entries, by iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.ir.graph import NUMBERS, Aval, Const, Entry, Var, _prim, recorders

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import Any


def depending(entries: Iterable[Entry], wanted: Collection[int]) -> tuple[list[Entry], set[int]]:
    """The entries through which history reaches ``wanted``, and the slots that depend on it."""
    depends = set(wanted)
    through = []
    for entry in entries:
        # Literals are no slots, but never among them either: no need to tell them apart.
        if entry.grad and not depends.isdisjoint(entry.inputs):
            depends.update(entry.outputs)
            through.append(entry)
    return through, depends


def derive(
    entries: Iterable[Entry],
    wanted: Collection[int],
    seeds: dict[int, Var],
    recorder: Any,
    check: Callable[[Entry, int], None] | None = None,
    barriers: Collection[int] = (),
) -> tuple[dict[int, Var], list[Entry]]:
    """Writes to ``recorder`` the gradients of ``wanted`` given those of some slots (``seeds``).

    What reaches one of ``barriers`` stays there, and is among the results.
    ``check`` is called for each entry with where its gradient's entries begin in the recorder.
    Gives the gradients found, by slot (a wanted slot that nothing reaches is absent), and the
    entries that were differentiated.
    """
    wanted = set(wanted).union(barriers)
    through, depends = depending(entries, wanted)
    grads = {slot: var for slot, var in seeds.items() if slot in depends}
    used = []
    outer, recorders.current = recorders.current, recorder
    try:
        for entry in reversed(through):
            found = [
                None if s in barriers else grads.get(s) if s in wanted else grads.pop(s, None)
                for s in entry.outputs
            ]
            if all(g is None for g in found):
                continue
            start = len(recorder.entries) if check else 0
            pull_back(entry, found, depends, grads)
            used.append(entry)
            if check:
                check(entry, start)
    finally:
        recorders.current = outer
    return {s: grads[s] for s in wanted if s in grads}, used


def operand(i: Any, aval: Aval) -> Any:
    """An entry's operand as its gradient rule sees it."""
    if type(i) is Const and aval.dtype is None:
        return i.value
    return Var(i, aval)


def pull_back(
    entry: Entry, found: list[Var | None], depends: set[int], grads: dict[int, Any]
) -> None:
    """Adds to ``grads`` what the gradients of ``entry``'s outputs mean for its inputs."""
    single = len(entry.outputs) == 1
    g = found[0] if single else tuple(found)
    operands = [operand(i, a) for i, a in zip(entry.inputs, entry.in_avals, strict=True)]
    outs = [Var(s, a) for s, a in zip(entry.outputs, entry.out_avals, strict=True)]
    out = outs[0] if single else tuple(outs)
    for position, i in enumerate(entry.inputs):
        if type(i) is not int or i <= NUMBERS or i not in depends:
            continue
        rule = entry.prim.gradient_of(position)
        if rule is None:
            continue
        contribution = rule(g, *operands, out=out, **entry.attrs)
        if contribution is not None:
            before = grads.get(i)
            grads[i] = contribution if before is None else before + contribution


def vjp(
    f: Callable[..., Sequence[Var | None]],
    operands: Sequence[Var],
    cotangents: Sequence[Var | None],
) -> list[Var | None]:
    """Inside a gradient rule: the gradients of a function written in primitives.

    ``cotangents`` are those of the results of ``f(*operands)``; None where there is none, as in
    what is given back for an operand that nothing reaches.
    """
    recorder = recorders.current
    # Copies: one value may be two operands.
    own = [_prim("clone")(x) for x in operands]
    start = len(recorder.entries)
    outs = f(*own)
    entries = [
        Entry(e.prim, e.inputs, e.outputs, e.attrs, e.in_avals, e.out_avals, True)
        for e in recorder.entries[start:]
    ]
    seeds: dict[int, Var] = {}
    for out, g in zip(outs, cotangents, strict=True):
        if g is not None and out is not None:
            seeds[out.slot] = seeds[out.slot] + g if out.slot in seeds else g
    found, _ = derive(entries, [x.slot for x in own], seeds, recorder)
    return [found.get(x.slot) for x in own]


def slots_read(entries: Iterable[Entry]) -> set[int]:
    """Every slot that some entry reads."""
    return {i for e in entries for i in e.inputs if type(i) is int}
