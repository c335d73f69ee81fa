"""Puts the function library together: the public names and the tensor's methods."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.functions import MODULES, inplace, methods

# In several modules by the way they are written, or not for tensors.
_NOT_METHODS = frozenset(
    {"tensor", "as_tensor", "from_numpy", "empty_like", "zeros_like", "ones_like", "full_like",
     "rand_like", "randn_like", "randint_like", "broadcast_tensors", "from_dlpack", "to_dlpack"}
)  # fmt: skip


def load() -> dict[str, Any]:
    """Every public function by name; tensors have their methods afterwards."""
    names: dict[str, Any] = {}
    for module in MODULES:
        found = importlib.import_module(f"flambeau.functions.{module}")
        names.update(methods.public(found))
        methods.attach(found, leave=_NOT_METHODS)
    _ = inplace
    return names
