"""More pointwise primitives: bounds, rounding, blending, and functions of two numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import Aval, Var
from flambeau.ir.pointwise import same, truth
from flambeau.ir.primitive import PRIMITIVES, conj, like_operand, primitive, unbroadcast

if TYPE_CHECKING:
    from collections.abc import Callable

P = PRIMITIVES


def dtype_of(*operands: Any) -> np.dtype:
    """The dtype of the operands that are arrays."""
    return next(x.dtype for x in operands if hasattr(x, "dtype"))


def in_float32(f: Callable) -> Callable:
    """A function of two numbers, computed in float32 for the 16-bit types."""

    def reference(x: Any, y: Any) -> np.ndarray:
        dtype = dtype_of(x, y)
        if dtype.itemsize == 2 and dtype.kind in "fV":
            return f(np.asarray(x, np.float32), np.asarray(y, np.float32)).astype(dtype)
        return f(x, y)

    return reference


def nothing(x: Var) -> Var:
    """Zeros as the gradient of ``x``, whatever its values."""
    return P["full"](0.0, shape=x.shape, dtype=x.dtype)


def _absent(g: np.ndarray, *, name: str, shape: tuple[int, ...], dtype: dtypes.dtype) -> None:
    raise NotImplementedError(f"the derivative for '{name}' is not implemented.")


primitive(
    "absent_gradient",
    "an error where the gradient of an operand that has none is computed",
    rule=lambda g, *, name, shape, dtype: Aval(shape, dtype),
    reference=_absent,
    raises=True,
)


primitive(
    "underived",
    "zeros with the history of an operand, of which there is no derivative",
    rule=lambda x, *, name, shape, dtype: Aval(shape, dtype),
    reference=lambda x, *, name, shape, dtype: np.zeros(shape, dtype.numpy),
    gradient=(
        lambda g, x, *, out, name, shape, dtype: P["absent_gradient"](
            g, name=name, shape=x.shape, dtype=x.dtype
        ),
    ),
)


def undefined(name: str, position: int) -> Callable:
    """The gradient of an operand that has none: computing it is an error."""

    def rule(g: Var, *operands: Any, out: Var) -> Var:
        x = operands[position]
        return P["absent_gradient"](g, name=name, shape=x.shape, dtype=x.dtype)

    return rule


def as_array(x: Any, dtype: dtypes.dtype) -> Var:
    """A number (a run-time one, too) as a value with a dtype."""
    if isinstance(x, Var) and x.dtype is not None:
        return x
    return P["full"](x, shape=(), dtype=dtype)


def kept(g: Var, where: Var, x: Var) -> Var:
    """``g`` where the condition holds, else zero, as the gradient of ``x``."""
    return unbroadcast(P["where"](where, g, 0.0), x)


def either(a: Var, b: Var) -> Var:
    return P["or"](a, b)


def both(a: Var, b: Var) -> Var:
    return P["and"](a, b)


primitive(
    "clone",
    "the same values in memory of their own",
    rule=same,
    reference=lambda x: np.array(x),
    gradient=lambda g, x, *, out: g,
)

# ------------------------------------------------------------------------------------- bounds

primitive(
    "clamp_min",
    "the larger of x and a bound, NaN if either is",
    rule=same,
    reference=np.maximum,
    gradient=(
        lambda g, x, low, *, out: kept(g, P["ge"](x, low), x),
        lambda g, x, low, *, out: kept(g, P["lt"](x, low), low),
    ),
)
primitive(
    "clamp_max",
    "the smaller of x and a bound, NaN if either is",
    rule=same,
    reference=np.minimum,
    gradient=(
        lambda g, x, high, *, out: kept(g, P["le"](x, high), x),
        lambda g, x, high, *, out: kept(g, P["gt"](x, high), high),
    ),
)


def _clamp(x: np.ndarray, low: Any, high: Any) -> np.ndarray:
    return np.minimum(np.maximum(x, low), high)


primitive(
    "clamp",
    "x between two bounds; the upper one where they cross",
    rule=same,
    reference=_clamp,
    gradient=(
        lambda g, x, low, high, *, out: kept(g, both(P["ge"](x, low), P["le"](x, high)), x),
        lambda g, x, low, high, *, out: kept(g, both(P["lt"](low, high), P["lt"](x, low)), low),
        lambda g, x, low, high, *, out: kept(g, either(P["gt"](x, high), P["lt"](high, low)), high),
    ),
)


def _wins(comparison: str, mine: Any, theirs: Any) -> Var:
    """Where fmax or fmin takes the first operand."""
    won = P[comparison](mine, theirs)
    return either(won, P["isnan"](theirs)) if isinstance(theirs, Var) else won


for _name, _meaning, _f, _order in (
    ("fmax", "the larger, the other if one is NaN", np.fmax, "ge"),
    ("fmin", "the smaller, the other if one is NaN", np.fmin, "le"),
):
    primitive(
        _name,
        _meaning,
        rule=same,
        reference=_f,
        gradient=(
            lambda g, x, y, *, out, order=_order: kept(g, _wins(order, x, y), x),
            lambda g, x, y, *, out, order=_order: kept(g, P["not"](_wins(order, x, y)), y),
        ),
    )

# ----------------------------------------------------------------------------------- rounding


def _round_decimals(x: np.ndarray, *, decimals: int) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.itemsize == 2:
        return _round_decimals(x.astype(np.float32), decimals=decimals).astype(x.dtype)
    scale = x.dtype.type(10.0 ** abs(decimals))
    return np.rint(x * scale) / scale if decimals > 0 else np.rint(x / scale) * scale


primitive(
    "round_decimals",
    "rounded to a number of decimals, ties to even",
    rule=same,
    reference=_round_decimals,
    gradient=lambda g, x, *, out, decimals: nothing(x),
)


def _frexp_rule(x: Aval) -> tuple[Aval, Aval]:
    return x, Aval(x.shape, dtypes.int32)


def _frexp(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(x)
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    mantissa, exponent = np.frexp(wide)
    return np.asarray(mantissa).astype(x.dtype), np.asarray(exponent).astype(np.int32)


def _frexp_gradient(g: tuple, x: Var, *, out: tuple) -> Var | None:
    if g[0] is None:
        return None
    return g[0] / P["exp2"](P["cast"](out[1], dtype=x.dtype))


primitive(
    "frexp",
    "mantissa in [0.5, 1) and exponent of 2",
    rule=_frexp_rule,
    reference=_frexp,
    gradient=_frexp_gradient,
)

# ----------------------------------------------------------------------- functions of one number


def _sinc(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.itemsize == 2:
        return _sinc(x.astype(np.float32)).astype(x.dtype)
    z = x * x.dtype.type(math.pi)
    return np.where(x == 0, 1, np.sin(z) / np.where(x == 0, 1, z)).astype(x.dtype)


def _sinc_gradient(g: Var, x: Var, *, out: Var) -> Var:
    zero = P["eq"](x, 0.0)
    safe = P["where"](zero, 1.0, x)
    slope = (P["cos"](safe * math.pi) - P["sinc"](x)) / safe
    return g * conj(P["where"](zero, 0.0, slope))


primitive(
    "sinc",
    "sin(pi x) / (pi x)",
    rule=same,
    reference=_sinc,
    gradient=_sinc_gradient,
)


def _logit(x: np.ndarray, *, eps: float | None) -> np.ndarray:
    x = np.asarray(x)
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    if eps is not None:
        wide = np.minimum(np.maximum(wide, wide.dtype.type(eps)), wide.dtype.type(1 - eps))
    return np.asarray(np.log(wide / (1 - wide))).astype(x.dtype)


def _logit_gradient(g: Var, x: Var, *, out: Var, eps: float | None) -> Var:
    low = eps or 0.0
    inside = both(P["ge"](x, low), P["le"](x, 1.0 - low))
    return P["where"](inside, g / (x * (1.0 - x)), math.nan if eps is None else 0.0)


primitive(
    "logit",
    "log(x / (1 - x)), x first kept eps from 0 and 1",
    rule=same,
    reference=_logit,
    gradient=_logit_gradient,
)


def _entr(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.itemsize == 2:
        return _entr(x.astype(np.float32)).astype(x.dtype)
    found = -x * np.log(np.where(x > 0, x, 1))
    return np.where(x > 0, found, np.where(x == 0, 0, np.where(np.isnan(x), x, -np.inf))).astype(
        x.dtype
    )


primitive(
    "entr",
    "-x log(x), 0 at 0, minus infinity below",
    rule=same,
    reference=_entr,
    gradient=lambda g, x, *, out: g * (-P["log"](x) - 1.0),
)

# --------------------------------------------------------------------- functions of two numbers

primitive(
    "hypot",
    "square root of x x + y y",
    rule=same,
    reference=in_float32(np.hypot),
    gradient=(
        lambda g, x, y, *, out: unbroadcast(g * (x / out), x),
        lambda g, x, y, *, out: unbroadcast(g * (y / out), y),
    ),
)


def _logaddexp(x: Any, y: Any) -> np.ndarray:
    if dtype_of(x, y).kind != "c":
        return np.logaddexp(x, y)
    larger = np.where(np.real(x) >= np.real(y), x, y)
    smaller = np.where(np.real(x) >= np.real(y), y, x)
    return (larger + np.log1p(np.exp(smaller - larger))).astype(dtype_of(x, y))


def _shares(base: str) -> tuple[Callable, Callable]:
    """The weights of the operands in a sum of exponentials."""

    def share(g: Var, mine: Var, theirs: Var) -> Var:
        return like_operand(g / conj(P[base](theirs - mine) + 1.0), mine)

    return (
        lambda g, x, y, *, out: share(g, x, y),
        lambda g, x, y, *, out: share(g, y, x),
    )


for _name, _base, _f in (
    ("logaddexp", "exp", _logaddexp),
    ("logaddexp2", "exp2", np.logaddexp2),
):
    primitive(
        _name,
        f"logarithm of the sum of {_base}(x) and {_base}(y)",
        rule=same,
        reference=in_float32(_f),
        gradient=_shares(_base),
    )


def _product_of_log(log: Callable) -> Callable:
    def reference(x: Any, y: Any) -> np.ndarray:
        found = np.where(np.equal(x, 0), 0, np.multiply(x, log(y)))
        return np.where(np.isnan(y), np.nan, found).astype(dtype_of(x, y))

    return in_float32(reference)


def _xlogy_first(log: str, bound: float) -> Callable:
    def rule(g: Var, x: Var, y: Any, *, out: Var) -> Var:
        y = as_array(y, x.dtype)
        y_log = P[log](y)
        empty = both(P["eq"](x, 0.0), P["le"](y, bound))
        return unbroadcast(P["where"](empty, 0.0, g * y_log), x)

    return rule


primitive(
    "xlogy",
    "x log(y), 0 where x is",
    rule=same,
    reference=_product_of_log(lambda y: np.log(y)),
    gradient=(
        _xlogy_first("log", 0.0),
        lambda g, x, y, *, out: unbroadcast(g * P["div"](x, y), y),
    ),
)
primitive(
    "xlog1py",
    "x log(1 + y), 0 where x is",
    rule=same,
    reference=_product_of_log(lambda y: np.log1p(y)),
    gradient=(
        _xlogy_first("log1p", -1.0),
        lambda g, x, y, *, out: unbroadcast(g * P["div"](x, y + 1.0), y),
    ),
)


def _heaviside(x: np.ndarray, y: Any) -> np.ndarray:
    x = np.asarray(x)
    return np.where(x == 0, y, (x > 0).astype(x.dtype)).astype(x.dtype)


primitive(
    "heaviside",
    "0 below zero, 1 above, the second at it",
    rule=same,
    reference=_heaviside,
    gradient=(undefined("heaviside", 0), undefined("heaviside", 1)),
)


def _lcm(x: Any, y: Any) -> np.ndarray:
    found = np.lcm(x, y)
    # One that the dtype does not hold wraps, and is then made positive where C computes with it.
    return found if found.dtype.itemsize < 4 else np.abs(found)


primitive("lcm", "least common multiple", rule=same, reference=_lcm)
primitive(
    "isinf",
    "whether infinite",
    rule=truth,
    reference=lambda x: np.isinf(x),
)

# ----------------------------------------------------------------------------------- blending


def _lerp(x: np.ndarray, y: np.ndarray, weight: Any) -> np.ndarray:
    dtype = dtype_of(x, y)
    if dtype.itemsize == 2:
        wide = [np.asarray(v, np.float32) for v in (x, y, weight)]
        return _lerp(*wide).astype(dtype)
    gap = y - x
    # From the nearer end, so that weight 1 gives y exactly.
    if type(weight) in (int, float):
        return x + weight * gap if abs(weight) < 0.5 else y - gap * (1 - weight)
    return np.where(np.abs(weight) < 0.5, x + weight * gap, y - gap * (1 - weight)).astype(dtype)


def _weight(w: Any) -> Any:
    if isinstance(w, Var):
        return w if w.dtype is None else conj(w)
    return w.conjugate() if isinstance(w, complex) else w


primitive(
    "lerp",
    "x + weight (y - x)",
    rule=lambda x, y, w: same(x, y, w) if w.dtype is not None else same(x, y),
    reference=_lerp,
    gradient=(
        lambda g, x, y, w, *, out: like_operand(g * (1.0 - _weight(w)), x),
        lambda g, x, y, w, *, out: like_operand(g * _weight(w), y),
        lambda g, x, y, w, *, out: (
            like_operand(g * conj(y - x), w) if w.dtype is not None else None
        ),
    ),
)

# ------------------------------------------------------------------------------ complex numbers


def _pairs(x: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(x)
    part = np.float64 if x.dtype == np.complex128 else np.float32
    return x.reshape(-1).view(part).reshape(*x.shape, 2).copy()


def _from_pairs(x: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(x)
    whole = np.complex128 if x.dtype == np.float64 else np.complex64
    return x.reshape(-1).view(whole).reshape(x.shape[:-1]).copy()


primitive(
    "bits",
    "the same bits in order, read as another dtype",
    rule=lambda x, *, dtype, shape: Aval(shape, dtype),
    reference=lambda x, *, dtype, shape: (
        np.ascontiguousarray(x).reshape(-1).view(dtype.numpy).reshape(shape)
    ),
)
primitive(
    "complex_to_pairs",
    "real and imaginary parts along a new last dimension",
    rule=lambda x: Aval((*x.shape, 2), x.dtype.to_real()),
    reference=lambda x: _pairs(np.asarray(x)),
    gradient=lambda g, x, *, out: P["pairs_to_complex"](g),
)
primitive(
    "pairs_to_complex",
    "complex numbers from a last dimension of real and imaginary parts",
    rule=lambda x: Aval(x.shape[:-1], x.dtype.to_complex()),
    reference=_from_pairs,
    gradient=lambda g, x, *, out: P["complex_to_pairs"](g),
)
