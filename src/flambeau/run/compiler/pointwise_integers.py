"""Quotients, remainders and common divisors of integers as vector instructions.

Processors divide no vectors of integers, so quotients are found in floating point: where 1 / |x| is
more than its precision, rounding never takes x / y over a whole number. Longer dividends take
two steps and a correction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.emit import mangled
from flambeau.run.compiler.lower import Lowering, Refused, _pointwise, lowering, scalar
from flambeau.run.compiler.nodes import Literal, Ref
from flambeau.run.compiler.pointwise import Lanes, rule

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.nodes import Operand

# Dividends whose quotients float64 gives in one step are below this; the greatest float64 that
# is an int64.
_ONE_STEP = 1 << 52
_GREATEST = float((1 << 63) - 1024)


class Integers:
    """Vectors of one integer type; comparisons are signed unless ``el`` is not."""

    def __init__(self, e: Lanes, el: Element) -> None:
        self.e, self.f, self.el = e, e.f, el
        self.ty = e.type(el.register)
        self.zero = e.literal(0, el)

    def op(self, name: str, *xs: str) -> str:
        return self.e.op(name, self.el, *xs)

    def select(self, condition: str, x: str, y: str) -> str:
        return self.e.select(condition, x, y, self.el.register)

    def is_zero(self, x: str) -> str:
        return self.e.compare("oeq", self.el, x, self.zero)

    def negative(self, x: str) -> str:
        return self.e.compare("olt", self.el, x, self.zero)

    def size(self, x: str) -> str:
        """|x|, unsigned: of the least number, too."""
        return (
            x
            if self.el.kind == "u"
            else self.select(self.negative(x), self.op("sub", self.zero, x), x)
        )

    def both(self, a: str, b: str) -> str:
        return self.f.value(f"and {self.e.bits()} {a}, {b}")

    def differ(self, a: str, b: str) -> str:
        return self.f.value(f"xor {self.e.bits()} {a}, {b}")

    def any(self, conditions: str) -> str:
        if self.e.lanes == 1:
            return conditions
        name = f"llvm.vector.reduce.or.v{self.e.lanes}i1"
        return self.f.call(name, "i1", (self.e.bits(), conditions))

    # Division

    def quotient(self, x: str, y: str, register: str, rounding: str) -> str:
        """x / y worked out in floats of type ``register``, rounded to a whole number."""
        e, f = self.e, self.f
        ty = e.type(register)
        kind = "uitofp" if self.el.kind == "u" else "sitofp"
        a, b = (f.value(f"{kind} {self.ty} {v} to {ty}") for v in (x, y))
        name = f"llvm.{rounding}.{mangled(ty)}"
        whole = f.call(name, ty, (ty, f.value(f"fdiv {ty} {a}, {b}")))
        if register == "double":
            limit = f.literal(e.lanes, register, _GREATEST)
            # The least number by -1: one more than there is. Not ``minnum``, which NaN passes.
            fits = f.value(f"fcmp ole {ty} {whole}, {limit}")
            whole = f.value(f"select {e.bits()} {fits}, {ty} {whole}, {ty} {limit}")
        through = "i32" if register == "float" else "i64"
        found = f.value(f"fptosi {ty} {whole} to {e.type(through)}")
        if self.el.register == through:
            return found
        return f.value(f"trunc {e.type(through)} {found} to {self.ty}")

    def rest(self, x: str, quotient: str, y: str) -> str:
        return self.op("sub", x, self.op("mul", quotient, y))

    def divided(self, x: str, y: str) -> tuple[str, str]:
        """The quotient rounded down, and the remainder, which has the divisor's sign."""
        if self.el.size < 8:
            found = self.quotient(x, y, "double" if self.el.size == 4 else "float", "floor")
            return found, self.rest(x, found, y)
        e, f = self.e, self.f
        limit = e.literal(_ONE_STEP, self.el)
        far = f.value(f"icmp ugt {self.ty} {self.size(x)}, {limit}")
        found = self.quotient(x, y, "double", "floor")
        rounds = f.value(f"zext i1 {self.any(far)} to i64")
        carried = [(self.ty, found), (self.ty, self.rest(x, found, y))]
        with f.loop("0", rounds, carried=carried) as loop:
            first, rest = loop.carried
            second = self.quotient(rest, y, "double", "floor")
            found, rest = self.op("add", first, second), self.rest(rest, second, y)
            # Near a whole number either step may be one off.
            low = self.both(
                self.differ(self.negative(rest), self.negative(y)),
                e.compare("une", self.el, rest, self.zero),
            )
            found = self.select(low, self.op("sub", found, e.literal(1, self.el)), found)
            rest = self.select(low, self.op("add", rest, y), rest)
            high = f.value(f"icmp uge {self.ty} {self.size(rest)}, {self.size(y)}")
            found = self.select(high, self.op("add", found, e.literal(1, self.el)), found)
            rest = self.select(high, self.op("sub", rest, y), rest)
            loop.carry(found, rest)
        return loop.result[0], loop.result[1]

    def towards_zero(self, x: str, y: str) -> tuple[str, str]:
        """The quotient without its fraction, and the remainder, which has the dividend's sign."""
        found, rest = self.divided(x, y)
        if self.el.kind == "u":
            return found, rest
        low = self.both(
            self.differ(self.negative(x), self.negative(y)),
            self.e.compare("une", self.el, rest, self.zero),
        )
        more = self.op("add", found, self.e.literal(1, self.el))
        return self.select(low, more, found), self.select(low, self.op("sub", rest, y), rest)

    # Divisors

    def _unsigned(self, name: str, *xs: str) -> str:
        return self.f.call(f"llvm.{name}.{mangled(self.ty)}", self.ty, *[(self.ty, x) for x in xs])

    def _zeros(self, x: str) -> str:
        """How many of the last bits of a number are zero, for zero one less than there are."""
        flag = ("i1", "false")
        found = self.f.call(f"llvm.cttz.{mangled(self.ty)}", self.ty, (self.ty, x), flag)
        return self._unsigned("umin", found, self.e.literal(8 * self.el.size - 1, self.el))

    def common(self, a: str, b: str) -> str:
        """The greatest common divisor of unsigned numbers, by halving [Stein 1967]."""
        f, e = self.f, self.e
        twos = self._zeros(self.op("or", a, b))
        # Of zero and a number it is that number, which both are then.
        a, b = self.select(self.is_zero(a), b, a), self.select(self.is_zero(b), a, b)
        a, b = (self.op("lshr", v, self._zeros(v)) for v in (a, b))
        going = self.any(e.compare("une", self.el, a, b))
        with f.loop("0", str(1 << 10), carried=[(self.ty, a), (self.ty, b), ("i1", going)],
                    while_last=True) as loop:  # fmt: skip
            a, b, _ = loop.carried
            gap = self.op("sub", self._unsigned("umax", a, b), self._unsigned("umin", a, b))
            low = self._unsigned("umin", a, b)
            odd = self.op("lshr", gap, self._zeros(gap))
            b = self.select(self.is_zero(gap), low, odd)
            loop.carry(low, b, self.any(e.compare("une", self.el, low, b)))
        return self.op("shl", loop.result[0], twos)


def _wide(e: Lanes, el: Element, xs: list[str]) -> tuple[Integers, list[str]]:
    """Sizes of integers in vectors of at least 32 bits, which have the instructions."""
    v = Integers(e, el)
    sizes = [v.size(x) for x in xs]
    if el.size >= 4:
        return v, sizes
    word = element(dtypes.int32)
    up = [e.f.value(f"zext {v.ty} {x} to {e.type(word.register)}") for x in sizes]
    return Integers(e, word), up


def _narrowed(v: Integers, el: Element, x: str) -> str:
    return x if v.el.size <= el.size else v.f.value(f"trunc {v.ty} {x} to {v.e.type(el.register)}")


@rule("gcd", "iu")
def _gcd(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    v, sizes = _wide(e, el, xs)
    return _narrowed(v, el, v.common(*sizes))


@rule("lcm", "iu")
def _lcm(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    v, (x, y) = _wide(e, el, xs)
    divisor = v.common(x, y)
    divisor = v.select(v.is_zero(divisor), e.literal(1, v.el), divisor)
    # The size of the least number is negative as it is read here.
    found = v.op("mul", v.size(v.divided(x, divisor)[0]), y)
    return _narrowed(v, el, v.size(found) if el.size >= 4 else found)


def _quotients(name: str, down: bool, part: int) -> None:
    def emit(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
        v = Integers(e, el)
        return (v.divided if down else v.towards_zero)(*xs)[part]

    rule(f"integer_{name}", "iu")(emit)


_quotients("floor_divide", True, 0)
_quotients("remainder", True, 1)
_quotients("trunc_divide", False, 0)
_quotients("fmod", False, 1)


@lowering("floor_divide remainder trunc_divide fmod")
def _division(low: Lowering, e: Entry, x: Operand, y: Operand) -> Ref:
    out = e.out_avals[0]
    el = element(out.dtype)
    if el.kind == "f":
        return _pointwise(low, e, x, y)
    if el.kind == "b" or {a.dtype for a in e.in_avals if a.dtype is not None} != {out.dtype}:
        raise Refused("division of this dtype")
    x, y = (scalar(low, o, el) for o in (x, y))
    if y.__class__ is Literal:
        # As the dtype has it.
        if not int(y.value) % (1 << 8 * el.size):
            raise Refused("by zero")
    else:
        shape = y.view.shape if y.__class__ is Ref else ()
        low.guard(low.map("eq", [y, Literal(0)], shape, el, element(dtypes.bool_)))
    return low.map(f"integer_{e.prim.name}", [x, y], out.shape, el)
