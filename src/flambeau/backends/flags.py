"""Setting some attributes of a module for the length of a ``with`` block."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["setting"]


@contextmanager
def setting(module: str, **values: Any) -> Iterator[None]:
    """Sets attributes of the named module, and puts the old values back; ``None`` sets nothing."""
    owner = sys.modules[module]
    before = {name: getattr(owner, name) for name, value in values.items() if value is not None}
    for name in before:
        setattr(owner, name, values[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
