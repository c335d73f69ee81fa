"""Pointwise primitives as vector instructions: one small rule each.

A rule gets the values of its operands, all of one element type, and gives the value of its result
in registers. 16-bit floats are computed in float32; whoever calls rounds the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.emit import mangled, vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.run.compiler.elements import Element
    from flambeau.run.compiler.emit import Function

__all__ = ["COMPARISONS", "RULES", "Lanes", "convert", "supports"]


class Lanes:
    """A function under construction, and how many elements its vectors hold."""

    def __init__(self, function: Function, lanes: int) -> None:
        self.f = function
        self.lanes = lanes

    def type(self, register: str) -> str:
        return vector(self.lanes, register)

    def bits(self) -> str:
        """The type of conditions."""
        return vector(self.lanes, "i1")

    def literal(self, value: float, el: Element) -> str:
        return self.f.literal(self.lanes, el.register, value)

    def op(self, name: str, el: Element, *xs: str) -> str:
        return self.f.value(f"{name} {self.type(el.register)} {', '.join(xs)}")

    def intrinsic(self, name: str, el: Element, *xs: str) -> str:
        ty = self.type(el.register)
        return self.f.call(f"llvm.{name}.{mangled(ty)}", ty, *[(ty, x) for x in xs])

    def select(self, condition: str, x: str, y: str, register: str) -> str:
        ty = self.type(register)
        return self.f.value(f"select {self.bits()} {condition}, {ty} {x}, {ty} {y}")

    def compare(self, name: str, el: Element, x: str, y: str) -> str:
        """``name``: oeq, une, olt, ole, ogt, oge, uno for floats; the integers' own are derived."""
        ty = self.type(el.register)
        if el.kind == "f":
            return self.f.value(f"fcmp {name} {ty} {x}, {y}")
        core = {"oeq": "eq", "une": "ne"}.get(name)
        if core is None:
            core = ("s" if el.kind == "i" else "u") + name[1:]
        return self.f.value(f"icmp {core} {ty} {x}, {y}")


Rule = "Callable[[Lanes, list[str], Element, dict[str, Any]], str]"

RULES: dict[str, Any] = {}
# Kinds of elements each rule is for.
KINDS: dict[str, str] = {}
COMPARISONS = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


def rule(names: str, kinds: str) -> Callable:
    def add(f: Any) -> Any:
        for name in names.split():
            RULES[name] = f
            KINDS[name] = kinds
        return f

    return add


def supports(name: str, kind: str) -> bool:
    """Whether there is a rule for a primitive on elements of a kind."""
    return name in RULES and kind in KINDS[name]


def _arithmetic(name: str, float_op: str, int_op: str, bool_op: str | None) -> None:
    def emit(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
        if el.kind == "f":
            return e.op(float_op, el, *xs)
        return e.op(bool_op if el.kind == "b" else int_op, el, *xs)

    rule(name, "fiub" if bool_op else "fiu")(emit)


_arithmetic("add", "fadd", "add", "or")
_arithmetic("sub", "fsub", "sub", None)
_arithmetic("mul", "fmul", "mul", "and")


@rule("div", "f")
def _div(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return e.op("fdiv", el, *xs)


@rule("neg", "fiu")
def _neg(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return e.op("fneg", el, *xs) if el.kind == "f" else e.op("sub", el, e.literal(0, el), *xs)


@rule("abs", "fiu")
def _abs(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    if el.kind == "f":
        return e.intrinsic("fabs", el, xs[0])
    if el.kind == "u":
        return xs[0]
    negative = e.compare("olt", el, xs[0], e.literal(0, el))
    return e.select(negative, _neg(e, xs, el, attrs), xs[0], el.register)


@rule("square", "fiu")
def _square(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return e.op("fmul" if el.kind == "f" else "mul", el, xs[0], xs[0])


@rule("reciprocal", "f")
def _reciprocal(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return e.op("fdiv", el, e.literal(1, el), xs[0])


@rule("sqrt", "f")
def _sqrt(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return e.intrinsic("sqrt", el, xs[0])


@rule("rsqrt", "f")
def _rsqrt(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return e.op("fdiv", el, e.literal(1, el), e.intrinsic("sqrt", el, xs[0]))


@rule("sign", "fiu")
def _sign(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    zero = e.literal(0, el)
    above = e.compare("ogt", el, xs[0], zero)
    positive = e.select(above, e.literal(1, el), zero, el.register)
    if el.kind == "u":
        return positive
    below = e.compare("olt", el, xs[0], zero)
    return e.select(below, e.literal(-1, el), positive, el.register)


@rule("relu", "fiu")
def _relu(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    if el.kind == "u":
        return xs[0]
    zero = e.literal(0, el)
    # NaN is not below zero: it stays.
    return e.select(e.compare("olt", el, xs[0], zero), zero, xs[0], el.register)


@rule("gate", "f")
def _gate(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    zero = e.literal(0, el)
    return e.select(e.compare("ole", el, xs[1], zero), zero, xs[0], el.register)


for _name, _intrinsic in (
    ("floor", "floor"), ("ceil", "ceil"), ("trunc", "trunc"), ("round", "roundeven"),
):  # fmt: skip

    def _rounding(
        e: Lanes, xs: list[str], el: Element, attrs: dict, intrinsic: str = _intrinsic
    ) -> str:
        return e.intrinsic(intrinsic, el, xs[0])

    rule(_name, "f")(_rounding)


@rule("isnan", "f")
def _isnan(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return e.compare("uno", el, xs[0], xs[0])


@rule("isfinite isinf", "f")
def _isfinite(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    infinity = e.literal(float("inf"), el)
    size = e.intrinsic("fabs", el, xs[0])
    return e.compare(attrs["comparison"], el, size, infinity)


for _name, _comparison in (("isfinite", "one"), ("isinf", "oeq")):

    def _finiteness(
        e: Lanes, xs: list[str], el: Element, attrs: dict, comparison: str = _comparison
    ) -> str:
        return _isfinite(e, xs, el, {"comparison": comparison})

    rule(_name, "f")(_finiteness)


def _extremum(comparison: str, quiet: bool) -> Any:
    def emit(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
        x, y = xs
        if el.kind == "b":
            return e.op("or" if comparison == "ogt" else "and", el, x, y)
        if el.kind != "f":
            return e.select(e.compare(comparison, el, x, y), x, y, el.register)
        if quiet:
            best = e.select(e.compare(comparison, el, y, x), y, x, el.register)
            return e.select(e.compare("uno", el, x, x), y, best, el.register)
        # y unless x is better, or NaN.
        best = e.select(e.compare(comparison, el, x, y), x, y, el.register)
        return e.select(e.compare("uno", el, x, x), x, best, el.register)

    return emit


rule("maximum clamp_min", "fiub")(_extremum("ogt", False))
rule("minimum clamp_max", "fiub")(_extremum("olt", False))
rule("fmax", "fiu")(_extremum("ogt", True))
rule("fmin", "fiu")(_extremum("olt", True))


@rule("clamp", "fiu")
def _clamp(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    low = RULES["maximum"](e, [xs[0], xs[1]], el, attrs)
    return RULES["minimum"](e, [low, xs[2]], el, attrs)


@rule("lerp", "f")
def _lerp(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    x, y, weight = xs
    gap = e.op("fsub", el, y, x)
    from_x = e.op("fadd", el, x, e.op("fmul", el, weight, gap))
    rest = e.op("fsub", el, e.literal(1, el), weight)
    from_y = e.op("fsub", el, y, e.op("fmul", el, gap, rest))
    near = e.compare("olt", el, e.intrinsic("fabs", el, weight), e.literal(0.5, el))
    return e.select(near, from_x, from_y, el.register)


for _name, _core in COMPARISONS.items():

    def _comparing(e: Lanes, xs: list[str], el: Element, attrs: dict, core: str = _core) -> str:
        return e.compare(core, el, *xs)

    rule(_name, "fiub")(_comparing)

for _name in ("and", "or", "xor"):

    def _bitwise(e: Lanes, xs: list[str], el: Element, attrs: dict, name: str = _name) -> str:
        return e.op(name, el, *xs)

    rule(_name, "iub")(_bitwise)


@rule("not", "iub")
def _not(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return e.op("xor", el, xs[0], e.literal(1 if el.kind == "b" else -1, el))


@rule("copysign", "f")
def _copysign(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    return e.intrinsic("copysign", el, *xs)


@rule("pow", "f")
def _pow(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    power = attrs.get("exponent")
    if power == 2:
        return _square(e, xs, el, attrs)
    if power == 0.5:
        return _sqrt(e, xs, el, attrs)
    if power == -0.5:
        return _rsqrt(e, xs, el, attrs)
    if power == 1:
        return xs[0]
    if power == -1:
        return _reciprocal(e, xs, el, attrs)
    if power == 3:
        return e.op("fmul", el, e.op("fmul", el, xs[0], xs[0]), xs[0])
    from flambeau.run.compiler.vector_math import FUNCTIONS

    return FUNCTIONS["pow"](e.f, e.lanes, el.register, *xs)


def _elementary(name: str) -> Any:
    def emit(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
        from flambeau.run.compiler.vector_math import FUNCTIONS

        return FUNCTIONS[name](e.f, e.lanes, el.register, *xs)

    return emit


for _name in (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sigmoid", "erf", "erfc",
    "sin", "cos", "tan", "sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh", "atanh",
    "atan2", "xlogy", "logaddexp",
):  # fmt: skip
    rule(_name, "f")(_elementary(_name))


@rule("binary_cross_entropy", "f")
def _binary_cross_entropy(e: Lanes, xs: list[str], el: Element, attrs: dict) -> str:
    x, y = xs
    floor = e.literal(-100, el)

    def clamped(v: str) -> str:
        return RULES["maximum"](e, [v, floor], el, attrs)

    positive = e.op("fmul", el, y, clamped(RULES["log"](e, [x], el, attrs)))
    other = clamped(RULES["log1p"](e, [e.op("fneg", el, x)], el, attrs))
    rest = e.op("fsub", el, y, e.literal(1, el))
    return e.op("fsub", el, e.op("fmul", el, rest, other), positive)


def convert(e: Lanes, x: str, source: Element, target: Element) -> str:
    """``x`` as another element type, as casts of PyTorch's CPU do it."""
    if source.register == target.register and source.kind == target.kind:
        return x
    a, b = e.type(source.register), e.type(target.register)
    if target.kind == "b":
        zero = e.literal(0, source)
        return e.compare("une", source, x, zero)
    if source.kind == "b":
        return e.f.value(f"{'uitofp' if target.kind == 'f' else 'zext'} {a} {x} to {b}")
    if source.kind == "f":
        if target.kind == "f":
            wider = target.size > source.size or source.register == "float"
            return e.f.value(f"{'fpext' if wider else 'fptrunc'} {a} {x} to {b}")
        # Through int64; what does not fit is the lowest int64, as the processor gives it.
        wide = e.type("i64")
        limit = 9223372036854775808.0
        size = e.intrinsic("fabs", source, x)
        fits = e.compare("olt", source, size, e.literal(limit, source))
        raw = e.f.value(f"fptosi {a} {x} to {wide}")
        lowest = e.f.literal(e.lanes, "i64", -(1 << 63))
        result = e.select(fits, raw, lowest, "i64")
        return result if b == wide else e.f.value(f"trunc {wide} {result} to {b}")
    if target.kind == "f":
        return e.f.value(f"{'uitofp' if source.kind == 'u' else 'sitofp'} {a} {x} to {b}")
    if source.size == target.size:
        return x
    if source.size > target.size:
        return e.f.value(f"trunc {a} {x} to {b}")
    return e.f.value(f"{'zext' if source.kind == 'u' else 'sext'} {a} {x} to {b}")
