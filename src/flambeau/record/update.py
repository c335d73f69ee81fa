"""An optimizer's step as one edge: a rule over many tensors, with numbers given at run time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from flambeau.ir.graph import NUMBERS
from flambeau.record import alias, checking, flush
from flambeau.record.absent import NO_DATA, NoValues
from flambeau.record.builder import Num, Specialise, new_tensor, run_body, undo_binding
from flambeau.record.calls import take
from flambeau.record.stats import stats
from flambeau.record.trace import LOCK, Ambient, Trace, is_special, open_, renew

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    # Numbers, and how many parameters in a row have them.
    Runs = list[tuple[dict[str, Any], int]]

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
                if tr.closed:
                    renew(tr)
                    tr = open_.trace
                tr.special = False
                try:
                    return _record(tr, rule, tensors, numbers, body)
                finally:
                    tr.special = open_.trace.special = is_special()
        except BaseException as error:
            try:
                undo_binding(tr)
            finally:
                # Once more: an interrupt may have come while the first was at it.
                undo_binding(tr)
            if isinstance(error, Specialise):
                _static.setdefault(rule, set()).update(error.number.origin)
            elif isinstance(error, alias.Restart):
                (error.action or (lambda: flush.flush(open_.trace)))()
            elif isinstance(error, NoValues):
                raise NotImplementedError(NO_DATA) from None
            else:
                raise


def _record(
    tr: Trace,
    rule: Hashable,
    tensors: Sequence[Any],
    numbers: Sequence[dict[str, Any]],
    body: Callable[[list[dict[str, Any]]], Sequence[Any]],
) -> list[Any]:
    static = _static.get(rule, ())
    parts = bound(tr, tensors)
    given_numbers = Given(runs_of(numbers), static)
    tr.numbers += given_numbers.values
    key = (rule, *parts, *given_numbers.parts)
    node = tr.node.edges.get(key)
    # Without an edge for the change of mode: the rule is part of the key, and never has history.
    state = open_.state
    silent = Ambient.of(False, state.default, state.extra)
    try:
        open_.state = silent
        if node is None:
            given = _proxies(tr.node.n_numbers, numbers, static)
            node = run_body(tr, key, "step", list(tensors), lambda: tuple(body(given)))
            stats.misses += 1
            stats.last_miss = ("optimizer.step", key, node.parent)
        elif checking.ENABLED:
            given = _proxies(tr.node.n_numbers, numbers, static)
            checking.check(tr, node, str(rule), list(tensors), lambda: tuple(body(given)))
        fresh = [new_tensor(tr, slot, m) for slot, m in node.fresh]
        take(tr, node, fresh, list(tensors))
    finally:
        open_.state = state
    flush.flush(tr)
    return fresh


def bound(tr: Trace, tensors: Sequence[Any]) -> list[Any]:
    """What the tensors add to the key."""
    parts = []
    inputs = tr.inputs
    for t in tensors:
        if t._trace is tr:
            parts.append(t._slot)
            continue
        # As ``bind`` does it, which counts the references to other storages.
        if t._storage is not None and t._storage.plain:
            inputs.append(t)
            t._trace = tr
            t._slot = -len(inputs)
            parts.append(t._meta)
        else:
            parts.append(alias.bind(tr, t))
    return parts


class Given:
    """The numbers of a step: what they add to the key, and those that are given at run time."""

    __slots__ = ("runs", "parts", "values")

    def __init__(self, runs: Runs, static: Any) -> None:
        self.runs = runs
        self.values: list[float] = []
        self.parts: list[Any] = []
        parts = self.parts
        for d, count in runs:
            parts.append(count)
            for name, v in d.items():
                kind = v.__class__
                if kind is not float:
                    parts.append((kind, v))
                elif name in static:
                    parts.append(struct.pack("d", v))
                else:
                    self.values.append(v)
                    parts.append(float)


def given(rule: Hashable, runs: Runs) -> Given:
    """The numbers of a step by a rule."""
    return Given(runs, _static.get(rule, ()))


def runs_of(numbers: Iterable[dict[str, Any]]) -> Runs:
    """The parameters of a group mostly share their numbers."""
    runs: Runs = []
    previous = None
    for d in numbers:
        if d is previous or d == previous:
            runs[-1] = (previous, runs[-1][1] + 1)  # type: ignore[arg-type]
        else:
            runs.append((d, 1))
            previous = d
    return runs


def quick_update(
    rule: Hashable, tensors: Sequence[Any], kept: Sequence[Any], numbers: Given
) -> bool:
    """A step that was taken here before, done and flushed at once: its writes are never pending.

    ``kept`` are the further tensors, from an optimizer's state: different ones. Gives whether it
    was done; if it was not, nothing is recorded.
    """
    tr = open_.trace
    if tr.special or tr.marks or checking.ENABLED:
        return False
    done = False
    try:
        try:
            parts = bound(tr, tensors)
            if kept:
                if all([t._storage.plain and t._trace is not tr for t in kept]):
                    # As ``bind`` does it, but for noting their slots: the flush lets go of them.
                    tr.inputs += kept
                    parts += [t._meta for t in kept]
                else:
                    parts += bound(tr, kept)
            tr.numbers += numbers.values
            node = tr.node.edges.get((rule, *parts, *numbers.parts))
            done = node is not None and flush.flush_writes(tr, node, (*tensors, *kept))
        except (alias.Restart, NoValues):
            pass
        finally:
            if not done:
                undo_binding(tr)
    finally:
        if not done:
            # Once more: an interrupt may have come while the first was at it.
            undo_binding(tr)
    return done


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
