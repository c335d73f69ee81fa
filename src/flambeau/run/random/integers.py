"""Random integers and permutations, drawn in the order of PyTorch's CPU."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from . import native
from ._arithmetic import BFLOAT16, DIGITS, FLOAT32, FLOAT64, FLOATS, Shape, round_to, size_of
from ._names import c_name, not_implemented, scalar_name
from .engine import MersenneTwister

__all__ = ["randint", "random", "random_from", "randperm"]

_BOOL = np.dtype(bool)
_INT64 = np.dtype(np.int64)
_WIDE = tuple(np.dtype(t) for t in ("u2", "u4", "u8"))
_PLAIN = tuple(np.dtype(t) for t in ("u1", "i1", "i2", "i4", "i8"))
_LOWEST = -(2**63)

# Below this range 32 bits are enough for a skew of at most 5 %.
_RANGE_OF_32_BITS = 1 << 28


def randint(
    engine: MersenneTwister, shape: Shape, low: int, high: int, dtype: Any = np.int64
) -> np.ndarray:
    """Integers of [low, high), as any real dtype: a draw modulo ``high - low``, plus ``low``.

    The draw has 32 bits if ``high - low < 2**28``, else 64. For a floating dtype the bounds are
    moved inwards to representable numbers.

    Raises ``RuntimeError`` if ``low >= high``, or a bound does not fit ``dtype``; warns where a
    floating dtype cannot represent every integer of the range.

    >>> randint(MersenneTwister(0), 5, 0, 10)
    array([4, 9, 3, 0, 3])
    """
    dtype = np.dtype(dtype)
    low, high = int(low), int(high)
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    if dtype in FLOATS:
        low, high = _inner_low(low, dtype), _inner_high(high, dtype)
        if low >= high:
            raise RuntimeError(
                "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but "
                f"got from={low} >= to={high}"
            )
    _check_bounds(low, high - 1, dtype)
    return _modulo(engine, shape, low, high - low, dtype)


def random_from(engine: MersenneTwister, shape: Shape, low: int, dtype: Any) -> np.ndarray:
    """Integers from ``low`` to the largest that ``dtype`` holds (2**digits if it is floating).

    ``low = -2**63`` stands for the full range of 64 bits.

    Raises ``RuntimeError`` if ``low`` does not fit ``dtype``.

    >>> random_from(MersenneTwister(0), 3, 100, np.int8)
    array([104, 103, 121], dtype=int8)
    """
    dtype = np.dtype(dtype)
    low = int(low)
    if low == _LOWEST:
        if dtype not in _PLAIN and dtype not in (FLOAT64, FLOAT32, BFLOAT16):
            raise not_implemented("random_full_64_bits_range_kernel_cpu", dtype)
        if dtype in _PLAIN and dtype != _INT64:
            raise RuntimeError(
                "random_full_64_bits_range_kernel_cpu handles only int64, double, float and "
                "bfloat16"
            )
        return round_to(engine.random64(size_of(shape)).view(np.int64), dtype).reshape(shape)
    if dtype in FLOATS:
        last = 1 << DIGITS[dtype]
        low = _inner_low(low, dtype)
        if low >= last:
            raise RuntimeError(
                "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' "
                f"casted to dtype, but got from={low} > to_inc={last}"
            )
    else:
        last = 1 if dtype == _BOOL else _limits(dtype)[1]
    _check_bounds(low, last, dtype)
    return _modulo(engine, shape, low, last - low + 1, dtype)


def random(engine: MersenneTwister, shape: Shape, dtype: Any) -> np.ndarray:
    """Integers from 0 to the largest that ``dtype`` holds (2**digits if it is floating).

    int64 and float64 take a 64-bit draw, the others a 32-bit one.

    Raises ``NotImplementedError`` for complex and for unsigned types of more than 8 bits.

    >>> random(MersenneTwister(0), 3, np.uint8)
    array([172,  47, 117], dtype=uint8)
    """
    dtype = np.dtype(dtype)
    n = size_of(shape)
    if dtype == _BOOL:
        return (engine.random32(n) & np.uint32(1)).astype(bool).reshape(shape)
    if dtype in _PLAIN:
        largest = np.iinfo(dtype).max
        if dtype == _INT64:
            draws = engine.random64(n) & np.uint64(largest)
        else:
            draws = engine.random32(n) & np.uint32(largest)
        return draws.astype(dtype).reshape(shape)
    if dtype not in FLOATS:
        raise not_implemented("random_kernel_cpu", dtype)
    count = (1 << DIGITS[dtype]) + 1
    if dtype == FLOAT64:
        return (engine.random64(n) % np.uint64(count)).astype(dtype).reshape(shape)
    return round_to(engine.random32(n) % np.uint32(count), dtype).reshape(shape)


def _modulo(
    engine: MersenneTwister, shape: Shape, base: int, count: int, dtype: np.dtype
) -> np.ndarray:
    """A draw modulo ``count``, plus ``base`` in 64-bit integers, in ``dtype``."""
    n = size_of(shape)
    if count < _RANGE_OF_32_BITS:
        draws = engine.random32(n)
        draws %= np.uint32(count)
        values = draws.astype(np.int64)
        if base:
            values += base
    else:
        wide = engine.random64(n)
        wide %= np.uint64(count)
        wide += np.uint64(base & 0xFFFFFFFFFFFFFFFF)
        values = wide.view(np.int64)
    if dtype == _BOOL:
        return (values != 0).reshape(shape)
    return round_to(values, dtype).reshape(shape)


def _limits(dtype: np.dtype) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), min(int(info.max), 2**63 - 1)


def _check_bounds(low: int, last: int, dtype: np.dtype) -> None:
    """Both must fit ``dtype``; warns where a floating type skips integers between them."""
    if dtype in FLOATS:
        largest = 65504 if dtype == np.float16 else None
        limit = 1 << DIGITS[dtype]
        for name, bound in (("from", low), ("to - 1", last)):
            if largest is not None and abs(bound) > largest:
                raise RuntimeError(f"{name} is out of bounds for {c_name(dtype)}")
        for name, bound in (("from", low), ("to - 1", last)):
            if abs(bound) > limit:
                digits = DIGITS[dtype]
                warnings.warn(
                    f"{name} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision "
                    f"limitations {c_name(dtype)} can support discrete uniform distribution only "
                    "within this range. This warning will become an error in version 1.7 release, "
                    "please fix the code in advance",
                    UserWarning,
                    stacklevel=4,
                )
        return
    if dtype == _BOOL:
        smallest, largest = 0, 1
    elif dtype in _PLAIN or dtype in _WIDE:
        smallest, largest = _limits(dtype)
    else:
        raise RuntimeError(
            "check_random_bounds handles only integral, floating-point and boolean types"
        )
    for name, bound in (("from", low), ("to - 1", last)):
        if not smallest <= bound <= largest:
            raise RuntimeError(f"{name} is out of bounds for {c_name(dtype)}")


def _as_float(value: int, dtype: np.dtype) -> int:
    """``value`` after a round trip through ``dtype``, saturated to 64 bits."""
    rounded = float(round_to(np.array([value], np.int64), dtype).astype(np.float64)[0])
    if np.isinf(rounded):
        return value
    return max(_LOWEST, min(int(rounded), 2**63 - 1))


def _inner_low(low: int, dtype: np.dtype) -> int:
    """``low``, or the representable number next above it where rounding would go below."""
    rounded = _as_float(low + 1, dtype)
    if rounded >= low:
        return low
    return rounded + (1 << (abs(low + 1).bit_length() - DIGITS[dtype]))


def _inner_high(high: int, dtype: np.dtype) -> int:
    """``high``, or the representable number below it where rounding would reach it."""
    rounded = _as_float(high - 1, dtype)
    if rounded < high:
        return high
    return rounded - (1 << (abs(high - 1).bit_length() - DIGITS[dtype]))


# From this length on 32 bits would be skewed by more than 5 %.
_LONG = 0xFFFFFFFF // 20


def randperm(engine: MersenneTwister, n: int, dtype: Any = np.int64) -> np.ndarray:
    """A permutation of 0 … n - 1 by Fisher and Yates' shuffle.

    Element i is swapped with element ``i + draw % (n - i)``, for i from 0 to n - 2; permutations
    of 214 748 364 elements and more build up from the front with 64-bit draws.

    Raises ``RuntimeError`` if ``n`` is negative or ``dtype`` cannot hold n - 1,
    ``NotImplementedError`` if ``dtype`` is bool, complex or unsigned of more than 8 bits.

    >>> randperm(MersenneTwister(0), 6)
    array([2, 5, 3, 0, 1, 4])
    """
    dtype = np.dtype(dtype)
    n = int(n)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    if dtype not in _PLAIN and dtype not in FLOATS:
        raise not_implemented("randperm", dtype)
    _check_length(n, dtype)
    if n >= _LONG:
        return _long_permutation(engine, n, dtype)
    targets = engine.random32(max(n - 1, 0))
    if n >= native.LARGE:
        order = native.shuffled(targets, n)
        if order is not None:
            return round_to(order, dtype)
    targets %= np.arange(n, 1, -1, dtype=np.uint32)
    targets += np.arange(n - 1, dtype=np.uint32)
    order = _swap_each(targets, n) if n < _FEW else _swap_all(targets, n)
    return round_to(order, dtype)


# Below this length swapping one after the other is faster than sorting.
_FEW = 400


def _swap_each(targets: np.ndarray, n: int) -> np.ndarray:
    order = list(range(n))
    for i, j in enumerate(targets.tolist()):
        order[i], order[j] = order[j], order[i]
    return np.array(order, np.int64)


def _swap_all(targets: np.ndarray, n: int) -> np.ndarray:
    """What swapping each element i with element ``targets[i] >= i``, in order, makes of 0 … n - 1.

    Element i receives what stands at its target j when its turn comes: j, unless an earlier swap
    k, the last one with that target, left there what had stood at k. What stands at k at k's turn
    is, likewise, k or what the last earlier swap with target k left: a chain of ever smaller k,
    followed for all elements at once by doubling the length of the steps.
    """
    # The last element stays: it is swapped with itself. A sort of (target, step) finds, for each
    # step, the one before it with the same target, and for each target its last step.
    keys = np.empty(n, np.uint64)
    keys[:-1] = targets
    keys[-1] = n - 1
    keys <<= np.uint64(32)
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort()
    step = (keys & np.uint64(0xFFFFFFFF)).view(np.int64)
    keys >>= np.uint64(32)
    target = keys.view(np.int64)
    again = target[1:] == target[:-1]

    # Where each position's content comes from at its turn; a swap with itself moves nothing.
    source = np.arange(n)
    others = step != target
    last = np.empty(n, bool)
    last[-1] = True
    last[:-1] = ~(again & others[1:])
    last &= others
    source[target[last]] = step[last]
    while True:
        further = source[source]
        if np.array_equal(further, source):
            break
        source = further

    received = target.copy()
    received[1:][again] = source[step[:-1][again]]
    order = np.empty(n, np.int64)
    order[step] = received
    return order


def _check_length(n: int, dtype: np.dtype) -> None:
    # bfloat16 is not checked, as in PyTorch: beyond 257 elements some of them repeat.
    if dtype in FLOATS and dtype != BFLOAT16:
        digits = DIGITS[dtype]
        if n > (1 << digits) + 1:
            limit = "2049" if digits == 11 else f"2^{digits}+1"
            raise RuntimeError(f"n cannot be greater than {limit} for {scalar_name(dtype)} type.")
    elif dtype in _PLAIN and n - 1 > np.iinfo(dtype).max:
        raise RuntimeError(f"value cannot be converted to type {dtype.name}_t without overflow")


def _long_permutation(engine: MersenneTwister, n: int, dtype: np.dtype) -> np.ndarray:
    """The shuffle from the front: i goes to ``z = draw % (i + 1)``, what was there to i."""
    order = np.arange(n, dtype=np.int64)
    memory = memoryview(order)
    block = 1 << 20
    with engine.lock:
        for start in range(0, n, block):
            stop = min(start + block, n)
            places = engine.random64(stop - start) % np.arange(start + 1, stop + 1, dtype="u8")
            for i, z in enumerate(places.tolist(), start):
                memory[i] = memory[z]
                memory[z] = i
    return round_to(order, dtype)
