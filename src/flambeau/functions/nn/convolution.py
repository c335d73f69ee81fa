"""Convolutions and transposed convolutions in one to three dimensions."""

from __future__ import annotations

from typing import Any

from flambeau.functions.checks import _tensors
from flambeau.functions.nn._common import ntuple, per_channel, reshape
from flambeau.functions.precision import lowered
from flambeau.functions.precision import wide as _wide
from flambeau.functions.promotion import cast
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _kind(x: Tensor) -> str:
    from flambeau.functions.arithmetic import _c_name

    return {"long long": "long int"}.get(_c_name(x), _c_name(x))


def _check(input: Tensor, weight: Tensor, bias: Tensor | None, d: int, name: str) -> None:
    x, w = input._meta.shape, weight._meta.shape
    if len(x) not in (d + 1, d + 2):
        raise RuntimeError(
            f"Expected {d + 1}D (unbatched) or {d + 2}D (batched) input to {name}, but got input "
            f"of size: {list(x)}"
        )
    if len(w) != d + 2:
        raise RuntimeError(
            "weight should have at least three dimensions"
            if len(w) < 3
            else f"Expected {len(w)}-dimensional input for {len(w)}-dimensional weight {list(w)}, "
            f"but got {len(x)}-dimensional input of size {list(x)} instead"
        )
    odd_weight = weight.dtype is not input.dtype
    odd_bias = bias is not None and bias.dtype is not input.dtype
    if odd_bias and not (odd_weight and "transpose" in name):
        raise RuntimeError(
            f"Input type ({_kind(input)}) and bias type ({_kind(bias)}) should be the same"
        )
    if odd_weight:
        from flambeau.functions.inplace import title

        raise RuntimeError(
            f"expected scalar type {title(input.dtype)} but found {title(weight.dtype)}"
        )


def _check_numbers(stride: tuple, padding: tuple, dilation: tuple, groups: int) -> None:
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if any(p < 0 for p in padding):
        raise RuntimeError("negative padding is not supported")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        raise RuntimeError("dilation should be greater than zero")


def _sizes(value: Any, d: int, what: str) -> tuple[int, ...]:
    """``d`` integers; ``RuntimeError`` in the words of PyTorch's convolutions."""
    if isinstance(value, (tuple, list)) and len(value) not in (1, d):
        raise RuntimeError(
            f"expected {what} to be a single integer value or a list of {d} values to match the "
            f"convolution dimensions, but got {what}={list(value)}"
        )
    return ntuple(value, d, what)


def _convolved(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple,
    padding: Any,
    dilation: tuple,
    groups: int,
    name: str,
) -> Tensor:
    input, weight, bias = lowered(input, weight, bias)
    d = len(stride)
    _check(input, weight, bias, d, name)
    shape, w = input._meta.shape, weight._meta.shape
    x = input if len(shape) == d + 2 else reshape(input, (1, *shape))
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise RuntimeError(f"Invalid padding string: '{padding}'")
        if padding == "valid":
            pads = ((0, 0),) * d
        else:
            if any(s != 1 for s in stride):
                raise RuntimeError("padding='same' is not supported for strided convolutions")
            around = [n * (k - 1) for n, k in zip(dilation, w[2:], strict=True)]
            pads = tuple((a // 2, a - a // 2) for a in around)
    else:
        pads = tuple((p, p) for p in padding)
    _check_numbers(stride, tuple(p for p, _ in pads), dilation, groups)
    if w[0] % groups or w[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {list(w)} instead"
            if w[0] >= groups
            else f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, "
            f"but got weight of size {list(w)} instead"
        )
    if x._meta.shape[1] != w[1] * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(w)}, expected input{list(shape)} to "
            f"have {w[1] * groups} channels, but got {x._meta.shape[1]} channels instead"
        )
    if bias is not None and bias._meta.shape != (w[0],):
        raise RuntimeError(
            f"Given weight of size {list(w)}, expected bias to be 1-dimensional with {w[0]} "
            f"elements, but got bias of size {list(bias._meta.shape)} instead"
        )
    padded = [n + a + b for n, (a, b) in zip(x._meta.shape[2:], pads, strict=True)]
    reach = [n * (k - 1) + 1 for n, k in zip(dilation, w[2:], strict=True)]
    if any(n < r for n, r in zip(padded, reach, strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel "
            f"size: ({' x '.join(map(str, reach))}). Kernel size can't be greater than actual "
            "input size"
        )
    x, weight, bias = _exact(x, weight, bias)
    y = ops.convolution(x, weight, stride=stride, padding=pads, dilation=dilation, groups=groups)
    return _finished(y, bias, input)


def _exact(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Of 16 bits the sums are not rounded before a bias is added."""
    return (x, weight, None) if bias is None else _wide(x, weight, bias)


def _finished(y: Tensor, bias: Tensor | None, input: Tensor) -> Tensor:
    """With the bias, in the dtype and as many dimensions as ``input``."""
    if bias is not None:
        y = cast(ops.add(y, per_channel(bias, y.dim())), input.dtype)
    return y if y.dim() == input.dim() else reshape(y, y._meta.shape[1:])


@function(grad="ConvolutionBackward0", whole=True)
def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple,
    padding: Any,
    dilation: tuple,
    groups: int,
    name: str,
) -> Tensor:
    return _convolved(input, weight, bias, stride, padding, dilation, groups, name)


@function(grad="SqueezeBackward1", whole=True)
def _convolution_unbatched(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple,
    padding: Any,
    dilation: tuple,
    groups: int,
    name: str,
) -> Tensor:
    return _convolved(input, weight, bias, stride, padding, dilation, groups, name)


def _conv(
    d: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    f = _convolution if len(input._meta.shape) != d + 1 else _convolution_unbatched
    return f(
        input,
        weight,
        bias,
        _sizes(stride, d, "stride"),
        padding if isinstance(padding, str) else _sizes(padding, d, "padding"),
        _sizes(dilation, d, "dilation"),
        groups,
        f"conv{d}d",
    )


@_tensors
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    r"""Cross-correlation of ``(N, C, L)`` with kernels ``(O, C / groups, K)``.

    ``padding`` is zeros on both sides, "valid" for none or "same" to keep the size.
    Raises ``RuntimeError`` if sizes or dtypes do not fit.

    >>> conv1d(tensor([[[1.0, 2.0, 3.0]]]), tensor([[[1.0, 1.0]]]))
    tensor([[[3., 5.]]])
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


@_tensors
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    r"""Cross-correlation of ``(N, C, H, W)`` with kernels ``(O, C / groups, KH, KW)``.

    .. math:: y_{n,o,p} = b_o + \sum_{c,k} w_{o,c,k}\, x_{n,c,\,s p + d k - \mathrm{pad}}

    See ``conv1d``.

    >>> conv2d(tensor([[[[1.0, 2.0]]]]), tensor([[[[1.0, 1.0]]]]))
    tensor([[[[3.]]]])
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


@_tensors
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of ``(N, C, D, H, W)`` with kernels; see ``conv1d``.

    >>> conv3d(tensor([[[[[1.0, 2.0]]]]]), tensor([[[[[1.0, 1.0]]]]]))
    tensor([[[[[3.]]]]])
    """
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


# ------------------------------------------------------------------------------ transposed


@function(grad="ConvolutionBackward0", whole=True)
def _transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple,
    padding: tuple,
    output_padding: tuple,
    groups: int,
    dilation: tuple,
    name: str,
) -> Tensor:
    input, weight, bias = lowered(input, weight, bias)
    d = len(stride)
    _check(input, weight, bias, d, name)
    _check_numbers(stride, padding, dilation, groups)
    shape, w = input._meta.shape, weight._meta.shape
    x = input if len(shape) == d + 2 else reshape(input, (1, *shape))
    if x._meta.shape[1] != w[0]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(w)}, expected input{list(shape)} to have "
            f"{w[0]} channels, but got {x._meta.shape[1]} channels instead"
        )
    outputs = w[1] * groups
    if bias is not None and bias._meta.shape != (outputs,):
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(w)}, expected bias to be 1-dimensional "
            f"with {outputs} elements, but got bias of size {list(bias._meta.shape)} instead"
        )
    for o, s, n in zip(output_padding, stride, dilation, strict=True):
        if o < 0:
            raise RuntimeError("negative output_padding is not supported")
        if o >= s and o >= n:
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation, but got "
                f"output_padding: {o}, stride: {s}, dilation: {n}"
            )
    size = tuple(
        (n - 1) * s - 2 * p + dil * (k - 1) + o + 1
        for n, s, p, dil, k, o in zip(
            x._meta.shape[2:], stride, padding, dilation, w[2:], output_padding, strict=True
        )
    )
    if any(n < 0 for n in size):
        raise RuntimeError(
            f"Given input size per channel: ({' x '.join(map(str, x._meta.shape[2:]))}). "
            f"Calculated output size per channel: ({' x '.join(map(str, size))}). Output size is "
            "too small"
        )
    x, weight, bias = _exact(x, weight, bias)
    y = ops.convolution_input_gradient(
        x,
        weight,
        input_size=size,
        stride=stride,
        padding=tuple((p, p - o) for p, o in zip(padding, output_padding, strict=True)),
        dilation=dilation,
        groups=groups,
    )
    return _finished(y, bias, input)


def _conv_transpose(
    d: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    return _transposed(
        input,
        weight,
        bias,
        _sizes(stride, d, "stride"),
        _sizes(padding, d, "padding"),
        _sizes(output_padding, d, "output_padding"),
        groups,
        _sizes(dilation, d, "dilation"),
        f"conv_transpose{d}d",
    )


@_tensors
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> Tensor:
    """The transpose of ``conv1d``: ``(N, C, L)`` with kernels ``(C, O / groups, K)``.

    ``output_padding`` adds to the size of the result on one side.

    >>> conv_transpose1d(tensor([[[1.0, 2.0]]]), tensor([[[1.0, 1.0]]]))
    tensor([[[1., 3., 2.]]])
    """
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@_tensors
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> Tensor:
    """The transpose of ``conv2d``; see ``conv_transpose1d``.

    >>> conv_transpose2d(tensor([[[[1.0, 2.0]]]]), tensor([[[[1.0, 1.0]]]]))
    tensor([[[[1., 3., 2.]]]])
    """
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@_tensors
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> Tensor:
    """The transpose of ``conv3d``; see ``conv_transpose1d``.

    >>> conv_transpose3d(tensor([[[[[1.0, 2.0]]]]]), tensor([[[[[1.0, 1.0]]]]]))
    tensor([[[[[1., 3., 2.]]]]])
    """
    return _conv_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@function(grad="ConvTbcBackward0")
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """``conv1d`` of ``(T, B, C)`` with kernels ``(K, C, O)``; the result is ``(T', B, O)``.

    >>> conv_tbc(tensor([[[1.0]], [[2.0]]]), tensor([[[1.0]], [[1.0]]]), tensor([0.0]))
    tensor([[[3.]]])
    """
    if input.dim() != 3 or weight.dim() != 3 or bias.dim() != 1:
        raise RuntimeError(
            "Input must have 3 dims: time, batch, in_channel"
            if input.dim() != 3
            else "Weight tensor must have 3 dims: kernel_width, in_channels, out_channels."
            if weight.dim() != 3
            else "Bias must be 1-D"
        )
    x = ops.permute(input, dims=(1, 2, 0))
    w = ops.permute(weight, dims=(2, 1, 0))
    y = _convolved(x, w, bias, (1,), (pad,), (1,), 1, "conv1d")
    return ops.permute(y, dims=(2, 0, 1))


SAMPLES = {
    "nn.functional.conv1d": "line, batch; line, batch[:1, :, :3], s[None];"
    " line, batch, v[:2], 2, 1; line, batch[:, :2], v[:2], 2, 1, groups=2;"
    " line, batch[:, :, :2], padding='same', dilation=3;"
    " line, cube.mT[:, :, :3].reshape(6, 4, 1), padding='valid'; line, batch[:, :2], groups=2;"
    " line[0], batch; line, batch, stride=(3,), padding=(2,); line[:0], batch;"
    " c.reshape(1, 4, 3), cm.reshape(2, 4, 2); !line, cube; !line, batch, u;"
    " !line, batch, stride=0; !line, batch, padding='full'; !line, batch, groups=3; !x, m;"
    " !line, batch.double(); !line, batch, padding=-1; !line[:, :, :2], batch",
    "nn.functional.conv2d": "image, batch[:, :, :2, None].expand(2, 4, 2, 3);"
    " image, image[:, :, :3, :2], v[:2], 2, 1; image, image[:, :, :3, :2], padding='same';"
    " image, image[:, :2, :2, :3], groups=2; image, image[:, :1].reshape(2, 1, 5, 6)[:, :, :2,"
    " :2].repeat(4, 1, 1, 1), groups=4, padding=(1, 0), dilation=(1, 2);"
    " image[0], image[:, :, :1, :1]; image, image[:, :, :3, :2], padding='same', dilation=2;"
    " image, image[:, :1, :3, :3].repeat(4, 1, 1, 1), None, 2, 1, 1, 4;"
    " image, image[:, :, :2, :2], stride=(2, 1), padding='valid', dilation=2; !image, image[:, :3];"
    " !image, image, padding='same', stride=2; !image, image[:, :, :2, :2], u; !x, image;"
    " !image, image[:, :, :2, :2], dilation=0; !image, batch",
    "nn.functional.conv3d": "volume, volume[:, :, :2, :2, :2];"
    " volume, volume[:, :, :2, :2, :2].repeat(4, 1, 1, 1, 1), v, (2, 1, 1), (0, 1, 2);"
    " volume, volume[:, :1, :3, :1, :2].repeat(2, 1, 1, 1, 1), groups=2, padding='same';"
    " volume[0], volume[:, :, :2, :2, :3], dilation=(2, 1, 2); !volume, image;"
    " !volume, volume[:, :1]; !volume, volume, stride=-1",
    "nn.functional.conv_transpose1d": "line, batch.mT.reshape(4, 2, 4);"
    " line, batch.reshape(4, 2, 4), v[:2], 2, 1, 1;"
    " line, batch.reshape(4, 2, 4), groups=2, dilation=2;"
    " line[0], batch.reshape(4, 2, 4), padding=2; !line, batch;"
    " !line, batch.reshape(4, 2, 4), stride=2, output_padding=2; !line, batch.reshape(4, 2, 4), u;"
    " !line, batch.reshape(4, 2, 4), padding='same'",
    "nn.functional.conv_transpose2d": "image, batch.reshape(4, 2, 2, 2);"
    " image, batch.reshape(4, 2, 2, 2), v[:2], (2, 1), (1, 0), (1, 0);"
    " image, batch.reshape(4, 1, 4, 2), groups=4, dilation=(1, 2);"
    " image[0], batch.reshape(4, 2, 4, 1), padding=1; !image, image; !x, image;"
    " !image, batch.reshape(4, 2, 2, 2), None, 1, 0, 1",
    "nn.functional.conv_transpose3d": "volume, batch.reshape(2, 2, 2, 2, 2);"
    " volume, batch.reshape(2, 1, 2, 4, 2), v[:2], 2, (1, 0, 1), 1, groups=2;"
    " volume[0], batch.reshape(2, 2, 1, 4, 2), dilation=(1, 1, 2); !volume, volume.mT;"
    " !volume, batch.reshape(2, 2, 2, 2, 2), u",
    "nn.functional.conv_tbc": "sequence, batch.reshape(2, 4, 4), v; sequence, cube.mT, u, 1;"
    " !sequence, m, v; !x, batch, v",
}
