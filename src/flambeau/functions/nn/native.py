"""PyTorch's lower-level names: norms that give their statistics, sampling by numbered modes."""

from __future__ import annotations

from typing import Any

from flambeau.functions import creation as _creation
from flambeau.functions import inplace as _inplace
from flambeau.functions.checks import _tensors
from flambeau.functions.nn import _common, resampling
from flambeau.functions.nn import normalization as _norm
from flambeau.functions.promotion import Number, cast
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def _statistics(
    input: Tensor, weight: Tensor | None, mean: Tensor, variance: Tensor, eps: Number, size: tuple
) -> tuple[Tensor, Tensor]:
    """The mean and the reciprocal of the standard deviation, in the dtype of the parameters."""
    dtype = input.dtype if weight is None else weight.dtype
    scale = ops.rsqrt(ops.add(variance, eps))
    return cast(_common.reshape(mean, size), dtype), cast(_common.reshape(scale, size), dtype)


@function(grad="NativeLayerNormBackward0", whole=True)
def _native_layer_norm(
    input: Tensor, shape: tuple, weight: Tensor | None, bias: Tensor | None, eps: Number
) -> Any:
    y, mean, variance = _norm._by_layer(input, shape, weight, bias, eps)
    size = mean._meta.shape
    mean, scale = _statistics(input, weight, mean, variance, eps, size)
    return y, ops.detach(mean), ops.detach(scale)


@_tensors
def native_layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    r"""``layer_norm``, the mean, and :math:`1 / \sqrt{\sigma^2 + \epsilon}`.

    Shapes: the last two have size 1 in the dimensions normalised. They have no history. Raises
    ``RuntimeError`` as ``layer_norm`` does.

    >>> torch.native_layer_norm(tensor([[1.0, 3.0]]), (2,), None, None, 0.0)
    (tensor([[-1.,  1.]]), tensor([[2.]]), tensor([[1.]]))
    """
    shape = _norm._normal_shape(input, normalized_shape, ("weight", weight), ("bias", bias))
    return _native_layer_norm(input, shape, weight, bias, float(eps))


@function(grad="NativeGroupNormBackward0")
def _native_group_norm(
    input: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: Number
) -> Any:
    y, mean, variance = _norm._by_group(input, groups, weight, bias, eps)
    return y, *_statistics(input, weight, mean, variance, eps, (input._meta.shape[0], groups))


@_tensors
def native_group_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""``group_norm`` of ``(N, C, ...)``, the mean, and :math:`1 / \sqrt{\sigma^2 + \epsilon}`.

    Shapes: the last two are ``(N, group)``. Raises ``RuntimeError`` unless
    ``C`` divides into groups and the sizes are the input's.

    >>> torch.native_group_norm(tensor([[1.0, 3.0]]), None, None, 1, 2, 1, 1, 0.0)
    (tensor([[-1.,  1.]]), tensor([[2.]]), tensor([[1.]]))
    """
    if input.numel() != N * C * HxW:
        raise RuntimeError(
            f"native_group_norm: {N} * {C} * {HxW} elements (N * C * HxW) were announced, but the "
            f"input has shape {list(input.shape)}"
        )
    if group <= 0 or C % group:
        # In its words.
        _norm.group_norm(input, group, weight, bias, eps)
    return _native_group_norm(input, int(group), weight, bias, float(eps))


@function(grad="NativeBatchNormBackward0", whole=True)
def _native_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: Number,
    eps: Number,
) -> Any:
    y, mean, variance = _norm._by_batch(
        input, running_mean, running_var, weight, bias, momentum, eps
    )
    size = (input._meta.shape[1],)
    mean, scale = _statistics(input, weight, mean, variance, eps, size)
    return y, ops.detach(mean), ops.detach(scale)


@_tensors
def native_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    out: Any = None,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""``batch_norm``, the batch's mean, and :math:`1 / \sqrt{\sigma^2 + \epsilon}` by channel.

    The last two are empty unless ``training``, and have no history. Raises ``RuntimeError`` if the
    running statistics are missing where they are used.

    >>> torch.native_batch_norm(tensor([[1.0], [3.0]]), None, None, None, None, True, 0.1, 0.0)
    (tensor([[-1.],
            [ 1.]]), tensor([2.]), tensor([1.]))
    """
    if training:
        result = _native_batch_norm(
            input, running_mean, running_var, weight, bias, float(momentum), float(eps)
        )
    else:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "native_batch_norm: running_mean and running_var must be given unless training"
            )
        y = _norm._batch_norm_of_running(input, running_mean, running_var, weight, bias, float(eps))
        result = (y, _creation.empty(0, dtype=input.dtype), _creation.empty(0, dtype=input.dtype))
    if out is None:
        return result
    return _inplace.write_out(out, result, "native_batch_norm", (input, weight, bias))


def _named(names: tuple[str, ...], number: int, what: str) -> str:
    if not 0 <= number < len(names):
        raise RuntimeError(f"grid_sampler(): {what} is one of 0 to {len(names) - 1}, not {number}")
    return names[number]


def grid_sampler(
    input: Tensor,
    grid: Tensor,
    interpolation_mode: int,
    padding_mode: int,
    align_corners: bool,
) -> Tensor:
    """``grid_sample`` with modes as numbers, in the order in which it names them.

    >>> torch.grid_sampler(tensor([[[[1.0, 3.0]]]]), tensor([[[[0.0, 0.0]]]]), 0, 0, False)
    tensor([[[[2.]]]])
    """
    mode = _named(_MODES, interpolation_mode, "interpolation_mode")
    padding = _named(_PADDINGS, padding_mode, "padding_mode")
    return resampling.grid_sample(input, grid, mode, padding, align_corners)


def _of_rank(rank: int, input: Tensor, grid: Tensor, *modes: Any) -> Tensor:
    if input.dim() != rank:
        raise RuntimeError(
            f"grid_sampler_{rank - 2}d(): expected {rank}-dimensional input and grid, but got "
            f"input with sizes {list(input.shape)}"
        )
    return grid_sampler(input, grid, *modes)


def grid_sampler_2d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """``grid_sampler`` of images: ``(N, C, H, W)``."""
    return _of_rank(4, input, grid, interpolation_mode, padding_mode, align_corners)


def grid_sampler_3d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """``grid_sampler`` of volumes: ``(N, C, D, H, W)``."""
    return _of_rank(5, input, grid, interpolation_mode, padding_mode, align_corners)


SAMPLES = {
    "native_layer_norm": "x, (4,), v, w, 1e-5; cube, (3, 4), None, None, 0.1;"
    " cube, [4], w, None, 1e-5; !x, (5,), None, None, 1e-5; !x, (4,), u, None, 1e-5",
    "native_group_norm": "line, v, w, 2, 4, 9, 2, 1e-5; line, None, None, 2, 4, 9, 4, 0.1;"
    " image, v, None, 2, 4, 30, 1, 1e-5; !line, v, w, 2, 4, 9, 3, 1e-5",
    "native_batch_norm": "x, v, w, None, None, True, 0.1, 1e-5;"
    " image, None, None, v.detach() * 1, w.detach().abs(), False, 0.1, 1e-5;"
    " line, v, w, v.detach() * 1, w.detach().abs(), True, 0.5, 0.1",
    "grid_sampler": "image, unit.reshape(2, 1, 3, 2), 0, 0, False;"
    " image, x.reshape(2, 3, 1, 2), 1, 1, True; image, x.reshape(2, 1, 3, 2), 2, 2, False;"
    " volume, x.reshape(1, 1, 2, 2, 3), 0, 1, True; !image, x, 0, 0, False;"
    " !image, x[:2].reshape(2, 1, 2, 2), 0, 0",
    "grid_sampler_2d": "image, unit.reshape(2, 1, 3, 2), 0, 0, False;"
    " image, x.reshape(2, 3, 1, 2), 1, 1, True; image, x.reshape(2, 1, 3, 2), 2, 2, False;"
    " !volume, x.reshape(1, 1, 2, 2, 3), 0, 0, False",
    "grid_sampler_3d": "volume, x.reshape(1, 1, 2, 2, 3), 0, 1, True;"
    " volume, unit.reshape(1, 2, 2, 1, 3), 1, 2, False;"
    " !image, unit.reshape(2, 1, 3, 2), 0, 0, False",
}
