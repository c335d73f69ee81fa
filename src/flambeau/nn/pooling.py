"""Pooling layers over sliding windows, and their inverse."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau.nn import functional as F
from flambeau.nn._sizes import ntuple
from flambeau.nn.module import Module
from flambeau.tensor import Tensor

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]

Size = int | tuple[int, ...]


class _MaxPoolNd(Module):
    __constants__ = [
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "return_indices",
        "ceil_mode",
    ]
    return_indices: bool
    ceil_mode: bool
    _ndim: ClassVar[int]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[self._ndim - 1]
        return pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The largest value of each window of (N, C, L) or (C, L) signals.

    >>> torch.nn.MaxPool1d(2)(torch.tensor([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[3., 2.]])
    """

    _ndim = 1


class MaxPool2d(_MaxPoolNd):
    r"""The largest value of each window of (N, C, H, W) or (C, H, W) images.

    ``return_indices`` gives the places of the largest values too, for ``MaxUnpool2d``.

    Shapes: in each dimension :math:`L_{out} = \lfloor (L + 2 p - d (k - 1) - 1) / s \rfloor + 1`,
    rounded up with ``ceil_mode``.

    >>> torch.nn.MaxPool2d(3, stride=2)(torch.zeros(20, 16, 50, 32)).shape
    torch.Size([20, 16, 24, 15])
    """

    _ndim = 2


class MaxPool3d(_MaxPoolNd):
    """The largest value of each window of (N, C, D, H, W) or (C, D, H, W) volumes.

    >>> torch.nn.MaxPool3d(2)(torch.zeros(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 2, 2, 2])
    """

    _ndim = 3


class _MaxUnpoolNd(Module):
    _ndim: ClassVar[int]

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        super().__init__()
        self.kernel_size = ntuple(kernel_size, self._ndim)
        self.stride = ntuple(kernel_size if stride is None else stride, self._ndim)
        self.padding = ntuple(padding, self._ndim)

    def forward(
        self, input: Tensor, indices: Tensor, output_size: list[int] | None = None
    ) -> Tensor:
        unpool = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[self._ndim - 1]
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Puts the results of ``MaxPool1d`` back at their indices, zeros elsewhere.

    >>> pool = torch.nn.MaxPool1d(2, return_indices=True)
    >>> torch.nn.MaxUnpool1d(2)(*pool(torch.tensor([[1.0, 3.0, 2.0, 0.0]])))
    tensor([[0., 3., 2., 0.]])
    """

    _ndim = 1


class MaxUnpool2d(_MaxUnpoolNd):
    """Puts the results of ``MaxPool2d`` back at their indices, zeros elsewhere.

    >>> pool = torch.nn.MaxPool2d(2, return_indices=True)
    >>> torch.nn.MaxUnpool2d(2)(*pool(torch.tensor([[[1.0, 3.0], [2.0, 0.0]]])))
    tensor([[[0., 3.],
             [0., 0.]]])
    """

    _ndim = 2


class MaxUnpool3d(_MaxUnpoolNd):
    """Puts the results of ``MaxPool3d`` back at their indices, zeros elsewhere.

    >>> pool = torch.nn.MaxPool3d(2, return_indices=True)
    >>> torch.nn.MaxUnpool3d(2)(*pool(torch.ones(1, 1, 2, 2, 2))).sum()
    tensor(1.)
    """

    _ndim = 3


class _AvgPoolNd(Module):
    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPoolNd):
    """The mean of each window of (N, C, L) or (C, L) signals.

    >>> torch.nn.AvgPool1d(2)(torch.tensor([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[2., 1.]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = ntuple(kernel_size, 1)
        self.stride = ntuple(kernel_size if stride is None else stride, 1)
        self.padding = ntuple(padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


class _AvgPoolMany(_AvgPoolNd):
    __constants__ = [*_AvgPoolNd.__constants__, "divisor_override"]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override


class AvgPool2d(_AvgPoolMany):
    """The mean of each window of (N, C, H, W) or (C, H, W) images.

    ``count_include_pad`` counts padded zeros; ``divisor_override`` replaces the count.

    >>> torch.nn.AvgPool2d(2)(torch.ones(1, 1, 4, 4)).shape
    torch.Size([1, 1, 2, 2])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool3d(_AvgPoolMany):
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W) volumes.

    >>> torch.nn.AvgPool3d(2)(torch.ones(1, 1, 4, 4, 4)).shape
    torch.Size([1, 1, 2, 2, 2])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool3d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class _FractionalMaxPoolNd(Module):
    __constants__ = ["kernel_size", "return_indices", "output_size", "output_ratio"]
    _ndim: ClassVar[int]

    def __init__(
        self,
        kernel_size: Size,
        output_size: Size | None = None,
        output_ratio: float | tuple[float, ...] | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        n, name = self._ndim, self.__class__.__name__
        self.kernel_size = ntuple(kernel_size, n)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else ntuple(output_size, n)
        self.output_ratio = None if output_ratio is None else ntuple(output_ratio, n)
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        pool = F.fractional_max_pool2d if self._ndim == 2 else F.fractional_max_pool3d
        return pool(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """The largest value of windows at random steps, for a wanted output size [Graham 2014].

    Exactly one of ``output_size`` and ``output_ratio`` (in (0, 1)) must be given.

    >>> torch.nn.FractionalMaxPool2d(3, output_size=(13, 12))(torch.zeros(2, 1, 50, 32)).shape
    torch.Size([2, 1, 13, 12])
    """

    _ndim = 2


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """The largest value of windows at random steps of volumes; see ``FractionalMaxPool2d``.

    >>> torch.nn.FractionalMaxPool3d(2, output_ratio=0.5)(torch.zeros(2, 1, 8, 8, 8)).shape
    torch.Size([2, 1, 4, 4, 4])
    """

    _ndim = 3


class _LPPoolNd(Module):
    __constants__ = ["norm_type", "kernel_size", "stride", "ceil_mode"]
    norm_type: float
    ceil_mode: bool
    _ndim: ClassVar[int]

    def __init__(
        self,
        norm_type: float,
        kernel_size: Size,
        stride: Size | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)[self._ndim - 1]
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    r"""The p-norm :math:`(\sum x^p)^{1/p}` of each window of a signal.

    >>> torch.nn.LPPool1d(2, 2)(torch.tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """

    _ndim = 1


class LPPool2d(_LPPoolNd):
    r"""The p-norm :math:`(\sum x^p)^{1/p}` of each window of an image.

    >>> torch.nn.LPPool2d(1, 2)(torch.ones(1, 1, 2, 2))
    tensor([[[[4.]]]])
    """

    _ndim = 2


class LPPool3d(_LPPoolNd):
    r"""The p-norm :math:`(\sum x^p)^{1/p}` of each window of a volume.

    >>> torch.nn.LPPool3d(1, 2)(torch.ones(1, 1, 2, 2, 2)).shape
    torch.Size([1, 1, 1, 1, 1])
    """

    _ndim = 3


SAMPLES = {
    "nn.MaxPool1d": "2 | line; 3, 2, 1 | line; 2, dilation=2, ceil_mode=True | line[0];"
    " 3, return_indices=True | line; !2, padding=2 | line; !2 | v; !10 | line",
    "nn.MaxPool2d": "2 | image; (3, 2), 1, (1, 0) | image; 2, 2, 1, 2, ceil_mode=True | image[0];"
    " 3, return_indices=True | image; 2 | i[None]; !7 | image; !2 | x",
    "nn.MaxPool3d": "2 | volume; (2, 1, 3), 1, (1, 0, 1) | volume;"
    " 2, 1, 1, 2, True, True | volume[0]; !5 | volume; !2 | x",
    "nn.MaxUnpool1d": "3 | *F.max_pool1d(line, 3, return_indices=True);"
    " 2 | *F.max_pool1d(line, 2, return_indices=True), (9,); !2 | line, place",
    "nn.MaxUnpool2d": "(2, 1) | *F.max_pool2d(image, (2, 1), return_indices=True);"
    " (3, 2), padding=0 | *F.max_pool2d(image, (3, 2), return_indices=True), output_size=(6, 5);"
    " !2 | image, i",
    "nn.MaxUnpool3d": "(2, 3, 5) | *F.max_pool3d(volume, (2, 3, 5), return_indices=True);"
    " (2, 1, 2) | *F.max_pool3d(volume, (2, 1, 2), return_indices=True), (4, 3, 5); !2 | volume, i",
    "nn.AvgPool1d": "2 | line; 3, 2, 1 | line; 3, 2, 1, True, False | line[0];"
    " !2, padding=2 | line; !2 | v",
    "nn.AvgPool2d": "2 | image; (3, 2), 1, (1, 0) | image; 3, 2, 1, True, False | image;"
    " 2, divisor_override=3 | image[0]; !7 | image",
    "nn.AvgPool3d": "2 | volume; (2, 1, 3), 1, (1, 0, 1) | volume;"
    " 2, 2, 1, True, False | volume[0]; 2, divisor_override=5 | volume; !2 | x",
    "nn.FractionalMaxPool2d": "2, 3 | image; (3, 2), output_ratio=(0.5, 0.7) | image;"
    " 2, (3, 2), return_indices=True | image[0]; !2; !2, 3, 0.5; !2, output_ratio=(2.0, 0.5);"
    " !9, 3 | image",
    "nn.FractionalMaxPool3d": "2, (2, 1, 3) | volume;"
    " (1, 2, 2), output_ratio=(0.5, 0.5, 0.5) | volume; !2; !2, 3, 0.5; !9, 3 | volume",
    "nn.LPPool1d": "2, 3 | line.abs(); 1, 2, 1, True | line; 3.0, 2 | line[0].abs(); !2, 0 | line",
    "nn.LPPool2d": "2, 3 | image.abs(); 1, (2, 3), 1 | image;"
    " 3.0, 2, ceil_mode=True | image[0].abs(); !2, 7 | image",
    "nn.LPPool3d": "2, 2 | volume.abs(); 1, (2, 3, 1), 1 | volume;"
    " 3.0, 2, ceil_mode=True | volume.abs(); !2, 7 | volume",
}
