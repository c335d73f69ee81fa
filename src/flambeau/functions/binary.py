"""Functions of two numbers, element by element."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.functions.checks import _need_one_tensor, _need_tensor, _refuse
from flambeau.functions.inplace import inplace, title
from flambeau.functions.promotion import (
    Number,
    cast,
    floating,
    literal,
    promoted,
    result_type,
)
from flambeau.ir import numeric as _numeric  # noqa: F401  declares primitives used here
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _both_tensors(name: str, input: Any, other: Any) -> None:
    _need_tensor(name, input)
    _need_tensor(name, other, "other", 2)


# ------------------------------------------------------------------------------ larger, smaller


def _extreme(name: str, meaning: str, example: str) -> Any:
    def compute(input: Tensor, other: Tensor) -> Tensor:
        _both_tensors(name, input, other)
        x, y = promoted(input, other)
        if x.dtype.is_complex:
            if name in ("fmax", "fmin"):
                _refuse(f"{name}_cpu", x.dtype)
            raise RuntimeError(f"{name} not implemented for complex tensors.")
        return getattr(ops, name)(x, y)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""{meaning}, element by element.

    Shapes broadcast, dtypes promote. Raises ``RuntimeError`` for complex numbers.

    >>> {example}
    """
    return function(compute)


maximum = _extreme(
    "maximum", "The larger of two numbers, NaN if either is",
    "maximum(tensor([1, 2]), tensor([2, 1]))\n    tensor([2, 2])",
)  # fmt: skip
minimum = _extreme(
    "minimum", "The smaller of two numbers, NaN if either is",
    "minimum(tensor([1, 2]), tensor([2, 1]))\n    tensor([1, 1])",
)  # fmt: skip
fmax = _extreme(
    "fmax", "The larger of two numbers, NaN only if both are",
    "fmax(tensor([1.0]), tensor([2.0]))\n    tensor([2.])",
)  # fmt: skip
fmin = _extreme(
    "fmin", "The smaller of two numbers, NaN only if both are",
    "fmin(tensor([1.0]), tensor([2.0]))\n    tensor([1.])",
)  # fmt: skip


# ------------------------------------------------------------------------------------- geometry


@function(grad="Atan2Backward0")
def atan2(input: Tensor, other: Tensor) -> Tensor:
    r"""The angle of the point (other, input): :math:`\arctan(y / x)` in the right quadrant.

    Integers give the default floating dtype.

    >>> atan2(tensor([1.0]), tensor([1.0]))
    tensor([0.7854])
    """
    _both_tensors("atan2", input, other)
    y, x = floating(input, other)
    if x.dtype.is_complex:
        _refuse("atan2_cpu", x.dtype)
    return ops.atan2(y, x)


@function
def hypot(input: Tensor, other: Tensor) -> Tensor:
    r"""The hypotenuse: :math:`\sqrt{x^2 + y^2}`, without overflow. Floating numbers only.

    >>> hypot(tensor([3.0]), tensor([4.0]))
    tensor([5.])
    """
    _both_tensors("hypot", input, other)
    x, y = promoted(input, other)
    if not x.dtype.is_floating_point:
        _refuse("hypot_cpu", x.dtype)
    return ops.hypot(x, y)


@function
def copysign(input: Tensor, other: Tensor | Number) -> Tensor:
    """The size of ``input`` with the sign of ``other``. Integers give the default floating dtype.

    >>> copysign(tensor([1.0, 2.0]), -1)
    tensor([-1., -2.])
    """
    _need_tensor("copysign", input)
    x, y = floating(input, other)
    if x.dtype.is_complex:
        _refuse("copysign_cpu", x.dtype)
    return ops.copysign(x, y)


@function
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next number of the dtype after ``input`` towards ``other``. Floating numbers only.

    >>> nextafter(tensor([1.0]), tensor([2.0])) > 1
    tensor([True])
    """
    _both_tensors("nextafter", input, other)
    x, y = promoted(input, other)
    if not x.dtype.is_floating_point:
        _refuse("nextafter_cpu", x.dtype)
    return ops.nextafter(x, y)


@function
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """Step function: 0 below zero, 1 above, ``values`` at it.

    Raises ``RuntimeError`` when the dtypes differ.

    >>> heaviside(tensor([-1.0, 0.0, 1.0]), tensor([0.5]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    _need_tensor("heaviside", input)
    _need_tensor("heaviside", values, "values", 2)
    if input.dtype.is_complex or values.dtype.is_complex:
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    if input.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return ops.heaviside(input, values)


# -------------------------------------------------------------------------- powers, exponentials


def _log_of_sum(name: str, base: str) -> Any:
    def compute(input: Tensor, other: Tensor) -> Tensor:
        _both_tensors(name, input, other)
        x, y = promoted(input, other)
        if x.dtype.category < 2 or (x.dtype.is_complex and name == "logaddexp2"):
            _refuse(f"{name}_cpu", x.dtype)
        return getattr(ops, name)(x, y)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""Logarithm of a sum: :math:`\\log_{base}({base}^x + {base}^y)`, stable.

    Raises ``NotImplementedError`` for integers.

    >>> {name}(tensor([0.0]), tensor([0.0])).shape
    torch.Size([1])
    """
    return function(compute)


logaddexp = _log_of_sum("logaddexp", "e")
logaddexp2 = _log_of_sum("logaddexp2", "2")


@function(grad="PowBackward1")
def float_power(input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    r"""Power :math:`x^y` in float64, or complex128 if either operand is complex.

    >>> float_power(tensor([2]), 0.5)
    tensor([1.4142], dtype=torch.float64)
    """
    from flambeau.functions.arithmetic import pow

    _need_one_tensor("float_power", input, exponent)
    x, y = input, exponent
    kind = dtypes.complex128 if result_type(x, y).is_complex else dtypes.float64
    x = cast(x, kind) if isinstance(x, Tensor) else literal(x, kind)
    y = cast(y, kind) if isinstance(y, Tensor) else literal(y, kind)
    return pow(x, y)


def _float_power_check(input: Tensor, exponent: Any) -> None:
    kind = dtypes.complex128 if result_type(input, exponent).is_complex else dtypes.float64
    if input.dtype is not kind:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {title(input.dtype)} but the operation's "
            f"result requires dtype {title(kind)}"
        )


_float_power_into = inplace(float_power)


def float_power_(input: Tensor, exponent: Tensor | Number) -> Tensor:
    """In-place ``float_power``: ``RuntimeError`` unless ``input`` has the dtype of the result."""
    _float_power_check(input, exponent)
    return _float_power_into(input, exponent)


@function(grad="MulBackward0")
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    r"""Times a power of two: :math:`x \cdot 2^y`.

    >>> ldexp(tensor([1.0]), tensor([3]))
    tensor([8.])
    """
    _both_tensors("ldexp", input, other)
    if other.dtype is dtypes.bool_ and input.dtype.is_floating_point:
        _refuse("ldexp_cpu_exp", other.dtype)
    x, y = floating(input, other)
    return ops.mul(x, ops.pow(literal(2.0, y.dtype), y))


# ------------------------------------------------------------------------------------- integers


def _of_integers(name: str, meaning: str, example: str) -> Any:
    def compute(input: Tensor, other: Tensor) -> Tensor:
        _both_tensors(name, input, other)
        x, y = promoted(input, other)
        if x.dtype.category != 1:
            _refuse(f"{name}_cpu", x.dtype)
        return getattr(ops, name)(x, y)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""{meaning}, element by element. Integers only.

    >>> {example}
    """
    return function(compute)


gcd = _of_integers(
    "gcd", "The greatest common divisor", "gcd(tensor([12]), tensor([18]))\n    tensor([6])"
)
lcm = _of_integers(
    "lcm", "The least common multiple", "lcm(tensor([4]), tensor([6]))\n    tensor([12])"
)


# ------------------------------------------------------------------------------------ closeness


@function
def isclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> Tensor:
    r"""Whether :math:`|x - y| \le atol + rtol |y|`, element by element: a bool tensor.

    Infinities are close only to themselves, NaN to NaN with ``equal_nan``. Raises
    ``RuntimeError`` for different dtypes and negative tolerances.

    >>> isclose(tensor([1.0, 2.0]), tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    _both_tensors("isclose", input, other)
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{title(input.dtype)} did not match {title(other.dtype)}")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value}")
    close = ops.eq(input, other)
    if equal_nan and input.dtype.category > 1:
        close = ops.or_(close, ops.and_(ops.isnan(input), ops.isnan(other)))
    if rtol == 0 and atol == 0:
        return close
    x, y = floating(input, other)
    if input.dtype.category < 2:
        x, y = cast(x, dtypes.float64), cast(y, dtypes.float64)
    allowed = ops.add(ops.abs(ops.mul(y, rtol)), atol)
    distance = ops.abs(ops.sub(x, y))
    near = ops.and_(ops.isfinite(distance), ops.le(distance, allowed))
    return ops.or_(close, near)


arctan2 = atan2
atan2_, hypot_, copysign_, nextafter_, heaviside_ = map(
    inplace, (atan2, hypot, copysign, nextafter, heaviside)
)
ldexp_, gcd_, lcm_ = map(inplace, (ldexp, gcd, lcm))
arctan2_ = atan2_


SAMPLES = {
    "maximum": "x, y; i, j; x, row; special, special.flip(0); x, x; truth, other_truth; s, i;"
    "!c, d; !x, 2; !x, u",
    "minimum": "x, y; i, j; column, y; special, special.flip(0); x, x; i, x; !c, d; !x, 2; !x, u",
    "fmax": "x, y; i, j; special, special.flip(0); x, row; !c, d; !x, 2; !x, u",
    "fmin": "x, y; i, j; special, special.flip(0); x, row; !c, d; !x, 2; !x, u",
    "atan2": "x, y; i, j; x, row; special, special.flip(0); !c, d; !x, 2; !x, u",
    "arctan2": "x, y; i, x; !c, d",
    "hypot": "x, y; x, row; special, special.flip(0); x.double(), y; !i, j; !c, d; !x, 2; !x, u",
    "copysign": "x, y; x, -1; i, 2.0; i, j; special[:4], special[4:] # no-grad; x, -0.0; !c, d;"
    "!x, u",
    "nextafter": "x, y; x, row; special, special.flip(0); x.double(), y; !i, j; !c, d; !x, 2;!x, u",
    "heaviside": "i, j; torch.tensor([-1.0, 0.0, 2.0]), torch.tensor(0.5);"
    "special, special.flip(0); !x, i; !c, d; !x, 2; !x, u",
    "logaddexp": "x, y; x, row; special, special.flip(0); big, x; c, d; !i, j; !x, 2; !x, u",
    "logaddexp2": "x, y; x, row; special, special.flip(0); big, x; !c, d; !i, j; !x, 2; !x, u",
    "float_power": "positive, y; x, 2; i, 2; 2.0, x; i, -1; c, 2; x, 0; !x, u; !2, 3",
    "Tensor.float_power_": "x.double(), 2; cm.to(torch.complex128), 2; !x, 2; !i, 2",
    "ldexp": "x, k; truth, truth; i, truth; i, j; x, torch.tensor(3); special, torch.arange(8);"
    "i, x.double(); !x, truth;"
    "!x, 2; !x, u",
    "gcd": "i, j; small, small.flip(0); i, j[:1]; torch.tensor([0, 6]), torch.tensor(0); !x, y;"
    "!i, 2; !truth, truth",
    "lcm": "i, j; i, j[:1]; torch.tensor([0, 6]), torch.tensor(4); !x, y; !i, 2; !truth, truth",
    "isclose": "x, y; x, x + 1e-6; i, j; special, special; special, special, equal_nan=True; c, c;"
    "x, y, rtol=0.5; x, y, 0, 0.5; x, row; truth, other_truth; !x, i; !x, y, rtol=-1; !x, 2; !x, u",
}
