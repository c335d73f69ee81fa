"""Kernels of Fourier transforms along one dimension: what comes before and after the passes.

A real transform of even length is a complex one of half of it (Press et al., Numerical Recipes,
12.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flambeau.run.compiler.convolution_blocks import Code, Lanes
from flambeau.run.compiler.fourier_blocks import Columns, Rows
from flambeau.run.compiler.fourier_passes import Passes, roots, times
from flambeau.run.compiler.vector_math_base import Lanes as Arithmetic

if TYPE_CHECKING:
    from flambeau.run.compiler.emit import Kernel

__all__ = ["Transform", "kernel", "second_kernel", "tables"]


@dataclass(frozen=True)
class Transform:
    """Of length ``n`` along the middle of (outer, n, inner), ``given`` and ``made`` numbers long.

    ``kind``: "complex", "real" (to complex numbers, ``made`` of them) or "whole" (real numbers from
    half of their transform).
    """

    kind: str
    n: int
    outer: int
    inner: int
    given: int
    made: int
    inverse: bool
    scale: float

    @property
    def length(self) -> int:
        """Of the complex transform."""
        return self.n if self.kind == "complex" or self.n % 2 else self.n // 2

    @property
    def step(self) -> int:
        """From one real number to the next in a buffer, in vectors."""
        return 1 + self.n % 2


def tables(how: Transform, passes: Passes, dtype: str) -> tuple[np.ndarray, int]:
    """What the kernel looks up: the passes' factors, then roots of unity, which begin there."""
    found = passes.table(dtype)
    if how.length == how.n:
        return np.concatenate([found, np.zeros(2, dtype)]), 0
    each = roots(how.n)[: how.length // 2 + 1]
    return np.concatenate([found, np.stack([each.real, each.imag], -1).ravel().astype(dtype)]), len(
        found
    )


def kernel(how: Transform, passes: Passes, lanes: Lanes, table_size: int) -> tuple[Kernel, int]:
    """The kernel, and how many units it has; operands: source, result, table."""
    f = Code()
    source, out, table = f.pointer(0), f.pointer(1), f.pointer(2)
    # The margin is what a square of vectors reads beyond the last number.
    size = (2 * (how.n + 1) + 2 * lanes.count) * lanes.bytes
    buffers = "%scratch", f.byte("%scratch", size)
    room = f.byte("%scratch", 2 * size)
    rows = how.inner == 1
    blocks = -(-(how.outer if rows else how.inner) // lanes.count)
    units = blocks if rows else how.outer * blocks
    with f.loop("%begin", "%end") as unit:
        if rows:
            lead = f.mul(unit.index, lanes.count)
            mover: Mover = _RowMover(lanes, how, f, source, out, lead, room)
        else:
            mover = _ColumnMover(lanes, how, f, source, out, unit.index, blocks)
        work = _Work(f, lanes, how, f.byte(table, table_size * lanes.size))
        first = work.before(mover, *buffers)
        other = buffers[1] if first == buffers[0] else buffers[0]
        scale = how.scale if how.kind == "complex" else 1.0
        done = passes.emit(f, lanes, table, (first, other), room, how.inverse, scale)
        other = buffers[1] if done == buffers[0] else buffers[0]
        work.after(mover, done, other)
    return f.kernel(2 * size + max(lanes.count, passes.room) * lanes.bytes + 64, "fourier"), units


def second_kernel(
    passes: Passes, lanes: Lanes, batch: int, count: int, inverse: bool, scale: float
) -> tuple[Kernel, int]:
    """The second half of long transforms, of ``count`` rows each, and how many units it has.

    The rows of the source are multiplied by the third operand after the passes' table ([number of
    a row][row], real and imaginary parts apart, rows up to a multiple of the lanes), transformed,
    and become columns of the result. Operands: source, result, the table, those factors.
    """
    f = Code()
    source, out, table, factors = (f.pointer(k) for k in range(4))
    n, width = passes.n, -(-count // lanes.count) * lanes.count
    size = (2 * (n + 1) + 2 * lanes.count) * lanes.bytes
    buffers = "%scratch", f.byte("%scratch", size)
    room = f.byte("%scratch", 2 * size)
    blocks = width // lanes.count
    v = Arithmetic(f, lanes.count, lanes.element)
    with f.loop("%begin", "%end") as unit:
        which, block = f.divided(unit.index, blocks)
        column = f.mul(block, lanes.count)
        row = f.add(f.mul(which, count), column)
        Rows(lanes, source, row, batch * count, room).load(f, 2 * n, buffers[0])
        here = f.along(factors, (column, lanes.size))
        with f.loop("0", str(n)) as k:
            place = f.along(buffers[0], (k.index, 2 * lanes.bytes))
            x = [f.load(lanes.type, f.byte(place, i * lanes.bytes), lanes.size) for i in range(2)]
            at = f.along(here, (k.index, 2 * width * lanes.size))
            w = [
                f.load(lanes.type, f.byte(at, i * width * lanes.size), lanes.size) for i in range(2)
            ]
            found = times(v, (x[0], x[1]), (w[0], w[1]))
            for i in range(2):
                f.store(lanes.type, found[i], f.byte(place, i * lanes.bytes), lanes.size)
        done = passes.emit(f, lanes, table, buffers, room, inverse, scale)
        pair = 2 * lanes.size
        at = f.along(out, (which, n * count * pair), (column, pair))
        left = f.sub(str(count), column) if count % lanes.count else None
        Columns(lanes, at, count, left).store(f, n, done)
    return f.kernel(
        2 * size + max(lanes.count, passes.room) * lanes.bytes + 64, "fourier"
    ), batch * blocks


class _RowMover:
    """Between rows and buffers."""

    def __init__(
        self, lanes: Lanes, how: Transform, f: Code, source: str, out: str, lead: str, room: str
    ) -> None:
        self.f, self.how = f, how
        self.source = Rows(lanes, source, lead, how.outer, room)
        self.out = Rows(lanes, out, lead, how.outer, room)

    def load(self, buffer: str) -> None:
        self.source.load(self.f, 2 * self.how.given, buffer)

    def store(self, buffer: str) -> None:
        self.out.store(self.f, 2 * self.how.made, buffer)

    def load_real(self, buffer: str) -> None:
        self.source.load(self.f, self.how.given, buffer, self.how.step)

    def store_real(self, buffer: str) -> None:
        self.out.store(self.f, self.how.made, buffer, self.how.step)


class _ColumnMover:
    """Between columns and buffers."""

    def __init__(
        self, lanes: Lanes, how: Transform, f: Code, source: str, out: str, unit: str, blocks: int
    ) -> None:
        self.f, self.how, self.lanes = f, how, lanes
        lead, block = f.divided(unit, blocks)
        column = f.mul(block, lanes.count)
        left = f.sub(str(how.inner), column) if how.inner % lanes.count else None

        def columns(array: str, length: int, pair: int) -> Columns:
            each = pair * lanes.size
            at = f.along(array, (lead, length * how.inner * each), (column, each))
            return Columns(lanes, at, how.inner, left)

        self.source = columns(source, how.given, 1 if how.kind == "real" else 2)
        self.out = columns(out, how.made, 1 if how.kind == "whole" else 2)

    def load(self, buffer: str) -> None:
        self.source.load(self.f, self.how.given, buffer)

    def store(self, buffer: str) -> None:
        self.out.store(self.f, self.how.made, buffer)

    def load_real(self, buffer: str) -> None:
        self.source.load_real(self.f, self.how.given, buffer, self.how.step)

    def store_real(self, buffer: str) -> None:
        self.out.store_real(self.f, self.how.made, buffer, self.how.step)


Mover = _RowMover | _ColumnMover
Complex = tuple[str, str]


class _Work:
    """What comes before and after the passes of a complex transform."""

    def __init__(self, f: Code, lanes: Lanes, how: Transform, table: str) -> None:
        self.f, self.lanes, self.how, self.roots = f, lanes, how, table
        self.v = Arithmetic(f, lanes.count, lanes.element)
        self.step = 2 * lanes.bytes

    def get(self, buffer: str, k: str) -> Complex:
        f, lanes = self.f, self.lanes
        place = f.along(buffer, (k, self.step))
        first = f.load(lanes.type, place, lanes.size)
        return first, f.load(lanes.type, f.byte(place, lanes.bytes), lanes.size)

    def put(self, buffer: str, k: str, x: Complex) -> None:
        f, lanes = self.f, self.lanes
        place = f.along(buffer, (k, self.step))
        f.store(lanes.type, x[0], place, lanes.size)
        f.store(lanes.type, x[1], f.byte(place, lanes.bytes), lanes.size)

    def root(self, k: str) -> Complex:
        """exp(-2 pi i k / n)."""
        f, lanes = self.f, self.lanes
        place = f.along(self.roots, (k, 2 * lanes.size))
        return f.broadcast(lanes, place), f.broadcast(lanes, f.byte(place, lanes.size))

    def scaled(self, x: Complex, scale: float) -> Complex:
        return x if scale == 1.0 else (self.v.mul(x[0], scale), self.v.mul(x[1], scale))

    def mirror(self, k: str) -> str:
        return self.f.value(f"sub i64 {self.how.length}, {k}")

    def before(self, mover: Mover, a: str, b: str) -> str:
        """Fills one of two buffers, and gives it."""
        how, f, lanes = self.how, self.f, self.lanes
        if how.kind == "complex":
            mover.load(a)
            return a
        if how.kind == "whole":
            mover.load(a)
            (self.joined if how.n % 2 == 0 else self.reflected)(a, b)
            return b
        mover.load_real(a)
        if how.n % 2:
            with f.loop("0", str(how.n)) as k:
                place = f.byte(f.along(a, (k.index, self.step)), lanes.bytes)
                f.store(lanes.type, "zeroinitializer", place, lanes.size)
        return a

    def after(self, mover: Mover, done: str, other: str) -> None:
        """Writes the result that one of two buffers has."""
        how, f = self.how, self.f
        if how.kind == "complex":
            mover.store(done)
        elif how.kind == "whole":
            mover.store_real(done)
        elif how.n % 2:
            if how.scale != 1.0:
                with f.loop("0", str(how.made)) as k:
                    self.put(done, k.index, self.scaled(self.get(done, k.index), how.scale))
            mover.store(done)
        else:
            self.apart(done, other)
            mover.store(other)

    def apart(self, z: str, x: str) -> None:
        """X[k] = E + w**k O with 2 E = Z[k] + conj Z[h - k], 2 i O = Z[k] - conj Z[h - k]."""
        v, how = self.v, self.how
        h = how.length
        half = how.scale / 2
        re, im = self.get(z, "0")
        zero = v.number(0.0)
        self.put(x, "0", self.scaled((v.add(re, im), zero), how.scale))
        self.put(x, str(h), self.scaled((v.sub(re, im), zero), how.scale))
        if h < 2:
            return
        whole = how.made == how.n
        with self.f.loop("1", str(h // 2 + 1)) as k:
            mirror = self.mirror(k.index)
            a, b = self.get(z, k.index), self.get(z, mirror)
            even = v.add(a[0], b[0]), v.sub(a[1], b[1])
            odd = times(v, (v.add(a[1], b[1]), v.sub(b[0], a[0])), self.root(k.index))
            low = self.scaled((v.add(even[0], odd[0]), v.add(even[1], odd[1])), half)
            high = self.scaled((v.sub(even[0], odd[0]), v.sub(odd[1], even[1])), half)
            self.put(x, mirror, high)
            self.put(x, k.index, low)
            if whole:
                for place, value in ((k.index, low), (mirror, high)):
                    far = self.f.value(f"sub i64 {how.n}, {place}")
                    self.put(x, far, (value[0], v.neg(value[1])))

    def joined(self, x: str, z: str) -> None:
        """Z[k] = P + i D with P = X[k] + conj X[h - k], D = (X[k] - conj X[h - k]) / w**k."""
        v, how = self.v, self.how
        h = how.length
        # What is its own mirror image is real.
        first, last = self.get(x, "0")[0], self.get(x, str(h))[0]
        self.put(z, "0", self.scaled((v.add(first, last), v.sub(first, last)), how.scale))
        if h < 2:
            return
        with self.f.loop("1", str(h // 2 + 1)) as k:
            mirror = self.mirror(k.index)
            a, b = self.get(x, k.index), self.get(x, mirror)
            p = v.add(a[0], b[0]), v.sub(a[1], b[1])
            c, s = self.root(k.index)
            d = times(v, (v.sub(a[0], b[0]), v.add(a[1], b[1])), (c, v.neg(s)))
            self.put(z, mirror, self.scaled((v.add(p[0], d[1]), v.sub(d[0], p[1])), how.scale))
            self.put(z, k.index, self.scaled((v.sub(p[0], d[1]), v.add(p[1], d[0])), how.scale))

    def reflected(self, x: str, z: str) -> None:
        """All of a transform, from its first half."""
        v, how = self.v, self.how
        first = self.get(x, "0")[0]
        self.put(z, "0", self.scaled((first, v.number(0.0)), how.scale))
        with self.f.loop("1", str(how.given)) as k:
            re, im = self.scaled(self.get(x, k.index), how.scale)
            self.put(z, k.index, (re, im))
            self.put(z, self.mirror(k.index), (re, v.neg(im)))
