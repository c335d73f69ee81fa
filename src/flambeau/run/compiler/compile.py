"""From the entries of a program to native code, on the compiler's thread."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler import code, launch
from flambeau.run.compiler.passes import rewrite
from flambeau.run.compiler.program import Compiled, Draft
from flambeau.run.interpreter import needed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flambeau.ir.graph import Aval, Entry

__all__ = ["compiled"]

# A program of more primitives stays interpreted (second derivatives of long loops): to plan and
# compile it takes longer than anybody would wait, and the thread is wanted by others.
LARGEST = 10_000
# Comma-separated: program (what the kernels of each program are), passes (counts by pass).
LOG = frozenset(filter(None, os.environ.get("FLAMBEAU_LOG", "").split(",")))


def compiled(
    entries: Sequence[Entry],
    outs: Sequence[int],
    inputs: int,
    numbers: list[Any],
    storages: Sequence[tuple[int, int]],
    passed: Mapping[int, Aval],
    layouts: Mapping[int, tuple[int, ...]] | None = None,
) -> Callable[[], Compiled] | None:
    """Plans a program and has its kernels compiled; what makes it, or None if it stays interpreted.

    ``passed`` are the shapes and dtypes of outputs that are inputs, ``layouts`` the strides of
    inputs that are not contiguous, in elements.
    The compiler's thread calls this.
    """
    rewritten = needed(rewrite(entries, outs), outs)
    if len(rewritten) > LARGEST:
        if "program" in LOG:
            print(f"program: {len(rewritten)} primitives: too many to compile", file=sys.stderr)
        return None
    draft = Draft(rewritten, outs, numbers, passed, storages, layouts)
    if "passes" in LOG:
        print(counts(entries, rewritten, draft), file=sys.stderr)
    if "program" in LOG:
        print(report(draft), file=sys.stderr)
    if not draft.kernels:
        return None
    found = code.addresses([*launch.kernels(), *draft.kernels.values()])
    return lambda: Compiled(draft, found, inputs, storages)


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
