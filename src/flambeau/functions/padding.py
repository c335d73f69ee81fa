"""``nn.functional.pad``: the last dimensions surrounded by a value or by what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.ir import border  # noqa: F401  (declares the primitives)
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = ("constant", "reflect", "replicate", "circular")


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Surrounds the last dimensions: ``pad`` has (before, after) of the last, the last but one, …

    ``mode`` is "constant" (with ``value``, default 0), "reflect", "replicate" or "circular";
    negative widths cut. Raises ``RuntimeError`` for widths that do not fit and
    ``NotImplementedError`` for an unknown mode or, but for constants, a rank other than one or two
    more than the dimensions padded.

    >>> pad(tensor([[1.0, 2.0]]), (1, 1))
    tensor([[0., 1., 2., 0.]])
    """
    widths = tuple(int(n) for n in pad)
    if len(widths) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(widths) > 2 * input.dim():
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(widths)} and input of dimension {input.dim()}"
        )
    if mode not in MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    pairs = tuple((widths[i], widths[i + 1]) for i in range(len(widths) - 2, -1, -2))
    if mode == "constant":
        return _constant(input, pairs, _fitting(0 if value is None else value, input))
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    count = len(pairs)
    if count not in (1, 2, 3) or input.dim() not in (count + 1, count + 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        )
    _check(input, pairs, mode)
    return _border(input, pairs, mode)


def _fitting(value: float, like: Tensor) -> float:
    """The value as a number of the tensor's kind."""
    if like.dtype.category >= 2 or isinstance(value, complex):
        return value
    return bool(value) if like.dtype.category == 0 else int(value)


def _check(input: Tensor, pairs: tuple, mode: str) -> None:
    shape = input._meta.shape
    lead = len(shape) - len(pairs)
    for d, n in enumerate(shape):
        # A batch of none is welcome, an image without pixels or channels is not.
        if n == 0 and d and mode != "circular":
            raise RuntimeError(
                f"Expected {len(pairs) + 1}D or {len(pairs) + 2}D (batch mode) tensor with "
                "possibly 0 batch size and other non-zero dimensions for input, but got: "
                f"{list(shape)}"
            )
    for d, (low, high) in enumerate(pairs, lead):
        n = shape[d]
        if mode == "reflect" and (low >= n or high >= n):
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, "
                f"but got: padding ({low}, {high}) at dimension {d} of input {list(shape)}"
            )
        if mode == "circular" and (low > n or high > n):
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if n + low + high < (0 if mode == "circular" else 1):
            if mode == "circular":
                raise RuntimeError("Negative padding value is resulting in an empty dimension")
            raise RuntimeError(
                f"input (size: {list(shape)}) is too small: padding ({low}, {high}) of dimension "
                f"{d} leaves nothing"
            )


@function(grad="ConstantPadNdBackward0")
def _constant(input: Tensor, pairs: tuple, value: float) -> Tensor:
    shape = input._meta.shape
    lead = len(shape) - len(pairs)
    for d, (low, high) in enumerate(pairs, lead):
        if shape[d] + low + high < 0:
            raise RuntimeError(
                f"The input size {shape[d]}, plus negative padding {low} and {high} resulted in a "
                f"negative output size, which is invalid. Check dimension {d} of your input."
            )
    if not any(low or high for low, high in pairs):
        return ops.clone(input)
    return ops.pad(input, value, pads=((0, 0),) * lead + pairs)


@function(grad="PadBackward0")
def _border(input: Tensor, pairs: tuple, mode: str) -> Tensor:
    return ops.border(input, pads=pairs, mode=mode)
