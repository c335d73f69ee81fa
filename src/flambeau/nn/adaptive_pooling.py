"""Pooling layers for a wanted output size."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau.nn import functional as F
from flambeau.nn.module import Module
from flambeau.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
]

Sizes = int | None | tuple[int | None, ...]


class _AdaptiveAvgPoolNd(Module):
    __constants__ = ["output_size"]
    _ndim: ClassVar[int]

    def __init__(self, output_size: Sizes) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
        return pool[self._ndim - 1](input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of ``output_size`` windows that cover a signal.

    >>> torch.nn.AdaptiveAvgPool1d(2)(torch.tensor([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[2., 1.]])
    """

    _ndim = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of ``output_size`` windows that cover an image; ``None`` keeps a dimension.

    >>> torch.nn.AdaptiveAvgPool2d((None, 7))(torch.zeros(1, 64, 10, 9)).shape
    torch.Size([1, 64, 10, 7])
    """

    _ndim = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of ``output_size`` windows that cover a volume; ``None`` keeps a dimension.

    >>> torch.nn.AdaptiveAvgPool3d(1)(torch.zeros(1, 2, 3, 4, 5)).shape
    torch.Size([1, 2, 1, 1, 1])
    """

    _ndim = 3


class _AdaptiveMaxPoolNd(Module):
    __constants__ = ["output_size", "return_indices"]
    return_indices: bool
    _ndim: ClassVar[int]

    def __init__(self, output_size: Sizes, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)
        return pool[self._ndim - 1](input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The largest values of ``output_size`` windows that cover a signal.

    >>> torch.nn.AdaptiveMaxPool1d(2)(torch.tensor([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[3., 2.]])
    """

    _ndim = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The largest values of ``output_size`` windows that cover an image.

    >>> torch.nn.AdaptiveMaxPool2d((5, None))(torch.zeros(1, 64, 10, 9)).shape
    torch.Size([1, 64, 5, 9])
    """

    _ndim = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The largest values of ``output_size`` windows that cover a volume.

    >>> torch.nn.AdaptiveMaxPool3d(1)(torch.zeros(1, 2, 3, 4, 5)).shape
    torch.Size([1, 2, 1, 1, 1])
    """

    _ndim = 3


SAMPLES = {
    "nn.AdaptiveAvgPool1d": "4 | line; (3,) | line[0]; output_size=1 | line; !2 | v",
    "nn.AdaptiveAvgPool2d": "3 | image; (4, None) | image; (1, 7) | image[0]; !2 | x",
    "nn.AdaptiveAvgPool3d": "2 | volume; (None, 1, 3) | volume; (5, 2, 2) | volume[0]; !2 | x",
    "nn.AdaptiveMaxPool1d": "4 | line; 2, return_indices=True | line; (3,) | line[0]; !2 | v",
    "nn.AdaptiveMaxPool2d": "3 | image; (4, None) | image; (2, 3), True | image[0]; !2 | x",
    "nn.AdaptiveMaxPool3d": "2 | volume; (None, 1, 3), return_indices=True | volume; !2 | x",
}
