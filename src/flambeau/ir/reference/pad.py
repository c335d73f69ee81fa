"""Borders around an image: constant, reflected, replicated, circular."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.ir.reference._common import bordered, owned, widen

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.ir.reference._common import Pairs

__all__ = ["pad", "pad_gradient"]


def pad(x: np.ndarray, pads: Pairs, mode: str = "constant", value: object = 0) -> np.ndarray:
    """``x`` with a border around its last ``len(pads)`` axes.

    ``pads`` is one ``(low, high)`` pair an axis, in the order of the axes (not from the last as in
    ``F.pad``); negative widths cut. ``mode`` is "constant", "reflect", "replicate" or "circular".
    Raises ``RuntimeError`` where a reflection is as wide as the axis, or a circle wider.

    >>> pad(np.array([1, 2, 3]), ((2, 1),), "reflect")
    array([3, 2, 1, 2, 3, 2])
    """
    if mode == "constant":
        return owned(bordered(x, pads, value), x)
    source = _source(mode)
    _check(x.shape, pads, mode)
    out = x
    for axis, (low, high) in enumerate(pads, x.ndim - len(pads)):
        if low or high:
            n = x.shape[axis]
            out = np.take(out, source(np.arange(-low, n + high), n), axis=axis)
    return owned(out, x)


def pad_gradient(g: np.ndarray, pads: Pairs, mode: str = "constant") -> np.ndarray:
    """The transpose of ``pad``: each border is added to where its values came from.

    >>> pad_gradient(np.array([1.0, 1.0, 5.0, 1.0, 1.0, 1.0]), ((2, 1),), "reflect")
    array([5., 3., 2.])
    """
    if mode == "constant":
        return owned(bordered(g, [(-low, -high) for low, high in pads]), g)
    source, out = _source(mode), widen(g)
    for axis, (low, high) in enumerate(pads, g.ndim - len(pads)):
        if not (low or high):
            continue
        wide = np.moveaxis(out, axis, 0)
        n = len(wide) - low - high
        image = np.zeros((n, *wide.shape[1:]), out.dtype)
        core = slice(max(low, 0), len(wide) - max(high, 0))
        image[max(-low, 0) : n - max(-high, 0)] = wide[core]
        place = source(np.arange(-low, n + high), n)
        for i in (*range(core.start), *range(core.stop, len(wide))):
            image[place[i]] += wide[i]
        out = np.moveaxis(image, 0, axis)
    return owned(out.astype(g.dtype, copy=False), g)


_SOURCES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "reflect": lambda at, n: (n - 1) - np.abs((n - 1) - np.abs(at)),
    "replicate": lambda at, n: np.clip(at, 0, n - 1),
    "circular": lambda at, n: at % n,
}


def _source(mode: str) -> Callable[[np.ndarray, int], np.ndarray]:
    if mode not in _SOURCES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    return _SOURCES[mode]


def _check(shape: tuple[int, ...], pads: Pairs, mode: str) -> None:
    for axis, (low, high) in enumerate(pads, len(shape) - len(pads)):
        n = shape[axis]
        if mode == "reflect" and max(low, high) >= n:
            raise RuntimeError(
                "Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({low}, {high}) at dimension {axis} of input {list(shape)}"
            )
        if mode == "circular" and max(low, high) > n:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if n == 0 and (low > 0 or high > 0):
            raise RuntimeError(f"pad: axis {axis} of input {list(shape)} is empty")
