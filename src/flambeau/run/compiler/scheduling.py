"""From a draft to a schedule: each slot gets its place in the program's table of addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.run.compiler import draft as drafts
from flambeau.run.compiler.draft import front
from flambeau.run.compiler.nest_memory import FAULT, NUMBER_MEMORY
from flambeau.run.compiler.nest_values import number_key
from flambeau.run.compiler.nodes import Node
from flambeau.run.compiler.schedule import Run, Schedule, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.run.compiler.draft import Draft

__all__ = ["scheduled"]


def scheduled(draft: Draft, inputs: int, candidates: Sequence[tuple[int, int]]) -> Schedule:
    """The draft of a program of so many inputs; ``candidates`` are its (output, input) pairs of one
    storage.
    """
    low = draft.low
    constants = {s: b.array for s, b in low.buffers.items() if b.array is not None}
    slots = {-1 - i: i for i in range(inputs)}
    for s in [*draft.out_slots, *constants, *draft.offsets, FAULT]:
        slots.setdefault(s, len(slots))
    # Run-time numbers follow the addresses.
    numbers = {number_key(n): n for n in sorted(low.numbers)}
    number_places = {key: len(slots) + k for k, key in enumerate(numbers)}
    replacing = {k for k, _ in candidates}
    parts: list[Run | Node] = []
    kept, early = None, frozenset[int]()
    if len(draft.parts) == 1 and isinstance(draft.parts[0], drafts.Run):
        kept, early = front(draft, replacing)
    lines = iter(draft.described)
    described = []
    for part in draft.parts:
        if isinstance(part, Node):
            parts.append(part)
            described.append(next(lines))
            continue
        steps = []
        empty = 0
        for at, (kernel, pointers, units, chunk) in enumerate(part.steps):
            line = next(lines)
            if units == 0:
                empty += kept is not None and at < kept
                continue
            described.append(line)
            where = tuple(
                (number_places[offset], 0) if s == NUMBER_MEMORY else (slots[s], offset)
                for s, offset in pointers
            )
            steps.append(Step(kernel.name, where, units, chunk))
        if kept is not None:
            kept -= empty
        parts.append(Run(steps))
    return Schedule(
        inputs=inputs,
        places=len(slots) + len(numbers),
        out_slots=draft.out_slots,
        out_places=[slots[s] for s in draft.out_slots],
        out_shapes=draft.out_shapes,
        number_outs=draft.number_outs,
        parts=parts,
        constants=constants,
        constant_places={s: slots[s] for s in constants},
        offsets=draft.offsets,
        offset_places={s: slots[s] for s in draft.offsets},
        arena_bytes=draft.arena_bytes,
        scratch=draft.scratch,
        fault=slots[FAULT],
        may_fault=bool(low.guards),
        numbers=[(n.index, n.kind, number_places[key]) for key, n in numbers.items()],
        given=draft.n_given,
        prelude=low.prelude,
        laid=[
            (-1 - i, tuple(s * low.buffers[i].element.size for s in strides))
            for i, strides in low.layouts.items()
            if i in low.buffers
        ],
        candidates=list(candidates),
        donations=draft.donations(candidates),
        kept=kept,
        early=sorted(early),
        described=described,
    )
