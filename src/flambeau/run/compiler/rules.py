"""How primitives that are not pointwise become views, maps and reductions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flambeau import dtypes
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering, scalar
from flambeau.run.compiler.nodes import Literal, Number, Ref
from flambeau.run.compiler.sizes import Size, has_size, whole
from flambeau.run.compiler.views import View, contiguous

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand

# ------------------------------------------------------------------------------- views


def spread(x: Operand) -> Ref:
    """The operand as values in memory, if it is not a mere number."""
    if x.__class__ is not Ref:
        raise Refused("a view of a number")
    return x


@lowering("reshape")
def _reshape(low: Lowering, e: Entry, x: Operand) -> Operand:
    if x.__class__ is Literal:
        return x
    x = spread(x)
    shape = e.attrs["shape"]
    view = x.view.reshape(shape)
    if view is None:
        dense = low.dense(x, x.view.shape, element(e.in_avals[0].dtype))
        # In order, so that no sizes need to be known to divide each other.
        return Ref(dense.slot, contiguous(shape)._replace(offset=dense.view.offset))
    return Ref(x.slot, view)


@lowering("permute")
def _permute(low: Lowering, e: Entry, x: Operand) -> Operand:
    return x if x.__class__ is Literal else Ref(x.slot, spread(x).view.permute(e.attrs["dims"]))


@lowering("broadcast")
def _broadcast(low: Lowering, e: Entry, x: Operand) -> Operand:
    if x.__class__ is Literal:
        return x
    return Ref(x.slot, spread(x).view.broadcast(e.attrs["shape"]))


@lowering("flip")
def _flip(low: Lowering, e: Entry, x: Operand) -> Operand:
    return x if x.__class__ is Literal else Ref(x.slot, spread(x).view.flip(e.attrs["dims"]))


def _starts(low: Lowering, starts: tuple) -> tuple:
    found: list[Any] = []
    for s in starts:
        if s.__class__ is Literal:
            found.append(whole(s.value))
        elif s.__class__ is Number:
            found.append((low.number(s.index, "i").index,))
        else:
            raise Refused("a start that is a tensor")
    return tuple(found)


@lowering("slice")
def _slice(low: Lowering, e: Entry, x: Operand, *starts: Operand) -> Operand:
    if x.__class__ is Literal:
        return x
    a = e.attrs
    view = spread(x).view
    if math.prod(e.out_avals[0].shape) == 0:
        return Ref(x.slot, contiguous(e.out_avals[0].shape))
    return Ref(x.slot, view.slice(a["dims"], _starts(low, starts), a["sizes"], a["steps"]))


@lowering("detach clone rebase shared_gradient tied")
def _same(low: Lowering, e: Entry, x: Operand, *others: Operand) -> Operand:
    return x


@lowering("full")
def _full(low: Lowering, e: Entry, value: Operand) -> Operand:
    out = e.out_avals[0]
    if value.__class__ is Literal:
        return Literal(out.dtype.numpy.type(value.value).item())
    if value.__class__ is Number:
        el = element(out.dtype)
        one = low.map("copy", [scalar(low, value, el)], (), el)
        return Ref(one.slot, one.view.broadcast(out.shape))
    raise Refused("full of a tensor")


@lowering("iota")
def _iota(low: Lowering, e: Entry) -> Operand:

    shape, dim = e.attrs["shape"], e.attrs["dim"]
    line = low.places(shape[dim], e.attrs["dtype"].numpy)
    strides = tuple([1 if d == dim else 0 for d in range(len(shape))])
    return Ref(line.slot, View(shape, strides))


@lowering("cast")
def _cast(low: Lowering, e: Entry, x: Operand) -> Operand:
    source, target = element(e.in_avals[0].dtype), element(e.out_avals[0].dtype)
    if source is target:
        return x
    if x.__class__ is Literal:
        import numpy as np

        from flambeau.ir.pointwise import cast

        return Literal(cast(np.asarray(x.value, e.in_avals[0].dtype.numpy), **e.attrs).item())
    return low.map("cast", [x], e.out_avals[0].shape, source, target)


# ------------------------------------------------------------------- parts of a buffer


def _filled(low: Lowering, shape: tuple[int, ...], value: Operand, el: Element) -> int:
    return low.map("copy", [value], shape, el).slot


def _part(low: Lowering, slot: int, view: View, x: Operand, el: Element, fill: bool) -> None:
    """Writes ``x`` to a part of a buffer (after what filled it)."""
    if view.size == 0:
        return
    if x.__class__ is Ref:
        x = Ref(x.slot, x.view.broadcast(view.shape))
    low.map("copy", [x], view.shape, el, target=(slot, view))
    if fill:
        low.nodes[-1].after = (slot,)


@lowering("concat")
def _concat(low: Lowering, e: Entry, *xs: Operand) -> Ref:
    out, dim = e.out_avals[0], e.attrs["dim"]
    el = element(out.dtype)
    slot = low.fresh(math.prod(out.shape), el)
    whole = contiguous(out.shape)
    start = 0
    for x, aval in zip(xs, e.in_avals, strict=True):
        n = aval.shape[dim]
        _part(low, slot, whole.slice((dim,), (start,), (n,), (1,)), x, el, False)
        start += n
    return Ref(slot, whole)


@lowering("unslice")
def _unslice(low: Lowering, e: Entry, x: Operand, *starts: Operand) -> Ref:
    out, a = e.out_avals[0], e.attrs
    el = element(out.dtype)
    slot = _filled(low, out.shape, Literal(0), el)
    sizes = tuple([e.in_avals[0].shape[d] for d in a["dims"]])
    whole = contiguous(out.shape)
    if 0 not in e.in_avals[0].shape:
        view = whole.slice(a["dims"], _starts(low, starts), sizes, a["steps"])
        _part(low, slot, view, x, el, True)
    return Ref(slot, whole)


@lowering("pad")
def _pad(low: Lowering, e: Entry, x: Operand, value: Operand) -> Ref:
    out, pads = e.out_avals[0], e.attrs["pads"]
    el = element(out.dtype)
    dims = tuple(range(len(pads)))
    inner = e.in_avals[0].shape
    crop = tuple([n + min(lo, 0) + min(hi, 0) for n, (lo, hi) in zip(inner, pads, strict=True)])
    if any(n < 0 for n in crop) or value.__class__ is Ref:
        raise Refused("pads of more than there is")
    ones = (1,) * len(dims)
    if x.__class__ is Ref and 0 not in crop:
        starts = tuple([max(-lo, 0) for lo, _ in pads])
        x = Ref(x.slot, x.view.slice(dims, starts, crop, ones))
    whole = contiguous(out.shape)
    if all(lo <= 0 and hi <= 0 for lo, hi in pads) and x.__class__ is Ref:
        return x
    slot = _filled(low, out.shape, scalar(low, value, el), el)
    if 0 not in crop:
        place = whole.slice(dims, tuple([max(lo, 0) for lo, _ in pads]), crop, ones)
        _part(low, slot, place, x, el, True)
    return Ref(slot, whole)


def _strided(low: Lowering, base: Ref, offset: Operand, e: Entry) -> View:
    start = _starts(low, (offset,))[0]
    view = View(e.attrs["shape"], e.attrs["strides"], base.view.offset)
    if isinstance(start, tuple):
        return view._replace(moving=((start[0], 1),))
    return view._replace(offset=view.offset + start)


@lowering("as_strided")
def _as_strided(low: Lowering, e: Entry, x: Operand, offset: Operand) -> Operand:
    if x.__class__ is Literal:
        return x
    base = low.dense(x, e.in_avals[0].shape, element(e.in_avals[0].dtype))
    if math.prod(e.attrs["shape"]) == 0:
        return Ref(base.slot, contiguous(e.attrs["shape"]))
    return Ref(base.slot, _strided(low, base, offset, e))


@lowering("write_strided")
def _write_strided(low: Lowering, e: Entry, base: Operand, x: Operand, offset: Operand) -> Ref:
    from flambeau.ir.shape import _overlaps

    if _overlaps(e.attrs["shape"], e.attrs["strides"]):
        raise Refused("a view that overlaps itself")
    out = e.out_avals[0]
    el = element(out.dtype)
    copy = low.map("copy", [base], out.shape, el)
    _part(low, copy.slot, _strided(low, copy, offset, e), x, el, True)
    return copy


@lowering("unstrided")
def _unstrided(low: Lowering, e: Entry, x: Operand, offset: Operand) -> Ref:
    from flambeau.ir.shape import _overlaps

    out = e.out_avals[0]
    el = element(out.dtype)
    if _overlaps(e.attrs["shape"], e.attrs["strides"]):
        from flambeau.run.compiler.unstriding import overlapping

        return overlapping(low, e, values(low, x, e.attrs["shape"], el), offset)
    whole = Ref(_filled(low, out.shape, Literal(0), el), contiguous(out.shape))
    _part(low, whole.slot, _strided(low, whole, offset, e), x, el, True)
    return whole


# -------------------------------------------------------------------------- reductions


def values(low: Lowering, x: Operand, shape: tuple[int, ...], el: Element) -> Ref:
    """The operand as a Ref of that shape."""
    if x.__class__ is Ref:
        return Ref(x.slot, x.view.broadcast(shape))
    return low.map("copy", [scalar(low, x, el)], shape, el)


@lowering("sum amax amin any all prod")
def _reduction(low: Lowering, e: Entry, x: Operand) -> Ref:
    aval, out = e.in_avals[0], e.out_avals[0]
    name = e.prim.name
    dims = tuple([d % len(aval.shape) for d in e.attrs["dims"]]) if aval.shape else ()
    el = element(aval.dtype)
    if 0 in aval.shape and name in ("amax", "amin"):
        raise Refused("of nothing")
    if name in ("any", "all"):
        truth = element(dtypes.bool_)
        if el.kind != "b":
            x = low.map("cast", [x], aval.shape, el, truth)
        el = truth
        name = "amax" if name == "any" else "amin"
    elif el.kind == "b" and name == "sum":
        name = "amax"
    elif el.kind == "b" and name == "prod":
        name = "amin"
    x = values(low, x, aval.shape, el)
    if not dims:
        dims = tuple(range(len(aval.shape)))
        if e.attrs["dims"] == () and aval.shape:
            # NumPy reduces over no axes then: the values themselves.
            return x
    wide = el
    if el.kind == "f" and el.size == 2:
        wide = element(dtypes.float32)
        x = low.map("cast", [x], aval.shape, el, wide)
    found = low.reduce(name, x, dims, wide)
    if wide is not el:
        found = low.map("cast", [found], found.view.shape, wide, el)
    return Ref(found.slot, found.view.reshape(out.shape) or _impossible())


def _impossible() -> View:
    raise AssertionError("a contiguous result always has its shape with ones")


def _kept(x: Ref, shape: tuple[int, ...], dims: tuple[int, ...]) -> Ref:
    """A reduction's result with its dimensions back, of size 1."""
    view = x.view.reshape(tuple([1 if d in dims else n for d, n in enumerate(shape)]))
    return Ref(x.slot, view or _impossible())


def number_of(n: int) -> Literal:
    """A count as an operand of floats."""
    return Literal(n if n.__class__ is Size else float(n))


class Rows:
    """Pointwise steps and reductions over ``dims`` of one shape, as composites are written.

    16-bit values are widened first and rounded last.
    """

    def __init__(self, low: Lowering, e: Entry, dims: tuple[int, ...], of: int = 0) -> None:
        self.low = low
        self.shape = e.in_avals[of].shape
        self.dims = tuple([d % len(self.shape) for d in dims])
        self.narrow = element(e.in_avals[of].dtype)
        if self.narrow.kind != "f":
            raise Refused("of integers")
        wide = self.narrow.size == 2
        self.el = element(dtypes.float32) if wide else self.narrow
        if not self.shape or 0 in self.shape:
            raise Refused("of a number, or nothing")

    @property
    def count(self) -> Literal:
        """How many values each reduction takes."""
        return number_of(math.prod(self.shape[d] for d in self.dims))

    def take(self, x: Operand) -> Operand:
        if self.narrow is self.el or x.__class__ is not Ref:
            return x
        return self.low.map("cast", [x], x.view.shape, self.narrow, self.el)

    def give(self, x: Ref) -> Ref:
        if self.narrow is self.el:
            return x
        return self.low.map("cast", [x], x.view.shape, self.el, self.narrow)

    def do(self, op: str, *xs: Any) -> Ref:
        from flambeau.ir.primitive import broadcast_shapes

        shape = broadcast_shapes(*[x.view.shape for x in xs if x.__class__ is Ref])
        return self.low.map(op, list(xs), shape, self.el)

    def total(self, op: str, x: Operand) -> Ref:
        full = values(self.low, x, self.shape, self.el)
        return _kept(self.low.reduce(op, full, self.dims, self.el), self.shape, self.dims)


@lowering("softmax")
def _softmax(low: Lowering, e: Entry, x: Operand) -> Ref:
    r = Rows(low, e, (e.attrs["dim"],) if e.in_avals[0].shape else ())
    x = r.take(x)
    shifted = r.do("sub", values(low, x, r.shape, r.el), r.total("amax", x))
    power = r.do("exp", shifted)
    return r.give(r.do("div", power, r.total("sum", power)))


@lowering("log_softmax")
def _log_softmax(low: Lowering, e: Entry, x: Operand) -> Ref:
    r = Rows(low, e, (e.attrs["dim"],) if e.in_avals[0].shape else ())
    x = r.take(x)
    shifted = r.do("sub", values(low, x, r.shape, r.el), r.total("amax", x))
    total = r.do("log", r.total("sum", r.do("exp", shifted)))
    return r.give(r.do("sub", shifted, total))


@lowering("softmax_gradient")
def _softmax_gradient(low: Lowering, e: Entry, g: Operand, y: Operand) -> Ref:
    r = Rows(low, e, (e.attrs["dim"],) if e.in_avals[0].shape else ())
    g, y = r.take(g), r.take(y)
    product = r.do("mul", values(low, g, r.shape, r.el), y)
    return r.give(r.do("sub", product, r.do("mul", y, r.total("sum", product))))


@lowering("log_softmax_gradient")
def _log_softmax_gradient(low: Lowering, e: Entry, g: Operand, y: Operand) -> Ref:
    r = Rows(low, e, (e.attrs["dim"],) if e.in_avals[0].shape else ())
    g, y = r.take(g), r.take(y)
    spent = r.do("mul", r.do("exp", values(low, y, r.shape, r.el)), r.total("sum", g))
    return r.give(r.do("sub", g, spent))


@lowering("standardize")
def _standardize(low: Lowering, e: Entry, x: Operand, eps: Operand) -> list[Ref]:
    r = Rows(low, e, e.attrs["dims"])
    x = values(low, r.take(x), r.shape, r.el)
    n = r.count
    mean = r.do("div", r.total("sum", x), n)
    gap = r.do("sub", x, mean)
    variance = r.do("div", r.total("sum", r.do("square", gap)), n)
    scale = r.do("rsqrt", r.do("add", variance, scalar(low, eps, r.el)))
    return [r.give(v) for v in (r.do("mul", gap, scale), mean, variance)]


@lowering("standardize_gradient")
def _standardize_gradient(
    low: Lowering, e: Entry, g: Operand, y: Operand, variance: Operand, eps: Operand
) -> Ref:
    r = Rows(low, e, e.attrs["dims"])
    g, y, variance = r.take(g), r.take(y), r.take(variance)
    g, y = values(low, g, r.shape, r.el), values(low, y, r.shape, r.el)
    n = r.count
    slope = r.do("div", r.total("sum", r.do("mul", g, y)), n)
    mean = r.do("div", r.total("sum", g), n)
    rest = r.do("sub", g, r.do("add", r.do("mul", y, slope), mean))
    if variance.__class__ is not Ref:
        raise Refused("a variance that is a number")
    scale = r.do("rsqrt", r.do("add", variance, scalar(low, eps, r.el)))
    return r.give(r.do("mul", rest, scale))


@lowering("binary_cross_entropy")
def _binary_cross_entropy(low: Lowering, e: Entry, x: Operand, y: Operand) -> Ref:
    out = e.out_avals[0]
    el = element(out.dtype)
    if el.size == 2 or el.kind != "f" or x.__class__ is not Ref:
        raise Refused("such values")
    truth = element(dtypes.bool_)
    shape = e.in_avals[0].shape
    low_end = low.map("ge", [x, Literal(0.0)], shape, el, truth)
    high_end = low.map("le", [x, Literal(1.0)], shape, el, truth)
    inside = low.map("and", [low_end, high_end], shape, truth)
    low.guard(low.map("not", [inside], shape, truth))
    return low.map("binary_cross_entropy", [x, scalar(low, y, el)], out.shape, el)


@lowering("where")
def _where(low: Lowering, e: Entry, condition: Operand, x: Operand, y: Operand) -> Ref:
    out = e.out_avals[0]
    el = element(out.dtype)
    if e.in_avals[0].dtype is not dtypes.bool_:
        raise Refused("a condition that is not bool")
    given = [scalar(low, o, el) for o in (x, y)]
    if condition.__class__ is not Ref:
        return low.map("copy", [given[0] if condition.value else given[1]], out.shape, el)
    return low.map("where", [condition, *given], out.shape, el)


# ---------------------------------------------------------------------- kernels of their own

# Right operands of more elements than this are not copied to turn them.
TURNED = 1 << 20


@lowering("matmul")
def _matmul(low: Lowering, e: Entry, a: Operand, b: Operand) -> Ref:
    from flambeau.run.compiler.gemm import Product, folded

    narrow = el = element(e.out_avals[0].dtype)
    if el.kind != "f":
        raise Refused("products of this dtype")
    if el.size == 2:
        el = element(dtypes.float32)
        a, b = (
            low.map("cast", [x], aval.shape, narrow, el)
            for x, aval in zip((a, b), e.in_avals, strict=True)
        )
    out = e.out_avals[0].shape
    m, n, k = out[-2], out[-1], e.in_avals[0].shape[-1]
    if 0 in (m, n, k) or 0 in out:
        raise Refused("an empty product")
    batch = math.prod(out[:-2])
    sides = []
    for x, aval in ((a, e.in_avals[0]), (b, e.in_avals[1])):
        x = values(low, x, aval.shape, el)
        rows = aval.shape[-2:]
        view = x.view.broadcast((*out[:-2], *rows))
        flat = None if view.moving else _flat_batch(view, batch)
        if flat is None:
            copy = low.map("copy", [x], aval.shape, el)
            view = copy.view.broadcast((*out[:-2], *rows))
            flat = _flat_batch(view, batch)
            if flat is None:
                copy = low.map("copy", [Ref(copy.slot, view)], view.shape, el)
                flat = _flat_batch(copy.view, batch)
            x = copy
        sides.append(Ref(x.slot, flat))
    sides[1] = turned(low, sides[1], out[:-2], el)
    (sa, sb) = (s.view.strides for s in sides)
    spec = Product(m, n, k, batch, sa, sb, (m * n, n, 1), el.memory)
    found = low.stages("matmul", folded(spec), sides, [out], [el])[0]
    return found if narrow is el else low.map("cast", [found], out, el, narrow)


def turned(low: Lowering, b: Ref, stack: tuple[int, ...], el: Element) -> Ref:
    """The right operand, its rows laid out in order once it has been read often across them.

    A recurrent layer multiplies by the same transposed weights at each step: a copy is cheaper than
    packing them each time.
    """
    _, across, along = b.view.strides
    if stack or along == 1 or across != 1 or has_size(b.view.shape) or b.view.size > TURNED:
        return b
    low.read_across[b] = low.read_across.get(b, 0) + 1
    if low.read_across[b] < 3:
        return b
    found = low.copies.get(b)
    if found is None:
        found = low.copies[b] = low.map("copy", [b], b.view.shape, el)
    return found


def _flat_batch(view: View, batch: int) -> View | None:
    """The view with one leading dimension for all the stacked ones."""
    lead = View(view.shape[:-2], view.strides[:-2]).reshape((batch,))
    if lead is None:
        return None
    return View((batch, *view.shape[-2:]), (*lead.strides, *view.strides[-2:]), view.offset)
