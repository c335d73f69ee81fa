"""From the entries of a program to its plan, of which ``FLAMBEAU_LOG`` tells."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.draft import Draft
from flambeau.run.compiler.passes import rewrite
from flambeau.run.interpreter import needed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from flambeau.ir.graph import Aval, Entry

__all__ = ["drafted"]


def drafted(
    entries: Sequence[Entry],
    outs: Sequence[int],
    numbers: list[Any],
    passed: Mapping[int, Aval],
    storages: Sequence[tuple[int, int]],
    layouts: Mapping[int, tuple[int, ...]] | None,
    largest: int,
    log: Collection[str],
) -> Draft | None:
    """The plan; None for a program that stays interpreted, such as one of too many primitives."""
    rewritten = needed(rewrite(entries, outs), outs)
    if len(rewritten) > largest:
        if "program" in log:
            print(f"program: {len(rewritten)} primitives: too many to compile", file=sys.stderr)
        return None
    draft = Draft(rewritten, outs, numbers, passed, storages, layouts)
    if "passes" in log:
        print(counts(entries, rewritten, draft), file=sys.stderr)
    if "program" in log:
        print(report(draft), file=sys.stderr)
    return draft if draft.kernels else None


def counts(before: Sequence[Entry], after: Sequence[Entry], draft: Draft) -> str:
    """What the passes made of a program, in numbers."""
    nests = [g for g in draft.groups if g.nest]
    nodes = sum(len(g.nodes) for g in nests)
    return (
        f"passes: {len(before)} entries, {len(after)} rewritten; {len(draft.low.nodes)} nodes, "
        f"{nodes} of them in {len(nests)} nests, {len(draft.groups) - len(nests)} on their own; "
        f"{len(draft.offsets)} temporaries in {draft.arena_bytes} bytes"
    )


def report(draft: Draft) -> str:
    """A program, readably: its kernels in order, what they fuse, the memory they take."""
    lines = [
        f"program: {len(draft.described)} steps, {len(draft.kernels)} kernels, "
        f"{len(draft.outs)} outputs, {draft.arena_bytes} bytes of temporaries"
    ]
    lines += [f"  {i:3} {line}" for i, line in enumerate(draft.described)]
    for name, why in draft.low.host_reasons:
        lines.append(f"  not compiled: {name} ({why})")
    return "\n".join(lines)
