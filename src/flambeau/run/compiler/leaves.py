"""What programs' entries depend on, thing by thing: what several have in common, and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flambeau.ir.graph import Aval, Const, Entry
from flambeau.run.compiler.lower import Literals, Varying
from flambeau.run.compiler.sizes import Size, Sizes, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flambeau.run.forms import Sample

__all__ = ["Common", "Leaves", "Real", "Unlike", "flat", "leaves", "number_of", "rebuilt"]


class Leaves(NamedTuple):
    """All that entries depend on, one thing after the other."""

    values: list[Any]
    arrays: list[np.ndarray]


def leaves(sample: Sample) -> Leaves:
    """Two samples of equal leaves are the same program."""
    values: list[Any] = [sample.outs, sample.storages, len(sample.numbers)]
    arrays: list[np.ndarray] = []
    put = values.append
    for shape, dtype in sample.inputs:
        put(dtype)
        put(len(shape))
        values.extend(shape)
    for e in sample.entries:
        put(e.prim)
        put(e.outputs)
        for i in e.inputs:
            if i.__class__ is Const:
                _leaf(i.value, values, arrays)
            else:
                put(i)
        for a in e.out_avals:
            put(a.dtype)
            put(len(a.shape))
            values.extend(a.shape)
        if e.attrs:
            for name, value in e.attrs.items():
                put(name)
                _leaf(value, values, arrays)
    return Leaves(values, arrays)


def _leaf(value: Any, values: list[Any], arrays: list[np.ndarray]) -> None:
    if value.__class__ is tuple or value.__class__ is list:
        values.append(len(value))
        for v in value:
            _leaf(v, values, arrays)
    elif isinstance(value, np.ndarray):
        values.append(np.ndarray)
        values.append(value.dtype.str)
        values.append(value.ndim)
        values.extend(value.shape)
        arrays.append(value)
    elif isinstance(value, np.generic):
        values.append((value.__class__, value.tobytes()))
    elif value.__class__ is float:
        # What a mean divides by is a size. Others not by value: NaN differs from itself.
        values.append(float)
        values.append(
            int(value) if 1 < value < _EXACT and value.is_integer() else Real(value.hex())
        )
    elif value.__class__ is complex:
        # Its bits, as those of floats.
        values.append(complex)
        values.append(repr(value))
    else:
        values.append(value.__class__)
        values.append(value)


class Real(str):
    """The bits of a float that is no size."""

    __slots__ = ()


# Integers below this are floats without rounding.
_EXACT = 1 << 24


class Common:
    """What the leaves of several programs have in common: the same values, and sizes.

    The plan is made from the first; what a size is made of must hold in all.
    """

    def __init__(self, columns: Sequence[list[Any]]) -> None:
        self.sizes = Sizes()
        # The variables' values in each program, and the places where programs have them.
        self.variables: list[tuple[int, ...]] = []
        self.places: list[int] = []
        self.known: dict[tuple[int, ...], int] = {}
        # Places of floats that differ: those of a program are run-time numbers of its own.
        self.floats: list[int] = []
        self.leaves = [
            row[0] if alike(row) else self.size(row, k)
            for k, row in enumerate(zip(*columns, strict=True))
        ]
        self.expected = [k for k, a in enumerate(self.leaves) if a.__class__ is Size]

    def values(self, program: int) -> list[int]:
        """The variables in one of the programs."""
        return [row[program] for row in self.variables]

    def size(self, row: tuple[Any, ...], place: int) -> Any:
        """The size, or the float, that has these values. Raises ``Unlike``."""
        classes = {x.__class__ for x in row}
        if Real in classes and classes <= {Real, int}:
            self.floats.append(place)
            return Varying(len(self.floats) - 1, number_of(row[0]))
        if classes != {int} or min(row) < 2:
            raise Unlike
        found = self.known.get(row)
        if found is None:
            found = self.derived(row)
            if found is None:
                found = self.sizes.variable(row[0])
                self.variables.append(row)
                self.places.append(place)
            self.known[row] = found
        return found

    def derived(self, row: tuple[int, ...]) -> int | None:
        """As a product or a sum of what is known."""
        known = list(self.known.items())
        for other, x in known:
            factor = _factor(row, other)
            if factor:
                return x * factor
        for n, (one, x) in enumerate(known):
            for other, y in known[n:]:
                factor = _factor(row, [a * b for a, b in zip(one, other, strict=True)])
                if factor:
                    return x * y * factor
        for other, x in known:
            gaps = {a - b for a, b in zip(row, other, strict=True)}
            if len(gaps) == 1:
                return x + gaps.pop()
        return None


def alike(row: Sequence[Any]) -> bool:
    """Whether all are the same thing."""
    first = row[0]
    return all(x is first or (x.__class__ is first.__class__ and x == first) for x in row)


def _factor(row: Sequence[int], other: Sequence[int]) -> int:
    """How many times ``other`` the values are; 0 if that is not one whole number."""
    factors = {a // b if a % b == 0 else 0 for a, b in zip(row, other, strict=True)}
    return factors.pop() if len(factors) == 1 else 0


def number_of(leaf: Any) -> float:
    """The float that a leaf stands for."""
    return float.fromhex(leaf) if leaf.__class__ is Real else float(leaf)


class Unlike(Exception):
    """Two programs differ in more than sizes."""


def rebuilt(
    sample: Sample, common: Common, arrays: Sequence[np.ndarray | None]
) -> tuple[list[Entry], list[Aval]]:
    """The entries, and the inputs' shapes and dtypes, with sizes."""
    following = iter(common.leaves)
    take = following.__next__
    for _ in range(3):
        take()
    given = iter(range(len(arrays)))

    def shape() -> tuple[int, ...]:
        return tuple([take() for _ in range(take())])

    def value(of: Any) -> Any:
        if of.__class__ is tuple or of.__class__ is list:
            take()
            return of.__class__([value(v) for v in of])
        if isinstance(of, np.ndarray):
            take(), take()
            dims, k = shape(), next(given)
            return of if arrays[k] is not None else Literals(k, dims, of)
        found = take()
        if isinstance(of, np.generic):
            return of
        found = take()
        if of.__class__ is complex:
            return of
        return of if of.__class__ is float and found.__class__ not in (Size, Varying) else found

    inputs = []
    for _ in sample.inputs:
        dtype = take()
        inputs.append(Aval(shape(), dtype))
    avals = {-1 - i: a for i, a in enumerate(inputs)}
    entries = []
    for e in sample.entries:
        take(), take()
        reads, read_avals = [], []
        for i, aval in zip(e.inputs, e.in_avals, strict=True):
            if i.__class__ is Const:
                literal = value(i.value)
                if literal.__class__ is Size and i.value.__class__ is float:
                    if e.out_avals[0].dtype is None or not e.out_avals[0].dtype.is_floating_point:
                        raise Unlike
                reads.append(i if literal is i.value else Const(literal))
                dims = literal.shape if literal.__class__ is Literals else aval.shape
                read_avals.append(Aval(dims, aval.dtype))
            else:
                take()
                reads.append(i)
                read_avals.append(avals.get(i, aval))
                if tuple(map(plain, read_avals[-1].shape)) != aval.shape:
                    raise Unlike
        outs = []
        for slot, _ in zip(e.outputs, e.out_avals, strict=True):
            dtype = take()
            avals[slot] = Aval(shape(), dtype)
            outs.append(avals[slot])
        attrs = {}
        for _ in e.attrs:
            name = take()
            attrs[name] = value(e.attrs[name])
            if any(x.__class__ is Varying for x in flat(attrs[name])):
                raise Unlike
        entries.append(
            Entry(e.prim, tuple(reads), e.outputs, attrs, tuple(read_avals), tuple(outs), e.grad)
        )
    return entries, inputs


def flat(thing: Any) -> Iterator[Any]:
    if thing.__class__ is tuple or thing.__class__ is list:
        for x in thing:
            yield from flat(x)
    else:
        yield thing
