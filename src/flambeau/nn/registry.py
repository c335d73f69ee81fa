"""The dictionaries of a module: what is registered, and the hooks.

A parameter that lives only in ``module._parameters`` is found through ``Module.__getattr__``, which
costs 510 ns on the machine this was measured on; an entry of the instance's own dictionary costs
37 ns. So a :class:`Registry` writes through: every change of it, also one made behind the module's
back (``module._parameters["weight"] = p``), shows in the ``__dict__`` of the modules that own it.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

_MISSING = object()


class Registry(dict):
    """The parameters, buffers or children of a module by name, mirrored in its ``__dict__``.

    A name that the class defines, or that the user put into ``__dict__`` himself, is left alone:
    as in PyTorch it hides the registered one. The owner is held weakly, so a module still dies
    with its last reference. Pickled and copied it is an ordinary dictionary.

    >>> layer = nn.Linear(2, 1)
    >>> layer._parameters["bias"] = None
    >>> layer.bias is None
    True
    """

    __slots__ = ("__weakref__", "_owners")

    def __init__(self, entries: Any = ()) -> None:
        super().__init__(entries)
        self._owners: tuple[Callable[[], Any], ...] = ()

    def own(self, module: Any) -> None:
        """Mirrors the entries in the ``__dict__`` of ``module`` from now on."""
        alive = tuple(ref for ref in self._owners if ref() is not None)
        if all(ref() is not module for ref in alive):
            alive += (weakref.ref(module),)
        self._owners = alive
        for name, value in self.items():
            _show(module, name, value, _MISSING)

    def disown(self, module: Any) -> None:
        """Takes the entries out of the ``__dict__`` of ``module``."""
        self._owners = tuple(ref for ref in self._owners if ref() not in (None, module))
        for name, value in self.items():
            _hide(module, name, value)

    def __setitem__(self, name: Any, value: Any) -> None:
        old = self.get(name, _MISSING)
        super().__setitem__(name, value)
        for ref in self._owners:
            owner = ref()
            if owner is not None:
                _show(owner, name, value, old)

    def __delitem__(self, name: Any) -> None:
        value = self[name]
        super().__delitem__(name)
        for ref in self._owners:
            owner = ref()
            if owner is not None:
                _hide(owner, name, value)

    def pop(self, name: Any, *default: Any) -> Any:
        """Removes the name and gives its value, or the default."""
        if name not in self:
            return super().pop(name, *default)
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[Any, Any]:
        """Removes the last entry and gives it."""
        name = next(reversed(self), _MISSING)
        if name is _MISSING:
            raise KeyError("popitem(): dictionary is empty")
        return name, self.pop(name)

    def clear(self) -> None:
        """Removes everything."""
        for name in list(self):
            del self[name]

    def setdefault(self, name: Any, default: Any = None) -> Any:
        """The value of the name, which is first set to the default if missing."""
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *entries: Any, **named: Any) -> None:
        """Sets several entries."""
        for name, value in dict(*entries, **named).items():
            self[name] = value

    def __ior__(self, entries: Any) -> Registry:
        self.update(entries)
        return self

    def __copy__(self) -> dict:
        return dict(self)

    def __deepcopy__(self, memo: dict) -> dict:
        from copy import deepcopy

        return {name: deepcopy(value, memo) for name, value in self.items()}

    def __reduce__(self) -> tuple:
        return OrderedDict, (), None, None, iter(list(self.items()))

    # `dict.__reduce_ex__` would ask for the slots.
    def __reduce_ex__(self, protocol: Any) -> tuple:
        return self.__reduce__()


def _show(module: Any, name: Any, value: Any, old: Any) -> None:
    shown = module.__dict__
    if (name not in shown or shown[name] is old) and not hasattr(type(module), name):
        shown[name] = value


def _hide(module: Any, name: Any, value: Any) -> None:
    shown = module.__dict__
    if shown.get(name, _MISSING) is value:
        del shown[name]


class Hooks(OrderedDict):
    """Hooks by number; setting one fills ``live``, the one list that a call without hooks asks.

    Copied and pickled it is an ordinary ordered dictionary.
    """

    def __init__(self, live: list, entries: Any = ()) -> None:
        self.live = live
        super().__init__(entries)

    def __setitem__(self, key: Any, hook: Any) -> None:
        super().__setitem__(key, hook)
        self.live[:] = [True]

    def __repr__(self) -> str:
        return repr(OrderedDict(self))

    def __copy__(self) -> OrderedDict:
        return OrderedDict(self)

    copy = __copy__

    def __reduce__(self) -> tuple:
        return OrderedDict, (), None, None, iter(list(self.items()))
