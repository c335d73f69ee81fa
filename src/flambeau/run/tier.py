"""Which tier runs programs: ``FLAMBEAU_TIER``."""

from __future__ import annotations

import os

from flambeau.errors import NotSupportedError

TIERS = ("auto", "interpret", "compile")


def chosen() -> str:
    """The tier asked for: ``auto`` (the default) or ``interpret``.

    Raises ``NotSupportedError`` for ``compile``, which is still to come, and ``ValueError`` for
    anything else.

    >>> chosen() in TIERS
    True
    """
    tier = os.environ.get("FLAMBEAU_TIER", "auto")
    if tier not in TIERS:
        raise ValueError(f"FLAMBEAU_TIER must be one of {', '.join(TIERS)}, not {tier!r}")
    if tier == "compile":
        raise NotSupportedError(
            "FLAMBEAU_TIER=compile: this version has tier 0 only, the interpreter; leave the "
            "variable out, or set it to interpret or auto"
        )
    return tier
