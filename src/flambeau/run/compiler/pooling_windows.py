"""What pooling kernels share: windows along the width of an image, and their taps."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.convolution_blocks import Code, Lanes, Triple, gather
from flambeau.run.compiler.lower import Unsized
from flambeau.run.compiler.sizes import Size, has_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flambeau.ir.graph import Aval
    from flambeau.run.compiler.target import Target

__all__ = ["Columns", "Windows", "even_windows", "fill", "lanes_of", "over_taps"]

# Taps written out one after the other, at most; more are loops.
_WRITTEN = 12


@dataclass(frozen=True)
class Windows:
    """The numbers of one pooling, in three axes."""

    planes: int
    size: Triple
    output: Triple
    kernel: Triple
    stride: Triple
    padding: Triple
    dilation: Triple

    @classmethod
    def of(cls, x: Aval, y: Aval, how: dict[str, Any]) -> Windows:
        d = len(how["kernel_size"])

        def three(values: Sequence[int], fill: int) -> Triple:
            a, b, c = (*(fill,) * (3 - d), *values)
            return a, b, c

        lead = len(x.shape) - d
        return cls(
            prod(x.shape[:lead]),
            three(x.shape[lead:], 1),
            three(y.shape[lead:], 1),
            three(how["kernel_size"], 1),
            three(how["stride"], 1),
            three(how["padding"], 0),
            three(how.get("dilation") or (1,) * d, 1),
        )

    def leaves(self, axis: int) -> bool:
        """Whether a window reaches past the image along an axis."""
        reach = self.dilation[axis] * (self.kernel[axis] - 1)
        last = (self.output[axis] - 1) * self.stride[axis] + reach - self.padding[axis]
        return self.padding[axis] > 0 or last >= self.size[axis]

    def need_taps(self) -> None:
        """Taps are written out: how many there are, and where, is the same for all sizes."""
        if has_size((self.kernel, self.stride, self.padding, self.dilation)):
            raise Unsized

    @property
    def whole(self) -> bool:
        """Whether the one window is the image."""
        return self.output == (1, 1, 1) and self.kernel == self.size and not any(self.padding)


def lanes_of(avals: Sequence[Aval], target: Target) -> Lanes | None:
    """Vectors for the first operand, if there are kernels for it and anything to compute."""
    if any(0 in aval.shape for aval in avals) or not avals[0].shape:
        return None
    return Lanes.of(avals[0], target)


class Columns:
    """The columns that a vector of windows begins at, while a row of the result is written."""

    def __init__(self, f: Code, w: Windows, lanes: Lanes, j: str) -> None:
        self.f, self.w, self.lanes = f, w, lanes
        self.n = lanes.count
        self.type = f"<{self.n} x i32>"
        self.first = f.mul(j, w.stride[2])
        self.start = f.add(self.first, -w.padding[2])
        self._masks: dict[int, str] = {}
        self.left = f.sub(str(w.output[2]), j)

    def columns(self, offset: int, step: int) -> str:
        """The vector of ``start + offset + step * lane``."""
        f = self.f
        base = f.value(f"trunc i64 {f.add(self.start, offset)} to i32")
        steps = ", ".join(f"i32 {i * step}" for i in range(self.n))
        return f.value(f"add {self.type} {f.splat(self.n, 'i32', base)}, <{steps}>")

    def inside(self, columns: str) -> str:
        size = self.f.numbers(self.n, self.w.size[2])
        return self.f.value(f"icmp ult {self.type} {columns}, {size}")

    def prepare(self) -> None:
        """Works out what all rows of a window share: masks, and columns of taps."""
        w, n = self.w, self.n
        taps = [k * w.dilation[2] for k in range(w.kernel[2])]
        self.at = [self.columns(tap, w.stride[2]) for tap in taps]
        self.real = [self.inside(at) for at in self.at]
        if w.stride[2] == 2:
            for tap in taps:
                for start in (tap - tap % 2, tap - tap % 2 + n):
                    if start not in self._masks:
                        self._masks[start] = self.inside(self.columns(start, 1))

    def load(self, row: str, row_inside: str | None) -> Iterator[tuple[int, str]]:
        """Each tap's elements in a row of the image; whatever is outside is zero."""
        f, w, n, lanes = self.f, self.w, self.n, self.lanes
        halves: dict[int, str] = {}
        for k in range(w.kernel[2]):
            tap = k * w.dilation[2]
            mask = self._and(self.real[k], row_inside)
            if w.stride[2] == 1:
                at = f.along(row, (f.add(self.start, tap), lanes.size))
                yield k, f.load_masked(n, lanes.element, at, mask)
            elif w.stride[2] == 2:
                even = tap - tap % 2
                for start in (even, even + n):
                    if start not in halves:
                        at = f.along(row, (f.add(self.start, start), lanes.size))
                        some = self._and(self._masks[start], row_inside)
                        halves[start] = f.load_masked(n, lanes.element, at, some)
                picks = [2 * i + tap % 2 for i in range(n)]
                yield k, f.shuffle(lanes, halves[even], halves[even + n], picks)
            else:
                yield k, gather(f, lanes, row, self.at[k], mask)

    def _and(self, mask: str, row_inside: str | None) -> str:
        if row_inside is None:
            return mask
        row = self.f.splat(self.n, "i1", row_inside)
        return self.f.value(f"and <{self.n} x i1> {mask}, {row}")


def over_taps(
    f: Code,
    w: Windows,
    at: tuple[str, str],
    carried: list[tuple[str, str]],
    body: Callable[[list[str], str, str | None], list[str]],
) -> list[str]:
    """Runs ``body(values, row, inside)`` for each row of a window at output ``at`` (slice, row).

    ``row`` is the number of a row of the image; ``inside`` (i1) is given where it can be outside.
    """
    starts = [f.add(f.mul(at[a], w.stride[a]), -w.padding[a]) for a in (0, 1)]

    def row(values: list[str], kd: str, kh: str) -> list[str]:
        z = f.add(starts[0], f.mul(kd, w.dilation[0]))
        y = f.add(starts[1], f.mul(kh, w.dilation[1]))
        inside = None
        for axis, position in ((0, z), (1, y)):
            if w.leaves(axis):
                test = f.value(f"icmp ult i64 {position}, {w.size[axis]}")
                inside = f.value(f"and i1 {inside}, {test}") if inside else test
        return body(values, f.add(f.mul(z, w.size[1]), y), inside)

    values = [first for _, first in carried]
    if prod(w.kernel) <= _WRITTEN:
        for kd in range(w.kernel[0]):
            for kh in range(w.kernel[1]):
                values = row(values, str(kd), str(kh))
        return values
    with f.loop("0", str(w.kernel[0]), carried=carried) as d:
        inner = [(ty, v) for (ty, _), v in zip(carried, d.carried, strict=True)]
        with f.loop("0", str(w.kernel[1]), carried=inner) as h:
            h.carry(*row(list(h.carried), d.index, h.index))
        d.carry(*h.result)
    return d.result


def even_windows(output: Sequence[int], x: Aval) -> dict[str, Any] | None:
    """Adaptive pooling as plain pooling, where its windows all have one size."""
    d = len(output)
    size = x.shape[len(x.shape) - d :]
    if has_size((size, output)):
        # Windows as large as the image is are known, others are not.
        if any(o != 1 for o in output):
            return None
    elif any(o == 0 or n % o for n, o in zip(size, output, strict=True)):
        return None
    kernel = tuple(n // o for n, o in zip(size, output, strict=True))
    return {"kernel_size": kernel, "stride": kernel, "padding": (0,) * d}


def fill(f: Code, n: Lanes, out: str, size: int, value: str) -> None:
    """Stores a vector over and over."""
    whole = size // n.count * n.count
    if whole.__class__ is Size or whole:
        with f.loop("0", str(whole), str(n.count)) as i:
            f.store(n.type, value, f.along(out, (i.index, n.size)), n.size)
    if size.__class__ is Size or size > whole:
        f.put(n, value, f.byte(out, whole * n.size), size - whole)
