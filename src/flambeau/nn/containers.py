"""Modules that hold modules."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from flambeau.nn.module import Module

__all__ = ["Container", "ModuleDict", "ModuleList", "Sequential"]


class Container(Module):
    """A module whose children are given by keyword; kept for old code."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        for name, module in kwargs.items():
            self.add_module(name, module)


def _index(length: int, idx: Any) -> int:
    """The index counted from the front; ``IndexError`` if there is no such module."""
    idx = operator.index(idx)
    if not -length <= idx < length:
        raise IndexError(f"index {idx} is out of range")
    return idx % length


class _Numbered(Module):
    """What ``Sequential`` and ``ModuleList`` share: children named 0, 1, 2, ..."""

    def _renumber(self, modules: Iterable[Any]) -> None:
        self._modules = OrderedDict((str(i), module) for i, module in enumerate(modules))

    def _at(self, idx: Any) -> str:
        return list(self._modules)[_index(len(self), idx)]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.isdigit()]


class Sequential(_Numbered):
    """Calls its modules one after the other, each with the result of the one before.

    Takes modules, or an ``OrderedDict`` of them with their names.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> net
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    >>> net[1:]
    Sequential(
      (1): ReLU()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for i, module in enumerate(args):
                self.add_module(str(i), module)

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, slice):
            return type(self)(OrderedDict(list(self._modules.items())[idx]))
        return self._modules[self._at(idx)]

    def __setitem__(self, idx: Any, module: Module) -> None:
        setattr(self, self._at(idx), module)

    def __delitem__(self, idx: Any) -> None:
        if isinstance(idx, slice):
            for name in list(self._modules)[idx]:
                delattr(self, name)
        else:
            delattr(self, self._at(idx))
        self._renumber(self._modules.values())

    def __add__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(
                "add operator supports only objects of Sequential class, but "
                f"{type(other)} is given."
            )
        return Sequential(*self, *other)

    def __iadd__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(
                "add operator supports only objects of Sequential class, but "
                f"{type(other)} is given."
            )
        offset = len(self)
        for i, module in enumerate(list(other)):
            self.add_module(str(i + offset), module)
        return self

    def __mul__(self, other: Any) -> Sequential:
        _check_times(type(self), other)
        return Sequential(*(module for _ in range(other) for module in self))

    def __rmul__(self, other: Any) -> Sequential:
        return self.__mul__(other)

    def __imul__(self, other: Any) -> Sequential:
        _check_times(type(self), other)
        modules = list(self)
        for i in range(len(modules), len(modules) * other):
            self.add_module(str(i), modules[i % len(modules)])
        return self

    def pop(self, key: Any) -> Module:
        """Removes the module at the index and gives it."""
        module = self[key]
        del self[key]
        return module

    def append(self, module: Module) -> Sequential:
        """Adds a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self, index: int, module: Module) -> Sequential:
        """Adds a module before the index.

        Raises: ``AssertionError`` for what is no module, ``IndexError`` out of range.
        """
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        n = len(self)
        if not -n <= index <= n:
            raise IndexError(f"Index out of range: {index}")
        modules = list(self)
        modules.insert(index + n if index < 0 else index, module)
        self._renumber(modules)
        return self

    def extend(self, sequential: Iterable[Module]) -> Sequential:
        """Adds modules at the end."""
        for module in sequential:
            self.append(module)
        return self

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input


def _check_times(kind: type, times: Any) -> None:
    if not isinstance(times, int):
        raise TypeError(f"unsupported operand type(s) for *: {kind} and {type(times)}")
    if times <= 0:
        raise ValueError(f"Non-positive multiplication factor {times} for {kind}")


class ModuleList(_Numbered):
    """A list of modules, all registered.

    >>> len(nn.ModuleList([nn.ReLU(), nn.Tanh()]))
    2
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _at(self, idx: Any) -> str:
        return str(_index(len(self), idx))

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, slice):
            return type(self)(list(self)[idx])
        return self._modules[self._at(idx)]

    def __setitem__(self, idx: Any, module: Module) -> None:
        setattr(self, self._at(idx), module)

    def __delitem__(self, idx: Any) -> None:
        modules = list(self)
        if isinstance(idx, slice):
            del modules[idx]
        else:
            del modules[int(self._at(idx))]
        self._renumber(modules)

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __repr__(self) -> str:
        reprs = [repr(module) for module in self]
        if not reprs:
            return self._get_name() + "()"
        # Equal neighbours are printed once.
        runs: list[list[Any]] = []
        for i, text in enumerate(reprs):
            if runs and runs[-1][2] == text:
                runs[-1][1] = i
            else:
                runs.append([i, i, text])
        lines = []
        for start, end, text in runs:
            label = f"({start})" if start == end else f"({start}-{end})"
            times = "" if start == end else f"{end - start + 1} x "
            lines.append(f"{label}: {times}{text}".replace("\n", "\n  "))
        return self._get_name() + "(\n  " + "\n  ".join(lines) + "\n)"

    def insert(self, index: int, module: Module) -> None:
        """Adds a module before the index."""
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)

    def append(self, module: Module) -> ModuleList:
        """Adds a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def pop(self, key: Any) -> Module:
        """Removes the module at the index and gives it."""
        module = self[key]
        del self[key]
        return module

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Adds modules at the end.

        Raises: ``TypeError`` for what cannot be iterated over.
        """
        if not isinstance(modules, Iterable):
            raise TypeError(
                "ModuleList.extend should be called with an iterable, but got "
                + type(modules).__name__
            )
        offset = len(self)
        for i, module in enumerate(modules):
            self.add_module(str(offset + i), module)
        return self


class ModuleDict(Module):
    """A dictionary of modules, all registered, in the order in which they were added.

    >>> nn.ModuleDict({"act": nn.ReLU()})["act"]
    ReLU()
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Removes everything."""
        self._modules.clear()

    def pop(self, key: str) -> Module:
        """Removes the key and gives its module."""
        module = self[key]
        del self[key]
        return module

    def keys(self) -> Any:
        """The keys."""
        return self._modules.keys()

    def items(self) -> Any:
        """Pairs of key and module."""
        return self._modules.items()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Adds modules, from a mapping in its order or from pairs of key and module.

        Raises: ``TypeError`` or ``ValueError`` for anything else.
        """
        add_entries(self, modules, "ModuleDict")


def add_entries(target: Any, entries: Any, kind: str) -> None:
    """Sets entries given as a mapping or as pairs, with PyTorch's errors for anything else."""
    if not isinstance(entries, Iterable):
        # PyTorch misspells the second one.
        named = {"ModuleDict": "ModuleDict", "ParameterDict": "ParametersDict"}[kind]
        raise TypeError(
            f"{named}.update should be called with an iterable of key/value pairs, but got "
            + type(entries).__name__
        )
    if hasattr(entries, "items"):
        for key, value in entries.items():
            target[key] = value
        return
    for i, pair in enumerate(entries):
        if not isinstance(pair, Iterable):
            raise TypeError(
                f"{kind} update sequence element #{i} should be Iterable; is" + type(pair).__name__
            )
        if not len(pair) == 2:
            raise ValueError(
                f"{kind} update sequence element #{i} has length {len(pair)}; 2 is required"
            )
        target[pair[0]] = pair[1]


SAMPLES = {
    "nn.Sequential": "| x; nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2, bias=False) | x;"
    " nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()), nn.Identity() | x;"
    " nn.BatchNorm1d(4), nn.Dropout(0.25) | x; !nn.Linear(4, 3), nn.Linear(4, 3) | x; !3; !nn.ReLU",
    "nn.ModuleList": "; [nn.Linear(4, 3), nn.ReLU()]; [nn.Linear(2, 2) for _ in range(3)]; !3;"
    " ![nn.ReLU]; ![nn.ReLU()] | x",
    "nn.ModuleDict": "; {'a': nn.Linear(4, 3), 'b': nn.ReLU()}; [('one', nn.Conv1d(2, 2, 1))]; !3;"
    " !{'a': 1}; !{'keys': nn.ReLU()}; !{'a.b': nn.ReLU()}; !{'a': nn.ReLU()} | x",
    "nn.Container": "a=nn.Linear(2, 3); a=nn.ReLU(), b=nn.Linear(1, 1); !a=3",
}
