"""The public functions, for those parts of autograd that are written in them."""

from __future__ import annotations

from types import ModuleType


def functions() -> ModuleType:
    """The package's face; met at the first call, when all of it has been loaded."""
    import flambeau  # upward: derivatives of user functions are written in public functions

    return flambeau
