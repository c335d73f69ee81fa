"""Matrix products whose sizes are known only when they run (`sizes.Size`).

The tiles are those of `gemm_tiles`, of one height and width whatever the shape: rows that are left
over are done by tiles half as high, and so on; columns that are left over by single vectors under
a mask. Where k is not fixed it is summed by blocks, so each element is summed in an order that the
shape alone decides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flambeau.run.compiler.emit import Function, vector
from flambeau.run.compiler.gemm import _oriented, folded
from flambeau.run.compiler.gemm_pack import panel_bytes
from flambeau.run.compiler.gemm_spec import BYTES, Product, cut, named, static_mask
from flambeau.run.compiler.gemm_store import Output
from flambeau.run.compiler.gemm_tiles import Nest, Tiling, add, least, steps, times
from flambeau.run.compiler.sizes import Size, has_size, later
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.run.compiler.target import Target

__all__ = ["product", "varies"]

# k in one block, where it is long or unknown; tiles of rows in a unit, where rows are many.
DEPTH, BLOCK = 256, 4
# Vectors of multiply-adds that are worth handing out to another thread (about 10 us).
WORTH = 30_000


def varies(spec: Product) -> bool:
    """Whether any of its sizes is a run-time one."""
    return has_size((spec.m, spec.n, spec.k, spec.batch, spec.a, spec.b, spec.c))


def product(spec: Product, target: Target) -> Plan:
    """The stages that compute C, as `gemm.product` does."""
    spec, swapped = _oriented(folded(spec))
    plan = _planned(spec, target)
    if not swapped:
        return plan
    names = {"a": "b", "b": "a"}
    stages = [
        replace(stage, operands=tuple(names.get(o, o) for o in stage.operands))
        for stage in plan.stages
    ]
    return Plan(tuple(stages), plan.workspace)


def _planned(spec: Product, target: Target) -> Plan:
    lanes = target.lanes(BYTES[spec.element])
    t = _tiling(spec, lanes, target.registers)
    writer = Writer(spec, t)
    extra = writer.extra
    kernel = named(writer.write())
    names = (*[f"e{i}" for i in range(extra)], "a", "w" if t.pack_b else "b", "c")
    units = writer.units
    stage = Stage(kernel, names, units, later(_chunk, units, spec.m, spec.n, spec.k, spec.batch))
    if not t.pack_b:
        return Plan((stage,), 0)
    copies = spec.batch * cut(spec.n, t.width)
    chunk = later(_copies, copies, spec.k, t.width)
    return Plan(
        (Stage(named(_pack(spec, t)), ("b", "w"), copies, chunk), stage), panel_bytes(spec, t)
    )


def _chunk(units: int, m: int, n: int, k: int, batch: int) -> int:
    work = batch * m * cut(n, 16) * k
    return units if work < WORTH else max(1, int(WORTH * units / work / 2))


def _copies(units: int, k: int, width: int) -> int:
    return units if units * k * width < WORTH else max(1, WORTH // (k * width))


def _tiling(spec: Product, lanes: int, registers: int) -> Tiling:
    most = 8 if registers >= 32 else 4
    rows = most
    if spec.m.__class__ is not Size:
        while rows > spec.m:
            rows //= 2
    if spec.n.__class__ is Size:
        vectors = 2
    else:
        columns = cut(spec.n, lanes)
        choices = [v for v in (3, 2, 1) if rows * v + v + 1 <= registers]
        vectors = min(choices, key=lambda v: cut(columns, v) * (v + 0.5))
    deep = spec.k.__class__ is Size or spec.k > 2 * DEPTH
    block = BLOCK if spec.m.__class__ is Size and spec.batch.__class__ is int else 1
    panels = cut(spec.n, lanes * vectors)
    packed = spec.b[2].__class__ is Size or spec.b[2] != 1
    return Tiling(lanes, rows, vectors, block, panels, DEPTH if deep else spec.k, packed)


def split(f: Function, index: str, by: int) -> tuple[str, str]:
    """Quotient and remainder."""
    return f.value(f"udiv i64 {index}, {by}"), f.value(f"urem i64 {index}, {by}")


class Writer(Nest):
    """The kernel while it is written: a unit is a block of rows by all columns."""

    def __init__(self, spec: Product, t: Tiling) -> None:
        self.spec, self.whole_tile = spec, t
        # Tiles are named by their first row.
        self.t = replace(t, rows=1)
        self.f = Function("kernel")
        self.extra = spec.epilogue.operands if spec.epilogue else 0
        self.element = spec.element
        self.row_blocks = cut(spec.m, t.rows * t.block)
        self.single = spec.k.__class__ is int and spec.k <= t.depth
        self.output = Output(self.f, spec, t.lanes, self.single)

    @property
    def units(self) -> int:
        return self.spec.batch * self.row_blocks

    def write(self) -> Function:
        f, spec, t = self.f, self.spec, self.whole_tile
        a, b, c = (f.pointer(self.extra + p) for p in range(3))
        with f.loop("%begin", "%end") as unit:
            batch, block = "0", unit.index
            if has_size((spec.batch,)) or spec.batch > 1:
                batch, block = split(f, unit.index, self.row_blocks)
                panels = cut(spec.n, t.width) * spec.k * t.width
                a = f.element(a, self.element, times(f, batch, spec.a[0]))
                b = f.element(b, self.element, times(f, batch, panels if t.pack_b else spec.b[0]))
                c = f.element(c, self.element, times(f, batch, spec.c[0]))
            self.batch_pointers = (a, b, c)
            self.k = str(spec.k)
            self.first_row = times(f, block, t.rows * t.block)
            self.stop_row = least(f, add(f, self.first_row, str(t.rows * t.block)), str(spec.m))
            left = f.value(f"sub i64 {self.stop_row}, {self.first_row}")
            self.over = f.value(f"and i64 {left}, {t.rows - 1}")
            self.whole_rows = f.value(f"sub i64 {self.stop_row}, {self.over}")
            with steps(f, "0", self.k, t.depth, self.single) as at:
                self.depth_block(at)
        return f

    def depth_block(self, at: str) -> None:
        f, spec, t = self.f, self.spec, self.whole_tile
        a, b, _ = self.batch_pointers
        self.depth = self.k
        if not self.single:
            self.depth = least(f, f.value(f"sub i64 {self.k}, {at}"), str(t.depth))
            self.output.block(at, add(f, at, self.depth), self.k)
        self.a_block = f.element(a, self.element, times(f, at, spec.a[2]))
        row = t.width if t.pack_b else spec.b[1]
        self.b_block = f.element(b, self.element, times(f, at, row))
        if spec.n.__class__ is Size:
            whole = spec.n - spec.n % t.width
            with f.loop("0", str(whole), str(t.width)) as column:
                self.columns(column.index, column.index, t.vectors, None)
            with f.loop(str(whole), str(spec.n), str(t.lanes)) as column:
                mask = f.mask(t.lanes, f.value(f"sub i64 {spec.n}, {column.index}"))
                self.columns(column.index, str(whole), 1, mask)
            return
        full, rest = divmod(spec.n, t.width)
        if full:
            with steps(f, "0", str(full * t.width), t.width, full == 1) as at_column:
                self.columns(at_column, at_column, t.vectors, None)
        if rest:
            start = str(full * t.width)
            mask = static_mask(t.lanes, rest % t.lanes or t.lanes)
            self.columns(start, start, cut(rest, t.lanes), mask)

    def columns(self, column: str, panel: str, vectors: int, mask: str | None) -> None:
        """All rows by the vectors from ``column``, which lie in the panel that begins there."""
        f, spec, t = self.f, self.spec, self.whole_tile
        if t.pack_b:
            b = f.element(self.b_block, self.element, times(f, panel, spec.k))
            inside = f.value(f"sub i64 {column}, {panel}") if column != panel else "0"
            self.b_panel = f.element(b, self.element, inside)
        else:
            self.b_panel = f.element(self.b_block, self.element, column)
        self.column = column
        if spec.m.__class__ is Size or spec.m >= t.rows:
            with f.loop(self.first_row, self.whole_rows, str(t.rows)) as row:
                self.tile(row.index, t.rows, vectors, mask)
        rows = t.rows // 2
        while rows:
            if spec.m.__class__ is Size or spec.m & rows:
                here = f.value(f"and i64 {self.over}, {rows}")
                with f.when(f.value(f"icmp ne i64 {here}, 0")):
                    before = f.value(f"and i64 {self.over}, {-2 * rows}")
                    self.tile(add(f, self.whole_rows, before), rows, vectors, mask)
            rows //= 2


def _pack(spec: Product, t: Tiling) -> Function:
    """``w[batch, panel, k, column]``, zeros past the last column; a unit is a panel."""
    f = Function("kernel")
    b, w = f.pointer(0), f.pointer(1)
    element, align = spec.element, BYTES[spec.element]
    ty = vector(t.lanes, element)
    panels = cut(spec.n, t.width)
    with f.loop("%begin", "%end") as unit:
        batch, panel = split(f, unit.index, panels)
        source = f.element(b, element, times(f, batch, spec.b[0]))
        column = times(f, panel, t.width)
        source = f.element(source, element, times(f, column, spec.b[2]))
        left = f.value(f"sub i64 {spec.n}, {column}")
        count = least(f, left, str(t.width))
        target = f.element(w, element, times(f, unit.index, spec.k * t.width))
        whole = f.value(f"and i64 {count}, {-t.lanes}")
        with f.loop("0", str(spec.k)) as k:
            row = f.element(source, element, times(f, k.index, spec.b[1]))
            to = f.element(target, element, times(f, k.index, t.width))
            with f.loop("0", whole, str(t.lanes)) as v:
                at = f.element(row, element, times(f, v.index, spec.b[2]))
                found = "poison"
                for i in range(t.lanes):
                    one = f.load(element, f.element(at, element, str(i * spec.b[2])), align)
                    found = f.value(f"insertelement {ty} {found}, {element} {one}, i64 {i}")
                f.store(ty, found, f.element(to, element, v.index), align)
            some = f.value(f"icmp slt i64 {whole}, {t.width}")
            with f.when(some):
                with f.loop(whole, str(t.width), str(t.lanes)) as v:
                    zero = f.literal(t.lanes, element, 0.0)
                    f.store(ty, zero, f.element(to, element, v.index), align)
                with f.loop(whole, count) as j:
                    at = f.element(row, element, times(f, j.index, spec.b[2]))
                    one = f.load(element, at, align)
                    f.store(element, one, f.element(to, element, j.index), align)
    return f
