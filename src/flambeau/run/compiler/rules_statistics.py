"""Variances, norms, positions of extrema: taken apart into maps and reductions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.nodes import Literal, Ref
from flambeau.run.compiler.rules import Rows, number_of, values
from flambeau.run.compiler.views import View

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.nodes import Operand


def _rows(low: Lowering, e: Entry) -> Rows:
    dims = e.attrs["dims"]
    return Rows(low, e, dims if dims else tuple(range(len(e.in_avals[0].shape))))


def _given(r: Rows, e: Entry, x: Ref) -> Ref:
    """A reduction's result in the shape and dtype that is wanted."""
    x = r.give(x)
    view = x.view.reshape(e.out_avals[0].shape)
    assert view is not None
    return Ref(x.slot, view)


def _first(low: Lowering, x: Ref, dims: tuple[int, ...], depth: int = 6) -> Ref:
    """The first of the values along ``dims``, which have size 1 then.

    What was mapped from others is computed again from theirs: read from memory, it would have to
    be stored there.
    """
    made = next((n for n in reversed(low.nodes) if n.slot == x.slot and n.kind == "map"), None)
    if made is None or made.target or not depth or not x.view.is_whole(math.prod(made.shape)):
        shape = tuple([1 if d in dims else n for d, n in enumerate(x.view.shape)])
        return Ref(x.slot, x.view._replace(shape=shape))
    if made.shape != x.view.shape:
        return _first(low, x, dims, 0)
    operands = [_first(low, o, dims, depth - 1) if isinstance(o, Ref) else o for o in made.operands]
    shape = tuple([1 if d in dims else n for d, n in enumerate(made.shape)])
    return low.map(made.op, operands, shape, made.compute, made.result, made.attrs)


def _variance(r: Rows, e: Entry, x: Operand) -> Ref:
    """From the mean of the distances to the first value: of equal ones it is exactly 0."""
    n = math.prod(r.shape[d] for d in r.dims)
    x = values(r.low, r.take(x), r.shape, r.el)
    first = _first(r.low, x, r.dims)
    shift = r.do("div", r.total("sum", r.do("sub", x, first)), number_of(n))
    gap = r.do("sub", x, r.do("add", first, shift))
    freedom = max(n - e.attrs["correction"], 0)
    return r.do("div", r.total("sum", r.do("square", gap)), number_of(freedom))


@lowering("var")
def _var(low: Lowering, e: Entry, x: Operand) -> Ref:
    r = _rows(low, e)
    return _given(r, e, _variance(r, e, x))


@lowering("std")
def _std(low: Lowering, e: Entry, x: Operand) -> Ref:
    r = _rows(low, e)
    return _given(r, e, r.do("sqrt", _variance(r, e, x)))


@lowering("vector_norm")
def _vector_norm(low: Lowering, e: Entry, x: Operand) -> Ref:
    r = _rows(low, e)
    p = e.attrs["p"]
    x = r.take(x)
    if p == 2:
        x = values(low, x, r.shape, r.el)
        wide = element(dtypes.float64)
        if r.el is not wide:
            # In double, the sum of squares does not overflow.
            x = low.map("cast", [x], r.shape, r.el, wide)
        square = low.map("square", [x], r.shape, wide)
        total = low.reduce("sum", square, r.dims, wide)
        root = low.map("sqrt", [total], total.view.shape, wide)
        if r.el is not wide:
            root = low.map("cast", [root], root.view.shape, wide, r.el)
        return _given(r, e, root)
    size = r.do("abs", values(low, x, r.shape, r.el))
    if p == 1:
        return _given(r, e, r.total("sum", size))
    if math.isinf(p):
        return _given(r, e, r.total("amax" if p > 0 else "amin", size))
    raise Refused("a norm of this order")


@lowering("argmax argmin")
def _position(low: Lowering, e: Entry, x: Operand) -> Ref:
    """The least position of those that hold the extremum; a NaN is more extreme than any number."""
    aval, out = e.in_avals[0], e.out_avals[0]
    dim = e.attrs["dim"]
    el = element(aval.dtype)
    if not aval.shape or 0 in aval.shape or el.kind == "b":
        raise Refused("of a number, nothing or truths")
    if dim is None:
        x = low.dense(values(low, x, aval.shape, el), aval.shape, el)
        shape, dim = (math.prod(aval.shape),), 0
        x = Ref(x.slot, View(shape, (1,), x.view.offset))
    else:
        shape, dim = aval.shape, dim % len(aval.shape)
        x = values(low, x, shape, el)
    n = shape[dim]
    best = low.reduce("amax" if e.prim.name == "argmax" else "amin", x, (dim,), el)
    kept = tuple([1 if d == dim else m for d, m in enumerate(shape)])
    view = best.view.reshape(kept)
    assert view is not None
    truth, whole = element(dtypes.bool_), element(dtypes.int64)
    found = low.map("eq", [x, Ref(best.slot, view)], shape, el, truth)
    if el.kind == "f":
        nan = low.map("ne", [x, x], shape, el, truth)
        found = low.map("or", [found, nan], shape, truth)
    line = low.places(n)
    places = Ref(line.slot, View(shape, tuple([int(d == dim) for d in range(len(shape))])))
    place = low.map("where", [found, places, Literal(n)], shape, whole)
    first = low.reduce("amin", place, (dim,), whole)
    view = first.view.reshape(out.shape)
    assert view is not None
    return Ref(first.slot, view)


@lowering("logsumexp")
def _logsumexp(low: Lowering, e: Entry, x: Operand) -> Ref:
    r = _rows(low, e)
    x = values(low, r.take(x), r.shape, r.el)
    top = r.total("amax", x)
    truth = element(dtypes.bool_)
    shape = top.view.shape
    # An infinite maximum is not subtracted: infinity less itself is no number.
    size = low.map("abs", [top], shape, r.el)
    infinite = low.map("eq", [size, Literal(math.inf)], shape, r.el, truth)
    top = low.map("where", [infinite, Literal(0.0), top], shape, r.el)
    total = r.total("sum", r.do("exp", r.do("sub", x, top)))
    return _given(r, e, r.do("add", r.do("log", total), top))
