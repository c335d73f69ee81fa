"""Borders around tensors: constant, reflected, replicated, circular."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.functions.checks import _tensors
from flambeau.functions.promotion import Number, fit
from flambeau.record.builder import whole
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


@function(grad="ConstantPadNdBackward0")
def _constant(input: Tensor, pads: tuple, value: Number) -> Tensor:
    shape = input._meta.shape
    for d, (low, high) in enumerate(pads):
        if shape[d] + low + high < 0:
            raise RuntimeError(
                f"The input size {shape[d]}, plus negative padding {low} and {high} resulted in a "
                "negative output size, which is invalid. Check dimension "
                f"{d} of your input."
            )
    return ops.pad(input, value, pads=pads)


@function(grad="ReflectionPad2DBackward0")
def _reflected(input: Tensor, pads: tuple, mode: str) -> Tensor:
    if mode == "circular" and any(n < 0 for pair in pads for n in pair):
        # What is cut off is not there to wrap around.
        rest = ((0, 0),) * (input.dim() - len(pads))
        input = ops.pad(
            input, 0, pads=(*rest, *[(min(low, 0), min(high, 0)) for low, high in pads])
        )
        pads = tuple((max(low, 0), max(high, 0)) for low, high in pads)
    y = ops.border(input, pads=pads, mode=mode)
    return y if mode == "circular" else whole(y, input)


def _pairs(pad: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """One (low, high) a dimension, in the order of dimensions; given from the last."""
    given = [int(n) for n in pad]
    return tuple(reversed(list(zip(given[::2], given[1::2], strict=True))))


def _check(input: Tensor, pads: tuple[tuple[int, int], ...], mode: str) -> None:
    shape, d = input._meta.shape, len(pads)
    if len(shape) not in (d + 1, d + 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        )
    for axis, (low, high) in enumerate(pads, len(shape) - d):
        n = shape[axis]
        if mode == "reflect" and (low >= n or high >= n):
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input "
                f"dimension, but got: padding ({low}, {high}) at dimension {axis} of input "
                f"{list(shape)}"
            )
        if mode == "circular" and (low > n or high > n):
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if n + low + high < (0 if mode == "circular" else 1):
            raise RuntimeError(
                f"input (size: {n}) is too small. Calculated output size: {n + low + high}"
            )


@_tensors
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """``input`` with borders ``(low, high)`` around the last dimension, the one before ...

    ``mode`` is "constant" (of ``value``, by default 0), "reflect", "replicate" or "circular";
    negative widths cut. Raises ``RuntimeError`` for a border that does not fit.

    >>> pad(tensor([1, 2]), (1, 2))
    tensor([0, 1, 2, 0, 0])
    """
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    ndim = input.dim()
    if len(pad) // 2 > ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(pad)} and input of dimension {ndim}"
        )
    pads = _pairs(pad)
    if mode == "constant":
        pads = ((0, 0),) * (ndim - len(pads)) + pads
        return _constant(input, pads, _fill(input, value))
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    _check(input, pads, mode)
    return _reflected(input, pads, mode)


def _fill(input: Tensor, value: Any) -> Any:
    """The border's value as a number of the input's kind."""
    category = input._meta.dtype.category
    if value is None:
        value = 0
    if category == 3:
        return value
    return fit(float(value) if category == 2 else value, input.dtype)


@function(grad="ConstantPadNdBackward0")
def constant_pad_nd(input: Tensor, pad: tuple, value: Number = 0) -> Tensor:
    """``pad`` in mode "constant".

    >>> constant_pad_nd(tensor([1]), (1, 0), 5)
    tensor([5, 1])
    """
    if len(pad) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(pad)}")
    pads = _pairs(pad)
    return ops.pad(input, value, pads=((0, 0),) * (input.dim() - len(pads)) + pads)


SAMPLES = {
    "nn.functional.pad": "x, (1, 2); x, (1, 0, 2, 1), value=3.0; x, [-1, 2], 'constant', -1.0;"
    " i, (0, 1), value=7; truth, (1, 1), value=True; cube, (2, 1), 'reflect';"
    " cube, (1, 3), mode='replicate'; cube, (2, 1), 'circular'; image, (1, 2, 3, 1), 'reflect';"
    " image, (1, 0, 2, 2), 'replicate'; image, (3, 1, 0, 2), 'circular';"
    " volume, (1, 1, 1, 1, 1, 0), 'reflect'; volume, (1, 2, 0, 1, 3, 0), 'replicate';"
    " volume, (1, 1, 1, 1, 0, 1), 'circular'; x, (2, 1), 'reflect'; x, (); c, (1, 1);"
    " !x, (1, 2, 3); !x, (1, 1, 1, 1, 1, 1); !x, (4, 0), 'reflect'; !x, (1, 1), 'mirror';"
    " !cube, (1, 1), 'reflect', 2.0; !x, (-5, 0)",
    "constant_pad_nd": "x, (1, 2); x, (1, 0, 2, 1), 3.0; i, (0, 1), value=7; x, (-1, -1);"
    " !x, (1, 2, 3)",
}
