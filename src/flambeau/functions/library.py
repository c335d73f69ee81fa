"""Puts the function library together: the public names and the tensor's methods."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.functions import MODULES, inplace, methods  # noqa: F401  inplace: ``out=``
from flambeau.functions.checks import _tensors

# In several modules by the way they are written, or not for tensors.
_NOT_METHODS = frozenset(
    {"tensor", "as_tensor", "from_numpy", "empty_like", "zeros_like", "ones_like", "full_like",
     "rand_like", "randn_like", "randint_like", "broadcast_tensors", "from_dlpack", "to_dlpack",
     "native_layer_norm", "native_group_norm", "native_batch_norm", "grid_sampler",
     "grid_sampler_2d", "grid_sampler_3d", "segment_reduce", "range"}
)  # fmt: skip


# Shared between the library's modules, and no names of the package.
_INTERNAL = frozenset(
    {"sliced", "getitem", "setitem", "checked", "check_strides", "as_value", "pair", "wrapped",
     "known", "recording", "become", "twister", "overwrite", "cast", "floating"}
)  # fmt: skip


def _of_package(name: str, f: Any) -> Any:
    """A function as a name of the package, which may be called on what is no tensor.

    Recorded functions name such an argument by themselves; a method always has its tensor.
    """
    plain = f
    while "_fn" not in plain.__globals__ and not hasattr(plain, "needs_tensors"):
        if not hasattr(plain, "__wrapped__"):
            break
        plain = plain.__wrapped__
    else:
        return f
    if not any(str(t) == "Tensor" for k, t in plain.__annotations__.items() if k != "return"):
        return f
    made = _tensors(f)
    # Pickle finds it under the package's name.
    made.__module__, made.__qualname__ = "flambeau", name
    return made


def load() -> dict[str, Any]:
    """Every public function by name; tensors have their methods afterwards."""
    names: dict[str, Any] = {}
    for module in MODULES:
        found = importlib.import_module(f"flambeau.functions.{module}")
        public = methods.public(found)
        names.update({k: _of_package(k, f) for k, f in public.items() if k not in _INTERNAL})
        methods.attach(found, leave=_NOT_METHODS | _INTERNAL)
    return names
