"""Convolutions whose sizes are known only when they run: products with the matrix of windows.

Kernels of fixed sizes are faster, but take LLVM longer than a whole step for each new size. Windows
are copied, tap by tap, from the padded image [Chellapilla, Puri and Simard 2006].
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.elements import element
from flambeau.run.compiler.gemm_spec import BYTES, Product
from flambeau.run.compiler.lower import Lowering, Refused, Unsized
from flambeau.run.compiler.nodes import Literal, Ref
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.views import View, contiguous, row_major

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand

__all__ = ["convolution", "input_gradient", "weight_gradient"]

Shape = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
# Pads, strides and dilations.
How = tuple[Pairs, Shape, Shape]

# Channels of a group, on both sides, from which on it is a product; so many groups at most.
_WIDE, _MOST = 4, 32


def _element(e: Entry) -> Element:
    el = element(e.out_avals[0].dtype)
    if el.memory not in BYTES:
        raise Refused("convolutions of this dtype")
    return el


def _bordered(low: Lowering, x: Ref, pads: Pairs, el: Element) -> Ref:
    """The spatial axes with zeros around them; negative pads cut off."""
    shape = x.view.shape
    axes = tuple(range(2, len(shape)))
    ones = (1,) * len(axes)
    crop = tuple([max(-lo, 0) for lo, _ in pads])
    kept = tuple([n + min(lo, 0) + min(hi, 0) for n, (lo, hi) in zip(shape[2:], pads, strict=True)])
    inside = Ref(x.slot, x.view.slice(axes, crop, kept, ones))
    if all(lo <= 0 and hi <= 0 for lo, hi in pads):
        return inside
    whole = (
        *shape[:2],
        *[n + max(lo, 0) + max(hi, 0) for n, (lo, hi) in zip(kept, pads, strict=True)],
    )
    starts = tuple([max(lo, 0) for lo, _ in pads])
    return _placed(low, inside, whole, contiguous(whole).slice(axes, starts, kept, ones), el)


def _placed(low: Lowering, x: Ref, whole: Shape, place: View, el: Element) -> Ref:
    """Zeros but for a part, which is a copy."""
    found = low.map("copy", [Literal(0)], whole, el)
    low.map("copy", [x], place.shape, el, target=(found.slot, place))
    low.nodes[-1].after = (found.slot,)
    return found


def _windows(
    low: Lowering, x: Ref, kernel: Shape, out: Shape, stride: Shape, dilation: Shape, el: Element
) -> Ref:
    """``w[n, (c, k), p] = x[n, c, stride p + dilation k]`` of a bordered image."""
    view = _across(x.view, kernel, out, stride, dilation)
    found = low.map("copy", [Ref(x.slot, view)], view.shape, el)
    n, channels = view.shape[:2]
    return Ref(found.slot, contiguous((n, channels * prod(kernel), prod(out))))


def _across(x: View, kernel: Shape, out: Shape, stride: Shape, dilation: Shape) -> View:
    """The windows of a bordered image where they lie: samples, channels, taps, places."""
    steps = x.strides[2:]
    taps = [s * d for s, d in zip(steps, dilation, strict=True)]
    places = [s * d for s, d in zip(steps, stride, strict=True)]
    strides = (*x.strides[:2], *taps, *places)
    return x._replace(shape=(*x.shape[:2], *kernel, *out), strides=strides)


def _product(
    low: Lowering, a: Ref, b: Ref, sizes: tuple[int, int, int, int], el: Element
) -> Ref:  # fmt: skip
    """Stacked products of (m, k) by (k, n); ``sizes`` are batch, m, n, k."""
    batch, m, n, k = sizes
    sides = [a.view.strides, b.view.strides]
    spec = Product(m, n, k, batch, sides[0], sides[1], (m * n, n, 1), el.memory)
    return low.stages("matmul", spec, [a, b], [(batch, m, n)], [el])[0]


def _forward(low: Lowering, x: Ref, w: Ref, out: Shape, how: How, groups: int, el: Element) -> Ref:
    """``out`` is the result's shape; ``w`` dense (O, C / groups, *kernel)."""
    pads, stride, dilation = how
    kernel = w.view.shape[2:]
    if groups > 1:
        if not _written_out(groups, w.view.shape):
            return _summed(low, x, w, out, how, groups, el)
        each = [
            _forward(low, a, b, (out[0], out[1] // groups, *out[2:]), how, 1, el)
            for a, b in zip(_parts(x, 1, groups), _parts(w, 0, groups), strict=True)
        ]
        return _joined(low, each, 1, el)
    cols = _windows(low, _bordered(low, x, pads, el), kernel, out[2:], stride, dilation, el)
    depth = w.view.shape[1] * prod(kernel)
    weights = Ref(w.slot, View((out[0], out[1], depth), (0, depth, 1), w.view.offset))
    found = _product(low, weights, cols, (out[0], out[1], prod(out[2:]), depth), el)
    return Ref(found.slot, contiguous(out))


def _written_out(groups: int, w: Shape) -> bool:
    """Whether each group is a product of its own; of few channels they are sums in one nest."""
    wide = min(w[0] // groups, w[1]) >= _WIDE
    if wide and groups > _MOST:
        raise Unsized
    return wide


def _parts(x: Ref, axis: int, groups: int) -> list[Ref]:
    """The groups, side by side along an axis."""
    n = x.view.shape[axis] // groups
    starts = range(0, n * groups, n)
    return [Ref(x.slot, x.view.slice((axis,), (start,), (n,), (1,))) for start in starts]


def _joined(low: Lowering, parts: list[Ref], axis: int, el: Element) -> Ref:
    """The groups' results in one array."""
    shape = list(parts[0].view.shape)
    n = shape[axis]
    shape[axis] = n * len(parts)
    found = low.map("copy", [Literal(0)], tuple(shape), el)
    whole = contiguous(tuple(shape))
    for k, part in enumerate(parts):
        place = whole.slice((axis,), (k * n,), (n,), (1,))
        low.map("copy", [part], place.shape, el, target=(found.slot, place))
        low.nodes[-1].after = (found.slot,)
    return found


def _grouped(x: View, groups: int, outputs: int) -> View:
    """Windows with axes for the groups and, all alike, for the outputs of each."""
    channels = x.shape[1] // groups
    return x._replace(
        shape=(x.shape[0], groups, outputs, channels, *x.shape[2:]),
        strides=(x.strides[0], x.strides[1] * channels, 0, x.strides[1], *x.strides[2:]),
    )


def _summed(low: Lowering, x: Ref, w: Ref, out: Shape, how: How, groups: int, el: Element) -> Ref:
    """Groups of few channels: no windows are copied."""
    pads, stride, dilation = how
    kernel, per = w.view.shape[2:], out[1] // groups
    x = _bordered(low, x, pads, el)
    given = _grouped(_across(x.view, kernel, out[2:], stride, dilation), groups, per)
    size, steps = w.view.shape, w.view.strides
    weights = w.view._replace(
        shape=(1, groups, per, *size[1:], *(1,) * len(kernel)),
        strides=(0, per * steps[0], *steps, *(0,) * len(kernel)),
    )
    product = low.map("mul", [Ref(x.slot, given), Ref(w.slot, weights)], given.shape, el)
    total = low.reduce("sum", product, range(3, 4 + len(kernel)), el)
    return Ref(total.slot, contiguous(out))


def convolution(low: Lowering, e: Entry, x: Operand, w: Operand) -> Ref:
    """Forward."""
    el = _element(e)
    if any(lo < 0 or hi < 0 for lo, hi in e.attrs["padding"]):
        raise Unsized
    x, w = values(low, x, e.in_avals[0].shape, el), low.dense(w, e.in_avals[1].shape, el)
    how = (e.attrs["padding"], e.attrs["stride"], e.attrs["dilation"])
    return _forward(low, x, w, e.out_avals[0].shape, how, e.attrs["groups"], el)


def input_gradient(low: Lowering, e: Entry, g: Operand, w: Operand) -> Ref:
    """A convolution of the gradient, its places ``stride`` apart, with the kernels turned round."""
    el = _element(e)
    g, w = values(low, g, e.in_avals[0].shape, el), values(low, w, e.in_avals[1].shape, el)
    axes, groups = tuple(range(2, len(w.view.shape))), e.attrs["groups"]
    view = w.view.flip(axes)
    (outputs, *size), (step, *steps) = view.shape, view.strides
    apart = view._replace(
        shape=(groups, outputs // groups, *size), strides=(outputs // groups * step, step, *steps)
    ).permute((0, 2, 1, *[a + 1 for a in axes]))
    turned = low.map("copy", [Ref(w.slot, apart)], apart.shape, el)
    turned = Ref(turned.slot, contiguous((groups * size[0], *apart.shape[2:])))
    reach = [d * (k - 1) for d, k in zip(e.attrs["dilation"], size[1:], strict=True)]
    lows = tuple([r - lo for r, (lo, _) in zip(reach, e.attrs["padding"], strict=True)])
    highs = [r - hi for r, (_, hi) in zip(reach, e.attrs["padding"], strict=True)]
    out, ones, none = e.out_avals[0].shape, (1,) * len(axes), ((0, 0),) * len(axes)
    pads = tuple(zip(lows, highs, strict=True))
    if any(s != 1 for s in e.attrs["stride"]):
        if min(*lows, *highs) < 0:
            raise Unsized
        room = (*g.view.shape[:2], *[n + r for n, r in zip(out[2:], reach, strict=True)])
        place = contiguous(room).slice(axes, lows, g.view.shape[2:], e.attrs["stride"])
        g, pads = _placed(low, g, room, place, el), none
    return _forward(low, g, turned, out, (pads, ones, e.attrs["dilation"]), groups, el)


def weight_gradient(low: Lowering, e: Entry, g: Operand, x: Operand) -> Ref:
    """The sum over samples of the gradient times the windows."""
    el = _element(e)
    a = e.attrs
    if any(lo < 0 or hi < 0 for lo, hi in a["padding"]):
        raise Unsized
    shape, out = e.in_avals[0].shape, e.out_avals[0].shape
    g, x = low.dense(g, shape, el), values(low, x, e.in_avals[1].shape, el)
    bordered, groups = _bordered(low, x, a["padding"], el), a["groups"]
    if groups > 1 and _written_out(groups, out):
        pairs = zip(_parts(g, 1, groups), _parts(bordered, 1, groups), strict=True)
        own = (out[0] // groups, *out[1:])
        found = [
            _weight_gradient(low, low.dense(b, b.view.shape, el), x, own, a, el) for b, x in pairs
        ]
        return _joined(low, found, 0, el)
    if groups > 1:
        return _weights_summed(low, g, bordered, out, a, el)
    return _weight_gradient(low, g, bordered, out, a, el)


def _weights_summed(
    low: Lowering, g: Ref, x: Ref, out: Shape, a: dict[str, Any], el: Element
) -> Ref:
    """Groups of few channels: a sum over samples and places for each weight."""
    groups, places = a["groups"], g.view.shape[2:]
    per = out[0] // groups
    view = _across(x.view, out[2:], places, a["stride"], a["dilation"])
    given = _grouped(view, groups, per)
    own = g.view._replace(
        shape=(g.view.shape[0], groups, per, 1, *(1,) * len(places), *places),
        strides=(
            g.view.strides[0], per * g.view.strides[1], g.view.strides[1], 0,
            *(0,) * len(places), *g.view.strides[2:],
        ),
    )  # fmt: skip
    product = low.map("mul", [Ref(x.slot, given), Ref(g.slot, own)], given.shape, el)
    over = (0, *range(4 + len(places), 4 + 2 * len(places)))
    total = low.reduce("sum", product, over, el)
    return Ref(total.slot, contiguous(out))


def _weight_gradient(
    low: Lowering, g: Ref, x: Ref, out: Shape, a: dict[str, Any], el: Element
) -> Ref:
    """Of one group, from the bordered image."""
    shape = g.view.shape
    cols = _windows(low, x, out[2:], shape[2:], a["stride"], a["dilation"], el)
    n, depth, places = cols.view.shape
    rows = View((n, out[0], places), (out[0] * places, places, 1), g.view.offset)
    across = View((n, places, depth), (depth * places, 1, places))
    given = (n, out[0], depth, places)
    found = _product(low, Ref(g.slot, rows), Ref(cols.slot, across), given, el)
    total = low.reduce("sum", found, (0,), el)
    return Ref(total.slot, View(out, row_major(out), total.view.offset))
