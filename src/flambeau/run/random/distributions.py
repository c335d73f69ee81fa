"""Continuous and Bernoulli numbers, drawn in the order and with the rounding of PyTorch's CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import native
from ._arithmetic import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    FLOATS,
    Shape,
    blocks,
    each,
    fused,
    round_to,
    size_of,
)
from ._names import c_name, not_implemented, scalar_name
from .box_muller import blocks32, blocks64
from .engine import MersenneTwister

__all__ = [
    "uniform",
    "normal",
    "bernoulli",
    "bernoulli_array",
    "chosen",
    "chosen_ahead",
    "exponential",
    "geometric",
    "cauchy",
    "log_normal",
]

_PARTS = {np.dtype(np.complex64): FLOAT32, np.dtype(np.complex128): FLOAT64}
_MASK53 = np.uint64((1 << 53) - 1)
_BERNOULLI_RANGE = (
    "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message be "
    "improved?  If so, please report an enhancement request to PyTorch.)"
)
_COUNTS = tuple(np.dtype(t) for t in ("u1", "i1", "i2", "i4", "i8")) + FLOATS
_LARGEST = {
    FLOAT16: 65504.0,
    BFLOAT16: float.fromhex("0x1.fep127"),
    FLOAT32: float.fromhex("0x1.fffffep127"),
    FLOAT64: float.fromhex("0x1.fffffffffffffp1023"),
}


def _complex(draw: Any, engine: Any, shape: Shape, dtype: np.dtype, *args: Any) -> np.ndarray:
    """A draw of twice as many real numbers, read as complex ones."""
    parts = draw(engine, size_of(shape) * 2, *args, dtype=_PARTS[dtype])
    return parts.view(dtype).reshape(shape)


def uniform(
    engine: MersenneTwister,
    shape: Shape,
    low: float = 0.0,
    high: float = 1.0,
    dtype: Any = np.float32,
) -> np.ndarray:
    r"""Uniform numbers: :math:`x = u\,(high - low) + low` with u in [0, 1), never ``high`` itself.

    float64 takes 53 bits of a 64-bit draw, the other types 24 bits of a 32-bit draw and float32
    arithmetic. A complex number is two real ones.

    Raises ``RuntimeError`` if ``low > high``, or a bound or their distance is out of range,
    ``NotImplementedError`` if ``dtype`` is neither floating nor complex.

    >>> uniform(MersenneTwister(0), 3)
    array([0.4962566 , 0.7682218 , 0.08847743], dtype=float32)
    """
    dtype = np.dtype(dtype)
    if dtype in _PARTS:
        return _complex(uniform, engine, shape, dtype, low, high)
    if dtype not in FLOATS:
        raise not_implemented("check_uniform_bounds", dtype)
    _check_bounds(low, high, dtype)
    n = size_of(shape)
    unit = low == 0.0 and high == 1.0
    values = engine.uniform64(n) if dtype == FLOAT64 else engine.uniform32(n)
    if not unit and dtype == FLOAT64:
        values = fused(values, high - low, low)
    elif not unit:
        start = np.float32(low)
        scale = np.float64(np.float32(high) - start)
        # The product is exact in float64, so only the sum rounds twice: one case in 2**29 shows it.
        for part in blocks(values):
            wide = part * scale
            wide += np.float64(start)
            part[...] = wide
    values = round_to(values, dtype)
    if not unit or dtype in (FLOAT16, BFLOAT16):
        values[values == dtype.type(high)] = dtype.type(low)
    return values.reshape(shape)


def _check_bounds(low: float, high: float, dtype: np.dtype) -> None:
    largest = _LARGEST[dtype]
    for name, bound in (("from", low), ("to", high)):
        if not -largest <= bound <= largest:
            raise RuntimeError(f"{name} is out of bounds for {c_name(dtype)}")
    if low > high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}"
        )
    if high - low > largest:
        raise RuntimeError(
            f"uniform_ expects to-from <= std::numeric_limits<{scalar_name(dtype)}>::max(), but "
            f"found to={high:g} and from={low:g} which result in to-from to exceed the limit"
        )


def normal(
    engine: MersenneTwister,
    shape: Shape,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: Any = np.float32,
    contiguous: bool = True,
) -> np.ndarray:
    """Normal numbers of the given mean and standard deviation, by Box and Muller's transform.

    Sixteen or more are made in blocks of sixteen; where the number is no multiple, the last
    sixteen are drawn anew. Fewer, or where PyTorch's result would not be ``contiguous``, are made
    in pairs in float64; the half of a pair that is left over starts the next such draw. A complex
    number's parts have the variance ``std**2 / 2``.

    Raises ``RuntimeError`` if ``std`` is negative, ``NotImplementedError`` if ``dtype`` is neither
    floating nor complex.

    >>> normal(MersenneTwister(0), 3)
    array([ 1.5409961, -0.2934289, -2.1787894], dtype=float32)
    """
    dtype = np.dtype(dtype)
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    if dtype in _PARTS:
        parts = normal(
            engine, size_of(shape) * 2, mean, std / math.sqrt(2), _PARTS[dtype], contiguous
        )
        return parts.view(dtype).reshape(shape)
    if dtype not in FLOATS:
        raise not_implemented("normal_kernel_cpu", dtype)
    n = size_of(shape)
    if n >= 16 and contiguous:
        return _normal_blocks(engine, n, mean, std, dtype).reshape(shape)
    pairs = fused(_standard_pairs(engine, n), float(std), float(mean))
    return round_to(pairs, dtype).reshape(shape)


def _normal_blocks(
    engine: MersenneTwister, n: int, mean: float, std: float, dtype: np.dtype
) -> np.ndarray:
    draw, transform = (
        (engine.uniform64, blocks64) if dtype == FLOAT64 else (engine.uniform32, blocks32)
    )
    whole = n - n % 16
    if whole == n:
        values = draw(n)
        transform(values, mean, std)
        return round_to(values, dtype)
    # The 16-bit types skip the incomplete block before the last sixteen, the others draw it.
    drawn = n if dtype in (FLOAT32, FLOAT64) else whole
    with engine.lock:
        values = draw(drawn + 16)
    result = np.empty(n, values.dtype)
    result[:whole] = values[:whole]
    transform(result[:whole], mean, std)
    last = values[drawn:]
    transform(last, mean, std)
    result[n - 16 :] = last
    return round_to(result, dtype)


def _standard_pairs(engine: MersenneTwister, n: int) -> np.ndarray:
    """``n`` standard normal numbers in float64, made in pairs, the odd one cached."""
    with engine.lock:
        result = np.empty(n, np.float64)
        start = 0
        if n and engine.next_double_normal is not None:
            result[0] = engine.next_double_normal
            engine.next_double_normal = None
            start = 1
        if start == n:
            return result
        u = engine.uniform64(n - start + (n - start) % 2).reshape(-1, 2)
        radius = np.sqrt(-2.0 * each(math.log1p, -u[:, 1]))
        angle = (2.0 * math.pi) * u[:, 0]
        pairs = np.stack((radius * each(math.cos, angle), radius * each(math.sin, angle)), 1)
        result[start:] = pairs.reshape(-1)[: n - start]
        if (n - start) % 2:
            engine.next_double_normal = float(pairs[-1, 1])
        return result


def bernoulli(
    engine: MersenneTwister, shape: Shape, p: float, dtype: Any = np.float32, on: float = 1.0
) -> np.ndarray:
    """``on`` with probability ``p``, else 0: are 53 bits of a 64-bit draw, over 2**53, below p.

    Raises ``RuntimeError`` if ``p`` is not in [0, 1].

    >>> bernoulli(MersenneTwister(0), 5, 0.5)
    array([0., 0., 1., 0., 0.], dtype=float32)
    """
    dtype = np.dtype(dtype)
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    if dtype != np.bool_ and dtype not in _COUNTS:
        raise not_implemented("bernoulli_scalar_cpu_", dtype)
    limit, n = _limit(p), size_of(shape)
    if 2 * n >= native.LARGE and dtype == FLOAT32:
        numbers = native.bernoulli(engine, n, limit, on)
        if numbers is not None:
            return numbers.reshape(shape)
    result = chosen(engine, shape, p).astype(dtype, copy=False)
    if on != 1.0:
        result *= dtype.type(on)
    return result


def _limit(p: float) -> int:
    """u < p for u = k / 2**53 is k < ceil(p * 2**53): no need to go through floating point."""
    return math.ceil(p * 2.0**53)


def chosen_ahead(engine: MersenneTwister, shape: Shape, p: float) -> np.ndarray:
    """``chosen``, which another thread may still be drawing: join ``chores`` before it is read."""
    result = native.mask_ahead(engine, shape, _limit(p))
    return chosen(engine, shape, p) if result is None else result


def chosen(engine: MersenneTwister, shape: Shape, p: float) -> np.ndarray:
    """Truth values: the draws of ``bernoulli``, true where that gives one.

    >>> chosen(MersenneTwister(0), 5, 0.5)
    array([False, False,  True, False, False])
    """
    limit = _limit(p)
    result = native.mask(engine, shape, limit)
    if result is None:
        draws = engine.random64(size_of(shape))
        draws &= _MASK53
        result = (draws < np.uint64(limit)).reshape(shape)
    return result


def bernoulli_array(engine: MersenneTwister, p: np.ndarray, dtype: Any = None) -> np.ndarray:
    """1 with probability ``p[i]``, else 0, in the shape of ``p`` and by default in its type.

    A float64 probability takes a 64-bit draw, the other types a 32-bit one.

    Raises ``RuntimeError`` if a probability is not in [0, 1], ``NotImplementedError`` if they are
    not floating.

    >>> bernoulli_array(MersenneTwister(0), np.array([0.0, 0.9, 1.0], np.float32))
    array([0., 1., 1.], dtype=float32)
    """
    p = np.asarray(p)
    dtype = p.dtype if dtype is None else np.dtype(dtype)
    if dtype != np.bool_ and dtype not in _COUNTS:
        raise not_implemented("bernoulli_tensor_cpu_self_", dtype)
    if p.dtype not in FLOATS:
        raise not_implemented("bernoulli_tensor_cpu_p_", p.dtype)
    if not ((p >= 0) & (p <= 1)).all():
        raise RuntimeError(_BERNOULLI_RANGE)
    if p.dtype == FLOAT64:
        return (engine.uniform64(p.size).reshape(p.shape) < p).astype(dtype)
    return (engine.uniform32(p.size).reshape(p.shape) < p.astype(np.float32)).astype(dtype)


def exponential(
    engine: MersenneTwister, shape: Shape, rate: float = 1.0, dtype: Any = np.float32
) -> np.ndarray:
    r"""Exponential numbers: :math:`-\ln(1 - u) / \lambda`, from a 64-bit draw each.

    Raises ``RuntimeError`` if ``rate`` is not positive, or ``dtype`` not floating.

    >>> exponential(MersenneTwister(0), 2)
    array([3.5083263, 1.2303847], dtype=float32)
    """
    dtype = np.dtype(dtype)
    if not rate > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
    if dtype not in FLOATS:
        raise RuntimeError(
            "Exponential distribution is a continuous probability distribution. dtype must be a "
            f"floating point but you specified {scalar_name(dtype)}"
        )
    u = engine.uniform64(size_of(shape))
    np.negative(u, out=u)
    logs = each(math.log1p, u) if dtype == FLOAT64 else np.log1p(u, out=u)
    logs *= -1.0 / rate
    return round_to(logs, dtype).reshape(shape)


def geometric(
    engine: MersenneTwister, shape: Shape, p: float, dtype: Any = np.float32
) -> np.ndarray:
    r"""The number of trials up to the first success: :math:`\lceil \ln u / \ln(1 - p) \rceil`.

    Raises ``RuntimeError`` if ``p`` is not in (0, 1).

    >>> geometric(MersenneTwister(0), 4, 0.2, np.int64)
    array([1, 2, 4, 1])
    """
    dtype = np.dtype(dtype)
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    if dtype not in _COUNTS:
        raise not_implemented("geometric_cpu", dtype)
    u = engine.uniform64(size_of(shape))
    with np.errstate(divide="ignore"):
        trials = np.ceil(np.log(u) / math.log1p(-p))
    if dtype in FLOATS:
        return round_to(trials, dtype).reshape(shape)
    with np.errstate(invalid="ignore"):
        return trials.astype(np.int64).astype(dtype).reshape(shape)


def cauchy(
    engine: MersenneTwister,
    shape: Shape,
    median: float = 0.0,
    sigma: float = 1.0,
    dtype: Any = np.float32,
) -> np.ndarray:
    r"""Cauchy numbers: :math:`median + \sigma \tan(\pi (u - \tfrac12))`, from a 64-bit draw each.

    Raises ``RuntimeError`` if ``sigma`` is not positive, or ``dtype`` not floating.

    >>> cauchy(MersenneTwister(0), 2)
    array([10.59773  ,  0.7647673], dtype=float32)
    """
    dtype = np.dtype(dtype)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    if dtype not in FLOATS:
        raise RuntimeError(
            "Cauchy distribution is a continuous probability distribution. dtype must be a "
            f"floating point but you specified {c_name(dtype)}"
        )
    angle = math.pi * (engine.uniform64(size_of(shape)) - 0.5)
    tangent = each(math.tan, angle) if dtype == FLOAT64 else np.tan(angle)
    return round_to(fused(tangent, float(sigma), float(median)), dtype).reshape(shape)


def log_normal(
    engine: MersenneTwister,
    shape: Shape,
    mean: float = 1.0,
    std: float = 2.0,
    dtype: Any = np.float32,
) -> np.ndarray:
    """The exponential of normal numbers of mean ``mean`` and deviation ``std``, made in pairs.

    Raises ``RuntimeError`` if ``std`` is not positive, ``NotImplementedError`` if ``dtype`` is not
    floating.

    >>> log_normal(MersenneTwister(0), 2)
    array([59.263416,  1.51156 ], dtype=float32)
    """
    dtype = np.dtype(dtype)
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    if dtype not in FLOATS:
        raise not_implemented("log_normal_cpu", dtype)
    exponent = fused(_standard_pairs(engine, size_of(shape)), float(std), float(mean))
    if dtype == FLOAT64:
        return each(_exp, exponent).reshape(shape)
    with np.errstate(over="ignore", under="ignore"):
        return round_to(np.exp(exponent), dtype).reshape(shape)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
