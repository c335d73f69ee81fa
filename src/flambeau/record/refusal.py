"""Says which argument of a call should have been a tensor."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from flambeau.record.storage import Handle

if TYPE_CHECKING:
    from collections.abc import Callable


def of_kind(value: Any, kind: str) -> bool:
    """Whether PyTorch takes a value where its signature says ``int``, ``bool`` or ``str``."""
    if kind == "str":
        return isinstance(value, str)
    if kind == "bool":
        wrong = value.__class__ in (int, float, str, tuple, list, type(None))
        return not wrong and not isinstance(value, Handle)
    return value.__class__ is not bool and hasattr(value, "__index__")


def mistyped(name: str, argument: str, position: int, kind: str, value: Any) -> TypeError:
    """PyTorch's error for an argument that is of another kind."""
    return TypeError(
        f"{name}(): argument '{argument}' (position {position + 1}) must be {kind}, not "
        f"{type(value).__name__}"
    )


def no_tensor(f: Callable, name: str, args: tuple, kwargs: dict[str, Any]) -> TypeError | None:
    """PyTorch's error for the first argument of a call that is no tensor and has to be one.

    Looked for only after a call has failed, so that calls that succeed pay nothing for it.
    """
    parameters = inspect.signature(f).parameters
    given = dict(zip(parameters, args, strict=False)) | kwargs
    for position, (argument, parameter) in enumerate(parameters.items(), 1):
        wanted = str(parameter.annotation)
        value = given.get(argument, parameter.default)
        if (
            wanted not in ("Tensor", "Tensor | None")
            or isinstance(value, Handle)
            or (value is None and wanted != "Tensor")
        ):
            continue
        kind = type(value)
        shown = (
            kind.__name__
            if kind.__module__ == "builtins"
            else f"{kind.__module__}." + (kind.__name__)
        )
        return TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be Tensor, not {shown}"
        )
    return None
