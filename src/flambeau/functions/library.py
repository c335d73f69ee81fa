"""Puts the function library together: the public names and the tensor's methods."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.functions import MODULES, inplace, methods  # noqa: F401  inplace: ``out=``

# In several modules by the way they are written, or not for tensors.
_NOT_METHODS = frozenset(
    {"tensor", "as_tensor", "from_numpy", "empty_like", "zeros_like", "ones_like", "full_like",
     "rand_like", "randn_like", "randint_like", "broadcast_tensors", "from_dlpack", "to_dlpack"}
)  # fmt: skip


# Shared between the library's modules, and no names of the package.
_INTERNAL = frozenset(
    {"sliced", "getitem", "setitem", "checked", "as_value", "pair", "wrapped", "known",
     "recording", "become", "twister", "overwrite", "cast", "floating"}
)  # fmt: skip


def load() -> dict[str, Any]:
    """Every public function by name; tensors have their methods afterwards."""
    names: dict[str, Any] = {}
    for module in MODULES:
        found = importlib.import_module(f"flambeau.functions.{module}")
        names.update({k: f for k, f in methods.public(found).items() if k not in _INTERNAL})
        methods.attach(found, leave=_NOT_METHODS | _INTERNAL)
    return names
