"""``torch.jit``: scripting and tracing give the module itself back.

Flambeau compiles what it records, so there is no second representation of a program: ``script``,
``trace`` and ``freeze`` return what they are given. What would need one (``save``, ``load``) raises
``NotSupportedError``: save the ``state_dict`` instead.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Final, NoReturn

from flambeau.errors import NotSupportedError
from flambeau.nn import Module

__all__ = [
    "Attribute",
    "Error",
    "Final",
    "ScriptFunction",
    "ScriptModule",
    "annotate",
    "enable_onednn_fusion",
    "export",
    "fork",
    "freeze",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "isinstance",
    "load",
    "onednn_fusion_enabled",
    "optimize_for_inference",
    "optimized_execution",
    "save",
    "script",
    "script_if_tracing",
    "script_method",
    "set_fusion_strategy",
    "strict_fusion",
    "trace",
    "trace_module",
    "unused",
    "wait",
]


class Error(RuntimeError):
    """An exception raised inside a scripted function, for ``except torch.jit.Error``."""


class ScriptModule(Module):
    """A module written with ``script_method``; an ordinary module here."""


class ScriptFunction:
    """The type of scripted functions, for ``isinstance``: no function here is one."""

    def __init__(self) -> None:
        raise NotSupportedError("torch.jit.ScriptFunction: scripting gives the function itself")


class Attribute:
    """A value with a type, for ``__init__`` of scripted modules."""

    def __init__(self, value: Any, type: Any) -> None:
        self.value = value
        self.type = type


def script(obj: Any, *arguments: Any, **options: Any) -> Any:
    """``obj`` (a function, class or module) itself."""
    return obj


def trace(func: Any, example_inputs: Any = None, *arguments: Any, **options: Any) -> Any:
    """``func`` itself; it is not run on ``example_inputs``."""
    return func


def trace_module(mod: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
    """``mod`` itself; its methods are not run on ``inputs``."""
    return mod


def freeze(mod: Any, *arguments: Any, **options: Any) -> Any:
    """``mod`` itself.

    Raises: ``RuntimeError`` for a module in training mode, as PyTorch does.
    """
    if getattr(mod, "training", False):
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. Please call .eval() "
            "on your module before freezing."
        )
    return mod


def optimize_for_inference(mod: Any, other_methods: list[str] | None = None) -> Any:
    """``mod`` itself."""
    return mod


def script_method(fn: Callable) -> Callable:
    """``fn`` itself."""
    return fn


def script_if_tracing(fn: Callable) -> Callable:
    """``fn`` itself."""
    return fn


def export(fn: Callable) -> Callable:
    """``fn`` itself."""
    return fn


def unused(fn: Callable) -> Callable:
    """``fn`` itself."""
    return fn


def interface(obj: type) -> type:
    """``obj`` itself."""
    return obj


def ignore(drop: Any = False, **options: Any) -> Any:
    """The decorated function itself; used with and without parentheses."""
    return drop if callable(drop) else lambda function: function


def is_scripting() -> bool:
    """Whether the code is being scripted: never."""
    return False


def is_tracing() -> bool:
    """Whether the code is being traced by ``torch.jit``: never."""
    return False


def annotate(the_type: Any, the_value: Any) -> Any:
    """``the_value``; the type is for scripting."""
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    """``isinstance`` of the container; parameters of generic types are not looked at."""
    targets = target_type if builtins.isinstance(target_type, tuple | list) else (target_type,)
    return builtins.isinstance(
        obj, tuple(getattr(target, "__origin__", target) for target in targets)
    )


def fork(func: Callable, *arguments: Any, **options: Any) -> Any:
    """Calls ``func`` at once; :func:`wait` gives its result."""
    return func(*arguments, **options)


def wait(future: Any) -> Any:
    """The result of a :func:`fork`."""
    return future


def set_fusion_strategy(strategy: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Chooses how TorchScript fuses: without effect."""
    return strategy


def enable_onednn_fusion(enabled: bool) -> None:
    """Switches oneDNN's fusion: without effect."""


def onednn_fusion_enabled() -> bool:
    """Whether oneDNN fuses: no."""
    return False


class _Region:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        return None


class strict_fusion(_Region):
    """A region where TorchScript reports what it did not fuse; without effect."""


class optimized_execution(_Region):
    """A region where TorchScript optimises or does not; without effect."""

    def __init__(self, should_optimize: bool) -> None:
        self.should_optimize = should_optimize


def save(m: Any, f: Any, _extra_files: dict[str, Any] | None = None) -> NoReturn:
    """Raises: ``NotSupportedError``; save ``m.state_dict()`` with ``flambeau.save``."""
    raise NotSupportedError(
        "torch.jit.save: Flambeau has no TorchScript archives; save the weights with "
        "torch.save(model.state_dict(), file)"
    )


def load(
    f: Any,
    map_location: Any = None,
    _extra_files: dict[str, Any] | None = None,
    _restore_shapes: bool = False,
) -> NoReturn:
    """Raises: ``NotSupportedError``; build the module and load its ``state_dict``."""
    raise NotSupportedError(
        "torch.jit.load: Flambeau does not run TorchScript archives; build the module in Python "
        "and load its weights with load_state_dict(torch.load(file))"
    )
