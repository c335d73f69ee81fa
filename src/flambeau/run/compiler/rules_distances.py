"""Euclidean distances between rows: differences, squares and sums of a tile in registers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, Lanes, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import mangled
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.nodes import Ref
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.nodes import Operand

# A tile: rows of the first matrix by vectors of rows of the second.
ROWS, VECTORS = 4, 2


def distances(stacks: int, p: int, r: int, m: int, lanes: Lanes) -> Stage:
    """Of ``(stacks, p, m)`` and, the other way round, ``(stacks, m, r)``; units are tiles' rows."""
    f = Code()
    x, y, out = (f.pointer(i) for i in range(3))
    n, b, ty = lanes.count, lanes.size, lanes.type
    blocks = -(-p // ROWS)

    def tile(lines: list[str], ys: str, outs: list[str], at: str, masks: list[str | None]) -> None:
        count = len(lines) * len(masks)
        zeros = [(ty, "zeroinitializer")] * count
        with f.loop("0", str(m), carried=zeros) as k:
            here = f.along(ys, (f.add(f.mul(k.index, r), at), b))
            others = [load(f.byte(here, v * n * b), mask) for v, mask in enumerate(masks)]
            sums = []
            for i, line in enumerate(lines):
                one = f.broadcast(lanes, f.along(line, (k.index, b)))
                for v, other in enumerate(others):
                    gap = f.value(f"fsub {ty} {one}, {other}")
                    sums.append(f.fma(ty, gap, gap, k.carried[i * len(others) + v]))
            k.carry(*sums)
        for i, target in enumerate(outs):
            for v, mask in enumerate(masks):
                total = k.result[i * len(masks) + v]
                root = f.call(f"llvm.sqrt.{mangled(ty)}", ty, (ty, total))
                to = f.byte(f.along(target, (at, b)), v * n * b)
                if mask is None:
                    f.store(ty, root, to, b)
                else:
                    f.store_masked(n, lanes.element, root, to, mask)

    def load(pointer: str, mask: str | None) -> str:
        if mask is None:
            return f.load(ty, pointer, b)
        return f.load_masked(n, lanes.element, pointer, mask)

    with f.loop("%begin", "%end") as unit:
        stack, block = f.divided(unit.index, blocks)
        ys = f.along(y, (f.mul(stack, m * r), b))
        lines, outs = [], []
        for i in range(min(ROWS, p)):
            # The last tile does rows again where there are no more.
            row = f.add(f.mul(stack, p), f.least(f.add(f.mul(block, ROWS), i), p - 1))
            lines.append(f.along(x, (f.mul(row, m), b)))
            outs.append(f.along(out, (f.mul(row, r), b)))
        whole = r - r % (n * VECTORS)
        if whole:
            with f.loop("0", str(whole), str(n * VECTORS)) as j:
                tile(lines, ys, outs, j.index, [None] * VECTORS)
        for at in range(whole, r, n):
            tile(lines, ys, outs, str(at), [None if at + n <= r else f.mask(n, str(r - at))])
    units = stacks * blocks
    chunk = chunk_of(units, stacks * p * r * m * 2 / n)
    return Stage(f.kernel(prefix="distances"), ("0", "1", "out0"), units, chunk)


@lowering("euclidean_distances")
def _distances(low: Lowering, e: Entry, x: Operand, y: Operand) -> Ref:
    out = e.out_avals[0]
    el = element(out.dtype)
    *lead, p, r = out.shape
    m = e.in_avals[0].shape[-1]
    if el.memory not in ("float", "double") or 0 in (*out.shape, m):
        raise Refused("of this dtype, or of nothing")
    a, b = values(low, x, (*lead, p, m), el), values(low, y, (*lead, r, m), el)
    d = len(lead)
    across = Ref(b.slot, b.view.permute((*range(d), d + 1, d)))
    lanes = Lanes(el.memory, el.size, code.target().lanes(el.size))
    plan = Plan((distances(math.prod(lead), p, r, m, lanes),))
    given = [low.dense(a, a.view.shape, el), low.dense(across, across.view.shape, el)]
    return low.stages("euclidean_distances", plan, given, [out.shape], [el])[0]
