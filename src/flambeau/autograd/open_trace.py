"""Gradients within the open trace: each step back is an edge of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.ir.derive import depending, derive
from flambeau.ir.graph import Entry, Var
from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import alias, flush
from flambeau.record.builder import (
    Builder,
    attach,
    construct,
    finish,
    new_tensor,
    shared,
    undo_binding,
)
from flambeau.record.meta import meta
from flambeau.record.segment import TWICE, constants, overwrite_check, reads_primal
from flambeau.record.stats import stats
from flambeau.record.storage import Rows, contiguous_strides
from flambeau.record.trace import Node, Trace, open_
from flambeau.record.writes import write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Whether writes to values that backward needs are allowed (graph.allow_mutation_on_saved_tensors).
keep_saved = [0]
_new = object.__new__


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


def pull(
    tr: Trace,
    builder: Builder,
    seeds: dict[int, Var],
    retain: bool,
    create: bool,
    barriers: Sequence[int] = (),
    before: frozenset[int] | None = None,
    asked: Sequence[int] | None = None,
) -> tuple[dict[int, Var], frozenset[int]]:
    """Writes the gradients of the trace's inputs to ``builder``; they, and what is then spent.

    ``before`` is what other passes had spent, where this one comes by in several steps; ``asked``
    are the inputs it is about, where those are not all.
    """
    node = tr.node
    before = node.freed if before is None else before
    entries = node.path_entries()
    metas = node.input_metas()
    wanted: Sequence[int] = [-1 - i for i, m in enumerate(metas) if m.requires_grad]
    if asked is not None:
        wanted = asked
    checked = node.overwritten and not keep_saved[0]
    written = overwrite_check(node.overwritten, builder) if checked else None
    spent: set[int] = set()
    given = {g.slot for g in seeds.values()} | constants(entries)

    def check(entry: Entry, start: int) -> None:
        for made in builder.entries[start:]:
            if made.prim.name == "absent_gradient":
                made.prim.reference(None, **made.attrs)
        if reads_primal(builder.entries[start:], node.n_slots, given):
            if not before.isdisjoint(entry.outputs):
                raise RuntimeError(TWICE)
            spent.update(entry.outputs)
        if written:
            written(entry, start)

    builder.history = create
    wholes = node.path_wholes() if create else None
    grads, _ = derive(entries, wanted, seeds, builder, check, barriers, wholes)
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
    stats.misses += 1
    stats.last_miss = (name, key, tr.node)
    return attach(tr, key, node)


def known_backward(tr: Trace, t: Any, retain: bool) -> bool:
    """``backward_in_trace`` where it was done before to leaves without gradients.

    False where it was not, or something is in its way: then nothing is done.
    """
    memo = tr.node.memo
    way = None if memo is None else memo.get(("way", t._slot, retain))
    if way is None or tr.hooks or keep_saved[0]:
        return False
    reached, node, made = way
    inputs = tr.inputs
    leaves = [inputs[i] for i in reached]
    for x in leaves:
        if x._grad is not None or x._hooks or x._post_hooks or not x._meta.leaf:
            return False
    kind = shared["Tensor"]
    grads = []
    for slot, m in made:
        g = _new(kind)
        g._trace = tr
        g._slot = slot
        g._meta = m
        grads.append(g)
    live = tr.live
    first = len(live)
    interrupt = None
    while True:
        try:
            # All may be done twice.
            tr.node = node
            live[first:] = grads
            for x, g in zip(leaves, grads, strict=True):
                x._grad = g
            break
        except KeyboardInterrupt as e:
            interrupt = e
    if node.length > flush.LENGTH or tr.cut:
        flush.flush(tr)
    if interrupt is not None:
        raise interrupt
    return True


def backward_in_trace(tr: Trace, t: Any, gradient: Any, retain: bool) -> bool:
    """``t.backward()`` as one edge; False where hooks or other histories ask for more."""
    if tr.hooks or keep_saved[0]:
        return False
    slot = t._slot
    reached = leaves_of(tr.node, slot)
    inputs = tr.inputs
    leaves = [inputs[i] for i in reached]
    for leaf in leaves:
        if leaf._hooks or leaf._post_hooks or not leaf._meta.leaf:
            return False
    try:
        given = None if gradient is None else key_for(tr, gradient)
        states = [None if x._grad is None else key_for(tr, x._grad) for x in leaves]
        key = ("backward", slot, given, retain, *states)
        node = tr.node.edges.get(key)
        if node is None:
            node = backward_edge(tr, key, t, gradient, retain, reached, leaves)
    except BaseException as error:
        try:
            undo_binding(tr)
        finally:
            # Once more: an interrupt may have come while the first was at it.
            undo_binding(tr)
        if not isinstance(error, alias.Restart):
            raise
        (error.action or (lambda: flush.flush(open_.trace)))()
        return False
    results = node.template
    if gradient is None and None not in results and all(x._grad is None for x in leaves):
        made = tuple(result[:2] for result in results)
        tr.node.memo["way", slot, retain] = (reached, node, made)  # type: ignore[index]
    interrupt = None
    done = 0
    while True:
        try:
            tr.node = node
            while done < len(leaves):
                result = results[done]
                if result is not None:
                    made, m, of_seed = result
                    leaf = leaves[done]
                    given = of_seed and gradient is not None
                    if given and leaf._grad is None and in_order(gradient):
                        leaf._grad = seen_as(gradient, m)
                    else:
                        store(tr, leaf, made, m)
                done += 1
            break
        except KeyboardInterrupt as e:
            interrupt = e
    if node.length > flush.LENGTH or tr.cut:
        flush.flush(tr)
    if interrupt is not None:
        raise interrupt
    return True


def backward_edge(
    tr: Trace,
    key: Any,
    t: Any,
    gradient: Any,
    retain: bool,
    reached: Sequence[int],
    leaves: Sequence[Any],
) -> Node:
    """The edge of a backward pass that is taken here for the first time."""

    def make(builder: Builder) -> tuple:
        seeds = {t._slot: seed_var(builder, t._meta, gradient)}
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
            m = meta(g.shape, g.dtype)
            results.append((g.slot, m, is_reshaped(builder, g.slot, seeds[t._slot].slot)))
        return results, freed

    return edge_for(tr, key, "backward", make)


def is_reshaped(builder: Builder, slot: Any, seed: Any) -> bool:
    """Whether a gradient is the one given, in another shape."""
    if slot == seed:
        return False
    made = {e.outputs[0]: e for e in builder.entries if e.prim.name == "reshape"}
    while slot != seed:
        if slot not in made:
            return False
        slot = made[slot].inputs[0]
    return True


def in_order(gradient: Any) -> bool:
    """Whether a given gradient is data in row-major order, which has views at once."""
    storage = gradient._storage
    if storage is None or storage.trace is not None or gradient._meta.requires_grad:
        return False
    spec = gradient._spec
    if spec is None:
        return True
    return spec.__class__ in (tuple, Rows) and spec[1] == contiguous_strides(spec[0])


def seen_as(gradient: Any, m: Any) -> Any:
    """A given gradient in another shape: a view of it, as PyTorch takes it over."""
    offset = alias.spec_of(gradient)[2]
    return alias.alias_of(gradient, (m.shape, contiguous_strides(m.shape), offset), m, own=True)


def store(tr: Trace, leaf: Any, slot: int, m: Any) -> None:
    """Puts the accumulated gradient of a leaf in its ``.grad``, keeping the object there."""
    old = leaf._grad
    if old is None:
        g = new_tensor(tr, slot, m)
        tr.live.append(g)
        leaf._grad = g
    else:
        write(tr, old, slot, m)


def key_for(tr: Trace, t: Any) -> Any:
    return t._slot if t._trace is tr else alias.bind(tr, t)


def with_history(tr: Trace, builder: Builder) -> set[int]:
    """The slots that depend on what wants a gradient: gradients of linear functions do not."""
    reached = {-1 - i for i, t in enumerate(tr.inputs) if t._meta.requires_grad}
    for e in (*tr.node.path_entries(), *builder.entries):
        if e.grad and any(
            i in reached and e.prim.gradient_of(p) is not None
            for p, i in enumerate(e.inputs)
            if type(i) is int
        ):
            reached.update(e.outputs)
    return reached


def pull_step(
    seeds: dict[Any, Any],
    stops: list[Any],
    retain: bool,
    create: bool,
    before: frozenset[int],
    asked: Callable[[Trace], tuple[int, ...] | None],
) -> list[tuple[Any, Any]]:
    """One edge of gradients in the open trace: (input or stop, gradient) for those reached.

    ``asked`` tells which inputs of the trace matter.
    """
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
            inputs = asked(tr)
            how = (retain, create, barriers, before, inputs)
            key = (
                "pull",
                retain,
                create,
                keep_saved[0] > 0,
                inputs,
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
                grads, freed = pull(tr, builder, variables, *how)  # noqa: B023
                kept = with_history(tr, builder) if create else ()  # noqa: B023
                return [
                    (slot, g.slot, meta(g.shape, g.dtype, g.slot in kept, g.slot not in kept))
                    for slot, g in sorted(grads.items())
                ], freed

            node = edge_for(tr, key, "backward", make)
            break
        except BaseException as error:
            try:
                undo_binding(tr)
            finally:
                # Once more: an interrupt may have come while the first was at it.
                undo_binding(tr)
            if not isinstance(error, alias.Restart) or error.action is None:
                raise
            error.action()
    results = []
    tr.node = node
    stop_at = {t._slot: t for t in stops}
    for slot, made, m in node.template:
        g = new_tensor(tr, made, m)
        tr.live.append(g)
        where = stop_at.get(slot)
        results.append((tr.inputs[-1 - slot] if where is None else where, g))
    return results
