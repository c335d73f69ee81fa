"""An optimizer's step as one edge: a rule over many tensors, with numbers given at run time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from flambeau.ir.graph import NUMBERS
from flambeau.record import alias, flush
from flambeau.record.builder import Num, Specialise, new_tensor, run_body, undo_binding
from flambeau.record.macro import take
from flambeau.record.trace import LOCK, Ambient, Trace, open_, renew

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

# Names of numbers that a rule has looked at, by rule: attributes from then on.
_static: dict[Hashable, set[str]] = {}


def recorded_update(
    rule: Hashable,
    tensors: Sequence[Any],
    numbers: Sequence[dict[str, Any]],
    body: Callable[[list[dict[str, Any]]], Sequence[Any]],
) -> list[Any]:
    """Records ``body``, which writes to ``tensors`` without history, and flushes.

    ``numbers`` (a dict for each parameter) reach the body as run-time numbers. Gives the new
    tensors that the body returns. ``rule`` says which rule this is, wherever it is run.
    """
    while True:
        tr = open_.trace
        if tr.closed:
            renew(tr)
            tr = open_.trace
        try:
            if not tr.special:
                return _record(tr, rule, tensors, numbers, body)
            with LOCK:
                tr.special = False
                try:
                    return _record(tr, rule, tensors, numbers, body)
                finally:
                    tr.special = open_.trace.special = True
        except Specialise as s:
            undo_binding(tr)
            _static.setdefault(rule, set()).update(s.number.origin)
        except alias.Restart as restart:
            undo_binding(tr)
            (restart.action or (lambda: flush.flush(open_.trace)))()
        except BaseException:
            undo_binding(tr)
            raise


def _record(
    tr: Trace,
    rule: Hashable,
    tensors: Sequence[Any],
    numbers: Sequence[dict[str, Any]],
    body: Callable[[list[dict[str, Any]]], Sequence[Any]],
) -> list[Any]:
    static = _static.get(rule, ())
    bind, noted = alias.bind, tr.numbers
    parts: list[Any] = [t._slot if t._trace is tr else bind(tr, t) for t in tensors]
    previous: dict[str, Any] | None = None
    for d in numbers:
        if d == previous:
            # The parameters of a group mostly share their numbers.
            parts.append("same")
            continue
        previous = d
        for name, v in d.items():
            kind = v.__class__
            if kind is float and name not in static:
                noted.append(v)
                parts.append(float)
            else:
                parts.append(struct.pack("d", v) if kind is float else (kind, v))
    key = (rule, *parts)
    node = tr.node.edges.get(key)
    # Without an edge for the change of mode: the rule is part of the key, and never has history.
    state = open_.state
    silent = Ambient.of(False, state.default, state.extra)
    try:
        open_.state = silent
        if node is None:
            given = _proxies(tr.node.n_numbers, numbers, static)
            node = run_body(tr, key, "step", list(tensors), lambda: tuple(body(given)))
            flush.stats.misses += 1
            flush.stats.last_miss = ("optimizer.step", key, node.parent)
        fresh = [new_tensor(tr, slot, m) for slot, m in node.fresh]
        take(tr, node, fresh, list(tensors))
    finally:
        open_.state = state
    flush.flush(tr)
    return fresh


def _proxies(first: int, numbers: Sequence[dict[str, Any]], static: Any) -> list[dict[str, Any]]:
    given: list[dict[str, Any]] = []
    for i, d in enumerate(numbers):
        if i and d == numbers[i - 1]:
            given.append(given[-1])
            continue
        made = {}
        for name, v in d.items():
            if v.__class__ is float and name not in static:
                made[name] = Num(NUMBERS - first, float, (name,), v)
                first += 1
            else:
                made[name] = v
        given.append(made)
    return given
