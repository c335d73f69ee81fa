"""``torch.compile`` and ``torch.compiler``: accepted, and nothing to do.

Flambeau records and compiles every program as it runs, so a function needs no annotation:
``compile`` checks its arguments and gives the very same function back, or a module in a shell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.nn.module import Module
from flambeau.optimized import OptimizedModule

__all__ = [
    "allow_in_graph",
    "assume_constant_result",
    "compile",
    "cudagraph_mark_step_begin",
    "disable",
    "is_compiling",
    "is_dynamo_compiling",
    "is_exporting",
    "list_backends",
    "reset",
    "set_stance",
]

_MODES = ("default", "lite", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune")


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable | None = None,
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    name: str | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    isolate_recompiles: bool = False,
    **others: Any,
) -> Any:
    """``model`` itself; without ``model``, a decorator that gives its function back.

    A module is given back as :class:`~flambeau.optimized.OptimizedModule`, as in PyTorch.

    All of PyTorch's options are accepted. A ``backend`` is not called: Flambeau has its own.

    Raises: ``RuntimeError`` for both ``mode`` and ``options``, or a mode that does not exist;
    ``AssertionError`` if ``model`` cannot be called.

    >>> @torch.compile(mode="reduce-overhead")
    ... def double(x):
    ...     return x * 2
    >>> double(21)
    42
    """
    if model is None:
        # As in PyTorch, the options are looked at when there is something to compile.
        return lambda function: compile(function, mode=mode, options=options, disable=disable)
    if mode is not None and options is not None:
        raise RuntimeError(
            "Either mode or options can be specified, but both can't be specified at the same time."
        )
    if mode is not None and mode not in _MODES:
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {', '.join(_MODES)}")
    if not callable(model):
        raise AssertionError(f"A callable function is expected, but {type(model)} is provided.")
    if isinstance(model, Module) and not isinstance(model, OptimizedModule) and not disable:
        return OptimizedModule(model)
    return model


def disable(
    fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None
) -> Any:
    """``fn`` itself, or a decorator that gives its function back."""
    return fn if fn is not None else lambda function: function


def allow_in_graph(fn: Callable | Sequence[Callable]) -> Any:
    """``fn`` itself."""
    return fn


def assume_constant_result(fn: Callable) -> Callable:
    """``fn`` itself."""
    return fn


def is_compiling() -> bool:
    """Whether the code runs inside ``torch.compile``'s tracing: never, user code always runs."""
    return False


is_dynamo_compiling = is_compiling
is_exporting = is_compiling


def list_backends(exclude_tags: Sequence[str] = ("debug", "experimental")) -> list[str]:
    """The names of backends: Flambeau's own."""
    return ["flambeau"]


def reset() -> None:
    """Forgets what ``torch.compile`` compiled: nothing."""


def cudagraph_mark_step_begin() -> None:
    """Marks the begin of an iteration for CUDA graphs: there are none."""


class set_stance:
    """Chooses how ``torch.compile`` behaves; a context manager and decorator without effect."""

    def __init__(self, stance: str = "default", **options: Any) -> None:
        self.stance = stance

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        return None

    def __call__(self, function: Callable) -> Callable:
        """``function`` itself."""
        return function
