"""Max and average pooling over the last one to three axes, plain and adaptive, with gradients."""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ir.reference._common import (
    bordered,
    is_real_floating,
    lowest,
    tap_slices,
    widen,
    windows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_gradient",
    "adaptive_max_pool",
    "avg_pool",
    "avg_pool_gradient",
    "max_pool",
    "max_pool_gradient",
    "pool_output_size",
]


def pool_output_size(
    input_size: Sequence[int],
    *,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """The spatial size of a pooling's result.

    ``(n + 2 p - d (k - 1) - 1) / s + 1``, rounded down, or up with ``ceil_mode``; then a last
    window that would start in the padding on the right is dropped.
    Raises ``RuntimeError`` if the padding is more than half of the kernel.

    >>> pool_output_size((5,), kernel_size=(2,), stride=(2,), padding=(0,), ceil_mode=True)
    (3,)
    """
    sizes = []
    dilation = dilation or (1,) * len(kernel_size)
    for n, k, s, p, d in zip(input_size, kernel_size, stride, padding, dilation, strict=True):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                "pad should be at most half of effective kernel size, "
                f"but got pad={p}, kernel_size={k} and dilation={d}"
            )
        room = n + 2 * p - d * (k - 1) - 1
        size = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (size - 1) * s >= n + p:
            size -= 1
        sizes.append(size)
    return tuple(sizes)


def max_pool(
    x: np.ndarray,
    *,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The greatest element of each window, and where in its plane it is.

    Shapes: ``x`` is ``(..., *spatial)``; both results are ``(..., *output)``. The second is int64,
    flat in the plane; the first of equals is taken. A NaN wins, the last NaN if there are more.

    >>> max_pool(np.array([[1.0, 3.0, 2.0]]), kernel_size=(2,), stride=(1,), padding=(0,))
    (array([[3., 3.]]), array([[1, 1]]))
    """
    d = len(kernel_size)
    dilation = tuple(dilation or (1,) * d)
    size, dtype = x.shape[x.ndim - d :], x.dtype
    output = pool_output_size(
        size,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    x = widen(x)
    x = bordered(x, _pads(size, output, kernel_size, stride, padding, dilation), lowest(x.dtype))
    shape = (*x.shape[: x.ndim - d], *output)
    taps = prod(kernel_size)
    tap_type = np.uint8 if taps <= 256 else np.uint16 if taps <= 1 << 16 else np.int32
    first = _first_taps(output, kernel_size, stride, padding, dilation).astype(tap_type)
    values = np.full(shape, lowest(x.dtype), x.dtype)
    if values.size == 0:
        return values.astype(dtype, copy=False), np.zeros(shape, np.int64)
    if taps > 4 * prod(output) and taps > 32:
        chosen = _best_of_windows(x, values, first, kernel_size, output, stride, dilation)
    else:
        chosen = _best_by_taps(x, values, first, kernel_size, output, stride, dilation)
    # From taps to places: the window's corner, and the tap's offset from it.
    steps = [prod(size[a + 1 :]) for a in range(d)]
    offsets, corners = np.zeros((), np.int64), np.zeros((), np.int64)
    for k, o, s, p, dil, step in zip(
        kernel_size, output, stride, padding, dilation, steps, strict=True
    ):
        offsets = np.add.outer(offsets, np.arange(k) * (dil * step))
        corners = np.add.outer(corners, (np.arange(o) * s - p) * step)
    return values.astype(dtype, copy=False), offsets.ravel()[chosen] + corners


def _best_by_taps(
    x: np.ndarray,
    values: np.ndarray,
    first: np.ndarray,
    kernel_size: Sequence[int],
    output: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """Fills ``values`` one tap at a time and returns which tap won."""
    chosen = np.broadcast_to(first, values.shape).copy()
    better = np.empty(values.shape, bool)
    marks = np.empty(values.shape, first.dtype)
    nans = x.dtype.kind == "f" and bool(np.isnan(x.max()))
    for number, tap in enumerate(itertools.product(*map(range, kernel_size))):
        candidate = x[(..., *tap_slices(tap, output, stride, dilation))]
        np.greater(candidate, values, out=better)
        if nans:
            better |= np.isnan(candidate)
        np.maximum(values, candidate, out=values)
        # Taps come in rising order, so the last that won is the greatest that ever won.
        np.multiply(better, first.dtype.type(number), out=marks)
        np.maximum(chosen, marks, out=chosen)
    return chosen


def _best_of_windows(
    x: np.ndarray,
    values: np.ndarray,
    first: np.ndarray,
    kernel_size: Sequence[int],
    output: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """The same, for few large windows: each is searched at once."""
    d = len(kernel_size)
    view = windows(x, kernel_size, output, stride, dilation)
    lead = x.ndim - d
    view = np.moveaxis(view, range(lead, lead + d), range(-d, 0))
    flat = view.reshape(*values.shape, -1)
    chosen = _last_nan_or_first_max(flat)
    values[...] = np.take_along_axis(flat, chosen[..., None], -1)[..., 0]
    # Only where nothing beats the border can a tap in the border have been taken.
    return np.maximum(chosen, first)


def _last_nan_or_first_max(x: np.ndarray) -> np.ndarray:
    """Along the last axis: the place of the last NaN, else of the first greatest."""
    best = x.argmax(-1)
    if x.dtype.kind == "f":
        nan = np.isnan(x)
        if nan.any():
            last = x.shape[-1] - 1 - nan[..., ::-1].argmax(-1)
            best = np.where(nan.any(-1), last, best)
    return best


def _first_taps(
    output: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """The number of the first tap of each window that is not in the border on the left."""
    first = np.zeros((), np.int64)
    for o, k, s, p, d in zip(output, kernel_size, stride, padding, dilation, strict=True):
        along = np.maximum(0, -(-(p - np.arange(o) * s) // d))
        first = np.add.outer(first * k, along)
    return first


def _pads(
    size: Sequence[int],
    output: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[tuple[int, int]]:
    """The border that the windows reach into: less than the padding, or more in ceil mode."""
    return [
        (p, max(0, (o - 1) * s + d * (k - 1) + 1 - p - n))
        for n, o, k, s, p, d in zip(
            size, output, kernel_size, stride, padding, dilation, strict=True
        )
    ]


def max_pool_gradient(
    g: np.ndarray, indices: np.ndarray, *, input_size: Sequence[int], disjoint: bool = False
) -> np.ndarray:
    """Each ``g`` added at the place in its plane that ``max_pool`` returned.

    Shapes: ``g`` and ``indices`` are ``(..., *output)``; the result is ``(..., *input_size)``.
    ``disjoint`` says that no place occurs twice (strides no less than the kernel), which is faster.

    >>> max_pool_gradient(np.array([[5.0, 6.0]]), np.array([[1, 1]]), input_size=(3,))
    array([[ 0., 11.,  0.]])
    """
    dtype, lead = g.dtype, g.shape[: g.ndim - len(input_size)]
    planes, size = prod(lead), prod(input_size)
    each = prod(g.shape[len(lead) :])
    places = (indices.reshape(planes, each) + np.arange(planes)[:, None] * size).ravel()
    g = widen(g).ravel()
    out = np.zeros(planes * size, g.dtype)
    if disjoint:
        out[places] = g
    else:
        np.add.at(out, places, g)
    return out.reshape(*lead, *input_size).astype(dtype, copy=False)


def avg_pool(
    x: np.ndarray,
    *,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """The mean of each window.

    The divisor is ``divisor_override``, else the elements of the window inside the image, with its
    padding or (``count_include_pad=False``) without. Shapes: ``(..., *spatial)`` to
    ``(..., *output)``.

    >>> avg_pool(np.array([[1.0, 3.0, 5.0]]), kernel_size=(2,), stride=(1,), padding=(0,))
    array([[2., 4.]])
    """
    d = len(kernel_size)
    size, dtype = x.shape[x.ndim - d :], x.dtype
    output = pool_output_size(
        size, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
    )
    pads = _pads(size, output, kernel_size, stride, padding, (1,) * d)
    total = bordered(widen(x), pads)
    if prod(output) == 1 and total.shape[x.ndim - d :] == tuple(kernel_size):
        total = _whole_sums(total, d)
    else:
        for a in range(d):
            total = _window_sums(total, total.ndim - d + a, kernel_size[a], output[a], stride[a])
    divisors = _divisors(
        size, output, kernel_size, stride, padding, count_include_pad, divisor_override
    )
    return _divide(total, divisors).astype(dtype, copy=False)


def avg_pool_gradient(
    g: np.ndarray,
    *,
    input_size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """The transpose of ``avg_pool``: ``(..., *output)`` to ``(..., *input_size)``.

    >>> how = dict(kernel_size=(2,), stride=(1,), padding=(0,))
    >>> avg_pool_gradient(np.array([[2.0, 4.0]]), input_size=(3,), **how)
    array([[1., 3., 2.]])
    """
    d = len(kernel_size)
    output, dtype = g.shape[g.ndim - d :], g.dtype
    divisors = _divisors(
        input_size, output, kernel_size, stride, padding, count_include_pad, divisor_override
    )
    pads = _pads(input_size, output, kernel_size, stride, padding, (1,) * d)
    out = _divide(widen(g), divisors)
    for a in reversed(range(d)):
        n = input_size[a] + sum(pads[a])
        out = _spread_windows(out, out.ndim - d + a, kernel_size[a], n, stride[a])
    # Windows may stop short of the image's end, but never reach past this border.
    out = bordered(out, [(-low, -high) for low, high in pads])
    return np.ascontiguousarray(out).astype(dtype, copy=False)


def _whole_sums(x: np.ndarray, d: int) -> np.ndarray:
    """Sums over the last ``d`` axes, kept: as a product, ten times faster than ``sum``."""
    lead, size = x.shape[: x.ndim - d], x.shape[x.ndim - d :]
    total = np.matmul(x.reshape(prod(lead), prod(size)), np.ones(prod(size), x.dtype))
    return total.reshape(*lead, *(1,) * d)


def _window_sums(x: np.ndarray, axis: int, kernel: int, output: int, stride: int) -> np.ndarray:
    if output == 1:
        return x[_at(axis, slice(0, kernel))].sum(axis, keepdims=True, dtype=x.dtype)
    total = None
    for k in range(kernel):
        tap = x[_at(axis, *tap_slices((k,), (output,), (stride,), (1,)))]
        total = tap.copy() if total is None else np.add(total, tap, out=total)
    return total


def _spread_windows(g: np.ndarray, axis: int, kernel: int, size: int, stride: int) -> np.ndarray:
    shape = list(g.shape)
    output, shape[axis] = shape[axis], size
    if stride == kernel and output * kernel == size:
        wide = np.empty((*shape[:axis], output, kernel, *shape[axis + 1 :]), g.dtype)
        wide[...] = np.expand_dims(g, axis + 1)
        return wide.reshape(shape)
    out = np.zeros(shape, g.dtype)
    for k in range(kernel):
        out[_at(axis, *tap_slices((k,), (output,), (stride,), (1,)))] += g
    return out


def _at(axis: int, part: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, part)


def _divisors(
    size: Sequence[int],
    output: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    count_include_pad: bool,
    divisor_override: int | None,
) -> np.ndarray | int:
    """How many elements each window counts: a number where that is one for all."""
    if divisor_override is not None:
        return divisor_override
    counts = np.ones((), np.int64)
    for n, o, k, s, p in zip(size, output, kernel_size, stride, padding, strict=True):
        start = np.arange(o) * s - p
        stop = np.minimum(start + k, n + p)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, n)
        counts = np.multiply.outer(counts, stop - start)
    return int(counts.flat[0]) if counts.size and np.ptp(counts) == 0 else counts


def _divide(x: np.ndarray, divisors: np.ndarray | int) -> np.ndarray:
    if not (is_real_floating(x.dtype) or x.dtype.kind == "c"):
        # As C divides: towards zero.
        return np.sign(x) * np.sign(divisors) * (np.abs(x) // np.abs(divisors))
    return x / (divisors if isinstance(divisors, int) else divisors.astype(x.dtype))


def _bounds(size: int, output: int) -> list[tuple[int, int]]:
    """Adaptive windows: ``floor(i n / o)`` to ``ceil((i + 1) n / o)``."""
    return [(i * size // output, -(-(i + 1) * size // output)) for i in range(output)]


def adaptive_avg_pool(x: np.ndarray, *, output_size: Sequence[int]) -> np.ndarray:
    """The means of windows that share the image out evenly among ``output_size``.

    Shapes: ``(..., *spatial)`` to ``(..., *output_size)``.

    >>> adaptive_avg_pool(np.array([[1.0, 2.0, 4.0]]), output_size=(2,))
    array([[1.5, 3. ]])
    """
    d, dtype = len(output_size), x.dtype
    out = widen(x)
    size = x.shape[x.ndim - d :]
    if all(o == 1 for o in output_size) and prod(size):
        return (_whole_sums(out, d) / out.dtype.type(prod(size))).astype(dtype, copy=False)
    counts = np.ones((), out.dtype)
    for a, (n, o) in enumerate(zip(size, output_size, strict=True)):
        axis, bounds = x.ndim - d + a, _bounds(n, o)
        counts = np.multiply.outer(counts, np.array([e - s for s, e in bounds], out.dtype))
        if o and n % o == 0:
            out = _window_sums(out, axis, n // o, o, n // o)
        else:
            parts = [out[_at(axis, slice(s, e))].sum(axis, keepdims=True) for s, e in bounds]
            out = np.concatenate(parts, axis) if parts else out[_at(axis, slice(0, 0))]
    return (out / counts).astype(dtype, copy=False)


def adaptive_avg_pool_gradient(g: np.ndarray, *, input_size: Sequence[int]) -> np.ndarray:
    """The transpose of ``adaptive_avg_pool``: ``(..., *output)`` to ``(..., *input_size)``.

    >>> adaptive_avg_pool_gradient(np.array([[2.0, 4.0]]), input_size=(3,))
    array([[1., 3., 2.]])
    """
    d, dtype = len(input_size), g.dtype
    out = widen(g)
    for a, (n, o) in enumerate(zip(input_size, g.shape[g.ndim - d :], strict=True)):
        axis, bounds = g.ndim - d + a, _bounds(n, o)
        counts = np.array([e - s for s, e in bounds], out.dtype)
        out = out / counts.reshape(-1, *(1,) * (g.ndim - axis - 1))
        if o and n % o == 0:
            out = _spread_windows(out, axis, n // o, n, n // o)
            continue
        image = np.zeros((*out.shape[:axis], n, *out.shape[axis + 1 :]), out.dtype)
        for i, (s, e) in enumerate(bounds):
            image[_at(axis, slice(s, e))] += out[_at(axis, slice(i, i + 1))]
        out = image
    return out.astype(dtype, copy=False)


def adaptive_max_pool(
    x: np.ndarray, *, output_size: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """``max_pool`` over windows that share the image out evenly among ``output_size``.

    >>> adaptive_max_pool(np.array([[1.0, 2.0, 4.0]]), output_size=(2,))
    (array([[2., 4.]]), array([[1, 2]]))
    """
    d = len(output_size)
    lead, size = x.shape[: x.ndim - d], x.shape[x.ndim - d :]
    if all(o and n % o == 0 for n, o in zip(size, output_size, strict=True)):
        kernel = tuple(n // o for n, o in zip(size, output_size, strict=True))
        return max_pool(x, kernel_size=kernel, stride=kernel, padding=(0,) * d)
    values = np.empty((*lead, *output_size), x.dtype)
    indices = np.empty(values.shape, np.int64)
    place = np.arange(prod(size)).reshape(size)
    along = [list(enumerate(_bounds(n, o))) for n, o in zip(size, output_size, strict=True)]
    for window in itertools.product(*along):
        at = tuple(i for i, _ in window)
        part = tuple(slice(s, e) for _, (s, e) in window)
        region = x[(..., *part)].reshape(*lead, prod(e - s for _, (s, e) in window))
        best = _last_nan_or_first_max(widen(region))
        values[(..., *at)] = np.take_along_axis(region, best[..., None], -1)[..., 0]
        indices[(..., *at)] = place[part].ravel()[best]
    return values, indices
