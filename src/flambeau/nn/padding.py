"""Layers that extend their input at its edges."""

from __future__ import annotations

from typing import ClassVar

from flambeau.nn import functional as F
from flambeau.nn._sizes import ntuple
from flambeau.nn.module import Module
from flambeau.tensor import Tensor

__all__ = [
    f"{kind}Pad{n}d"
    for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero")
    for n in (1, 2, 3)
]

Padding = int | tuple[int, ...]


class _ConstantPadNd(Module):
    __constants__ = ["padding", "value"]
    value: float
    padding: tuple[int, ...]
    _ndim: ClassVar[int]

    def __init__(self, padding: Padding, value: float) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._ndim)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Adds ``value`` left and right of the last dimension.

    >>> torch.nn.ConstantPad1d((1, 2), 9.0)(torch.tensor([[1.0]]))
    tensor([[9., 1., 9., 9.]])
    """

    _ndim = 1


class ConstantPad2d(_ConstantPadNd):
    """Adds ``value`` around the last two dimensions: (left, right, top, bottom).

    >>> torch.nn.ConstantPad2d(1, 9.0)(torch.zeros(1, 2, 3)).shape
    torch.Size([1, 4, 5])
    """

    _ndim = 2


class ConstantPad3d(_ConstantPadNd):
    """Adds ``value`` around the last three dimensions, the last one first.

    >>> torch.nn.ConstantPad3d(1, 9.0)(torch.zeros(1, 2, 3, 4)).shape
    torch.Size([1, 4, 5, 6])
    """

    _ndim = 3


class _ZeroPad(_ConstantPadNd):
    def __init__(self, padding: Padding) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad, ConstantPad1d):
    """Adds zeros left and right of the last dimension.

    >>> torch.nn.ZeroPad1d(1)(torch.tensor([[1.0]]))
    tensor([[0., 1., 0.]])
    """


class ZeroPad2d(_ZeroPad, ConstantPad2d):
    """Adds zeros around the last two dimensions.

    >>> torch.nn.ZeroPad2d(1)(torch.zeros(1, 2, 3)).shape
    torch.Size([1, 4, 5])
    """


class ZeroPad3d(_ZeroPad, ConstantPad3d):
    """Adds zeros around the last three dimensions.

    >>> torch.nn.ZeroPad3d(1)(torch.zeros(1, 2, 3, 4)).shape
    torch.Size([1, 4, 5, 6])
    """


class _PadNd(Module):
    __constants__ = ["padding"]
    padding: tuple[int, ...]
    _ndim: ClassVar[int]
    _mode: ClassVar[str]

    def __init__(self, padding: Padding) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._ndim)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ReflectionPadNd(_PadNd):
    _mode = "reflect"


class _ReplicationPadNd(_PadNd):
    _mode = "replicate"


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        n = self._ndim
        if input.dim() not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class ReflectionPad1d(_ReflectionPadNd):
    """Mirrors the last dimension at its edges, without repeating the edge.

    >>> torch.nn.ReflectionPad1d(2)(torch.tensor([[0.0, 1.0, 2.0]]))
    tensor([[2., 1., 0., 1., 2., 1., 0.]])
    """

    _ndim = 1


class ReflectionPad2d(_ReflectionPadNd):
    """Mirrors the last two dimensions at their edges.

    >>> torch.nn.ReflectionPad2d(1)(torch.zeros(1, 2, 3)).shape
    torch.Size([1, 4, 5])
    """

    _ndim = 2


class ReflectionPad3d(_ReflectionPadNd):
    """Mirrors the last three dimensions at their edges.

    >>> torch.nn.ReflectionPad3d(1)(torch.zeros(1, 2, 3, 4)).shape
    torch.Size([1, 4, 5, 6])
    """

    _ndim = 3


class ReplicationPad1d(_ReplicationPadNd):
    """Repeats the edges of the last dimension.

    >>> torch.nn.ReplicationPad1d(1)(torch.tensor([[0.0, 1.0, 2.0]]))
    tensor([[0., 0., 1., 2., 2.]])
    """

    _ndim = 1


class ReplicationPad2d(_ReplicationPadNd):
    """Repeats the edges of the last two dimensions.

    >>> torch.nn.ReplicationPad2d(1)(torch.zeros(1, 2, 3)).shape
    torch.Size([1, 4, 5])
    """

    _ndim = 2


class ReplicationPad3d(_ReplicationPadNd):
    """Repeats the edges of the last three dimensions.

    >>> torch.nn.ReplicationPad3d(1)(torch.zeros(1, 2, 3, 4)).shape
    torch.Size([1, 4, 5, 6])
    """

    _ndim = 3


class CircularPad1d(_CircularPadNd):
    """Continues the last dimension from its other end.

    >>> torch.nn.CircularPad1d(1)(torch.tensor([[0.0, 1.0, 2.0]]))
    tensor([[2., 0., 1., 2., 0.]])
    """

    _ndim = 1


class CircularPad2d(_CircularPadNd):
    """Continues the last two dimensions from their other ends.

    >>> torch.nn.CircularPad2d(1)(torch.zeros(1, 2, 3)).shape
    torch.Size([1, 4, 5])
    """

    _ndim = 2


class CircularPad3d(_CircularPadNd):
    """Continues the last three dimensions from their other ends.

    >>> torch.nn.CircularPad3d(1)(torch.zeros(1, 2, 3, 4)).shape
    torch.Size([1, 4, 5, 6])
    """

    _ndim = 3


SAMPLES = {
    "nn.ConstantPad1d": "2, 0.5 | line; (1, 0), -1 | x; (-1, 2), 3.0 | i; !2 | x;"
    " !(1, 2, 3), 0.0 | x",
    "nn.ConstantPad2d": "2, 0.5 | image; (1, 0, -1, 2), -1.0 | cube; 1, 7 | truth; !2 | x",
    "nn.ConstantPad3d": "1, 0.5 | volume; (1, 0, 2, 1, 0, 3), -1.0 | image; !1, 2.0 | x",
    "nn.ZeroPad1d": "2 | line; (1, 0) | x; !(1, 2, 3) | x",
    "nn.ZeroPad2d": "2 | image; (1, 0, -1, 2) | cube; (1, 1, 1, 1) | c",
    "nn.ZeroPad3d": "1 | volume; (1, 0, 2, 1, 0, 3) | image; !1 | x",
    "nn.ReflectionPad1d": "2 | line; (3, 1) | x; !9 | line; !1 | v",
    "nn.ReflectionPad2d": "2 | image; (3, 1, 0, 2) | cube; !6 | image; !1 | v",
    "nn.ReflectionPad3d": "1 | volume; (1, 0, 2, 1, 0, 3) | volume[0]; !3 | volume; !1 | x",
    "nn.ReplicationPad1d": "2 | line; (5, 1) | x; !1 | v",
    "nn.ReplicationPad2d": "2 | image; (3, 1, 0, 6) | cube; !1 | v",
    "nn.ReplicationPad3d": "1 | volume; (1, 0, 2, 1, 0, 3) | volume[0]; !1 | x",
    "nn.CircularPad1d": "2 | line; (3, 1) | x; !10 | line; !1 | v",
    "nn.CircularPad2d": "2 | image; (3, 1, 0, 2) | cube; !7 | image; !1 | v",
    "nn.CircularPad3d": "1 | volume; (1, 0, 2, 1, 0, 3) | volume[0]; !4 | volume; !1 | x",
}
