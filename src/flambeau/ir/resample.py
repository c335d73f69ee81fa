"""Linear maps of images: resampling and sliding patches, each with its transpose."""

from __future__ import annotations

from math import prod
from typing import Any

from flambeau.ir import reference
from flambeau.ir.graph import Aval
from flambeau.ir.primitive import PRIMITIVES, primitive

P = PRIMITIVES


def _resized(x: Any, size: tuple[int, ...]) -> Aval:
    return Aval((*x.shape[: len(x.shape) - len(size)], *size), x.dtype)


def _size(x: Any, d: int) -> tuple[int, ...]:
    return tuple(x.shape[len(x.shape) - d :])


primitive(
    "interpolate",
    "resampled along the last axes",
    rule=lambda x, *, output_size, **how: _resized(x, output_size),
    reference=reference.interpolate,
    gradient=lambda g, x, *, out, output_size, **how: P["interpolate_gradient"](
        g, input_size=_size(x, len(output_size)), **how
    ),
)
primitive(
    "interpolate_gradient",
    "the transpose of interpolate",
    rule=lambda g, *, input_size, **how: _resized(g, input_size),
    reference=reference.interpolate_gradient,
    gradient=lambda h, g, *, out, input_size, **how: P["interpolate"](
        h, output_size=_size(g, len(input_size)), **how
    ),
)


def _places(size: tuple, kernel: tuple, dilation: tuple, padding: tuple, stride: tuple) -> int:
    return prod(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    )


def _unfold_rule(
    x: Aval, *, kernel_size: tuple, dilation: tuple, padding: tuple, stride: tuple
) -> Aval:
    count = _places(x.shape[2:], kernel_size, dilation, padding, stride)
    return Aval((x.shape[0], x.shape[1] * prod(kernel_size), count), x.dtype)


primitive(
    "patches",
    "the patches of (N, C, *spatial) under each place of a kernel, as columns",
    rule=_unfold_rule,
    reference=reference.unfold,
    gradient=lambda g, x, *, out, **how: P["unpatches"](g, output_size=x.shape[2:], **how),
)
primitive(
    "unpatches",
    "columns of patches added back into images: the transpose of patches",
    rule=lambda x, *, output_size, kernel_size, **how: Aval(
        (x.shape[0], x.shape[1] // prod(kernel_size), *output_size), x.dtype
    ),
    reference=reference.fold,
    gradient=lambda g, x, *, out, output_size, **how: P["patches"](g, **how),
)
primitive(
    "border",
    "reflected, replicated or circular borders around the last axes",
    rule=lambda x, *, pads, mode: _resized(
        x,
        tuple(n + lo + hi for n, (lo, hi) in zip(_size(x, len(pads)), pads, strict=True)),
    ),
    reference=reference.pad,
    gradient=lambda g, x, *, out, pads, mode: P["border_gradient"](g, pads=pads, mode=mode),
)
primitive(
    "border_gradient",
    "the transpose of border: each border added to where its values came from",
    rule=lambda g, *, pads, mode: _resized(
        g,
        tuple(n - lo - hi for n, (lo, hi) in zip(_size(g, len(pads)), pads, strict=True)),
    ),
    reference=reference.pad_gradient,
    gradient=lambda h, g, *, out, pads, mode: P["border"](h, pads=pads, mode=mode),
)
