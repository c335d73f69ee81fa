"""Neural networks: modules, their functions, initial values and utilities."""

from flambeau.nn import functional, init, layers, parameter, utils
from flambeau.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)

globals().update(layers.exported())

from flambeau.nn import modules  # noqa: E402  it looks the layers up

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "functional",
    "init",
    "modules",
    "parameter",
    "utils",
    *layers.exported(),
]
