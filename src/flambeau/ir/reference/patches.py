"""Sliding patches of an image as columns, and columns added back into an image."""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ir.reference._common import bordered, owned, tap_slices, widen, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fold", "unfold"]


def unfold(
    x: np.ndarray,
    *,
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> np.ndarray:
    """The patches under each place of a kernel ("im2col").

    Shapes: ``(N, C, *spatial)`` to ``(N, C * prod(kernel_size), places)``.

    >>> x = np.arange(3.0).reshape(1, 1, 3)
    >>> unfold(x, kernel_size=(2,), dilation=(1,), padding=(0,), stride=(1,))
    array([[[0., 1.],
            [1., 2.]]])
    """
    image = bordered(x, [(p, p) for p in padding])
    places = _places(image.shape[2:], kernel_size, dilation, stride)
    view = windows(image, kernel_size, places, stride, dilation)
    return owned(view.reshape(x.shape[0], x.shape[1] * prod(kernel_size), prod(places)), x)


def fold(
    columns: np.ndarray,
    *,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> np.ndarray:
    """The transpose of ``unfold``: overlapping patches are added ("col2im").

    Shapes: ``(N, C * prod(kernel_size), places)`` to ``(N, C, *output_size)``.

    >>> columns = np.array([[[0.0, 1.0], [1.0, 2.0]]])
    >>> how = dict(kernel_size=(2,), dilation=(1,), padding=(0,), stride=(1,))
    >>> fold(columns, output_size=(3,), **how)
    array([[[0., 2., 2.]]])
    """
    dtype, samples = columns.dtype, columns.shape[0]
    channels = columns.shape[1] // prod(kernel_size)
    padded = tuple(n + 2 * p for n, p in zip(output_size, padding, strict=True))
    places = _places(padded, kernel_size, dilation, stride)
    columns = widen(columns).reshape(samples, channels, *kernel_size, *places)
    image = np.zeros((samples, channels, *padded), columns.dtype)
    for tap in itertools.product(*map(range, kernel_size)):
        where = tap_slices(tap, places, stride, dilation)
        image[(..., *where)] += columns[(slice(None), slice(None), *tap)]
    image = bordered(image, [(-p, -p) for p in padding])
    return np.ascontiguousarray(image).astype(dtype, copy=False)


def _places(
    size: Sequence[int], kernel_size: Sequence[int], dilation: Sequence[int], stride: Sequence[int]
) -> tuple[int, ...]:
    return tuple(
        (n - d * (k - 1) - 1) // s + 1
        for n, k, d, s in zip(size, kernel_size, dilation, stride, strict=True)
    )
