"""``torch.overrides``: the questions that libraries ask about ``__torch_function__``.

Flambeau does not dispatch on ``__torch_function__``: no argument ever has one that counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flambeau.tensor import Tensor

__all__ = [
    "handle_torch_function",
    "has_torch_function",
    "has_torch_function_unary",
    "has_torch_function_variadic",
    "is_tensor_like",
]


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether an argument overrides functions: no."""
    return False


def has_torch_function_unary(obj: Any) -> bool:
    """Whether the argument overrides functions: no."""
    return False


def has_torch_function_variadic(*arguments: Any) -> bool:
    """Whether an argument overrides functions: no."""
    return False


def is_tensor_like(inp: Any) -> bool:
    """Whether ``inp`` is a tensor, or has ``__torch_function__``."""
    return isinstance(inp, Tensor) or hasattr(inp, "__torch_function__")


def handle_torch_function(
    public_api: Callable, relevant_args: Iterable[Any], *arguments: Any, **options: Any
) -> Any:
    """Raises: ``TypeError``: no argument overrides ``public_api``."""
    raise TypeError(
        f"no implementation found for '{getattr(public_api, '__name__', public_api)}' on types "
        f"that implement __torch_function__: {[type(value) for value in relevant_args]}"
    )
