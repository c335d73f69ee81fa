"""Sampling an image at the points of a grid."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np

from flambeau.ir.reference._common import widen
from flambeau.ir.reference.resample import cubic_weights

__all__ = ["grid_sample"]


def grid_sample(
    x: np.ndarray,
    grid: np.ndarray,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> np.ndarray:
    """The values of ``x`` at points whose coordinates run from -1 to 1 over the image.

    Shapes: ``x`` is ``(N, C, *spatial)`` with two or three spatial axes, ``grid`` is
    ``(N, *output, d)`` whose last axis is the point with its *last* spatial axis first; the result
    is ``(N, C, *output)``. ``mode`` is "bilinear", "nearest" or (2-D) "bicubic"; ``padding_mode``
    "zeros", "border" or "reflection" says what lies outside.

    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> grid_sample(x, np.zeros((1, 1, 1, 2)))
    array([[[[2.5]]]])
    """
    dtype, size, d = x.dtype, x.shape[2:], grid.shape[-1]
    if mode not in ("bilinear", "nearest", "bicubic") or (mode == "bicubic" and d != 2):
        raise NotImplementedError(f"grid_sample: no mode {mode!r} in {d} dimensions")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise NotImplementedError(f"grid_sample: no padding mode {padding_mode!r}")
    x, grid = widen(x), widen(grid)
    if x.dtype != grid.dtype:
        raise RuntimeError(
            "grid_sampler(): expected input and grid to have same dtype, "
            f"but input has {dtype} and grid has {grid.dtype}"
        )
    points = grid.reshape(len(grid), prod(grid.shape[1:-1]), d)
    # Points in the order of the axes, in pixels; NaN is far outside.
    at = [np.nan_to_num(points[..., d - 1 - a], nan=-1e4) for a in range(d)]
    at = [_pixels(c, n, align_corners) for c, n in zip(at, size, strict=True)]

    def inside(coordinates: np.ndarray, n: int) -> np.ndarray:
        return _placed(coordinates, n, padding_mode, align_corners)

    # An axis has its taps: pairs of places and weights.
    if mode == "bicubic":
        axes = [_cubic_taps(c, n, inside) for c, n in zip(at, size, strict=True)]
    else:
        at = [inside(c, n) for c, n in zip(at, size, strict=True)]
        axes = [[(np.rint(c), np.ones_like(c))] if mode == "nearest" else _taps(c) for c in at]
    flat = x.reshape(*x.shape[:2], prod(size))
    out = np.zeros((*x.shape[:2], points.shape[1]), x.dtype)
    for corner in itertools.product(*axes):
        place, weight = np.zeros(points.shape[:2], np.int64), np.ones_like(at[0])
        held = np.ones(points.shape[:2], bool)
        for (c, w), n in zip(corner, size, strict=True):
            held &= (c >= 0) & (c <= n - 1)
            place = place * n + np.clip(c, 0, max(n - 1, 0)).astype(np.int64)
            weight = weight * w
        for i in range(len(x)):
            value = np.take(flat[i], place[i], axis=1)
            # A tap outside adds nothing, not zero times what happens to be read.
            out[i] += np.where(held[i], value * weight[i], 0)
    return out.reshape(*x.shape[:2], *grid.shape[1:-1]).astype(dtype, copy=False)


def _pixels(c: np.ndarray, n: int, align_corners: bool) -> np.ndarray:
    return (c + 1) / 2 * (n - 1) if align_corners else ((c + 1) * n - 1) / 2


def _placed(c: np.ndarray, n: int, padding_mode: str, align_corners: bool) -> np.ndarray:
    """Brings coordinates into the image, as the padding mode says."""
    if padding_mode == "zeros":
        return c
    if padding_mode == "reflection":
        low, span = (0.0, n - 1.0) if align_corners else (-0.5, float(n))
        if span <= 0:
            return np.zeros_like(c)
        distance = np.abs(c - c.dtype.type(low))
        turns = np.floor(distance / c.dtype.type(span))
        rest = distance - turns * c.dtype.type(span)
        c = np.where(turns % 2 == 0, rest, span - rest).astype(c.dtype) + c.dtype.type(low)
    return np.clip(c, 0, n - 1)


def _taps(c: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    low = np.floor(c)
    share = c - low
    return [(low, 1 - share), (low + 1, share)]


def _cubic_taps(c: np.ndarray, n: int, inside: object) -> list[tuple[np.ndarray, np.ndarray]]:
    low = np.floor(c)
    weights = cubic_weights(c - low)
    return [(inside(low + k - 1, n), weights[k]) for k in range(4)]
