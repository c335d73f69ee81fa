"""Convolution layers and their transposes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from flambeau.functions.creation import empty
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn._sizes import ntuple, reversed_twice
from flambeau.nn.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]

Size = int | tuple[int, ...]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What the six layers share: the checks, the parameters and the printed form."""

    __constants__ = [
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
        "output_padding",
        "in_channels",
        "out_channels",
        "kernel_size",
    ]
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int
    padding_mode: str
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        transposed: bool,
        output_padding: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
                )
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {{{', '.join(map(repr, _PADDING_MODES))}}}, "
                f"but got padding_mode='{padding_mode}'"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = self._pad_sizes()
        first, second = in_channels, out_channels
        if not transposed:
            first, second = second, first
        shape = (first, second // groups, *kernel_size)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _pad_sizes(self) -> list[int]:
        """What ``F.pad`` adds before the convolution when the mode is not "zeros"."""
        if not isinstance(self.padding, str):
            return reversed_twice(self.padding)
        sizes = [0, 0] * len(self.kernel_size)
        if self.padding == "same":
            for i, (d, k) in enumerate(zip(reversed(self.dilation), reversed(self.kernel_size))):
                total = d * (k - 1)
                sizes[2 * i : 2 * i + 2] = total // 2, total - total // 2
        return sizes

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        # a = sqrt(5) makes the bound of kaiming_uniform_ equal to 1 / sqrt(fan_in).
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        ones, zeros = (1,) * len(self.dilation), (0,) * len(self.kernel_size)
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != zeros:
            # A string is shown without its quotes, as everywhere in PyTorch's printed forms.
            text += f", padding={self.padding}"
        if self.dilation != ones:
            text += f", dilation={self.dilation}"
        if self.output_padding != zeros:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        if not hasattr(self, "padding_mode"):
            self.padding_mode = "zeros"


class _Convolution(_ConvNd):
    _ndim: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
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
        n = self._ndim
        super().__init__(
            in_channels,
            out_channels,
            ntuple(kernel_size, n),
            ntuple(stride, n),
            padding if isinstance(padding, str) else ntuple(padding, n),
            ntuple(dilation, n),
            False,
            ntuple(0, n),
            groups,
            bias,
            padding_mode,
            device=device,
            dtype=dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolve = (F.conv1d, F.conv2d, F.conv3d)[self._ndim - 1]
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = ntuple(0, self._ndim)
        return convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Convolution):
    r"""Cross-correlation of (N, C, L) or (C, L) signals with learned kernels.

    Shapes: :math:`L_{out} = \lfloor (L + 2 p - d (k - 1) - 1) / s \rfloor + 1`.
    Raises: ``ValueError`` for groups that do not divide the channels, or an unknown padding.

    >>> torch.nn.Conv1d(16, 33, 3, stride=2)(torch.zeros(20, 16, 50)).shape
    torch.Size([20, 33, 24])
    """

    _ndim = 1


class Conv2d(_Convolution):
    r"""Cross-correlation of (N, C, H, W) or (C, H, W) images with learned kernels.

    ``weight`` (out × in / groups × kernel) and ``bias`` are drawn from
    :math:`U(-k^{-1/2}, k^{-1/2})` with :math:`k` the number of inputs to an output.
    ``padding`` is a size, "valid" or "same"; ``padding_mode`` "zeros", "reflect", "replicate"
    or "circular".

    Shapes: in each dimension :math:`L_{out} = \lfloor (L + 2 p - d (k - 1) - 1) / s \rfloor + 1`.
    Raises: ``ValueError`` for groups that do not divide the channels, or an unknown padding.

    >>> torch.nn.Conv2d(16, 33, (3, 5), padding=(1, 2))(torch.zeros(2, 16, 10, 12)).shape
    torch.Size([2, 33, 10, 12])
    """

    _ndim = 2


class Conv3d(_Convolution):
    """Cross-correlation of (N, C, D, H, W) or (C, D, H, W) volumes with learned kernels.

    Shapes and errors: as ``Conv2d``.

    >>> torch.nn.Conv3d(2, 3, 3)(torch.zeros(1, 2, 5, 6, 7)).shape
    torch.Size([1, 3, 3, 4, 5])
    """

    _ndim = 3


class _ConvTransposeNd(_ConvNd):
    _ndim: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
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
        n = self._ndim
        if padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {self.__class__.__name__}'
            )
        super().__init__(
            in_channels,
            out_channels,
            ntuple(kernel_size, n),
            ntuple(stride, n),
            ntuple(padding, n),
            ntuple(dilation, n),
            True,
            ntuple(output_padding, n),
            groups,
            bias,
            padding_mode,
            device=device,
            dtype=dtype,
        )

    def _output_padding(self, input: Tensor, output_size: list[int] | None) -> tuple[int, ...]:
        """The padding that makes the result ``output_size`` large."""
        if output_size is None:
            return self.output_padding
        n = self._ndim
        given = list(output_size)
        has_batch = input.dim() == n + 2
        if len(given) == (n + 2 if has_batch else n + 1):
            given = given[-n:]
        if len(given) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or "
                f"{n + 2 if has_batch else n + 1} elements (got {len(output_size)})"
            )
        sizes = [
            (length - 1) * s - 2 * p + d * (k - 1) + 1
            for length, s, p, d, k in zip(
                input.shape[-n:], self.stride, self.padding, self.dilation, self.kernel_size
            )
        ]
        largest = [size + s - 1 for size, s in zip(sizes, self.stride)]
        for want, low, high in zip(given, sizes, largest):
            if not low <= want <= high:
                raise ValueError(
                    f"requested an output size of {given}, but valid sizes range from {sizes} "
                    f"to {largest} (for an input of {list(input.shape[-n:])})"
                )
        return tuple(want - low for want, low in zip(given, sizes))

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        n = self._ndim
        transpose = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
        extra = self._output_padding(input, output_size)
        return transpose(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTransposeNd):
    r"""The transpose (gradient) of ``Conv1d`` with respect to its input.

    Shapes: :math:`L_{out} = (L - 1) s - 2 p + d (k - 1) + p_{out} + 1`.

    >>> torch.nn.ConvTranspose1d(4, 2, 3, stride=2)(torch.zeros(1, 4, 5)).shape
    torch.Size([1, 2, 11])
    """

    _ndim = 1


class ConvTranspose2d(_ConvTransposeNd):
    r"""The transpose (gradient) of ``Conv2d`` with respect to its input.

    ``forward`` takes an ``output_size`` to choose among the sizes that a stride leaves open.

    Shapes: in each dimension :math:`L_{out} = (L - 1) s - 2 p + d (k - 1) + p_{out} + 1`.
    Raises: ``ValueError`` for an ``output_size`` that no padding reaches.

    >>> torch.nn.ConvTranspose2d(4, 2, 3, stride=2)(torch.zeros(1, 4, 5, 5)).shape
    torch.Size([1, 2, 11, 11])
    """

    _ndim = 2


class ConvTranspose3d(_ConvTransposeNd):
    """The transpose (gradient) of ``Conv3d`` with respect to its input.

    >>> torch.nn.ConvTranspose3d(4, 2, 2)(torch.zeros(1, 4, 3, 3, 3)).shape
    torch.Size([1, 2, 4, 4, 4])
    """

    _ndim = 3


SAMPLES = {
    "nn.Conv1d": "4, 6, 3 | line; 4, 2, (2,), 2, 1, 2, bias=False | line;"
    " 4, 4, 3, padding='same', groups=2 | line; 4, 2, 3, padding=2, padding_mode='circular' | line;"
    " 4, 2, 3, padding='same', padding_mode='reflect' | line; 4, 2, 1 | line[0]; !3, 2, 2 | line;"
    " !4, 3, 2, groups=2; !4, 2, 3, padding='full'; !4, 2, 3, 2, padding='same';"
    " !4, 2, 3, padding_mode='mirror'",
    "nn.Conv2d": "4, 3, 2 | image; 4, 6, (3, 2), 2, (1, 0), groups=2 | image;"
    " 4, 4, 3, padding='same', groups=4, bias=False | image;"
    " 4, 2, 2, dilation=(2, 1), padding='valid' | image[0];"
    " 4, 2, 3, padding=(2, 1), padding_mode='replicate' | image; !3, 2, 2 | image; !4, 2, 2 | x;"
    " !4, 2, 2, stride=0 | image; !4, 2, 9 | image; !5, 4, 2, groups=2",
    "nn.Conv3d": "2, 3, 2 | volume; 2, 4, (2, 1, 3), (2, 1, 1), (0, 1, 1), groups=2 | volume;"
    " 2, 2, 3, padding=1, padding_mode='zeros', bias=False | volume[0];"
    " 2, 1, 2, padding='same', padding_mode='circular' | volume; !2, 2, 2 | x",
    "nn.ConvTranspose1d": "4, 3, 3 | line; 4, 2, 3, 2, 1, 1 | line;"
    " 4, 6, 2, groups=2, bias=False, dilation=3 | line; 4, 2, 3, 2 | line, (20,);"
    " !4, 2, 3, padding_mode='reflect'; !4, 2, 3, 2 | line, (99,); !3, 2, 3 | line",
    "nn.ConvTranspose2d": "4, 3, 3 | image; 4, 2, (2, 3), (2, 1), (1, 0), (1, 0) | image;"
    " 4, 4, 2, groups=4, dilation=2 | image[0]; 4, 2, 3, stride=2 | image, output_size=(14, 12);"
    " !4, 2, 3 | x",
    "nn.ConvTranspose3d": "2, 3, 2 | volume; 2, 2, (1, 2, 3), 2, (0, 1, 1), 1, 2, False | volume;"
    " 2, 1, 2, dilation=(1, 1, 2) | volume[0]; !2, 2, 2 | x",
}
