"""The regularised incomplete gamma functions as vector instructions, float32 in float64.

The series (DLMF 8.7.1) below x = a + 1, the continued fraction (DLMF 8.9.2) above, as in
``ir/reference/gamma.py``; a vector goes on until its last lane has converged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering, scalar
from flambeau.run.compiler.pointwise import Lanes, rule
from flambeau.run.compiler.pointwise_special import Wide, _lgamma_positive
from flambeau.run.compiler.vector_math_base import Lanes as Arithmetic

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand, Ref

# Steps at most, each of two terms of the series or one of the fraction.
_STEPS = "5000"
# What a step may still add, relative: the terms left add up to at most some thousands of it.
_DONE = 1e-14
_TINY = 1e-300


def _series(v: Wide, a: str, x: str, needed: str) -> str:
    """The sum of x**n / ((a + 1) ... (a + n)) over n >= 0."""
    one = v.number(1.0)
    carried = [(v.ty, a), (v.ty, one), (v.ty, one), ("i1", v.any(needed))]
    with v.f.loop("0", _STEPS, carried=carried, while_last=True) as loop:
        n, term, total, _ = loop.carried
        first, second = v.add(n, 1.0), v.add(n, 2.0)
        # Both terms with one division.
        step = v.div(v.mul(term, x), v.mul(first, second))
        last = v.mul(step, x)
        total = v.add(v.fma(step, second, total), last)
        going = v.both(needed, v.compare("ogt", last, v.mul(total, _DONE)))
        loop.carry(second, last, total, v.any(going))
    return loop.result[2]


def _fraction(v: Wide, a: str, x: str, needed: str) -> str:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)), by Lentz's method."""
    b = v.sub(v.add(x, 1.0), a)
    d = v.div(1.0, b)
    i = v.number(0.0)
    c = v.number(1 / _TINY)
    carried = [(v.ty, i), (v.ty, b), (v.ty, c), (v.ty, d), (v.ty, d), ("i1", v.any(needed))]
    with v.f.loop("0", _STEPS, carried=carried, while_last=True) as loop:
        i, b, c, d, h, _ = loop.carried
        i, b = v.add(i, 1.0), v.add(b, 2.0)
        weight = v.mul(i, v.sub(a, i))

        def apart(y: str) -> str:
            return v.select(v.compare("olt", v.abs(y), _TINY), _TINY, y)

        d = v.div(1.0, apart(v.fma(weight, d, b)))
        c = apart(v.add(b, v.div(weight, c)))
        step = v.mul(c, d)
        h = v.mul(h, step)
        going = v.both(needed, v.compare("ogt", v.abs(v.sub(step, 1.0)), _DONE))
        loop.carry(i, b, c, d, h, v.any(going))
    return loop.result[4]


def _incomplete(v: Wide, a: str, x: str, upper: bool) -> str:
    def between(y: str) -> str:
        return v.both(v.compare("ogt", y, 0.0), v.compare("olt", y, math.inf))

    plain = v.both(between(a), between(x))
    b, y = v.select(plain, a, 1.0), v.select(plain, x, 1.0)
    beyond = v.add(b, 1.0)
    low = v.compare("olt", y, beyond)
    log = v.sub(v.fma(b, v.apply("log", y), v.neg(y)), _lgamma_positive(v, beyond))
    factor = v.apply("exp", log)
    p = v.mul(_series(v, b, y, low), factor)
    high = v.compare("oge", y, beyond)
    q = v.where_needed(
        high, v.sub(1.0, p), lambda: v.mul(v.mul(_fraction(v, b, y, high), factor), b)
    )
    found = q if upper else v.select(high, v.sub(1.0, q), p)
    none, all_ = (1.0, 0.0) if upper else (0.0, 1.0)
    found = v.select(plain, found, math.nan)

    def finite(y: str) -> str:
        return v.both(v.compare("oge", y, 0.0), v.compare("olt", y, math.inf))

    for lowest, other, value in (
        (v.compare("oeq", x, 0.0), v.compare("ogt", a, 0.0), none),
        (v.compare("oeq", a, 0.0), v.compare("ogt", x, 0.0), all_),
        (v.compare("oeq", x, math.inf), finite(a), all_),
        (v.compare("oeq", a, math.inf), finite(x), none),
    ):
        found = v.select(v.both(lowest, other), value, found)
    return found


def _rule(e: Lanes, xs: list[str], el: Element, upper: bool) -> str:
    v = Wide(e)
    found = _incomplete(v, v.widen(xs[0]), v.widen(xs[1]), upper)
    return Arithmetic(e.f, e.lanes, "float").doubles().narrow(found)


@rule("igamma", "f")
def _igamma(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return _rule(e, xs, el, upper=False)


@rule("igammac", "f")
def _igammac(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return _rule(e, xs, el, upper=True)


@lowering("igamma igammac")
def _lowered(low: Lowering, e: Entry, a: Operand, x: Operand) -> Ref:
    out = e.out_avals[0]
    el = element(out.dtype)
    if el.register != "float" or {y.dtype for y in e.in_avals} - {None, out.dtype}:
        raise Refused("of this dtype")
    return low.map(e.prim.name, [scalar(low, y, el) for y in (a, x)], out.shape, el)
