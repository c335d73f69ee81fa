"""A function recorded on one example, and what was recorded applied to the whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.func.batching import Batch, Operand, constant
from flambeau.ir.graph import NUMBERS, Const
from flambeau.record import flush
from flambeau.record.builder import Num, new_tensor, run_body, undo_binding
from flambeau.record.calls import hit
from flambeau.record.keys import key_of
from flambeau.record.meta import meta
from flambeau.record.single import ops
from flambeau.record.trace import open_
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.ir.graph import Entry
    from flambeau.record.trace import Node, Trace

__all__ = ["Example", "Looked"]

# A trace that is longer than this is flushed before an example is recorded, lest it be cut in it.
ROOM = flush.LENGTH // 2


class Looked(Exception):
    """The function asked for values, or ended the trace otherwise: no record of it is left."""


class Example:
    """Stand-ins for the tensors of a batch (batch first), with which a function is recorded.

    Then ``batched`` gives for values that the function made those of all examples: the entries
    that lead to them from the stand-ins, each by its batching rule, as one more edge.
    """

    def __init__(self, batches: Sequence[Tensor], size: int) -> None:
        tr = open_.trace
        if not tr.closed and tr.node.length > ROOM:
            flush.flush(tr)
        self.size = size
        self.batches = list(batches)
        self.stand_ins = [self._stand_in(x) for x in batches]
        self.trace: Trace = open_.trace
        self.begin: Node = self.trace.node
        self.n_inputs = len(self.trace.inputs)
        self.slots = [t._slot for t in self.stand_ins]
        self._check()

    def _stand_in(self, x: Tensor) -> Tensor:
        shape = tuple(x._meta.shape[1:])
        if self.size == 0:
            t = ops.full(0, shape=shape, dtype=x.dtype)
            return t.requires_grad_() if x.requires_grad else t
        first = ops.slice(x, 0, dims=(0,), sizes=(1,), steps=(1,))
        return ops.reshape(first, shape=shape)

    def _check(self) -> None:
        if open_.trace is not self.trace or self.trace.closed or self.trace.builder is not None:
            raise Looked

    def batched(self, values: Sequence[Tensor]) -> list[Tensor | None]:
        """For each value all examples' values, the batch first; None if they are all the same.

        Raises: ``Looked`` if the trace has ended, ``RuntimeError`` if a tensor that is no
        example's own was written to with values that differ between the examples.
        """
        self._check()
        wanted = [ops.clone(v) for v in values]
        written = [
            ops.clone(t) if _slot_now(t) != slot else None
            for t, slot in zip(self.stand_ins, self.slots, strict=True)
        ]
        self._check()
        steps, depends = self._steps()
        self._refuse_writes(depends)
        # What was written to an example is written to the batch below.
        changed = [i for i, t in enumerate(written) if t is not None and t._slot in depends]
        given = [*wanted, *(written[i] for i in changed)]
        targets = [t for t in given if t is not None and t._slot in depends]
        found = iter(self._replayed(steps, depends, targets))
        results = [next(found) if t._slot in depends else None for t in wanted]
        for t, v, i in zip(results, values, range(len(values)), strict=True):
            if t is not None and t.requires_grad and not v.requires_grad:
                results[i] = t.detach()
        for i in changed:
            self.batches[i].copy_(next(found))
        return results

    def _steps(self) -> tuple[list[Entry], set[int]]:
        """The entries since the beginning that depend on a stand-in, and all slots that do."""
        nodes = []
        node: Node | None = self.trace.node
        while node is not None and node is not self.begin:
            nodes.append(node)
            node = node.parent
        if node is None:
            raise Looked
        depends = set(self.slots)
        steps = []
        for node in reversed(nodes):
            for entry in node.entries:
                if any(type(s) is int and s in depends for s in entry.inputs):
                    steps.append(entry)
                    depends.update(entry.outputs)
        return steps, depends

    def _refuse_writes(self, depends: set[int]) -> None:
        known = self.begin.overwritten
        own = set(self.slots)
        outside = {
            at for slot, at in self.trace.node.overwritten - known
            if type(slot) is int and slot < self.begin.n_slots and slot not in own
        }  # fmt: skip
        node: Node | None = self.trace.node
        while node is not None and node is not self.begin:
            if node.parent is not None and node.parent.n_slots in outside:
                self._refuse(slot in depends for _, slot, _ in node.effects)
            node = node.parent
        self._refuse(s.slot in depends and s.memory is not None for s in self.trace.pending)

    @staticmethod
    def _refuse(writes: Any) -> None:
        if any(writes):
            raise RuntimeError(
                "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists "
                "a Tensor `other` in extra_args that has more elements than `self`. This happened "
                "due to `other` being vmapped over but `self` not being vmapped over. Please try "
                "to use out-of-place operators instead of inplace arithmetic."
            )

    def _replayed(
        self, steps: list[Entry], depends: set[int], targets: Sequence[Tensor]
    ) -> list[Tensor]:
        if not targets:
            return []
        tr = self.trace
        key = ("vmap", self.size, tuple(self.slots), tuple(t._slot for t in targets))
        try:
            bound = [key_of(tr, x, _Anonymous, 0) for x in self.batches]
            key = (*key, *bound)
            node = tr.node.edges.get(key)
            if node is None:
                wanted = [t._slot for t in targets]
                body = self._body(steps, wanted)
                node = run_body(tr, key, "VmapBackward0", [], body)
        except BaseException:
            if not tr.closed:
                undo_binding(tr)
            raise
        found = hit(tr, node, ())
        return list(found)

    def _body(self, steps: list[Entry], wanted: list[int]) -> Callable[[], tuple[Tensor, ...]]:
        """Applies what leads to ``wanted`` to the batch."""
        tr = self.trace

        def body() -> tuple[Tensor, ...]:
            needed = set(wanted)
            used = []
            for entry in reversed(steps):
                if not needed.isdisjoint(entry.outputs):
                    used.append(entry)
                    needed.update(s for s in entry.inputs if type(s) is int)
            values: dict[int, Tensor] = dict(zip(self.slots, self.batches, strict=True))
            history = _histories(tr)
            grad = tr.builder.grad
            for entry in reversed(used):
                operands = [
                    _operand(tr, s, a, values, history)
                    for s, a in zip(entry.inputs, entry.in_avals, strict=True)
                ]
                tr.builder.grad = grad and entry.grad
                found = Batch(self.size, entry, operands).results()
                values.update(zip(entry.outputs, found, strict=True))
            tr.builder.grad = grad
            return tuple(values[s] for s in wanted)

        return body


def _slot_now(t: Tensor) -> int:
    """Where a value made in the open trace is: elsewhere than before if it was written to."""
    return t._slot if t._storage is None else t._storage.slot


class _Anonymous:
    """What ``key_of`` asks of a function: that none of its numbers were looked at."""

    name = "vmap"
    static: frozenset[int] = frozenset()


def _histories(tr: Trace) -> set[int]:
    """The slots of the path that have a history."""
    return {s for e in tr.node.path_entries() if e.grad for s in e.outputs}


def _operand(
    tr: Trace, slot: Any, aval: Any, values: dict[int, Tensor], history: set[int]
) -> Operand:
    if type(slot) is Const:
        return Operand(constant(slot, aval), aval, False)
    if slot in values:
        return Operand(values[slot], aval, True)
    if aval.dtype is None:
        return Operand(Num(slot, float, (), 0.0), aval, False)
    if NUMBERS < slot < 0:
        return Operand(new_tensor(tr, slot, tr.inputs[-1 - slot]._meta), aval, False)
    differentiable = aval.dtype.is_floating_point or aval.dtype.is_complex
    grad = slot in history and differentiable
    return Operand(new_tensor(tr, slot, meta(aval.shape, aval.dtype, grad, not grad)), aval, False)
