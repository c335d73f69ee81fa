"""Gamma and Dirichlet numbers by the method of Marsaglia and Tsang, as PyTorch's CPU draws them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._arithmetic import FLOAT32, FLOAT64
from ._names import not_implemented
from ._stream import UniformStream
from .engine import MersenneTwister

__all__ = ["standard_gamma", "dirichlet"]

# Constants that PyTorch writes in single precision also where it computes in double.
_THIRD = float(np.float32(1) / np.float32(3))
_SQUEEZE = float(np.float32(0.0331))
_TWO_PI = 2.0 * math.pi


def standard_gamma(engine: MersenneTwister, alpha: Any) -> np.ndarray:
    """A gamma number of shape parameter ``alpha[i]`` and scale 1 each, in the type of ``alpha``.

    By rejection from a cubed normal number [Marsaglia and Tsang 2000]; for ``alpha < 1`` from
    ``alpha + 1`` and a power of a uniform number. Never less than the smallest normal number.

    Raises ``NotImplementedError`` if ``alpha`` is neither float32 nor float64.

    >>> standard_gamma(MersenneTwister(0), np.array([0.5, 3.0], np.float32)).shape
    (2,)
    """
    alpha = np.asarray(alpha)
    if alpha.dtype not in (FLOAT32, FLOAT64):
        raise not_implemented("gamma_cpu", alpha.dtype)
    samples = np.array(_samples(engine, alpha.ravel()), np.float64)
    with np.errstate(under="ignore"):
        result = samples.astype(alpha.dtype)
    return np.fmax(result, np.finfo(alpha.dtype).tiny).reshape(alpha.shape)


def dirichlet(engine: MersenneTwister, alpha: Any) -> np.ndarray:
    """Dirichlet vectors along the last axis: gamma numbers in float64, over their sum.

    In the type of ``alpha``, clamped to [smallest normal number, largest number below 1].

    Raises ``NotImplementedError`` if ``alpha`` is neither float32 nor float64.

    >>> x = dirichlet(MersenneTwister(0), np.array([1.0, 2.0, 3.0]))
    >>> bool(abs(x.sum() - 1) < 1e-12)
    True
    """
    alpha = np.asarray(alpha)
    if alpha.dtype not in (FLOAT32, FLOAT64):
        raise not_implemented("dirichlet", alpha.dtype)
    # In double, so that a small alpha does not underflow.
    samples = np.array(_samples(engine, alpha.ravel().astype(np.float64)), np.float64)
    gamma = np.fmax(samples, np.finfo(np.float64).tiny).reshape(alpha.shape)
    with np.errstate(under="ignore"):
        ratio = (gamma / gamma.sum(-1, keepdims=True)).astype(alpha.dtype)
    largest = np.nextafter(alpha.dtype.type(1), alpha.dtype.type(0))
    return np.minimum(np.maximum(ratio, np.finfo(alpha.dtype).tiny), largest)


def _samples(engine: MersenneTwister, alpha: np.ndarray) -> list[float]:
    one = alpha.dtype.type(1)
    small = alpha < one
    with np.errstate(divide="ignore", over="ignore"):
        power = (one / alpha).tolist()
    boosted = np.where(small, alpha + one, alpha)
    # Both operands are single precision where alpha is; so is the difference.
    d = (boosted - alpha.dtype.type(_THIRD)).tolist()
    with UniformStream(engine, 4 * alpha.size) as stream:
        uniform = stream.next
        normal = _Normals(engine, uniform).next
        result = []
        for value, boost, exponent, shape in zip(alpha.tolist(), small.tolist(), power, d):
            if value == 0:
                result.append(0.0)
                continue
            scale = math.pow(1 - uniform(), exponent) if boost else 1.0
            result.append(_marsaglia_tsang(shape, scale, uniform, normal))
    return result


def _marsaglia_tsang(
    d: float, scale: float, uniform: Callable[[], float], normal: Callable[[], float]
) -> float:
    """A gamma number of shape parameter ``d + 1/3``, times ``scale``."""
    # A shape parameter below 1/3 is none; the NaN passes the squeeze and comes out.
    c = 1.0 / math.sqrt(9.0 * d) if d > 0 else math.nan
    while True:
        while True:
            x = normal()
            y = 1.0 + c * x
            if not y <= 0:
                break
        v = y * y * y
        u = 1 - uniform()
        square = x * x
        if u < 1.0 - _SQUEEZE * square * square:
            return scale * d * v
        if math.log(u) < 0.5 * square + d * (1.0 - v + math.log(v)):
            return scale * d * v


class _Normals:
    """Standard normal numbers in pairs, the second kept in the engine's cache."""

    def __init__(self, engine: MersenneTwister, uniform: Callable[[], float]) -> None:
        self.engine = engine
        self.uniform = uniform

    def next(self) -> float:
        engine = self.engine
        cached = engine.next_double_normal
        if cached is not None:
            engine.next_double_normal = None
            return cached
        u1 = self.uniform()
        u2 = self.uniform()
        radius = math.sqrt(-2.0 * math.log1p(-u2))
        angle = _TWO_PI * u1
        engine.next_double_normal = radius * math.sin(angle)
        return radius * math.cos(angle)
