"""Copies whose last, short dimension picks from parallel lines: vectors are loaded and interleaved.

A nest would move as few elements at a time as the last dimension has.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, chunk_of
from flambeau.run.compiler.nodes import Ref
from flambeau.run.compiler.sizes import has_size
from flambeau.run.compiler.stages import Plan, Stage
from flambeau.run.compiler.views import View

if TYPE_CHECKING:
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.lower import Lowering

# Lines that are interleaved, at most; elements of a line, at least.
_MOST, _LEAST = 4, 4


def interleaved(low: Lowering, x: Ref, el: Element) -> Ref | None:
    """The copy of a view in row-major order; None if the view is none of these."""
    v = x.view
    if (
        len(v.shape) < 2
        or v.moving
        or has_size((v.shape, v.strides))
        or min(v.strides) < 0
        or 0 in v.shape
    ):
        return None
    lines, width = v.shape[-1], v.shape[-2]
    if not (2 <= lines <= _MOST and width >= _LEAST and v.strides[-2] == 1 != v.strides[-1]):
        return None
    span = 1 + sum((n - 1) * s for n, s in zip(v.shape, v.strides, strict=True))
    given = Ref(x.slot, View((span,), (1,), v.offset))
    stage = _kernel(v.shape, v.strides, el.size)
    return low.stages("interleave", Plan((stage,)), [given], [v.shape], [el])[0]


def _kernel(shape: tuple[int, ...], strides: tuple[int, ...], size: int) -> Stage:
    """Units are all but the last two dimensions."""
    f = Code()
    source, out = f.pointer(0), f.pointer(1)
    *lead, width, r = shape
    units = math.prod(lead)
    n = code.target().lanes(size)
    while n > _LEAST and n > width:
        n //= 2
    ty, wide = f"<{n} x i{8 * size}>", f"<{n * r} x i{8 * size}>"
    with f.loop("%begin", "%end") as unit:
        places = f.split(unit.index, *lead[1:]) if lead else []
        here = "0"
        for p, s in zip(places, strides, strict=False):
            here = f.add(here, f.mul(p, s))
        there = f.along(out, (unit.index, width * r * size))

        def step(at: str, count: int) -> None:
            given = []
            for k in range(r):
                place = f.along(source, (f.add(f.add(here, k * strides[-1]), at), size))
                if count == n:
                    given.append(f.load(ty, place, size))
                else:
                    mask = f.mask(n, str(count))
                    given.append(f.load_masked(n, f"i{8 * size}", place, mask))
            to = f.along(there, (at, r * size))
            mixed = _interleave(f, given, n, ty, size)
            if count == n:
                f.store(wide, mixed, to, size)
                return
            for i in range(count * r):
                one = f.value(f"extractelement {wide} {mixed}, i64 {i}")
                f.store(f"i{8 * size}", one, f.byte(to, i * size), size)

        whole = width - width % n
        with f.loop("0", str(whole), str(n)) as i:
            step(i.index, n)
        if width > whole:
            step(str(whole), width - whole)
    chunk = chunk_of(units, units * width * r / 4)
    return Stage(f.kernel(prefix="interleave"), ("0", "out0"), units, chunk)


def _interleave(f: Code, given: list[str], n: int, ty: str, size: int) -> str:
    """Vectors of ``n`` as one, an element of each in turn."""
    r = len(given)
    long = 1 << (r - 1).bit_length()
    vectors = [*given, *["poison"] * (long - r)]
    each = n
    while len(vectors) > 1:
        joined = f"<{each} x i{8 * size}>"
        picks = ", ".join(f"i32 {i}" for i in range(2 * each))
        vectors = [
            f.value(f"shufflevector {joined} {a}, {joined} {b}, <{2 * each} x i32> <{picks}>")
            for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        each *= 2
    all_of = f"<{each} x i{8 * size}>"
    picks = ", ".join(f"i32 {k * n + i}" for i in range(n) for k in range(r))
    return f.value(
        f"shufflevector {all_of} {vectors[0]}, {all_of} poison, <{n * r} x i32> <{picks}>"
    )
