"""CombinedLoader: several loaders as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from flambeau.tensor import Tensor

__all__ = ["CombinedLoader", "batches_of", "combined", "flattened"]

_LENGTHS: dict[str, Callable[[Iterable[float]], float]] = {
    "min_size": min,
    "max_size_cycle": max,
    "max_size": max,
    "sequential": sum,
}


class CombinedLoader:
    """Several loaders as one; ``iterables`` is one, or a list, tuple or dictionary of them, nested
    as one likes.

    A batch is the same collection of the loaders' batches. It ends with the shortest loader
    ("min_size"), or with the longest: the others begin again ("max_size_cycle") or give None
    ("max_size"). "sequential" goes through one loader after another. Iteration gives
    ``(batch, batch_idx, dataloader_idx)``; ``limits`` is how many batches each loader gives at
    most, a number or a list of them.

    Raises: ``ValueError`` for another mode, or limits that are not as many as the loaders.

    Reference: Lightning's ``CombinedLoader``.

    >>> from flambeau.trainer.utilities import CombinedLoader
    >>> both = CombinedLoader({"a": [1, 2, 3], "b": "xy"}, "max_size_cycle")
    >>> [batch for batch, *_ in both]
    [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'y'}, {'a': 3, 'b': 'x'}]
    """

    def __init__(
        self,
        iterables: Any,
        mode: Literal["min_size", "max_size_cycle", "max_size", "sequential"] = "min_size",
    ) -> None:
        if mode not in _LENGTHS:
            raise ValueError(f"Unsupported mode {mode!r}, please select one of: {list(_LENGTHS)}.")
        self._iterables = iterables
        self.mode = mode
        self._limits: list[float] | None = None
        self._iterator: Iterator[Any] | None = None

    @property
    def iterables(self) -> Any:
        """The collection."""
        return self._iterables

    @property
    def flattened(self) -> list[Any]:
        """The loaders, one after another; assigning as many replaces them."""
        return flattened(self._iterables)

    @flattened.setter
    def flattened(self, loaders: list[Any]) -> None:
        if len(loaders) != len(self.flattened):
            raise ValueError(
                f"Mismatch in flattened length ({len(loaders)}) and existing length "
                f"({len(self.flattened)})"
            )
        rest = iter(loaders)
        self._iterables = _mapped(lambda _: next(rest), self._iterables)

    @property
    def limits(self) -> list[float] | None:
        """How many batches of each loader are used; None: all."""
        return self._limits

    @limits.setter
    def limits(self, limits: float | list[float] | None) -> None:
        count = len(self.flattened)
        if isinstance(limits, (int, float)):
            limits = [limits] * count
        elif limits is not None and len(limits) != count:
            raise ValueError(
                f"Mismatch in number of limits ({len(limits)}) and number of iterables ({count})"
            )
        self._limits = limits

    @property
    def sampler(self) -> Any:
        """The samplers, in the collection's form."""
        return _mapped(lambda loader: getattr(loader, "sampler", None), self._iterables)

    @property
    def batch_sampler(self) -> Any:
        """The batch samplers, in the collection's form."""
        return _mapped(lambda loader: getattr(loader, "batch_sampler", None), self._iterables)

    def __len__(self) -> int:
        lengths: list[float] = [len(loader) for loader in self.flattened]
        if self._limits is not None:
            lengths = [min(pair) for pair in zip(lengths, self._limits, strict=True)]
        return int(_LENGTHS[self.mode](lengths))

    def __iter__(self) -> CombinedLoader:
        self._iterator = self._passes()
        return self

    def __next__(self) -> tuple[Any, int, int]:
        if self._iterator is None:
            raise RuntimeError("Please call `iter(combined_loader)` first.")
        return next(self._iterator)

    def reset(self) -> None:
        """Forgets where the pass is, and the limits."""
        self._iterator, self._limits = None, None

    def batches(self) -> Iterator[Any]:
        """The batches alone."""
        return (batch for batch, _, _ in self._passes())

    def _passes(self) -> Iterator[tuple[Any, int, int]]:
        loaders = self.flattened
        limits = self._limits or [float("inf")] * len(loaders)
        if self.mode == "sequential":
            for number, (loader, limit) in enumerate(zip(loaders, limits, strict=True)):
                for index, batch in enumerate(_first(batches_of(loader), limit)):
                    yield batch, index, number
            return
        together = {"min_size": _shortest, "max_size_cycle": _cycling, "max_size": _filled}
        parts = [
            lambda loader=loader, limit=limit: _first(batches_of(loader), limit)
            for loader, limit in zip(loaders, limits, strict=True)
        ]
        for index, found in enumerate(together[self.mode](parts)):
            rest = iter(found)
            yield _mapped(lambda _, rest=rest: next(rest), self._iterables), index, 0


_Parts = list[Callable[[], Iterator[Any]]]
_ENDED = object()


def _shortest(parts: _Parts) -> Iterator[tuple[Any, ...]]:
    return zip(*(part() for part in parts), strict=False)


def _filled(parts: _Parts) -> Iterator[list[Any]]:
    iterators = [part() for part in parts]
    while True:
        found = [next(iterator, _ENDED) for iterator in iterators]
        if all(one is _ENDED for one in found):
            return
        yield [None if one is _ENDED else one for one in found]


def _cycling(parts: _Parts) -> Iterator[list[Any]]:
    iterators = [part() for part in parts]
    ended = [False] * len(parts)
    while True:
        found = []
        for number, iterator in enumerate(iterators):
            one = next(iterator, _ENDED)
            if one is _ENDED:
                ended[number] = True
                if all(ended):
                    return
                iterators[number] = parts[number]()
                one = next(iterators[number], _ENDED)
                if one is _ENDED:
                    return  # a loader without batches
            found.append(one)
        yield found


def _first(batches: Iterator[Any], limit: float) -> Iterator[Any]:
    taken = 0
    while taken < limit:
        batch = next(batches, _ENDED)
        if batch is _ENDED:
            return
        taken += 1
        yield batch


def _mapped(function: Callable[[Any], Any], collection: Any) -> Any:
    """The collection with ``function`` of each loader."""
    if isinstance(collection, dict):
        return type(collection)({k: _mapped(function, v) for k, v in collection.items()})
    if isinstance(collection, (list, tuple)) and _is_collection(collection):
        return type(collection)(_mapped(function, v) for v in collection)
    return function(collection)


def flattened(collection: Any) -> list[Any]:
    """The loaders of a collection, one after another."""
    found: list[Any] = []
    _mapped(found.append, collection)
    return found


def _is_collection(given: Any) -> bool:
    """Whether a list or tuple holds loaders; it may be a list of batches itself."""
    parts = given.values() if isinstance(given, dict) else given
    return bool(parts) and all(
        _is_collection(part) if isinstance(part, (list, tuple, dict)) else _is_loader(part)
        for part in parts
    )


def _is_loader(given: Any) -> bool:
    # An array's rows are samples.
    return (
        hasattr(given, "__iter__")
        and not isinstance(given, Tensor)
        and not hasattr(given, "__array__")
    )


def combined(loaders: Any) -> Any:
    """What training goes through: a collection of loaders together, the longest to its end."""
    collection = isinstance(loaders, dict) or (
        isinstance(loaders, (list, tuple)) and _is_collection(loaders)
    )
    return CombinedLoader(loaders, "max_size_cycle") if collection else loaders


def batches_of(loader: Any) -> Iterator[Any]:
    """The batches of a loader."""
    return loader.batches() if isinstance(loader, CombinedLoader) else iter(loader)
