"""Resampling along axes: each is a sparse linear map, so the gradient is its transpose.

Such a map is a few *taps*: output ``i`` is the sum over ``t`` of ``weight[t, i]`` times the input
at ``index[t, i]``. Half precisions are computed in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ir.reference._common import computing_dtype, owned, widen
from flambeau.ir.reference.pool import adaptive_avg_pool, adaptive_avg_pool_gradient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Scales: TypeAlias = Sequence[float | None] | None

__all__ = ["Taps", "cubic_weights", "interpolate", "interpolate_gradient", "taps", "taps_back"]

# The slope at the ends of the cubic [Keys 1981]: PyTorch's, and its antialiased (Pillow's) one.
_CUBIC, _CUBIC_ANTIALIASED = -0.75, -0.5


def interpolate(
    x: np.ndarray,
    *,
    output_size: Sequence[int],
    mode: str = "nearest",
    align_corners: bool = False,
    scales: Scales = None,
    antialias: bool = False,
) -> np.ndarray:
    """``x`` resampled along its last ``len(output_size)`` axes.

    ``mode`` is "nearest", "nearest-exact", "linear" (also called "bilinear" or "trilinear"),
    "bicubic" or "area". ``scales`` are the factors the user gave, where the ratio of the sizes is
    not what to use; ``antialias`` widens the kernel when shrinking (linear and cubic).

    >>> interpolate(np.array([[[0.0, 1.0]]]), output_size=(3,), mode="linear", align_corners=True)
    array([[[0. , 0.5, 1. ]]])
    """
    if mode == "area":
        return adaptive_avg_pool(x, output_size=output_size)
    given, dtype, d = x, x.dtype, len(output_size)
    whole = dtype == np.uint8
    kind = np.dtype(np.float64) if whole else dtype
    maps = _maps(x.shape[x.ndim - d :], output_size, mode, align_corners, scales, antialias, kind)
    if whole and any(m.weight is not None for m in maps):
        for axis, one in reversed(list(enumerate(maps, x.ndim - d))):
            x = x if one.is_identity else one.fixed_point(x, axis)
        return owned(x, given)
    out = widen(x)
    for axis, one in enumerate(maps, x.ndim - d):
        out = one(out, axis)
    return owned(out.astype(dtype, copy=False), x)


def interpolate_gradient(
    g: np.ndarray,
    *,
    input_size: Sequence[int],
    mode: str = "nearest",
    align_corners: bool = False,
    scales: Scales = None,
    antialias: bool = False,
) -> np.ndarray:
    """The transpose of ``interpolate``: ``(..., *output_size)`` to ``(..., *input_size)``.

    >>> interpolate_gradient(np.array([[[1.0, 2.0, 4.0]]]), input_size=(1,), mode="nearest")
    array([[[7.]]])
    """
    if mode == "area":
        return adaptive_avg_pool_gradient(g, input_size=input_size)
    dtype, d = g.dtype, len(input_size)
    maps = _maps(input_size, g.shape[g.ndim - d :], mode, align_corners, scales, antialias, dtype)
    out = widen(g)
    for axis, one in enumerate(maps, g.ndim - d):
        out = one.transposed()(out, axis)
    return owned(out.astype(dtype, copy=False), g)


def taps(
    shape: Sequence[int],
    dtype: np.dtype,
    *,
    output_size: Sequence[int],
    mode: str = "nearest",
    align_corners: bool = False,
    scales: Scales = None,
    antialias: bool = False,
) -> list[Taps]:
    """The maps that ``interpolate`` applies to the last axes of a floating-point array, in order.

    >>> taps((1, 2), np.dtype(np.float32), output_size=(3,))[0].index
    array([[0, 0, 1]])
    """
    last = shape[len(shape) - len(output_size) :]
    return _maps(last, output_size, mode, align_corners, scales, antialias, dtype)


def taps_back(
    shape: Sequence[int],
    dtype: np.dtype,
    *,
    input_size: Sequence[int],
    mode: str = "nearest",
    align_corners: bool = False,
    scales: Scales = None,
    antialias: bool = False,
) -> list[Taps]:
    """Those of ``interpolate_gradient``."""
    last = shape[len(shape) - len(input_size) :]
    maps = _maps(input_size, last, mode, align_corners, scales, antialias, dtype)
    return [m.transposed() for m in maps]


@dataclass(frozen=True)
class Taps:
    """A sparse linear map of one axis; ``weight`` None stands for ones."""

    size: int
    index: np.ndarray
    weight: np.ndarray | None

    @property
    def is_identity(self) -> bool:
        same = self.weight is None and self.index.shape == (1, self.size)
        return same and bool((self.index[0] == np.arange(self.size)).all())

    def __call__(self, x: np.ndarray, axis: int) -> np.ndarray:
        if self.weight is None:
            if self.is_identity:
                return x
            out = np.take(x, self.index[0], axis=axis)
            for index in self.index[1:]:
                out += np.take(x, index, axis=axis)
            return out
        shape = (-1, *(1,) * (x.ndim - axis - 1))
        out = None
        for index, weight in zip(self.index, self.weight, strict=True):
            term = np.take(x, index, axis=axis)
            term *= weight.astype(x.dtype, copy=False).reshape(shape)
            out = term if out is None else np.add(out, term, out=out)
        return out

    def fixed_point(self, x: np.ndarray, axis: int) -> np.ndarray:
        """The map of bytes, rounded to bytes, with weights of 16 bits [Pillow's resize]."""
        weight = self.weight.astype(np.float64)  # type: ignore[union-attr]
        for t in range(len(weight)):
            # At the borders several taps are one.
            for later in range(t + 1, len(weight)):
                same = self.index[later] == self.index[t]
                weight[t] += np.where(same, weight[later], 0)
                weight[later] = np.where(same, 0, weight[later])
        bits, largest = 0, weight.max(initial=0.0)
        while bits < 22 and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
            bits += 1
        scaled = np.trunc(weight * (1 << bits) + np.copysign(0.5, weight)).astype(np.int32)
        shape = (-1, *(1,) * (x.ndim - axis - 1))
        total = np.int32(1 << (bits - 1))
        for index, w in zip(self.index, scaled, strict=True):
            total = total + np.take(x, index, axis=axis).astype(np.int32) * w.reshape(shape)
        return np.clip(total >> bits, 0, 255).astype(np.uint8)

    def transposed(self) -> Taps:
        """From outputs to inputs. Rows of unequal length are filled up with zero weights."""
        if self.is_identity:
            return self
        count, output = self.index.shape
        places, sources = self.index.ravel(), np.tile(np.arange(output), count)
        weight = np.ones(places.shape) if self.weight is None else self.weight.ravel()
        places, sources, weight = (a[weight != 0] for a in (places, sources, weight))
        order = np.argsort(places, kind="stable")
        places, sources, weight = places[order], sources[order], weight[order]
        counts = np.bincount(places, minlength=self.size)
        starts = np.cumsum(counts) - counts
        rank = np.arange(len(places)) - starts[places]
        longest = max(1, int(counts.max(initial=0)))
        # Filling up with a row's own first source keeps infinities out of other rows.
        fill = sources[np.minimum(starts, max(len(sources) - 1, 0))] if len(sources) else 0
        index = np.zeros((longest, self.size), np.int64) + fill
        weights = np.zeros((longest, self.size), weight.dtype)
        index[rank, places], weights[rank, places] = sources, weight
        return Taps(output, index, weights)


def _maps(
    input_size: Sequence[int],
    output_size: Sequence[int],
    mode: str,
    align_corners: bool,
    scales: Scales,
    antialias: bool,
    dtype: np.dtype,
) -> list[Taps]:
    mode = {"bilinear": "linear", "trilinear": "linear", "cubic": "bicubic"}.get(mode, mode)
    if mode not in ("nearest", "nearest-exact", "linear", "bicubic"):
        raise NotImplementedError(f"interpolate: no mode {mode!r}")
    if antialias and mode not in ("linear", "bicubic"):
        raise ValueError("Anti-alias option is restricted to bilinear and bicubic modes")
    kind = computing_dtype(np.dtype(dtype))
    real = np.dtype(np.float64) if kind == np.float64 else np.dtype(np.float32)
    scales = scales or (None,) * len(input_size)
    # PyTorch leaves axes alone that keep their size, whatever the scale; nearest: those of images.
    image = mode == "nearest" and len(input_size) == 2
    keeps = image or mode == "linear" or antialias
    maps = []
    for n, o, scale in zip(input_size, output_size, scales, strict=True):
        if keeps and n == o:
            maps.append(Taps(n, np.arange(n)[None], None))
        elif image and o == 2 * n:
            maps.append(Taps(n, np.arange(o)[None] // 2, None))
        elif mode.startswith("nearest"):
            # PyTorch finds the nearest in float32 whatever the type of the image.
            step = _step(n, o, scale, False, np.dtype(np.float32))
            shift = np.float32(0.5 if mode == "nearest-exact" else 0)
            at = np.floor((np.arange(o, dtype=np.float32) + shift) * step).astype(np.int64)
            maps.append(Taps(n, np.minimum(at, n - 1)[None], None))
        elif antialias:
            step = _step(n, o, scale, align_corners, real)
            maps.append(_antialiased(n, o, float(step), mode))
        else:
            step = _step(n, o, scale, align_corners, real)
            maps.append(_FILTERS[mode](n, o, step, align_corners))
    return maps


def _step(n: int, o: int, scale: float | None, align_corners: bool, dtype: np.dtype) -> np.generic:
    """How far the input moves for one step of the output."""
    if align_corners:
        return dtype.type(n - 1) / dtype.type(o - 1) if o > 1 else dtype.type(0)
    if scale is not None and scale > 0:
        return dtype.type(1.0 / scale)
    return dtype.type(n) / dtype.type(max(o, 1))


def _centers(o: int, step: np.generic, align_corners: bool) -> np.ndarray:
    at = np.arange(o, dtype=step.dtype)
    half = step.dtype.type(0.5)
    return at * step if align_corners else step * (at + half) - half


def _linear(n: int, o: int, step: np.generic, align_corners: bool) -> Taps:
    center = np.maximum(_centers(o, step, align_corners), 0)
    low = np.minimum(center.astype(np.int64), n - 1)
    high = np.minimum(low + 1, n - 1)
    share = np.clip(center - low.astype(center.dtype), 0, 1)
    return Taps(n, np.stack([low, high]), np.stack([1 - share, share]))


def _bicubic(n: int, o: int, step: np.generic, align_corners: bool) -> Taps:
    center = _centers(o, step, align_corners)
    low = np.floor(center)
    index = low.astype(np.int64) + np.arange(-1, 3)[:, None]
    return Taps(n, np.clip(index, 0, n - 1), cubic_weights(center - low))


_FILTERS: dict[str, Callable[[int, int, np.generic, bool], Taps]] = {
    "linear": _linear,
    "bicubic": _bicubic,
}


def cubic_weights(t: np.ndarray) -> np.ndarray:
    """The weights of the four neighbours at -1, 0, 1, 2 for a point at ``t`` in [0, 1].

    >>> cubic_weights(np.array(0.0))
    array([0., 1., 0., 0.])
    """
    distances = (t + 1, t, 1 - t, 2 - t)
    return np.stack([_cubic(np.asarray(d), _CUBIC) for d in distances]) + 0.0


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0)).astype(x.dtype, copy=False)


def _antialiased(n: int, o: int, step: float, mode: str) -> Taps:
    """A kernel as wide as one output, with weights that add up to one [Pillow's resize]."""
    width = max(step, 1.0)
    support = (1.0 if mode == "linear" else 2.0) * width
    rows = []
    for i in range(o):
        center = step * (i + 0.5)
        start = max(floor(center - support + 0.5), 0)
        at = np.arange(start, min(floor(center + support + 0.5), n))
        distance = (at - center + 0.5) / width
        if mode == "linear":
            weight = np.maximum(0, 1 - np.abs(distance))
        else:
            weight = _cubic(distance, _CUBIC_ANTIALIASED)
        rows.append((at, weight / weight.sum()))
    longest = max(1, *(len(at) for at, _ in rows)) if rows else 1
    index, weights = np.zeros((longest, o), np.int64), np.zeros((longest, o))
    for i, (at, weight) in enumerate(rows):
        index[:, i] = at[0]
        index[: len(at), i], weights[: len(at), i] = at, weight
    return Taps(n, index, weights)
