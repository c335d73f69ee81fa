"""Poisson, binomial and multinomial numbers, drawn in the order of PyTorch's CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._arithmetic import FLOAT32, FLOAT64, FLOATS, each, round_to
from ._names import not_implemented, scalar_name
from ._stream import UniformStream
from .distributions import exponential
from .engine import MersenneTwister

__all__ = ["poisson", "binomial", "multinomial"]

_Uniform = Callable[[], float]


def poisson(engine: MersenneTwister, rate: Any) -> np.ndarray:
    """A Poisson number of mean ``rate[i]`` each, in the type of ``rate``.

    Below 10 by multiplying uniform numbers [Knuth 1969], else by transformed rejection
    [Hörmann 1993].

    Raises ``RuntimeError`` if a rate is negative or NaN, ``NotImplementedError`` if they are not
    floating.

    >>> poisson(MersenneTwister(0), np.array([0.0, 2.0, 30.0], np.float32)).shape
    (3,)
    """
    rate = np.asarray(rate)
    if rate.dtype not in FLOATS:
        raise not_implemented("poisson_cpu", rate.dtype)
    rates = rate.astype(np.float64)
    if not (rates >= 0).all():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    if np.isinf(rates).any():
        raise RuntimeError("invalid Poisson rate, expected rate to be finite")
    expected = int(np.where(rates < 10, rates + 1, 3).sum())
    with UniformStream(engine, expected) as stream:
        uniform = stream.next
        result = []
        for mean in rates.ravel().tolist():
            if mean >= 10:
                result.append(_poisson_rejection(mean, uniform))
            elif mean == 0:
                result.append(0)
            else:
                result.append(_poisson_product(math.exp(-mean), uniform))
    return round_to(np.array(result, np.int64), rate.dtype).reshape(rate.shape)


def _poisson_product(limit: float, uniform: _Uniform) -> int:
    """How many uniform numbers can be multiplied before the product is at most ``limit``."""
    count = 0
    product = uniform()
    while product > limit:
        count += 1
        product *= uniform()
    return count


def _poisson_rejection(mean: float, uniform: _Uniform) -> int:
    log_mean = math.log(mean)
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    log_inverse_alpha = math.log(1.1239 + 1.1328 / (b - 3.4))
    accept = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        if us == 0:
            continue  # the candidate is minus infinity
        k = math.floor((2 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= accept:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        if v == 0 or math.log(v) + log_inverse_alpha - math.log(a / (us * us) + b) <= (
            -mean + k * log_mean - math.lgamma(k + 1.0)
        ):
            return k


def binomial(engine: MersenneTwister, count: Any, prob: Any) -> np.ndarray:
    """The successes in ``count[i]`` trials of probability ``prob[i]``, in their common type.

    By summing geometric numbers where the mean is below 10, else by transformed rejection
    [Hörmann 1993]; a probability above one half counts the failures.

    Raises ``ValueError`` or ``RuntimeError`` if the types are not floating or not the same,
    ``NotImplementedError`` if they have 16 bits.

    >>> n = np.array([5.0, 1000.0], np.float32)
    >>> binomial(MersenneTwister(0), n, np.array([1.0, 0.0], np.float32))
    array([5., 0.], dtype=float32)
    """
    count, prob = np.broadcast_arrays(count, prob)
    for name, values in (("count", count), ("prob", prob)):
        if values.dtype not in FLOATS:
            raise ValueError(
                f"binomial only supports floating-point dtypes for {name}, got: "
                f"{scalar_name(values.dtype)}"
            )
    if count.dtype != prob.dtype:
        raise RuntimeError(
            f"Found dtype {scalar_name(prob.dtype)} but expected {scalar_name(count.dtype)}"
        )
    dtype = count.dtype
    if dtype not in (FLOAT32, FLOAT64):
        raise not_implemented("binomial_cpu", dtype)
    flip = prob > dtype.type(0.5)
    q = np.where(flip, dtype.type(1) - prob, prob)
    # Rounded in the arguments' own type, as the C++ expressions are; the rest is in double.
    mean = count * q
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = (
            mean,
            np.sqrt(count * q * (dtype.type(1) - q)),
            q / (dtype.type(1) - q),
            (count + dtype.type(1)) * q,
            each(math.log1p, -np.where(q < 1, q, 0).astype(np.float64)).astype(dtype),
        )
    columns = [a.ravel().tolist() for a in (count, prob, flip, q, *terms)]
    with UniformStream(engine, 3 * count.size) as stream:
        result = [_binomial(stream.next, *row) for row in zip(*columns)]
    return np.array(result, np.float64).astype(dtype).reshape(count.shape)


def _binomial(
    uniform: _Uniform,
    count: float,
    prob: float,
    flip: bool,
    q: float,
    mean: float,
    deviation: float,
    odds: float,
    mode: float,
    log_failure: float,
) -> float:
    if count <= 0 or prob <= 0:
        return 0.0
    if prob >= 1:
        return count
    if math.isnan(prob):
        return math.nan
    if mean >= 10:
        k = _binomial_rejection(count, q, mean, deviation, odds, math.floor(mode), uniform)
    else:
        k = _binomial_inversion(count, log_failure, uniform)
    return count - k if flip else k


def _binomial_inversion(count: float, log_failure: float, uniform: _Uniform) -> float:
    total, successes = 0.0, 0.0
    while True:
        u = uniform()
        if u == 0:
            return successes  # an infinite number of failures
        total += math.ceil(math.log(u) / log_failure)
        if not total <= count:
            return successes
        successes += 1


def _binomial_rejection(
    count: float,
    prob: float,
    mean: float,
    deviation: float,
    odds: float,
    mode: float,
    uniform: _Uniform,
) -> float:
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * prob
    c = mean + 0.5
    accept = 0.92 - 4.2 / b
    alpha = (2.83 + 5.1 / b) * deviation
    tail = _stirling_tail(mode) + _stirling_tail(count - mode)
    at_mode = (mode + 0.5) * math.log((mode + 1) / (odds * (count - mode + 1)))
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        if us == 0:
            continue  # the candidate is infinite
        k = float(math.floor((2 * a / us + b) * u + c))
        if k < 0 or k > count:
            continue
        if us >= 0.07 and v <= accept:
            return k
        bound = (
            at_mode
            + (count + 1) * math.log((count - mode + 1) / (count - k + 1))
            + (k + 0.5) * math.log(odds * (count - k + 1) / (k + 1))
            + tail
            - _stirling_tail(k)
            - _stirling_tail(count - k)
        )
        if v == 0 or math.log(v * alpha / (a / (us * us) + b)) <= bound:
            return k


# ln k! less Stirling's approximation to it, for k up to 9.
_STIRLING_TAIL = (
    0.0810614667953272,
    0.0413406959554092,
    0.0276779256849983,
    0.02079067210376509,
    0.0166446911898211,
    0.0138761288230707,
    0.0118967099458917,
    0.0104112652619720,
    0.00925546218271273,
    0.00833056343336287,
)


def _stirling_tail(k: float) -> float:
    if k < 10:
        return _STIRLING_TAIL[int(k)]
    square = (k + 1) * (k + 1)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1)


def multinomial(
    engine: MersenneTwister, p: Any, num_samples: int, replacement: bool = False
) -> np.ndarray:
    r"""Indices drawn in proportion to the weights ``p``, of one or two dimensions, as int64.

    With replacement each is the place of a uniform number in the cumulative weights; without, or
    for a single one, they are the largest of :math:`p_i / e_i` with exponential numbers e.

    Raises ``RuntimeError`` if a weight is negative or not finite, all weights of a row are zero,
    ``num_samples`` is not positive or, without replacement, exceeds the number of weights.

    >>> multinomial(MersenneTwister(0), np.array([0.0, 1.0, 0.0]), 1)
    array([1])
    """
    p = np.asarray(p)
    _check_weights(p, num_samples, replacement)
    shape = (*p.shape[:-1], num_samples)
    if 0 in shape:
        return np.empty(shape, np.int64)
    rows = p.reshape(-1, p.shape[-1])
    if replacement and num_samples > 1:
        return _with_replacement(engine, rows, num_samples).reshape(shape)
    if not ((rows >= 0) & (rows < np.inf)).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if (rows.sum(-1) == 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    noise = exponential(engine, rows.shape, 1.0, rows.dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        keys = rows / noise
    if num_samples == 1:
        return keys.argmax(-1).reshape(shape)
    return np.argsort(-keys, -1, kind="stable")[:, :num_samples].reshape(shape)


def _check_weights(p: np.ndarray, num_samples: int, replacement: bool) -> None:
    if p.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if p.dtype not in FLOATS:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: "
            f"{scalar_name(p.dtype)}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > p.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    if p.shape[-1] > 2**24:
        raise RuntimeError("number of categories cannot exceed 2^24")


def _with_replacement(engine: MersenneTwister, rows: np.ndarray, num_samples: int) -> np.ndarray:
    if (rows < 0).any():
        raise RuntimeError("invalid multinomial distribution (encountering probability entry < 0)")
    if not np.isfinite(rows).all():
        raise RuntimeError(
            "invalid multinomial distribution (encountering probability entry = infinity or NaN)"
        )
    weights = rows if rows.dtype == FLOAT64 else rows.astype(np.float32)
    # cumsum adds one after the other, as PyTorch does.
    cumulative = np.cumsum(weights, -1, dtype=weights.dtype)
    if not (cumulative[:, -1] > 0).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    cumulative /= cumulative[:, -1:].copy()
    cumulative[:, -1] = 1
    u = engine.uniform64(len(rows) * num_samples).reshape(len(rows), num_samples)
    # Compared in float64: NumPy would otherwise widen the table once a row.
    table = cumulative.astype(np.float64, copy=False)
    return np.stack([np.searchsorted(row, draw) for row, draw in zip(table, u)])
