"""One backward pass through segments and custom functions: in which order, what it gathers."""

from __future__ import annotations

import heapq
import threading
from typing import TYPE_CHECKING, Any

from flambeau.autograd import anomaly, saved
from flambeau.autograd.history import (
    PyNode,
    StepHook,
    anchor,
    history_of,
    origin,
    origin_of,
    place_of,
)
from flambeau.autograd.open_trace import keep_saved, leaves_of, pull_step, reach
from flambeau.autograd.replaying import recorded
from flambeau.autograd.values import add, concrete, fitted, grad_mode
from flambeau.record.commit import owned
from flambeau.record.segment import TWICE, Segment, Way
from flambeau.record.trace import Trace, open_

if TYPE_CHECKING:
    from collections.abc import Sequence


LAST = float("inf")


class _Passes(threading.local):
    """The backward passes that run on this thread, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[Pass] = []


_passes = _Passes()


def current_pass() -> Pass:
    """The backward pass whose hooks run now."""
    return _passes.stack[-1]


def below(starts: Sequence[tuple[Any, Any]]) -> tuple[dict[int, Any], set[tuple[int, int]]]:
    """What gradients of (tensor, history) reach: leaves by id, others by (id of unit, slot)."""
    leaves: dict[int, Any] = {}
    seen: set[tuple[int, int]] = set()
    inner: set[tuple[int, int]] = set()
    stack = list(starts)
    while stack:
        x, history = stack.pop()
        if history is None:
            continue
        unit, slot = history
        if unit is None:
            leaves[id(x)] = x
        elif (id(unit), slot) not in seen:
            seen.add((id(unit), slot))
            if isinstance(unit, PyNode):
                inner.add((id(unit), slot))
                stack.extend(unit.inputs)
            else:
                inner.update((id(unit), s) for s in reach(unit.node, slot))
                stack.extend((unit.inputs[i], origin(unit, i)) for i in leaves_of(unit.node, slot))
    return leaves, inner


class Pass:
    """One backward pass over everything that the roots depend on."""

    def __init__(self, retain: bool, create: bool) -> None:
        self.retain = retain
        self.create = create
        self.heap: list[tuple[float, int]] = []
        self.units: dict[int, Any] = {}
        self.grads: dict[int, dict[int, Any]] = {}
        self.leaves: dict[int, tuple[Any, Any]] = {}
        # (id of unit, slot) -> position of the target whose gradient is wanted.
        self.targets: dict[tuple[int, int], int] = {}
        self.captured: dict[int, Any] = {}
        # Slots of segments whose hooks have run already.
        self.done: set[tuple[int, int]] = set()
        self.keep: list[Any] = []
        self.roots: list[Any] = []
        # Gradients on arrays that this pass alone has, by id.
        self.fresh: dict[int, Any] = {}
        # What was spent of each trace before this pass came by.
        self.before: dict[int, frozenset[int]] = {}
        # What is spent of segments when the pass is over: it may come by several times.
        self.spending: list[tuple[Segment, frozenset[int]]] = []
        # With targets only what leads to one is gone through: their ids, and what is known so far.
        self.restricted = False
        self.leaf_targets: set[int] = set()
        self.matters: dict[tuple[int, int], bool] = {}

    def __enter__(self) -> Pass:
        _passes.stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _passes.stack.pop()

    def deliver(self, t: Any, history: tuple[Any, int] | None, g: Any) -> None:
        """Adds a gradient for ``t``."""
        if g is None or history is None or not self.wanted(history, t):
            return
        unit, slot = history
        if unit is None:
            before = self.leaves.get(id(t))
            self.leaves[id(t)] = (t, g if before is None else add(before[1], g))
            return
        if g._is_sparse_layout and not isinstance(unit, PyNode):
            g = g.to_dense()
        key = id(unit)
        if key not in self.units:
            self.units[key] = unit
            self.grads[key] = {}
            order = LAST if isinstance(unit, Trace) else unit.order
            heapq.heappush(self.heap, (-order, key))
        grads = self.grads[key]
        grads[slot] = g if slot not in grads else add(grads[slot], g)

    def wanted(self, history: tuple[Any, int], t: Any = None) -> bool:
        """Whether a gradient there matters: always, or if a target lies on its way."""
        if not self.restricted:
            return True
        unit, slot = history
        if unit is None:
            return id(t) in self.leaf_targets
        key = (id(unit), slot)
        found = self.matters.get(key)
        if found is None:
            leaves, inner = below([(t, history)])
            found = not inner.isdisjoint(self.targets) or not leaves.keys().isdisjoint(
                self.leaf_targets
            )
            self.matters[key] = found
            self.keep.append(unit)
        return found

    def asked(self, unit: Any, histories: Sequence[Any] | None = None) -> tuple[int, ...] | None:
        """Slots of a unit's inputs whose gradients matter; None where all do.

        What does not lead to a target is not gone through: its saved values may be gone.
        """
        if not self.restricted:
            return None
        found = []
        for i, t in enumerate(unit.inputs):
            if t is not None and t._meta.requires_grad:
                history = origin_of(t) if histories is None else histories[i]
                if history is not None and self.wanted(history, t):
                    found.append(-1 - i)
        return tuple(found)

    def reaches(self, tensors: Sequence[Any]) -> list[bool]:
        """Which of some tensors get a gradient in this pass."""
        leaves, inner = below([(t, history_of(t)) for t in self.roots])
        found = []
        for t in tensors:
            unit, slot = place_of(t) or (None, 0)
            found.append(id(t) in leaves if unit is None else (id(unit), slot) in inner)
        return found

    def run(self) -> None:
        while self.heap:
            _, key = heapq.heappop(self.heap)
            unit = self.units.pop(key)
            grads = self.grads.pop(key)
            self.keep.append(unit)
            if isinstance(unit, PyNode):
                self.through_function(unit, grads)
            elif isinstance(unit, Segment):
                self.through_segment(unit, grads)
            else:
                self.through_trace(unit, grads, key)
        for unit, spent in self.spending:
            unit.spend(spent)

    # ------------------------------------------------------------------ kinds of unit

    def through_function(self, unit: PyNode, grads: dict[int, Any]) -> None:
        for slot in list(grads):
            grads[slot] = self.hooked(unit, slot, grads[slot])
        with grad_mode(self.create):
            given = [grads.get(i) for i in range(unit.outputs)]
            results = unit.call(given)
            for hook in unit.post_hooks or ():
                changed = hook(tuple(results), tuple(given))
                results = results if changed is None else changed
        for (t, history), g in zip(unit.inputs, results, strict=True):
            if g is not None and history is not None:
                g = fitted(g, t, unit.name)
            self.deliver(t, history, g)

    def through_segment(self, unit: Segment, grads: dict[int, Any]) -> None:
        allowed = keep_saved[0] > 0
        if anomaly.is_anomaly_enabled() and anomaly.is_anomaly_check_nan_enabled():
            if unit.spec is None or unit.freed:
                raise RuntimeError(TWICE)
            anomaly.check_segment(unit, grads)
        remaining = self.stops(unit)
        asked = self.asked(unit, unit.origins)
        totals = dict(grads)
        begin = {s: g for s, g in totals.items() if s not in remaining}
        found: list[tuple[int, Any]] = []
        while True:
            if begin and (asked is None or asked or remaining):
                seeded = tuple(sorted(begin))
                way = unit.spec and unit.spec.backward(
                    seeded, allowed, asked, tuple(remaining), unit.node if self.create else None
                )
                unit.check(way, allowed)
                for slot, g in self.pulled(unit, way, [begin[s] for s in seeded]):
                    if slot in remaining:
                        totals[slot] = add(totals[slot], g) if slot in totals else g
                    else:
                        found.append((slot, g))
                if not self.retain:
                    self.spending.append((unit, way.spent))
            ready = next((s for s in remaining if s in totals), None)
            if ready is None:
                break
            remaining.remove(ready)
            g = self.hooked(unit, ready, totals.pop(ready))
            begin = {ready: g}
            hooks = step_hooks(unit, ready)
            if hooks:
                reads = self.of_interest(unit, hooks[0].reads)
                node = unit.node if self.create else None
                way = unit.spec and unit.spec.backward((ready,), allowed, (), reads, node)
                unit.check(way, allowed)
                begin = changed_by(hooks, dict(self.pulled(unit, way, [g])), g, self.create)
                split(begin, remaining, totals, found)
        for slot, g in found:
            self.deliver(unit.inputs[-1 - slot], unit.origins[-1 - slot], g)

    def pulled(self, unit: Segment, way: Way, seeds: list[Any]) -> list[tuple[int, Any]]:
        """The gradients, by slot, that a way back through a segment gives."""
        if unit.packed:
            with saved.unpacked(unit, way.reads, self.create):
                return self.pulled_through(unit, way, seeds)
        return self.pulled_through(unit, way, seeds)

    def pulled_through(self, unit: Segment, way: Way, seeds: list[Any]) -> list[tuple[int, Any]]:
        """``pulled``, for a segment that has its values."""
        if self.create:
            return list(zip(way.slots, recorded(unit, way, seeds), strict=True))
        arrays = [*unit.arrays, *[unit.saved.get(s) for s in unit.spec.residuals]]
        arrays += [g._array() for g in seeds]
        outs = way.program(arrays, unit.numbers)
        taken = set(map(id, arrays))
        found = []
        for slot, out in zip(way.slots, outs, strict=True):
            g = concrete(owned(out, taken), unit.spec.avals[slot].dtype)
            self.fresh[id(g)] = g
            found.append((slot, g))
        return found

    def through_trace(self, tr: Trace, grads: dict[int, Any], key: int) -> None:
        if tr.closed:
            raise RuntimeError("the trace was flushed while its backward ran")
        stops = self.stops(tr)
        slots = (*grads, *stops)
        values = {s: anchor(tr, s) for s in slots}
        self.staged(values, grads, stops, tr)

    def of_interest(self, unit: Any, slots: Sequence[int]) -> tuple[int, ...]:
        """Those of a unit's slots whose gradients matter."""
        inputs = self.asked(unit, None if isinstance(unit, Trace) else unit.origins)
        if inputs is None:
            return tuple(slots)
        return tuple(s for s in slots if (s in inputs if s < 0 else self.wanted((unit, s))))

    def stops(self, unit: Any) -> list[int]:
        """Slots where the pass must show the gradient: hooks and targets."""
        found = {slot for u, slot in self.targets if u == id(unit)}
        found.update(s for s in unit.hooks or () if self.wanted((unit, s)))
        return sorted((s for s in found if (id(unit), s) not in self.done), reverse=True)

    def staged(
        self,
        values: dict[int, Any],
        grads: dict[int, Any],
        stops: list[int],
        unit: Trace,
    ) -> None:
        """Goes back through the open trace from one stop to the next."""
        totals = dict(grads)
        remaining = list(stops)
        begin = {s: g for s, g in totals.items() if s not in remaining}
        deliveries: list[tuple[Any, Any]] = []
        while True:
            if begin:
                tr = open_.trace
                self.keep.append(tr)
                results = pull_step(
                    {values[s]: g for s, g in begin.items()},
                    [values[s] for s in remaining],
                    self.retain or bool(stops),
                    self.create,
                    self.before.setdefault(id(tr), tr.node.freed),
                    self.asked,
                )
                for where, g in results:
                    at = next((s for s in remaining if values[s] is where), None)
                    if at is None:
                        deliveries.append((where, g))
                    else:
                        totals[at] = g if at not in totals else add(totals[at], g)
            ready = next((s for s in remaining if s in totals), None)
            if ready is None:
                break
            remaining.remove(ready)
            tr = open_.trace
            begin = {ready: self.hooked(unit, ready, totals.pop(ready))}
            if open_.trace is not tr:
                # Hooks on the step run where the segment is gone through.
                self.moved(unit, values, begin, remaining, totals)
                self.done.add((id(values[ready]._hist[0]), values[ready]._hist[1]))
                break
            hooks = step_hooks(unit, ready)
            if hooks:
                inputs = tr.inputs
                reads = self.of_interest(tr, hooks[0].reads)
                for r in reads:
                    if r not in values:
                        values[r] = anchor(tr, r)
                begin = self.through_step(values, ready, begin[ready], reads, hooks)
                past: list[tuple[int, Any]] = []
                split(begin, remaining, totals, past)
                deliveries += [(inputs[-1 - r], g) for r, g in past]
                if open_.trace is not tr:
                    self.moved(unit, values, begin, remaining, totals)
                    break
        for t, g in deliveries:
            self.deliver(t, origin_of(t), g)

    def moved(
        self,
        unit: Trace,
        values: dict[int, Any],
        begin: dict[int, Any],
        remaining: list[int],
        totals: dict[int, Any],
    ) -> None:
        """A hook had the open trace flushed: the rest of the way is through its segment."""
        for s in remaining:
            segment, slot = values[s]._hist
            # Its hooks went along.
            if (id(unit), s) in self.targets:
                self.targets[id(segment), slot] = self.targets[id(unit), s]
            if s in totals:
                self.deliver(values[s], values[s]._hist, totals[s])
        for s, g in begin.items():
            segment, slot = values[s]._hist
            self.keep.append(segment)
            self.deliver(values[s], (segment, slot), g)

    def through_step(
        self,
        values: dict[int, Any],
        slot: int,
        g: Any,
        reads: Sequence[int],
        hooks: list[StepHook],
    ) -> dict[int, Any]:
        """Goes back through one step of the open trace and runs the hooks on it."""
        tr = open_.trace
        results = pull_step(
            {values[slot]: g},
            [values[r] for r in reads],
            True,
            self.create,
            self.before.setdefault(id(tr), tr.node.freed),
            lambda tr: (),
        )
        found = {r: x for where, x in results for r in reads if values[r] is where}
        return changed_by(hooks, found, g, self.create)

    def hooked(self, unit: Any, slot: int, g: Any) -> Any:
        """Runs the hooks on a value's gradient and notes it if it is a target."""
        with grad_mode(self.create):
            for hook in list((unit.hooks or {}).get(slot, ())):
                changed = None if isinstance(hook, StepHook) else hook(g)
                if changed is not None:
                    g = changed
        at = self.targets.get((id(unit), slot))
        if at is not None:
            self.captured[at] = g
        return g


def step_hooks(unit: Any, slot: int) -> list[StepHook]:
    """The hooks on the step that made a slot."""
    return [h for h in (unit.hooks or {}).get(slot, ()) if isinstance(h, StepHook)]


def changed_by(
    hooks: list[StepHook], found: dict[int, Any], g: Any, create: bool
) -> dict[int, Any]:
    """Runs hooks on the gradients of what a step read, by slot; those to go on with."""
    reads = hooks[0].reads
    given = tuple(found.get(r) for r in reads)
    with grad_mode(create):
        for h in hooks:
            changed = h.call(given, (g,))
            if changed is not None:
                given = tuple(changed) if isinstance(changed, (tuple, list)) else (changed,)
    return {r: x for r, x in zip(reads, given, strict=True) if x is not None and r in found}


def split(
    begin: dict[int, Any],
    remaining: list[int],
    totals: dict[int, Any],
    past: list[tuple[int, Any]],
) -> None:
    """Takes from ``begin`` what a hook is to see first, and what is not the unit's."""
    for slot in list(begin):
        if slot in remaining:
            g = begin.pop(slot)
            totals[slot] = add(totals[slot], g) if slot in totals else g
        elif slot < 0:
            past.append((slot, begin.pop(slot)))
