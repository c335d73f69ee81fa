"""Box and Muller's transform in vector code: the bits of ``box_muller.blocks32``, much faster.

The steps are those of ``box_muller``, whose float64 arithmetic stands for fused multiply-adds;
here they are the processor's own.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from . import box_muller as steps

if TYPE_CHECKING:
    from flambeau.run.compiler.emit import Function, Kernel

__all__ = ["box_muller"]

# The first and the second half of a block of sixteen.
_LANES = 8
_F, _I = f"<{_LANES} x float>", f"<{_LANES} x i32>"


def box_muller() -> Kernel:
    """Normal numbers in place of uniform ones (address 0), blocks of sixteen from begin to end.

    Address 1 holds mean and standard deviation.
    """
    from flambeau.run.compiler.emit import Function, Kernel

    f = Function("NAME")
    values, given = f.pointer(0), f.pointer(1)
    mean = f.splat(_LANES, "float", f.load("float", given, 4))
    std = f.splat(_LANES, "float", f.load("float", f.element(given, "float", "1"), 4))
    with f.loop("%begin", "%end") as loop:
        at = f.value(f"mul i64 {loop.index}, {2 * _LANES}")
        first = f.element(values, "float", at)
        second = f.element(first, "float", str(_LANES))
        below = f.value(f"fsub {_F} {_lit(f, 1.0)}, {f.load(_F, first, 4)}")
        radius = f.value(f"fmul {_F} {_log(f, below)}, {_lit(f, -2.0)}")
        radius = f.call(f"llvm.sqrt.v{_LANES}f32", _F, (_F, radius))
        angle = f.value(f"fmul {_F} {f.load(_F, second, 4)}, {_lit(f, steps._TWO_PI)}")
        sine, cosine = _sine_cosine(f, angle)
        for place, part in ((first, cosine), (second, sine)):
            part = f.value(f"fmul {_F} {part}, {radius}")
            f.store(_F, f.fma(_F, part, std, mean), place, 4)
    text = f.finish()
    name = f"box_muller_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return Kernel(name, text.replace("NAME", name))


def _lit(f: Function, v: float) -> str:
    return f.literal(_LANES, "float", v)


def _int(f: Function, v: int) -> str:
    return f.literal(_LANES, "i32", v)


def _float(f: Function, bits: str) -> str:
    return f.value(f"bitcast {_I} {bits} to {_F}")


def _bits(f: Function, x: str) -> str:
    return f.value(f"bitcast {_F} {x} to {_I}")


def _log(f: Function, u: str) -> str:
    """The natural logarithm of numbers in (0, 1]."""
    bits = _bits(f, u)
    exponent = f.value(f"lshr {_I} {bits}, {_int(f, 23)}")
    exponent = f.value(f"sub {_I} {exponent}, {_int(f, 126)}")
    part = f.value(f"and {_I} {bits}, {_int(f, 0x7FFFFF)}")
    mantissa = _float(f, f.value(f"or {_I} {part}, {_int(f, 0x3F000000)}"))
    small = f.value(f"fcmp olt {_F} {mantissa}, {_lit(f, steps._SQRT_HALF)}")
    less = f.value(f"sext <{_LANES} x i1> {small} to {_I}")
    exponent = f.value(f"add {_I} {exponent}, {less}")
    doubled = f.value(f"fadd {_F} {mantissa}, {mantissa}")
    x = f.value(f"select <{_LANES} x i1> {small}, {_F} {doubled}, {_F} {mantissa}")
    x = f.value(f"fsub {_F} {x}, {_lit(f, 1.0)}")
    e = f.value(f"sitofp {_I} {exponent} to {_F}")
    y = _lit(f, steps._LOG[0])
    for coefficient in steps._LOG[1:]:
        y = f.fma(_F, y, x, _lit(f, coefficient))
    square = f.value(f"fmul {_F} {x}, {x}")
    y = f.value(f"fmul {_F} {y}, {x}")
    low = f.value(f"fmul {_F} {e}, {_lit(f, steps._LN2_LOW)}")
    y = f.fma(_F, y, square, low)
    half = f.value(f"fmul {_F} {square}, {_lit(f, 0.5)}")
    y = f.value(f"fsub {_F} {y}, {half}")
    x = f.value(f"fadd {_F} {x}, {y}")
    return f.fma(_F, e, _lit(f, steps._LN2_HIGH), x)


def _sine_cosine(f: Function, angle: str) -> tuple[str, str]:
    """Sine and cosine of angles that are not negative."""
    octant = f.value(f"fmul {_F} {angle}, {_lit(f, steps._FOUR_OVER_PI)}")
    octant = f.value(f"fptosi {_F} {octant} to {_I}")
    octant = f.value(f"add {_I} {octant}, {_int(f, 1)}")
    octant = f.value(f"and {_I} {octant}, {_int(f, -2)}")
    y = f.value(f"sitofp {_I} {octant} to {_F}")
    x = angle
    for part in steps._MINUS_PI_4:
        x = f.fma(_F, y, _lit(f, part), x)
    z = f.value(f"fmul {_F} {x}, {x}")
    half = f.value(f"fmul {_F} {z}, {_lit(f, 0.5)}")
    cosine, sine = (
        _times_polynomial(f, z, [float(c[k, 0]) for c in steps._COS_SIN]) for k in (0, 1)
    )
    cosine = f.fma(_F, cosine, z, f.value(f"fneg {_F} {half}"))
    cosine = f.value(f"fadd {_F} {cosine}, {_lit(f, 1.0)}")
    sine = f.fma(_F, sine, x, x)
    swap = f.value(f"and {_I} {octant}, {_int(f, 2)}")
    swapped = f.value(f"icmp ne {_I} {swap}, zeroinitializer")
    pick = f"select <{_LANES} x i1> {swapped}, {_F}"
    sine, cosine = (
        f.value(f"{pick} {cosine}, {_F} {sine}"),
        f.value(f"{pick} {sine}, {_F} {cosine}"),
    )
    back = f.value(f"xor {_I} {f.value(f'sub {_I} {octant}, {_int(f, 2)}')}, {_int(f, -1)}")
    return _signed(f, sine, octant), _signed(f, cosine, back)


def _times_polynomial(f: Function, z: str, coefficients: list[float]) -> str:
    """The polynomial of ``z``, times ``z``."""
    y = _lit(f, coefficients[0])
    for coefficient in coefficients[1:]:
        y = f.fma(_F, y, z, _lit(f, coefficient))
    return f.value(f"fmul {_F} {y}, {z}")


def _signed(f: Function, x: str, octant: str) -> str:
    """``x``, negated where the octant's bit 2 is set."""
    sign = f.value(f"shl {_I} {octant}, {_int(f, 29)}")
    sign = f.value(f"and {_I} {sign}, {_int(f, -(1 << 31))}")
    return _float(f, f.value(f"xor {_I} {_bits(f, x)}, {sign}"))
