"""Automatic differentiation: backward, grad, modes, custom functions."""

from flambeau.autograd import (
    anomaly,
    api,
    forward_ad,
    function,
    functional,
    gradcheck as _gradcheck,
    graph,
    modes,
    profiler,
    variable,
)
from flambeau.autograd.anomaly import detect_anomaly, set_detect_anomaly
from flambeau.autograd.api import backward, grad
from flambeau.autograd.function import Function
from flambeau.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from flambeau.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from flambeau.autograd.variable import Variable

# The grad mode by the name it has in PyTorch.
grad_mode = modes

__all__ = [
    "Function",
    "GradcheckError",
    "Variable",
    "anomaly",
    "api",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "function",
    "functional",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "modes",
    "no_grad",
    "profiler",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
    "variable",
]
