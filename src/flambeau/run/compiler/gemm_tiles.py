"""Matrix products by tiles of C: vectors along its columns, elements of A broadcast.

One nest serves all sizes [Goto & van de Geijn 2008]: a unit of work is a block of rows by a block
of columns; inside it run blocks of k, panels of columns, tiles of rows. A is read where it is;
where B is large and used by many rows, it comes packed by panels (`gemm_pack`).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flambeau.run.compiler.emit import Function, vector
from flambeau.run.compiler.gemm_spec import BYTES, Product, cut, named, static_mask
from flambeau.run.compiler.gemm_store import Output, Place
from flambeau.run.compiler.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Tiling", "tiles"]


@dataclass(frozen=True)
class Tiling:
    """A tile is ``rows`` by ``vectors``; a unit ``block`` tiles by ``panels``; k by ``depth``.

    ``last``: the k of the batch's last product, where that is less than the others'.
    """

    lanes: int
    rows: int
    vectors: int
    block: int
    panels: int
    depth: int
    pack_b: bool = False
    last: int = 0

    @property
    def width(self) -> int:
        return self.lanes * self.vectors


def add(f: Function, a: str, b: str) -> str:
    return f.value(f"add i64 {a}, {b}")


def times(f: Function, a: str, factor: int) -> str:
    if factor == 1:
        return a
    return f.value(f"mul i64 {a}, {factor}") if factor else "0"


def least(f: Function, a: str, b: str) -> str:
    return f.call("llvm.smin.i64", "i64", ("i64", a), ("i64", b))


def split(f: Function, index: str, by: int) -> tuple[str, str]:
    """Quotient and remainder."""
    if by == 1:
        return index, "0"
    q = f.value(f"udiv i64 {index}, {by}")
    return q, f.value(f"urem i64 {index}, {by}")


def extent(f: Function, batch: str, spec: Product, last: int) -> str:
    """The k of one product of the batch: its last may be shorter."""
    if last in (0, spec.k):
        return str(spec.k)
    here = f.value(f"icmp eq i64 {batch}, {spec.batch - 1}")
    return f.value(f"select i1 {here}, i64 {last}, i64 {spec.k}")


@contextmanager
def steps(f: Function, start: str, stop: str, step: int, single: bool) -> Iterator[str]:
    """A loop, or just its body where there is one step."""
    if single:
        yield start
        return
    with f.loop(start, stop, str(step)) as loop:
        yield loop.index


class Nest:
    """The kernel while it is written."""

    def __init__(self, spec: Product, t: Tiling) -> None:
        self.spec, self.t = spec, t
        self.f = Function("kernel")
        self.extra = spec.epilogue.operands if spec.epilogue else 0
        self.element = spec.element
        self.row_tiles, self.tail = divmod(spec.m, t.rows)
        self.row_blocks = cut(cut(spec.m, t.rows), t.block)
        self.full_panels, self.rest = divmod(spec.n, t.width)
        self.column_blocks = cut(cut(spec.n, t.width), t.panels)
        self.single = spec.k <= t.depth
        self.output = Output(self.f, spec, t.lanes, self.single)

    @property
    def units(self) -> int:
        return self.spec.batch * self.row_blocks * self.column_blocks

    def write(self) -> Function:
        f, spec, t = self.f, self.spec, self.t
        a, b, c = (f.pointer(self.extra + p) for p in range(3))
        with f.loop("%begin", "%end") as unit:
            index, column_block = split(f, unit.index, self.column_blocks)
            batch, row_block = ("0", index)
            if spec.batch > 1:
                batch, row_block = split(f, index, self.row_blocks)
                a = f.element(a, self.element, times(f, batch, spec.a[0]))
                panels = cut(spec.n, t.width) * spec.k * t.width
                b = f.element(b, self.element, times(f, batch, panels if t.pack_b else spec.b[0]))
                c = f.element(c, self.element, times(f, batch, spec.c[0]))
            self.batch_pointers = (a, b, c)
            self.k = extent(f, batch, spec, t.last)
            self.first = times(f, row_block, t.block)
            self.stop = add(f, self.first, str(t.block))
            if self.row_tiles % t.block or self.tail:
                self.stop = least(f, self.stop, str(self.row_tiles))
                self.last = f.value(f"icmp eq i64 {row_block}, {self.row_blocks - 1}")
            self.left = times(f, column_block, t.panels)
            self.right = least(f, add(f, self.left, str(t.panels)), str(self.full_panels))
            self.rightmost = f.value(f"icmp eq i64 {column_block}, {self.column_blocks - 1}")
            with steps(f, "0", self.k, t.depth, self.single) as at:
                self.depth_block(at)
        return f

    def depth_block(self, at: str) -> None:
        """All of the unit's tiles, for k from ``at``."""
        f, spec, t = self.f, self.spec, self.t
        a, b, _ = self.batch_pointers
        self.depth = self.k
        if not self.single:
            left = f.value(f"sub i64 {self.k}, {at}")
            self.depth = least(f, left, str(t.depth))
            self.output.block(at, add(f, at, self.depth), self.k)
        self.a_block = f.element(a, self.element, times(f, at, spec.a[2]))
        row = t.width if t.pack_b else spec.b[1]
        self.b_block = f.element(b, self.element, times(f, at, row))
        if self.full_panels:
            alone = self.full_panels == 1
            stop = "1" if alone else self.right
            with steps(f, "0" if alone else self.left, stop, 1, alone) as panel:
                self.panel(panel, t.vectors, None)
        if self.rest:
            mask = static_mask(t.lanes, self.rest % t.lanes or t.lanes)
            vectors = cut(self.rest, t.lanes)
            if self.column_blocks == 1:
                self.panel(str(self.full_panels), vectors, mask)
            else:
                with f.when(self.rightmost):
                    self.panel(str(self.full_panels), vectors, mask)

    def panel(self, panel: str, vectors: int, mask: str | None) -> None:
        f, spec, t = self.f, self.spec, self.t
        across = spec.k * t.width if t.pack_b else t.width
        self.b_panel = f.element(self.b_block, self.element, times(f, panel, across))
        self.column = times(f, panel, t.width)
        if self.row_tiles:
            alone = t.block == 1 and not self.tail
            with steps(f, self.first, self.stop, 1, alone) as tile:
                self.tile(tile, t.rows, vectors, mask)
        if self.tail:
            if self.row_blocks == 1:
                self.tile(str(self.row_tiles), self.tail, vectors, mask)
            else:
                with f.when(self.last):
                    self.tile(str(self.row_tiles), self.tail, vectors, mask)

    def tile(self, tile: str, rows: int, vectors: int, mask: str | None) -> None:
        """``rows`` by ``vectors`` of C, accumulated in registers."""
        f, spec, t, element = self.f, self.spec, self.t, self.element
        ty = vector(t.lanes, element)
        a = f.element(self.a_block, element, times(f, tile, t.rows * spec.a[1]))
        b_row = t.width if t.pack_b else spec.b[1]
        zero = f.literal(t.lanes, element, 0.0)
        start = [("ptr", a), ("ptr", self.b_panel)] + [(ty, zero)] * (rows * vectors)
        with f.loop("0", self.depth, carried=start) as loop:
            a, b, *sums = loop.carried
            bs = [
                self.load_b(f.element(b, element, str(v * t.lanes)), v, vectors, mask)
                for v in range(vectors)
            ]
            following = []
            for i in range(rows):
                one = f.load(element, f.element(a, element, str(i * spec.a[1])), BYTES[element])
                spread = f.splat(t.lanes, element, one)
                for v in range(vectors):
                    following.append(f.fma(ty, spread, bs[v], sums[i * vectors + v]))
            a = f.element(a, element, str(spec.a[2]))
            b = f.element(b, element, str(b_row))
            loop.carry(a, b, *following)
        self.store(tile, rows, vectors, mask, loop.result[2:])

    def load_b(self, pointer: str, v: int, vectors: int, mask: str | None) -> str:
        f, t = self.f, self.t
        if mask and v == vectors - 1 and not t.pack_b:
            return f.load_masked(t.lanes, self.element, pointer, mask)
        return f.load(vector(t.lanes, self.element), pointer, BYTES[self.element])

    def store(self, tile: str, rows: int, vectors: int, mask: str | None, sums: list[str]) -> None:
        f, spec, t, element = self.f, self.spec, self.t, self.element
        first = times(f, tile, t.rows)
        c = f.element(self.batch_pointers[2], element, times(f, first, spec.c[1]))
        c = f.element(c, element, self.column)
        places = []
        columns = [""] * vectors
        if spec.epilogue:
            columns = [add(f, self.column, str(v * t.lanes)) for v in range(vectors)]
        for i in range(rows):
            row = add(f, first, str(i)) if spec.epilogue else ""
            for v in range(vectors):
                pointer = f.element(c, element, str(i * spec.c[1] + v * t.lanes))
                places.append(Place(pointer, row, columns[v], mask if v == vectors - 1 else None))
        self.output.write(places, sums)


def tiles(spec: Product, t: Tiling, chunk: int) -> Stage:
    """The stage that multiplies; with ``pack_b`` it reads B from the workspace."""
    nest = Nest(spec, t)
    operands = tuple(f"e{i}" for i in range(nest.extra))
    operands += ("a", "w" if t.pack_b else "b", "c")
    return Stage(named(nest.write()), operands, nest.units, chunk)
