"""Weighted elements of an image at computed places: forward, back to the image, to the weights.

Planes of several channels are gone through together, so that a place is looked up once for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, Lanes, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.lower import Lowering, Refused, lowering
from flambeau.run.compiler.places import zeros
from flambeau.run.compiler.rules import values
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.lower import Ref
    from flambeau.run.compiler.nodes import Operand

# Channels that share the look-up of a place, at most: their values stay in registers.
_TOGETHER = 4


class _Sampler:
    """A kernel that goes through points, a vector of them at a time."""

    def __init__(self, channels: int, size: int, points: int, taps: int, el: Element) -> None:
        self.f = Code()
        self.count = code.target().lanes(el.size)
        self.lanes = Lanes(el.memory, el.size, self.count)
        self.points, self.taps, self.el, self.size, self.channels = points, taps, el, size, channels
        self.together = max(n for n in range(1, _TOGETHER + 1) if channels % n == 0)

    @property
    def blocks(self) -> int:
        return self.channels // self.together

    def vectors(self, step: Callable[[str, str | None], None]) -> None:
        """``step`` for each vector of points, with the mask of those that exist (None: all)."""
        f, n = self.f, self.count
        whole = self.points - self.points % n
        if whole:
            with f.loop("0", str(whole), str(n)) as i:
                step(i.index, None)
        if self.points > whole:
            step(str(whole), f.mask(n, str(self.points - whole)))

    def load(self, pointer: str, mask: str | None) -> str:
        lanes = self.lanes
        if mask is None:
            return self.f.load(lanes.type, pointer, lanes.size)
        return self.f.load_masked(lanes.count, lanes.element, pointer, mask)

    def store(self, value: str, pointer: str, mask: str | None) -> None:
        lanes = self.lanes
        if mask is None:
            self.f.store(lanes.type, value, pointer, lanes.size)
        else:
            self.f.store_masked(lanes.count, lanes.element, value, pointer, mask)

    def places(self, pointer: str, mask: str | None) -> tuple[list[str], str]:
        """Byte offsets of a tap's elements in their plane, and which lanes have none."""
        f, n, el = self.f, self.count, self.el
        wide = f"<{n} x i64>"
        if mask is None:
            raw = f.load(wide, pointer, 8)
        else:
            raw = f.load_masked(n, "i64", pointer, mask)
        none = f.value(f"icmp slt {wide} {raw}, zeroinitializer")
        offsets = []
        for lane in range(n):
            if mask is None:
                # Loaded again: cheaper than to take a vector apart.
                one = f.load("i64", f.byte(pointer, 8 * lane), 8)
            else:
                one = f.value(f"extractelement {wide} {raw}, i64 {lane}")
            safe = f.call("llvm.smax.i64", "i64", ("i64", one), ("i64", "0"))
            offsets.append(f.mul(safe, el.size))
        return offsets, none

    def read(self, plane: str, offsets: list[str], none: str) -> str:
        """A vector of elements; 0 where there is none."""
        f, n, lanes = self.f, self.count, self.lanes
        found = "poison"
        for lane, offset in enumerate(offsets):
            one = f.load(lanes.element, f.byte(plane, offset), lanes.size)
            found = f.value(
                f"insertelement {lanes.type} {found}, {lanes.element} {one}, i64 {lane}"
            )
        return f.value(
            f"select <{n} x i1> {none}, {lanes.type} zeroinitializer, {lanes.type} {found}"
        )

    def without(self, none: str, x: str) -> str:
        """Zero in the lanes that have no place."""
        n, ty = self.count, self.lanes.type
        return self.f.value(f"select <{n} x i1> {none}, {ty} zeroinitializer, {ty} {x}")


def sampled(n: int, channels: int, size: int, points: int, taps: int, el: Element) -> Stage:
    """Units are groups of channels of an image."""
    s = _Sampler(channels, size, points, taps, el)
    f, b = s.f, el.size
    x, weights, places, out = (f.pointer(i) for i in range(4))
    planes = range(s.together)
    ty = s.lanes.type
    with f.loop("%begin", "%end") as unit:
        image, _ = f.divided(unit.index, s.blocks)
        here = [f.along(x, (f.add(f.mul(unit.index, s.together), k), size * b)) for k in planes]
        there = [
            f.along(out, (f.add(f.mul(unit.index, s.together), k), points * b)) for k in planes
        ]
        first_tap = f.mul(image, taps)

        def step(at: str, mask: str | None) -> None:
            zeros = [(ty, "zeroinitializer")] * s.together
            with f.loop("0", str(taps), carried=zeros) as tap:
                line = f.add(f.mul(f.add(first_tap, tap.index), points), at)
                offsets, none = s.places(f.along(places, (line, 8)), mask)
                weight = s.without(none, s.load(f.along(weights, (line, b)), mask))
                sums = []
                for k in planes:
                    found = s.read(here[k], offsets, none)
                    share = f.value(f"fmul {ty} {found}, {weight}")
                    sums.append(f.value(f"fadd {ty} {tap.carried[k]}, {share}"))
                tap.carry(*sums)
            for k in planes:
                s.store(tap.result[k], f.along(there[k], (at, b)), mask)

        s.vectors(step)
    units = n * s.blocks
    chunk = chunk_of(units, n * channels * points * taps * 2)
    return Stage(f.kernel(prefix="sample"), ("0", "1", "2", "out0"), units, chunk)


def spread(n: int, channels: int, size: int, points: int, taps: int, el: Element) -> Stage:
    """Adds to planes of zeros; units are groups of channels of an image."""
    s = _Sampler(channels, size, points, taps, el)
    f, b, lanes = s.f, el.size, s.lanes
    g, weights, places, out = (f.pointer(i) for i in range(4))
    planes = range(s.together)
    with f.loop("%begin", "%end") as unit:
        image, _ = f.divided(unit.index, s.blocks)
        first = f.mul(unit.index, s.together)
        here = [f.along(g, (f.add(first, k), points * b)) for k in planes]
        there = [f.along(out, (f.add(first, k), size * b)) for k in planes]
        first_tap = f.mul(image, taps)

        def step(at: str, mask: str | None) -> None:
            given = [s.load(f.along(here[k], (at, b)), mask) for k in planes]
            with f.loop("0", str(taps)) as tap:
                line = f.add(f.mul(f.add(first_tap, tap.index), points), at)
                offsets, none = s.places(f.along(places, (line, 8)), mask)
                weight = s.load(f.along(weights, (line, b)), mask)
                # Lanes without a place add 0 to the first element.
                shares = [
                    s.without(none, f.value(f"fmul {lanes.type} {given[k]}, {weight}"))
                    for k in planes
                ]
                for lane, offset in enumerate(offsets):
                    for k in planes:
                        one = f.value(f"extractelement {lanes.type} {shares[k]}, i64 {lane}")
                        place = f.byte(there[k], offset)
                        old = f.load(lanes.element, place, b)
                        f.store(
                            lanes.element, f.value(f"fadd {lanes.element} {old}, {one}"), place, b
                        )

        s.vectors(step)
    units = n * s.blocks
    chunk = chunk_of(units, n * channels * points * taps * 4)
    return Stage(f.kernel(prefix="sample"), ("0", "1", "2", "out0"), units, chunk)


def weighed(n: int, channels: int, size: int, points: int, taps: int, el: Element) -> Stage:
    """Adds to zeros; units are taps of an image, each adding up its channels in order."""
    s = _Sampler(channels, size, points, taps, el)
    f, b = s.f, el.size
    g, x, places, out = (f.pointer(i) for i in range(4))
    planes = range(s.together)
    ty = s.lanes.type
    with f.loop("%begin", "%end") as unit:
        image, _ = f.divided(unit.index, taps)
        line = f.mul(unit.index, points)
        with f.loop("0", str(s.blocks)) as block:
            first = f.mul(f.add(f.mul(image, s.blocks), block.index), s.together)
            given = [f.along(g, (f.add(first, k), points * b)) for k in planes]
            here = [f.along(x, (f.add(first, k), size * b)) for k in planes]

            def step(at: str, mask: str | None) -> None:
                offsets, none = s.places(f.along(places, (f.add(line, at), 8)), mask)
                target = f.along(out, (f.add(line, at), b))
                total = s.load(target, mask)
                for k in planes:
                    found = s.read(here[k], offsets, none)
                    share = f.value(
                        f"fmul {ty} {s.load(f.along(given[k], (at, b)), mask)}, {found}"
                    )
                    total = f.value(f"fadd {ty} {total}, {share}")
                s.store(s.without(none, total), target, mask)

            s.vectors(step)
    units = n * taps
    chunk = chunk_of(units, n * channels * points * taps * 2)
    return Stage(f.kernel(prefix="sample"), ("0", "1", "2", "out0"), units, chunk)


_KERNELS = {"sample": sampled, "sample_spread": spread, "sample_weigh": weighed}


@lowering("sample sample_spread sample_weigh")
def _sample(low: Lowering, e: Entry, *xs: Operand) -> Ref:
    name, out = e.prim.name, e.out_avals[0]
    el = element(out.dtype)
    first, second, places = e.in_avals
    if el.memory not in ("float", "double") or places.dtype is not dtypes.int64:
        raise Refused("such a dtype")
    if 0 in (*first.shape, *second.shape, *places.shape, *out.shape):
        raise Refused("of nothing")
    n, taps, points = places.shape
    size = {"sample": first, "sample_spread": out, "sample_weigh": second}[name].shape[2]
    kernel = _KERNELS[name](n, first.shape[1], size, points, taps, el)
    stages = (kernel,) if name == "sample" else (zeros(out.shape, el), kernel)
    given = [
        low.dense(values(low, v, a.shape, element(a.dtype)), a.shape, element(a.dtype))
        for v, a in zip(xs, e.in_avals, strict=True)
    ]
    return low.stages(name, Plan(stages), given, [out.shape], [el])[0]
