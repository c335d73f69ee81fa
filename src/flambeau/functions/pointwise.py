"""Functions of one number, element by element."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes, return_types
from flambeau.functions.checks import _need_tensor, _refuse
from flambeau.functions.inplace import inplace
from flambeau.functions.promotion import cast
from flambeau.ir import numeric as _numeric  # noqa: F401  declares primitives used here
from flambeau.record.macro import function, ops
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor


def _in_floats(x: Tensor) -> Tensor:
    """``x``, integers as the default floating dtype."""
    return cast(x, defaults.dtype) if x._meta.dtype.category < 2 else x


def _same(x: Tensor) -> Tensor:
    """A result equal to ``x``."""
    return ops.clone(x)


# --------------------------------------------------- functions whose results are floating numbers


def _floating(
    name: str, meaning: str, example: str, *, real: str | None = None, grad: str | None = None
) -> Any:
    """A function that is a primitive; ``real`` is the kernel that lacks complex numbers."""

    def compute(input: Tensor) -> Tensor:
        _need_tensor(name, input)
        if real is not None and input._meta.dtype.is_complex:
            _refuse(real, input._meta.dtype)
        return getattr(ops, name)(_in_floats(input))

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""{meaning}, element by element.

    Integers give the default floating dtype. Raises ``TypeError`` if ``input`` is no tensor.

    >>> {example}
    """
    return function(compute, grad=grad)


exp = _floating("exp", r"Exponential function: :math:`e^x`", "exp(tensor([0.0]))\n    tensor([1.])")
expm1 = _floating(
    "expm1",
    r":math:`e^x - 1`, accurate near zero",
    "expm1(tensor([0.0]))\n    tensor([0.])",
)
log = _floating("log", r"Natural logarithm: :math:`\ln x`", "log(tensor([1.0]))\n    tensor([0.])")
log2 = _floating(
    "log2", r"Logarithm to base 2: :math:`\log_2 x`", "log2(tensor([8.0]))\n    tensor([3.])"
)
log10 = _floating(
    "log10",
    r"Logarithm to base 10: :math:`\log_{10} x`",
    "log10(tensor([100.0]))\n    tensor([2.])",
)
log1p = _floating(
    "log1p",
    r":math:`\ln(1 + x)`, accurate near zero",
    "log1p(tensor([0.0]))\n    tensor([0.])",
    grad="Log1PBackward0",
)
sqrt = _floating("sqrt", r"Square root: :math:`\sqrt{x}`", "sqrt(tensor([9.0]))\n    tensor([3.])")
rsqrt = _floating(
    "rsqrt",
    r"Reciprocal of the square root: :math:`1 / \sqrt{x}`",
    "rsqrt(tensor([4.0]))\n    tensor([0.5000])",
)
reciprocal = _floating(
    "reciprocal", r"Reciprocal: :math:`1 / x`", "reciprocal(tensor([4.0]))\n    tensor([0.2500])"
)
sin = _floating("sin", r"Sine: :math:`\sin x`", "sin(tensor([0.0]))\n    tensor([0.])")
cos = _floating("cos", r"Cosine: :math:`\cos x`", "cos(tensor([0.0]))\n    tensor([1.])")
tan = _floating("tan", r"Tangent: :math:`\tan x`", "tan(tensor([0.0]))\n    tensor([0.])")
asin = _floating("asin", r"Arc sine: :math:`\arcsin x`", "asin(tensor([0.0]))\n    tensor([0.])")
acos = _floating("acos", r"Arc cosine: :math:`\arccos x`", "acos(tensor([1.0]))\n    tensor([0.])")
atan = _floating("atan", r"Arc tangent: :math:`\arctan x`", "atan(tensor([0.0]))\n    tensor([0.])")
sinh = _floating(
    "sinh", r"Hyperbolic sine: :math:`\sinh x`", "sinh(tensor([0.0]))\n    tensor([0.])"
)
cosh = _floating(
    "cosh", r"Hyperbolic cosine: :math:`\cosh x`", "cosh(tensor([0.0]))\n    tensor([1.])"
)
tanh = _floating(
    "tanh", r"Hyperbolic tangent: :math:`\tanh x`", "tanh(tensor([0.0]))\n    tensor([0.])"
)
asinh = _floating(
    "asinh",
    r"Inverse hyperbolic sine: :math:`\operatorname{arsinh} x`",
    "asinh(tensor([0.0]))\n    tensor([0.])",
)
acosh = _floating(
    "acosh",
    r"Inverse hyperbolic cosine: :math:`\operatorname{arcosh} x`",
    "acosh(tensor([1.0]))\n    tensor([0.])",
)
atanh = _floating(
    "atanh",
    r"Inverse hyperbolic tangent: :math:`\operatorname{artanh} x`",
    "atanh(tensor([0.0]))\n    tensor([0.])",
)
sigmoid = _floating(
    "sigmoid",
    r"Logistic function: :math:`1 / (1 + e^{-x})`",
    "sigmoid(tensor([0.0]))\n    tensor([0.5000])",
)
sinc = _floating(
    "sinc",
    r"Normalised sinc: :math:`\sin(\pi x) / (\pi x)`, 1 at 0",
    "sinc(tensor([0.0]))\n    tensor([1.])",
)


@function
def exp2(input: Tensor) -> Tensor:
    r"""Power of two: :math:`2^x`. Integers give the default floating dtype.

    >>> exp2(tensor([3.0]))
    tensor([8.])
    """
    _need_tensor("exp2", input)
    x = _in_floats(input)
    return ops.exp(ops.mul(x, math.log(2))) if x._meta.dtype.is_complex else ops.exp2(x)


@function(grad="PowBackward0")
def square(input: Tensor) -> Tensor:
    r"""Square: :math:`x^2`. Bools give int64.

    >>> square(tensor([1.0, 3.0]))
    tensor([1., 9.])
    """
    _need_tensor("square", input)
    return ops.square(cast(input, dtypes.int64) if input.dtype is dtypes.bool_ else input)


@function(grad="Deg2RadBackward0")
def deg2rad(input: Tensor) -> Tensor:
    r"""Degrees in radians: :math:`x \pi / 180`. ``RuntimeError`` for complex numbers.

    >>> deg2rad(tensor([0.0, 180.0]))
    tensor([0.0000, 3.1416])
    """
    _need_tensor("deg2rad", input)
    if input.dtype.is_complex:
        raise RuntimeError("deg2rad is not supported for complex tensors.")
    return ops.mul(_in_floats(input), math.pi / 180)


@function(grad="Rad2DegBackward0")
def rad2deg(input: Tensor) -> Tensor:
    r"""Radians in degrees: :math:`180 x / \pi`. ``RuntimeError`` for complex numbers.

    >>> rad2deg(tensor([0.0, 3.1415927]))
    tensor([  0., 180.])
    """
    _need_tensor("rad2deg", input)
    if input.dtype.is_complex:
        raise RuntimeError("rad2deg is not supported for complex tensors.")
    return ops.mul(_in_floats(input), 180 / math.pi)


@function
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    r"""Inverse of sigmoid: :math:`\ln(x / (1 - x))`.

    With ``eps``, x is first kept in :math:`[\epsilon, 1 - \epsilon]`; without, numbers outside
    (0, 1) give infinities and NaN.

    >>> logit(tensor([0.5]))
    tensor([0.])
    """
    _need_tensor("logit", input)
    if input.dtype.is_complex:
        _refuse("logit_cpu", input.dtype)
    return ops.logit(_in_floats(input), eps=None if eps is None else float(eps))


# ---------------------------------------------------------------------------- size and sign


@function
def abs(input: Tensor) -> Tensor:
    r"""Absolute value: :math:`|x|`; real for complex numbers.

    >>> abs(tensor([-1, 2]))
    tensor([1, 2])
    """
    _need_tensor("abs", input)
    if input.dtype is dtypes.bool_:
        _refuse("abs_cpu", input.dtype)
    return ops.abs(input)


@function
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1. ``NotImplementedError`` for complex numbers: use ``sgn``.

    >>> sign(tensor([-2.0, 0.0, 3.0]))
    tensor([-1.,  0.,  1.])
    """
    _need_tensor("sign", input)
    if input.dtype.is_complex:
        raise NotImplementedError(
            "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use "
            "torch.sgn instead."
        )
    return ops.sign(input)


@function
def sgn(input: Tensor) -> Tensor:
    r"""Direction: :math:`x / |x|`, 0 at 0; ``sign`` for real numbers.

    >>> sgn(tensor([3 + 4j]))
    tensor([0.6000+0.8000j])
    """
    _need_tensor("sgn", input)
    return ops.sgn(input) if input.dtype.is_complex else ops.sign(input)


@function
def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set (true for -0.0). ``NotImplementedError`` for complex numbers.

    >>> signbit(tensor([-1.0, 0.0]))
    tensor([ True, False])
    """
    _need_tensor("signbit", input)
    if input.dtype.is_complex:
        raise NotImplementedError("signbit is not implemented for complex tensors.")
    return ops.signbit(input) if input.dtype.is_floating_point else ops.lt(input, 0)


def positive(input: Tensor) -> Tensor:
    """``+input``: the tensor itself. ``RuntimeError`` for bool."""
    _need_tensor("positive", input)
    if input.dtype is dtypes.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@function(whole=True)
def relu(input: Tensor) -> Tensor:
    r"""The positive part: :math:`\max(x, 0)`, NaN kept.

    Raises ``RuntimeError`` for bool and ``NotImplementedError`` for complex numbers.

    >>> relu(tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    _need_tensor("relu", input)
    if input.dtype is dtypes.bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    if input.dtype.is_complex:
        raise NotImplementedError("clamp is not supported for complex types")
    return ops.relu(input)


# --------------------------------------------------------------------------------- rounding


def _rounding(name: str, meaning: str, example: str) -> Any:
    def compute(input: Tensor) -> Tensor:
        _need_tensor(name, input)
        d = input._meta.dtype
        if d.is_complex:
            raise NotImplementedError(f"{name} is not supported for complex inputs")
        if d is dtypes.bool_:
            _refuse(f"{name}_vml_cpu", d)
        return getattr(ops, name)(input) if d.is_floating_point else _same(input)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""{meaning}; integers as they are, and no gradient but zero.

    Raises ``NotImplementedError`` for bool and complex numbers.

    >>> {example}
    """
    return function(compute)


floor = _rounding(
    "floor", "The largest integer not above x", "floor(tensor([1.5]))\n    tensor([1.])"
)
ceil = _rounding(
    "ceil", "The smallest integer not below x", "ceil(tensor([1.5]))\n    tensor([2.])"
)
trunc = _rounding(
    "trunc", "The integer part: x rounded towards zero", "trunc(tensor([-1.5]))\n    tensor([-1.])"
)


@function
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, or number of ``decimals``; ties go to the even neighbour.

    Raises ``NotImplementedError`` for bool and complex numbers, and for decimals of integers.

    >>> round(tensor([0.5, 1.5]))
    tensor([0., 2.])
    """
    _need_tensor("round", input)
    d = input.dtype
    if d.category in (0, 3) or (d.category == 1 and decimals):
        _refuse("round_cpu" if decimals else "round_vml_cpu", d)
    if d.category == 1:
        return _same(input)
    return ops.round_decimals(input, decimals=int(decimals)) if decimals else ops.round(input)


@function
def frac(input: Tensor) -> Tensor:
    r"""The fraction: :math:`x - \operatorname{trunc} x`. Floating numbers only.

    >>> frac(tensor([1.5, -1.25]))
    tensor([ 0.5000, -0.2500])
    """
    _need_tensor("frac", input)
    if not input.dtype.is_floating_point:
        _refuse("frac_cpu", input.dtype)
    return ops.sub(input, ops.trunc(input))


@function
def _frexp(input: Tensor) -> Any:
    return return_types.frexp(ops.frexp(input))


def frexp(input: Tensor, *, out: Any = None) -> Any:
    """Mantissa in [0.5, 1) and integral exponent of two of each number: a named tuple.

    Raises ``RuntimeError`` for other than floating numbers.

    >>> frexp(tensor([8.0])).exponent
    tensor([4], dtype=torch.int32)
    """
    _need_tensor("frexp", input)
    if not input.dtype.is_floating_point:
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    result = _frexp(input)
    if out is not None:
        from flambeau.functions.inplace import write_out

        return return_types.frexp(write_out(tuple(out), tuple(result), "frexp"))
    return result


def _largest(dtype: dtypes.dtype) -> float:
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype.to_real().numpy).max)


@function
def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """NaN and the infinities replaced: by 0 and the largest numbers of the dtype, or as given.

    >>> nan_to_num(tensor([math.nan, 1.0]), nan=2.0)
    tensor([2., 1.])
    """
    _need_tensor("nan_to_num", input)
    d = input.dtype
    if d.category < 2:
        return _same(input)
    if d.is_complex:
        parts = (nan_to_num(p, nan, posinf, neginf) for p in (ops.real(input), ops.imag(input)))
        return ops.complex(*parts)
    most = _largest(d)
    x = ops.where(ops.isnan(input), 0.0 if nan is None else nan, input)
    x = ops.where(ops.eq(input, math.inf), most if posinf is None else posinf, x)
    return ops.where(ops.eq(input, -math.inf), -most if neginf is None else neginf, x)


# --------------------------------------------------------------------------------- questions


def _question(name: str, meaning: str, ask: Any, example: str) -> Any:
    def compute(input: Tensor) -> Tensor:
        _need_tensor(name, input)
        return ask(input)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""{meaning}, element by element: a bool tensor.

    >>> {example}
    """
    return function(compute)


def _all(input: Tensor, value: bool) -> Tensor:
    return ops.full(value, shape=input._meta.shape, dtype=dtypes.bool_)


def _isnan(x: Tensor) -> Tensor:
    return ops.isnan(x) if x._meta.dtype.category > 1 else _all(x, False)


def _isfinite(x: Tensor) -> Tensor:
    return ops.isfinite(x) if x._meta.dtype.category > 1 else _all(x, True)


def _isinf(x: Tensor) -> Tensor:
    return ops.isinf(x) if x._meta.dtype.category > 1 else _all(x, False)


def _infinite(name: str, value: float) -> Any:
    def ask(x: Tensor) -> Tensor:
        if x._meta.dtype.is_complex:
            raise RuntimeError(f"{name} does not support complex inputs.")
        return ops.eq(x, value) if x._meta.dtype.is_floating_point else _all(x, False)

    return ask


def _isreal(x: Tensor) -> Tensor:
    return ops.eq(ops.imag(x), 0.0) if x._meta.dtype.is_complex else _all(x, True)


isnan = _question(
    "isnan", "Whether not a number", _isnan, "isnan(tensor([1.0, math.nan]))\n"
    "    tensor([False,  True])"
)  # fmt: skip
isinf = _question(
    "isinf", "Whether infinite", _isinf, "isinf(tensor([1.0, math.inf]))\n"
    "    tensor([False,  True])"
)  # fmt: skip
isposinf = _question(
    "isposinf", "Whether plus infinity", _infinite("isposinf", math.inf),
    "isposinf(tensor([-math.inf, math.inf]))\n    tensor([False,  True])",
)  # fmt: skip
isneginf = _question(
    "isneginf", "Whether minus infinity", _infinite("isneginf", -math.inf),
    "isneginf(tensor([-math.inf, math.inf]))\n    tensor([ True, False])",
)  # fmt: skip
isfinite = _question(
    "isfinite", "Whether neither infinite nor NaN", _isfinite,
    "isfinite(tensor([1.0, math.inf]))\n    tensor([ True, False])",
)  # fmt: skip
isreal = _question(
    "isreal", "Whether the imaginary part is zero", _isreal,
    "isreal(tensor([1 + 0j, 1j]))\n    tensor([ True, False])",
)  # fmt: skip


# --------------------------------------------------------------- aliases and in-place variants

absolute, fix = abs, trunc
arcsin, arccos, arctan = asin, acos, atan
arcsinh, arccosh, arctanh = asinh, acosh, atanh

exp_, exp2_, expm1_, log_, log2_, log10_, log1p_ = map(
    inplace, (exp, exp2, expm1, log, log2, log10, log1p)
)
sqrt_, rsqrt_, reciprocal_, square_ = map(inplace, (sqrt, rsqrt, reciprocal, square))
sin_, cos_, tan_, asin_, acos_, atan_ = map(inplace, (sin, cos, tan, asin, acos, atan))
sinh_, cosh_, tanh_, asinh_, acosh_, atanh_ = map(inplace, (sinh, cosh, tanh, asinh, acosh, atanh))
sigmoid_, sinc_, logit_, relu_ = map(inplace, (sigmoid, sinc, logit, relu))
deg2rad_, rad2deg_, nan_to_num_ = map(inplace, (deg2rad, rad2deg, nan_to_num))
sign_, sgn_ = map(inplace, (sign, sgn))
floor_, ceil_, trunc_, round_, frac_ = map(inplace, (floor, ceil, trunc, round, frac))
_abs_into = inplace(abs)


def abs_(input: Tensor) -> Tensor:
    """In-place ``abs``. ``RuntimeError`` for complex numbers."""
    if input.dtype.is_complex:
        raise RuntimeError("In-place abs is not supported for complex tensors.")
    return _abs_into(input)


absolute_, fix_ = abs_, trunc_
arcsin_, arccos_, arctan_ = asin_, acos_, atan_
arcsinh_, arccosh_, arctanh_ = asinh_, acosh_, atanh_


SAMPLES = {
    "exp": "x; special; i; c; s; !2.0",
    "exp2": "x; big; i; c; !2.0",
    "expm1": "x; special; i; c; !2.0",
    "log": "positive; special; x; c; !2.0",
    "log2": "positive; special; place; c; !2.0",
    "log10": "positive; special; place; c; !2.0",
    "log1p": "positive; special; x; c; !2.0",
    "sqrt": "positive; special; x; place; c; !2.0",
    "rsqrt": "positive; special; x; c; !2.0",
    "reciprocal": "x; special; i; c; s; !2.0",
    "sin": "x; special; big; i; c; !2.0",
    "cos": "x; special; big; i; c; !2.0",
    "tan": "x; special; big; i; c; !2.0",
    "asin": "unit; special; x; c; !2.0",
    "acos": "unit; special; x; c; !2.0",
    "atan": "x; special; big; i; c; !2.0",
    "sinh": "x; special; i; c; !2.0",
    "cosh": "x; special; i; c; !2.0",
    "tanh": "x; special; big; i; c; !2.0",
    "asinh": "x; special; big; i; c; !2.0",
    "acosh": "1 + positive; special; x; c; !2.0",
    "atanh": "unit; special; x; c; !2.0",
    "sigmoid": "x; special; big; i; c; !2.0",
    "sinc": "x; special # no-second; i; c; !2.0",
    "square": "x; special; i; c; truth; !2.0",
    "deg2rad": "big; special; i; !c; !2.0",
    "rad2deg": "x; special; i; !c; !2.0",
    "logit": "unit; unit, 0.3; special # no-grad; x, eps=0.2; x; !c; !2.0",
    "abs": "x; special; i; c; s; !truth; !2.0",
    "sign": "x; special; i; truth; !c; !2.0",
    "sgn": "x; special; i; c; torch.zeros(2, dtype=torch.complex64); !2.0",
    "signbit": "x; special[:4]; i; small; !c; !2.0",
    "positive": "x; i; c; !truth; !2.0",
    "relu": "x; special; i; !c; !truth; !2.0",
    "floor": "big; special; i; !c; !truth; !2.0",
    "ceil": "big; special; i; !c; !truth; !2.0",
    "trunc": "big; special; i; !c; !truth; !2.0",
    "round": "big; special; i; x, decimals=2; big, decimals=-1; torch.tensor([0.5, 1.5, -2.5]); !c;"
    "!truth; !i, decimals=1; !2.0",
    "frac": "big; special; !i; !c; !2.0",
    "frexp": "x; big; torch.tensor([0.0, inf, 8.0, -0.75]); x.double(); !i; !c; !2.0",
    "nan_to_num": "special; x; special, 2.0; special, nan=1.0, posinf=5.0, neginf=-3.0; i;"
    "c # no-grad; !2.0",
    "isnan": "special; x; i; c; torch.complex(special, special.flip(0)); !2.0",
    "isinf": "special; x; i; torch.complex(special, special.flip(0)); !2.0",
    "isposinf": "special; x; i; !c; !2.0",
    "isneginf": "special; x; i; !c; !2.0",
    "isfinite": "special; x; i; torch.complex(special, special.flip(0)); !2.0",
    "isreal": "special; c; i; torch.complex(x, torch.zeros(3, 4)); !2.0",
    "absolute": "x; i; c; !truth",
    "fix": "big; i; !c",
    "arcsin": "unit; i; !2.0",
    "arccos": "unit; i; !2.0",
    "arctan": "x; i; !2.0",
    "arcsinh": "x; i; !2.0",
    "arccosh": "1 + positive; i; !2.0",
    "arctanh": "unit; i; !2.0",
    "abs_": "x; i; !c; !truth",
    "Tensor.absolute_": "x; i; !c",
}
