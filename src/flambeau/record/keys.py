"""What the arguments of a call add to its key."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.graph import NUMBERS
from flambeau.record import alias
from flambeau.record.builder import Num
from flambeau.record.storage import Handle

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

    from flambeau.record.trace import Trace


class Function:
    """A library function as record sees it: its body and how its parameters enter the key."""

    __slots__ = (
        "name", "body", "static", "signature", "parameters", "grad_name", "whole", "__weakref__",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        body: Callable,
        grad_name: str | Callable[[dict[str, Any]], str] | None,
        wholly: bool = False,
    ) -> None:
        self.name = name
        self.body = body
        # Parameters whose numbers were looked at by the body: attributes from then on.
        self.static: set[int] = set()
        self.signature: inspect.Signature | None = None
        self.parameters: tuple[str, ...] = ()
        self.grad_name = grad_name
        # Whether its gradients are one function of all its tensors (``builder.whole``).
        self.whole = wholly


class Elsewhere(NotImplementedError):
    """A recorded function met a tensor that no trace can hold, and that knows who takes the call.

    Such a tensor raises this when it is bound (asked for its storage); it has ``_redirected(name,
    args, kwargs)``.
    """

    def __init__(self, tensor: Any) -> None:
        super().__init__(
            "Could not run this operation with arguments from the "
            f"'{tensor._kind}CPU' backend: it has no meaning for this layout."
        )
        self.tensor = tensor


def key_of(tr: Trace, value: Any, fn: Function, position: int) -> Any:
    """What an argument adds to the key of a call; binds tensors and notes run-time numbers."""
    kind = value.__class__
    if kind is float:
        if position in fn.static:
            return ("f", struct.pack("d", value))
        tr.numbers.append(value)
        return float
    if isinstance(value, Handle):
        return value._slot if value._trace is tr else alias.bind(tr, value)
    if kind is int:
        return (value,)
    if value is None or kind is str:
        return value
    if kind is bool:
        return ("b", value)
    if kind is complex:
        return ("c", struct.pack("dd", value.real, value.imag))
    if kind in (tuple, list):
        return (kind, *[key_of(tr, v, fn, position) for v in value])
    if isinstance(value, tuple):
        return (kind, *[key_of(tr, v, fn, position) for v in value])
    if isinstance(value, slice):
        return ("s", *[key_of(tr, v, fn, position) for v in (value.start, value.stop, value.step)])
    if isinstance(value, int):
        return (int(value), kind)
    if isinstance(value, np.generic):
        return key_of(tr, value.item(), fn, position)
    if isinstance(value, float):
        tr.numbers.append(float(value))
        return float
    if kind.__hash__ is None:
        raise TypeError(f"{fn.name}(): argument of type {kind.__name__} is not understood")
    return ("o", value)


def number_key(tr: Trace, value: Any, fn: Function, position: int) -> Any:
    """The same for a parameter declared as a number: integers, too, are given at run time."""
    if isinstance(value, np.generic):
        value = value.item()
    if value.__class__ is int and position not in fn.static:
        tr.numbers.append(value)
        return int
    return key_of(tr, value, fn, position)


def proxied(value: Any, fn: Function, position: int, integers: bool, counter: list[int]) -> Any:
    """An argument as the body gets it: run-time numbers become proxies, in the order of keys."""
    if isinstance(value, np.generic):
        value = value.item()
    kind = value.__class__
    if (
        kind is float
        or (integers and kind is int)
        or (isinstance(value, float) and not isinstance(value, Handle))
    ):
        if position in fn.static and kind in (int, float):
            return value
        slot = NUMBERS - counter[0]
        counter[0] += 1
        plain = float(value) if isinstance(value, float) else value
        return Num(slot, plain.__class__, (position,), plain)
    if kind in (tuple, list):
        return kind(proxied(v, fn, position, False, counter) for v in value)
    return value


def tensors_in(args: Any, found: list[Any]) -> list[Any]:
    """The tensors among arguments, in order."""
    for a in args:
        if isinstance(a, Handle):
            found.append(a)
        elif a.__class__ in (tuple, list):
            tensors_in(a, found)
    return found
