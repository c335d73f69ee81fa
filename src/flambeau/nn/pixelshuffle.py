"""Layers that move pixels between channels and space."""

from __future__ import annotations

from flambeau.nn import functional as F
from flambeau.nn.module import Module
from flambeau.tensor import Tensor

__all__ = ["PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(Module):
    r"""(\*, C r², H, W) as (\*, C, H r, W r) [Shi et al. 2016].

    >>> torch.nn.PixelShuffle(3)(torch.zeros(1, 9, 4, 4)).shape
    torch.Size([1, 1, 12, 12])
    """

    __constants__ = ["upscale_factor"]
    upscale_factor: int

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    r"""(\*, C, H r, W r) as (\*, C r², H, W): the inverse of ``PixelShuffle``.

    >>> torch.nn.PixelUnshuffle(3)(torch.zeros(1, 1, 12, 12)).shape
    torch.Size([1, 9, 4, 4])
    """

    __constants__ = ["downscale_factor"]
    downscale_factor: int

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


SAMPLES = {
    "nn.PixelShuffle": "2 | image; 2 | image[0]; 1 | cube; !3 | image; !2 | x",
    "nn.PixelUnshuffle": "2 | batch; 4 | batch.reshape(1, 2, 4, 4); !2 | image; !2 | x",
}
