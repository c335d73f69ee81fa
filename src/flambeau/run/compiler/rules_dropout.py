"""Dropout in nests: a byte an element is read, the factor it stands for chosen in registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering, scalar
from flambeau.run.compiler.nodes import Ref
from flambeau.run.compiler.pointwise import Lanes, rule

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand


@rule("dropout", "f")
def _multiplied(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    x, kept, scale = xs
    # Not a choice of x or 0: what is dropped keeps its sign, and NaN and infinity are NaN.
    return e.op("fmul", el, x, e.select(kept, scale, e.literal(0, el), el.register))


@lowering("dropout")
def _dropout(low: Lowering, e: Entry, x: Operand, kept: Operand, scale: Operand) -> Ref:
    out = e.out_avals[0]
    el = element(out.dtype)
    if el.kind != "f" or e.in_avals[1].dtype is not dtypes.bool_ or kept.__class__ is not Ref:
        raise Refused("such values")
    given = [scalar(low, x, el), kept, scalar(low, scale, el)]
    return low.map("dropout", given, out.shape, el)
