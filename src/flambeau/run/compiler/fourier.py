"""Fast Fourier transforms: many short ones at a time, along any dimensions.

A stage transforms one dimension. The first reads the operand, the others work in place. A long
transform along the last dimension is many short ones, in two stages. Lengths with large primes,
and a few short transforms, are the references'.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dtypes
from flambeau.run.compiler import code
from flambeau.run.compiler.convolution_blocks import Lanes, chunk_of
from flambeau.run.compiler.elements import element
from flambeau.run.compiler.fourier_kernels import Transform, kernel, second_kernel, tables
from flambeau.run.compiler.fourier_passes import Passes, roots
from flambeau.run.compiler.lower import Lowering, Refused, element_or_raw, lowering
from flambeau.run.compiler.nodes import Ref
from flambeau.run.compiler.stages import Plan, Stage

if TYPE_CHECKING:
    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.nodes import Operand

# A thread's buffers are no larger than this: beyond its cache NumPy is as fast.
_MOST_BYTES = 4 << 20
# With fewer transforms too many lanes are empty.
_FEWEST = 3
# So long one is worth two stages, and the factors between them; those of longer ones than the
# second number take too much memory.
_LONG, _LONGEST = 1 << 13, 1 << 22


def _stage(low: Lowering, how: Transform, names: tuple[str, str], el: str, given: list) -> Stage:
    """The stage of one dimension; its table is one more of the operands ``given``."""
    size = 4 if el == "float" else 8
    target = code.target()
    many = how.outer if how.inner == 1 else how.inner
    if how.outer * how.inner < _FEWEST:
        raise Refused("too few, and short")
    passes = Passes.of(how.length, 8 if target.registers >= 32 else 4)
    if passes is None or how.n < 2:
        raise Refused("of this length")
    count = min(target.lanes(size), max(16 // size, 1 << (many - 1).bit_length()))
    lanes = Lanes(el, size, count)
    found, size_of_passes = tables(how, passes, "float32" if size == 4 else "float64")
    made, units = kernel(how, passes, lanes, size_of_passes)
    if made.scratch > _MOST_BYTES:
        raise Refused("of this length")
    table = low.constant(found)
    names = (*names, str(len(given)))
    given.append(table)
    work = how.n * (4 + 4 * len(passes.steps)) * 2
    return Stage(made, names, units, chunk_of(units, units * work))


def _lines(shape: tuple[int, ...], d: int) -> tuple[int, int]:
    return math.prod(shape[:d]), math.prod(shape[d + 1 :])


def _along(
    low: Lowering, shape: tuple[int, ...], dims: tuple[int, ...], inverse: bool, scale: float,
    place: str, el: str, given: list,
) -> list[Stage]:  # fmt: skip
    """Complex transforms in place, the last with a scale."""
    found = []
    for d in dims:
        outer, inner = _lines(shape, d)
        last = scale if d == dims[-1] else 1.0
        how = Transform("complex", shape[d], outer, inner, shape[d], shape[d], inverse, last)
        found.append(_stage(low, how, (place, place), el, given))
    return found


def _is_long(outer: int, n: int, el: str) -> bool:
    """Whether a thread's cache does not hold enough of these transforms at a time."""
    size = 4 if el == "float" else 8
    if outer < _FEWEST:
        return n >= _LONG
    return 4 * n * size * min(outer, code.target().lanes(size)) > _MOST_BYTES


def _halves(n: int, most: int) -> tuple[Passes, Passes] | None:
    """Passes for two factors of ``n`` near its root."""
    for a in range(math.isqrt(n), 15, -1):
        if n % a == 0:
            first, second = Passes.of(n // a, most), Passes.of(a, most)
            if first is not None and second is not None:
                return first, second
    return None


def _long(low: Lowering, e: Entry, x: Operand, outer: int, n: int, el: str) -> Ref:
    """Columns of a square, factors, and its rows (Van Loan 1992, 3.3)."""
    inverse, scale = e.attrs["inverse"], e.attrs["scale"]
    aval = e.in_avals[0]
    size = 4 if el == "float" else 8
    target = code.target()
    found = _halves(n, 8 if target.registers >= 32 else 4) if n <= _LONGEST else None
    if found is None:
        raise Refused("of this length")
    first, second = found
    lanes = Lanes(el, size, target.lanes(size))
    given = [low.dense(x, aval.shape, element_or_raw(aval))]
    how = Transform("complex", first.n, outer, second.n, first.n, first.n, inverse, 1.0)
    stages = [_stage(low, how, ("0", "w"), el, given)]
    kernel, units = second_kernel(second, lanes, outer, first.n, inverse, scale)
    dtype = "float32" if size == 4 else "float64"
    width = -(-first.n // lanes.count) * lanes.count
    factors = np.zeros((second.n, 2, width), dtype)
    between = roots(n)[np.outer(np.arange(second.n), np.arange(first.n))]
    factors[:, 0, : first.n] = between.real
    factors[:, 1, : first.n] = -between.imag if inverse else between.imag
    table = np.concatenate([second.table(dtype), np.zeros(2, dtype)])
    given += [low.constant(table), low.constant(factors)]
    work = second.n * (8 + 4 * len(second.steps)) * 2
    names = ("w", "out0", "2", "3")
    stages.append(Stage(kernel, names, units, chunk_of(units, units * work)))
    return _planned(low, e, stages, given, _bytes(aval))


def _planned(low: Lowering, e: Entry, stages: list[Stage], given: list, workspace: int = 0) -> Ref:
    out = e.out_avals[0]
    plan = Plan(tuple(stages), workspace)
    return low.stages(e.prim.name, plan, given, [out.shape], [element_or_raw(out)])[0]


def _real_type(dtype: dtypes.dtype) -> str:
    return "float" if dtype.to_real() is dtypes.float32 else "double"


def _checked(e: Entry) -> None:
    if any(0 in a.shape for a in (*e.in_avals, *e.out_avals)) or not e.attrs["dims"]:
        raise Refused("of nothing")


@lowering("fft", pairs=True)
def _fft(low: Lowering, e: Entry, x: Operand) -> Ref:
    _checked(e)
    aval, dims = e.in_avals[0], tuple(d % len(e.in_avals[0].shape) for d in e.attrs["dims"])
    inverse, scale = e.attrs["inverse"], e.attrs["scale"]
    shape, el = aval.shape, _real_type(aval.dtype)
    d, rest = dims[-1], dims[:-1]
    outer, inner = _lines(shape, d)
    if inner == 1 and not rest and _is_long(outer, shape[d], el):
        return _long(low, e, x, outer, shape[d], el)
    real = low.reals.get(x.slot) if x.__class__ is Ref else None
    last = 1.0 if rest else scale
    if real is not None and not inverse:
        how = Transform("real", shape[d], outer, inner, shape[d], shape[d], False, last)
        given = [low.dense(real, shape, element(aval.dtype.to_real()))]
    else:
        how = Transform("complex", shape[d], outer, inner, shape[d], shape[d], inverse, last)
        given = [low.dense(x, shape, element_or_raw(aval))]
    stages = [_stage(low, how, ("0", "out0"), el, given)]
    stages += _along(low, shape, rest, inverse, scale, "out0", el, given)
    return _planned(low, e, stages, given)


@lowering("rfft", pairs=True)
def _rfft(low: Lowering, e: Entry, x: Operand) -> Ref:
    _checked(e)
    aval, out = e.in_avals[0], e.out_avals[0]
    if aval.dtype not in (dtypes.float32, dtypes.float64):
        raise Refused("of this dtype")
    dims, scale = tuple(d % len(aval.shape) for d in e.attrs["dims"]), e.attrs["scale"]
    d, rest = dims[-1], dims[:-1]
    outer, inner = _lines(aval.shape, d)
    el = _real_type(aval.dtype)
    n = aval.shape[d]
    how = Transform("real", n, outer, inner, n, n // 2 + 1, False, 1.0 if rest else scale)
    given = [low.dense(x, aval.shape, element(aval.dtype))]
    stages = [_stage(low, how, ("0", "out0"), el, given)]
    stages += _along(low, out.shape, rest, False, scale, "out0", el, given)
    return _planned(low, e, stages, given)


@lowering("irfft", pairs=True)
def _irfft(low: Lowering, e: Entry, x: Operand) -> Ref:
    _checked(e)
    aval = e.in_avals[0]
    dims = tuple(d % len(aval.shape) for d in e.attrs["dims"])
    d, rest, n = dims[-1], dims[:-1], e.attrs["n"]
    if aval.shape[d] != n // 2 + 1:
        raise Refused("of another length")
    el = _real_type(aval.dtype)
    given = [low.dense(x, aval.shape, element_or_raw(aval))]
    stages, source = [], "0"
    for k in rest:
        outer, inner = _lines(aval.shape, k)
        m = aval.shape[k]
        how = Transform("complex", m, outer, inner, m, m, True, 1.0)
        stages.append(_stage(low, how, (source, "w"), el, given))
        source = "w"
    outer, inner = _lines(aval.shape, d)
    how = Transform("whole", n, outer, inner, aval.shape[d], n, True, e.attrs["scale"])
    stages.append(_stage(low, how, (source, "out0"), el, given))
    return _planned(low, e, stages, given, _bytes(aval) if rest else 0)


def _bytes(aval: object) -> int:
    return math.prod(aval.shape) * element_or_raw(aval).size  # type: ignore[attr-defined,arg-type]
