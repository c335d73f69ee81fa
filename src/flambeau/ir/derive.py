"""Reverse-mode differentiation of a list of entries, by iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.ir.graph import NUMBERS, Aval, Const, Entry, Var, _prim, recorders

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import Any


class _Zero:
    """A gradient that is known to be zero: nothing is computed of it until somebody wants it."""

    def __repr__(self) -> str:
        return "zero"


ZERO: Any = _Zero()


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
    wholes: Mapping[int, Sequence[Var]] | None = None,
) -> tuple[dict[int, Var], list[Entry]]:
    """Writes to ``recorder`` the gradients of ``wanted`` given those of some slots (``seeds``).

    What reaches one of ``barriers`` stays there, and is among the results.
    ``check`` is called for each entry with where its gradient's entries begin in the recorder.
    ``wholes``, for gradients that carry history themselves: slot -> the operands that the gradient
    of its function is said to depend on (``record.builder.whole``).
    Gives the gradients found, by slot (a wanted slot that nothing reaches is absent), and the
    entries that were differentiated.
    """
    wanted = set(wanted).union(barriers)
    through, depends = depending(entries, wanted)
    grads: dict[int, Any] = {slot: var for slot, var in seeds.items() if slot in depends}
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
            if ZERO in found:
                found = [None if g is ZERO else g for g in found]
                if all(g is None for g in found):
                    pull_zero(entry, depends, grads)
                    continue
            if wholes:
                found = [
                    g if g is None or s not in wholes else _prim("tied")(g, *wholes[s])
                    for s, g in zip(entry.outputs, found, strict=True)
                ]
            start = len(recorder.entries) if check else 0
            pull_back(entry, found, depends, grads)
            used.append(entry)
            if check:
                check(entry, start)
        kept = {s: grads[s] for s in wanted if s in grads}
        if ZERO in kept.values():
            avals = avals_of(through)
            for s, g in kept.items():
                if g is ZERO:
                    kept[s] = _prim("full")(0.0, shape=avals[s].shape, dtype=avals[s].dtype)
    finally:
        recorders.current = outer
    return kept, used


def avals_of(entries: Iterable[Entry]) -> dict[int, Aval]:
    """The abstract values of the slots that entries read and make."""
    found: dict[int, Aval] = {}
    for e in entries:
        found.update((i, a) for i, a in zip(e.inputs, e.in_avals, strict=True) if type(i) is int)
        found.update(zip(e.outputs, e.out_avals, strict=True))
    return found


def pull_zero(entry: Entry, depends: set[int], grads: dict[int, Any]) -> None:
    """``pull_back`` where the gradients of all outputs are zero: so are those of the inputs."""
    for position, (i, aval) in enumerate(zip(entry.inputs, entry.in_avals, strict=True)):
        if type(i) is not int or i <= NUMBERS or i not in depends:
            continue
        real = aval.dtype.is_floating_point or aval.dtype.is_complex
        if real and entry.prim.gradient_of(position) is not None:
            grads.setdefault(i, ZERO)


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
        if contribution is ZERO:
            grads.setdefault(i, ZERO)
        elif contribution is not None:
            before = grads.get(i)
            first = before is None or before is ZERO
            grads[i] = contribution if first else before + contribution


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
    """Every slot whose value some entry reads."""
    return {
        i
        for e in entries
        for i in (e.inputs if e.prim.name != "tied" else e.inputs[:1])
        if type(i) is int
    }
