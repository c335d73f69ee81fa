"""Tensors on the meta device: shape, dtype and history without values.

Such a tensor is an ordinary one on a storage that has no memory. Binding it stops the call, which
is then recorded on a trace of its own that nobody runs: what the rules say of the results' shapes
and dtypes is all that there is to know of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from flambeau.record.builder import shared
from flambeau.record.meta import meta
from flambeau.record.storage import Storage, numel
from flambeau.record.trace import LOCK, Node, Trace, open_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Absent", "NoValues", "absent", "by_rules", "is_absent"]

NO_DATA = "Cannot copy out of meta tensor; no data!"


class Absent(Storage):
    """The memory of tensors that have none."""

    plain = False

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        super().__init__(None, shape)
        self.dtype = dtype

    @property
    def array(self) -> NoReturn:
        """Raises: ``NotImplementedError``: there are no values."""
        raise NotImplementedError(NO_DATA)

    @property
    def nbytes(self) -> int:
        """What the memory would take."""
        return numel(self.shape) * self.dtype.itemsize

    def writable(self) -> NoReturn:
        """Raises: ``NotImplementedError``: there is nothing to write to."""
        raise NotImplementedError(NO_DATA)

    def held_elsewhere(self) -> bool:
        """Never: nobody sees what is not there."""
        return False


class NoValues(Exception):
    """A tensor without values was to be bound: the call is done by its rules."""


def absent(m: Any) -> Any:
    """A tensor without values."""
    t = object.__new__(shared["Tensor"])
    t._meta = m
    t._storage = Absent(m.shape, m.dtype)
    return t


def hollow(m: Any) -> np.ndarray:
    """An array of the shape and dtype of a meta that takes no memory, to ask its size of."""
    return np.broadcast_to(np.zeros((), m.dtype.numpy), m.shape)


def is_absent(t: Any) -> bool:
    """Whether a tensor has no values."""
    return t._storage.__class__ is Absent


def by_rules(call: Callable, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """``call(*args, **kwargs)`` on a trace of its own; its results have no values.

    Raises ``RuntimeError`` where tensors with and without values meet, but for single numbers.
    """
    given = list(_tensors((args, kwargs)))
    if not getattr(call, "__name__", "").endswith("_"):
        _check_places(given)
    elif not is_absent(given[0]):
        raise NotImplementedError(NO_DATA)
    with LOCK:
        outer = open_.trace
        scratch = Trace(open_.state)
        scratch.root = scratch.node = Node(None, None, open_.state)
        scratch.root.cut = True
        there = {id(t): t for t in given if is_absent(t)}
        standins = {key: _standin(scratch, t) for key, t in there.items()}
        scratch.root.n_inputs = len(standins)
        open_.trace = open_.cell[0] = scratch
        try:
            result = call(
                *_replaced(args, standins),
                **dict(zip(kwargs, _replaced(list(kwargs.values()), standins), strict=True)),
            )
        finally:
            open_.trace = open_.cell[0] = outer
        name = scratch.node.name
        scratch.forget()
    originals = {id(standins[key]): t for key, t in there.items()}
    link = None
    found: list[Any] = []
    for t in (*_tensors(result), *[s for s in standins.values() if s._meta.requires_grad]):
        if t._meta.requires_grad and not t._meta.leaf and link is None:
            link = shared["absent_history"](name, [t for t in given if t._meta.requires_grad])
        found.append(t)
    made = {}
    for i, t in enumerate(found):
        made[id(t)] = _without_values(t, originals, (link, i))
    if link is not None:
        link.outputs = len(found)
    return _replaced(result, made)


def _check_places(given: list[Any]) -> None:
    # Places may be anywhere.
    given = [t for t in given if t._meta.shape and t._meta.dtype.category > 1]
    for t in given:
        first = given[0]
        if is_absent(t) != is_absent(first):
            raise RuntimeError(
                f"Tensor on device {t.device} is not on the expected device {first.device}!"
            )


def _standin(scratch: Trace, t: Any) -> Any:
    """A value of the scratch trace in the place of a tensor without one."""
    made = object.__new__(shared["Tensor"])
    scratch.inputs.append(made)
    made._trace = scratch
    made._slot = -len(scratch.inputs)
    made._meta = t._meta
    return made


def _without_values(t: Any, originals: dict[int, Any], link: Any) -> Any:
    m = t._meta
    known = originals.get(id(t))
    if known is None:
        known = absent(meta(m.shape, m.dtype, m.requires_grad, m.leaf))
    elif known._meta is m:
        return known
    else:
        # Written to: it takes the history of what it was given.
        known._meta = m
    if m.requires_grad and not m.leaf:
        known._hist = link
    return known


def _tensors(value: Any) -> Iterator[Any]:
    if isinstance(value, shared["Tensor"]):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from _tensors(v)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _replaced(value: Any, table: dict[int, Any]) -> Any:
    if isinstance(value, shared["Tensor"]):
        return table.get(id(value), value)
    if isinstance(value, (tuple, list)):
        parts = [_replaced(v, table) for v in value]
        return type(value)._make(parts) if hasattr(value, "_make") else type(value)(parts)
    return value
