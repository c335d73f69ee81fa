"""Normalisation of each sample by itself: over layers, groups of channels or neighbours."""

from __future__ import annotations

import numbers
from typing import Any

from flambeau.functions.creation import empty
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]

Shape = int | list[int] | tuple[int, ...]


def _as_shape(normalized_shape: Shape) -> tuple[int, ...]:
    if isinstance(normalized_shape, numbers.Integral):
        return (normalized_shape,)
    return tuple(normalized_shape)


class LocalResponseNorm(Module):
    r"""Division by the neighbouring channels: :math:`y = x (k + \alpha \bar{x^2})^{-\beta}`.

    :math:`\bar{x^2}` is the mean square over ``size`` channels [Krizhevsky et al. 2012].

    >>> torch.nn.LocalResponseNorm(2)(torch.zeros(1, 3, 4)).shape
    torch.Size([1, 3, 4])
    """

    __constants__ = ["size", "alpha", "beta", "k"]
    size: int
    alpha: float
    beta: float
    k: float

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(Module):
    """``LocalResponseNorm`` of images (N, C, H, W), with the first channel in every window.

    >>> torch.nn.CrossMapLRN2d(3)(torch.zeros(1, 3, 4, 4)).shape
    torch.Size([1, 3, 4, 4])
    """

    size: int
    alpha: float
    beta: float
    k: float

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        squares = input * input
        reach = (self.size - 1) // 2
        padded = F.pad(squares[:, 1:], (0, 0, 0, 0, reach + 1, reach))
        channels = input.size(1)
        # PyTorch's running sum never drops the first channel, so every window has it.
        window = squares[:, :1] + sum(
            padded[:, start : start + channels] for start in range(2 * reach + 1)
        )
        return input * (self.k + self.alpha / self.size * window) ** -self.beta

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LayerNorm(Module):
    r"""Normalisation over the last dimensions [Ba et al. 2016].

    .. math:: y = (x - \mathrm{E}[x]) / \sqrt{\mathrm{Var}[x] + \epsilon} \cdot \gamma + \beta

    Shapes: (\*, normalized_shape).

    >>> torch.nn.LayerNorm(3, elementwise_affine=False)(torch.tensor([1.0, 1.0, 1.0]))
    tensor([0., 0., 0.])
    """

    __constants__ = ["normalized_shape", "eps", "elementwise_affine"]
    normalized_shape: tuple[int, ...]
    eps: float
    elementwise_affine: bool

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, wanted in (("weight", True), ("bias", bias)):
            wanted = wanted and elementwise_affine
            value = Parameter(empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.elementwise_affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class GroupNorm(Module):
    r"""Normalisation over groups of channels [Wu & He 2018].

    Shapes: (N, C, \*); ``num_groups`` divides C = ``num_channels``.
    Raises: ``ValueError`` if it does not.

    >>> torch.nn.GroupNorm(2, 4)(torch.zeros(1, 4, 3)).shape
    torch.Size([1, 4, 3])
    """

    __constants__ = ["num_groups", "num_channels", "eps", "affine"]
    num_groups: int
    num_channels: int
    eps: float
    affine: bool

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            value = Parameter(empty(num_channels, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    r"""Division by the root mean square over the last dimensions [Zhang & Sennrich 2019].

    .. math:: y = x / \sqrt{\epsilon + \mathrm{mean}(x^2)} \cdot \gamma

    ``eps=None`` is the machine epsilon of the input's dtype.

    >>> torch.nn.RMSNorm(2, elementwise_affine=False)(torch.tensor([2.0, 2.0]))
    tensor([1., 1.])
    """

    __constants__ = ["normalized_shape", "eps", "elementwise_affine"]
    normalized_shape: tuple[int, ...]
    eps: float | None
    elementwise_affine: bool

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        wanted = elementwise_affine
        value = Parameter(empty(shape, device=device, dtype=dtype)) if wanted else None
        self.register_parameter("weight", value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.elementwise_affine:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


SAMPLES = {
    "nn.LocalResponseNorm": "2 | line; 3, 0.5, 0.5, 2.0 | image; 1, alpha=1.0 | volume; !2 | x",
    # PyTorch's gradient is not that of its running sum, which keeps the first channel.
    "nn.CrossMapLRN2d": "2 | image # no-grad; 3, 0.5, 0.5, 2 | image # no-grad; !2 | x",
    "nn.LayerNorm": "4 | x; (3, 4) | cube; [4], 0.1, False | x; 4, bias=False | cube; 4 | empty;"
    " !5 | x; !(3, 4) | v; !4 | i",
    "nn.GroupNorm": "2, 4 | line; 4, 4, 0.1 | image; 1, 4, affine=False | x;"
    " 2, 2, bias=False | volume; !3, 4; !2, 4 | v; !2, 6 | line",
    "nn.RMSNorm": "4 | x; (3, 4), 0.1 | cube; 4, elementwise_affine=False | x; !5 | x; !3 | v",
}
