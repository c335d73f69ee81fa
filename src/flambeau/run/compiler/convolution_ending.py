"""How a convolution's kernels apply an epilogue: block by block, while the block is in the cache.

Kernels store plain sums, in tiles that overlap and in whatever order suits them; when a block of
channels and rows is whole, its vectors go through the epilogue where they lie.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from flambeau.run.compiler.convolution_blocks import Code, Lanes, Triple, known

if TYPE_CHECKING:
    from flambeau.run.compiler.stages import Epilogue

__all__ = ["Ending", "Part"]


class Part(NamedTuple):
    """A block of a result of ``channels`` planes a sample: (first, how many) along each axis."""

    planes: int
    size: Triple
    samples: tuple[str, str]
    channels: tuple[str, str]
    slices: tuple[str, str]
    rows: tuple[str, str]


class Ending:
    """The epilogue of one kernel, if it has one; its operands are the kernel's first."""

    def __init__(self, f: Code, epilogue: Epilogue | None) -> None:
        self.f, self.epilogue = f, epilogue
        self.count = epilogue.operands if epilogue else 0
        self.operands = tuple(f"e{k}" for k in range(self.count))
        self.result = ""

    def pointers(self) -> list[str]:
        """The kernel's own three addresses, the result's last."""
        f = self.f
        own = [f.pointer(self.count + k) for k in range(3)]
        self.result = own[-1]
        return own

    def finish(self, n: Lanes, part: Part) -> None:
        """Puts the sums of a block of the result through the epilogue."""
        f, epilogue = self.f, self.epilogue
        if epilogue is None:
            return
        width = part.size[2]
        plane = prod(part.size)
        length = f.mul(part.rows[1], width)
        with (
            f.loop("0", part.samples[1]) as sample,
            f.loop("0", part.channels[1]) as channel,
            f.loop("0", part.slices[1]) as slice_,
        ):
            lead = (f.add(part.samples[0], sample.index), f.add(part.channels[0], channel.index))
            row = f.mul(f.add(part.slices[0], slice_.index), part.size[1])
            start = f.mul(f.add(row, part.rows[0]), width)
            size = plane * n.size
            base = f.along(self.result, (lead[0], part.planes * size), (lead[1], size))
            emit = epilogue.begin(f, n.count, lead)

            def through(at: str, mask: str | None) -> None:
                place = f.along(base, (at, n.size))
                if mask is None:
                    value = emit(n.count, f.load(n.type, place, n.size), (*lead, at), None)
                    f.store(n.type, value, place, n.size)
                else:
                    value = f.load_masked(n.count, n.element, place, mask)
                    value = emit(n.count, value, (*lead, at), mask)
                    f.store_masked(n.count, n.element, value, place, mask)

            end = f.add(start, length)
            if known(length):
                rest = int(length) % n.count
                whole = int(length) - rest
                if whole:
                    with f.loop("0", str(whole), str(n.count)) as p:
                        through(f.add(start, p.index), None)
                if rest:
                    through(f.add(start, whole), f.below(n, rest))
            else:
                with f.loop(start, end, str(n.count), while_room=True) as p:
                    through(p.index, None)
                left = f.sub(end, p.index)
                with f.when(f.value(f"icmp sgt i64 {left}, 0")):
                    through(p.index, f.mask(n.count, left))
