"""``torch.overrides``: taking over library calls, by class (``__torch_function__``) or by mode."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.functions import overriding
from flambeau.tensor import Tensor

__all__ = [
    "BaseTorchFunctionMode",
    "TorchFunctionMode",
    "enable_reentrant_dispatch",
    "get_default_nowrap_functions",
    "get_ignored_functions",
    "get_overridable_functions",
    "get_testing_overrides",
    "handle_torch_function",
    "has_torch_function",
    "has_torch_function_unary",
    "has_torch_function_variadic",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "resolve_name",
    "wrap_torch_function",
]


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether a call with these arguments is to be taken over: by one of them, or by a mode.

    >>> torch.overrides.has_torch_function((tensor([1.0]), 2))
    False
    """
    state = overriding.state
    return bool(state.modes or (state.classes and overriding.overloaded(relevant_args)))


def has_torch_function_unary(obj: Any) -> bool:
    """:func:`has_torch_function` of one argument."""
    return has_torch_function((obj,))


def has_torch_function_variadic(*arguments: Any) -> bool:
    """:func:`has_torch_function` of arguments given one by one."""
    return has_torch_function(arguments)


def handle_torch_function(
    public_api: Callable, relevant_args: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """What the classes of ``relevant_args`` (or a mode) make of ``public_api(*args, **kwargs)``.

    Raises ``TypeError`` if all of them give ``NotImplemented``.

    >>> class Five:
    ...     @classmethod
    ...     def __torch_function__(cls, func, types, args=(), kwargs=None):
    ...         return 5
    >>> torch.overrides.handle_torch_function(torch.add, (Five(),), Five(), 1)
    5
    """
    found = overriding.overloaded(relevant_args)
    return overriding.handled(public_api, found, args, kwargs)


def is_tensor_like(inp: Any) -> bool:
    """Whether ``inp`` is a tensor, or has ``__torch_function__``."""
    return isinstance(inp, Tensor) or hasattr(inp, "__torch_function__")


class TorchFunctionMode:
    """A block in which ``__torch_function__`` of this object is asked at every library call.

    Inside of it, calls go to the next mode further out. The first mode that is entered has the
    library ask at each call from then on.

    >>> class Names(torch.overrides.TorchFunctionMode):
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         print(func.__name__)
    ...         return func(*args, **(kwargs or {}))
    >>> with Names():
    ...     _ = torch.ones(2).exp()
    ones
    exp
    """

    def __init__(self) -> None:
        pass

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What becomes of the call ``func(*args, **kwargs)``; ``types`` override it."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        overriding.install()
        overriding.state.modes.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        overriding.state.modes.pop()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> Any:
        """Deprecated: makes the mode, to be entered by ``with``."""
        warnings.warn(
            "`Mode.push()` is no longer necessary and can be replaced with just `with Mode()`",
            stacklevel=2,
        )
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """The mode that makes every call as it is."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The call as it is."""
        return func(*args, **(kwargs or {}))


@contextmanager
def enable_reentrant_dispatch() -> Iterator[None]:
    """A block in which classes are asked again within a call that they have taken over."""
    before, overriding.state.classes = overriding.state.classes, True
    try:
        yield
    finally:
        overriding.state.classes = before


def wrap_torch_function(dispatcher: Callable) -> Callable:
    """A decorator: calls of a function are taken over by the arguments that ``dispatcher`` names.

    ``dispatcher`` takes the function's arguments and gives those whose classes may override it.

    >>> @torch.overrides.wrap_torch_function(lambda a: (a,))
    ... def twice(a):
    ...     return a + a
    >>> twice(tensor([1.0]))
    tensor([2.])
    """

    def decorate(func: Callable) -> Callable:
        @functools.wraps(func)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return func(*args, **kwargs)

        return wrapped

    return decorate


def get_default_nowrap_functions() -> set[Callable]:
    """Functions whose results the default ``__torch_function__`` leaves in their own class."""
    overriding.install()
    return set(overriding.unconverted)


def get_ignored_functions() -> set[Callable]:
    """Functions of the package that cannot be taken over.

    >>> torch.is_tensor in torch.overrides.get_ignored_functions()
    True
    """
    import flambeau

    found = (getattr(flambeau, name, None) for name in overriding.IGNORED)
    return {f for f in found if callable(f)}


def get_overridable_functions() -> dict[Any, list[Callable]]:
    """What can be taken over, by the namespace it is in.

    >>> torch.add in torch.overrides.get_overridable_functions()[torch]
    True
    """
    found: dict[Any, list[Callable]] = defaultdict(list)
    for namespace in overriding.namespaces():
        found[namespace] += [f for _, f in overriding.functions_of(namespace)]
    found[Tensor] += [f for _, f in overriding.methods_of(Tensor)]
    for _, p in overriding.properties_of(Tensor):
        found[p].append(p.__get__)
    return found


def get_testing_overrides() -> dict[Callable, Callable]:
    """A function of the same arguments for everything that can be taken over; each gives -1.

    >>> torch.overrides.get_testing_overrides()[torch.add](1, 2)
    -1
    """
    return {
        f: _accepting(f)
        for functions in get_overridable_functions().values()
        for f in functions
        if f.__hash__ is not None
    }


def _accepting(f: Callable) -> Callable:
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        return lambda *args, **kwargs: -1

    def override(*args: Any, **kwargs: Any) -> int:
        signature.bind(*args, **kwargs)
        return -1

    override.__signature__ = signature  # type: ignore[attr-defined]
    return override


def resolve_name(f: Callable) -> str | None:
    """The public name of something that can be taken over; None if it cannot.

    >>> torch.overrides.resolve_name(torch.nn.functional.relu)
    'torch.nn.functional.relu'
    """
    return overriding.name_of(f)


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether something that can be taken over is a tensor's method or the getter of a property.

    Functions that are methods, too, are one object here, and count as methods.

    >>> torch.overrides.is_tensor_method_or_property(torch.Tensor.add)
    True
    """
    if getattr(func, "__name__", "") == "__get__":
        return True
    return any(known is func for _, known in overriding.methods_of(Tensor))
