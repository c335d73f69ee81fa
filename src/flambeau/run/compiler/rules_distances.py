"""Distances between rows: differences, squares and a reduction in one nest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.nodes import Ref
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.views import View

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.nodes import Operand


def _between(x: Ref, axis: int) -> Ref:
    """With an axis of size 1 put in."""
    v = x.view
    shape, strides = ((*s[:axis], n, *s[axis:]) for s, n in ((v.shape, 1), (v.strides, 0)))
    return Ref(x.slot, View(shape, strides, v.offset, v.moving))


@lowering("euclidean_distances")
def _distances(low: Lowering, e: Entry, x: Operand, y: Operand) -> Ref:
    out = e.out_avals[0]
    el, wide = element(out.dtype), element(dtypes.float64)
    if el.memory not in ("float", "double") or 0 in (*out.shape, e.in_avals[0].shape[-1]):
        raise Refused("of this dtype, or of nothing")
    a, b = (values(low, o, v.shape, el) for o, v in zip((x, y), e.in_avals, strict=True))
    shape = (*out.shape, e.in_avals[0].shape[-1])
    rows = [_between(a, len(a.view.shape) - 1), _between(b, len(b.view.shape) - 2)]
    gap = low.map("sub", rows, shape, el)
    if el is not wide:
        # In double, the sum of squares does not overflow.
        gap = low.map("cast", [gap], shape, el, wide)
    total = low.reduce("sum", low.map("square", [gap], shape, wide), (len(shape) - 1,), wide)
    root = low.map("sqrt", [total], out.shape, wide)
    return root if el is wide else low.map("cast", [root], out.shape, wide, el)
