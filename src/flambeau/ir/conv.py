"""Convolution and its two transposes, which are each other's gradients."""

from __future__ import annotations

from typing import Any

from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, conj, primitive
from flambeau.ir.reference import (
    convolution,
    convolution_input_gradient,
    convolution_output_size,
    convolution_weight_gradient,
)

P = PRIMITIVES


def _rule(x: Aval, w: Aval, *, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Aval:
    size = convolution_output_size(
        x.shape[2:], w.shape[2:], stride=stride, padding=padding, dilation=dilation
    )
    return Aval((x.shape[0], w.shape[0], *size), x.dtype)


def _of_input(g: Var, x: Var, w: Var, *, out: Var, **how: Any) -> Var:
    return P["convolution_input_gradient"](g, conj(w), input_size=x.shape[2:], **how)


def _of_weight(g: Var, x: Var, w: Var, *, out: Var, **how: Any) -> Var:
    return P["convolution_weight_gradient"](g, conj(x), kernel_size=w.shape[2:], **how)


primitive(
    "convolution",
    "cross-correlation of (N, C, *spatial) with kernels (O, C / groups, *kernel)",
    rule=_rule,
    reference=convolution,
    gradient=(_of_input, _of_weight),
)


def _transposed_of_gradient(h: Var, g: Var, w: Var, *, out: Var, input_size: tuple, **how: Any):
    return P["convolution"](h, conj(w), **how)


def _transposed_of_weight(h: Var, g: Var, w: Var, *, out: Var, input_size: tuple, **how: Any):
    return P["convolution_weight_gradient"](conj(g), h, kernel_size=w.shape[2:], **how)


primitive(
    "convolution_input_gradient",
    "the transpose of convolution in its input: also transposed convolution",
    rule=lambda g, w, *, input_size, stride, padding, dilation, groups: Aval(
        (g.shape[0], w.shape[1] * groups, *input_size), g.dtype
    ),
    reference=convolution_input_gradient,
    gradient=(_transposed_of_gradient, _transposed_of_weight),
)


def _kernels_of_gradient(h: Var, g: Var, x: Var, *, out: Var, kernel_size: tuple, **how: Any):
    return P["convolution"](conj(x), h, **how)


def _kernels_of_input(h: Var, g: Var, x: Var, *, out: Var, kernel_size: tuple, **how: Any):
    return P["convolution_input_gradient"](conj(g), h, input_size=x.shape[2:], **how)


primitive(
    "convolution_weight_gradient",
    "the transpose of convolution in its kernels",
    rule=lambda g, x, *, kernel_size, stride, padding, dilation, groups: Aval(
        (g.shape[1], x.shape[1] // groups, *kernel_size), g.dtype
    ),
    reference=convolution_weight_gradient,
    gradient=(_kernels_of_gradient, _kernels_of_input),
)
