"""The history that outlives a flush: what a later backward needs of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.derive import derive
from flambeau.ir.graph import Aval, Entry, Graph, Var
from flambeau.run.interpreter import Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flambeau.record.meta import Meta

_order = itertools.count(1)

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


class Spec:
    """The part of a segment that depends on its path alone: shared by all runs of it."""

    __slots__ = (
        "entries", "metas", "n_slots", "roots", "wanted", "residuals", "reads",
        "backwards", "names", "avals", "overwritten",
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
        graph, _, _ = self._derive(self.roots, avals, ())
        read = {i for e in graph.entries for i in e.inputs if type(i) is int}
        self.residuals = tuple(sorted(i for i in read if 0 <= i < n_slots))
        self.reads = frozenset(i for i in read if i < n_slots)

    def _derive(
        self, seeded: Sequence[int], avals: dict[int, Aval], overwritten: Iterable
    ) -> tuple[Graph, dict[int, int], dict[int, Var]]:
        graph = Graph(next_slot=self.n_slots + len(seeded))
        seeds = {s: Var(self.n_slots + k, avals[s]) for k, s in enumerate(seeded)}
        check = overwrite_check(overwritten, graph) if overwritten else None
        grads, _ = derive(self.entries, self.wanted, seeds, graph, check)
        return graph, {s: v.slot for s, v in seeds.items()}, grads

    def backward(self, seeded: tuple[int, ...], allowed: bool = False) -> tuple[tuple[int, ...], Program]:
        """The inputs that get a gradient from those of ``seeded``, and the program for them.

        The program's inputs are the segment's, then the residuals, then the gradients given.
        ``allowed``: values that were written over later may be read.
        """
        key = (seeded, allowed)
        found = self.backwards.get(key)
        if found is None:
            graph, seeds, grads = self._derive(seeded, self.avals, () if allowed else self.overwritten)
            count = len(self.metas)
            place = {s: -1 - count - i for i, s in enumerate(self.residuals)}
            count += len(self.residuals)
            place.update({seeds[s]: -1 - count - i for i, s in enumerate(seeded)})
            entries = [renumbered(e, place) for e in graph.entries]
            slots = tuple(s for s in self.wanted if s in grads)
            outs = [place.get(grads[s].slot, grads[s].slot) for s in slots]
            found = self.backwards[key] = (slots, Program(entries, outs))
        return found


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
    versions at the time. ``freed`` once a backward has spent it; ``hooks`` by slot.
    """

    __slots__ = (
        "order", "spec", "inputs", "arrays", "numbers", "saved", "versions", "freed", "hooks",
        "node", "origins", "bound", "__weakref__",
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
        self.versions: list[tuple[Any, int]] = []
        self.freed = spec is None
        self.hooks: dict[int, list] | None = None
        self.origins: Sequence[Any] = ()
        self.bound: Sequence[int] = ()

    def changed(self, position: int) -> bool:
        """Whether an input has another value now than it was bound with."""
        storage = self.inputs[position]._storage
        return (
            storage is None
            or storage.trace is not None
            or storage.version != self.bound[position]
            or not np.may_share_memory(storage.array, self.arrays[position])
        )

    def check(self, allowed: bool = False) -> None:
        """Raises if backward may not go through here (any more).

        ``allowed``: a value written over later will do, if the write took new memory.
        """
        if self.freed:
            raise RuntimeError(TWICE)
        for storage, version in self.versions:
            if storage.version != version and not (allowed and self._kept(storage)):
                raise RuntimeError(INPLACE)

    def _kept(self, storage: Any) -> bool:
        held = (*self.arrays, *self.saved.values())
        return not any(np.shares_memory(a, storage.array) for a in held)

    def free(self) -> None:
        """Lets go of the residuals."""
        if self.spec is not None and not self.spec.residuals and not self.spec.reads:
            return
        self.freed = True
        self.saved = {}
        self.arrays = ()
        self.inputs = histories(self.inputs)
