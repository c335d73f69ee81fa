"""Convolutions whose sizes are known only when they run: products with the matrix of windows.

Kernels of fixed sizes are faster, but take LLVM longer than a whole step for each new size. Windows
are copied, tap by tap, from the padded image [Chellapilla, Puri and Simard 2006].
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

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


def _element(e: Entry) -> Element:
    el = element(e.out_avals[0].dtype)
    if el.memory not in BYTES:
        raise Refused("convolutions of this dtype")
    if e.attrs["groups"] != 1:
        raise Unsized
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
    shape, strides = x.view.shape, x.view.strides
    steps = strides[2:]
    taps = [s * d for s, d in zip(steps, dilation, strict=True)]
    places = [s * d for s, d in zip(steps, stride, strict=True)]
    view = View((*shape[:2], *kernel, *out), (*strides[:2], *taps, *places), x.view.offset)
    found = low.map("copy", [Ref(x.slot, view)], view.shape, el)
    return Ref(found.slot, contiguous((shape[0], shape[1] * prod(kernel), prod(out))))


def _product(
    low: Lowering, a: Ref, b: Ref, sizes: tuple[int, int, int, int], el: Element
) -> Ref:  # fmt: skip
    """Stacked products of (m, k) by (k, n); ``sizes`` are batch, m, n, k."""
    batch, m, n, k = sizes
    sides = [a.view.strides, b.view.strides]
    spec = Product(m, n, k, batch, sides[0], sides[1], (m * n, n, 1), el.memory)
    return low.stages("matmul", spec, [a, b], [(batch, m, n)], [el])[0]


def _forward(
    low: Lowering, x: Ref, w: Ref, out: Shape, how: tuple[Pairs, Shape, Shape], el: Element
) -> Ref:
    """``out`` is the result's shape; ``w`` dense (O, C, *kernel)."""
    pads, stride, dilation = how
    kernel = w.view.shape[2:]
    cols = _windows(low, _bordered(low, x, pads, el), kernel, out[2:], stride, dilation, el)
    depth = w.view.shape[1] * prod(kernel)
    weights = Ref(w.slot, View((out[0], out[1], depth), (0, depth, 1), w.view.offset))
    found = _product(low, weights, cols, (out[0], out[1], prod(out[2:]), depth), el)
    return Ref(found.slot, contiguous(out))


def convolution(low: Lowering, e: Entry, x: Operand, w: Operand) -> Ref:
    """Forward."""
    el = _element(e)
    if any(lo < 0 or hi < 0 for lo, hi in e.attrs["padding"]):
        raise Unsized
    x, w = values(low, x, e.in_avals[0].shape, el), low.dense(w, e.in_avals[1].shape, el)
    how = (e.attrs["padding"], e.attrs["stride"], e.attrs["dilation"])
    return _forward(low, x, w, e.out_avals[0].shape, how, el)


def input_gradient(low: Lowering, e: Entry, g: Operand, w: Operand) -> Ref:
    """A convolution of the gradient, its places ``stride`` apart, with the kernels turned round."""
    el = _element(e)
    g, w = values(low, g, e.in_avals[0].shape, el), values(low, w, e.in_avals[1].shape, el)
    axes = tuple(range(2, len(w.view.shape)))
    view = w.view.flip(axes).permute((1, 0, *axes))
    turned = low.map("copy", [Ref(w.slot, view)], view.shape, el)
    reach = [d * (k - 1) for d, k in zip(e.attrs["dilation"], view.shape[2:], strict=True)]
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
    return _forward(low, g, turned, out, (pads, ones, e.attrs["dilation"]), el)


def weight_gradient(low: Lowering, e: Entry, g: Operand, x: Operand) -> Ref:
    """The sum over samples of the gradient times the windows."""
    el = _element(e)
    a = e.attrs
    if any(lo < 0 or hi < 0 for lo, hi in a["padding"]):
        raise Unsized
    shape, out = e.in_avals[0].shape, e.out_avals[0].shape
    g, x = low.dense(g, shape, el), values(low, x, e.in_avals[1].shape, el)
    bordered = _bordered(low, x, a["padding"], el)
    cols = _windows(low, bordered, out[2:], shape[2:], a["stride"], a["dilation"], el)
    n, depth, places = cols.view.shape
    rows = View((n, out[0], places), (out[0] * places, places, 1), g.view.offset)
    across = View((n, places, depth), (depth * places, 1, places))
    given = (n, out[0], depth, places)
    found = _product(low, Ref(g.slot, rows), Ref(cols.slot, across), given, el)
    total = low.reduce("sum", found, (0,), el)
    return Ref(total.slot, View(out, row_major(out), total.view.offset))
