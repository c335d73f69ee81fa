"""Primitives that surround images with what they hold: reflected, replicated, circular."""

from __future__ import annotations

from flambeau.ir import reference
from flambeau.ir.graph import Aval
from flambeau.ir.primitive import PRIMITIVES, primitive

P = PRIMITIVES


def _grown(x: Aval, pads: tuple, sign: int) -> Aval:
    lead = x.ndim - len(pads)
    shape = tuple(
        n + sign * (lo + hi) for n, (lo, hi) in zip(x.shape[lead:], pads, strict=True)
    )
    return Aval((*x.shape[:lead], *shape), x.dtype)


primitive(
    "border",
    "the last dimensions surrounded by their own values, by a mode",
    rule=lambda x, *, pads, mode: _grown(x, pads, 1),
    reference=lambda x, *, pads, mode: reference.pad(x, pads, mode),
    gradient=lambda g, x, *, out, pads, mode: P["unborder"](g, pads=pads, mode=mode),
)
primitive(
    "unborder",
    "borders added back to where their values came from: the transpose of border",
    rule=lambda g, *, pads, mode: _grown(g, pads, -1),
    reference=lambda g, *, pads, mode: reference.pad_gradient(g, pads, mode),
    gradient=lambda h, g, *, out, pads, mode: P["border"](h, pads=pads, mode=mode),
)
