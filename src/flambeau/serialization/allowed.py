"""The globals that loading may touch, and the unpicklers that keep to them."""

from __future__ import annotations

import collections
import contextlib
import pickle
import struct
from typing import IO, TYPE_CHECKING, Any

from ..errors import UnsafeFileError
from . import rebuild
from .archive import TruncatedFileError
from .names import CONSTANTS, counterpart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    Allowed = Callable[..., object] | tuple[Callable[..., object], str]


class UnsafeGlobalError(UnsafeFileError, pickle.UnpicklingError):
    """A file names, calls or changes something that ``load(weights_only=True)`` refuses."""


_user: list[Allowed] = []

_BUILTINS: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "Counter"): collections.Counter,
    ("builtins", "set"): set,
    ("builtins", "bytearray"): bytearray,
    ("builtins", "complex"): complex,
}
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}

# Refused even where the user allows one of their functions by mistake.
_BLOCKED = frozenset({"sys", "os", "posix", "nt", "subprocess"})


def add_safe_globals(safe_globals: Sequence[Allowed]) -> None:
    """Allows classes or functions of yours in files loaded with ``weights_only=True``.

    Each is the object, or a pair of it and the name that the file gives it
    (``(Net, "old_module.Net")``). A class so allowed may be made and given its state, which runs
    its ``__setstate__``: allow what you would run.
    """
    _user.extend(list(safe_globals))


def get_safe_globals() -> list[Allowed]:
    """What ``add_safe_globals`` has allowed."""
    return list(_user)


def clear_safe_globals() -> None:
    """Takes back all that ``add_safe_globals`` has allowed."""
    _user.clear()


@contextlib.contextmanager
def safe_globals(safe_globals: Sequence[Allowed]) -> Iterator[None]:
    """Allows classes or functions for the length of a ``with`` block.

    >>> import flambeau as torch
    >>> from flambeau.serialization import safe_globals, get_safe_globals
    >>> with safe_globals([frozenset]):
    ...     get_safe_globals()
    [<class 'frozenset'>]
    """
    before = get_safe_globals()
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _user[:] = before


def _user_globals() -> dict[tuple[str, str], object]:
    named = {}
    for entry in _user:
        thing, name = entry if isinstance(entry, tuple) else (entry, None)
        if name is None:
            named[thing.__module__, thing.__qualname__] = thing
        else:
            module, _, attribute = name.rpartition(".")
            named[module, attribute] = thing
    return named


class RestrictedUnpickler(pickle._Unpickler):
    """Builds plain data only: what a pickle names, calls or changes must be on the list.

    Naming is not the whole of it. ``BUILD`` can set attributes on whatever is on the stack,
    classes and functions of this process included, so it too is kept to plain containers and the
    user's classes. The unpickler written in Python is used because the one in C has no place to
    say so.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, stream: IO[bytes], persistent: Any, **options: Any) -> None:
        super().__init__(stream, **options)
        self._persistent = persistent
        self._user = _user_globals()
        self._callable = _BUILTINS | rebuild.functions() | self._user
        self._named = CONSTANTS | rebuild.types() | self._callable

    def find_class(self, module: str, name: str) -> object:
        module = _PYTHON_2.get(module, module)
        if module.partition(".")[0] in _BLOCKED:
            raise UnsafeGlobalError(
                f"Weights only load failed: trying to load unsupported GLOBAL {module}.{name} "
                f"whose module {module} is blocked. Nothing of the file has been run."
            )
        found = self._named.get((module, name))
        if found is None and module.partition(".")[0] == "torch":
            found = self._allowed_counterpart(module, name)
        if found is None:
            raise UnsafeGlobalError(_refusal(module, name))
        return found

    def persistent_load(self, pid: object) -> object:
        return self._persistent(pid)

    def _allowed_counterpart(self, module: str, name: str) -> object | None:
        """PyTorch's name for a class of ours that the user has allowed."""
        if not self._user:
            return None
        try:
            found = counterpart(module, name)
        except pickle.UnpicklingError:
            return None
        return found if any(found is thing for thing in self._user.values()) else None

    def _check_callable(self, thing: object) -> None:
        if not any(thing is known for known in self._callable.values()):
            name = getattr(thing, "__qualname__", repr(type(thing)))
            raise UnsafeGlobalError(f"Weights only load failed: the file tries to call {name}")

    def load_reduce(self) -> None:
        self._check_callable(self.stack[-2])
        super().load_reduce()

    def load_newobj(self) -> None:
        self._check_callable(self.stack[-2])
        super().load_newobj()

    def load_newobj_ex(self) -> None:
        self._check_callable(self.stack[-3])
        super().load_newobj_ex()

    def _instantiate(self, klass: object, args: object) -> None:
        # The opcodes INST and OBJ of protocol 1 come here.
        self._check_callable(klass)
        super()._instantiate(klass, args)

    def load_build(self) -> None:
        target, state = self.stack[-2], self.stack[-1]
        if type(target) in (collections.OrderedDict, collections.Counter):
            if not isinstance(state, dict):
                raise UnsafeGlobalError("Weights only load failed: a dictionary with odd state")
            self.stack.pop()
            vars(target).update(state)
        elif any(type(target) is thing for thing in self._user.values()):
            super().load_build()
        else:
            kind = type(target).__qualname__
            raise UnsafeGlobalError(
                f"Weights only load failed: the file tries to set the state of a {kind}"
            )

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
    dispatch[pickle.BUILD[0]] = load_build


def _refusal(module: str, name: str) -> str:
    full = name if module == "builtins" else f"{module}.{name}"
    return (
        f"Weights only load failed: Unsupported global: GLOBAL {full} was not an allowed global "
        "by default. Nothing of the file has been run. Please use "
        f"`flambeau.serialization.add_safe_globals([{full}])` or the "
        f"`flambeau.serialization.safe_globals([{full}])` context manager to allowlist this "
        "global if you trust this class/function; or, if you trust the file as you would a "
        "program, load it with `weights_only=False`."
    )


def full_unpickler(module: ModuleType) -> Callable[..., Any]:
    """An unpickler that runs whatever the file says, on top of the module's own.

    PyTorch's names are resolved to Flambeau's, whether or not PyTorch is installed.
    """

    class Unpickler(module.Unpickler):  # type: ignore[name-defined]
        def __init__(self, stream: IO[bytes], persistent: Any, **options: Any) -> None:
            super().__init__(stream, **options)
            self._persistent = persistent
            named = CONSTANTS | rebuild.types() | rebuild.functions()
            self._named = {key: named[key] for key in named if key[0].startswith("torch")}

        def find_class(self, module: str, name: str) -> object:
            found = self._named.get((module, name))
            if found is not None:
                return found
            if module.partition(".")[0] == "torch":
                return counterpart(module, name)
            return super().find_class(module, name)

        def persistent_load(self, pid: object) -> object:
            return self._persistent(pid)

    return Unpickler


def unpickle(unpickler: Any) -> object:
    """The next object; says in one way that the file is cut short or is no pickle."""
    try:
        return unpickler.load()
    except (UnsafeGlobalError, TruncatedFileError):
        raise
    except EOFError as error:
        raise _cut_short(error) from error
    except pickle.UnpicklingError as error:
        if "truncated" in str(error) or "exhausted" in str(error):
            raise _cut_short(error) from error
        raise
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        if not isinstance(unpickler, RestrictedUnpickler):
            raise
        # What the machine does on opcodes that make no sense; no code of the user's ran.
        raise pickle.UnpicklingError(f"corrupt file: not a pickle ({error!r})") from error


def _cut_short(error: Exception) -> TruncatedFileError:
    return TruncatedFileError(f"the file is cut short ({error or 'ran out of input'})")
