"""Images cut up: patches to columns and back, shuffled pixels and channels."""

from __future__ import annotations

import math

from flambeau import dtypes
from flambeau.functions.checks import _need_floats
from flambeau.functions.dims import wrap_dim
from flambeau.functions.nn._common import ntuple, reshape
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _no_integers(kernel: str, input: Tensor) -> None:
    _need_floats(kernel, input, also=(dtypes.bool_,), complex_too=True)


@function(grad="Im2ColBackward0")
def _patches(input: Tensor, k: tuple, dilation: tuple, padding: tuple, stride: tuple) -> Tensor:
    shape = input._meta.shape
    _no_integers("im2col_out_cpu", input)
    x = input if len(shape) == 4 else reshape(input, (1, *shape))
    y = ops.patches(x, kernel_size=k, dilation=dilation, padding=padding, stride=stride)
    return y if x is input else reshape(y, y._meta.shape[1:])


def unfold(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    dilation: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    stride: int | tuple[int, ...] = 1,
) -> Tensor:
    """The patches of ``(N, C, H, W)`` under a kernel, as columns ``(N, C * KH * KW, places)``.

    >>> unfold(tensor([[[1.0, 2.0]]]), 1)
    tensor([[1., 2.]])
    """
    k, n, p, s = (
        ntuple(v, 2, name)
        for v, name in (
            (kernel_size, "kernel_size"),
            (dilation, "dilation"),
            (padding, "padding"),
            (stride, "stride"),
        )
    )
    shape = input._meta.shape
    wrap_dim(2, len(shape))
    if len(shape) not in (3, 4) or 0 in shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(shape)}"
        )
    for name, v, low in (("kernel size", k, 1), ("dilation", n, 1), ("stride", s, 1)):
        if min(v) < low:
            raise RuntimeError(
                f"{name} should be greater than zero, but got {name.split()[0]}_"
                f"height: {v[0]} {name.split()[0]}_width: {v[1]}"
            )
    if min(p) < 0:
        raise RuntimeError(
            f"padding should be non-negative, but got pad_height: {p[0]} pad_width: {p[1]}"
        )
    places = [
        (size + 2 * pad - dil * (kern - 1) - 1) // step + 1
        for size, pad, dil, kern, step in zip(shape[-2:], p, n, k, s, strict=True)
    ]
    if min(places) < 1:
        raise RuntimeError(
            f"Given input with spatial size ({shape[-2]}, {shape[-1]}), kernel_size={k}, "
            f"dilation={n}, padding={p}, stride={s}, calculated shape of the array of sliding "
            f"blocks as ({places[0]}, {places[1]}), but its components must be at least one."
        )
    return _patches(input, k, n, p, s)


@function(grad="Col2ImBackward0")
def _unpatches(
    input: Tensor, size: tuple, k: tuple, dilation: tuple, padding: tuple, stride: tuple
) -> Tensor:
    shape = input._meta.shape
    _no_integers("col2im_out_cpu", input)
    x = input if len(shape) == 3 else reshape(input, (1, *shape))
    y = ops.unpatches(
        x, output_size=size, kernel_size=k, dilation=dilation, padding=padding, stride=stride
    )
    return y if x is input else reshape(y, y._meta.shape[1:])


def fold(
    input: Tensor,
    output_size: int | tuple[int, ...],
    kernel_size: int | tuple[int, ...],
    dilation: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    stride: int | tuple[int, ...] = 1,
) -> Tensor:
    """The transpose of ``unfold``: patches that overlap are added.

    >>> fold(tensor([[1.0, 2.0]]), (1, 2), 1)
    tensor([[[1., 2.]]])
    """
    size, k, n, p, s = (
        ntuple(v, 2, name)
        for v, name in (
            (output_size, "output_size"),
            (kernel_size, "kernel_size"),
            (dilation, "dilation"),
            (padding, "padding"),
            (stride, "stride"),
        )
    )
    shape = input._meta.shape
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(shape)}"
        )
    if shape[-2] % math.prod(k):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={shape[-2]} and kernel_size={k}."
        )
    places = math.prod(
        (o + 2 * pad - dil * (kern - 1) - 1) // step + 1
        for o, pad, dil, kern, step in zip(size, p, n, k, s, strict=True)
    )
    if shape[-1] != places:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={k}, dilation={n}, padding={p}, stride={s}, "
            f"expected size of input's dimension 2 to match the calculated number of sliding "
            f"blocks {places}, but got input.size(2)={shape[-1]}."
        )
    return _unpatches(input, size, k, n, p, s)


# --------------------------------------------------------------------------------- shuffles


@function
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """``(..., C r r, H, W)`` to ``(..., C, H r, W r)`` [Shi 2016].

    >>> pixel_shuffle(tensor([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]), 2)
    tensor([[[1., 2.],
             [3., 4.]]])
    """
    shape, r = input._meta.shape, upscale_factor
    if len(shape) < 3:
        raise RuntimeError(
            "pixel_shuffle expects input to have at least 3 dimensions, but got input with "
            f"{len(shape)} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    c, h, w = shape[-3:]
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    lead = math.prod(shape[:-3])
    x = reshape(input, (lead, c // (r * r), r, r, h, w))
    x = ops.permute(x, dims=(0, 1, 4, 2, 5, 3))
    return ops.reshape(x, shape=(*shape[:-3], c // (r * r), h * r, w * r))


@function
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of ``pixel_shuffle``.

    >>> pixel_unshuffle(tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2).shape
    torch.Size([4, 1, 1])
    """
    shape, r = input._meta.shape, downscale_factor
    if len(shape) < 3:
        raise RuntimeError(
            "pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{len(shape)} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    c, h, w = shape[-3:]
    for name, n, at in (("height", h, -2), ("width", w, -1)):
        if n % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({at})={n} is not divisible by {r}"
            )
    lead = math.prod(shape[:-3])
    x = reshape(input, (lead, c, h // r, r, w // r, r))
    x = ops.permute(x, dims=(0, 1, 3, 5, 2, 4))
    return ops.reshape(x, shape=(*shape[:-3], c * r * r, h // r, w // r))


@function
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of ``(N, C, ...)`` interleaved: the first of each group, then the second ...

    >>> channel_shuffle(tensor([[[1], [2], [3], [4]]]), 2)
    tensor([[[1],
             [3],
             [2],
             [4]]])
    """
    shape = input._meta.shape
    if len(shape) < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    n, c = shape[:2]
    if c % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups."
        )
    x = reshape(input, (n, groups, c // groups, *shape[2:]))
    x = ops.permute(x, dims=(0, 2, 1, *range(3, x.dim())))
    return ops.reshape(x, shape=shape)


native_channel_shuffle = channel_shuffle


SAMPLES = {
    "nn.functional.unfold": "image, 2; image, (3, 2), 2, 1; image, kernel_size=2, stride=(2, 1);"
    " image[0], 3, padding=(1, 0); !x, 2; !image, 7; !image, 0; !i, 2",
    "nn.functional.fold": "cube.reshape(1, 4, 6), (4, 3), 2; line, (4, 4), 2;"
    " line[0], (4, 4), (2, 2); image.reshape(2, 4, 30), (7, 6), 2, stride=(1, 1);"
    " line, (6, 6), 2, 1, 0, 2; line, (4, 4), 2, padding=1, stride=2; !line, (5, 5), 2;"
    " !x, (4, 4), 3; !line, (4, 4), (2, 2, 2)",
    "nn.functional.pixel_shuffle": "image, 2; image[0], 2; batch.reshape(1, 8, 2, 2), 2;"
    " i.reshape(4, 1, 3), 2; image, 1; !image, 3; !x, 2; !image, 0",
    "nn.functional.pixel_unshuffle": "batch, 2; batch.reshape(1, 2, 4, 4), 4;"
    " image[:, :, :, :4], 2; !image, 2; !x, 2; !batch, 0",
    "nn.functional.channel_shuffle": "image, 2; line, 4; volume[:, :, :], 1; c.reshape(1, 4, 3), 2;"
    " !image, 3; !image, 0; !v, 2",
    "nn.functional.native_channel_shuffle": "image.detach(), 2; image.detach(), 4; !image, 3",
}
