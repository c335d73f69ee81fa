"""Names a program by all that its plan depends on, alike in every process."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.dtypes import dtype
from flambeau.ir.graph import Aval, Const
from flambeau.ir.primitive import PRIMITIVES
from flambeau.run.compiler.schedule import Unkept, function_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flambeau.ir.graph import Entry

__all__ = ["key_of"]

# What ``repr`` says all about.
_ATOMS = frozenset({int, float, bool, str, bytes, complex, type(None), type(Ellipsis)})


def key_of(
    entries: Sequence[Entry],
    outs: Sequence[int],
    inputs: int,
    numbers: Sequence[Any],
    storages: Sequence[tuple[int, int]],
    passed: Mapping[int, Aval],
    layouts: Mapping[int, tuple[int, ...]] | None,
    target: Any,
) -> str | None:
    """A digest of the arguments; None where they hold something that no text stands for.

    Of run-time numbers it is the types that matter.
    """
    avals: dict[int, Any] = {}
    try:
        described = (
            [_entry(e, avals) for e in entries],
            tuple(outs),
            inputs,
            [type(n).__name__ for n in numbers],
            tuple(storages),
            [(i, _aval(a)) for i, a in sorted(passed.items())],
            sorted((layouts or {}).items()),
            repr(target),
        )
    except Unkept:
        return None
    return hashlib.blake2b(repr(described).encode(), digest_size=20).hexdigest()


def _entry(entry: Entry, avals: dict[int, Any]) -> tuple[Any, ...]:
    prim = entry.prim
    if PRIMITIVES.get(prim.name) is not prim:
        raise Unkept("a primitive of somebody else's")
    return (
        prim.name,
        [i if type(i) is int else ("const", plain(i.value)) for i in entry.inputs],
        entry.outputs,
        [(k, plain(v)) for k, v in entry.attrs.items()],
        [avals.get(id(a)) or avals.setdefault(id(a), _aval(a)) for a in entry.in_avals],
        [avals.get(id(a)) or avals.setdefault(id(a), _aval(a)) for a in entry.out_avals],
    )


def _aval(aval: Aval) -> tuple[Any, ...]:
    return (*map(int, aval.shape), aval.dtype and aval.dtype.name)


def plain(value: Any) -> Any:
    """The value in terms that ``repr`` says all about. Raises ``Unkept``."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, (tuple, list)):
        return (kind.__name__, *map(plain, value))
    if kind is dict:
        return ("dict", *((plain(k), plain(v)) for k, v in value.items()))
    if kind is slice:
        return ("slice", plain(value.start), plain(value.stop), plain(value.step))
    if kind is dtype:
        return ("dtype", value.name)
    if kind is Const:
        return ("const", plain(value.value))
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufcV":
        content = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16)
        return (kind.__name__, value.dtype.name, value.shape, content.hexdigest())
    if isinstance(value, np.dtype):
        return ("numpy", value.name)
    if callable(value):
        return ("function", function_name(value))
    raise Unkept(f"an attribute of type {kind.__name__}")
