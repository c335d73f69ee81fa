"""Tier 0: runs the entries of a program with the primitives' NumPy references."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.dtypes import bfloat16
from flambeau.ir.graph import NUMBERS, Const, Entry
from flambeau.ir.scalars import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def untied(entry: Entry) -> Entry:
    """A ``tied`` value without what it is tied to: that is for its history alone."""
    return Entry(
        entry.prim, entry.inputs[:1], entry.outputs, {}, entry.in_avals[:1], entry.out_avals,
        entry.grad,
    )  # fmt: skip


def needed(entries: Iterable[Entry], outs: Iterable[int], ties: bool = False) -> list[Entry]:
    """The entries that the outputs depend on, in order; ``ties``: or whose history they have."""
    wanted = set(outs)
    kept = []
    for entry in reversed(list(entries)):
        if not wanted.isdisjoint(entry.outputs):
            if entry.prim.name == "tied" and not ties and len(entry.inputs) > 1:
                entry = untied(entry)
            kept.append(entry)
            wanted.update(entry.inputs)
    kept.reverse()
    return kept


def narrow(value: Any) -> Any:
    """A result of dtype bfloat16 in its own type: with a Python number NumPy makes it float32."""
    numpy = bfloat16.numpy
    return value if value.dtype == numpy else value.astype(numpy)


def called(entry: Entry, args: Sequence[Any]) -> Any:
    """The reference's result, in the entry's dtype."""
    result = _called(entry, args)
    if len(entry.outputs) == 1 and entry.out_avals[0].dtype is bfloat16:
        return narrow(result)
    return result


def _called(entry: Entry, args: Sequence[Any]) -> Any:
    """Python integers that an integer dtype does not hold wrap, as in C."""
    try:
        return entry.prim.reference(*args, **entry.attrs)
    except OverflowError:
        kinds = [a.dtype.numpy for a in (*entry.out_avals, *entry.in_avals) if a.dtype is not None]
        kind = next((k for k in kinds if k.kind in "iu"), None)
        if kind is None:
            raise
        fit = [wrapped(a, kind) if a.__class__ is int else a for a in args]
        return entry.prim.reference(*fit, **entry.attrs)


def walk(
    entries: Sequence[Entry],
    outs: Sequence[int],
    inputs: Sequence[np.ndarray],
    numbers: Sequence[Any],
) -> list[Any]:
    """Runs entries one by one; a value is dropped after its last use."""
    env: dict[int, Any] = {-1 - i: a for i, a in enumerate(inputs)}
    for i, n in enumerate(numbers):
        env[NUMBERS - i] = n
    last = last_uses(entries, outs)
    for position, entry in enumerate(entries):
        args = [i.value if i.__class__ is Const else env[i] for i in entry.inputs]
        result = called(entry, args)
        if len(entry.outputs) == 1:
            env[entry.outputs[0]] = result
        else:
            env.update(zip(entry.outputs, result, strict=True))
        for slot in last.get(position, ()):
            del env[slot]
    return [env[s] for s in outs]


def last_uses(entries: Sequence[Entry], outs: Sequence[int]) -> dict[int, list[int]]:
    """Position of an entry -> the computed slots that nothing reads after it."""
    seen = set(outs)
    found: dict[int, list[int]] = {}
    for position in range(len(entries) - 1, -1, -1):
        entry = entries[position]
        for slot in (*entry.outputs, *entry.inputs):
            if type(slot) is int and slot >= 0 and slot not in seen:
                seen.add(slot)
                found.setdefault(position, []).append(slot)
    return found


def _name(slot: int) -> str:
    if slot <= NUMBERS:
        return f"n{NUMBERS - slot}"
    return f"v{slot}" if slot >= 0 else f"a{-1 - slot}"


def straight_line(entries: Sequence[Entry], outs: Sequence[int]) -> Callable:
    """The same as ``walk``, as one generated Python function without a loop."""
    scope: dict[str, Any] = {}
    names: dict[int, str] = {}

    def constant(value: Any) -> str:
        found = names.get(id(value))
        if found is None:
            found = names[id(value)] = f"c{len(names)}"
            scope[found] = value
        return found

    read = {s for e in entries for s in e.inputs if type(s) is int} | set(outs)
    lines = []
    for slot in sorted(s for s in read if s < 0):
        source = f"numbers[{NUMBERS - slot}]" if slot <= NUMBERS else f"inputs[{-1 - slot}]"
        lines.append(f" {_name(slot)} = {source}")
    last = last_uses(entries, outs)
    for position, entry in enumerate(entries):
        args = [constant(i.value) if i.__class__ is Const else _name(i) for i in entry.inputs]
        args += [f"{k}={constant(v)}" for k, v in entry.attrs.items()]
        targets = ", ".join(map(_name, entry.outputs))
        call = f"{constant(entry.prim.reference)}({', '.join(args)})"
        if entry.out_avals[0].dtype is bfloat16 and len(entry.outputs) == 1:
            call = f"{constant(narrow)}({call})"
        lines.append(f" {targets} = {call}")
        dead = last.get(position)
        if dead:
            lines.append(f" {' = '.join(map(_name, dead))} = None")
    lines.append(f" return [{', '.join(map(_name, outs))}]")
    source = "def program(inputs, numbers):\n" + "\n".join(lines)
    # Constants are kept alive by the scope, so that their ids stay their own.
    exec(compile(source, "<program>", "exec"), scope)
    return scope["program"]
