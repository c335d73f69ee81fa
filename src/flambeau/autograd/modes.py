"""Whether history is recorded: ``no_grad`` and its kin, as context managers and decorators."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from flambeau.record.trace import open_, set_grad

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "enable_grad", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad",
    "set_grad_enabled", "set_multithreading_enabled",
]  # fmt: skip


class _Mode:
    """A block, or the body of a decorated function, in which gradients are on or off."""

    on = False
    # What was before, and before that: one object may be entered again inside itself.
    _before: Any = None

    def __enter__(self) -> None:
        self._before = set_grad(self.on), self._before

    def __exit__(self, *exc: object) -> None:
        before, self._before = self._before
        set_grad(before)

    def clone(self) -> _Mode:
        return type(self)()

    def __call__(self, f: Callable) -> Callable:
        if inspect.isclass(f):
            f.__init__ = self(f.__init__)  # type: ignore[misc]
            return f
        if inspect.isgeneratorfunction(f):

            @functools.wraps(f)
            def generator(*args: Any, **kwargs: Any) -> Any:
                made = f(*args, **kwargs)
                send, value = made.send, None
                try:
                    while True:
                        with self.clone():
                            item = send(value)
                        value = yield item
                except StopIteration as stop:
                    return stop.value

            return generator

        @functools.wraps(f)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return f(*args, **kwargs)

        return wrapped


class no_grad(_Mode):
    """A block in which no history is recorded; also a decorator.

    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> with torch.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    def __new__(cls, orig_func: Callable | None = None) -> Any:
        made = object.__new__(cls)
        return made if orig_func is None else made(orig_func)


class enable_grad(no_grad):
    """A block in which history is recorded again; also a decorator.

    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> with torch.no_grad(), torch.enable_grad():
    ...     (x * 2).requires_grad
    True
    """

    on = True


class set_grad_enabled(_Mode):
    """Sets whether history is recorded, at once; as a block, until its end.

    >>> with torch.set_grad_enabled(False):
    ...     torch.is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        self.on = bool(mode)
        self.mode = self.on
        self._first = open_.state.grad
        set_grad(self.on)

    def __enter__(self) -> None:
        set_grad(self.on)
        self._before = self._first, self._before

    def clone(self) -> _Mode:
        return type(self)(self.mode)

    def __call__(self, f: Callable) -> Callable:
        set_grad(self._first)
        return super().__call__(f)


class inference_mode(_Mode):
    """``no_grad`` for code that will never need gradients.

    >>> with torch.inference_mode():
    ...     torch.is_grad_enabled()
    False
    """

    def __new__(cls, mode: Any = True) -> Any:
        made = object.__new__(cls)
        made.on = open_.state.grad if mode is False else False
        return made if isinstance(mode, bool) else made(mode)

    def __init__(self, mode: Any = True) -> None:
        self.mode = mode

    def clone(self) -> _Mode:
        return type(self)(self.mode if isinstance(self.mode, bool) else True)


class set_multithreading_enabled:
    """Accepted: backward runs on the calling thread."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


def is_grad_enabled() -> bool:
    """Whether history is recorded now."""
    return open_.state.grad


def is_inference_mode_enabled() -> bool:
    """Whether inference mode is on: it is not told apart from ``no_grad``."""
    return False
