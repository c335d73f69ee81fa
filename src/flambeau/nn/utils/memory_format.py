"""Convolution weights in a memory format, which here is always the row-major one."""

from __future__ import annotations

from typing import Any

from flambeau.nn.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from flambeau.nn.module import Module

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]


def _convert(module: Module, kinds: tuple[type, ...], memory_format: Any) -> Module:
    for layer in module.modules():
        if isinstance(layer, kinds):
            layer.weight.data = layer.weight.detach().clone(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module: Module, memory_format: Any) -> Module:
    """Copies the weights of all 2D convolutions of a module into a memory format.

    Tensors lie row-major in memory whatever the format, so that no number changes.

    >>> convert_conv2d_weight_memory_format(nn.Conv2d(1, 1, 1), torch.channels_last)
    Conv2d(1, 1, kernel_size=(1, 1), stride=(1, 1))
    """
    return _convert(module, (Conv2d, ConvTranspose2d), memory_format)


def convert_conv3d_weight_memory_format(module: Module, memory_format: Any) -> Module:
    """Copies the weights of all 3D convolutions of a module into a memory format.

    See :func:`convert_conv2d_weight_memory_format`.
    """
    return _convert(module, (Conv3d, ConvTranspose3d), memory_format)


SAMPLES = {
    "nn.utils.convert_conv2d_weight_memory_format": "nn.Conv2d(2, 3, 2), torch.channels_last;"
    " nn.ReLU(), torch.channels_last",
    "nn.utils.convert_conv3d_weight_memory_format": "nn.Conv3d(2, 3, 2), torch.channels_last_3d",
}
