"""Gives tensors their methods: every library function whose first parameter is the tensor."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from flambeau.dtypes import of_type
from flambeau.functions.overriding import install, overrides
from flambeau.record.builder import Num, shared
from flambeau.record.storage import Handle
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from types import ModuleType

FIRST = ("input", "self", "tensor")
TENSORS = shared["TENSORS"]
NUMBERS = {int, float, bool, complex, Num}
# Modules whose functions are imported by the library's but are no names of the package.
_HELPERS = frozenset(
    f"flambeau.functions.{m}"
    for m in ("promotion", "dims", "checks", "making", "memory_order", "places")
)


def public(module: ModuleType) -> dict[str, Any]:
    """The functions that a module of the library defines or names, by public name."""
    return {
        name: taking_numpys_names(taking_types(value))
        for name, value in vars(module).items()
        if not name.startswith("_")
        and inspect.isfunction(value)
        and getattr(value, "__module__", "").startswith("flambeau.functions")
        and value.__module__ not in _HELPERS
        # What ``inplace`` makes is public, its own helpers are not.
        and (value.__module__ != "flambeau.functions.inplace" or name.endswith("_"))
    }


def taking_types(f: Any) -> Any:
    """A plain function with a ``dtype`` takes Python's own types for it, too: ``float``, ``int``.

    Recorded functions do so by themselves (``record.macro``).
    """
    code = f.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    if "dtype" not in code.co_varnames[:count] or f.__name__ == "type":
        return f
    if hasattr(f, "signature_of") or hasattr(f, "takes_types"):
        return f

    @functools.wraps(f)
    def function(*args: Any, **named: Any) -> Any:
        if named.get("dtype").__class__ is type:
            named["dtype"] = of_type(named["dtype"])
        if type in map(type, args):
            args = tuple(map(of_type, args))
        return f(*args, **named)

    function.takes_types = True  # type: ignore[attr-defined]
    home = sys.modules[f.__module__]
    if getattr(home, f.__name__, None) is f:
        # One function under one name: it can be pickled.
        setattr(home, f.__name__, function)
    return function


# What PyTorch lets arguments be called, too.
NUMPYS = {"axis": "dim", "keepdims": "keepdim"}
NUMPYS_TENSORS = {"x": "input", "a": "input", "x1": "input", "x2": "other"}


def taking_numpys_names(f: Any) -> Any:
    """A function along dimensions takes NumPy's names for them, too: ``axis``, ``keepdims``."""
    plain = f
    while hasattr(plain, "__wrapped__"):
        plain = plain.__wrapped__
    code = getattr(plain, "signature_of", plain).__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    lacking = {k: v for k, v in NUMPYS.items() if v in known and k not in known}
    if not lacking or hasattr(f, "takes_numpys_names"):
        return f
    lacking |= {k: v for k, v in NUMPYS_TENSORS.items() if v in known and k not in known}

    @functools.wraps(f)
    def function(*args: Any, **named: Any) -> Any:
        if named:
            for theirs, ours in lacking.items():
                if theirs in named:
                    if ours in named:
                        raise TypeError(
                            f"{f.__name__}() got both {ours!r} and its other name {theirs!r}"
                        )
                    named[ours] = named.pop(theirs)
        return f(*args, **named)

    function.takes_numpys_names = True  # type: ignore[attr-defined]
    home = sys.modules[f.__module__]
    if getattr(home, f.__name__, None) is f:
        # One function under one name: it can be pickled.
        setattr(home, f.__name__, function)
    return function


def first_parameter(f: Any) -> str:
    """The name of a function's first parameter, or nothing."""
    while hasattr(f, "__wrapped__"):
        f = f.__wrapped__
    code = getattr(f, "signature_of", f).__code__
    return code.co_varnames[0] if code.co_argcount else ""


def attach(module: ModuleType, *, leave: frozenset[str] = frozenset()) -> None:
    """Makes methods of a module's functions, but those named in ``leave``."""
    for name, f in public(module).items():
        if name in leave or hasattr(Tensor, name):
            continue
        if first_parameter(f) in FIRST:
            setattr(Tensor, name, f)


def operator(f: Any, reflected: bool = False) -> Any:
    """A function as an operator: operands it does not know are left to the other side."""

    def method(self: Tensor, other: Any) -> Any:
        kind = other.__class__
        if not (kind in TENSORS or kind in NUMBERS or isinstance(other, (Handle, int, float))):
            if not hasattr(other, "__array_interface__"):
                if not overrides(kind):
                    return NotImplemented
                install()
            elif getattr(other, "ndim", 1):
                from flambeau.functions.creation import as_tensor

                other = as_tensor(other)
        try:
            if not reflected:
                return f(self, other)
            if not isinstance(self, Handle):
                given = type(self).__name__
                raise TypeError(f"a reflected operator of 'Tensor' was given a {given!r}")
            return f(other, self)
        except TypeError as error:
            # Nobody who was asked had an answer: it is the other side's turn.
            if not hasattr(error, "unanswered"):
                raise
            return NotImplemented

    return method


def attach_operators(table: dict[str, Any]) -> None:
    """``{"add": add}`` gives ``__add__`` and ``__radd__``."""
    for name, f in table.items():
        setattr(Tensor, f"__{name}__", operator(f))
        if name not in ("eq", "ne", "lt", "le", "gt", "ge"):
            setattr(Tensor, f"__r{name}__", operator(f, reflected=True))
