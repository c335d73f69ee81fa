"""Matrix products: which kernels, of what sizes, for given shapes and strides.

Three ways, by what is contiguous: tiles that broadcast A along vectors of columns (`gemm_tiles`),
over B as it is or packed first (`gemm_pack`), and dot products along k (`gemm_dot`). All choices
are made from the shape alone, so that a shape gives the same bits wherever and however it is run;
the constants were measured (benchmarks/gemm.py).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from flambeau.run.compiler.gemm_dot import Dots, dots
from flambeau.run.compiler.gemm_pack import pack, panel_bytes, partial_sums
from flambeau.run.compiler.gemm_spec import BYTES, Product, cut
from flambeau.run.compiler.gemm_tiles import Tiling, tiles
from flambeau.run.compiler.stages import Emit, Epilogue, Plan, Stage

if TYPE_CHECKING:
    from flambeau.run.compiler.emit import Function
    from flambeau.run.compiler.target import Target

__all__ = ["Epilogue", "Plan", "Product", "Stage", "folded", "product"]

CALLER_ONLY = 8e-6
UNIT = 8e-6  # seconds of work that are worth handing out
UNITS = 32  # of them are enough for any number of threads
NEAR = 512 << 10  # bytes of B that stay in a core's own cache
STRETCH = 4096  # columns of B that are worth a stretch of their own
VECTORS_A_SECOND = 3e9
BYTES_A_SECOND = 2e10


def product(spec: Product, target: Target) -> Plan:
    """The stages that compute C; operands are "a", "b", "c", "w" and the epilogue's "e0"...

    Shapes and strides: `Product`. Raises ``ValueError`` where C is contiguous along neither side.
    """
    if 0 in (spec.m, spec.n, spec.batch):
        return Plan((), 0)
    spec, swapped = _oriented(folded(spec))
    # An unrolled loop has the same product again and again.
    plan = (_planned if spec.epilogue else _remembered)(spec, target)
    if not swapped:
        return plan
    names = {"a": "b", "b": "a"}
    stages = [
        replace(stage, operands=tuple(names.get(o, o) for o in stage.operands))
        for stage in plan.stages
    ]
    return Plan(tuple(stages), plan.workspace)


def folded(spec: Product) -> Product:
    """A batch that shares one operand is one product, where the other's rows follow on."""
    if spec.batch == 1 or spec.epilogue:
        return spec
    a, b, c = spec.a, spec.b, spec.c
    if b[0] == 0 and a[0] == spec.m * a[1] and c[0] == spec.m * c[1]:
        return replace(spec, m=spec.m * spec.batch, batch=1)
    if a[0] == 0 and b[0] == spec.n * b[2] and c[0] == spec.n * c[2]:
        return replace(spec, n=spec.n * spec.batch, batch=1)
    return spec


def _oriented(spec: Product) -> tuple[Product, bool]:
    """With C contiguous along j, by C^T = B^T A^T if need be; a single column becomes a row."""
    a, b, c = spec.a, spec.b, spec.c
    by_rows = c[2] == 1 or spec.n == 1
    by_columns = c[1] == 1 or spec.m == 1
    if not by_rows and not by_columns:
        raise ValueError("a product's C must have stride 1 along its rows or its columns")
    swap = not by_rows or (by_columns and spec.n == 1 and spec.m > 1)
    if swap:
        spec = replace(
            spec,
            m=spec.n,
            n=spec.m,
            a=(b[0], b[2], b[1]),
            b=(a[0], a[2], a[1]),
            c=(c[0], c[2], c[1]),
            epilogue=_turned(spec.epilogue),
        )
        a, b, c = spec.a, spec.b, spec.c
    # Strides that nothing steps along are of no account.
    if spec.k <= 1:
        a, b = (*a[:2], 1), (b[0], 1, b[2] if spec.k else 1)
    if spec.m == 1:
        a, c = (a[0], 0, a[2]), (c[0], 0, c[2])
    if spec.n == 1:
        b, c = (*b[:2], b[2] if b[1] == 1 == a[2] else 1), (*c[:2], 1)
    if spec.batch == 1:
        a, b, c = (0, *a[1:]), (0, *b[1:]), (0, *c[1:])
    return replace(spec, a=a, b=b, c=c), swap


def _turned(epilogue: Epilogue | None) -> Epilogue | None:
    """The same for a product whose rows are C's columns."""
    if epilogue is None:
        return None

    def begin(f: Function, lanes: int = 0, lead: tuple[str, ...] = ()) -> Emit:
        emit = epilogue.begin(f)
        return lambda lanes, value, at, mask: emit(lanes, value, at[::-1], mask)

    return replace(epilogue, begin=begin)


def _seconds(spec: Product, lanes: int) -> float:
    """A guess at the time on one thread."""
    vectors = spec.batch * spec.m * cut(spec.n, lanes) * spec.k
    elements = spec.m * spec.n + (spec.m + spec.n) * spec.k
    moved = spec.batch * elements * BYTES[spec.element]
    return max(vectors / VECTORS_A_SECOND, moved / BYTES_A_SECOND)


def _planned(spec: Product, target: Target) -> Plan:
    lanes = target.lanes(BYTES[spec.element])
    parts = _parts(spec, lanes)
    if parts > 1:
        return _in_parts(spec, parts, lanes, target)
    if _wants_dots(spec, lanes):
        return Plan((_dots(spec, lanes, target.registers),), 0)
    return _tiled(spec, lanes, target.registers)


_remembered = lru_cache(512)(_planned)


def _chunk(units: int, seconds: float) -> int:
    """How many units a thread takes at a time."""
    if seconds < CALLER_ONLY:
        return units
    return max(1, min(int(UNIT * units / seconds), cut(units, UNITS)))


def _units_for(seconds: float) -> int:
    """Into how many units work is worth cutting."""
    return max(1, min(UNITS, int(seconds / UNIT)))


# A long k under a small C


def _parts(spec: Product, lanes: int) -> int:
    """In how many pieces k is summed: more than one where C alone gives threads too little."""
    least = 512  # of k in a part
    if _wants_dots(spec, lanes):
        pieces = cut(spec.n, 8)
    elif _streams(spec):
        pieces, least = cut(spec.n, STRETCH), 128
    elif spec.b[2] == 1:
        pieces = cut(spec.m, 8) * cut(spec.n, 4 * lanes)
    else:
        return 1
    if spec.batch > 1 or pieces >= 8 or _seconds(spec, lanes) < 4 * CALLER_ONLY:
        return 1
    return max(1, min(8, spec.k // least))


def _in_parts(spec: Product, parts: int, lanes: int, target: Target) -> Plan:
    """Partial products side by side in the workspace, then their sum in order."""
    m, n, k = spec.m, spec.n, spec.k
    depth = cut(cut(k, parts), lanes) * lanes
    parts = cut(k, depth)
    a, b = (depth * spec.a[2], *spec.a[1:]), (depth * spec.b[1], *spec.b[1:])
    partial = Product(m, n, depth, parts, a, b, (m * n, n, 1), spec.element)
    last = k - depth * (parts - 1)
    if _wants_dots(spec, lanes):
        stage = _dots(partial, lanes, target.registers, last)
    else:
        t = replace(_direct(partial, lanes, target.registers), last=last)
        stage = tiles(partial, t, 1)
    names = {"c": "w"}
    first = replace(stage, operands=tuple(names.get(o, o) for o in stage.operands))
    second = partial_sums(spec, parts, lanes, m)
    return Plan((first, second), parts * m * n * BYTES[spec.element])


# Dot products along k


def _wants_dots(spec: Product, lanes: int) -> bool:
    """Where the sums across lanes cost less than a transposed copy of B."""
    if spec.a[2] != 1 or spec.b[1] != 1 or (spec.b[2] == 1 and spec.n > 1):
        return False
    near = spec.n * spec.k * BYTES[spec.element] <= NEAR
    return spec.m <= min(128, max(4, spec.k // (4 if near else 2)))


def _dots(spec: Product, lanes: int, registers: int, last: int = 0) -> Stage:
    if spec.m <= 2 or registers < 32:
        rows, columns = (1, 8) if spec.m == 1 else (2, 4)
    else:
        rows, columns = (3, 8) if spec.m == 3 else (4, 4)
    columns = min(columns, lanes, 4 if spec.n <= 4 else 8)
    rows = min(rows, spec.m)
    depth = 1024 if spec.m > 4 else 8192
    depth = max(lanes, cut(cut(spec.k, cut(spec.k, depth) or 1), lanes) * lanes)
    column_tiles = cut(spec.n, columns)
    seconds = _seconds(spec, lanes)
    units = _units_for(seconds)
    block = max(1, column_tiles // max(1, units // spec.batch))
    if spec.k > depth and spec.m > 4:
        block = max(block, 2)  # columns that share each block of A while it is near
    stage = dots(spec, Dots(lanes, rows, columns, block, depth, last), 1)
    return replace(stage, chunk=_chunk(stage.units, seconds))


# Tiles


def _tiled(spec: Product, lanes: int, registers: int) -> Plan:
    seconds = _seconds(spec, lanes)
    adjacent = spec.b[2] == 1
    far = spec.n * spec.k * BYTES[spec.element] > NEAR
    if adjacent and not (far and spec.m > 512):
        stage = tiles(spec, _direct(spec, lanes, registers), 1)
        return Plan((replace(stage, chunk=_chunk(stage.units, seconds)),), 0)
    t = _packed(spec, lanes, registers)
    first, second = pack(spec, t, 1), tiles(spec, t, 1)
    copying = spec.batch * spec.n * spec.k * BYTES[spec.element] / BYTES_A_SECOND
    first = replace(first, chunk=_chunk(first.units, copying))
    second = replace(second, chunk=_chunk(second.units, seconds))
    return Plan((first, second), panel_bytes(spec, t))


def _streams(spec: Product) -> bool:
    """Few rows: B passes by once, and its memory sets the pace."""
    nbytes = spec.n * spec.k * BYTES[spec.element]
    return spec.b[2] == 1 and spec.m <= 8 and nbytes > NEAR // 8


def _direct(spec: Product, lanes: int, registers: int) -> Tiling:
    """B read where it is."""
    rows, vectors = _tile(spec, lanes, registers)
    nbytes = spec.n * spec.k * BYTES[spec.element]
    row_tiles, panels = cut(spec.m, rows), cut(spec.n, lanes * vectors)
    depth, least = spec.k, 1
    if panels > 1 and _streams(spec):
        # Long stretches of a few rows of B at a time, as memory likes it.
        depth, least = 8 * spec.m, cut(STRETCH, lanes * vectors)
    elif spec.k > 512:
        depth = 256
    # Where B is far, several tiles use each panel while it is near.
    block = 1
    if nbytes > NEAR:
        block, least = min(row_tiles, 8 if spec.m <= 64 else 32), max(least, 2)
    columns = _columns(spec, lanes, rows * block, panels, least)
    return Tiling(lanes, rows, vectors, block, columns, _even(spec.k, depth, 4))


def _packed(spec: Product, lanes: int, registers: int) -> Tiling:
    """B from the workspace."""
    rows, vectors = _tile(spec, lanes, registers)
    row_tiles, panels = cut(spec.m, rows), cut(spec.n, lanes * vectors)
    block = min(row_tiles, 8)
    columns = _columns(spec, lanes, rows * block, panels, 4)
    depth = _even(spec.k, 2048 // BYTES[spec.element], lanes)
    return Tiling(lanes, rows, vectors, block, columns, depth, True)


def _even(k: int, depth: int, unit: int) -> int:
    """About ``depth``, a multiple of ``unit``, so that blocks of k are of one size."""
    if k <= depth:
        return max(1, k)
    return cut(cut(k, cut(k, depth)), unit) * unit


def _columns(spec: Product, lanes: int, rows: int, panels: int, least: int) -> int:
    """Panels in a unit: as many as make it worth handing out; the number of rows has no say."""
    pieces = max(1, int(_seconds(replace(spec, m=rows, batch=1), lanes) / UNIT))
    return min(panels, max(least, cut(panels, pieces)))


def _tile(spec: Product, lanes: int, registers: int) -> tuple[int, int]:
    """Rows and vectors of the tile that spends least on this shape.

    A step of k takes a multiply-add for each vector of the tile, and no less than a load for each
    row and vector, or than an addition's delay.
    """
    best, least = (1, 1), float("inf")
    most = 14
    if spec.a[2] == 1 and spec.a[1] * BYTES[spec.element] % 4096 == 0:
        most = 8  # rows that share cache sets: no more than have room
    columns = cut(spec.n, lanes)
    for vectors in range(1, min(4, columns) + 1):
        for rows in range(1, min(spec.m, most) + 1):
            if rows * vectors + vectors + 1 > registers:
                continue
            cost = 0.0
            for height, tall in ((rows, spec.m // rows), (spec.m % rows, 1)):
                for width, wide in ((vectors, columns // vectors), (columns % vectors, 1)):
                    if height and width:
                        step = max(height * width, 0.6 * (height + width) + 1, 5)
                        cost += tall * wide * (spec.k * step + 2 * height * width + 16)
            # Kernels without a last row tile of their own serve other numbers of rows as well.
            cost *= 1 + 0.03 * (spec.m % rows != 0) + 0.01 * (rows != 8)
            if cost < least:
                best, least = (rows, vectors), cost
    return best
