"""Automatic differentiation: backward, grad, modes, custom functions."""

from flambeau.autograd import anomaly, api, function, modes
from flambeau.autograd.anomaly import detect_anomaly, set_detect_anomaly
from flambeau.autograd.api import backward, grad
from flambeau.autograd.function import Function
from flambeau.autograd.modes import (
    enable_grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)

__all__ = [
    "Function",
    "anomaly",
    "api",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "function",
    "grad",
    "inference_mode",
    "modes",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]
