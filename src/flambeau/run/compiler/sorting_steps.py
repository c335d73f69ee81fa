"""The steps of ``introsort`` that take the time, on vectors: the same swaps, without branches.

A split compares 64 elements at once with the one it splits around; what its two scans would stop
at are the bits of two masks, taken one after the other from both ends [Edelkamp, Weiss 2016]. The
elements of a short part go where the number of lesser ones says. Both leave what ``introsort``
leaves, equals included.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING

from flambeau.ir.reference import introsort
from flambeau.run.compiler import loops
from flambeau.run.compiler.convolution_blocks import Code, aligned
from flambeau.run.compiler.emit import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SHORT", "Room", "counted", "linked", "quicker"]

# Elements compared at once, a bit of an i64 each.
_BLOCK = 64
# The longest part that ``introsort`` makes insertions in.
SHORT = 16
# Memory of a thread's own up to here; it is kept. Beyond, it is a temporary of the program.
_NEAR = 1 << 20
_CALLED = re.compile(r"call i64 @loop_([a-z_]+)\(")


class Room:
    """Memory for ``each`` bytes of every row while it is worked on."""

    def __init__(self, rows: int, each: int) -> None:
        self.each = aligned(each, 64)
        near = self.each <= _NEAR
        self.scratch = self.each if near else 0
        self.workspace = 0 if near else self.each * rows
        self.operands = () if near or not each else ("w",)

    def of(self, f: Code, position: int) -> Callable[[str], str]:
        """Gives the memory of a row; ``position`` is that of ``operands`` among the addresses."""
        if not self.operands:
            return lambda row: "%scratch"
        start = f.pointer(position)
        return lambda row: f.along(start, (row, self.each))


class _Steps(Code):
    """A function of ``introsort`` on rows of keys and places, integers of one width."""

    def __init__(self, name: str, arguments: str, bits: int) -> None:
        super().__init__()
        self.name, self.bits, self.size = name, bits, bits // 8
        self.head = f"define internal i64 @loop_{name}({arguments}) nounwind"
        self.element_type = f"i{bits}"

    def text(self, returned: str) -> str:
        self.lines[:0] = ["  br label %start", "start:"]
        return self.finish(f"i64 {returned}")

    def at(self, row: str, index: str) -> str:
        return self.element(row, self.element_type, index)

    def key(self, index: str) -> str:
        return self.load(self.element_type, self.at("%k", index), self.size)

    def swap(self, a: str, b: str) -> None:
        for row in ("%k", "%p"):
            one, other = self.at(row, a), self.at(row, b)
            x = self.load(self.element_type, one, self.size)
            y = self.load(self.element_type, other, self.size)
            self.store(self.element_type, y, one, self.size)
            self.store(self.element_type, x, other, self.size)

    def choose(self, condition: str, a: str, b: str) -> str:
        return self.value(f"select i1 {condition}, i64 {a}, i64 {b}")

    def compare(self, how: str, a: str, b: str, ty: str = "i64") -> str:
        return self.value(f"icmp {how} {ty} {a}, {b}")

    def bits_of(self, how: str, keys: str, pivot: str) -> str:
        """A bit for each of a block's keys."""
        found = self.compare(how, keys, pivot, f"<{_BLOCK} x {self.element_type}>")
        return self.value(f"bitcast <{_BLOCK} x i1> {found} to i{_BLOCK}")

    def lowest(self, mask: str) -> str:
        return self.call("llvm.cttz.i64", "i64", ("i64", mask), ("i1", "false"))

    def highest(self, mask: str) -> str:
        """-1 if there is none."""
        zeros = self.call("llvm.ctlz.i64", "i64", ("i64", mask), ("i1", "false"))
        return self.value(f"sub i64 {_BLOCK - 1}, {zeros}")

    def without_lowest(self, mask: str) -> str:
        return self.value(f"and i64 {mask}, {self.value(f'add i64 {mask}, -1')}")

    def without(self, mask: str, bit: str) -> str:
        return self.value(f"xor i64 {mask}, {self.value(f'shl i64 1, {bit}')}")


def _median_of(bits: int) -> str:
    f = _Steps("median_of", "ptr %k, i64 %a, i64 %b, i64 %c", bits)
    x, y, z = (f.key(at) for at in ("%a", "%b", "%c"))
    ty = f.element_type
    ab, bc, ac = (f.compare("slt", s, t, ty) for s, t in ((x, y), (y, z), (x, z)))
    rising = f.choose(bc, "%b", f.choose(ac, "%c", "%a"))
    falling = f.choose(ac, "%a", f.choose(bc, "%c", "%b"))
    return f.text(f.choose(ab, rising, falling))


def _split(bits: int) -> str:
    f = _Steps("split", "ptr %k, ptr %p, i64 %first, i64 %last, i64 %key", bits)
    block, ty = f"<{_BLOCK} x {f.element_type}>", f.element_type
    key = "%key" if bits == 64 else f.value(f"trunc i64 %key to {ty}")
    pivot = f.splat(_BLOCK, ty, key)

    # From the left what is not less, from the right what is not greater: what the scans stop at.
    far = f.compare("sgt", f.value("sub i64 %last, %first"), str(_BLOCK))
    carried = [("i64", "%first"), ("i64", "%last"), ("i64", "0"), ("i64", "0"), ("i1", far)]
    with f.loop("0", "%last", carried=carried, while_last=True) as step:
        a, b, left, right, _ = step.carried
        # The two windows do not meet; one that has bits left from before is a whole block.
        spare = f.sub(f.value(f"sub i64 {b}, {a}"), _BLOCK)
        spare = f.least(spare, _BLOCK)
        old = f.compare("ne", right, "0")
        wide_a = f.choose(old, spare, str(_BLOCK))
        wide_b = f.choose(old, str(_BLOCK), spare)
        fresh = f.bits_of("sge", f.load(block, f.at("%k", a), f.size), pivot)
        kept = f.value(f"lshr i64 -1, {f.value(f'sub i64 {_BLOCK}, {wide_a}')}")
        fresh = f.value(f"and i64 {fresh}, {kept}")
        left = f.choose(f.compare("eq", left, "0"), fresh, left)
        start = f.add(b, -_BLOCK)
        fresh = f.bits_of("sle", f.load(block, f.at("%k", start), f.size), pivot)
        kept = f.value(f"shl i64 -1, {f.value(f'sub i64 {_BLOCK}, {wide_b}')}")
        fresh = f.value(f"and i64 {fresh}, {kept}")
        right = f.choose(old, right, fresh)
        pairs = [f.call("llvm.ctpop.i64", "i64", ("i64", mask)) for mask in (left, right)]
        with f.loop("0", f.least(*pairs), carried=[("i64", left), ("i64", right)]) as pair:
            left, right = pair.carried
            j = f.highest(right)
            f.swap(f.add(a, f.lowest(left)), f.add(start, j))
            pair.carry(f.without_lowest(left), f.without(right, j))
        left, right = pair.result
        a = f.choose(f.compare("eq", left, "0"), f.add(a, wide_a), a)
        b = f.choose(f.compare("eq", right, "0"), f.value(f"sub i64 {b}, {wide_b}"), b)
        again = f.compare("sgt", f.value(f"sub i64 {b}, {a}"), str(_BLOCK))
        step.carry(a, b, left, right, again)
    a, b, left, right, _ = step.result

    # What is left is one window, in which the scans may meet.
    count = f.value(f"sub i64 {b}, {a}")
    mask = f.mask(_BLOCK, count)
    keys = f.load_masked(_BLOCK, ty, f.at("%k", a), mask)
    valid = f.value(f"bitcast <{_BLOCK} x i1> {mask} to i{_BLOCK}")
    fresh = f.value(f"and i64 {f.bits_of('sge', keys, pivot)}, {valid}")
    left = f.choose(f.compare("eq", left, "0"), fresh, left)
    fresh = f.value(f"and i64 {f.bits_of('sle', keys, pivot)}, {valid}")
    # Bits from before are counted from a block's begin, and there are none below the window.
    shift = f.value(f"and i64 {f.value(f'sub i64 {_BLOCK}, {count}')}, {_BLOCK - 1}")
    old = f.value(f"lshr i64 {right}, {shift}")
    right = f.choose(f.compare("eq", right, "0"), fresh, old)
    i, j = f.lowest(left), f.highest(right)
    carried = [("i64", left), ("i64", right), ("i64", b), ("i64", i), ("i64", j)]
    carried.append(("i1", f.compare("slt", i, j)))
    with f.loop("0", str(_BLOCK), carried=carried, while_last=True) as pair:
        left, right, _, i, j, _ = pair.carried
        to = f.add(a, j)
        f.swap(f.add(a, i), to)
        left, right = f.without_lowest(left), f.without(right, j)
        i, j = f.lowest(left), f.highest(right)
        pair.carry(left, right, to, i, j, f.compare("slt", i, j))
    # The scan from the left stops at what was swapped last, too.
    _, _, last, i, j, _ = pair.result
    met = f.value(f"zext i1 {f.compare('eq', i, j)} to i64")
    return f.text(f.add(f.mul(f.least(f.add(a, i), last), 2), met))


def counted(f: Code, lanes: int, bits: int, keys: str, count: int) -> str:
    """How many of the first ``count`` lanes' keys come before each lane's, of equals the first."""
    ty, yes, wide = f"<{lanes} x i{bits}>", f"<{lanes} x i1>", f"<{lanes} x i{bits}>"
    total = "zeroinitializer"
    for j in range(count):
        picks = ", ".join([f"i32 {j}"] * lanes)
        one = f.value(f"shufflevector {ty} {keys}, {ty} poison, <{lanes} x i32> <{picks}>")
        less, equal = (f.value(f"icmp {how} {ty} {one}, {keys}") for how in ("slt", "sle"))
        later = ", ".join(f"i1 {int(lane > j)}" for lane in range(lanes))
        less = f.value(f"select {yes} <{later}>, {yes} {equal}, {yes} {less}")
        total = f.value(f"add {wide} {total}, {f.value(f'zext {yes} {less} to {wide}')}")
    if bits == 64:
        return total
    return f.value(f"zext {wide} {total} to <{lanes} x i64>")


def _short(bits: int) -> str:
    """Of at most ``SHORT`` elements."""
    f = _Steps("insertion_sort", "ptr %k, ptr %p, i64 %first, i64 %last", bits)
    ty, places = f"<{SHORT} x i{bits}>", f"<{SHORT} x i64>"
    rooms = [f.value(f"alloca {t}, align 64") for t in (ty, ty, places)]
    count = f.value("sub i64 %last, %first")
    with f.when(f.compare("sgt", count, "1")):
        rows = [f.at(row, "%first") for row in ("%k", "%p")]
        mask = f.mask(SHORT, count)
        most = f.literal(SHORT, f"i{bits}", (1 << (bits - 1)) - 1)
        keys, moved = (f.load_masked(SHORT, f"i{bits}", row, mask) for row in rows)
        keys = f.value(f"select <{SHORT} x i1> {mask}, {ty} {keys}, {ty} {most}")
        total = counted(f, SHORT, bits, keys, SHORT)
        for kind, value, room in zip((ty, ty, places), (keys, moved, total), rooms, strict=True):
            f.store(kind, value, room, 64)
        with f.loop("0", count) as i:
            to = f.load("i64", f.element(rooms[2], "i64", i.index), 8)
            for row, room in zip(rows, rooms, strict=False):
                x = f.load(f"i{bits}", f.at(room, i.index), f.size)
                f.store(f"i{bits}", x, f.at(row, to), f.size)
    return f.text("0")


@cache
def _functions(bits: int) -> dict[str, str]:
    """The functions of ``introsort`` for rows of integers of that width."""
    return loops.translated(introsort, "loop_", bits) | dict(quicker(bits))


def quicker(bits: int) -> tuple[tuple[str, str], ...]:
    """The functions that are not what ``loops`` makes of them, for integers of that width."""
    return (
        ("median_of", _median_of(bits)),
        ("split", _split(bits)),
        ("insertion_sort", _short(bits)),
    )


def linked(f: Code, prefix: str, scratch: int, bits: int = 64) -> Kernel:
    """A kernel with the functions of ``introsort`` that it calls, as ``loop_`` and their names."""
    helpers = _functions(bits)
    kernel = f.kernel()
    texts = [kernel.text]
    known: set[str] = set()
    for text in texts:
        for name in _CALLED.findall(text):
            if name not in known:
                known.add(name)
                texts.append(helpers[name])
    text = "\n\n".join(texts)
    name = f"{prefix}_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    text = text.replace(f"@{kernel.name}(", f"@{name}(").replace("@loop_", f"@{name}_")
    return Kernel(name, text, scratch)
