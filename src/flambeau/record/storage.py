"""The memory that tensors alias, and the tensors' side of it: handles."""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.run.tail import tail

if TYPE_CHECKING:
    from flambeau.record.meta import Meta
    from flambeau.record.trace import Trace

# A value that foreign code may change is copied when bound, if it is no larger than this (bytes).
SNAPSHOT = 1 << 16


class Storage:
    """One piece of memory.

    ``memory`` is its concrete value, C-contiguous, which a program may still be using: ``array``
    and ``writable()`` wait for that. While a write is recorded but not yet run, ``trace`` and
    ``slot`` say where the new value will come from. ``version`` counts writes. ``shared``: several
    tensors alias it. ``foreign``: memory that other code may hold. ``early``: the number of a tail
    (``run/tail.py``) that does not touch it.
    """

    # Defaults on the class: a flush makes a storage for each tensor it hands out.
    trace: Trace | None = None
    slot = 0
    meta: Meta | None = None
    version = 0
    shared = False
    foreign = False
    # Neither pending, shared nor foreign: the case that binding takes without a question.
    plain = True
    early = 0

    def __init__(self, array: np.ndarray | None, shape: tuple[int, ...] | None = None) -> None:
        self.memory = array
        self.shape = array.shape if shape is None else shape

    @property
    def array(self) -> Any:
        """The value, to read."""
        if tail.given is not None and self.early != tail.number:
            tail.joined_for(self.memory)
        return self.memory

    @array.setter
    def array(self, value: np.ndarray | None) -> None:
        self.memory = value

    def writable(self) -> np.ndarray:
        """The value, to write to at once."""
        if tail.given is not None:
            tail.joined_for(self.memory, write=True)
        return self.memory

    def share(self) -> None:
        self.shared = True
        self.plain = False

    def held_elsewhere(self) -> bool:
        """Whether code outside Flambeau can still see this memory."""
        if not self.foreign:
            return False
        owner, itself, count = owner_of(self)
        if isinstance(owner, np.ndarray) and owner.flags.owndata and count <= OWN[itself]:
            self.foreign = False
            self.plain = self.trace is None and not self.shared
            return False
        return True


def owner_of(storage: Storage) -> tuple[Any, bool, int]:
    """Whose memory a storage's array is, whether its own, and that owner's reference count."""
    array = storage.memory
    owner = array if array.base is None else array.base
    return owner, owner is array, sys.getrefcount(owner)


# What ``owner_of`` counts when nobody else holds the memory: measured, since Python versions
# differ in which of a function's variables hold references.
OWN = {
    True: owner_of(Storage(np.empty(1)))[2],
    False: owner_of(Storage(np.empty(1)[:]))[2],
}


class Handle:
    """What record knows of a tensor: its value, pending or concrete, and its history.

    While pending, ``_trace`` and ``_slot`` place the value. A concrete tensor has a storage, of
    which it is a strided view if ``_spec`` (shape, strides, offset in elements) is set; ``_base``
    is then the tensor it is a view of. A tensor whose storage is shared or foreign never has
    ``_trace``: its slot holds in the trace ``_btrace`` while the storage's version is ``_seen``.
    ``_hist`` is the history of a non-leaf after a flush: (segment, slot).
    """

    _trace: Any = None
    _slot: int = 0
    _meta: Meta
    _storage: Storage | None = None
    _spec: tuple[tuple[int, ...], tuple[int, ...], int] | None = None
    _base: Any = None
    # A base that only memory needs: no tensor was made a view of it.
    _hidden: bool = False
    _btrace: Any = None
    _seen: int = -1
    _hist: tuple[Any, int] | None = None
    _grad: Any = None
    _hooks: dict | None = None
    _post_hooks: dict | None = None
    _retains: bool = False
    _name: str | None = None


@lru_cache(4096)
def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements, as PyTorch counts them."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


class Parts(tuple):
    """The spec of a view that counts other elements than the memory has.

    Real numbers of complex memory (``dtype`` None), or the same bits read as another NumPy
    ``dtype``, which has no history.
    """

    dtype: np.dtype | None = None
    # "neg" where what is read is the negative of what lies there (``Turned``).
    turn: str | None = None

    def like(self, spec: tuple, dtype: np.dtype | None = None) -> Parts:
        """The spec of a view of such a view, which may have another dtype again."""
        return parts(spec, dtype or self.dtype, self.turn)


def parts(spec: tuple, dtype: np.dtype | None, turn: str | None = None) -> Parts:
    """A spec that counts elements of ``dtype``."""
    made = Parts(spec)
    if dtype is not None:
        made.dtype = dtype
    if turn is not None:
        made.turn = turn
    return made


class Turned(tuple):
    """The spec of a view that reads the conjugates or the negatives of what lies there.

    ``turn`` is the primitive: "conj" or "neg", which undo themselves.
    """

    turn: str

    def like(self, spec: tuple) -> Turned:
        """The spec of a view of such a view."""
        return turned(spec, self.turn)


def turned(spec: tuple, turn: str) -> Turned:
    """A spec that reads by way of a primitive."""
    made = Turned(spec)
    made.turn = turn
    return made


_TURNS = {"conj": np.conjugate, "neg": np.negative}


class Rows(tuple):
    """The spec of consecutive rows of a whole, non-empty tensor: NumPy's slice is the short way."""

    __slots__ = ()


# Classes of the specs (or None) that say where the elements of memory lie, and nothing else.
PLAIN_SPECS = frozenset({type(None), tuple, Rows})


def view_array(base: np.ndarray, spec: tuple) -> np.ndarray:
    """The NumPy view of ``base`` that a spec describes."""
    shape, strides, offset = spec
    if spec.__class__ is Rows and base.shape[1:] == shape[1:]:
        start = offset // strides[0]
        return base[start : start + shape[0]]
    if spec.__class__ is Turned:
        return np.asarray(_TURNS[spec.turn](view_array(base, tuple(spec))))
    if spec.__class__ is Parts:
        base = base.reshape(-1).view(spec.dtype or base.real.dtype)
        if spec.turn is not None:
            return np.asarray(_TURNS[spec.turn](view_array(base, tuple(spec))))
        spec = tuple(spec)
    size = base.dtype.itemsize
    if base.dtype.kind == "V":
        # ml_dtypes have no buffer protocol: view the bits.
        return view_array(base.view(np.uint16), spec).view(base.dtype)
    if 0 in shape:
        return (
            np.empty(shape, base.dtype)
            if not base.size
            else np.ndarray(shape, base.dtype, base, 0, None)
        )
    return np.ndarray(shape, base.dtype, base, offset * size, tuple(s * size for s in strides))


def numel(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
