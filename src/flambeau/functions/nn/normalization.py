"""Normalisation over batches, layers, groups, instances, and neighbouring channels."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes
from flambeau.functions.checks import _need_floats, _tensors
from flambeau.functions.dims import as_int
from flambeau.functions.inplace import assign
from flambeau.functions.nn._common import per_channel, reshape
from flambeau.functions.pointwise import _in_floats
from flambeau.functions.promotion import Number, cast
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """``x * weight + bias``, both ready to broadcast."""
    if weight is not None:
        x = ops.mul(x, cast(weight, x.dtype))
    elif bias is None:
        # Backward needs the standardised values: a write to the result must not be one to them.
        return ops.clone(x)
    return x if bias is None else ops.add(x, cast(bias, x.dtype))


def _wide(x: Tensor) -> Tensor:
    """``x``, 16-bit numbers as float32: normalisation rounds once, at its end."""
    return cast(x, dtypes.float32) if x.dtype.itemsize == 2 else x


def _check_row(name: str, row: Tensor | None, channels: int) -> None:
    if row is not None and row.numel() != channels:
        raise RuntimeError(f"{name} should contain {channels} elements not {row.numel()}")


def _check_kinds(input: Tensor, *rows: Tensor | None) -> None:
    """Refuses parameters of another dtype than the input's; float32 ones go with 16 bits, too."""
    for row in rows:
        if row is not None and row.dtype is not input.dtype:
            if row.dtype is not dtypes.float32 or input.dtype.itemsize != 2:
                raise RuntimeError(
                    f"mixed dtype (CPU): the input is {input.dtype}, a parameter {row.dtype}"
                )


def _moved(running: Tensor, value: Tensor, momentum: Number) -> None:
    """``running`` goes ``momentum`` of the way to ``value``, without history."""
    value = cast(ops.detach(value), running.dtype)
    kept = ops.mul(running, 1.0 - momentum)
    assign(running, ops.add(kept, ops.mul(value, momentum)))


def _statistics(x: Tensor) -> tuple[tuple[int, ...], int]:
    """The dimensions that batch statistics go over, and how many elements those are."""
    shape = x._meta.shape
    dims = (0, *range(2, len(shape)))
    return dims, math.prod(shape[d] for d in dims)


def _by_batch(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: Number,
    eps: Number,
) -> tuple[Tensor, Tensor, Tensor]:
    """The normalised batch, its mean and its variance; the running statistics are moved."""
    _need_floats("batch_norm", input)
    _check_kinds(input, running_mean, running_var, weight, bias)
    ndim, channels = input.dim(), input._meta.shape[1]
    dims, count = _statistics(input)
    if not count or not channels:
        # Nothing to learn statistics from.
        running_mean = running_var = None
    y, mean, variance = ops.standardize(_wide(input), eps, dims=dims)
    if running_mean is not None:
        _moved(running_mean, reshape(mean, (channels,)), momentum)
    if running_var is not None:
        unbiased = ops.mul(reshape(variance, (channels,)), count / max(count - 1, 1))
        _moved(running_var, unbiased, momentum)
    result = _affine(
        y,
        None if weight is None else per_channel(weight, ndim),
        None if bias is None else per_channel(bias, ndim),
    )
    return cast(result, input.dtype), mean, variance


@function(grad="NativeBatchNormBackward0", whole=True)
def _batch_norm_of_batch(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: Number,
    eps: Number,
) -> Tensor:
    return _by_batch(input, running_mean, running_var, weight, bias, momentum, eps)[0]


@function(grad="NativeBatchNormBackward0", whole=True)
def _batch_norm_of_running(
    input: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: Number,
) -> Tensor:
    _need_floats("batch_norm", input)
    _check_kinds(input, running_mean, running_var, weight, bias)
    ndim, x = input.dim(), _wide(input)
    mean, variance = cast(running_mean, x.dtype), cast(running_var, x.dtype)
    scale = ops.rsqrt(ops.add(variance, eps))
    if weight is not None:
        scale = ops.mul(scale, cast(weight, x.dtype))
    shift = ops.neg(ops.mul(mean, scale))
    if bias is not None:
        shift = ops.add(shift, cast(bias, x.dtype))
    y = ops.add(ops.mul(x, per_channel(scale, ndim)), per_channel(shift, ndim))
    return cast(y, input.dtype)


@_tensors
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    r""":math:`\gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta` by channel [Ioffe 2015].

    In training the statistics are the batch's, and the running ones move ``momentum`` of the way
    to them (with the unbiased variance), in place. Shapes: ``(N, C, ...)``. Raises
    ``ValueError`` for a negative ``eps``, and in training for one of zero or one value a channel.

    >>> batch_norm(tensor([[1.0], [3.0]]), None, None, training=True)
    tensor([[-1.0000],
            [ 1.0000]])
    """
    shape = input._meta.shape
    if len(shape) < 2:
        if training and len(shape) < 2:
            _check_several(shape)
        if shape != (0,):
            raise RuntimeError(f"batch_norm: expected at least 2 dimensions, got {len(shape)}")
        return _unchanged(input)
    channels = shape[1]
    if training:
        _check_several(shape)
    for name, row in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        _check_row(name, row, channels)
    if eps < 0 or (training and not eps):
        wanted = "positive during training" if training else "non-negative"
        raise ValueError(f"batch_norm eps must be {wanted}, but got {eps}")
    if training:
        return _batch_norm_of_batch(
            input, running_mean, running_var, weight, bias, float(momentum), float(eps)
        )
    if running_mean is None or running_var is None:
        missing = "running_mean" if running_mean is None else "running_var"
        raise RuntimeError(f"{missing} must be defined in evaluation mode")
    return _batch_norm_of_running(input, running_mean, running_var, weight, bias, float(eps))


@function(grad="NativeBatchNormBackward0")
def _unchanged(input: Tensor) -> Tensor:
    return ops.mul(input, 1.0)


def _check_several(shape: tuple[int, ...]) -> None:
    from flambeau.tensor import Size

    if shape and math.prod(shape[:1]) * math.prod(shape[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {Size(shape)}"
        )


def _by_layer(
    input: Tensor, shape: tuple, weight: Tensor | None, bias: Tensor | None, eps: Number
) -> tuple[Tensor, Tensor, Tensor]:
    """The normalised rows, their means and their variances."""
    _need_floats("LayerNormKernelImpl", input)
    _check_kinds(input, weight, bias)
    dims = tuple(range(input.dim() - len(shape), input.dim()))
    y, mean, variance = ops.standardize(_wide(input), eps, dims=dims)
    return cast(_affine(y, weight, bias), input.dtype), mean, variance


@function(grad="NativeLayerNormBackward0", whole=True)
def _layer_norm(
    input: Tensor, shape: tuple, weight: Tensor | None, bias: Tensor | None, eps: Number
) -> Tensor:
    return _by_layer(input, shape, weight, bias, eps)[0]


def _normal_shape(input: Tensor, normalized_shape: Any, *rows: tuple[str, Any]) -> tuple[int, ...]:
    if isinstance(normalized_shape, int):
        raise TypeError(
            "layer_norm(): argument 'normalized_shape' (position 2) must be tuple of ints, not int"
        )
    shape = tuple(as_int(n, "normalized_shape") for n in normalized_shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least "
            "one element, but got normalized_shape = []"
        )
    for name, row in rows:
        if row is not None and row._meta.shape != shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of "
                f"shape {list(row._meta.shape)} and normalized_shape = {list(shape)}"
            )
    given = input._meta.shape
    if given[len(given) - len(shape) :] != shape or len(given) < len(shape):
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape "
            f"[*, {', '.join(map(str, shape))}], but got input of size{list(given)}"
        )
    return shape


@_tensors
def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r""":math:`\gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta` over the last dimensions.

    Raises ``RuntimeError`` if those are not ``normalized_shape``.

    >>> layer_norm(tensor([[1.0, 3.0]]), (2,))
    tensor([[-1.0000,  1.0000]])
    """
    shape = _normal_shape(input, normalized_shape, ("weight", weight), ("bias", bias))
    return _layer_norm(input, shape, weight, bias, float(eps))


# Elements of a channel from which on its own weight is applied to whole vectors.
_LONG = 64


def _by_group(
    input: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: Number
) -> tuple[Tensor, Tensor, Tensor]:
    """The normalised groups, their means and their variances."""
    _need_floats("GroupNormKernelImpl", input)
    _check_kinds(input, weight, bias)
    shape = input._meta.shape
    n, c = shape[:2]
    inner = math.prod(shape[2:])
    # Long channels are told apart: then one nest of the compiler does all of it.
    apart = inner >= _LONG and not (weight is None and bias is None)
    parts = (c // groups, inner) if apart else (c // groups * inner,)
    rows = reshape(input, (n, groups, *parts))
    dims = tuple(range(2, 2 + len(parts)))
    y, mean, variance = ops.standardize(_wide(rows), eps, dims=dims)
    each = (groups, c // groups, 1) if apart else (c, *(1,) * (len(shape) - 2))
    result = _affine(
        y if apart else reshape(y, shape),
        None if weight is None else ops.reshape(weight, shape=each),
        None if bias is None else ops.reshape(bias, shape=each),
    )
    return cast(reshape(result, shape), input.dtype), mean, variance


@function(grad="NativeGroupNormBackward0")
def _group_norm(
    input: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: Number
) -> Tensor:
    return _by_group(input, groups, weight, bias, eps)[0]


@_tensors
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises groups of channels of ``(N, C, ...)`` [Wu 2018].

    Raises ``RuntimeError`` unless the channels divide evenly.

    >>> group_norm(tensor([[1.0, 3.0]]), 1)
    tensor([[-1.0000,  1.0000]])
    """
    shape = input._meta.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {len(shape)}"
        )
    if num_groups == 0:
        raise ZeroDivisionError("integer division or modulo by zero")
    if num_groups < 0 or shape[1] % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(shape)} and num_groups={num_groups}"
            if num_groups > 0
            else f"Expected num groups to be greater than 0, got {num_groups}"
        )
    if math.prod((shape[0] * shape[1] // num_groups, *shape[2:])) == 1:
        _check_several((shape[0] * shape[1] // num_groups, num_groups, *shape[2:]))
    for name, row in (("weight", weight), ("bias", bias)):
        if row is not None and row._meta.shape != (shape[1],):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, "
                f"but got {name} of shape {list(row._meta.shape)} and input of shape {list(shape)}"
            )
    return _group_norm(input, num_groups, weight, bias, float(eps))


@function(grad="ViewBackward0", whole=True)
def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: Number,
    eps: Number,
) -> Tensor:
    shape = input._meta.shape
    n, c = shape[:2]
    _need_floats("batch_norm", input)
    _check_kinds(input, running_mean, running_var, weight, bias)
    count = math.prod(shape[2:])
    y, mean, variance = ops.standardize(_wide(input), eps, dims=tuple(range(2, len(shape))))

    def over_batch(v: Tensor, scale: float) -> Tensor:
        rows = ops.sum(reshape(v, (n, c)), dims=(0,), keepdim=False)
        return ops.mul(rows, scale / n)

    if running_mean is not None:
        _moved(running_mean, over_batch(mean, 1.0), momentum)
    if running_var is not None:
        _moved(running_var, over_batch(variance, count / max(count - 1, 1)), momentum)
    result = _affine(
        y,
        None if weight is None else per_channel(weight, len(shape)),
        None if bias is None else per_channel(bias, len(shape)),
    )
    return cast(result, input.dtype)


@_tensors
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises each channel of each sample of ``(N, C, ...)`` [Ulyanov 2016].

    Without ``use_input_stats`` the running statistics are used. Raises ``ValueError`` for one
    value a channel.

    >>> instance_norm(tensor([[[1.0, 3.0]]]))
    tensor([[[-1.0000,  1.0000]]])
    """
    shape = input._meta.shape
    if use_input_stats:
        if len(shape) > 1 and math.prod(shape[2:]) == 1:
            from flambeau.tensor import Size

            raise ValueError(
                f"Expected more than 1 spatial element when training, got input size {Size(shape)}"
            )
    if len(shape) < 2:
        raise RuntimeError(f"instance_norm: expected at least 2 dimensions, got {len(shape)}")
    for name, row in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        _check_row(name, row, shape[1])
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "Expected running_mean and running_var to be defined when use_input_stats is false"
            )
        return _batch_norm_of_running(input, running_mean, running_var, weight, bias, float(eps))
    return _instance_norm(
        input, running_mean, running_var, weight, bias, float(momentum), float(eps)
    )


@function(grad="FusedRmsNormBackward0")
def _rms_norm(input: Tensor, shape: tuple, weight: Tensor | None, eps: Number) -> Tensor:
    ndim = input.dim()
    dtype = input.dtype
    x = _wide(input)
    total = ops.sum(ops.square(x), dims=tuple(range(ndim - len(shape), ndim)), keepdim=True)
    scale = ops.rsqrt(ops.add(ops.div(total, float(max(math.prod(shape), 1))), eps))
    y = ops.mul(x, scale)
    if weight is not None:
        y = ops.mul(y, cast(weight, y.dtype))
    return cast(y, dtype)


def rms_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    r""":math:`\gamma x / \sqrt{\overline{x^2} + \epsilon}` over the last dimensions.

    ``eps`` defaults to the machine epsilon of the dtype it is computed in (float32 for 16 bits).

    >>> rms_norm(tensor([[3.0, 4.0]]), (2,))
    tensor([[0.8485, 1.1314]])
    """
    shape = _normal_shape(input, normalized_shape, ("weight", weight))
    _need_floats("rms_norm", input, complex_too=True)
    if eps is None:
        eps = _EPSILON[input._meta.dtype.name]
    return _rms_norm(input, shape, weight, float(eps))


_EPSILON = {
    "float16": 2.0**-23, "bfloat16": 2.0**-23, "float32": 2.0**-23, "float64": 2.0**-52,
    "complex64": 2.0**-23, "complex128": 2.0**-52,
}  # fmt: skip


@function(grad="DivBackward0")
def _local_response(input: Tensor, size: int, alpha: Number, beta: float, k: Number) -> Tensor:
    shape = input._meta.shape
    _need_floats("avg_pool3d_out_frame", input, also=(dtypes.int64,))
    n, c = shape[:2]
    squares = reshape(ops.square(input), (n, c, math.prod(shape[2:])))
    squares = ops.pad(squares, 0.0, pads=((0, 0), (size // 2, (size - 1) // 2), (0, 0)))
    rows = ops.permute(squares, dims=(0, 2, 1))
    mean = ops.avg_pool(
        rows,
        kernel_size=(size,),
        stride=(1,),
        padding=(0,),
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    )
    mean = reshape(ops.permute(mean, dims=(0, 2, 1)), shape)
    scale = ops.pow(ops.add(ops.mul(_in_floats(mean), alpha), k), float(beta))
    return ops.div(_in_floats(input), scale)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    r""":math:`x / (k + \alpha\,\overline{x^2})^\beta` over ``size`` neighbouring channels.

    >>> local_response_norm(tensor([[[1.0]]]), 1, 1.0, 1.0)
    tensor([[[0.5000]]])
    """
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)"
        )
    if input.numel() == 0:
        return input
    return _local_response(input, size, float(alpha), float(beta), float(k))


SAMPLES = {
    "nn.functional.batch_norm": "x, None, None, training=True;"
    " image, v.detach() * 1, w.detach().abs(); line, v.detach() * 1, w.detach().abs(), w, v, True;"
    " x, v.detach() * 1, w.detach().abs(), w, v, True, 0.5, 0.1;"
    " volume, None, None, v[:2], w[:2], True; x, v.detach(), w.detach().abs(), bias=w;"
    " !x, None, None; !x, u, u; !row, None, None, training=True; !x, None, None, u, None, True",
    "nn.functional.layer_norm": "x, (4,); cube, (3, 4); x, [4], v; x, (4,), v, w, 0.1;"
    " cube, [4], bias=w; !x, 4; x, x.shape, y, z; empty, (4,), v, w; half, (4,); !x, (5,);"
    " !x, (4,), u; !x, (); !i, (4,)",
    "nn.functional.group_norm": "line, 2; image, 4, v, w; x, 2, v; volume, 1, eps=0.1; !line, 3;"
    " !v, 1; !line, 2, u; !line, 0",
    "nn.functional.instance_norm": "line; image, weight=v, bias=w;"
    " line, v.detach() * 1, w.detach().abs(), momentum=0.5;"
    " image, v.detach() * 1, w.detach().abs(), v, w, False; volume, eps=0.1; !image[:, :, :1, :1];"
    " !line, use_input_stats=False; !x; !line, weight=u",
    "nn.functional.rms_norm": "x, (4,); cube, (3, 4); x, [4], v; x, (4,), v, 0.1; half, (4,);"
    " empty, (4,); c, (4,); !x, (5,); !x, (4,), u; !x, ()",
    "nn.functional.local_response_norm": "line, 2; image, 3; image, 2, alpha=0.5, beta=0.5, k=2.0;"
    " volume, 1, 1.0; image, 5, 0.1; !x, 2; !v, 2",
}
