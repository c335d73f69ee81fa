"""Stable sorting of long rows, digit by digit from the lowest [Knuth 1998, 5.2.5].

A record is a rank with its position. All digits are counted in one pass; a digit that is the same
in the whole row moves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.emit import vector
from flambeau.run.compiler.ranks import loaded, rank, rank_bits
from flambeau.run.compiler.sorting_steps import Room
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.run.compiler.elements import Element

__all__ = ["by_digits", "digits"]

_VALUES = 256


def digits(el: Element) -> int:
    """How many bytes a rank has; the low ones are all there is to integers."""
    return rank_bits(el) // 8 if el.kind == "f" else el.size


class _Records:
    """Rows of records while the code that sorts them is written."""

    def __init__(self, n: int, el: Element) -> None:
        self.f = Code()
        self.n, self.el = n, el
        self.wide = rank_bits(el) == 64
        self.size = 16 if self.wide else 8
        self.digits = digits(el)
        # The sign is turned.
        self.turn = 0 if el.kind in "ub" else 1 << (8 * self.digits - 1)

    def fill(self, row: str, to: str, descending: bool) -> None:
        """Ranks, as numbers without sign, and positions."""
        f, el, n = self.f, self.el, self.n
        bits = rank_bits(el)
        lanes = code.target().lanes(bits // 8)
        steps = ", ".join(f"i64 {i}" for i in range(lanes))
        wide = vector(lanes, "i64")
        if self.turn >= 1 << (bits - 1):
            turn = self.turn - (1 << bits)
        else:
            turn = self.turn

        def put(at: str, mask: str | None) -> None:
            x = loaded(f, el, lanes, f.along(row, (at, el.size)), mask)
            key = rank(f, lanes, el, x, descending)
            ty = vector(lanes, f"i{bits}")
            key = f.value(f"xor {ty} {key}, {f.literal(lanes, f'i{bits}', turn)}")
            place = f.value(f"add {wide} {f.splat(lanes, 'i64', at)}, <{steps}>")
            target = f.along(to, (at, self.size))
            if self.wide:
                picks = ", ".join(f"i32 {k}, i32 {lanes + k}" for k in range(lanes))
                pair = f"<{2 * lanes} x i64>"
                both = f.value(
                    f"shufflevector {wide} {key}, {wide} {place}, <{2 * lanes} x i32> <{picks}>"
                )
                if mask is None:
                    f.store(pair, both, target, 8)
                else:
                    pairs = f.mask(2 * lanes, str(2 * (n % lanes)))
                    f.store_masked(2 * lanes, "i64", both, target, pairs)
                return
            key = f.value(f"zext {ty} {key} to {wide}")
            key = f.value(f"shl {wide} {key}, {f.literal(lanes, 'i64', 32)}")
            both = f.value(f"or {wide} {key}, {place}")
            if mask is None:
                f.store(wide, both, target, 8)
            else:
                f.store_masked(lanes, "i64", both, target, mask)

        whole = n - n % lanes
        if whole:
            with f.loop("0", str(whole), str(lanes)) as i:
                put(i.index, None)
        if whole < n:
            put(str(whole), f.mask(lanes, str(n - whole)))

    def digit(self, record: str, shift: str) -> str:
        f = self.f
        low = f.value(f"lshr i64 {record}, {shift}")
        return f.value(f"and i64 {low}, {_VALUES - 1}")

    def count(self, row: str, counts: str) -> None:
        """How often each value of each digit is there."""
        f = self.f
        lanes = code.target().lanes(4)
        ty = vector(lanes, "i32")
        with f.loop("0", str(self.digits * _VALUES), str(lanes)) as i:
            f.store(ty, "zeroinitializer", f.along(counts, (i.index, 4)), 4)
        with f.loop("0", str(self.n)) as i:
            key = f.load("i64", f.along(row, (i.index, self.size)), 8)
            for d in range(self.digits):
                value = self.digit(key, str(8 * d + (0 if self.wide else 32)))
                at = f.along(f.byte(counts, 4 * _VALUES * d), (value, 4))
                more = f.value(f"add i32 {f.load('i32', at, 4)}, 1")
                f.store("i32", more, at, 4)

    def move(self, source: str, target: str, starts: str, shift: str) -> None:
        """Records in the order of a digit; counts become where each value's go, then go on."""
        f = self.f
        with f.loop("0", str(_VALUES), carried=[("i32", "0")]) as i:
            at = f.along(starts, (i.index, 4))
            count = f.load("i32", at, 4)
            f.store("i32", i.carried[0], at, 4)
            i.carry(f.value(f"add i32 {i.carried[0]}, {count}"))
        kind = "<2 x i64>" if self.wide else "i64"
        with f.loop("0", str(self.n)) as i:
            here = f.along(source, (i.index, self.size))
            record = f.load(kind, here, 8)
            key = f.value(f"extractelement {kind} {record}, i32 0") if self.wide else record
            at = f.along(starts, (self.digit(key, shift), 4))
            to = f.load("i32", at, 4)
            f.store("i32", f.value(f"add i32 {to}, 1"), at, 4)
            to = f.value(f"zext i32 {to} to i64")
            f.store(kind, record, f.along(target, (to, self.size)), 8)

    def sort(self, row: str, other: str, counts: str) -> str:
        """Which of the two has the records in order."""
        f = self.f
        first = f.load("i64", row, 8)
        shift = 0 if self.wide else 32
        carried = [("ptr", row), ("ptr", other)]
        with f.loop("0", str(self.digits), carried=carried) as d:
            source, target = d.carried
            starts = f.along(counts, (d.index, 4 * _VALUES))
            by = f.add(f.mul(d.index, 8), shift)
            same = f.load("i32", f.along(starts, (self.digit(first, by), 4)), 4)
            moves = f.value(f"icmp ne i32 {same}, {self.n}")
            with f.when(moves):
                self.move(source, target, starts, by)
            d.carry(
                f.value(f"select i1 {moves}, ptr {target}, ptr {source}"),
                f.value(f"select i1 {moves}, ptr {source}, ptr {target}"),
            )
        return d.result[0]

    def places(self, row: str, out: str) -> None:
        """The positions alone; ``out`` may be where the records are."""
        f = self.f
        with f.loop("0", str(self.n)) as i:
            at = f.byte(f.along(row, (i.index, self.size)), 8 if self.wide else 0)
            place = f.load("i64", at, 8)
            if not self.wide:
                place = f.value(f"and i64 {place}, {(1 << 32) - 1}")
            f.store("i64", place, f.along(out, (i.index, 8)), 8)


def by_digits(rows: int, n: int, el: Element, descending: bool) -> Plan:
    """Rows sorted, equals in the order they were in."""
    s = _Records(n, el)
    f = s.f
    source, out = f.pointer(0), f.pointer(1)
    counts = 4 * _VALUES * s.digits
    rooms = Room(rows, (2 if s.wide else 1) * s.size * n + counts)
    room_of = rooms.of(f, 2)
    with f.loop("%begin", "%end") as unit:
        row = f.along(source, (unit.index, n * el.size))
        target = f.along(out, (unit.index, 8 * n))
        starts = room_of(unit.index)
        room = f.byte(starts, counts)
        first, second = (room, f.byte(room, s.size * n)) if s.wide else (target, room)
        s.fill(row, first, descending)
        s.count(first, starts)
        s.places(s.sort(first, second, starts), target)
    kernel = f.kernel(rooms.scratch, "digits")
    names = ("0", "out0", *rooms.operands)
    work = rows * n * 6 * s.digits
    return Plan((Stage(kernel, names, rows, chunk_of(rows, work)),), rooms.workspace)
