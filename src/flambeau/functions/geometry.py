"""Views of data again: what a view's shape and strides came to the last time is remembered.

Code that looks at its data makes the same views in each step. The functions work a view out from
nothing but shapes and numbers, so for a tensor that is concrete and has no history the result is
known from these alone: the call is a look-up and a new tensor on the same storage.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from flambeau.functions.promotion import Number
from flambeau.record import alias
from flambeau.record.macro import function, ops
from flambeau.record.meta import meta
from flambeau.record.storage import PLAIN_SPECS, Rows, contiguous_strides
from flambeau.record.trace import open_
from flambeau.tensor import Size, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

_new = object.__new__
# Views remembered for each function; then all are forgotten.
_LIMIT = 2048
_TUPLES = (tuple, Size)


def _plain(args: tuple) -> bool:
    """Whether arguments are whole numbers, None and tuples of numbers: equal ones mean the same."""
    for a in args:
        kind = a.__class__
        if kind is not int and a is not None:
            if kind not in _TUPLES:
                return False
            for n in a:
                if n.__class__ is not int:
                    return False
    return True


def _again(t: Tensor, spec: Any, m: Any) -> Tensor:
    """A view without history of a concrete tensor without history."""
    storage = t._storage
    if not storage.shared:  # type: ignore[union-attr]
        alias.share(t)
    made = _new(Tensor)
    made._meta = m
    made._storage = storage
    made._spec = spec
    base = t._base
    made._base = t if base is None else alias.root(base)
    return made


def _row(t: Tensor, i: int) -> Tensor:
    """``t[i]`` of data, for an index in range: not remembered, as loops go through all of them."""
    m = t._meta
    shape, strides, offset = t._spec or (m.shape, contiguous_strides(m.shape), 0)
    if i < 0:
        i += shape[0]
    shape = shape[1:]
    return _again(t, (shape, strides[1:], offset + i * strides[0]), meta(shape, m.dtype))


def _rows(t: Tensor, index: slice) -> Tensor | None:
    """``t[start:stop]`` of data; None where ``index`` is another slice."""
    start, stop = index.start, index.stop
    if index.step is not None or not (
        (start is None or start.__class__ is int) and (stop is None or stop.__class__ is int)
    ):
        return None
    m, spec = t._meta, t._spec
    found = _known_rows.get((start, stop, m, spec))
    if found is None:
        if not m.shape:
            return None
        start, stop, _ = index.indices(m.shape[0])
        shape = (stop - start if stop > start else 0, *m.shape[1:])
        if shape == m.shape:
            return None
        _, strides, offset = spec or (None, contiguous_strides(m.shape), 0)
        rows = (shape, strides, offset + start * strides[0])
        found = Rows(rows) if spec is None else rows, meta(shape, m.dtype)
        if len(_known_rows) >= _LIMIT:
            _known_rows.clear()
        _known_rows[index.start, index.stop, m, spec] = found
    return _again(t, *found)


_known_rows: dict[tuple, tuple] = {}


def _is_view(made: Any, of: Tensor) -> bool:
    return (
        made.__class__ is Tensor
        and made is not of
        and made._storage is of._storage
        and made._base is alias.root(of)
        and not made._meta.requires_grad
        and made._spec.__class__ in PLAIN_SPECS
    )


def _is_data(t: Tensor) -> bool:
    """Whether a view of this needs no recording, whatever the grad mode."""
    storage = t._storage
    return (
        storage is not None
        and storage.trace is None
        and not t._meta.requires_grad
        and t._spec.__class__ in PLAIN_SPECS
        and open_.trace.builder is None
    )


class _Remembered:
    """The views that one function has made: (arguments, geometry of the tensor) to geometry."""

    def __init__(self) -> None:
        self.found: dict[tuple, Any] = {}

    def get(self, t: Tensor, args: tuple) -> Any:
        """The same view of this tensor; None if it is not known."""
        found = self.found.get((args, t._meta, t._spec))
        if found is None:
            return None
        if found.__class__ is list:
            return tuple([_again(t, spec, m) for spec, m in found])
        return _again(t, *found)

    def add(self, t: Tensor, args: tuple, made: Any) -> Any:
        """Takes a result down, if it is views, and gives it back."""
        several = made.__class__ is tuple
        if all(_is_view(v, t) for v in (made if several else (made,))):
            if len(self.found) >= _LIMIT:
                self.found.clear()
            parts = [(v._spec, v._meta) for v in (made if several else (made,))]
            self.found[args, t._meta, t._spec] = parts if several else parts[0]
        return made


def _remembered(f: Callable) -> Callable:
    """A function that makes views, with a short way to those it has made before."""
    known = _Remembered()

    @functools.wraps(f)
    def short(*args: Any, **named: Any) -> Any:
        if named or not args:
            return f(*args, **named)
        t, rest = args[0], args[1:]
        if t.__class__ is not Tensor or not _is_data(t) or not _plain(rest):
            return f(*args)
        made = known.get(t, rest)
        return known.add(t, rest, f(*args)) if made is None else made

    return short


# Rows and columns of which NumPy has copied one before a program has begun.
_AT_ONCE = 1 << 13


def _is_short_data(t: Tensor) -> bool:
    """Whether lines of this are so short that copies of them are made at once."""
    if not _is_data(t) or open_.trace.special or max(t._meta.shape, default=0) > _AT_ONCE:
        return False
    return t._base is None or not alias.stale(t)


# From so many elements on a copy is worth a kernel; fewer NumPy moves as they are bound.
_WORTH_A_KERNEL = 1 << 14


@function
def _strided_copy(whole: Tensor, offset: Number, shape: tuple, strides: tuple) -> Tensor:
    return ops.as_strided(whole, offset, shape=shape, strides=strides)


def _laid_out(t: Tensor) -> Tensor | None:
    """A view of data in row-major order, read where it lies; None where that gains nothing.

    As an operand the view itself would first be copied by NumPy.
    """
    spec = t._spec
    if t.__class__ is not Tensor or spec is None or not _is_data(t):
        return None
    shape, strides, offset = spec
    if math.prod(shape) < _WORTH_A_KERNEL or alias.stale(t):
        return None
    return _strided_copy(alias.whole(t), offset, tuple(shape), tuple(strides))
