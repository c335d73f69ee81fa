"""Copies of B for the tiles to read: panels of columns, each contiguous along k."""

from __future__ import annotations

from flambeau.run.compiler.emit import Function, vector
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
        batch, block = split(f, rest, blocks)
        if spec.batch == 1:
            batch, block = "0", rest
        k = times(f, block, ROWS)
        stop = least(f, add(f, k, str(ROWS)), str(spec.k))
        column = times(f, panel, t.width)
        source = f.element(b, spec.element, times(f, batch, spec.b[0]))
        source = f.element(source, spec.element, times(f, column, spec.b[2]))
        index = add(f, times(f, batch, panels), panel) if spec.batch > 1 else panel
        target = f.element(w, spec.element, times(f, index, spec.k * t.width))
        copy = _Copy(f, spec, t, source, target, k, stop)
        full, over = divmod(spec.n, t.width)
        if full:
            if over:
                inside = f.value(f"icmp slt i64 {panel}, {full}")
                with f.when(inside):
                    copy.rows(t.width) if adjacent else copy.columns(t.width)
            else:
                copy.rows(t.width) if adjacent else copy.columns(t.width)
        if over:
            last = f.value(f"icmp eq i64 {panel}, {full}")
            with f.when(last):
                copy.rows(over) if adjacent else copy.columns(over)
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

    def columns(self, count: int) -> None:
        """Columns are apart: squares are transposed where k is contiguous, the rest one by one."""
        f, lanes = self.f, self.t.lanes
        whole = count // lanes * lanes if self.spec.b[1] == 1 else 0
        single = self.k
        if whole:
            with (
                f.loop(self.k, self.stop, str(lanes), while_room=True) as k,
                f.loop("0", str(whole), str(lanes)) as j,
            ):
                self.square(k.index, j.index)
            self.scalars(k.index, 0, whole)
        if count > whole:
            ty = vector(lanes, self.element)
            if count % lanes:
                zero = f.literal(lanes, self.element, 0.0)
                with f.loop(single, self.stop) as k:
                    last = self.to(k.index, str(count // lanes * lanes))
                    f.store(ty, zero, last, self.align)
            self.scalars(single, whole, count)

    def scalars(self, start: str, left: int, right: int) -> None:
        f = self.f
        with f.loop(str(left), str(right)) as j, f.loop(start, self.stop) as k:
            value = f.load(self.element, self.at(k.index, j.index), self.align)
            f.store(self.element, value, self.to(k.index, j.index), self.align)

    def square(self, k: str, j: str) -> None:
        """``lanes`` columns of ``lanes`` elements become as many rows."""
        f, lanes = self.f, self.t.lanes
        ty = vector(lanes, self.element)
        source, target = self.at(k, j), self.to(k, j)
        rows = [
            f.load(ty, f.element(source, self.element, str(i * self.spec.b[2])), self.align)
            for i in range(lanes)
        ]
        for i, row in enumerate(transposed(f, rows, lanes, self.element)):
            place = f.element(target, self.element, str(i * self.t.width))
            f.store(ty, row, place, self.align)


def transposed(f: Function, rows: list[str], lanes: int, element: str) -> list[str]:
    """The square matrix's columns: at each level the off-diagonal halves of blocks swap."""
    ty = vector(lanes, element)
    size = lanes // 2
    while size:
        low = [i + lanes - size if i & size else i for i in range(lanes)]
        high = [i + lanes if i & size else i + size for i in range(lanes)]
        after = list(rows)
        for i in range(lanes):
            if not i & size:
                after[i] = _shuffle(f, ty, rows[i], rows[i + size], low)
                after[i + size] = _shuffle(f, ty, rows[i], rows[i + size], high)
        rows = after
        size //= 2
    return rows


def _shuffle(f: Function, ty: str, a: str, b: str, order: list[int]) -> str:
    lanes = ", ".join(f"i32 {i}" for i in order)
    return f.value(f"shufflevector {ty} {a}, {ty} {b}, <{len(order)} x i32> <{lanes}>")


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
            total = epilogue.emit(f, lanes, total, row, j, mask)
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
