"""Convolution in one to three spatial dimensions, forward and both gradients.

Each is a product with the matrix of windows ("im2col", [Chellapilla, Puri and Simard 2006]), made a
few samples at a time so that it stays in the cache. With stride 1 the windows are taken over whole
padded rows, so that one tap is one contiguous run of the image; the few columns that straddle
two rows are computed and dropped.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided

from flambeau.ir.reference._common import bordered, tap_slices, widen, windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flambeau.ir.reference._common import Pairs

__all__ = [
    "convolution",
    "convolution_input_gradient",
    "convolution_output_size",
    "convolution_weight_gradient",
]

# About a core's second-level cache; half to twice of it took the same time here.
_CHUNK_BYTES = 1 << 20
# Whole rows are worth it up to this share of dropped columns.
_ROWS_WASTE = 1.3


def convolution_output_size(
    input_size: Sequence[int],
    kernel_size: Sequence[int],
    *,
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """The spatial size of a convolution's result: ``(n + low + high - d (k - 1) - 1) // s + 1``."""
    return tuple(
        (n + low + high - d * (k - 1) - 1) // s + 1
        for n, k, s, (low, high), d in zip(
            input_size, kernel_size, stride, padding, dilation, strict=True
        )
    )


def convolution(
    x: np.ndarray,
    w: np.ndarray,
    *,
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
    groups: int,
) -> np.ndarray:
    r"""Cross-correlation of ``x`` with the kernels ``w``.

    .. math:: y_{n,o,p} = \sum_{c,k} w_{o,c,k}\, x_{n,c,\,s p + d k - \mathrm{low}}

    Shapes: ``x`` is ``(N, C, *spatial)``, ``w`` is ``(O, C / groups, *kernel)``; ``padding`` is one
    ``(low, high)`` pair of zeros a spatial axis. The result is ``(N, O, *output)``.

    >>> x, w = np.arange(4.0).reshape(1, 1, 4), np.ones((1, 1, 2))
    >>> convolution(x, w, stride=(1,), padding=((0, 1),), dilation=(1,), groups=1)
    array([[[1., 3., 5., 3.]]])
    """
    dtype = np.result_type(x, w)
    x, w = widen(x), widen(w)
    plan = _Plan.of(x.shape, w.shape, stride, padding, dilation, groups)
    out = np.empty((plan.samples, plan.outputs, *plan.output_size), np.result_type(x, w))
    if out.size == 0 or w.size == 0:
        out[...] = 0
    else:
        _by_windows(plan, x, w, out)
    return out.astype(dtype, copy=False)


def convolution_input_gradient(
    g: np.ndarray,
    w: np.ndarray,
    *,
    input_size: Sequence[int],
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
    groups: int,
) -> np.ndarray:
    r"""The transpose of ``convolution`` in its first argument (so also transposed convolution).

    .. math:: x_{n,c,\,s p + d k - \mathrm{low}} \mathrel{+}= \sum_o w_{o,c,k}\, g_{n,o,p}

    Shapes: ``g`` is ``(N, O, *output)``, ``w`` is ``(O, C / groups, *kernel)``; ``input_size`` is
    the spatial size of the result ``(N, C, *input_size)``. Nothing is conjugated.

    >>> g, w = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0]]])
    >>> how = dict(stride=(1,), padding=((0, 0),), dilation=(1,), groups=1)
    >>> convolution_input_gradient(g, w, input_size=(3,), **how)
    array([[[ 1., 12., 20.]]])
    """
    dtype = np.result_type(g, w)
    g, w = widen(g), widen(w)
    channels = w.shape[1] * groups
    x_shape = (g.shape[0], channels, *input_size)
    plan = _Plan.of(x_shape, w.shape, stride, padding, dilation, groups)
    kind = np.result_type(g, w)
    if g.size == 0 or w.size == 0:
        return np.zeros(x_shape, dtype)
    if plan.flips:
        # With stride 1 the transpose is itself a convolution, with the kernels turned around.
        flipped = np.flip(w, range(2, w.ndim)).reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2)
        reach = [d * (k - 1) for d, k in zip(dilation, plan.kernel_size, strict=True)]
        around = tuple((r - a, r - b) for r, (a, b) in zip(reach, padding, strict=True))
        return convolution(
            g,
            flipped.reshape(channels, -1, *plan.kernel_size),
            stride=stride,
            padding=around,
            dilation=dilation,
            groups=groups,
        ).astype(dtype, copy=False)
    kernels = w.reshape(groups, plan.outputs // groups, -1).swapaxes(1, 2)
    if plan.pointwise:
        # A view of w is as good as a copy for BLAS.
        out = np.empty((plan.samples, groups, channels // groups, plan.positions), kind)
        np.matmul(kernels, g.reshape(plan.samples, groups, -1, plan.positions), out=out)
        return out.reshape(x_shape).astype(dtype, copy=False)
    out = np.empty(x_shape, kind)
    for chunk in plan.chunks(kind.itemsize):
        part = g[chunk]
        n = len(part)
        rows = _in_rows(plan, part) if plan.rows else part
        rows = rows.reshape(n, groups, plan.outputs // groups, -1)
        # An outer product is quicker as a product with broadcasting than through BLAS.
        columns = kernels * rows if rows.shape[2] == 1 else np.matmul(kernels, rows)
        columns = columns.reshape(n, channels, *plan.kernel_size, -1)
        image = np.zeros((n, channels, *plan.padded_size), kind)
        _add_taps(plan, image, columns)
        out[chunk] = plan.unbordered(image)
    return out.astype(dtype, copy=False)


def convolution_weight_gradient(
    g: np.ndarray,
    x: np.ndarray,
    *,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
    groups: int,
) -> np.ndarray:
    r"""The transpose of ``convolution`` in its second argument.

    .. math:: w_{o,c,k} = \sum_{n,p} g_{n,o,p}\, x_{n,c,\,s p + d k - \mathrm{low}}

    Shapes: ``g`` is ``(N, O, *output)``, ``x`` is ``(N, C, *spatial)``; the result is
    ``(O, C / groups, *kernel_size)``. Nothing is conjugated.

    >>> g, x = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]])
    >>> how = dict(stride=(1,), padding=((0, 0),), dilation=(1,), groups=1)
    >>> convolution_weight_gradient(g, x, kernel_size=(2,), **how)
    array([[[ 21., 210.]]])
    """
    dtype = np.result_type(g, x)
    g, x = widen(g), widen(x)
    w_shape = (g.shape[1], x.shape[1] // groups, *kernel_size)
    plan = _Plan.of(x.shape, w_shape, stride, padding, dilation, groups)
    kind = np.result_type(g, x)
    per_group, taps = plan.outputs // groups, prod(w_shape[1:])
    out = np.zeros((groups, per_group, taps), kind)
    if g.size == 0 or taps == 0:
        return out.reshape(w_shape).astype(dtype, copy=False)
    for chunk, columns in plan.columns(x):
        part = g[chunk]
        n = len(part)
        rows = _in_rows(plan, part) if plan.rows else part
        if plan.merged:
            rows = rows.reshape(n, groups, per_group, -1).transpose(1, 2, 0, 3)
            out += np.matmul(rows.reshape(groups, per_group, -1), columns.swapaxes(1, 2))
        else:
            rows = rows.reshape(n, groups, per_group, -1)
            out += np.matmul(rows, columns.swapaxes(2, 3)).sum(0)
    return out.reshape(w_shape).astype(dtype, copy=False)


@dataclass(frozen=True)
class _Plan:
    """The numbers of one convolution, and how it walks its samples."""

    samples: int
    channels: int
    outputs: int
    groups: int
    input_size: tuple[int, ...]
    padded_size: tuple[int, ...]
    kernel_size: tuple[int, ...]
    output_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    # Windows over whole rows, and how many columns that makes a sample.
    rows: bool
    positions: int

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        stride: Sequence[int],
        padding: Pairs,
        dilation: Sequence[int],
        groups: int,
    ) -> _Plan:
        size, kernel = tuple(x_shape[2:]), tuple(w_shape[2:])
        output = convolution_output_size(
            size, kernel, stride=stride, padding=padding, dilation=dilation
        )
        padded = tuple(n + low + high for n, (low, high) in zip(size, padding, strict=True))
        positions, rows = prod(output), False
        if all(s == 1 for s in stride) and len(size) > 1 and min(output) > 0:
            steps = [prod(padded[a + 1 :]) for a in range(len(padded))]
            run = sum((o - 1) * step for o, step in zip(output, steps, strict=True)) + 1
            if run <= _ROWS_WASTE * positions and any(k > 1 for k in kernel):
                positions, rows = run, True
        return cls(
            samples=x_shape[0],
            channels=x_shape[1],
            outputs=w_shape[0],
            groups=groups,
            input_size=size,
            padded_size=padded,
            kernel_size=kernel,
            output_size=output,
            stride=tuple(stride),
            padding=tuple(tuple(pair) for pair in padding),
            dilation=tuple(dilation),
            rows=rows,
            positions=positions,
        )

    @property
    def pointwise(self) -> bool:
        """Whether the image is itself the matrix of windows."""
        return (
            self.padded_size == self.input_size == self.output_size
            and all(k == 1 for k in self.kernel_size)
            and all(pair == (0, 0) for pair in self.padding)
        )

    @property
    def flips(self) -> bool:
        """Whether the input gradient is quicker as a convolution: no more outputs than inputs."""
        return (
            all(s == 1 for s in self.stride)
            and self.outputs <= self.channels
            and not self.pointwise
        )

    @property
    def merged(self) -> bool:
        """Whether a chunk is one product: images too small for a product each."""
        return self.positions < 48

    def chunks(self, itemsize: int) -> Iterator[slice]:
        """Slices of samples whose windows fit the cache together."""
        rows = self.channels * prod(self.kernel_size)
        step = max(1, _CHUNK_BYTES // max(1, rows * self.positions * itemsize))
        for start in range(0, self.samples, step):
            yield slice(start, min(start + step, self.samples))

    def bordered(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(bordered(x, self.padding))

    def unbordered(self, image: np.ndarray) -> np.ndarray:
        """The part of a padded image that is the image (negative padding gives zeros)."""
        return bordered(image, [(-low, -high) for low, high in self.padding])

    def windows(self, x: np.ndarray) -> np.ndarray:
        """A view ``(n, channels, *kernel, *positions)`` of padded, contiguous samples."""
        if not self.rows:
            return windows(x, self.kernel_size, self.output_size, self.stride, self.dilation)
        steps = [s * d for s, d in zip(x.strides[2:], self.dilation, strict=True)]
        return as_strided(
            x,
            (*x.shape[:2], *self.kernel_size, self.positions),
            (*x.strides[:2], *steps, x.itemsize),
            writeable=False,
        )

    def columns(self, x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Chunks of samples with their windows, ready for a product.

        ``(n, groups, taps, positions)``, or ``(groups, taps, n * positions)`` where ``merged``.
        The array is reused from one chunk to the next.
        """
        scratch = None
        for chunk in self.chunks(x.itemsize):
            if self.pointwise and not self.merged:
                part = np.ascontiguousarray(x[chunk])
                yield chunk, part.reshape(len(part), self.groups, -1, self.positions)
                continue
            view = self.windows(self.bordered(x[chunk]))
            n = len(view)
            if self.merged:
                view = view.swapaxes(0, 1)
                view = np.moveaxis(view, 1, 1 + len(self.kernel_size))
            if scratch is None or scratch.shape != view.shape:
                scratch = np.empty(view.shape, x.dtype)
            np.copyto(scratch, view)
            if self.merged:
                yield chunk, scratch.reshape(self.groups, -1, n * self.positions)
            else:
                yield chunk, scratch.reshape(n, self.groups, -1, self.positions)


def _by_windows(plan: _Plan, x: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    groups, per_group = plan.groups, plan.outputs // plan.groups
    kernels = np.ascontiguousarray(w).reshape(groups, per_group, -1)
    for chunk, columns in plan.columns(x):
        part = out[chunk]
        n = len(part)
        if plan.merged:
            y = np.matmul(kernels, columns).reshape(plan.outputs, n, plan.positions)
            y = y.swapaxes(0, 1)
        elif plan.rows:
            y = np.matmul(kernels, columns).reshape(n, plan.outputs, plan.positions)
        else:
            np.matmul(kernels, columns, out=part.reshape(n, groups, per_group, -1))
            continue
        part[...] = _out_of_rows(plan, y) if plan.rows else y.reshape(part.shape)


def _out_of_rows(plan: _Plan, y: np.ndarray) -> np.ndarray:
    """The view ``(n, outputs, *output_size)`` of columns taken over whole rows."""
    steps = [prod(plan.padded_size[a + 1 :]) for a in range(len(plan.padded_size))]
    return as_strided(
        y,
        (*y.shape[:2], *plan.output_size),
        (*y.strides[:2], *(step * y.strides[2] for step in steps)),
    )


def _in_rows(plan: _Plan, g: np.ndarray) -> np.ndarray:
    """``g`` laid out over whole rows, zero in the columns that straddle two of them."""
    out = np.zeros((*g.shape[:2], plan.positions), g.dtype)
    _out_of_rows(plan, out)[...] = g
    return out


def _taps(plan: _Plan) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, plan.kernel_size))


def _add_taps(plan: _Plan, image: np.ndarray, columns: np.ndarray) -> None:
    """Adds windows ``(n, channels, *kernel, positions)`` back into the padded image ("col2im")."""
    if plan.rows:
        flat = image.reshape(*image.shape[:2], -1)
        steps = [prod(plan.padded_size[a + 1 :]) for a in range(len(plan.padded_size))]
        for tap in _taps(plan):
            at = sum(k * d * s for k, d, s in zip(tap, plan.dilation, steps, strict=True))
            flat[:, :, at : at + plan.positions] += columns[(slice(None), slice(None), *tap)]
        return
    columns = columns.reshape(*columns.shape[:-1], *plan.output_size)
    for tap in _taps(plan):
        where = tap_slices(tap, plan.output_size, plan.stride, plan.dilation)
        image[(..., *where)] += columns[(slice(None), slice(None), *tap)]
