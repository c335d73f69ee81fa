"""Hooks on what custom functions save for their backward."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.record.storage import Handle as Tensor

__all__ = ["disable_saved_tensors_hooks", "pack", "save_on_cpu", "saved_tensors_hooks"]


class _State(threading.local):
    """The pairs of hooks in force, the innermost last, and why there may be none."""

    def __init__(self) -> None:
        self.hooks: list[tuple[Callable, Callable]] = []
        self.refusal: str | None = None


_state = _State()


class saved_tensors_hooks:
    """A block in which tensors that are saved for backward pass through two functions.

    ``pack_hook(tensor)`` is called where a custom ``Function`` saves a tensor, ``unpack_hook`` of
    its result where backward asks for it. What built-in operations need of each other is decided
    when a program is compiled, and is not seen by hooks.

    >>> with torch.autograd.graph.saved_tensors_hooks(lambda x: x.numpy(), torch.from_numpy):
    ...     pass
    """

    def __init__(
        self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]
    ) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if _state.refusal is not None:
            raise RuntimeError(_state.refusal)
        _state.hooks.append((self.pack_hook, self.unpack_hook))

    def __exit__(self, *exc: object) -> None:
        _state.hooks.pop()


class save_on_cpu(saved_tensors_hooks):
    """A block in which saved tensors are kept on the CPU: where they are already."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: t, lambda t: t)


class disable_saved_tensors_hooks:
    """A block (or decorated function) in which using such hooks raises ``RuntimeError``."""

    def __init__(self, error_message: str) -> None:
        self.message = error_message
        self._before: list[str | None] = []

    def __enter__(self) -> None:
        if _state.hooks:
            raise RuntimeError(self.message)
        self._before.append(_state.refusal)
        _state.refusal = self.message

    def __exit__(self, *exc: object) -> None:
        _state.refusal = self._before.pop()

    def __call__(self, f: Callable) -> Callable:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return f(*args, **kwargs)

        return wrapped


def pack(t: Tensor) -> tuple[Any, Callable | None]:
    """What is kept of a saved tensor, and the function that gives it back."""
    if not _state.hooks:
        return t, None
    to, back = _state.hooks[-1]
    return to(t), back
