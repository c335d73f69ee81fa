"""Pointwise primitives: operands broadcast; their dtypes are already equal (functions promote)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from flambeau import dtypes
from flambeau.ir.derive import ZERO
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import (
    PRIMITIVES,
    broadcast_shapes,
    conj,
    like_operand,
    primitive,
    unbroadcast,
)
from flambeau.ir.scalars import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable


def same(*avals: Aval, **attrs: Any) -> Aval:
    """Shape: the broadcast one. Dtype: the operands'."""
    first = avals[0]
    if len(avals) == 1:
        return first
    dtype = next(a.dtype for a in avals if a.dtype is not None)
    if all(a.shape == first.shape for a in avals):
        return first if first.dtype is dtype else Aval(first.shape, dtype)
    return Aval(broadcast_shapes(*[a.shape for a in avals]), dtype)


def truth(*avals: Aval, **attrs: Any) -> Aval:
    """Shape: the broadcast one. Dtype: bool."""
    return Aval(broadcast_shapes(*[a.shape for a in avals]), dtypes.bool_)


def chosen(condition: Aval, *avals: Aval) -> Aval:
    """Shape: the broadcast one. Dtype: that of the values chosen from."""
    dtype = next(a.dtype for a in avals if a.dtype is not None)
    return Aval(broadcast_shapes(condition.shape, *[a.shape for a in avals]), dtype)


def real_of(x: Aval) -> Aval:
    """The same shape; the dtype of the parts."""
    return Aval(x.shape, x.dtype.to_real())


def unary(
    name: str,
    meaning: str,
    reference: Callable,
    gradient: Callable | None = None,
    rule: Callable = same,
    host: bool = False,
) -> None:
    primitive(name, meaning, rule=rule, reference=reference, gradient=gradient, host=host)


def widened(f: Callable) -> Callable:
    """``f`` computed in float32 where NumPy has no loop for the 16-bit types or loses digits."""

    def reference(x: np.ndarray) -> np.ndarray:
        if x.dtype.itemsize == 2 and x.dtype.kind in "fV":
            return f(x.astype(np.float32)).astype(x.dtype)
        return f(x)

    return reference


def _log10(x: np.ndarray) -> np.ndarray:
    # NumPy's float32 loop misses powers of ten by an ulp.
    return np.log10(x.astype(np.float64)).astype(x.dtype) if x.dtype == np.float32 else np.log10(x)


P = PRIMITIVES

# ------------------------------------------------------------------ arithmetic, one operand

unary("neg", "-x", np.negative, lambda g, x, *, out: -g)
unary(
    "abs",
    "|x|",
    np.abs,
    lambda g, x, *, out: (g * P["sign"](x)) if not x.dtype.is_complex else P["sgn"](x) * g,
    rule=real_of,
)


def _flat(g: Var, *operands: Var, out: Var) -> Var:
    """The gradient of a step function: zeros, whatever the values."""
    return P["full"](0.0, shape=operands[0].shape, dtype=operands[0].dtype)


def _sign(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "b":
        return x
    # NaN has sign 0.
    return np.sign(x) if x.dtype.kind in "iu" else np.nan_to_num(np.sign(x))


unary("sign", "-1, 0 or 1, and 0 for NaN", _sign, _flat)


def _sgn(x: np.ndarray) -> np.ndarray:
    size = np.abs(x)
    return np.where(size == 0, 0, x / np.where(size == 0, 1, size)).astype(x.dtype)


def _sgn_gradient(g: Var, x: Var, *, out: Var) -> Var:
    size = P["cast"](P["abs"](x), dtype=x.dtype)
    return (g - out * P["cast"](P["real"](conj(out) * g), dtype=x.dtype)) / size


unary("sgn", "x / |x|, 0 at 0 (complex)", _sgn, _sgn_gradient)
unary("conj", "complex conjugate", np.conj, lambda g, x, *, out: conj(g))
unary(
    "real",
    "real part",
    lambda x: x.real.copy(),
    lambda g, x, *, out: P["cast"](g, dtype=x.dtype),
    rule=real_of,
)
unary(
    "imag",
    "imaginary part",
    lambda x: x.imag.copy(),
    lambda g, x, *, out: P["complex"](g * 0.0, g),
    rule=real_of,
)
unary(
    "angle", "argument of a number", lambda x: np.angle(x).astype(x.real.dtype), None, rule=real_of
)
unary("reciprocal", "1 / x", lambda x: 1 / x, lambda g, x, *, out: -g * conj(out * out))
unary("square", "x * x", np.square, lambda g, x, *, out: g * (conj(x) * 2.0))
unary("sqrt", "square root", widened(np.sqrt), lambda g, x, *, out: g / (conj(out) * 2.0))
unary(
    "rsqrt",
    "1 / square root",
    widened(lambda x: 1 / np.sqrt(x)),
    lambda g, x, *, out: g * conj(out * out * out) * -0.5,
)
unary("exp", "e to the x", widened(np.exp), lambda g, x, *, out: g * conj(out))
unary(
    "exp2",
    "2 to the x",
    widened(np.exp2 if hasattr(np, "exp2") else lambda x: 2**x),
    lambda g, x, *, out: g * out * math.log(2),
)
unary("expm1", "e to the x, less 1", widened(np.expm1), lambda g, x, *, out: g * conj(out + 1.0))
unary("log", "natural logarithm", widened(np.log), lambda g, x, *, out: g / conj(x))
unary("log1p", "log(1 + x)", widened(np.log1p), lambda g, x, *, out: g / conj(x + 1.0))
unary(
    "log2",
    "logarithm to base 2",
    widened(lambda x: np.log2(x)),
    lambda g, x, *, out: g / conj(x * math.log(2)),
)
unary(
    "log10",
    "logarithm to base 10",
    widened(_log10),
    lambda g, x, *, out: g / conj(x * math.log(10)),
)
unary("sin", "sine", widened(np.sin), lambda g, x, *, out: g * conj(P["cos"](x)))
unary("cos", "cosine", widened(np.cos), lambda g, x, *, out: -g * conj(P["sin"](x)))
unary("tan", "tangent", widened(np.tan), lambda g, x, *, out: g * conj(out * out + 1.0))
unary(
    "asin", "arc sine", widened(np.arcsin), lambda g, x, *, out: g * conj(P["rsqrt"](1.0 - x * x))
)
unary(
    "acos",
    "arc cosine",
    widened(np.arccos),
    lambda g, x, *, out: -g * conj(P["rsqrt"](1.0 - x * x)),
)
unary("atan", "arc tangent", widened(np.arctan), lambda g, x, *, out: g / conj(x * x + 1.0))
unary("sinh", "hyperbolic sine", widened(np.sinh), lambda g, x, *, out: g * conj(P["cosh"](x)))
unary("cosh", "hyperbolic cosine", widened(np.cosh), lambda g, x, *, out: g * conj(P["sinh"](x)))
unary(
    "tanh", "hyperbolic tangent", widened(np.tanh), lambda g, x, *, out: g * conj(1.0 - out * out)
)
unary(
    "asinh",
    "inverse hyperbolic sine",
    widened(np.arcsinh),
    lambda g, x, *, out: g * conj(P["rsqrt"](x * x + 1.0)),
)
unary(
    "acosh",
    "inverse hyperbolic cosine",
    widened(np.arccosh),
    lambda g, x, *, out: g * conj(P["rsqrt"](x - 1.0) * P["rsqrt"](x + 1.0)),
)
unary(
    "atanh",
    "inverse hyperbolic tangent",
    widened(np.arctanh),
    lambda g, x, *, out: g / conj(1.0 - x * x),
)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


unary(
    "sigmoid",
    "1 / (1 + exp(-x))",
    widened(_sigmoid),
    lambda g, x, *, out: g * conj(out * (1.0 - out)),
)
unary(
    "relu",
    "max(x, 0), NaN kept",
    lambda x: np.maximum(x, 0),
    lambda g, x, *, out: P["gate"](g, out),
)
unary("floor", "largest integer not above", np.floor, _flat)
unary("ceil", "smallest integer not below", np.ceil, _flat)
unary("trunc", "integer part", np.trunc, _flat)
unary("round", "nearest integer, ties to even", np.rint, _flat)
unary("not", "bitwise (bool: logical) complement", np.invert)
unary("isnan", "whether not a number", np.isnan, rule=truth)
unary("isfinite", "whether neither infinite nor NaN", np.isfinite, rule=truth)
unary("signbit", "whether the sign bit is set", np.signbit, rule=truth)

# ----------------------------------------------------------------- arithmetic, two operands


def binary(
    name: str,
    meaning: str,
    reference: Callable,
    gradient: tuple[Callable | None, ...] | None = None,
    rule: Callable = same,
) -> None:
    primitive(name, meaning, rule=rule, reference=reference, gradient=gradient)


binary(
    "add",
    "x + y",
    np.add,
    (lambda g, x, y, *, out: like_operand(g, x), lambda g, x, y, *, out: like_operand(g, y)),
)


def _sub(x: Any, y: Any) -> np.ndarray:
    return np.subtract(x, y)


binary(
    "sub",
    "x - y",
    np.subtract,
    (lambda g, x, y, *, out: like_operand(g, x), lambda g, x, y, *, out: like_operand(-g, y)),
)


def _conj(x: Any) -> Any:
    return conj(x) if isinstance(x, Var) else (x.conjugate() if isinstance(x, complex) else x)


binary(
    "mul",
    "x * y",
    np.multiply,
    (
        lambda g, x, y, *, out: like_operand(g * _conj(y), x),
        lambda g, x, y, *, out: like_operand(g * _conj(x), y),
    ),
)
binary(
    "div",
    "x / y (true division)",
    np.true_divide,
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
    lambda g, x, y, *, out: unbroadcast(g * 0.0, x),
    lambda g, x, y, *, out: unbroadcast(g * 0.0, y),
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
    _remainder,
    (
        lambda g, x, y, *, out: unbroadcast(g, x),
        lambda g, x, y, *, out: unbroadcast(-g * P["floor_divide"](x, y), y),
    ),
)
binary(
    "fmod",
    "x - y * trunc(x / y)",
    _fmod,
    (
        lambda g, x, y, *, out: unbroadcast(g, x),
        lambda g, x, y, *, out: unbroadcast(-g * P["trunc_divide"](x, y), y),
    ),
)


def _pow(x: Any, y: Any) -> np.ndarray:
    if type(y) in (int, float):
        if y == 2:
            return np.square(x)
        if y == 0.5:
            return np.sqrt(x)
        if y == 3 and getattr(x, "dtype", None) is not None and x.dtype.kind == "f":
            return x * x * x
    kind = np.result_type(x, y)
    if kind.kind in "iu" and np.any(np.less(y, 0)):
        # Integers to negative powers: 1, -1 or 0 as C++ integer division gives.
        xs, ys = np.broadcast_arrays(x, y)
        safe = np.power(xs, np.maximum(ys, 0))
        odd = np.where(ys % 2 == 0, 1, -1)
        negative = np.where(xs == 1, 1, np.where(xs == -1, odd, 0))
        return np.where(ys < 0, negative, safe).astype(kind)
    return np.power(x, y)


def _pow_base(g: Var, x: Var, y: Any, *, out: Var) -> Var | None:
    if not isinstance(x, Var):
        return None
    if isinstance(y, (int, float, complex)):
        if y == 0:
            return g * 0.0
        if y == 1:
            return like_operand(g, x)
        if y == 2:
            return g * (conj(x) * 2.0)
        if isinstance(y, int):
            y = float(y)
        return g * (conj(P["pow"](x, y - 1)) * (y.conjugate() if isinstance(y, complex) else y))
    if y.dtype is None:
        return like_operand(g * P["mul"](P["pow"](x, y - 1.0), y), x)
    power = P["pow"](x, y - 1.0) * y
    zero = P["eq"](y, 0.0)
    return like_operand(g * conj(P["where"](zero, 0.0, power)), x)


def _pow_exponent(g: Var, x: Any, y: Var, *, out: Var) -> Var | None:
    if not isinstance(y, Var) or y.dtype is None:
        return None
    if not isinstance(x, Var):
        if x == 0:
            return like_operand(P["where"](P["ge"](y, 0.0), g * 0.0, g * out * -math.inf), y)
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
        loses = P["cast"](P[comparison](mine, theirs), dtype=g.dtype)
        ties = P["cast"](P["eq"](mine, theirs), dtype=g.dtype)
        return unbroadcast(g * (1.0 - (loses + ties * 0.5)), mine)

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


binary(
    "atan2",
    "angle of the point (x, y)",
    np.arctan2,
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
        lambda g, x, y, *, out: unbroadcast(g * 0.0, y),
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


def _where(condition: np.ndarray, x: Any, y: Any) -> np.ndarray:
    return np.where(condition, x, y)


primitive(
    "where",
    "x where the condition holds, else y",
    rule=chosen,
    reference=_where,
    gradient=(
        None,
        lambda g, c, x, y, *, out: unbroadcast(P["where"](c, g, 0.0), x),
        lambda g, c, x, y, *, out: unbroadcast(P["where"](c, 0.0, g), y),
    ),
)


primitive(
    "gate",
    "0 where y is not positive, else x (also where y is NaN)",
    rule=same,
    reference=lambda x, y: np.where(np.less_equal(y, 0), x.dtype.type(0), x),
    gradient=(lambda g, x, y, *, out: P["gate"](g, y), None),
)


def _fill_dtype(x: Aval, *, dtype: Any) -> Aval:
    return Aval(x.shape, dtype)


def cast(x: np.ndarray, *, dtype: dtypes.dtype) -> np.ndarray:
    """``x`` as ``dtype``; complex to real drops the imaginary part."""
    x = np.asarray(x)
    if x.dtype.kind == "c" and not dtype.is_complex and dtype is not dtypes.bool_:
        x = x.real
    if dtype.category == 1 and x.dtype.kind in "fV":
        if x.dtype == ml_dtypes.bfloat16 or x.dtype == np.float16:
            x = x.astype(np.float32)
        # Through int64, so that values outside a narrow type wrap as in C++.
        return x.astype(np.int64).astype(dtype.numpy)
    return x.astype(dtype.numpy)


primitive(
    "cast",
    "the same values in another dtype",
    rule=_fill_dtype,
    reference=cast,
    gradient=lambda g, x, *, out, dtype: (
        P["cast"](
            P["real"](g) if g.dtype.is_complex and not x.dtype.is_complex else g, dtype=x.dtype
        )
        if g.dtype is not x.dtype
        else g
    ),
)


def _complex_rule(re: Aval, im: Aval) -> Aval:
    return Aval(broadcast_shapes(re.shape, im.shape), re.dtype.to_complex())


def _complex(re: np.ndarray, im: np.ndarray) -> np.ndarray:
    dtype = np.complex128 if re.dtype == np.float64 else np.complex64
    out = np.empty(np.broadcast_shapes(re.shape, im.shape), dtype)
    out.real, out.imag = re, im
    return out


primitive(
    "complex",
    "re + i im",
    rule=_complex_rule,
    reference=_complex,
    gradient=(
        lambda g, re, im, *, out: unbroadcast(P["real"](g), re),
        lambda g, re, im, *, out: unbroadcast(P["imag"](g), im),
    ),
)
unary("detach", "x, without its history", lambda x: x)
primitive(
    "tied",
    "the first operand; the others have a gradient by it, which is zero",
    rule=lambda x, *others: x,
    reference=lambda x, *others: x,
    variadic=lambda position, g, *xs, out: ZERO if position else g,
)
primitive(
    "rebase",
    "the first's value with the second's history (a write through a detached alias)",
    rule=lambda data, history: data,
    reference=lambda data, history: data,
    gradient=(None, lambda g, data, history, *, out: g),
)
