"""Copies of B for the tiles to read: panels of columns, each contiguous along k."""

from __future__ import annotations

from flambeau.run.compiler.emit import Function, mangled, vector
from flambeau.run.compiler.gemm_dot import shuffle
from flambeau.run.compiler.gemm_spec import BYTES, Product, cut, named, static_mask
from flambeau.run.compiler.gemm_tiles import Tiling, add, least, split, times
from flambeau.run.compiler.stages import Stage

__all__ = ["pack", "panel_bytes", "partial_sums"]

ROWS = 64  # of B in one unit


def panel_bytes(spec: Product, t: Tiling) -> int:
    """What the panels of all products need."""
    return spec.batch * cut(spec.n, t.width) * t.width * spec.k * BYTES[spec.element]


def pack(spec: Product, t: Tiling, chunk: int) -> Stage:
    """The stage that fills the workspace: ``w[batch, panel, k, column]``, zeros past the last."""
    f = Function("kernel")
    b, w = f.pointer(0), f.pointer(1)
    panels = cut(spec.n, t.width)
    blocks = cut(spec.k, ROWS)
    adjacent = spec.b[2] == 1
    with f.loop("%begin", "%end") as unit:
        rest, panel = split(f, unit.index, panels)
        batch, block = split(f, rest, blocks) if spec.batch > 1 else ("0", rest)
        k = times(f, block, ROWS)
        stop = least(f, add(f, k, str(ROWS)), str(spec.k))
        column = times(f, panel, t.width)
        source = f.element(b, spec.element, times(f, batch, spec.b[0]))
        source = f.element(source, spec.element, times(f, column, spec.b[2]))
        index = add(f, times(f, batch, panels), panel) if spec.batch > 1 else panel
        target = f.element(w, spec.element, times(f, index, spec.k * t.width))
        copy = _Copy(f, spec, t, source, target, k, stop)
        if adjacent:
            full, over = divmod(spec.n, t.width)
            if full:
                with f.when(f.value(f"icmp slt i64 {panel}, {full}")):
                    copy.rows(t.width)
            if over:
                with f.when(f.value(f"icmp eq i64 {panel}, {full}")):
                    copy.rows(over)
        else:
            copy.columns(column)
    units = spec.batch * blocks * panels
    return Stage(named(f), ("b", "w"), units, chunk)


class _Copy:
    """The rows ``k`` to ``stop`` of one panel."""

    def __init__(
        self, f: Function, spec: Product, t: Tiling, source: str, target: str, k: str, stop: str
    ) -> None:
        self.f, self.spec, self.t = f, spec, t
        self.source, self.target, self.k, self.stop = source, target, k, stop
        self.element, self.align = spec.element, BYTES[spec.element]

    def at(self, k: str, column: str = "0") -> str:
        f = self.f
        p = f.element(self.source, self.element, times(f, k, self.spec.b[1]))
        return f.element(p, self.element, times(f, column, self.spec.b[2]))

    def to(self, k: str, column: str = "0") -> str:
        f = self.f
        p = f.element(self.target, self.element, times(f, k, self.t.width))
        return f.element(p, self.element, column)

    def rows(self, count: int) -> None:
        """Columns are adjacent: vectors along them."""
        f, lanes = self.f, self.t.lanes
        ty = vector(lanes, self.element)
        with f.loop(self.k, self.stop) as k:
            source, target = self.at(k.index), self.to(k.index)
            for j in range(0, count, lanes):
                mask = static_mask(lanes, count - j)
                place = f.element(source, self.element, str(j))
                if mask:
                    value = f.load_masked(lanes, self.element, place, mask)
                else:
                    value = f.load(ty, place, self.align)
                f.store(ty, value, f.element(target, self.element, str(j)), self.align)

    def columns(self, first: str) -> None:
        """Columns are apart: transposed by squares where k is contiguous, the rest one by one."""
        f, spec, t = self.f, self.spec, self.t
        left = f.value(f"sub i64 {spec.n}, {first}")
        count = least(f, left, str(t.width))
        whole, done = "0", self.k
        if spec.b[1] == 1 and spec.n >= t.lanes:
            whole = f.value(f"and i64 {count}, {-t.lanes}")
            with f.loop(self.k, self.stop, str(16 // self.align), while_room=True) as k:
                start = [("ptr", self.at(k.index)), ("ptr", self.to(k.index))]
                with f.loop("0", whole, str(t.lanes), carried=start) as j:
                    source, target = j.carried
                    # Frozen: LLVM's loop strength reduction takes 15 ms over sixteen such loads.
                    self.square(f.value(f"freeze ptr {source}"), target)
                    source = f.element(source, self.element, str(t.lanes * spec.b[2]))
                    j.carry(source, f.element(target, self.element, str(t.lanes)))
                done = k.index
            self.scalars(done, "0", whole)
        ragged = spec.n % t.lanes
        if whole == "0" or ragged:
            if ragged:
                self.zeros(count)
            self.scalars(self.k, whole, count)

    def zeros(self, count: str) -> None:
        """The last vector of columns, of which only some will be written."""
        f, lanes = self.f, self.t.lanes
        start = f.value(f"and i64 {count}, {-lanes}")
        with f.when(f.value(f"icmp ne i64 {start}, {count}")), f.loop(self.k, self.stop) as k:
            zero = f.literal(lanes, self.element, 0.0)
            f.store(vector(lanes, self.element), zero, self.to(k.index, start), self.align)

    def scalars(self, start: str, left: str, right: str) -> None:
        f = self.f
        with f.loop(left, right) as j, f.loop(start, self.stop) as k:
            value = f.load(self.element, self.at(k.index, j.index), self.align)
            f.store(self.element, value, self.to(k.index, j.index), self.align)

    def square(self, source: str, target: str) -> None:
        """A vector of columns, each giving 16 bytes of its elements, becomes rows.

        In 16 bytes a square of columns transposes within itself; the vectors are such squares side
        by side, which costs fewer shuffles (and much less of LLVM's time) than a large square.
        """
        f, lanes = self.f, self.t.lanes
        side = 16 // self.align
        ty, part = vector(lanes, self.element), vector(side, self.element)
        mixed = []
        for first in range(side):
            whole = "poison"
            for i in range(first, lanes, side):
                place = f.element(source, self.element, str(i * self.spec.b[2]))
                piece = f.load(part, place, self.align)
                whole = self.inserted(whole, piece, i - first)
            mixed.append(whole)
        for i, row in enumerate(transposed(f, mixed, lanes, self.element)):
            place = f.element(target, self.element, str(i * self.t.width))
            f.store(ty, row, place, self.align)

    def inserted(self, whole: str, part: str, at: int) -> str:
        """16 bytes of a vector replaced."""
        lanes, side = self.t.lanes, 16 // self.align
        if lanes == side:
            return part
        ty, piece = vector(lanes, self.element), vector(side, self.element)
        name = f"llvm.vector.insert.{mangled(ty)}.{mangled(piece)}"
        self.f.declared.add(f"declare {ty} @{name}({ty}, {piece}, i64 immarg)")
        return self.f.value(f"call {ty} @{name}({ty} {whole}, {piece} {part}, i64 {at})")


def transposed(f: Function, rows: list[str], lanes: int, element: str) -> list[str]:
    """Two or four vectors as squares side by side: the columns of each."""
    side, ty = len(rows), vector(lanes, element)

    def woven(x: str, y: str, size: int) -> tuple[str, str]:
        """Pieces of ``size`` of x and y in turn: from the squares' lower and upper halves."""
        low = []
        for square in range(0, lanes, side):
            for piece in range(square, square + side // 2, size):
                low += range(piece, piece + size)
                low += range(lanes + piece, lanes + piece + size)
        high = [i + side // 2 for i in low]
        return shuffle(f, ty, x, y, low), shuffle(f, ty, x, y, high)

    if side == 2:
        return list(woven(rows[0], rows[1], 1))
    low, high = zip(woven(rows[0], rows[1], 1), woven(rows[2], rows[3], 1), strict=True)
    return [*woven(*low, 2), *woven(*high, 2)]


def partial_sums(spec: Product, parts: int, lanes: int, chunk: int) -> Stage:
    """C from the sums over ``parts`` pieces of k, ``w[part, i, j]``, added in order."""
    f = Function("kernel")
    epilogue, element = spec.epilogue, spec.element
    extra = epilogue.operands if epilogue else 0
    w, c = f.pointer(extra), f.pointer(extra + 1)
    ty, align = vector(lanes, element), BYTES[element]

    def piece(row: str, sources: list[str], target: str, j: str, mask: str | None) -> None:
        total = ""
        for source in sources:
            place = f.element(source, element, j)
            if mask:
                value = f.load_masked(lanes, element, place, mask)
            else:
                value = f.load(ty, place, align)
            total = f.value(f"fadd {ty} {total}, {value}") if total else value
        if epilogue:
            total = epilogue.begin(f)(lanes, total, (row, j), mask)
        place = f.element(target, element, j)
        if mask:
            f.store_masked(lanes, element, total, place, mask)
        else:
            f.store(ty, total, place, align)

    with f.loop("%begin", "%end") as unit:
        row = unit.index
        first = f.element(w, element, times(f, row, spec.n))
        sources = [f.element(first, element, str(p * spec.m * spec.n)) for p in range(parts)]
        target = f.element(c, element, times(f, row, spec.c[1]))
        whole = spec.n // lanes * lanes
        if whole:
            with f.loop("0", str(whole), str(lanes)) as j:
                piece(row, sources, target, j.index, None)
        if spec.n > whole:
            piece(row, sources, target, str(whole), static_mask(lanes, spec.n - whole))
    operands = (*(f"e{i}" for i in range(extra)), "w", "c")
    return Stage(named(f), operands, spec.m, chunk)
