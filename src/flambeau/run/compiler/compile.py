"""From the entries of a program to native code, on the compiler's thread."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler import code, launch
from flambeau.run.compiler.program import Compiled
from flambeau.run.compiler.schedule import Schedule, Unkept, packed, unpacked
from flambeau.run.compiler.schedule_key import key_of

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
    inputs that are not contiguous, in elements. A plan is kept on disk: as long as its kernels are
    there, too, the next process neither plans nor imports what does.
    The compiler's thread calls this.
    """
    key = None
    if not LOG and len(entries) <= LARGEST:  # what it tells of is planning
        key = key_of(entries, outs, inputs, numbers, storages, passed, layouts, code.target())
    if key is not None:
        schedule = kept_schedule(key, numbers)
        if schedule is not None:
            found = code.present(schedule.kernels)
            if found is not None:
                launch.load()
                return lambda: Compiled(schedule, found, entries)
    # What plans is imported where there is something to plan.
    from flambeau.run.compiler.planning import drafted
    from flambeau.run.compiler.scheduling import scheduled

    draft = drafted(entries, outs, numbers, passed, storages, layouts, LARGEST, LOG)
    if draft is None:
        return None
    found = code.addresses([*launch.kernels(), *draft.kernels.values()])
    launch.load()
    made = scheduled(draft, inputs, storages)
    if key is not None:
        with suppress(Unkept):
            code.save_later(_note(key), packed(made, numbers))
    return lambda: Compiled(made, found, entries)


def _note(key: str) -> str:
    return f"schedule {key}"


def kept_schedule(key: str, numbers: Sequence[Any]) -> Schedule | None:
    """The schedule on disk for a program of this key, if there is a sound one."""
    data = code.load_note(_note(key))
    if data is None:
        return None
    try:
        return unpacked(data, numbers)
    except (ArithmeticError, AttributeError, ImportError, LookupError, TypeError, ValueError):
        return None  # another version's, or damaged in a way that its digest does not show
