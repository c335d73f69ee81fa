"""Counts of what recording did since the process began."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Stats:
    """What happened since the process began; ``trace.explain()`` reads it."""

    flushes: int = 0
    programs: int = 0
    misses: int = 0
    foreign: int = 0
    last_miss: tuple | None = None
    extra: dict = field(default_factory=dict)


stats = Stats()
