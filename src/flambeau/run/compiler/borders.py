"""Borders that repeat what they surround (reflected, replicated, circular), and their transpose.

A unit is one image of all that the padded axes span: its rows are copied, or added up, in order,
the part between the borders in vectors.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, Lanes, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan, Stage
from flambeau.run.compiler.views import row_major

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.nodes import Operand, Ref

# Borders of so many elements in all are written out one by one.
WIDEST = 32


def _known_source(at: int, n: int, mode: str) -> int:
    if mode == "reflect":
        return (n - 1) - abs((n - 1) - abs(at))
    return min(max(at, 0), n - 1) if mode == "replicate" else at % n


def _source(f: Code, at: str, n: int, mode: str) -> str:
    """The place that ``at`` (from the first element inside) repeats."""

    def abs(x: str) -> str:
        return f.call("llvm.abs.i64", "i64", ("i64", x), ("i1", "true"))

    if mode == "reflect":
        last = str(n - 1)
        return f.value(f"sub i64 {last}, {abs(f.value(f'sub i64 {last}, {abs(at)}'))}")
    if mode == "replicate":
        up = f.call("llvm.smax.i64", "i64", ("i64", at), ("i64", "0"))
        return f.least(up, n - 1)
    return f.value(f"urem i64 {f.add(at, n)}, {n}")


def border(
    size: tuple[int, ...], pads: tuple[tuple[int, int], ...], mode: str, lanes: Lanes, images: int,
    back: bool,
) -> Stage:  # fmt: skip
    """``images`` of ``size`` to (or, ``back``, added up from) images with borders."""
    f = Code()
    first, second = f.pointer(0), f.pointer(1)
    inner, outer = (second, first) if back else (first, second)
    full = tuple([n + lo + hi for n, (lo, hi) in zip(size, pads, strict=True)])
    inside, outside = row_major(size), row_major(full)
    width, (low, high) = size[-1], pads[-1]

    def element_to(source: str, target: str) -> None:
        x = f.load(lanes.element, source, lanes.size)
        if back:
            there = f.load(lanes.element, target, lanes.size)
            x = f.value(f"fadd {lanes.element} {there}, {x}")
        f.store(lanes.element, x, target, lanes.size)

    with f.loop("%begin", "%end") as unit:
        image = f.along(inner, (unit.index, math.prod(size) * lanes.size))
        frame = f.along(outer, (unit.index, math.prod(full) * lanes.size))
        if back:
            with f.loop("0", str(math.prod(size))) as i:
                zero = "0.0" if lanes.element in ("float", "double") else "0"
                f.store(lanes.element, zero, f.along(image, (i.index, lanes.size)), lanes.size)
        with ExitStack() as stack:
            here, there = frame, image
            for d, n in enumerate(full[:-1]):
                at = stack.enter_context(f.loop("0", str(n))).index
                place = _source(f, f.sub(at, pads[d][0]), size[d], mode)
                here = f.along(here, (at, outside[d] * lanes.size))
                there = f.along(there, (place, inside[d] * lanes.size))
            # here: a row with borders; there: the row that it repeats.
            core = f.byte(here, low * lanes.size)
            whole = width - width % lanes.count
            if whole:
                with f.loop("0", str(whole), str(lanes.count)) as i:
                    a = f.along(core, (i.index, lanes.size))
                    b = f.along(there, (i.index, lanes.size))
                    x = f.load(lanes.type, a if back else b, lanes.size)
                    if back:
                        before = f.load(lanes.type, b, lanes.size)
                        x = f.value(f"fadd {lanes.type} {before}, {x}")
                    f.store(lanes.type, x, b if back else a, lanes.size)
            singles = [*range(-low, 0), *range(whole, width + high)]
            for at in singles:
                a = f.byte(core, at * lanes.size)
                b = f.byte(there, _known_source(at, width, mode) * lanes.size)
                element_to(*((a, b) if back else (b, a)))
    work = images * math.prod(full) / lanes.count * 3
    return Stage(f.kernel(prefix="border"), ("0", "out0"), images, chunk_of(images, work))


@lowering("border border_gradient")
def _border(low: Lowering, e: Entry, x: Operand) -> Ref:
    given, out = e.in_avals[0], e.out_avals[0]
    back = e.prim.name == "border_gradient"
    pads: Any = e.attrs["pads"]
    mode = e.attrs["mode"]
    el = element(out.dtype)
    d = len(pads)
    size = (out if back else given).shape[-d:]
    if min(n for pair in pads for n in pair) < 0 or 0 in given.shape or 0 in out.shape:
        raise Refused("borders that cut, or of nothing")
    if sum(pads[-1]) > WIDEST:
        raise Refused("wide borders")
    if back and el.memory not in ("float", "double"):
        raise Refused("sums of this dtype")
    images = math.prod(given.shape[:-d])
    memory = el.memory if back else f"i{8 * el.size}"
    lanes = Lanes(memory, el.size, min(code.target().lanes(el.size), _below(size[-1])))
    stage = border(tuple(size), pads, mode, lanes, images, back)
    source = low.dense(values(low, x, given.shape, el), given.shape, el)
    return low.stages(e.prim.name, Plan((stage,)), [source], [out.shape], [el])[0]


def _below(n: int) -> int:
    """The greatest power of two that is no more."""
    return 1 << (n.bit_length() - 1)
