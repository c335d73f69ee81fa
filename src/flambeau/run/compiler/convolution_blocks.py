"""What the convolution kernels are made of: addresses, transposed tiles, bordered copies."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.emit import Function, Kernel, Loop, vector
from flambeau.run.compiler.sizes import MARK, Size, later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flambeau.ir.graph import Aval
    from flambeau.run.compiler.target import Target

__all__ = ["Code", "Geometry", "Lanes", "Slab", "aligned", "chunk_of"]

Triple = tuple[int, int, int]

# What a core does in a microsecond: multiply-adds of whole vectors.
_VECTORS_EACH_MICROSECOND = 3000
_WORTH_SHARING_MICROSECONDS = 10


def aligned(n: int, to: int) -> int:
    """``n`` rounded up to a multiple of ``to``."""
    return -(-n // to) * to


def chunk_of(units: int, vectors: float) -> int:
    """How many of ``units`` a thread takes at a time, if together they do ``vectors`` operations.

    All of them where sharing costs more than it gains.
    """
    return later(_chunk_of, units, vectors)


def _chunk_of(units: int, vectors: float) -> int:
    if vectors < _WORTH_SHARING_MICROSECONDS * _VECTORS_EACH_MICROSECOND:
        return max(1, units)
    each = vectors / max(1, units)
    least = int(_VECTORS_EACH_MICROSECOND * 10 / max(1.0, each))
    return max(1, min(least, units // 16))


@dataclass(frozen=True)
class Lanes:
    """An element type and how many of it a vector holds."""

    element: str
    size: int
    count: int

    @classmethod
    def of(cls, aval: Aval, target: Target) -> Lanes | None:
        if aval.dtype is None or aval.dtype.name not in ("float32", "float64"):
            return None
        size = 4 if aval.dtype.name == "float32" else 8
        return cls("float" if size == 4 else "double", size, target.lanes(size))

    @property
    def type(self) -> str:
        return vector(self.count, self.element)

    @property
    def bytes(self) -> int:
        return self.count * self.size

    def at_most(self, n: int) -> Lanes:
        """Narrower vectors where ``n`` elements (at least four) do not fill these."""
        count = self.count
        if n.__class__ is Size:
            return self
        while count > 4 and count // 2 >= n:
            count //= 2
        return replace(self, count=count)


class Code(Function):
    """A kernel's text, named by its content."""

    def __init__(self) -> None:
        super().__init__("conv_kernel")
        # Where vectors are spilled, ones that straddle cache lines make a kernel half as fast, and
        # where a thread's stack begins is chance.
        self.head = self.head.replace(" nounwind", " alignstack(64) nounwind")
        self._masks: dict[tuple[int, int], str] = {}
        self._label = "start"

    def kernel(self, scratch: int = 0, prefix: str = "conv") -> Kernel:
        # Masks come first, in a block of their own: seen as literals where they are used, each
        # takes LLVM milliseconds to think about.
        first = [
            f"  {name} = icmp ult <{n} x i32> <{', '.join(f'i32 {i}' for i in range(n))}>, "
            f"splat (i32 {count})"
            for (n, count), name in self._masks.items()
        ]
        self.lines[:0] = [*first, "  br label %start", "start:"]
        text = self.finish()
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        name = f"{prefix}_{digest}"
        return Kernel(name, text.replace("@conv_kernel(", f"@{name}("), scratch, self.sizes)

    @contextmanager
    def loop(
        self,
        start: str,
        stop: str,
        step: str = "1",
        carried: Sequence[tuple[str, str]] = (),
        while_room: bool = False,
        while_last: bool = False,
    ) -> Iterator[Loop]:
        """As always, but a loop that is known to run once is not one."""
        if known(start) and known(stop) and 0 < int(stop) - int(start) <= int(step):
            loop = Loop(start, [first for _, first in carried])
            yield loop
            loop.result = list(loop.following)
            return
        with super().loop(start, stop, step, carried, while_room, while_last) as loop:
            yield loop

    # Whole numbers: Python's where both are known.

    def add(self, a: str | int, b: str | int) -> str:
        if str(a) == "0":
            return str(b)
        if str(b) == "0":
            return str(a)
        if known(a) and known(b):
            return str(int(a) + int(b))
        return self.value(f"add i64 {a}, {b}")

    def sub(self, a: str | int, b: str | int) -> str:
        if known(b):
            return self.add(a, -int(b))
        return self.value(f"sub i64 {a}, {b}")

    def mul(self, a: str | int, b: int) -> str:
        if known(a):
            return str(int(a) * b)
        if b == 1:
            return str(a)
        return self.value(f"mul i64 {a}, {b}") if b else "0"

    def divided(self, a: str, b: int) -> tuple[str, str]:
        """Quotient and remainder of a number that is not negative."""
        if known(a):
            return str(int(a) // b), str(int(a) % b)
        if b.__class__ is int and b == 1:
            return a, "0"
        quotient = self.value(f"udiv i64 {a}, {b}")
        return quotient, self.value(f"urem i64 {a}, {b}")

    def split(self, a: str, *extents: int) -> list[str]:
        """An index along each axis of ``(?, *extents)`` from one flat index."""
        parts: list[str] = []
        for extent in reversed(extents):
            a, part = self.divided(a, extent)
            parts.append(part)
        return [a, *reversed(parts)]

    def least(self, a: str, b: str | int) -> str:
        if known(a) and known(b):
            return str(min(int(a), int(b)))
        return self.call("llvm.smin.i64", "i64", ("i64", a), ("i64", str(b)))

    def byte(self, pointer: str, offset: str | int) -> str:
        """The address ``offset`` bytes on."""
        if str(offset) == "0":
            return pointer
        return self.value(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    def along(self, pointer: str, *terms: tuple[str | int, int]) -> str:
        """The address after the sum of index times bytes."""
        total = "0"
        for index, size in terms:
            total = self.add(total, self.mul(index, size))
        return self.byte(pointer, total)

    def barrier(self) -> None:
        """What is loaded after this is not loaded before it."""
        self.line('call void asm sideeffect "", "~{memory}"()')

    def broadcast(self, lanes: Lanes, pointer: str) -> str:
        """One element in memory, in every lane."""
        one = self.load(f"<1 x {lanes.element}>", pointer, lanes.size)
        return self.value(
            f"shufflevector <1 x {lanes.element}> {one}, <1 x {lanes.element}> poison, "
            f"<{lanes.count} x i32> zeroinitializer"
        )

    @contextmanager
    def only(self, index: str, count: int, most: int) -> Iterator[None]:
        """A block that runs where ``index``, which is less than ``most``, is below ``count``."""
        if count >= most:
            yield
        else:
            with self.when(self.value(f"icmp slt i64 {index}, {count}")):
                yield

    def numbers(self, lanes: int, n: int) -> str:
        """A vector of i32 that are all ``n``."""
        if n.__class__ is Size:
            return self.splat(lanes, "i32", self.value(f"trunc i64 {n} to i32"))
        return f"splat (i32 {n})"

    def counted(self, lanes: Lanes, n: int) -> str:
        """A vector of floating-point numbers that are all ``n``; the number itself for one lane."""
        if n.__class__ is not Size:
            return self.literal(lanes.count, lanes.element, float(n))
        one = self.value(f"sitofp i64 {n} to {lanes.element}")
        return one if lanes.count == 1 else self.splat(lanes.count, lanes.element, one)

    def below(self, lanes: Lanes, count: int) -> str:
        """The mask of the first ``count`` lanes."""
        if count.__class__ is Size:
            return self.mask(lanes.count, str(count))
        return self._masks.setdefault((lanes.count, count), f"%m{lanes.count}.{count}")

    def put(self, lanes: Lanes, value: str, pointer: str, count: int) -> None:
        """Stores the first ``count`` lanes."""
        if count.__class__ is not Size and count >= lanes.count:
            self.store(lanes.type, value, pointer, lanes.size)
        else:
            self.store_masked(lanes.count, lanes.element, value, pointer, self.below(lanes, count))

    def get(self, lanes: Lanes, pointer: str, count: int) -> str:
        """The first ``count`` elements, zero in the lanes after them."""
        if count.__class__ is not Size and count >= lanes.count:
            return self.load(lanes.type, pointer, lanes.size)
        return self.load_masked(lanes.count, lanes.element, pointer, self.below(lanes, count))

    def shuffle(self, lanes: Lanes, a: str, b: str, picks: Sequence[int]) -> str:
        mask = ", ".join(f"i32 {i}" for i in picks)
        return self.value(
            f"shufflevector {lanes.type} {a}, {lanes.type} {b}, <{len(picks)} x i32> <{mask}>"
        )

    def turn(
        self,
        lanes: Lanes,
        room: str,
        load: Callable[[str], str],
        store: Callable[[str, str], None],
    ) -> None:
        """Turns over a square of as many vectors as a vector has lanes.

        ``load`` gives row ``k``, ``store`` takes column ``k``; ``room`` is memory for the square in
        between. The shuffles keep to 128-bit parts, or move such parts whole: one instruction each.
        They are loops because a shuffle takes LLVM long to translate.
        """
        n = lanes.count
        part = min(n, 16 // lanes.size)
        parts = n // part
        with self.loop("0", str(parts)) as group:
            first = self.mul(group.index, part)
            rows = [load(self.add(first, i)) for i in range(part)]
            to = self.along(room, (group.index, lanes.bytes))
            for j, value in enumerate(self._within_parts(lanes, rows)):
                self.store(lanes.type, value, self.byte(to, j * parts * lanes.bytes), lanes.size)
        with self.loop("0", str(part)) as j:
            at = self.along(room, (j.index, parts * lanes.bytes))
            rows = [
                self.load(lanes.type, self.byte(at, g * lanes.bytes), lanes.size)
                for g in range(parts)
            ]
            for q, value in enumerate(self._parts_transposed(lanes, rows, part)):
                store(self.add(j.index, q * part), value)

    def _within_parts(self, lanes: Lanes, rows: list[str]) -> list[str]:
        """Turns over the squares that 128-bit parts of a few rows make."""
        n, part = lanes.count, len(rows)
        starts = range(0, n, part)
        half = part // 2
        low, high = (
            [x for s in starts for k in range(half) for x in (s + h + k, n + s + h + k)]
            for h in (0, half)
        )
        if part == 2:
            return [self.shuffle(lanes, rows[0], rows[1], picks) for picks in (low, high)]
        u = [self.shuffle(lanes, rows[i], rows[i + 1], m) for i in (0, 2) for m in (low, high)]
        pairs = [
            [x for s in starts for x in (s + h, s + h + 1, n + s + h, n + s + h + 1)]
            for h in (0, 2)
        ]
        return [self.shuffle(lanes, u[a], u[a + 2], m) for a in (0, 1) for m in pairs]

    def _parts_transposed(self, lanes: Lanes, rows: list[str], part: int) -> list[str]:
        n, parts = lanes.count, len(rows)
        if parts == 1:
            return rows
        even = [p * part + k for p in range(0, parts, 2) for k in range(part)]
        picks = [even + [n + e for e in even], [e + part for e in even + [n + e for e in even]]]
        # Rounds of "even parts of both, odd parts of both" sort the parts by column.
        half = parts // 2
        pairs = [
            [self.shuffle(lanes, rows[2 * i], rows[2 * i + 1], m) for i in range(half)]
            for m in picks
        ]
        if parts == 2:
            return [pairs[0][0], pairs[1][0]]
        evens = self._parts_transposed_half(lanes, pairs[0], picks)
        odds = self._parts_transposed_half(lanes, pairs[1], picks)
        return [evens[0], odds[0], evens[1], odds[1]]

    def _parts_transposed_half(
        self, lanes: Lanes, rows: list[str], picks: list[list[int]]
    ) -> list[str]:
        return [self.shuffle(lanes, rows[0], rows[1], m) for m in picks]


def known(a: str | int) -> bool:
    if isinstance(a, int):
        return a.__class__ is not Size
    return not a.startswith(("%", MARK))


@dataclass(frozen=True)
class Geometry:
    """The numbers of one convolution, always in three spatial axes."""

    samples: int
    channels: int
    outputs: int
    groups: int
    size: Triple
    kernel: Triple
    output: Triple
    stride: Triple
    low: Triple
    dilation: Triple

    @classmethod
    def of(
        cls, x: Sequence[int], w: Sequence[int], y: Sequence[int], how: dict[str, Any]
    ) -> Geometry:
        d = len(x) - 2

        def three(values: Sequence[int], fill: int) -> Triple:
            a, b, c = (*(fill,) * (3 - d), *values)
            return a, b, c

        return cls(
            x[0],
            x[1],
            w[0],
            how["groups"],
            three(x[2:], 1),
            three(w[2:], 1),
            three(y[2:], 1),
            three(how["stride"], 1),
            three([low for low, _ in how["padding"]], 0),
            three(how["dilation"], 1),
        )

    @property
    def pointwise(self) -> bool:
        """Whether each position's result depends on that position alone."""
        return self.taps == prod(self.stride) == 1 and self.size == self.output

    def folded(self, lanes: int) -> Geometry:
        """With rows joined to longer ones that fill vectors, where the image's shape is free."""
        if not self.pointwise:
            return self
        rows, width = self.size[0] * self.size[1], self.size[2]
        options = []
        for joined in (k for k in range(1, rows + 1) if rows % k == 0):
            row = width * joined
            waste = max(1.04, aligned(row, 2 * lanes) / row)
            options.append((waste, -(rows // joined), row))
        _, count, row = min(options)
        size = (1, -count, row)
        return replace(self, size=size, output=size)

    @property
    def inputs_each(self) -> int:
        return self.channels // self.groups

    @property
    def outputs_each(self) -> int:
        return self.outputs // self.groups

    @property
    def taps(self) -> int:
        return prod(self.kernel)

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return self.samples * self.outputs * self.inputs_each * self.taps * prod(self.output)


@dataclass(frozen=True)
class Slab:
    """A bordered part of an image in scratch memory, or the image itself where that will do.

    It holds ``extent`` positions an axis from position ``start * step - low`` of the image on;
    ``spread`` puts elements so far apart, zeros between; ``phases`` sorts columns by remainder.
    """

    lanes: Lanes
    channels: int
    size: Triple
    low: Triple
    extent: Triple
    step: Triple
    spread: Triple = (1, 1, 1)
    phases: int = 1
    whole: bool = False

    @property
    def direct(self) -> bool:
        """Whether the image in place serves: nothing is added around or between its elements."""
        plane = prod(self.size) * self.lanes.size
        return self.whole and self.phases == 1 and not (plane % 2048 == 0 and self.channels > 4)

    @property
    def phase_pitch(self) -> int:
        """Bytes between the columns of one remainder and the next."""
        return aligned(-(-self.extent[2] // self.phases), self.lanes.count) * self.lanes.size

    @property
    def pitch(self) -> Triple:
        """Bytes from channel to channel, slice to slice, row to row."""
        if self.direct:
            row = self.size[2] * self.lanes.size
            return row * self.size[1] * self.size[0], row * self.size[1], row
        row = self.phase_pitch * self.phases
        plane = row * self.extent[1]
        channel = plane * self.extent[0]
        # Channels a power of two apart would share few sets of the cache.
        return channel + (64 if channel % 2048 == 0 else 0), plane, row

    @property
    def bytes(self) -> int:
        return 0 if self.direct else self.pitch[0] * self.channels

    def column(self, at: int) -> int:
        """The byte of a column within its row, as seen from a multiple of ``phases``."""
        if self.phases == 1:
            return at * self.lanes.size
        return (at % self.phases) * self.phase_pitch + (at // self.phases) * self.lanes.size

    def fill(self, f: Code, image: str, memory: str, at: Sequence[str]) -> str:
        """Copies the part at ``at`` (an index an axis), and gives the address to read from."""
        n = self.lanes
        row_bytes = self.size[2] * n.size
        if self.direct:
            y = f.mul(at[1], self.step[1] * row_bytes)
            z = f.mul(at[0], self.step[0] * self.size[1] * row_bytes)
            return f.byte(image, f.add(y, z))
        bases = [f.add(f.mul(at[a], self.step[a]), -self.low[a]) for a in (0, 1)]
        plane = prod(self.size) * n.size
        with f.loop("0", str(self.channels)) as c:
            source = f.along(image, (c.index, plane))
            target = f.along(memory, (c.index, self.pitch[0]))
            with f.loop("0", str(self.extent[0])) as z, f.loop("0", str(self.extent[1])) as y:
                inside, row = self._inside(f, (f.add(bases[0], z.index), f.add(bases[1], y.index)))
                first = f.byte(source, f.mul(row, row_bytes))
                into = f.along(target, (z.index, self.pitch[1]), (y.index, self.pitch[2]))
                limit = f.value(f"select i1 {inside}, i64 {self.size[2]}, i64 0")
                self._row(f, first, into, limit)
        return memory

    def _inside(self, f: Code, at: tuple[str, str]) -> tuple[str, str]:
        """Whether a row is one of the image's, and which."""
        rows, tests = [], []
        for a in (0, 1):
            position = at[a]
            if self.spread[a] > 1:
                rest = f.value(f"srem i64 {position}, {self.spread[a]}")
                tests.append(f.value(f"icmp eq i64 {rest}, 0"))
                position = f.value(f"sdiv i64 {position}, {self.spread[a]}")
            tests.append(f.value(f"icmp ult i64 {position}, {self.size[a]}"))
            rows.append(position)
        inside = tests[0]
        for test in tests[1:]:
            inside = f.value(f"and i1 {inside}, {test}")
        if self.spread != (1, 1, 1):
            # A negative position rounds to row 0, and is not inside.
            for a in (0, 1):
                if self.spread[a] > 1:
                    sign = f.value(f"icmp sge i64 {at[a]}, 0")
                    inside = f.value(f"and i1 {inside}, {sign}")
        return inside, f.add(f.mul(rows[0], self.size[1]), rows[1])

    def _row(self, f: Code, first: str, into: str, limit: str) -> None:
        if self.phases == 2 and self.spread[2] == 1:
            self._pairs(f, first, into, limit)
            return
        if self.phases == 1 and self.spread[2] == 2:
            self._spread_pairs(f, first, into, limit)
            return
        n = self.lanes
        wide = vector(n.count, "i32")
        limit = f.value(f"trunc i64 {limit} to i32")
        low, phases, spread = self.low[2], self.phases, self.spread[2]
        steps = ", ".join(f"i32 {i * phases}" for i in range(n.count))
        bound = f.splat(n.count, "i32", limit)
        with f.loop("0", str(self.phase_pitch // n.bytes)) as j:
            start = f.add(f.mul(j.index, n.count * phases), -low)
            for phase in range(phases):
                short = f.value(f"trunc i64 {f.add(start, phase)} to i32")
                base = f.splat(n.count, "i32", short)
                place = f.value(f"add {wide} {base}, <{steps}>")
                index = place
                if spread > 1:
                    by = f"splat (i32 {spread})"
                    index = f.value(f"sdiv {wide} {place}, {by}")
                mask = f.value(f"icmp ult {wide} {index}, {bound}")
                if spread > 1:
                    back = f.value(f"mul {wide} {index}, {by}")
                    exact = f.value(f"icmp eq {wide} {back}, {place}")
                    mask = f.value(f"and <{n.count} x i1> {mask}, {exact}")
                if phases == 1 and spread == 1:
                    source = f.along(first, (start, n.size))
                    found = f.load_masked(n.count, n.element, source, mask)
                else:
                    found = gather(f, n, first, index, mask)
                target = f.along(into, (j.index, n.bytes), (phase, self.phase_pitch))
                f.store(n.type, found, target, n.size)

    def _pairs(self, f: Code, first: str, into: str, limit: str) -> None:
        """Sorts a row into even and odd columns."""
        n = self.lanes
        wide = vector(n.count, "i32")
        steps = ", ".join(f"i32 {i}" for i in range(n.count))
        bound = f.splat(n.count, "i32", f.value(f"trunc i64 {limit} to i32"))
        with f.loop("0", str(self.phase_pitch // n.bytes)) as j:
            start = f.add(f.mul(j.index, 2 * n.count), -self.low[2])
            halves = []
            for half in (0, n.count):
                short = f.value(f"trunc i64 {f.add(start, half)} to i32")
                base = f.splat(n.count, "i32", short)
                place = f.value(f"add {wide} {base}, <{steps}>")
                mask = f.value(f"icmp ult {wide} {place}, {bound}")
                at = f.along(first, (start, n.size), (half, n.size))
                halves.append(f.load_masked(n.count, n.element, at, mask))
            to = f.along(into, (j.index, n.bytes))
            for phase in (0, 1):
                picks = range(phase, 2 * n.count, 2)
                value = f.shuffle(n, halves[0], halves[1], picks)
                f.store(n.type, value, f.byte(to, phase * self.phase_pitch), n.size)

    def _spread_pairs(self, f: Code, first: str, into: str, limit: str) -> None:
        """Puts a zero after each element of a row."""
        n, odd = self.lanes, self.low[2] % 2
        wide = vector(n.count, "i32")
        steps = ", ".join(f"i32 {i}" for i in range(n.count))
        bound = f.splat(n.count, "i32", f.value(f"trunc i64 {limit} to i32"))
        picks = [n.count if i % 2 != odd else i // 2 for i in range(n.count)]
        with f.loop("0", str(self.phase_pitch // n.bytes)) as j:
            start = f.add(f.mul(j.index, n.count // 2), (odd - self.low[2]) // 2)
            base = f.splat(n.count, "i32", f.value(f"trunc i64 {start} to i32"))
            place = f.value(f"add {wide} {base}, <{steps}>")
            mask = f.value(f"icmp ult {wide} {place}, {bound}")
            at = f.along(first, (start, n.size))
            found = f.load_masked(n.count, n.element, at, mask)
            value = f.shuffle(n, found, "zeroinitializer", picks)
            f.store(n.type, value, f.along(into, (j.index, n.bytes)), n.size)


def gather(f: Code, lanes: Lanes, first: str, index: str, mask: str) -> str:
    """The elements at ``index`` (a vector of i32) after ``first``; zero where not in ``mask``."""
    count = lanes.count
    where = f.value(f"getelementptr {lanes.element}, ptr {first}, {vector(count, 'i32')} {index}")
    kind = ("f" if lanes.element[0] in "fd" else "i") + str(8 * lanes.size)
    name = f"llvm.masked.gather.v{count}{kind}.v{count}p0"
    pointers, masks = f"<{count} x ptr>", f"<{count} x i1>"
    f.declared.add(f"declare {lanes.type} @{name}({pointers}, {masks}, {lanes.type})")
    return f.value(
        f"call {lanes.type} @{name}({pointers} {where}, {masks} {mask}, "
        f"{lanes.type} zeroinitializer)"
    )
