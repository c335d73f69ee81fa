"""Which tier runs programs: ``FLAMBEAU_TIER``."""

from __future__ import annotations

import os

TIERS = ("auto", "interpret", "compile")


def chosen() -> str:
    """The tier asked for: ``auto`` (the default), ``interpret`` or ``compile``.

    Raises ``ValueError`` for anything else.

    >>> chosen() in TIERS
    True
    """
    tier = os.environ.get("FLAMBEAU_TIER", "auto")
    if tier not in TIERS:
        raise ValueError(f"FLAMBEAU_TIER must be one of {', '.join(TIERS)}, not {tier!r}")
    return tier
