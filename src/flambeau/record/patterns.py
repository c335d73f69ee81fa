"""What a rule leaves for one parameter, to be left again for others like it without its running.

An optimizer's rule runs for every parameter whenever its step is new: at the first step, and
wherever other shapes came before it. What it leaves depends on what its tensors are and on which
of its numbers are given at run time, so it is kept, with slots by what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau.ir.graph import NUMBERS, Const
from flambeau.record import checking
from flambeau.record.builder import Builder, Num, new_tensor
from flambeau.record.trace import open_

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from flambeau.ir.graph import Aval, Entry
    from flambeau.ir.primitive import Primitive

__all__ = ["repeated"]

# Kinds of slots: a tensor's by its place, a number's by its name, an entry's result by its place.
TENSOR, NUMBER, RESULT, LITERAL = range(4)
# So many are kept.
MOST = 1 << 10


class Line(NamedTuple):
    """An entry, its inputs as pairs (kind, which)."""

    prim: Primitive
    inputs: tuple[tuple[int, Any], ...]
    attrs: dict[str, Any]
    in_avals: tuple[Aval, ...]
    out_avals: tuple[Aval, ...]
    grad: bool


class Pattern(NamedTuple):
    """What a rule left: its entries, what it wrote to which tensor, and what it gave back."""

    lines: tuple[Line, ...]
    # (place of the tensor, place of the result, meta)
    effects: tuple[tuple[int, int, Any], ...]
    # (name, place of the result, meta)
    results: tuple[tuple[str, int, Any], ...]


_patterns: dict[Hashable, Pattern] = {}


def repeated(
    rule: Hashable,
    tensors: Sequence[Any],
    numbers: Mapping[str, Any],
    run: Callable[[], list[tuple[str, Any]]],
) -> list[tuple[str, Any]]:
    """Inside a body: what ``run`` gives, new tensors by name; it runs only if it has to.

    ``run`` is a pure rule of ``tensors`` and ``numbers``, without history, which ``rule`` names.
    """
    builder = open_.trace.builder
    slots = [builder.slot_of(t) for t in tensors]
    if checking.ENABLED or len(set(map(id, tensors))) < len(tensors) or not _distinct(slots):
        return run()
    given = tuple([(k, Num if v.__class__ is Num else (type(v), v)) for k, v in numbers.items()])
    key = (rule, tuple([t._meta for t in tensors]), given, builder.grad)
    pattern = _patterns.get(key)
    if pattern is not None:
        return _again(builder, pattern, tensors, slots, numbers)
    entries, effects, limits = len(builder.entries), len(builder.effects), len(builder.limits)
    first = builder.next_slot
    results = run()
    if len(builder.limits) == limits:
        known = {slot: (TENSOR, i) for i, slot in enumerate(slots)}
        known |= {v.slot: (NUMBER, k) for k, v in numbers.items() if v.__class__ is Num}
        pattern = _pattern(
            builder.entries[entries:], builder.effects[effects:], results, tensors, known, first
        )
        if pattern is not None:
            if len(_patterns) >= MOST:
                _patterns.clear()
            _patterns[key] = pattern
    return results


def _distinct(slots: Sequence[Any]) -> bool:
    return all([s.__class__ is int for s in slots]) and len(set(slots)) == len(slots)


def _pattern(
    entries: Sequence[Entry],
    effects: Sequence[tuple[Any, int, Any]],
    results: Sequence[tuple[str, Any]],
    tensors: Sequence[Any],
    known: Mapping[int, tuple[int, Any]],
    first: int,
) -> Pattern | None:
    """What was left, if it is made of nothing but the tensors and the numbers."""
    lines = []
    for e in entries:
        inputs = []
        for i in e.inputs:
            if i.__class__ is Const:
                if not isinstance(i.value, (bool, int, float, complex)):
                    return None
                inputs.append((LITERAL, i))
            elif i in known:
                inputs.append(known[i])
            elif i.__class__ is int and i >= first and i > NUMBERS:
                inputs.append((RESULT, i - first))
            else:
                return None
        lines.append(Line(e.prim, tuple(inputs), e.attrs, e.in_avals, e.out_avals, e.grad))
    places = {id(t): i for i, t in enumerate(tensors)}
    if not all([id(t) in places and slot >= first for t, slot, _ in effects]):
        return None
    if not all([t._trace is open_.trace and t._slot >= first for _, t in results]):
        return None
    return Pattern(
        tuple(lines),
        tuple([(places[id(t)], slot - first, m) for t, slot, m in effects]),
        tuple([(name, t._slot - first, t._meta) for name, t in results]),
    )


def _again(
    builder: Builder,
    pattern: Pattern,
    tensors: Sequence[Any],
    slots: Sequence[int],
    numbers: Mapping[str, Any],
) -> list[tuple[str, Any]]:
    tr, first = builder.trace, builder.next_slot
    for line in pattern.lines:
        inputs = []
        for kind, which in line.inputs:
            if kind == RESULT:
                inputs.append(first + which)
            elif kind == TENSOR:
                inputs.append(slots[which])
            elif kind == NUMBER:
                inputs.append(numbers[which].slot)
            else:
                inputs.append(which)
        builder.append(
            line.prim, tuple(inputs), line.in_avals, line.attrs, line.out_avals, line.grad
        )
    for at, slot, m in pattern.effects:
        builder.assign(tensors[at], new_tensor(tr, first + slot, m))
    return [(name, new_tensor(tr, first + slot, m)) for name, slot, m in pattern.results]
