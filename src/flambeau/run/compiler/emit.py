"""LLVM IR as text under construction: values, loops, branches.

Text is several times faster to make than llvmlite's object tree, and reads like what LLVM shows.
"""

from __future__ import annotations

import re
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flambeau.run.compiler.sizes import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Function", "Kernel", "Loop", "constant", "vector"]

# Every kernel: the addresses it works on, a half-open range of its units of work (threads share
# them out; no number depends on how), and memory of the thread's own.
ARGUMENTS = "ptr noalias %p, i64 %begin, i64 %end, ptr noalias %scratch"
_SIZE = re.compile(f"{MARK}([0-9]+){MARK}")


@dataclass(frozen=True)
class Kernel:
    """The text of one native function, ``name``; ``scratch`` bytes a thread must lend it.

    ``sizes`` are the numbers of run-time sizes (`sizes.Size`) that it reads, in order, from its
    last address on.
    """

    name: str
    text: str
    scratch: int = 0
    sizes: tuple[int, ...] = ()


def vector(lanes: int, element: str) -> str:
    """The type's name; a single lane is the element itself."""
    return element if lanes == 1 else f"<{lanes} x {element}>"


def constant(value: float, element: str) -> str:
    """A literal of LLVM's: floating-point numbers by their bits, so that none is lost."""
    if element == "float":
        single = struct.unpack("f", struct.pack("f", value))[0]
        return f"0x{struct.unpack('Q', struct.pack('d', single))[0]:016X}"
    if element == "double":
        return f"0x{struct.unpack('Q', struct.pack('d', value))[0]:016X}"
    return str(int(value))


class Loop:
    """A counted loop while its body is written: ``index``, and values ``carried`` round it.

    The body ends with ``carry`` where there are any; after it, ``result`` are their last values.
    """

    def __init__(self, index: str, carried: Sequence[str]) -> None:
        self.index = index
        self.carried = list(carried)
        self.result = list(carried)
        self.following: Sequence[str] = ()

    def carry(self, *values: str) -> None:
        self.following = values


class Function:
    """One function; its methods append lines and give the names of the values they make."""

    def __init__(self, name: str, arguments: str = ARGUMENTS, returns: str = "void") -> None:
        self.name = name
        self.head = f"define {returns} @{name}({arguments}) nounwind"
        self.lines: list[str] = []
        self.declared: set[str] = set()
        self._count = 0
        self._label = "entry"
        # How many addresses there are, and (once finished) the run-time sizes behind them.
        self.addresses = 0
        self.sizes: tuple[int, ...] = ()

    def value(self, text: str) -> str:
        """A new value: ``%7 = text``."""
        self._count += 1
        name = f"%v{self._count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def line(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self._label = name

    def fresh_label(self, hint: str) -> str:
        self._count += 1
        return f"{hint}{self._count}"

    # Values

    def call(self, intrinsic: str, returns: str, *arguments: tuple[str, str]) -> str:
        """Calls a function that is declared by its use; arguments are (type, value)."""
        types = ", ".join(ty for ty, _ in arguments)
        self.declared.add(f"declare {returns} @{intrinsic}({types})")
        given = ", ".join(f"{ty} {value}" for ty, value in arguments)
        return self.value(f"call {returns} @{intrinsic}({given})")

    def fma(self, ty: str, a: str, b: str, c: str) -> str:
        """a * b + c rounded once."""
        return self.call(f"llvm.fma.{mangled(ty)}", ty, (ty, a), (ty, b), (ty, c))

    def splat(self, lanes: int, element: str, scalar: str) -> str:
        """A vector with ``scalar`` in every lane (the scalar itself if that is one)."""
        if lanes == 1:
            return scalar
        ty = vector(lanes, element)
        one = self.value(f"insertelement {ty} poison, {element} {scalar}, i64 0")
        return self.value(f"shufflevector {ty} {one}, {ty} poison, <{lanes} x i32> zeroinitializer")

    def literal(self, lanes: int, element: str, value: float) -> str:
        """A constant in every lane."""
        text = constant(value, element)
        if lanes == 1:
            return text
        return f"splat ({element} {text})"

    def element(self, pointer: str, element: str, index: str) -> str:
        """The address of ``pointer[index]``."""
        return self.value(f"getelementptr {element}, ptr {pointer}, i64 {index}")

    def pointer(self, position: int) -> str:
        """The kernel's address number ``position``."""
        self.addresses = max(self.addresses, position + 1)
        at = self.element("%p", "ptr", str(position))
        return self.value(f"load ptr, ptr {at}, align 8")

    def load(self, ty: str, pointer: str, align: int = 1) -> str:
        return self.value(f"load {ty}, ptr {pointer}, align {align}")

    def store(self, ty: str, value: str, pointer: str, align: int = 1) -> None:
        self.line(f"store {ty} {value}, ptr {pointer}, align {align}")

    def mask(self, lanes: int, count: str) -> str:
        """Lanes below ``count`` (i64)."""
        if count.isdigit():
            # Hidden from LLVM: with lanes that it knows to be off, LLVM 22 turns a narrowing store
            # of one lane into one of the wide type (over its neighbours), and loses lanes of
            # reductions (maxima of int32).
            count = self.value(f'call i64 asm "", "=r,0"(i64 {count})')
        wide = self.splat(lanes, "i64", count)
        steps = ", ".join(f"i64 {i}" for i in range(lanes))
        return self.value(f"icmp ult <{lanes} x i64> <{steps}>, {wide}")

    def load_masked(self, lanes: int, element: str, pointer: str, mask: str) -> str:
        """The lanes of ``mask``; zero in the others, whose memory is not touched."""
        ty = vector(lanes, element)
        return self.call(
            f"llvm.masked.load.{mangled(ty)}.p0",
            ty,
            ("ptr", pointer),
            (f"<{lanes} x i1>", mask),
            (ty, "zeroinitializer"),
        )

    def store_masked(self, lanes: int, element: str, value: str, pointer: str, mask: str) -> None:
        ty = vector(lanes, element)
        name = f"llvm.masked.store.{mangled(ty)}.p0"
        self.declared.add(f"declare void @{name}({ty}, ptr, <{lanes} x i1>)")
        self.line(f"call void @{name}({ty} {value}, ptr {pointer}, <{lanes} x i1> {mask})")

    def prefetch(self, pointer: str, to_write: bool = False) -> None:
        """Asks for the memory at an address, which need not exist."""
        self.declared.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.line(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 {int(to_write)}, i32 3, i32 1)")

    # Control

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
        """``for index in range(start, stop, step)`` (i64), ``carried`` as (type, first value).

        ``while_room``: only whole steps, while ``index + step <= stop``; where the loop stopped is
        ``loop.index`` afterwards. ``while_last``: only while the last carried value, an i1, holds.
        """
        self._count += 1
        n = self._count
        before = self._label
        self.line(f"br label %head{n}")
        self.label(f"head{n}")
        index = f"%i{n}"
        patch = len(self.lines)
        self.lines.append("")  # the phi nodes: written when the latch is known
        names = [f"%c{n}.{k}" for k in range(len(carried))]
        bound = index
        if while_room:
            bound = self.value(f"add i64 {index}, {step}")
            go = self.value(f"icmp sle i64 {bound}, {stop}")
        else:
            go = self.value(f"icmp slt i64 {index}, {stop}")
        if while_last:
            go = self.value(f"and i1 {go}, {names[-1]}")
        self.line(f"br i1 {go}, label %body{n}, label %exit{n}")
        self.label(f"body{n}")
        loop = Loop(index, names)
        yield loop
        self.line(f"br label %latch{n}")
        self.label(f"latch{n}")
        self.line(f"%n{n} = add i64 {index}, {step}")
        self.line(f"br label %head{n}")
        phis = [f"  {index} = phi i64 [ {start}, %{before} ], [ %n{n}, %latch{n} ]"]
        following = loop.following
        if len(following) != len(names):
            raise ValueError(f"a loop carries {len(names)} values, its body {len(following)}")
        for name, (ty, first), after in zip(names, carried, following, strict=True):
            phis.append(f"  {name} = phi {ty} [ {first}, %{before} ], [ {after}, %latch{n} ]")
        self.lines[patch] = "\n".join(phis)
        self.label(f"exit{n}")
        loop.result = names

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """A block that runs where ``condition`` (i1) holds; it makes no values for after it."""
        self._count += 1
        n = self._count
        self.line(f"br i1 {condition}, label %then{n}, label %after{n}")
        self.label(f"then{n}")
        yield
        self.line(f"br label %after{n}")
        self.label(f"after{n}")

    def finish(self, returned: str = "void") -> str:
        """The whole text, declarations included."""
        body = "\n".join([*self.lines, f"  ret {returned}"])
        names: dict[str, str] = {}
        if MARK in body:
            body = _SIZE.sub(lambda m: names.setdefault(m[1], f"%size{len(names)}"), body)
            self.sizes = tuple(map(int, names))
        body = "\n".join(["entry:", *self._read_sizes(names.values()), body])
        return "\n".join([*sorted(self.declared), f"{self.head} {{", body, "}"])

    def _read_sizes(self, names: Iterable[str]) -> list[str]:
        """Loads of the run-time sizes, for the head of the function."""
        lines = []
        for k, name in enumerate(names):
            if not k:
                lines.append(f"  %sizes.at = getelementptr ptr, ptr %p, i64 {self.addresses}")
                lines.append("  %sizes = load ptr, ptr %sizes.at, align 8")
            lines.append(f"  {name}.at = getelementptr i64, ptr %sizes, i64 {k}")
            lines.append(f"  {name} = load i64, ptr {name}.at, align 8")
        return lines


def mangled(ty: str) -> str:
    """A type as intrinsics spell it: ``v16f32``."""
    names = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}
    if ty.startswith("<"):
        lanes, element = ty[1:-1].split(" x ")
        return f"v{lanes}{names.get(element, element)}"
    return names.get(ty, ty)
