"""Complex numbers as the pairs they are in memory: made, taken apart, conjugated, multiplied."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, Lanes, chunk_of
from flambeau.run.compiler.elements import element, known
from flambeau.run.compiler.lower import Lowering, Refused, element_or_raw, lowering
from flambeau.run.compiler.nodes import Ref
from flambeau.run.compiler.stages import Plan, Stage
from flambeau.run.compiler.vector_math_base import Lanes as Arithmetic

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.ir.graph import Aval, Entry
    from flambeau.run.compiler.nodes import Operand

Body = "Callable[[Arithmetic, list[str]], list[str]]"


def lanes_of(dtype: dtypes.dtype | None) -> Lanes:
    """Vectors of the parts of a complex dtype, or of its real one."""
    if dtype not in (dtypes.float32, dtypes.float64, dtypes.complex64, dtypes.complex128):
        raise Refused("no kernels for this dtype")
    size = 4 if dtype.to_real() is dtypes.float32 else 8  # type: ignore[union-attr]
    return Lanes("float" if size == 4 else "double", size, code.target().lanes(size))


def _kernel_of(
    lanes: Lanes, count: int, paired: list[bool], body: Callable[..., list[str]]
) -> tuple[Stage, int]:
    """``body`` of the parts of operands; ``paired`` says of them and the result what are pairs.

    A unit is as many numbers as a vector has lanes.
    """
    f = Code()
    v = Arithmetic(f, lanes.count, lanes.element)
    n = lanes.count
    *operands, out = [f.pointer(k) for k in range(len(paired))]

    def numbers(at: str, left: int | None) -> None:
        def halves(pair: bool) -> list[int]:
            if left is None:
                return [n] * (1 + pair)
            return [min(n, 2 * left), 2 * left - n] if pair else [left]

        parts = []
        for pointer, pair in zip(operands, paired, strict=False):
            place = f.along(pointer, (at, lanes.size * (1 + pair)))
            found = [
                f.get(lanes, f.byte(place, k * lanes.bytes), m) if m > 0 else "zeroinitializer"
                for k, m in enumerate(halves(pair))
            ]
            if pair:
                first, second = found
                found = [f.shuffle(lanes, first, second, range(k, 2 * n, 2)) for k in range(2)]
            parts += found
        made = body(v, parts)
        if paired[-1]:
            picks = [[x for k in range(n // 2) for x in (h + k, n + h + k)] for h in (0, n // 2)]
            re, im = made
            made = [f.shuffle(lanes, re, im, p) for p in picks]
        place = f.along(out, (at, lanes.size * (1 + paired[-1])))
        for k, (value, m) in enumerate(zip(made, halves(paired[-1]), strict=True)):
            if m > 0:
                f.put(lanes, value, f.byte(place, k * lanes.bytes), m)

    whole = count // n
    last = f.least("%end", whole)
    with f.loop("%begin", last) as unit:
        numbers(f.mul(unit.index, n), None)
    if count > whole * n:
        with f.when(f.value(f"icmp sgt i64 %end, {whole}")):
            numbers(str(whole * n), count - whole * n)
    units = -(-count // n)
    names = (*(str(k) for k in range(len(operands))), "out0")
    return Stage(f.kernel(prefix="pairs"), names, units, chunk_of(units, units * 4)), units


def _apply(low: Lowering, e: Entry, given: list[Operand], body: Callable[..., list[str]]) -> Ref:
    out = e.out_avals[0]
    lanes = lanes_of(out.dtype)
    if 0 in out.shape:
        raise Refused("of nothing")
    refs, paired = [], []
    for x, aval in zip(given, e.in_avals, strict=True):
        if aval.dtype is None or aval.dtype.to_real() is not out.dtype.to_real():  # type: ignore[union-attr]
            raise Refused("operands of several dtypes")
        refs.append(_dense(low, x, aval, out))
        paired.append(aval.dtype.is_complex)
    paired.append(out.dtype.is_complex)  # type: ignore[union-attr]
    stage, _ = _kernel_of(lanes, math.prod(out.shape), paired, body)
    return low.stages(e.prim.name, Plan((stage,)), refs, [out.shape], [element_or_raw(out)])[0]


def _dense(low: Lowering, x: Operand, aval: Aval, out: Aval) -> Ref:
    if known(aval.dtype):
        el = element(aval.dtype)  # type: ignore[arg-type]
        if x.__class__ is Ref:
            x = Ref(x.slot, x.view.broadcast(out.shape))
        return low.dense(x, out.shape, el)
    if x.__class__ is not Ref:
        raise Refused("a complex number as operand")
    return low.dense(Ref(x.slot, x.view.broadcast(out.shape)), out.shape, element_or_raw(aval))


@lowering("real", pairs=True)
def _real(low: Lowering, e: Entry, x: Operand) -> Ref:
    found = low.reals.get(x.slot) if x.__class__ is Ref else None
    return found if found is not None else _apply(low, e, [x], lambda v, parts: parts[:1])


@lowering("imag", pairs=True)
def _imag(low: Lowering, e: Entry, x: Operand) -> Ref:
    return _apply(low, e, [x], lambda v, parts: parts[1:])


@lowering("complex", pairs=True)
def _complex(low: Lowering, e: Entry, re: Operand, im: Operand) -> Ref:
    return _apply(low, e, [re, im], lambda v, parts: parts)


@lowering("conj", pairs=True)
def _conj(low: Lowering, e: Entry, x: Operand) -> Ref:
    return _apply(low, e, [x], lambda v, parts: [parts[0], v.neg(parts[1])])


@lowering("cast", pairs=True)
def _cast(low: Lowering, e: Entry, x: Operand) -> Ref:
    """Of a real number; fast Fourier transforms look at what it was."""
    source, target = e.in_avals[0].dtype, e.out_avals[0].dtype
    if source is target:
        raise Refused("the same dtype")
    if source.is_complex or not target.is_complex:  # type: ignore[union-attr]
        raise Refused("from complex numbers")
    found = _apply(low, e, [x], lambda v, parts: [parts[0], v.number(0.0)])
    if x.__class__ is Ref and x.view.shape == e.out_avals[0].shape:
        low.reals[found.slot] = x
    return found


@lowering("mul", pairs=True)
def _mul(low: Lowering, e: Entry, x: Operand, y: Operand) -> Ref:
    if not all(a.dtype is not None and a.dtype.is_complex for a in e.in_avals):
        raise Refused("of a real number")

    def body(v: Arithmetic, parts: list[str]) -> list[str]:
        a, b, c, d = parts
        re = v.sub(v.mul(a, c), v.mul(b, d))
        return [re, v.add(v.mul(a, d), v.mul(b, c))]

    return _apply(low, e, [x, y], body)
