"""Matrix products of operands that are both contiguous along k: vectors run along k.

For few rows, where a transposed copy of B would cost more than it saves: rows of A by columns of B
are summed lane by lane, and across the lanes once at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from flambeau.run.compiler.emit import Function, vector
from flambeau.run.compiler.gemm_spec import BYTES, Product, cut, named, static_mask
from flambeau.run.compiler.gemm_store import Output, Place
from flambeau.run.compiler.gemm_tiles import add, extent, least, split, steps, times
from flambeau.run.compiler.stages import Stage

__all__ = ["Dots", "dots"]


@dataclass(frozen=True)
class Dots:
    """A tile is ``rows`` by ``columns`` (a power of two); a unit ``block`` tiles of columns.

    k goes by ``depth``, a multiple of ``lanes``; the batch's last product may have a k of its own,
    ``last``, and then the others' is a multiple of ``lanes`` too.
    """

    lanes: int
    rows: int
    columns: int
    block: int
    depth: int
    last: int = 0


class _Nest:
    """The kernel while it is written."""

    def __init__(self, spec: Product, t: Dots) -> None:
        self.spec, self.t = spec, t
        self.f = f = Function("kernel")
        self.element = spec.element
        self.extra = spec.epilogue.operands if spec.epilogue else 0
        self.ragged = t.last not in (0, spec.k)
        self.single = spec.k <= t.depth and not self.ragged
        self.column_tiles, self.rest = divmod(spec.n, t.columns)
        self.row_tiles, self.tail = divmod(spec.m, t.rows)
        self.blocks = cut(cut(spec.n, t.columns), t.block)
        self.final = t.last or spec.k
        self.whole = self.final // t.lanes * t.lanes
        self.output = Output(f, spec, t.columns, self.single)
        self.edge = self.output
        if self.rest:
            self.edge = Output(f, spec, 1 << (self.rest - 1).bit_length(), self.single)

    def write(self) -> Function:
        f, spec, t = self.f, self.spec, self.t
        a, b, c = (f.pointer(self.extra + p) for p in range(3))
        with f.loop("%begin", "%end") as unit:
            batch, block = "0", unit.index
            if spec.batch > 1:
                batch, block = split(f, unit.index, self.blocks)
            self.a, self.b, self.c = (
                f.element(p, self.element, times(f, batch, stride[0]))
                for p, stride in ((a, spec.a), (b, spec.b), (c, spec.c))
            )
            left = times(f, block, t.block)
            right = least(f, add(f, left, str(t.block)), str(self.column_tiles))
            last = f.value(f"icmp eq i64 {block}, {self.blocks - 1}")
            k = extent(f, batch, spec, t.last)
            whole = f.value(f"and i64 {k}, {-t.lanes}")
            with steps(f, "0", k, t.depth, self.single) as at:
                self.at, self.stop, self.end = at, str(self.whole), k
                if not self.single:
                    end = add(f, at, str(t.depth))
                    self.stop = least(f, end, whole)
                    self.end = least(f, end, k)
                    for output in {id(o): o for o in (self.output, self.edge)}.values():
                        output.block(at, self.end, k)
                if self.column_tiles:
                    with f.loop(left, right) as tile:
                        self.columns(tile.index, t.columns, self.output)
                if self.rest:
                    with f.when(last):
                        self.columns(str(self.column_tiles), self.rest, self.edge)
        return f

    def columns(self, tile: str, columns: int, output: Output) -> None:
        """All rows by one tile of columns."""
        f, t = self.f, self.t
        column = times(f, tile, t.columns)
        b = f.element(self.b, self.element, times(f, column, self.spec.b[2]))
        if self.row_tiles:
            with steps(f, "0", str(self.row_tiles), 1, self.row_tiles == 1) as row:
                self.tile(times(f, row, t.rows), column, b, t.rows, columns, output)
        if self.tail:
            row = str(self.row_tiles * t.rows)
            self.tile(row, column, b, self.tail, columns, output)

    def tile(self, row: str, column: str, b: str, rows: int, columns: int, output: Output) -> None:
        f, spec, t, element = self.f, self.spec, self.t, self.element
        a = f.element(self.a, element, times(f, row, spec.a[1]))
        c = f.element(self.c, element, times(f, row, spec.c[1]))
        c = f.element(c, element, column)
        ty = vector(t.lanes, element)
        zero = f.literal(t.lanes, element, 0.0)
        sums = [zero] * (rows * columns)
        if self.whole or self.ragged:
            with f.loop(self.at, self.stop, str(t.lanes), [(ty, s) for s in sums]) as k:
                k.carry(*self.step(a, b, k.index, k.carried, rows, columns, None))
            sums = k.result
        if self.final > self.whole:
            mask = static_mask(t.lanes, self.final - self.whole)
            if self.single:
                sums = self.step(a, b, str(self.whole), sums, rows, columns, mask)
            else:  # once in the last block of k, else not at all
                start = self.stop
                with f.loop(start, self.end, str(t.lanes), [(ty, s) for s in sums]) as k:
                    k.carry(*self.step(a, b, k.index, k.carried, rows, columns, mask))
                sums = k.result
        totals, places = [], []
        padding = [zero] * (output.lanes - columns)
        mask = static_mask(output.lanes, columns)
        for i in range(rows):
            line = sums[i * columns : (i + 1) * columns]
            totals.append(across(f, line + padding, t.lanes, element))
            pointer = f.element(c, element, str(i * spec.c[1]))
            places.append(Place(pointer, add(f, row, str(i)), column, mask))
        output.write(places, totals)

    def step(
        self,
        a: str,
        b: str,
        k: str,
        sums: list[str],
        rows: int,
        columns: int,
        mask: str | None,
    ) -> list[str]:
        """One vector of k."""
        f, spec = self.f, self.spec
        ty = vector(self.t.lanes, self.element)
        a, b = f.element(a, self.element, k), f.element(b, self.element, k)
        left = [self.load(a, i * spec.a[1], mask) for i in range(rows)]
        after = list(sums)
        for j in range(columns):
            right = self.load(b, j * spec.b[2], mask)
            for i in range(rows):
                at = i * columns + j
                after[at] = f.fma(ty, left[i], right, sums[at])
        return after

    def load(self, pointer: str, offset: int, mask: str | None) -> str:
        f, lanes = self.f, self.t.lanes
        place = f.element(pointer, self.element, str(offset))
        if mask:
            return f.load_masked(lanes, self.element, place, mask)
        return f.load(vector(lanes, self.element), place, BYTES[self.element])


def across(f: Function, vectors: list[str], lanes: int, element: str) -> str:
    """The sum over the lanes of each vector, as lanes of one; a power of two of them."""
    ty = vector(lanes, element)
    size, count = 1, len(vectors)
    while len(vectors) > 1:
        even = [p if not p & size else lanes + p - size for p in range(lanes)]
        odd = [p + size if not p & size else lanes + p for p in range(lanes)]
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = []
        for x, y in pairs:
            first = shuffle(f, ty, x, y, even)
            second = shuffle(f, ty, x, y, odd)
            vectors.append(f.value(f"fadd {ty} {first}, {second}"))
        size *= 2
    (total,) = vectors
    while lanes > count:
        half = lanes // 2
        ty = vector(lanes, element)
        low = shuffle(f, ty, total, "poison", list(range(half)))
        high = shuffle(f, ty, total, "poison", list(range(half, lanes)))
        total = f.value(f"fadd <{half} x {element}> {low}, {high}")
        lanes = half
    if count == 1:
        return f.value(f"extractelement <1 x {element}> {total}, i64 0")
    return total


def shuffle(f: Function, ty: str, a: str, b: str, order: list[int]) -> str:
    """``order`` counts through the lanes of both."""
    lanes = ", ".join(f"i32 {i}" for i in order)
    return f.value(f"shufflevector {ty} {a}, {ty} {b}, <{len(order)} x i32> <{lanes}>")


def dots(spec: Product, t: Dots, chunk: int) -> Stage:
    """The stage that multiplies."""
    nest = _Nest(spec, t)
    f = nest.write()
    operands = (*(f"e{i}" for i in range(nest.extra)), "a", "b", "c")
    return Stage(named(f), operands, spec.batch * nest.blocks, chunk)
