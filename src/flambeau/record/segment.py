"""The history that outlives a flush: what a later backward needs of it."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flambeau.ir.derive import derive, slots_read
from flambeau.ir.graph import NUMBERS, Aval, Const, Entry, Graph, Var
from flambeau.run.interpreter import needed
from flambeau.run.program import Program

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from flambeau.record.meta import Meta

_order = itertools.count(1)
# Where segments are noted (by weak references) as they are made; the innermost list is last.
noted: list[list[Any]] = []

INPLACE = (
    "one of the variables needed for gradient computation has been modified by an inplace "
    "operation: a value that backward needs was overwritten after it was used. Hint: clone() it "
    "before the write, or write out of place."
)
TWICE = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you "
    "call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward "
    "through the graph a second time or if you need to access saved tensors after calling "
    "backward."
)


def next_order() -> int:
    return next(_order)


def overwrite_check(overwritten: Iterable[tuple[Any, int]], recorder: Any) -> Any:
    """A callback for ``derive``: refuses gradients that read a value that was written over."""
    first: dict[Any, int] = {}
    for slot, position in overwritten:
        first[slot] = min(position, first.get(slot, position))

    def check(entry: Entry, start: int) -> None:
        for made in recorder.entries[start:]:
            for i in made.inputs:
                if type(i) is int and i in first and entry.outputs[0] < first[i]:
                    raise RuntimeError(INPLACE)

    return check


def constants(entries: Iterable[Entry]) -> set[int]:
    """The slots that depend on nothing: a mask of a shape, say; arithmetic of run-time numbers."""
    found: set[int] = set()
    for e in entries:
        least = NUMBERS if e.prim.name == "number" else -math.inf
        if all(i.__class__ is Const or i in found or i <= least for i in e.inputs):
            found.update(e.outputs)
    return found


# Primitives that give the same memory in another order.
_VIEWS = frozenset({"broadcast", "permute", "reshape", "slice"})


def views_of_inputs(entries: Iterable[Entry]) -> dict[int, frozenset[int]]:
    """The slots that are views of inputs, with the inputs they are made of."""
    found: dict[int, frozenset[int]] = {}
    for e in entries:
        if e.prim.name in _VIEWS and type(e.inputs[0]) is int:
            source = e.inputs[0]
            if NUMBERS < source < 0:
                found[e.outputs[0]] = frozenset({source})
            elif source in found:
                found[e.outputs[0]] = found[source]
    return found


class Spec:
    """The part of a segment that depends on its path alone: shared by all runs of it."""

    __slots__ = (
        "entries", "metas", "n_slots", "roots", "wanted", "residuals", "reads",
        "backwards", "names", "avals", "overwritten", "spendable", "constants",
    )  # fmt: skip

    def __init__(
        self,
        entries: Sequence[Entry],
        metas: Sequence[Meta],
        n_slots: int,
        roots: Sequence[int],
        avals: dict[int, Aval],
        overwritten: Iterable[tuple[Any, int]],
        names: dict[int, str],
    ) -> None:
        self.entries = entries
        self.metas = metas
        self.n_slots = n_slots
        self.roots = tuple(roots)
        self.wanted = tuple(-1 - i for i, m in enumerate(metas) if m.requires_grad)
        self.names = names
        self.avals = avals
        self.backwards: dict[tuple, tuple] = {}
        self.overwritten = overwritten
        self.residuals: tuple[int, ...] = ()
        self.reads: frozenset[int] = frozenset()
        self.constants = constants(entries)
        spent: set[int] = set()
        graph, _, _ = self._derive(self.roots, avals, (), spent)
        # What backward passes will have spent when nothing that was saved is needed any more.
        self.spendable = frozenset(spent)
        read = {i for e in graph.entries for i in e.inputs if type(i) is int}
        # Constants are computed again, and so are views of inputs, which are kept themselves.
        views = views_of_inputs(entries)
        self.residuals = tuple(
            sorted(
                i for i in read if 0 <= i < n_slots and i not in self.constants and i not in views
            )
        )
        self.reads = frozenset(i for i in read if i < n_slots).union(
            *(views[i] for i in read if i in views)
        )

    def _derive(
        self,
        seeded: Sequence[int],
        avals: dict[int, Aval],
        overwritten: Iterable,
        spent: set[int],
        wanted: Sequence[int] | None = None,
        barriers: Sequence[int] = (),
        wholes: Mapping[int, Sequence[Var]] | None = None,
    ) -> tuple[Graph, dict[int, int], dict[int, Var]]:
        graph = Graph(next_slot=self.n_slots + len(seeded))
        seeds = {s: Var(self.n_slots + k, avals[s]) for k, s in enumerate(seeded)}
        written = overwrite_check(overwritten, graph) if overwritten else None

        def check(entry: Entry, start: int) -> None:
            if reads_primal(graph.entries[start:], self.n_slots, self.constants):
                spent.update(entry.outputs)
            if written:
                written(entry, start)

        asked = self.wanted if wanted is None else wanted
        grads, _ = derive(self.entries, asked, seeds, graph, check, barriers, wholes)
        return graph, {s: v.slot for s, v in seeds.items()}, grads

    def backward(
        self,
        seeded: tuple[int, ...],
        allowed: bool = False,
        wanted: tuple[int, ...] | None = None,
        barriers: tuple[int, ...] = (),
        node: Any = None,
    ) -> Way:
        """How gradients come back from those of ``seeded``, to all inputs or to ``wanted`` only.

        What reaches one of ``barriers`` stays there. ``allowed``: values that were written over
        later may be read. ``node``, the end of the path, where the gradients are to carry history.
        """
        key = (seeded, allowed, wanted, barriers, node is not None)
        found = self.backwards.get(key)
        if found is None:
            spent: set[int] = set()
            graph, seeds, grads = self._derive(
                seeded,
                self.avals,
                () if allowed else self.overwritten,
                spent,
                wanted,
                barriers,
                None if node is None else node.path_wholes(),
            )
            count = len(self.metas)
            place = {s: -1 - count - i for i, s in enumerate(self.residuals)}
            count += len(self.residuals)
            place.update({seeds[s]: -1 - count - i for i, s in enumerate(seeded)})
            made = [*self.again(graph.entries), *graph.entries]
            reads = slots_read(made)
            entries = [renumbered(e, place) for e in made]
            slots = tuple(sorted(grads, reverse=True))
            outs = [place.get(grads[s].slot, grads[s].slot) for s in slots]
            found = self.backwards[key] = Way(
                slots,
                Program(entries, outs),
                frozenset(spent),
                frozenset(reads),
                tuple(needed(entries, outs, ties=True)),
                tuple(outs),
            )
        return found

    def again(self, entries: Sequence[Entry]) -> list[Entry]:
        """What must be computed again for a way back: values that are no residuals.

        They are constants, or else gradients begin within the path, at what a recorded way back
        has read: steps whose results have no gradient otherwise are then gone through, too.
        """
        kept = {*self.residuals, *(s for s in slots_read(entries) if s >= self.n_slots)}
        wanted = {s for s in slots_read(entries) if s >= 0} - kept
        found = []
        for e in reversed(self.entries) if wanted else ():
            if not wanted.isdisjoint(e.outputs):
                found.append(e)
                wanted |= slots_read([e]) - kept
        return found[::-1]


class Way(NamedTuple):
    """A way back through a segment.

    ``slots`` are the inputs (and barriers) that get a gradient, ``program`` computes those
    gradients, ``outs``, from the segment's inputs, its residuals and the gradients given, by
    ``entries``. ``spent`` are the outputs of the entries whose saved values it reads, ``reads``
    the slots read.
    """

    slots: tuple[int, ...]
    program: Program
    spent: frozenset[int]
    reads: frozenset[int]
    entries: tuple[Entry, ...]
    outs: tuple[int, ...]


def reads_primal(
    entries: Iterable[Entry], n_slots: int, given: Collection[int] = frozenset()
) -> bool:
    """Whether entries of a backward read a value of the forward.

    Neither run-time numbers are such, nor what is ``given``: gradients to begin with, constants.
    """
    return any(
        type(i) is int and NUMBERS < i < n_slots and i not in given
        for e in entries
        for i in e.inputs
    )


def renumbered(entry: Entry, place: dict[int, int]) -> Entry:
    """An entry with some of the slots it reads called otherwise."""
    inputs = tuple(place.get(i, i) if type(i) is int else i for i in entry.inputs)
    return Entry(
        entry.prim, inputs, entry.outputs, entry.attrs, entry.in_avals, entry.out_avals, entry.grad
    )


def histories(inputs: Sequence[Any]) -> tuple:
    """The inputs as far as a spent segment needs them: to show the graph."""
    return tuple(t if t._meta.requires_grad else None for t in inputs)


class Segment:
    """A flushed trace whose history is still wanted.

    ``inputs`` are the handles that were bound, ``arrays`` their values then, ``saved`` the
    residuals by slot; ``origins`` are the inputs' own histories and ``bound`` their storages'
    versions at the time. ``spent`` are the slots whose saved
    values a backward has used up, ``freed`` once that is all; ``hooks`` by slot.
    """

    __slots__ = (
        "order", "spec", "inputs", "arrays", "numbers", "saved", "versions", "freed", "hooks",
        "node", "origins", "spent", "bound", "packed", "nodes", "__weakref__",
    )  # fmt: skip

    def __init__(
        self,
        spec: Spec | None,
        node: Any,
        inputs: Sequence[Any],
        arrays: Sequence[Any],
        numbers: Sequence[Any],
    ) -> None:
        self.order = next_order()
        self.spec = spec
        self.node = node
        self.inputs = inputs
        self.arrays = arrays
        self.numbers = numbers
        self.saved: dict[int, Any] = {}
        self.versions: list[tuple[int, Any, int]] = []
        self.freed = spec is None
        self.spent: frozenset[int] = frozenset()
        self.hooks: dict[int, list] | None = None
        self.origins: Sequence[Any] = ()
        self.bound: Sequence[int] = ()
        # What hooks made of values that are kept (autograd/saved.py), and their way back, by slot.
        self.packed: dict[int, tuple[Any, Any]] = {}
        # Nodes of ``grad_fn`` that something was noted on.
        self.nodes: list[Any] = []

    def changed(self, position: int) -> bool:
        """Whether an input has another value now than it was bound with."""
        storage = self.inputs[position]._storage
        return (
            storage is None
            or storage.trace is not None
            or storage.version != self.bound[position]
            or not np.may_share_memory(storage.memory, self.arrays[position])
        )

    def check(self, way: Way | None, allowed: bool = False) -> None:
        """Raises if backward may not go that way (any more).

        ``allowed``: a value written over later will do, if the write took new memory.
        """
        if way is None or not self.spent.isdisjoint(way.spent) or (self.freed and way.spent):
            raise RuntimeError(TWICE)
        for slot, storage, version in self.versions:
            if storage.version != version and slot in way.reads:
                if not (allowed and self._kept(storage)):
                    raise RuntimeError(INPLACE)

    def _kept(self, storage: Any) -> bool:
        if storage.trace is not None and not storage.foreign:
            return True
        held = (*self.arrays, *self.saved.values())
        return not any(np.shares_memory(a, storage.memory) for a in held)

    def spend(self, slots: frozenset[int]) -> None:
        """Notes whose saved values a backward has used up; lets go of them when none is left."""
        if self.freed:
            # One pass may come by several times.
            return
        self.spent |= slots
        if self.spent >= self.spec.spendable and slots:
            self.freed = True
            self.saved = {}
            self.arrays = (None,) * len(self.arrays)
            self.inputs = histories(self.inputs)


class Spent(Segment):
    """A segment that a backward in its own trace has used up: it only shows the graph."""

    __slots__ = ()
    spec = None  # type: ignore[assignment]
    arrays = numbers = bound = ()  # type: ignore[assignment]
    versions = ()  # type: ignore[assignment]
    saved = {}  # type: ignore[misc]
    freed = True  # type: ignore[misc]
    spent: frozenset[int] = frozenset()  # type: ignore[misc]

    def __init__(self, node: Any, inputs: Sequence[Any], origins: Sequence[Any]) -> None:
        self.order = next_order()
        self.node = node
        self.inputs = inputs
        self.origins = origins
        self.hooks = None
