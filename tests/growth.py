"""How many programs, or nodes of the trie, steps make that have been made before."""

from __future__ import annotations

from flambeau.record.stats import stats
from flambeau.record.trace import trie


def programs_made(body, *, warm: int, then: int) -> int:
    """How many new programs ``body`` needs after it has been warmed up."""
    for i in range(warm):
        body(i)
    before = stats.programs
    for i in range(warm, warm + then):
        body(i)
    return stats.programs - before


def nodes_made(body, *, warm: int, then: int) -> int:
    for i in range(warm):
        body(i)
    before = trie.count
    for i in range(warm, warm + then):
        body(i)
    return trie.count - before
