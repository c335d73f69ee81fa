"""Pointwise primitives: operands broadcast; their dtypes are already equal (functions promote).

Those of two operands are in ``binary.py``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from flambeau import dtypes
from flambeau.ir.derive import ZERO
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, broadcast_shapes, conj, primitive, unbroadcast

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
    made = np.sign(x)
    return made if x.dtype.kind in "iu" else np.where(np.isnan(x), 0, made).astype(x.dtype)


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


def _grad_acosh(g: Var, x: Var, *, out: Var) -> Var:
    if x.dtype.is_complex:
        return g * conj(P["rsqrt"](x - 1.0) * P["rsqrt"](x + 1.0))
    return g * P["rsqrt"](x * x - 1.0)


unary("acosh", "inverse hyperbolic cosine", widened(np.arccosh), _grad_acosh)
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
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
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
