"""``torch._C``: the few names of PyTorch's extension module that libraries in Python reach for."""

from __future__ import annotations

from flambeau import Generator, Size, device, dtype
from flambeau.functions.dispatching import disabled as _disabled_torch_dispatch_impl
from flambeau.functions.overriding import (
    DisableTorchFunction,
    DisableTorchFunctionSubclass,
)
from flambeau.functions.overriding import disabled as _disabled_torch_function_impl
from flambeau.tensor import Tensor as TensorBase

__all__ = [
    "DisableTorchFunction",
    "DisableTorchFunctionSubclass",
    "Generator",
    "Size",
    "TensorBase",
    "_disabled_torch_dispatch_impl",
    "_disabled_torch_function_impl",
    "_get_tracing_state",
    "_log_api_usage_once",
    "device",
    "dtype",
]

_TensorBase = TensorBase


def _log_api_usage_once(event: str) -> None:
    """Notes that a name was used, where somebody collects such notes: nobody does."""


def _get_tracing_state() -> None:
    """The state of ``torch.jit.trace`` while it traces: never, as it needs no second run."""
