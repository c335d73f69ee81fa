"""Pointwise primitives of two operands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.graph import Var
from flambeau.ir.pointwise import _flat, same, truth
from flambeau.ir.primitive import PRIMITIVES, conj, like_operand, primitive, unbroadcast
from flambeau.ir.scalars import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable


P = PRIMITIVES


def binary(
    name: str,
    meaning: str,
    reference: Callable,
    gradient: tuple[Callable | None, ...] | None = None,
    rule: Callable = same,
) -> None:
    primitive(name, meaning, rule=rule, reference=reference, gradient=gradient)


def _beside_halves(f: Callable, exact: bool) -> Callable:
    """``f``, where a number beside 16-bit elements is rounded to their type, or not (``exact``).

    PyTorch does the one or the other, by the operation; NumPy rounds beside float16 alone.
    """

    def reference(x: Any, y: Any) -> Any:
        if x.__class__ is y.__class__:
            return f(x, y)
        for number, array in ((y, x), (x, y)):
            kind = getattr(array, "dtype", None)
            if number.__class__ not in (int, float) or kind is None:
                continue
            if kind.itemsize != 2 or kind.kind not in "fV":
                break
            if not exact:
                number = kind.type(number)
                return f(x, number) if array is x else f(number, y)
            wide = array.astype(np.float32), np.float32(number)
            return f(*(wide if array is x else wide[::-1])).astype(kind)
        return f(x, y)

    return reference


binary(
    "add",
    "x + y",
    _beside_halves(np.add, exact=False),
    (lambda g, x, y, *, out: like_operand(g, x), lambda g, x, y, *, out: like_operand(g, y)),
)


binary(
    "sub",
    "x - y",
    _beside_halves(np.subtract, exact=False),
    (lambda g, x, y, *, out: like_operand(g, x), lambda g, x, y, *, out: like_operand(-g, y)),
)


def _conj(x: Any) -> Any:
    return conj(x) if isinstance(x, Var) else (x.conjugate() if isinstance(x, complex) else x)


binary(
    "mul",
    "x * y",
    _beside_halves(np.multiply, exact=True),
    (
        lambda g, x, y, *, out: like_operand(g * _conj(y), x),
        lambda g, x, y, *, out: like_operand(g * _conj(x), y),
    ),
)
binary(
    "div",
    "x / y (true division)",
    _beside_halves(np.true_divide, exact=True),
    (
        lambda g, x, y, *, out: like_operand(g / _conj(y), x),
        # From the operands: what backward keeps is no result, which may be written to.
        lambda g, x, y, *, out: like_operand(-g * conj(x / y / y), y),
    ),
)


def _integer_division(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if (
        np.asarray(x).dtype.kind in "iub"
        and np.asarray(y).dtype.kind in "iub"
        and np.any(np.equal(y, 0))
    ):
        raise RuntimeError("ZeroDivisionError")
    return np.floor_divide(x, y)


def _floor_divide(x: Any, y: Any) -> np.ndarray:
    if np.result_type(x, y).kind in "iu":
        return _integer_division(x, y)
    # Division by zero gives infinities, as the hardware's division does; NumPy's gives NaN.
    with np.errstate(all="ignore"):
        quotient = np.floor_divide(x, y)
        return np.where(np.equal(y, 0), np.true_divide(x, y), quotient).astype(np.result_type(x, y))


def _trunc_divide(x: Any, y: Any) -> np.ndarray:
    kind = np.result_type(x, y)
    if kind.kind in "iu":
        floor = _integer_division(x, y)
        inexact = (np.remainder(x, y) != 0) & ((np.less(x, 0)) != (np.less(y, 0)))
        return (floor + inexact).astype(kind)
    return np.trunc(np.true_divide(x, y)).astype(kind)


# Flat almost everywhere: the gradient is zero, but there.
_FLAT = (
    lambda g, x, y, *, out: _flat(g, x, out=out),
    lambda g, x, y, *, out: _flat(g, y, out=out),
)
binary("floor_divide", "floor(x / y)", _floor_divide, _FLAT)
binary("trunc_divide", "x / y rounded towards zero", _trunc_divide, _FLAT)


def _remainder(x: Any, y: Any) -> np.ndarray:
    if np.result_type(x, y).kind in "iub" and np.any(np.equal(y, 0)):
        raise RuntimeError("ZeroDivisionError")
    return np.remainder(x, y)


def _fmod(x: Any, y: Any) -> np.ndarray:
    if np.result_type(x, y).kind in "iub" and np.any(np.equal(y, 0)):
        raise RuntimeError("ZeroDivisionError")
    return np.fmod(x, y)


binary(
    "remainder",
    "x - y * floor(x / y)",
    _beside_halves(_remainder, exact=False),
    (
        lambda g, x, y, *, out: unbroadcast(g, x),
        lambda g, x, y, *, out: unbroadcast(-g * P["floor_divide"](x, y), y),
    ),
)
binary(
    "fmod",
    "x - y * trunc(x / y)",
    _beside_halves(_fmod, exact=False),
    (
        lambda g, x, y, *, out: unbroadcast(g, x),
        lambda g, x, y, *, out: unbroadcast(-g * P["trunc_divide"](x, y), y),
    ),
)


_power = _beside_halves(np.power, exact=False)


def _pow(x: Any, y: Any) -> np.ndarray:
    if type(y) in (int, float):
        if y == 2:
            return np.square(x)
        if y == 0.5:
            return np.sqrt(x)
        if getattr(x, "dtype", None) is not None and x.dtype.kind == "f":
            if y == 3:
                return x * x * x
            if y == -0.5:
                # As PyTorch has it: minus infinity for -0, NaN for minus infinity.
                return P["rsqrt"].reference(x)
    kind = np.result_type(x, y)
    if kind.kind in "iu" and np.any(np.less(y, 0)):
        # Integers to negative powers: 1, -1 or 0 as C++ integer division gives.
        xs, ys = np.broadcast_arrays(x, y)
        safe = np.power(xs, np.maximum(ys, 0))
        odd = np.where(ys % 2 == 0, 1, -1)
        negative = np.where(xs == 1, 1, np.where(xs == -1, odd, 0))
        return np.where(ys < 0, negative, safe).astype(kind)
    return _power(x, y)


def _pow_base(g: Var, x: Var, y: Any, *, out: Var) -> Var | None:
    if not isinstance(x, Var):
        return None
    if isinstance(y, (int, float, complex)):
        if y == 0:
            return _flat(g, x, out=out)
        if y == 1:
            return like_operand(g, x)
        if y == 2:
            return g * (conj(x) * 2.0)
        if isinstance(y, int):
            y = float(y)
        return g * (conj(P["pow"](x, y - 1)) * (y.conjugate() if isinstance(y, complex) else y))
    if y.dtype is None:
        return like_operand(g * P["mul"](P["pow"](x, y - 1.0), y), x)
    slope = g * conj(P["pow"](x, y - 1.0) * y)
    return like_operand(P["where"](P["eq"](y, 0.0), 0.0, slope), x)


def _pow_exponent(g: Var, x: Any, y: Var, *, out: Var) -> Var | None:
    if not isinstance(y, Var) or y.dtype is None:
        return None
    if not isinstance(x, Var):
        if x == 0:
            return like_operand(P["where"](P["ge"](y, 0.0), 0.0, g * out * -math.inf), y)
        import cmath

        log = (
            cmath.log(x)
            if isinstance(x, complex) or (x < 0 and y.dtype.is_complex)
            else (math.log(x) if x > 0 else math.nan)
        )
        return like_operand(g * conj(out * log), y)
    if x.dtype is None:
        x = P["full"](x, shape=(), dtype=y.dtype)
    product = out * P["log"](x)
    if x.dtype.is_complex:
        return like_operand(g * conj(product), y)
    settled = P["mul"](P["eq"](x, 0.0), P["ge"](y, 0.0))
    return like_operand(g * P["where"](settled, 0.0, product), y)


binary("pow", "x to the y", _pow, (_pow_base, _pow_exponent))


def _extremum(comparison: str) -> tuple[Callable, Callable]:
    """Gradients of max and min: none to the loser, half to each of equals; all where one is NaN.

    ``comparison`` is what the loser is.
    """

    def share(g: Var, mine: Any, theirs: Any) -> Var:
        kept = P["where"](P["eq"](mine, theirs), g * 0.5, g)
        return unbroadcast(P["where"](P[comparison](mine, theirs), 0.0, kept), mine)

    return (
        lambda g, x, y, *, out: share(g, x, y),
        lambda g, x, y, *, out: share(g, y, x),
    )


binary("maximum", "the larger, NaN if either is", np.maximum, _extremum("lt"))
binary("minimum", "the smaller, NaN if either is", np.minimum, _extremum("gt"))


def _atan2_gradient(sign: float, position: int) -> Callable:
    def rule(g: Var, y: Var, x: Var, *, out: Var) -> Var:
        mine, other = (y, x) if position == 0 else (x, y)
        return unbroadcast(g * other * sign / (x * x + y * y), mine)

    return rule


def _atan2(y: Any, x: Any) -> np.ndarray:
    """NumPy's for float32 misses pi / 4 by a rounding."""
    wide = np.arctan2(y, x, dtype=np.float64)
    return wide.astype(np.result_type(y, x), copy=False)


binary(
    "atan2",
    "angle of the point (x, y)",
    _atan2,
    (_atan2_gradient(1.0, 0), _atan2_gradient(-1.0, 1)),
)


def _copysign(x: Any, y: Any) -> np.ndarray:
    return np.copysign(x, y)


binary(
    "copysign",
    "|x| with the sign of y",
    _copysign,
    (
        lambda g, x, y, *, out: unbroadcast(g * P["sign"](x) * P["sign"](out), x),
        lambda g, x, y, *, out: _flat(g, y, out=out),
    ),
)
binary(
    "nextafter",
    "the next number from x towards y",
    np.nextafter,
    (
        lambda g, x, y, *, out: unbroadcast(P["where"](P["ne"](x, y), g, 0.0), x),
        lambda g, x, y, *, out: _flat(g, y, out=out),
    ),
)
binary("and", "bitwise (bool: logical) and", np.bitwise_and)
binary("or", "bitwise (bool: logical) or", np.bitwise_or)
binary("xor", "bitwise (bool: logical) exclusive or", np.bitwise_xor)


def _shift(f: Callable) -> Callable:
    def reference(x: np.ndarray, y: Any) -> np.ndarray:
        bits = np.result_type(x).itemsize * 8
        inside = np.less(y, bits) & np.greater_equal(y, 0)
        kept = f(x, np.where(inside, y, 0).astype(np.result_type(x)))
        over = np.less(x, 0) * -1 if f is np.right_shift else 0
        return np.where(inside, kept, over).astype(np.result_type(x))

    return reference


binary("shift_left", "x * 2**y, bits dropped", _shift(np.left_shift))
binary("shift_right", "x / 2**y, rounded down", _shift(np.right_shift))
binary("gcd", "greatest common divisor", np.gcd)


def _in_dtype(f: Callable) -> Callable:
    """A comparison in the dtype of its arrays: a number that this does not hold wraps."""

    def reference(x: Any, y: Any) -> np.ndarray:
        if y.__class__ is int and x.dtype.kind in "iu":
            y = wrapped(y, x.dtype)
        elif y.__class__ in (int, float) and x.dtype.kind == "V":
            # NumPy would compare a bfloat16 as float32.
            y = x.dtype.type(y)
        return f(x, y)

    return reference


for _name, _meaning, _f in (
    ("eq", "x == y", np.equal),
    ("ne", "x != y", np.not_equal),
    ("lt", "x < y", np.less),
    ("le", "x <= y", np.less_equal),
    ("gt", "x > y", np.greater),
    ("ge", "x >= y", np.greater_equal),
):
    binary(_name, _meaning, _in_dtype(_f), rule=truth)
