"""Cross entropy of a linear layer's scores."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from flambeau import dtypes
from flambeau.nn import functional as F
from flambeau.nn._loss_base import _WeightedLoss
from flambeau.nn.linear import Linear
from flambeau.tensor import Tensor

__all__ = ["LinearCrossEntropyLoss", "LinearCrossEntropyOptions"]

_POLICIES = ("accurate", "balanced", "compact", "auto")
_ACC_DTYPES = (None, dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)


@dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch cuts ``linear_cross_entropy`` into pieces; here it changes nothing.

    Raises: ``ValueError`` for a value that PyTorch does not know.

    >>> torch.nn.LinearCrossEntropyOptions(batch_chunk_size=4).batch_chunk_size
    4
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        size, method = self.batch_chunk_size, self.chunking_method
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size!r}")
        known = method in (None, "auto") or re.fullmatch(r"aspect_ratio:[1-9]\d*", method)
        if not known:
            raise ValueError(f"invalid chunking_method: {method!r}")
        if self.acc_policy not in _POLICIES:
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.acc_dtype not in _ACC_DTYPES:
            names = ", ".join(map(str, _ACC_DTYPES))
            raise ValueError(
                f"acc_dtype must be one of {{{names}}}, got {self.acc_dtype!r}. "
                "Pass acc_dtype=None to let the op pick automatically."
            )


class LinearCrossEntropyLoss(_WeightedLoss):
    """``CrossEntropyLoss`` of the scores that a linear layer within gives.

    Shapes: (in_features) or (N, in_features), and classes () or (N, \\*out_features) or
    probabilities (C) or (N, C, \\*out_features).

    >>> loss = torch.nn.LinearCrossEntropyLoss(5, 10, out_features=(4, 3))
    >>> loss(torch.zeros(2, 5), torch.zeros(2, 4, 3, dtype=torch.long)).shape
    torch.Size([])
    """

    __constants__ = [
        "num_classes",
        "out_features",
        "reduction",
        "ignore_index",
        "label_smoothing",
    ]
    num_classes: int
    out_features: tuple[int, ...]
    ignore_index: int | None
    label_smoothing: float

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.options = options
        rows = num_classes * math.prod(self.out_features)
        self.linear = Linear(in_features, rows, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        weight, bias = self.linear.weight, self.linear.bias
        if self.out_features:
            shape = (self.num_classes, *self.out_features)
            weight = weight.reshape(*shape, self.linear.in_features)
            bias = None if bias is None else bias.reshape(shape)
        return F.linear_cross_entropy(
            input,
            weight,
            target,
            linear_bias=bias,
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )


SAMPLES = {
    "nn.LinearCrossEntropyLoss": "4, 5 | x, labels;"
    " 4, 5, bias=True, reduction='sum', label_smoothing=0.1 | x, labels;"
    " 4, 4, weight=mask + 0.5, ignore_index=1 | x, labels;"
    " 4, 5, options=nn.LinearCrossEntropyOptions(batch_chunk_size=2) | x, labels;"
    " 4, 5, out_features=(2,) | x, place[:, :2]; !4, 5 | wide, labels;"
    " !4, 5, reduction='nothing' | x, labels",
    "nn.LinearCrossEntropyOptions": "; batch_chunk_size=3, chunking_method='aspect_ratio:2';"
    " acc_policy='compact'; !acc_policy='none'; !chunking_method='rows'; !batch_chunk_size=0",
}
