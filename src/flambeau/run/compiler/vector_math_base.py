"""Terse arithmetic on vectors of one type, for the elementary functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .emit import mangled, vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .emit import Function

__all__ = ["DOUBLE", "SINGLE", "Format", "Lanes", "Operand"]

Operand = str | float


class Format(NamedTuple):
    """An IEEE format and the constants that depend on nothing else."""

    integer: str
    width: int
    fraction: int  # bits after the point
    bias: int
    magic: float  # added to a number, it leaves the nearest integer in the last bits
    smallest: float  # normal number
    ln2: tuple[float, float]  # log 2: the nearest number, and what is missing
    log10_2: tuple[float, float]
    tiny: float  # x + x * x is x below this
    huge: float  # x + 1 / x is x above this


SINGLE = Format(
    "i32",
    32,
    23,
    127,
    1.5 * 2.0**23,
    2.0**-126,
    (0.6931472, -1.9046542e-09),
    (0.30103, -1.4320989e-08),
    2.0**-30,
    2.0**28,
)
DOUBLE = Format(
    "i64",
    64,
    52,
    1023,
    1.5 * 2.0**52,
    2.0**-1022,
    (0.6931471805599453, 2.3190468138462996e-17),
    (0.3010299956639812, -2.8037281277851704e-18),
    2.0**-60,
    2.0**57,
)


class Lanes:
    """Appends to a function; numbers of Python's among the operands become literals."""

    def __init__(self, f: Function, lanes: int, element: str) -> None:
        self.f, self.lanes, self.element = f, lanes, element
        self.single = element == "float"
        self.format = SINGLE if self.single else DOUBLE
        self.ty = vector(lanes, element)
        self.integer = self.format.integer
        self.ity = vector(lanes, self.integer)
        self.bool = vector(lanes, "i1")

    # Floating-point numbers

    def number(self, x: Operand) -> str:
        return x if isinstance(x, str) else self.f.literal(self.lanes, self.element, x)

    def _binary(self, name: str, a: Operand, b: Operand) -> str:
        return self.f.value(f"{name} {self.ty} {self.number(a)}, {self.number(b)}")

    def add(self, a: Operand, b: Operand) -> str:
        return self._binary("fadd", a, b)

    def sub(self, a: Operand, b: Operand) -> str:
        return self._binary("fsub", a, b)

    def mul(self, a: Operand, b: Operand) -> str:
        return self._binary("fmul", a, b)

    def div(self, a: Operand, b: Operand) -> str:
        return self._binary("fdiv", a, b)

    def neg(self, x: str) -> str:
        return self.f.value(f"fneg {self.ty} {x}")

    def fma(self, a: Operand, b: Operand, c: Operand) -> str:
        """a * b + c rounded once."""
        return self.f.fma(self.ty, self.number(a), self.number(b), self.number(c))

    def intrinsic(self, name: str, *operands: Operand) -> str:
        given = ((self.ty, self.number(x)) for x in operands)
        return self.f.call(f"llvm.{name}.{mangled(self.ty)}", self.ty, *given)

    def abs(self, x: str) -> str:
        return self.intrinsic("fabs", x)

    def polynomial(self, x: str, coefficients: Sequence[float]) -> str:
        """Horner's rule; the constant term comes first."""
        *lower, top = coefficients
        result = self.number(top)
        for c in reversed(lower):
            result = self.fma(result, x, c)
        return result

    # Choice

    def compare(self, predicate: str, a: Operand, b: Operand) -> str:
        return self.f.value(f"fcmp {predicate} {self.ty} {self.number(a)}, {self.number(b)}")

    def select(self, condition: str, a: Operand, b: Operand) -> str:
        given = f"{self.ty} {self.number(a)}, {self.ty} {self.number(b)}"
        return self.f.value(f"select {self.bool} {condition}, {given}")

    def at_most(self, x: str, bound: Operand) -> str:
        """The smaller; NaN stays NaN."""
        return self.select(self.compare("ogt", x, bound), bound, x)

    def at_least(self, x: str, bound: Operand) -> str:
        return self.select(self.compare("olt", x, bound), bound, x)

    def both(self, a: str, b: str) -> str:
        return self.f.value(f"and {self.bool} {a}, {b}")

    def either(self, a: str, b: str) -> str:
        return self.f.value(f"or {self.bool} {a}, {b}")

    def truth(self, value: bool) -> str:
        text = "true" if value else "false"
        return text if self.lanes == 1 else f"splat (i1 {text})"

    # Bits

    def whole(self, name: str, a: int | str, b: int | str) -> str:
        """Arithmetic on integers of the same width."""
        a, b = (self.literal(x) if isinstance(x, int) else x for x in (a, b))
        return self.f.value(f"{name} {self.ity} {a}, {b}")

    def literal(self, n: int) -> str:
        return str(n) if self.lanes == 1 else f"splat ({self.integer} {n})"

    def bits(self, x: str) -> str:
        return self.f.value(f"bitcast {self.ty} {x} to {self.ity}")

    def from_bits(self, n: str) -> str:
        return self.f.value(f"bitcast {self.ity} {n} to {self.ty}")

    def sign_bit(self, x: str) -> str:
        """The sign alone, as bits."""
        return self.whole("and", self.bits(x), -(1 << self.format.width - 1))

    def flip(self, x: str, sign: str) -> str:
        """x with its sign changed where the bits ``sign`` say so."""
        return self.from_bits(self.whole("xor", self.bits(x), sign))

    def power(self, n: str, offset: int = 0) -> str:
        """2 ** (n + offset) for integers whose sum is a normal number's exponent.

        The bits of n above those of an exponent do not count.
        """
        shifted = self.whole("shl", n, self.format.fraction)
        one = self.format.bias + offset << self.format.fraction
        return self.from_bits(self.whole("add", shifted, one))

    def nearest(self, x: Operand, scale: float) -> tuple[str, str]:
        """x * scale rounded to an integer: as a number, and in the last bits of an integer."""
        shifted = self.fma(x, scale, self.format.magic)
        return self.sub(shifted, self.format.magic), self.bits(shifted)

    def doubles(self) -> Lanes:
        """The same lanes in double precision."""
        return Lanes(self.f, self.lanes, "double")

    def widen(self, x: str) -> str:
        """Lanes of floats in this double precision."""
        return self.f.value(f"fpext {vector(self.lanes, 'float')} {x} to {self.ty}")

    def narrow(self, x: str) -> str:
        """Lanes of this double precision as floats."""
        return self.f.value(f"fptrunc {self.ty} {x} to {vector(self.lanes, 'float')}")
