"""Automatic differentiation: backward, grad, modes, custom functions."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.autograd import anomaly, api, function, modes
from flambeau.autograd.anomaly import detect_anomaly, set_detect_anomaly
from flambeau.autograd.api import backward, grad
from flambeau.autograd.function import Function
from flambeau.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)

# The grad mode by the name it has in PyTorch.
grad_mode = modes

# Names that few scripts use, and the modules they are loaded from when asked for.
_LAZY = {
    "GradcheckError": "checking",
    "Variable": "variable",
    "forward_ad": "",
    "functional": "",
    "gradcheck": "checking",
    "gradgradcheck": "checking",
    "graph": "",
    "profiler": "",
    "variable": "",
}

__all__ = [
    "Function",
    "anomaly",
    "api",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "function",
    "grad",
    "grad_mode",
    "inference_mode",
    "is_grad_enabled",
    "modes",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module = importlib.import_module(f"{__name__}.{_LAZY[name] or name}")
    found = getattr(module, name) if _LAZY[name] else module
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
