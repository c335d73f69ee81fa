"""Convolution layers that learn their number of input channels from the first input."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.nn import conv
from flambeau.nn.conv import Size
from flambeau.nn.lazy import LazyModuleMixin
from flambeau.nn.parameter import UninitializedParameter
from flambeau.tensor import Tensor

__all__ = [
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
]


class _LazyConv(LazyModuleMixin):
    """The deferred part: parameters without shapes until an input shows the channels."""

    def _defer(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draws the parameters anew, if they are there."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Gives the parameters the shapes that ``input`` asks for."""
        if not self.has_uninitialized_params():
            return
        self.in_channels = self._channels_of(input)
        if self.in_channels % self.groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        first, second = self.in_channels, self.out_channels
        if not self.transposed:
            first, second = second, first
        with no_grad():
            self.weight.materialize((first, second // self.groups, *self.kernel_size))
            if self.bias is not None:
                self.bias.materialize((self.out_channels,))
            self.reset_parameters()

    def _channels_of(self, input: Tensor) -> int:
        n = self._ndim
        if input.dim() not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to "
                f"{self.__class__.__name__}, but got input of size: {input.shape}"
            )
        return input.shape[1] if input.dim() == n + 2 else input.shape[0]


class _LazyConvolution(_LazyConv):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: str | Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype
        )
        self._defer(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConv):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            0,
            0,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            False,
            dilation,
            padding_mode,
            device,
            dtype,
        )
        self._defer(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConvolution, conv.Conv1d):
    """A ``Conv1d`` with ``in_channels`` from its first input.

    >>> torch.nn.LazyConv1d(3, 2)(torch.zeros(1, 4, 5)).shape
    torch.Size([1, 3, 4])
    """

    cls_to_become = conv.Conv1d


class LazyConv2d(_LazyConvolution, conv.Conv2d):
    """A ``Conv2d`` with ``in_channels`` from its first input.

    >>> torch.nn.LazyConv2d(3, 2)(torch.zeros(1, 4, 5, 5)).shape
    torch.Size([1, 3, 4, 4])
    """

    cls_to_become = conv.Conv2d


class LazyConv3d(_LazyConvolution, conv.Conv3d):
    """A ``Conv3d`` with ``in_channels`` from its first input.

    >>> torch.nn.LazyConv3d(3, 2)(torch.zeros(1, 4, 5, 5, 5)).shape
    torch.Size([1, 3, 4, 4, 4])
    """

    cls_to_become = conv.Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, conv.ConvTranspose1d):
    """A ``ConvTranspose1d`` with ``in_channels`` from its first input.

    >>> torch.nn.LazyConvTranspose1d(3, 2)(torch.zeros(1, 4, 5)).shape
    torch.Size([1, 3, 6])
    """

    cls_to_become = conv.ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, conv.ConvTranspose2d):
    """A ``ConvTranspose2d`` with ``in_channels`` from its first input.

    >>> torch.nn.LazyConvTranspose2d(3, 2)(torch.zeros(1, 4, 5, 5)).shape
    torch.Size([1, 3, 6, 6])
    """

    cls_to_become = conv.ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, conv.ConvTranspose3d):
    """A ``ConvTranspose3d`` with ``in_channels`` from its first input.

    >>> torch.nn.LazyConvTranspose3d(3, 2)(torch.zeros(1, 4, 5, 5, 5)).shape
    torch.Size([1, 3, 6, 6, 6])
    """

    cls_to_become = conv.ConvTranspose3d


SAMPLES = {
    "nn.LazyConv1d": "6, 3 | line; 4, 3, padding='same', groups=2, bias=False | line; !3, 2 | x[0]",
    "nn.LazyConv2d": "3, 2 | image; 4, (3, 2), 2, (1, 0), groups=4 | image; !3, 2 | x",
    "nn.LazyConv3d": "3, 2 | volume; 4, (2, 1, 3), bias=False | volume[0]; !3, 2 | x",
    "nn.LazyConvTranspose1d": "3, 3 | line; 4, 3, 2, 1, 1, groups=2 | line; !3, 2 | image",
    "nn.LazyConvTranspose2d": "3, 3 | image; 4, (2, 3), 2, bias=False | image[0]; !3, 2 | x",
    "nn.LazyConvTranspose3d": "3, 2 | volume; 4, (1, 2, 3), groups=2 | volume; !3, 2 | x",
}
