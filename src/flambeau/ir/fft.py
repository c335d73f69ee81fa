"""Discrete Fourier transforms."""

from __future__ import annotations

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, primitive

P = PRIMITIVES


def _scaled(x: np.ndarray, scale: float) -> np.ndarray:
    return x if scale == 1 else (x * x.real.dtype.type(scale))


def _fft(x: np.ndarray, *, dims: tuple[int, ...], inverse: bool, scale: float) -> np.ndarray:
    if not dims or not x.size:
        return _scaled(x, scale)
    if inverse:
        found = np.fft.ifftn(x, axes=dims, norm="forward")
    else:
        found = np.fft.fftn(x, axes=dims)
    return _scaled(found.astype(x.dtype, copy=False), scale)


primitive(
    "fft",
    "sum over x_j exp(-2 pi i jk / n) (+ if inverse) over dimensions, times a scale",
    rule=lambda x, *, dims, inverse, scale: x,
    reference=_fft,
    gradient=lambda g, x, *, out, dims, inverse, scale: P["fft"](
        g, dims=dims, inverse=not inverse, scale=scale
    ),
    host=True,
)


def _rfft_rule(x: Aval, *, dims: tuple[int, ...], scale: float) -> Aval:
    shape = list(x.shape)
    shape[dims[-1]] = shape[dims[-1]] // 2 + 1
    return Aval(tuple(shape), x.dtype.to_complex())


def _rfft(x: np.ndarray, *, dims: tuple[int, ...], scale: float) -> np.ndarray:
    kind = np.complex128 if x.dtype == np.float64 else np.complex64
    return _scaled(np.fft.rfftn(x, axes=dims).astype(kind, copy=False), scale)


def _rfft_gradient(g: Var, x: Var, *, out: Var, dims: tuple[int, ...], scale: float) -> Var:
    last = dims[-1]
    grow = x.shape[last] - g.shape[last]
    pads = tuple((0, grow if d == last else 0) for d in range(x.ndim))
    whole = P["pad"](g, 0.0, pads=pads) if grow else g
    return P["real"](P["fft"](whole, dims=dims, inverse=True, scale=scale))


primitive(
    "rfft",
    "the transform of real values, of which the last dimension keeps its first half",
    rule=_rfft_rule,
    reference=_rfft,
    gradient=_rfft_gradient,
    host=True,
)


def _irfft_rule(x: Aval, *, dims: tuple[int, ...], n: int, scale: float) -> Aval:
    shape = list(x.shape)
    shape[dims[-1]] = n
    return Aval(tuple(shape), x.dtype.to_real())


def _irfft(x: np.ndarray, *, dims: tuple[int, ...], n: int, scale: float) -> np.ndarray:
    sizes = [*(x.shape[d] for d in dims[:-1]), n]
    found = np.fft.irfftn(x, sizes, axes=dims, norm="forward")
    return _scaled(found.astype(x.real.dtype, copy=False), scale)


def _irfft_gradient(
    g: Var, x: Var, *, out: Var, dims: tuple[int, ...], n: int, scale: float
) -> Var:
    # All but the first (and for even n the middle) element stand for their mirror images too.
    last = dims[-1]
    half = x.shape[last]
    found = P["rfft"](g, dims=dims, scale=scale)
    place = P["iota"](
        shape=tuple(half if d == last else 1 for d in range(x.ndim)), dim=last, dtype=dtypes.int64
    )
    doubled = P["lt"](place * 2, n)
    weight = P["where"](
        P["and"](P["gt"](place, 0), doubled), P["full"](2.0, shape=place.shape, dtype=x.dtype), 1.0
    )
    return found * weight


primitive(
    "irfft",
    "the inverse transform, real, of half of it along the last dimension",
    rule=_irfft_rule,
    reference=_irfft,
    gradient=_irfft_gradient,
    host=True,
)
