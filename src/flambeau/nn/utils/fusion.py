"""Batch normalisation folded into the layer before it, for inference."""

from __future__ import annotations

import copy
from typing import Any

import flambeau
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor

__all__ = [
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]


def _folded(
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    bn_weight: Tensor | None,
    bn_bias: Tensor | None,
    dim: int,
    early: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the layer that does both; ``dim`` is that of the outputs in its weight.

    ``early``: the factor takes the weight's dtype before they are multiplied, as PyTorch has it of
    linear layers.
    """
    bias_dtype = weight.dtype if bias is None else bias.dtype
    bias = flambeau.zeros_like(mean) if bias is None else bias
    scale = flambeau.rsqrt(variance + eps)
    if bn_weight is not None:
        scale = bn_weight * scale
    shape = [1] * weight.dim()
    shape[dim] = -1
    factor = scale.reshape(shape)
    if early:
        factor = factor.to(weight.dtype)
    shifted = (bias - mean) * scale
    if bn_bias is not None:
        shifted = shifted + bn_bias
    return (
        Parameter((weight * factor).to(weight.dtype), weight.requires_grad),
        Parameter(shifted.to(bias_dtype), bias.requires_grad),
    )


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    r"""Weight and bias of the convolution that normalises what it computes.

    .. math:: W' = \gamma W / \sqrt{\sigma^2 + \epsilon}, \quad
        b' = \gamma (b - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta

    Args:
        transpose: whether the weight is that of a transposed convolution.

    >>> one, four = torch.ones(1), torch.full((1,), 4.0)
    >>> fuse_conv_bn_weights(torch.ones(1, 1, 1), None, one, four, 0.0, one, one)[1]
    Parameter containing:
    tensor([0.5000])
    """
    dim = 1 if transpose else 0
    return _folded(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, dim)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the linear layer that normalises what it computes.

    See :func:`fuse_conv_bn_weights`.
    """
    return _folded(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0, early=True)


def _fused(layer: Any, bn: Any, dim: int) -> Any:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("Expected bn.running_mean and bn.running_var to be not None")
    twin = copy.deepcopy(layer)
    twin.weight, twin.bias = _folded(
        twin.weight, twin.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, dim
    )
    return twin


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """The convolution, copied, that does what ``bn(conv(x))`` does in evaluation mode.

    Raises: ``AssertionError`` in training mode, or without running statistics.

    >>> conv, bn = nn.Conv2d(1, 2, 3).eval(), nn.BatchNorm2d(2).eval()
    >>> x = torch.randn(1, 1, 4, 4)
    >>> torch.allclose(fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)), atol=1e-6)
    True
    """
    return _fused(conv, bn, 1 if transpose else 0)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """The linear layer, copied, that does what ``bn(linear(x))`` does in evaluation mode.

    Raises: ``AssertionError`` in training mode, without running statistics, or for numbers of
    features that do not fit.
    """
    if linear.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1"
        )
    return _fused(linear, bn, 0)


SAMPLES = {
    "nn.utils.fuse_conv_bn_weights": "batch, None, v[:2], w[:2].abs(), 1e-5, None, w[:2];"
    " batch[:, :2], v[:2], w[:2], v[:2].abs(), 0.1, w[2:], v[2:];"
    " batch.mT[:, :2], None, v[:2], w[:2].abs(), 1e-5, None, w[:2], True",
    "nn.utils.fuse_linear_bn_weights": "x, None, u, u.abs(), 1e-5, u, u;"
    " m, v, w, v.abs(), 0.1, v, w",
    "nn.utils.fuse_conv_bn_eval": "nn.Conv2d(2, 3, 2).eval(), nn.BatchNorm2d(3).eval();"
    " nn.ConvTranspose1d(2, 3, 2).eval(), nn.BatchNorm1d(3).eval(), True;"
    " !nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3)",
    "nn.utils.fuse_linear_bn_eval": "nn.Linear(2, 3).eval(), nn.BatchNorm1d(3).eval();"
    " nn.Linear(2, 3, bias=False).eval(), nn.BatchNorm1d(3, affine=True).eval();"
    " !nn.Linear(2, 3), nn.BatchNorm1d(3); !nn.Linear(2, 3).eval(), nn.BatchNorm1d(2).eval()",
}
