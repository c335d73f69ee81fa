"""The passes of a fast Fourier transform on vectors whose lanes are transforms of their own.

Stockham's form (Van Loan, Computational Frameworks for the Fast Fourier Transform, 1992, 1.7): each
pass takes butterflies of one factor from one buffer to the other, and leaves the result in order.
A number is two vectors in memory, its real and its imaginary part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flambeau.run.compiler.vector_math_base import Lanes as Arithmetic

if TYPE_CHECKING:
    from flambeau.run.compiler.convolution_blocks import Code, Lanes

__all__ = ["Passes", "roots", "times"]

Complex = tuple[str, str]

# Odd primes whose butterflies are written out, and those that are loops: of larger ones the
# arithmetic grows with the square, and Bluestein's method is the references'.
_PRIMES = (3, 5, 7, 11, 13)
_LOOPED = (17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)


def factors(n: int, most: int) -> list[int] | None:
    """Factors of ``n``: ``most`` (a power of two), 4, or prime; None where a prime is too large."""
    found = []
    for p in (most, 4, 2, *_PRIMES, *_LOOPED):
        while n % p == 0:
            found.append(p)
            n //= p
    return found if n == 1 else None


def roots(n: int) -> np.ndarray:
    """``exp(-2 pi i k / n)`` for k below n, from angles of at most an eighth of a turn."""
    eighths = 8 * np.arange(n, dtype=np.int64)
    octant, rest = eighths // n, eighths % n
    # Angles of odd octants are taken from their upper end.
    odd = octant % 2 == 1
    angle = np.where(odd, n - rest, rest) * (math.pi / 4) / n
    c, s = np.cos(angle), np.sin(angle)
    c, s = np.where(odd, s, c), np.where(odd, c, s)
    # The same within a quarter: octants 1 and 2, 3 and 4... share an axis.
    quarter = octant // 2
    cos = np.choose(quarter % 4, [c, -s, -c, s])
    sin = np.choose(quarter % 4, [s, c, -s, -c])
    return cos - 1j * sin


@dataclass(frozen=True)
class Passes:
    """The passes for length ``n``: (factor, product of those before it) of each."""

    n: int
    steps: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, n: int, most: int) -> Passes | None:
        found = factors(n, most)
        if found is None:
            return None
        before, steps = 1, []
        for p in found:
            steps.append((p, before))
            before *= p
        return cls(n, tuple(steps))

    def rest(self, p: int, before: int) -> int:
        """The product of the factors after a pass."""
        return self.n // (p * before)

    @property
    def room(self) -> int:
        """Vectors that a butterfly needs memory for."""
        return max((2 * (p - 1) for p, _ in self.steps if p in _LOOPED), default=0)

    def table(self, dtype: str) -> np.ndarray:
        """What the passes look up, cosines and sines: the factors of each place, for all of a
        butterfly; then what a looped butterfly multiplies by."""
        each = roots(self.n)
        found = [np.zeros(0, complex)]
        for p, before in self.steps:
            rest = self.rest(p, before)
            if rest > 1:
                places = np.arange(rest)[:, None] * np.arange(1, p) * before
                found.append(each[places].reshape(-1))
            if p in _LOOPED:
                half = np.arange(1, p // 2 + 1)
                found.append(roots(p)[np.outer(half, half) % p].conj().reshape(-1))
        flat = np.concatenate(found)
        return np.stack([flat.real, flat.imag], -1).reshape(-1).astype(dtype)

    def emit(
        self, f: Code, lanes: Lanes, table: str, buffers: Complex, room: str, inverse: bool,
        scale: float,
    ) -> str:  # fmt: skip
        """All passes, from the first buffer; gives the one that has the result."""
        source, target = buffers
        for at, (p, before) in enumerate(self.steps):
            rest = self.rest(p, before)
            last = at == len(self.steps) - 1
            # An inverse transform is a forward one with the parts exchanged before and after.
            exchanged = inverse and at == 0, inverse and last
            step = _Pass(f, lanes, p, rest, before, exchanged, scale if last else 1.0)
            table = step.emit(source, target, table, room)
            source, target = target, source
        return source


class _Pass:
    """The butterflies of one factor."""

    def __init__(
        self, f: Code, lanes: Lanes, p: int, rest: int, before: int, exchanged: tuple[bool, bool],
        scale: float,
    ) -> None:  # fmt: skip
        self.f, self.lanes, self.p, self.rest, self.before = f, lanes, p, rest, before
        self.exchanged, self.scale = exchanged, scale
        self.v = Arithmetic(f, lanes.count, lanes.element)
        self.pair = 2 * lanes.bytes
        self.start = self.end = self.weights = ""

    def emit(self, source: str, target: str, table: str, room: str) -> str:
        """The loops; gives where the next pass's part of the table begins."""
        f, p, rest = self.f, self.p, self.rest
        each = 2 * self.lanes.size
        more = f.byte(table, (p - 1) * rest * each if rest > 1 else 0)
        with f.loop("0", str(self.before)) as k, f.loop("0", str(rest)) as i:
            self.start = f.along(source, (i.index, self.pair), (k.index, rest * p * self.pair))
            self.end = f.along(target, (i.index, self.pair), (k.index, rest * self.pair))
            self.weights = f.along(table, (i.index, (p - 1) * each))
            if p in _LOOPED:
                self.looped(more, room)
            else:
                found = butterfly(self.v, [self.get(b) for b in range(p)])
                for m, y in enumerate(found):
                    self.put(m, y)
        return f.byte(more, (p // 2) ** 2 * each) if p in _LOOPED else more

    def get(self, b: int | str) -> Complex:
        f, lanes = self.f, self.lanes
        place = f.along(self.start, (b, self.rest * self.pair))
        first = f.load(lanes.type, place, lanes.size)
        second = f.load(lanes.type, f.byte(place, lanes.bytes), lanes.size)
        return (second, first) if self.exchanged[0] else (first, second)

    def put(self, m: int | str, y: Complex) -> None:
        """Number ``m`` of a butterfly's result."""
        f, lanes, v = self.f, self.lanes, self.v
        if self.rest > 1 and m != 0:
            y = times(v, y, self.looked_up(self.weights, f.sub(m, 1)))
        re, im = y if self.scale == 1.0 else (v.mul(y[0], self.scale), v.mul(y[1], self.scale))
        first, second = (im, re) if self.exchanged[1] else (re, im)
        place = f.along(self.end, (m, self.rest * self.before * self.pair))
        f.store(lanes.type, first, place, lanes.size)
        f.store(lanes.type, second, f.byte(place, lanes.bytes), lanes.size)

    def looked_up(self, table: str, index: str) -> Complex:
        f, lanes = self.f, self.lanes
        place = f.along(table, (index, 2 * lanes.size))
        return f.broadcast(lanes, place), f.broadcast(lanes, f.byte(place, lanes.size))

    def looped(self, table: str, room: str) -> None:
        """As ``_odd``, with the sums and gaps in memory."""
        f, lanes, v, p = self.f, self.lanes, self.v, self.p
        half, four = p // 2, 4 * lanes.bytes
        lead = self.get(0)
        sums = [(lanes.type, lead[0]), (lanes.type, lead[1])]
        with f.loop("1", str(half + 1), carried=sums) as m:
            a, b = self.get(m.index), self.get(f.value(f"sub i64 {p}, {m.index}"))
            both = (*_plus(v, a, b), *_minus(v, a, b))
            place = f.along(room, (f.sub(m.index, 1), four))
            for i, x in enumerate(both):
                f.store(lanes.type, x, f.byte(place, i * lanes.bytes), lanes.size)
            m.carry(v.add(m.carried[0], both[0]), v.add(m.carried[1], both[1]))
        self.put(0, (m.result[0], m.result[1]))
        with f.loop("1", str(half + 1)) as k:
            row = f.along(table, (f.sub(k.index, 1), half * 2 * lanes.size))
            zero = (lanes.type, "zeroinitializer")
            first = [(lanes.type, lead[0]), (lanes.type, lead[1]), zero, zero]
            with f.loop("0", str(half), carried=first) as m:
                c, s = self.looked_up(row, m.index)
                place = f.along(room, (m.index, four))
                x = [
                    f.load(lanes.type, f.byte(place, i * lanes.bytes), lanes.size) for i in range(4)
                ]
                re, im, right, up = m.carried
                m.carry(
                    v.fma(x[0], c, re), v.fma(x[1], c, im), v.fma(x[2], s, right),
                    v.fma(x[3], s, up),
                )  # fmt: skip
            re, im, right, up = m.result
            self.put(k.index, (v.add(re, up), v.sub(im, right)))
            mirror = f.value(f"sub i64 {p}, {k.index}")
            self.put(mirror, (v.sub(re, up), v.add(im, right)))


def times(v: Arithmetic, x: Complex, w: Complex) -> Complex:
    re = v.fma(x[0], w[0], v.neg(v.mul(x[1], w[1])))
    return re, v.fma(x[0], w[1], v.mul(x[1], w[0]))


def _plus(v: Arithmetic, x: Complex, y: Complex) -> Complex:
    return v.add(x[0], y[0]), v.add(x[1], y[1])


def _minus(v: Arithmetic, x: Complex, y: Complex) -> Complex:
    return v.sub(x[0], y[0]), v.sub(x[1], y[1])


def butterfly(v: Arithmetic, xs: list[Complex]) -> list[Complex]:
    """The transform of a few numbers."""
    match len(xs):
        case 2:
            return [_plus(v, *xs), _minus(v, *xs)]
        case 4:
            return _four(v, xs)
        case 8:
            return _eight(v, xs)
        case _:
            return _odd(v, xs)


def _four(v: Arithmetic, xs: list[Complex]) -> list[Complex]:
    a, b = _plus(v, xs[0], xs[2]), _minus(v, xs[0], xs[2])
    c, d = _plus(v, xs[1], xs[3]), _minus(v, xs[1], xs[3])
    one = v.add(b[0], d[1]), v.sub(b[1], d[0])
    three = v.sub(b[0], d[1]), v.add(b[1], d[0])
    return [_plus(v, a, c), one, _minus(v, a, c), three]


def _eight(v: Arithmetic, xs: list[Complex]) -> list[Complex]:
    even, odd = _four(v, xs[0::2]), _four(v, xs[1::2])
    root = math.sqrt(0.5)
    found: list[Complex] = [("", "")] * 8
    found[0], found[4] = _plus(v, even[0], odd[0]), _minus(v, even[0], odd[0])
    e, o = even[2], odd[2]
    found[2] = v.add(e[0], o[1]), v.sub(e[1], o[0])
    found[6] = v.sub(e[0], o[1]), v.add(e[1], o[0])
    for k in (1, 3):
        e, (re, im) = even[k], odd[k]
        total, gap = v.add(re, im), v.sub(im, re)
        # exp(-i pi / 4) is (1 - i) root, exp(-3 i pi / 4) is -(1 + i) root.
        x, y = (total, gap) if k == 1 else (gap, total)
        sign = 1.0 if k == 1 else -1.0
        found[k] = v.fma(x, root, e[0]), v.fma(y, sign * root, e[1])
        found[k + 4] = v.fma(x, -root, e[0]), v.fma(y, -sign * root, e[1])
    return found


def _odd(v: Arithmetic, xs: list[Complex]) -> list[Complex]:
    """Of odd length: pairs of numbers that lie the same way from both ends share their products."""
    p = len(xs)
    half = range(1, p // 2 + 1)
    sums = [_plus(v, xs[m], xs[p - m]) for m in half]
    gaps = [_minus(v, xs[m], xs[p - m]) for m in half]
    first = xs[0]
    for s in sums:
        first = _plus(v, first, s)
    found: list[Complex] = [("", "")] * p
    found[0] = first
    for k in half:
        re, im = xs[0]
        across: list[str] = []
        for m, s, g in zip(half, sums, gaps, strict=True):
            angle = 2 * math.pi * (k * m % p) / p
            c, sine = math.cos(angle), math.sin(angle)
            re, im = v.fma(s[0], c, re), v.fma(s[1], c, im)
            if across:
                across = [v.fma(g[0], sine, across[0]), v.fma(g[1], sine, across[1])]
            else:
                across = [v.mul(g[0], sine), v.mul(g[1], sine)]
        # The part along minus i: x - i y and x + i y.
        found[k] = v.add(re, across[1]), v.sub(im, across[0])
        found[p - k] = v.sub(re, across[1]), v.add(im, across[0])
    return found
