"""Elementary functions as vector IR, by the names of the primitives.

Each is ``name(f, lanes, element, x)``, or with x and y: it appends to ``f`` and gives back the
value's name. ``element`` is "float" or "double", ``lanes`` a power of two, 1 included. The numbers
do not depend on the lanes. At most 4 units in the last place from the true value over all
arguments, subnormal ones and results included (exceptions: ``logaddexp`` and ``logaddexp2`` to
units of the greater argument, where the terms cancel); zeros keep their signs, NaN is NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .vector_math_base import Lanes
from .vector_math_exp import cosh, erf, erfc, exp, exp2, expm1, sigmoid, sinh, tanh
from .vector_math_log import (
    acosh,
    asinh,
    atanh,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logaddexp2,
    softplus,
    xlog1py,
    xlogy,
)
from .vector_math_pow import pow
from .vector_math_trig import acos, asin, atan, atan2, cos, sin, tan

if TYPE_CHECKING:
    from collections.abc import Callable

    from .emit import Function

__all__ = ["FUNCTIONS"]


def sqrt(f: Function, lanes: int, element: str, x: str) -> str:
    """The square root, rounded once."""
    return Lanes(f, lanes, element).intrinsic("sqrt", x)


def rsqrt(f: Function, lanes: int, element: str, x: str) -> str:
    """1 / sqrt(x), both rounded."""
    v = Lanes(f, lanes, element)
    return v.div(1.0, v.intrinsic("sqrt", x))


def reciprocal(f: Function, lanes: int, element: str, x: str) -> str:
    """1 / x, rounded once."""
    return Lanes(f, lanes, element).div(1.0, x)


FUNCTIONS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        *(acos, acosh, asin, asinh, atan, atan2, atanh, cos, cosh, erf, erfc, exp, exp2, expm1),
        *(log, log10, log1p, log2, logaddexp, logaddexp2, pow, reciprocal, rsqrt, sigmoid, sin),
        *(sinh, softplus, sqrt, tan, tanh, xlog1py, xlogy),
    )
}
