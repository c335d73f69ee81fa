"""The backward pass: through the open trace, flushed segments and custom functions, in order."""

from __future__ import annotations

import functools
import heapq
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.autograd import anomaly
from flambeau.ir.derive import depending, derive
from flambeau.ir.graph import Const, Entry, Var, recorders
from flambeau.ir.primitive import PRIMITIVES, Primitive
from flambeau.record import alias, flush
from flambeau.record.builder import (
    Builder,
    attach,
    construct,
    finish,
    new_tensor,
    undo_binding,
)
from flambeau.record.macro import apply
from flambeau.record.meta import meta
from flambeau.record.segment import (
    INPLACE,
    TWICE,
    Segment,
    next_order,
    overwrite_check,
    reads_primal,
)
from flambeau.record.storage import Handle, Storage
from flambeau.record.trace import LOCK, Node, Trace, open_, renew, set_state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LAST = float("inf")
# Whether writes to values that backward needs are allowed (graph.allow_mutation_on_saved_tensors).
keep_saved = [0]


class _Passes(threading.local):
    """The backward passes that run on this thread, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[Pass] = []


_passes = _Passes()


def current_pass() -> Pass:
    """The backward pass whose hooks run now."""
    return _passes.stack[-1]


class PyNode:
    """The history of a custom function's outputs: its backward runs as Python.

    ``inputs`` are the tensors it was given; ``call(grads)`` gives a gradient (or None) for each.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[Any],
        call: Callable[[list[Any]], Sequence[Any]],
        histories: Sequence[Any] | None = None,
    ) -> None:
        self.name = name
        if histories is None:
            for t in inputs:
                if t._meta.requires_grad and not t._meta.leaf:
                    # What came before is settled in segments: an open trace would move on.
                    t._value()
            histories = [history_of(t) for t in inputs]
        self.inputs = list(zip(inputs, histories, strict=True))
        self.order = next_order()
        self.outputs = 1
        self.call = call
        self.hooks: dict[int, list] | None = None
        # Called after the backward: fn(gradients of inputs, gradients of outputs).
        self.post_hooks: list[Callable] | None = None


def history_of(t: Any) -> tuple[Any, int] | None:
    """Where the history of a tensor is: (open trace, segment or custom function, slot).

    ``(None, 0)`` for a leaf that wants a gradient, ``None`` for no history.
    """
    m = t._meta
    if not m.requires_grad:
        return None
    if m.leaf:
        return None, 0
    tr = open_.trace
    if t._storage is None:
        if t._trace is tr:
            return tr, t._slot
        flush.flush_other(t._trace)
        return resolved(t._hist)
    if t._btrace is tr and not tr.closed and (t._storage.trace is tr or t._hist is None):
        if t._seen != t._storage.version:
            alias.refresh(tr, t)
        return tr, t._slot
    if t._storage.trace is not None:
        alias.current(tr, t)
        return history_of(t)
    return resolved(t._hist)


def resolved(history: tuple[Any, int] | None) -> tuple[Any, int] | None:
    """A place in a segment that was recorded again is where that put it."""
    while history is not None and isinstance(history[0], Segment):
        unit, slot = history
        if unit.again is None or slot not in unit.again:
            break
        history = history_of(unit.again[slot])
    return history


# ------------------------------------------------------------------------- the open trace


def reach(node: Node, slot: int) -> frozenset[int]:
    """The slots that the gradient of ``slot`` reaches, itself among them."""
    memo = node.memo
    if memo is None:
        memo = node.memo = {}
    key = ("reach", slot)
    found = memo.get(key)
    if found is None:
        wanted = [-1 - i for i, m in enumerate(node.input_metas()) if m.requires_grad]
        through, depends = depending(node.path_entries(), wanted)
        reached = {slot}
        for e in reversed(through):
            if not reached.isdisjoint(e.outputs):
                reached.update(
                    i
                    for p, i in enumerate(e.inputs)
                    if type(i) is int and i in depends and e.prim.gradient_of(p) is not None
                )
        found = memo[key] = frozenset(reached)
    return found


def leaves_of(node: Node, slot: int) -> tuple[int, ...]:
    """Indices of the inputs that the gradient of ``slot`` reaches."""
    memo = node.memo
    found = None if memo is None else memo.get(("leaves", slot))
    if found is None:
        reached = reach(node, slot)
        found = tuple(
            i for i, m in enumerate(node.input_metas()) if -1 - i in reached and m.requires_grad
        )
        node.memo["leaves", slot] = found  # type: ignore[index]
    return found


def below(starts: Sequence[tuple[Any, Any]]) -> tuple[dict[int, Any], set[tuple[int, int]]]:
    """What gradients of (tensor, history) reach: leaves by id, others by (id of unit, slot)."""
    leaves: dict[int, Any] = {}
    seen: set[tuple[int, int]] = set()
    inner: set[tuple[int, int]] = set()
    stack = list(starts)
    while stack:
        x, history = stack.pop()
        history = resolved(history)
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


def leaves_below(t: Any) -> list[Any]:
    """The leaves that want a gradient and that ``t`` depends on, each once."""
    return list(below([(t, history_of(t))])[0].values())


def pull(
    tr: Trace,
    builder: Builder,
    seeds: dict[int, Var],
    retain: bool,
    create: bool,
    barriers: Sequence[int] = (),
    before: frozenset[int] | None = None,
) -> tuple[dict[int, Var], frozenset[int]]:
    """Writes the gradients of the trace's inputs to ``builder``; they, and what is then spent.

    ``before`` is what other passes had spent, where this one comes by in several steps.
    """
    node = tr.node
    before = node.freed if before is None else before
    entries = node.path_entries()
    metas = node.input_metas()
    wanted = [-1 - i for i, m in enumerate(metas) if m.requires_grad]
    checked = node.overwritten and not keep_saved[0]
    written = overwrite_check(node.overwritten, builder) if checked else None
    spent: set[int] = set()

    def check(entry: Entry, start: int) -> None:
        if reads_primal(builder.entries[start:], node.n_slots):
            if not before.isdisjoint(entry.outputs):
                raise RuntimeError(TWICE)
            spent.update(entry.outputs)
        if written:
            written(entry, start)

    builder.history = create
    grads, _ = derive(entries, wanted, seeds, builder, check, barriers)
    freed = node.freed if retain else node.freed | spent
    return grads, freed


def seed_var(builder: Builder, m: Any, given: Any) -> Var:
    if given is not None:
        return Var(builder.slot_of(given), given._meta.aval)
    return builder.emit(PRIMITIVES["full"], (1.0,), {"shape": m.shape, "dtype": m.dtype})[0]


def edge_for(tr: Trace, key: Any, name: str, make: Callable[[Builder], tuple]) -> Node:
    """The edge of a backward step, made by ``make`` if it is new: (results, freed)."""
    node = tr.node.edges.get(key)
    if node is not None:
        return node
    builder, (results, freed) = construct(tr, make)
    node = finish(tr, builder, name)
    node.template = tuple(results)
    node.freed = freed
    flush.stats.misses += 1
    flush.stats.last_miss = (name, key, tr.node)
    return attach(tr, key, node)


def backward_in_trace(tr: Trace, t: Any, gradient: Any, retain: bool) -> bool:
    """``t.backward()`` as one edge; False where hooks or other histories ask for more."""
    if tr.hooks or keep_saved[0]:
        return False
    reached = leaves_of(tr.node, t._slot)
    inputs = tr.inputs
    leaves = []
    for i in reached:
        leaf = inputs[i]
        if not leaf._meta.leaf or leaf._hooks or leaf._post_hooks:
            return False
        leaves.append(leaf)
    try:
        slot = t._slot
        given = None if gradient is None else key_for(tr, gradient)
        states = [None if x._grad is None else key_for(tr, x._grad) for x in leaves]
        key = ("backward", slot, given, retain, *states)

        def make(builder: Builder) -> tuple:
            seeds = {slot: seed_var(builder, t._meta, gradient)}
            grads, freed = pull(tr, builder, seeds, retain, False)
            results = []
            for i, leaf in zip(reached, leaves, strict=True):
                g = grads.get(-1 - i)
                if g is None:
                    results.append(None)
                    continue
                old = leaf._grad
                if old is not None:
                    g = Var(builder.slot_of(old), old._meta.aval) + g
                results.append((g.slot, meta(g.shape, g.dtype)))
            return results, freed

        node = edge_for(tr, key, "backward", make)
    except alias.Restart as restart:
        undo_binding(tr)
        (restart.action or (lambda: flush.flush(open_.trace)))()
        return False
    except BaseException:
        undo_binding(tr)
        raise
    interrupt = None
    done = 0
    while True:
        try:
            tr.node = node
            while done < len(leaves):
                result = node.template[done]
                if result is not None:
                    store(tr, leaves[done], *result)
                done += 1
            break
        except KeyboardInterrupt as e:
            interrupt = e
    if node.length > flush.LENGTH or tr.cut:
        flush.flush(tr)
    if interrupt is not None:
        raise interrupt
    return True


def store(tr: Trace, leaf: Any, slot: int, m: Any) -> None:
    """Puts the accumulated gradient of a leaf in its ``.grad``, keeping the object there."""
    old = leaf._grad
    if old is None:
        g = new_tensor(tr, slot, m)
        tr.live.append(g)
        leaf._grad = g
    else:
        alias.write(tr, old, slot, m)


def key_for(tr: Trace, t: Any) -> Any:
    return t._slot if t._trace is tr else alias.bind(tr, t)


# ------------------------------------------------------------------------- the general engine


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
        history = resolved(history)
        if g is None or history is None or not self.wanted(history, t):
            return
        unit, slot = history
        if unit is None:
            before = self.leaves.get(id(t))
            self.leaves[id(t)] = (t, g if before is None else add(before[1], g))
            return
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
        return found

    def reaches(self, tensors: Sequence[Any]) -> list[bool]:
        """Which of some tensors get a gradient in this pass."""
        leaves, inner = below([(t, history_of(t)) for t in self.roots])
        found = []
        for t in tensors:
            history = history_of(t)
            unit, slot = history or (None, 0)
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
        seeded = tuple(sorted(grads))
        way = unit.spec and unit.spec.backward(seeded, allowed)
        unit.check(way, allowed)
        if anomaly.is_anomaly_enabled() and anomaly.is_anomaly_check_nan_enabled():
            anomaly.check_segment(unit, grads)
        stops = self.stops(unit)
        if self.create or stops:
            if unit.freed:
                raise RuntimeError(TWICE)
            self.replay(unit, grads, stops)
        else:
            arrays = [*unit.arrays, *[unit.saved.get(s) for s in unit.spec.residuals]]
            arrays += [grads[s]._array() for s in seeded]
            outs = way.program(arrays, unit.numbers)
            taken = set(map(id, arrays))
            for slot, out in zip(way.slots, outs, strict=True):
                t = unit.inputs[-1 - slot]
                g = concrete(flush.owned(out, taken), t._meta.dtype)
                self.fresh[id(g)] = g
                self.deliver(t, unit.origins[-1 - slot], g)
        if not self.retain and unit.again is None:
            self.spending.append((unit, way.spent))

    def replay(self, unit: Segment, grads: dict[int, Any], stops: list[int]) -> None:
        """Records the segment again in the open trace, and goes back through that."""
        values = replay(unit)
        # From now on gradients that reach its slots go to where it was recorded again.
        unit.again = {s: values[s] for s in unit.spec.roots}
        inputs = {-1 - i: t for i, t in enumerate(unit.inputs)}
        with grad_mode(True):
            self.staged(
                {s: values[s] for s in (*grads, *stops)},
                grads,
                stops,
                unit,
                lambda slot: inputs.get(slot),
            )
        for s, hooks in (unit.hooks or {}).items():
            where, slot = history_of(values[s])  # type: ignore[misc]
            if where.hooks is None:
                where.hooks = {}
            where.hooks[slot] = hooks
        unit.saved, unit.arrays = {}, (None,) * len(unit.arrays)

    def through_trace(self, tr: Trace, grads: dict[int, Any], key: int) -> None:
        if tr.closed:
            raise RuntimeError("the trace was flushed while its backward ran")
        stops = self.stops(tr)
        slots = (*grads, *stops)
        metas = {}
        for step in tr.node.path():
            for e in step.entries:
                for s, a in zip(e.outputs, e.out_avals, strict=True):
                    metas[s] = a
        values = {}
        for s in slots:
            a = metas.get(s) or tr.inputs[-1 - s]._meta.aval
            values[s] = new_tensor(tr, s, meta(a.shape, a.dtype, True, False))
            tr.hold(values[s])
        self.staged(values, grads, stops, tr, None)

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
        unit: Any,
        original: Callable[[int], Any] | None,
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
            g = self.hooked(unit, ready, totals.pop(ready))
            if open_.trace is not tr:
                self.moved(unit, values, ready, g, remaining, totals)
                break
            begin = {ready: g}
        for t, g in deliveries:
            self.deliver(t, origin_of(t), g)

    def moved(
        self,
        unit: Any,
        values: dict[int, Any],
        ready: int,
        g: Any,
        remaining: list[int],
        totals: dict[int, Any],
    ) -> None:
        """A hook had the open trace flushed: the rest of the way is through its segment."""
        for s in remaining:
            segment, slot = values[s]._hist
            if isinstance(unit, Trace):
                # Its hooks went along.
                if (id(unit), s) in self.targets:
                    self.targets[id(segment), slot] = self.targets[id(unit), s]
            else:
                hooks = segment.hooks = dict(segment.hooks or {})
                hooks[slot] = [functools.partial(self.hooked, unit, s)]
            if s in totals:
                self.deliver(values[s], values[s]._hist, totals[s])
        segment, slot = values[ready]._hist
        self.done.add((id(segment), slot))
        self.keep.append(segment)
        self.deliver(values[ready], (segment, slot), g)

    def hooked(self, unit: Any, slot: int, g: Any) -> Any:
        """Runs the hooks on a value's gradient and notes it if it is a target."""
        with grad_mode(self.create):
            for hook in (unit.hooks or {}).get(slot, ()):
                changed = hook(g)
                if changed is not None:
                    g = changed
        at = self.targets.get((id(unit), slot))
        if at is not None:
            self.captured[at] = g
        return g


def origin(unit: Any, position: int) -> tuple[Any, int] | None:
    """The history of an input of a trace or segment, from before it was bound."""
    if isinstance(unit, Segment):
        return unit.origins[position]
    return origin_of(unit.inputs[position])


def origin_of(t: Any) -> tuple[Any, int] | None:
    """The history of an input of the open trace: from before it was bound."""
    if t._meta.leaf:
        return None, 0
    return t._hist


def pull_step(
    seeds: dict[Any, Any],
    stops: list[Any],
    retain: bool,
    create: bool,
    before: frozenset[int],
) -> list[tuple[Any, Any]]:
    """One edge of gradients in the open trace: (input or stop, gradient) for those reached."""
    while True:
        tr = open_.trace
        try:
            for t in (*seeds, *stops):
                alias.current(tr, t)
            if open_.trace is not tr:
                raise RuntimeError("the values of a backward pass were flushed on its way")
            starts = [t._slot for t in seeds]
            given = [key_for(tr, g) for g in seeds.values()]
            barriers = [t._slot for t in stops]
            key = (
                "pull",
                retain,
                create,
                keep_saved[0] > 0,
                *starts,
                None,
                *given,
                None,
                *barriers,
            )

            def make(builder: Builder) -> tuple:
                variables = {
                    t._slot: Var(builder.slot_of(g), g._meta.aval) for t, g in seeds.items()
                }
                grads, freed = pull(tr, builder, variables, retain, create, barriers, before)  # noqa: B023
                return [
                    (slot, g.slot, meta(g.shape, g.dtype, create, not create))
                    for slot, g in sorted(grads.items())
                ], freed

            node = edge_for(tr, key, "backward", make)
            break
        except alias.Restart as restart:
            undo_binding(tr)
            if restart.action is None:
                raise
            restart.action()
        except BaseException:
            undo_binding(tr)
            raise
    results = []
    tr.node = node
    stop_at = {t._slot: t for t in stops}
    for slot, made, m in node.template:
        g = new_tensor(tr, made, m)
        tr.live.append(g)
        where = stop_at.get(slot)
        results.append((tr.inputs[-1 - slot] if where is None else where, g))
    return results


def replay(unit: Segment) -> dict[int, Any]:
    """Records a segment's entries again; its values by slot, as tensors with history."""
    values: dict[int, Any] = {}
    for i, (t, a) in enumerate(zip(unit.inputs, unit.arrays, strict=True)):
        m = unit.spec.metas[i]
        if not m.requires_grad:
            values[-1 - i] = concrete(a, m.dtype)
        else:
            values[-1 - i] = stand_in(unit, i) if unit.changed(i) else t
    numbers = unit.numbers
    for e in unit.spec.entries:
        args = []
        for i, aval in zip(e.inputs, e.in_avals, strict=True):
            if type(i) is Const:
                args.append(i.value)
            elif i <= -1_000_000_000:
                args.append(numbers[-1_000_000_000 - i])
            elif i in values:
                args.append(values[i])
            else:
                raise KeyError(i)
            del aval
        with grad_mode(e.grad):
            if e.prim.name == "number":
                values[e.outputs[0]] = e.prim.reference(*args, **e.attrs)
                continue
            made = apply(quiet(e.prim), *args, **e.attrs)
        values.update(zip(e.outputs, made if type(made) is tuple else (made,), strict=True))
    return values


@functools.cache
def quiet(prim: Primitive) -> Primitive:
    """A primitive that raised nothing on these values: it need not run at its call again."""
    if not prim.raises:
        return prim
    return Primitive(
        prim.name, prim.meaning, prim.rule, prim.reference, prim.gradients, prim.host, False,
        prim.variadic,
    )  # fmt: skip


def stand_in(unit: Segment, position: int) -> Any:
    """An input as it was when bound, before it was written to, in the history it had then."""
    array = unit.arrays[position]
    storage = unit.inputs[position]._storage
    if storage is not None and storage.version != unit.bound[position]:
        if np.may_share_memory(storage.array, array) and storage.trace is None:
            raise RuntimeError(INPLACE)
    m = unit.spec.metas[position]
    t = concrete(array, m.dtype)
    t._meta = meta(m.shape, m.dtype, True, False)
    histories = [unit.origins[position]]
    t._hist = (PyNode("Past", [unit.inputs[position]], lambda grads: grads, histories), 0)
    return t


class grad_mode:
    """A block in which history is, or is not, recorded."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __enter__(self) -> None:
        self.before = open_.state.grad
        set_state(grad=self.on)

    def __exit__(self, *exc: object) -> None:
        set_state(grad=self.before)


def add(a: Any, b: Any) -> Any:
    return apply(PRIMITIVES["add"], a, b)


def concrete(array: np.ndarray, dtype: Any) -> Any:
    """A tensor without history on an array that is its own."""
    t = new_tensor(None, 0, meta(array.shape, dtype))
    t._storage = Storage(array)
    return t


def fitted(g: Any, t: Any, name: str) -> Any:
    """A custom gradient in the dtype and shape of its tensor."""
    if g._meta.shape != t._meta.shape:
        from flambeau.ir.primitive import broadcast_shapes

        shape = t._meta.shape
        if broadcast_shapes(g._meta.shape, shape) != g._meta.shape:
            raise RuntimeError(
                f"Function {name} returned an invalid gradient: got {list(g._meta.shape)} but "
                f"expected shape compatible with {list(shape)}"
            )
        extra = len(g._meta.shape) - len(shape)
        dims = tuple(range(extra)) + tuple(
            i + extra for i, n in enumerate(shape) if n == 1 and g._meta.shape[i + extra] != 1
        )
        g = apply(PRIMITIVES["sum"], g, dims=dims, keepdim=False)
        g = apply(PRIMITIVES["reshape"], g, shape=shape)
    if g._meta.dtype is not t._meta.dtype:
        g = apply(PRIMITIVES["cast"], g, dtype=t._meta.dtype)
    return g


# --------------------------------------------------------------------------- entry points


def check_roots(tensors: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
    """The gradients to begin with: given, or one for a scalar."""
    seeds = []
    for i, (t, g) in enumerate(zip(tensors, gradients, strict=True)):
        if not t._meta.requires_grad:
            raise RuntimeError(
                f"element {i} of tensors does not require grad and does not have a grad_fn"
            )
        if g is None:
            size = 1
            for n in t._meta.shape:
                size *= n
            if size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
        else:
            if not isinstance(g, Handle):
                raise TypeError(
                    "gradients can be either Tensors or None, but got " + type(g).__name__
                )
            if g._meta.shape != t._meta.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{i}] has a shape of "
                    f"torch.Size({list(g._meta.shape)}) and output[{i}] has a shape of "
                    f"torch.Size({list(t._meta.shape)})."
                )
            if g._meta.dtype.is_complex != t._meta.dtype.is_complex:
                raise RuntimeError(
                    "For complex Tensors, both grad_output and output are required to have the "
                    f"same dtype. Mismatch in dtype: grad_output[{i}] has a dtype of "
                    f"{g._meta.dtype} and output[{i}] has a dtype of {t._meta.dtype}."
                )
            if g._meta.dtype is not t._meta.dtype:
                g = apply(PRIMITIVES["cast"], g, dtype=t._meta.dtype)
        seeds.append(g)
    return seeds


def ones_like(t: Any) -> Any:
    return concrete(np.ones(t._meta.shape, t._meta.dtype.numpy), t._meta.dtype)


def run_backward(
    tensors: Sequence[Any],
    gradients: Sequence[Any],
    retain: bool,
    create: bool,
    inputs: Sequence[Any] | None,
) -> None:
    """Accumulates gradients in the leaves (or in ``inputs`` only)."""
    tr = open_.trace
    if tr.closed:
        renew(tr)
        tr = open_.trace
    if tr.builder is not None:
        raise RuntimeError("backward inside a recorded function's body")
    if tr.special:
        with LOCK:
            _run_backward(tensors, gradients, retain, create, inputs)
        return
    _run_backward(tensors, gradients, retain, create, inputs)


def _run_backward(
    tensors: Sequence[Any],
    gradients: Sequence[Any],
    retain: bool,
    create: bool,
    inputs: Sequence[Any] | None,
) -> None:
    seeds = check_roots(tensors, gradients)
    if anomaly.is_anomaly_enabled():
        # Step by step means on arrays: what is pending becomes a segment.
        flush.flush_other(open_.trace)
    if len(tensors) == 1 and not create and inputs is None:
        t = tensors[0]
        history = history_of(t)
        tr = open_.trace
        if history is not None and history[0] is tr and t._trace is tr:
            state = open_.state.grad
            if state:
                set_state(grad=True)
            if backward_in_trace(tr, t, seeds[0], retain):
                return
    run = Pass(retain, create)
    with run:
        collect(run, tensors, seeds, None if inputs is None else list(inputs))
        settle(run, inputs, create)


def settle(found: Pass, inputs: Sequence[Any] | None, create: bool) -> None:
    """Accumulates what a pass has found."""
    if inputs is None:
        pairs = list(found.leaves.values())
    else:
        pairs = [(t, found.captured[i]) for i, t in enumerate(inputs) if i in found.captured]
    for t, g in pairs:
        if id(g) not in found.fresh or create or not quick(t, g):
            accumulate(t, g, create)


def quick(t: Any, g: Any) -> bool:
    """``accumulate`` of an array that is nobody's into a leaf nobody watches; False if it is not.

    One assignment or addition: a recorded one would cost more than the arithmetic.
    """
    if t._hooks or t._post_hooks or not t._meta.leaf:
        return False
    old = t._grad
    if old is None:
        t._grad = g
        return True
    storage = old._storage
    if storage is None or not storage.plain or old._spec is not None:
        return False
    bound = old._trace
    if bound is not None and not bound.closed:
        return False
    dtype = old._meta.dtype
    if dtype is not g._meta.dtype or dtype.numpy not in _PLAIN:
        return False
    # New memory: a segment may have bound the old.
    storage.array = np.asarray(storage.array + g._storage.array)
    storage.version += 1
    return True


# NumPy adds these as the primitive does.
_PLAIN = frozenset({np.dtype(np.float32), np.dtype(np.float64)})


def collect(
    run: Pass, tensors: Sequence[Any], seeds: Sequence[Any], targets: list[Any] | None
) -> None:
    """Runs a pass; it has the gradients of all leaves, and of ``targets`` by position."""
    leaf_targets = []
    for i, t in enumerate(targets or ()):
        history = history_of(t)
        if history is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        if history[0] is None:
            leaf_targets.append((i, t))
        else:
            run.targets[id(history[0]), history[1]] = i
            run.keep.append(history[0])
    run.restricted = targets is not None
    run.leaf_targets = {id(t) for _, t in leaf_targets}
    roots = []
    for t, g in zip(tensors, seeds, strict=True):
        roots.append((t, ones_like(t) if g is None else g))
    # Histories are read once all are settled: settling one may flush the trace of another.
    for t, _ in roots:
        history_of(t)
    run.roots = list(tensors)
    for t, g in roots:
        history = history_of(t)
        run.deliver(t, history, g)
    run.run()
    for i, t in leaf_targets:
        if id(t) in run.leaves:
            run.captured[i] = leaf_hooked(t, run.leaves[id(t)][1])


def leaf_hooked(t: Any, g: Any) -> Any:
    """Runs the hooks on the whole gradient of a leaf."""
    for hook in list((t._hooks or {}).values()):
        changed = hook(g)
        if changed is not None:
            g = changed
    return g


def accumulate(t: Any, g: Any, create: bool) -> None:
    """Adds to ``t.grad``: into the tensor there, or a new one when history is kept."""
    if t._meta.leaf:
        g = leaf_hooked(t, g)
    old = t._grad
    if old is None:
        t._grad = g if create or not g._meta.requires_grad else alias.detached(g)
        if not create:
            t._grad = private(t._grad)
    elif create:
        t._grad = add(old, g)
    else:
        with grad_mode(False):
            total = add(old, g)
        tr = open_.trace
        if total._trace is tr:
            alias.write(tr, old, total._slot, total._meta)
        else:
            replace_value(old, total)
    for hook in list((t._post_hooks or {}).values()):
        hook(t)


def replace_value(old: Any, new: Any) -> None:
    """Copies a concrete value into a concrete tensor."""
    old._array()[...] = new._array()
    old._storage.version += 1


def private(g: Any) -> Any:
    """A gradient that shares memory with nothing the caller holds."""
    storage = g._storage
    if storage is not None and storage.trace is None and (storage.shared or storage.foreign):
        return concrete(np.array(g._array(), order="C"), g._meta.dtype)
    twin = new_tensor(g._trace, g._slot, g._meta)
    if storage is None:
        if g._trace is open_.trace:
            open_.trace.hold(twin)
            return twin
        return g
    if storage.trace is not None:
        return g
    twin._trace = None
    twin._storage = Storage(np.array(storage.array, order="C"))
    return twin
