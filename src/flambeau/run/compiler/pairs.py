"""Complex numbers as the pairs they are in memory: made, taken apart, and their arithmetic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau import dtypes
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Code, Lanes, chunk_of
from flambeau.run.compiler.elements import element, known
from flambeau.run.compiler.lower import Lowering, Refused, Unsized, element_or_raw, lowering
from flambeau.run.compiler.nodes import Literal, Number, Ref
from flambeau.run.compiler.sizes import has_size
from flambeau.run.compiler.stages import Plan, Stage
from flambeau.run.compiler.vector_math import FUNCTIONS
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


# How an operand lies in memory: a real number or a pair for each place, one real number for all;
# or a number that is known, and nowhere.
REAL, PAIR, ONE = "real", "pair", "one"


def _kernel_of(
    lanes: Lanes, count: int, kinds: list[str | complex], paired: bool,
    body: Callable[..., list[str]],
) -> Stage:  # fmt: skip
    """``body`` of the parts of operands of these kinds; whether the result is a pair.

    A unit is as many numbers as a vector has lanes.
    """
    f = Code()
    v = Arithmetic(f, lanes.count, lanes.element)
    n = lanes.count
    held = [k for k in kinds if isinstance(k, str)]
    pointers = iter([f.pointer(k) for k in range(len(held))])
    out = f.pointer(len(held))
    operands: list[tuple[str | None, bool, list[str]]] = []
    for kind in kinds:
        if not isinstance(kind, str):
            operands.append((None, True, [v.number(kind.real), v.number(kind.imag)]))
            continue
        pointer = next(pointers)
        if kind == ONE:
            one = f.splat(n, lanes.element, f.load(lanes.element, pointer, lanes.size))
            operands.append((None, True, [one, v.number(0.0)]))
        else:
            operands.append((pointer, kind == PAIR, []))

    def numbers(at: str, left: int | None) -> None:
        def halves(pair: bool) -> list[int]:
            if left is None:
                return [n] * (1 + pair)
            return [min(n, 2 * left), 2 * left - n] if pair else [left]

        parts = []
        for pointer, pair, found in operands:
            if pointer is None:
                parts += found
                continue
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
        if paired:
            picks = [[x for k in range(n // 2) for x in (h + k, n + h + k)] for h in (0, n // 2)]
            re, im = made
            made = [f.shuffle(lanes, re, im, p) for p in picks]
        place = f.along(out, (at, lanes.size * (1 + paired)))
        for k, (value, m) in enumerate(zip(made, halves(paired), strict=True)):
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
    names = (*(str(k) for k in range(len(held))), "out0")
    return Stage(f.kernel(prefix="pairs"), names, units, chunk_of(units, units * 4))


def _apply(low: Lowering, e: Entry, given: list[Operand], body: Callable[..., list[str]]) -> Ref:
    out = e.out_avals[0]
    lanes = lanes_of(out.dtype)
    if 0 in out.shape:
        raise Refused("of nothing")
    refs: list[Ref] = []
    kinds: list[str | complex] = []
    real = element(out.dtype.to_real())  # type: ignore[union-attr]
    for x, aval in zip(given, e.in_avals, strict=True):
        if x.__class__ is Literal and (aval.dtype is None or aval.dtype.is_complex):
            kinds.append(complex(x.value))
        elif x.__class__ is Number:
            kinds.append(ONE)
            refs.append(low.map("copy", [low.number(x.index, "f")], (), real))
        else:
            if aval.dtype is None or aval.dtype.to_real() is not out.dtype.to_real():  # type: ignore[union-attr]
                raise Refused("operands of several dtypes")
            kinds.append(PAIR if aval.dtype.is_complex else REAL)
            refs.append(_dense(low, x, aval, out))
    stage = _kernel_of(lanes, math.prod(out.shape), kinds, out.dtype.is_complex, body)  # type: ignore[union-attr]
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


def _real_part(low: Lowering, e: Entry, x: Operand) -> Ref:
    """A cast to a real dtype drops the imaginary part (but any part makes a number true)."""
    source, out = e.in_avals[0].dtype, e.out_avals[0]
    if not known(out.dtype) or out.dtype is dtypes.bool_ or x.__class__ is not Ref:
        raise Refused("from complex numbers")
    real = source.to_real()  # type: ignore[union-attr]
    if 0 in out.shape:
        raise Refused("of nothing")
    stage = _kernel_of(lanes_of(real), math.prod(out.shape), [PAIR], False, lambda v, p: p[:1])
    given = [_dense(low, x, e.in_avals[0], out)]
    el, target = element(real), element(out.dtype)  # type: ignore[arg-type]
    (found,) = low.stages("real", Plan((stage,)), given, [out.shape], [el])
    return found if el is target else low.map("cast", [found], out.shape, el, target)


@lowering("cast", pairs=True)
def _cast(low: Lowering, e: Entry, x: Operand) -> Ref:
    """Of a real number; fast Fourier transforms look at what it was."""
    source, target = e.in_avals[0].dtype, e.out_avals[0].dtype
    if has_size(e.out_avals[0].shape):
        raise Unsized
    if source is target:
        raise Refused("the same dtype")
    if source.is_complex:  # type: ignore[union-attr]
        return _real_part(low, e, x)
    if not target.is_complex:  # type: ignore[union-attr]
        raise Refused("of dtypes without kernels")
    found = _apply(low, e, [x], lambda v, parts: [parts[0], v.number(0.0)])
    if x.__class__ is Ref and x.view.shape == e.out_avals[0].shape:
        low.reals[found.slot] = x
    return found


def _only_pairs(name: str, body: Callable[..., list[str]]) -> None:
    """A primitive whose operands, but for numbers, and result are all complex."""

    def lowered(low: Lowering, e: Entry, *xs: Operand) -> Ref:
        if not all(a.dtype is None or a.dtype.is_complex for a in (*e.in_avals, *e.out_avals)):
            raise Refused("of real numbers")
        return _apply(low, e, list(xs), body)

    lowering(name, pairs=True)(lowered)


def _product(v: Arithmetic, parts: list[str]) -> list[str]:
    a, b, c, d = parts
    return [v.sub(v.mul(a, c), v.mul(b, d)), v.add(v.mul(a, d), v.mul(b, c))]


def _quotient(v: Arithmetic, parts: list[str]) -> list[str]:
    """By the ratio of the divisor's parts, the greater one below [Smith 1962]."""
    a, b, c, d = parts
    turned = v.compare("ogt", v.abs(d), v.abs(c))
    great, small = v.select(turned, d, c), v.select(turned, c, d)
    # Zero by zero is not a ratio: the quotient is that of the parts by a zero without a sign.
    nothing = v.compare("oeq", great, 0.0)
    great = v.select(nothing, v.abs(great), great)
    ratio = v.select(nothing, 0.0, v.div(small, great))
    scale = v.div(1.0, v.add(great, v.mul(small, ratio)))
    p, q = v.select(turned, b, a), v.select(turned, a, b)
    re = v.add(p, v.mul(q, ratio))
    one, other = v.sub(q, v.mul(p, ratio)), v.sub(v.mul(p, ratio), q)
    im = v.select(turned, other, one)
    re, im = v.select(nothing, a, re), v.select(nothing, b, im)
    return [v.mul(re, scale), v.mul(im, scale)]


def _exponential(v: Arithmetic, parts: list[str]) -> list[str]:
    x, y = parts
    # An exponential beyond the greatest number may have parts below it: it is made in two factors.
    top, back = (80.0, 60.0) if v.single else (700.0, 600.0)
    far = v.compare("ogt", x, top)
    size = FUNCTIONS["exp"](v.f, v.lanes, v.element, v.select(far, v.sub(x, back), x))
    factor = v.select(far, math.exp(back), 1.0)
    re, im = (
        v.mul(v.mul(FUNCTIONS[name](v.f, v.lanes, v.element, y), size), factor)
        for name in ("cos", "sin")
    )
    # No angle: where the size is nothing or infinite, that much is known.
    wild = v.compare("une", v.sub(y, y), 0.0)
    none = v.both(wild, v.compare("oeq", x, -math.inf))
    re, im = v.select(none, 0.0, re), v.select(none, 0.0, im)
    re = v.select(v.both(wild, v.compare("oeq", x, math.inf)), math.inf, re)
    return [re, v.select(v.compare("oeq", y, 0.0), y, im)]


_only_pairs("add", lambda v, p: [v.add(p[0], p[2]), v.add(p[1], p[3])])
_only_pairs("sub", lambda v, p: [v.sub(p[0], p[2]), v.sub(p[1], p[3])])
_only_pairs("neg", lambda v, p: [v.neg(p[0]), v.neg(p[1])])
_only_pairs("mul", _product)
_only_pairs("square", lambda v, p: _product(v, [*p, *p]))
_only_pairs("div", _quotient)
_only_pairs("reciprocal", lambda v, p: _quotient(v, [v.number(1.0), v.number(0.0), *p]))
_only_pairs("exp", _exponential)
