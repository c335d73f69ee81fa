"""Losses that compare scores with classes."""

from __future__ import annotations

import warnings

from flambeau.nn import functional as F
from flambeau.nn._loss_base import _Loss, _WeightedLoss
from flambeau.tensor import Tensor

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CrossEntropyLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "NLLLoss2d",
]


class NLLLoss(_WeightedLoss):
    """Minus the log-probability of the target's class, weighted by class.

    Shapes: (C) or (N, C, ...) log-probabilities and () or (N, ...) classes.

    >>> torch.nn.NLLLoss()(torch.tensor([[-1.0, -2.0]]), torch.tensor([1]))
    tensor(2.)
    """

    __constants__ = ["ignore_index", "reduction"]
    ignore_index: int

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class NLLLoss2d(NLLLoss):
    """The old name of ``NLLLoss`` for images."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        warnings.warn(
            "NLLLoss2d has been deprecated. Please use NLLLoss instead as a drop-in replacement "
            "and see https://pytorch.org/docs/main/nn.html#torch.nn.NLLLoss for more details.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__(weight, size_average, ignore_index, reduce, reduction)


class CrossEntropyLoss(_WeightedLoss):
    """``NLLLoss`` of the log-softmax of scores; targets are classes or probabilities.

    Shapes: (C) or (N, C, ...) scores and () or (N, ...) classes, or the scores' shape.

    >>> torch.nn.CrossEntropyLoss()(torch.zeros(1, 2), torch.tensor([1]))
    tensor(0.6931)
    """

    __constants__ = ["ignore_index", "reduction", "label_smoothing"]
    ignore_index: int
    label_smoothing: float

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class BCELoss(_WeightedLoss):
    """-y log x - (1 - y) log(1 - x) of probabilities.

    >>> torch.nn.BCELoss()(torch.tensor([0.5]), torch.tensor([1.0]))
    tensor(0.6931)
    """

    __constants__ = ["reduction"]

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """``BCELoss`` of the sigmoid of scores, computed without its rounding errors.

    ``pos_weight`` weighs the positive examples of each class.

    >>> torch.nn.BCEWithLogitsLoss()(torch.tensor([0.0]), torch.tensor([1.0]))
    tensor(0.6931)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.weight: Tensor | None
        self.pos_weight: Tensor | None

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input,
            target,
            self.weight,
            pos_weight=self.pos_weight,
            reduction=self.reduction,
        )


class MultiLabelMarginLoss(_Loss):
    """The hinge between every target class and every other one; targets end at the first -1.

    >>> x, y = torch.tensor([[0.1, 0.2, 0.4, 0.8]]), torch.tensor([[3, 0, -1, 1]])
    >>> torch.nn.MultiLabelMarginLoss()(x, y)
    tensor(0.8500)
    """

    __constants__ = ["reduction"]

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """``BCEWithLogitsLoss`` averaged over the classes of each sample.

    >>> torch.nn.MultiLabelSoftMarginLoss()(torch.zeros(1, 2), torch.ones(1, 2))
    tensor(0.6931)
    """

    __constants__ = ["reduction"]

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(
            input, target, weight=self.weight, reduction=self.reduction
        )


class MultiMarginLoss(_WeightedLoss):
    """The mean over classes of max(0, margin - x[y] + x[i]) ** p.

    Raises: ``ValueError`` unless ``p`` is 1 or 2 and the weight has one dimension.

    >>> torch.nn.MultiMarginLoss()(torch.zeros(1, 2), torch.tensor([1]))
    tensor(0.5000)
    """

    __constants__ = ["p", "margin", "reduction"]
    margin: float
    p: int

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.dim() != 1:
            raise ValueError(
                f"MultiMarginLoss: expected weight to be None or 1D tensor, got {weight.dim()}D "
                "instead"
            )
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(
            input,
            target,
            p=self.p,
            margin=self.margin,
            weight=self.weight,
            reduction=self.reduction,
        )


class CTCLoss(_Loss):
    """Minus the log-probability of a label sequence over all its alignments [Graves 2006].

    Shapes: (T, N, C) log-probabilities, (N, S) or joined targets, and N lengths each.

    >>> probabilities = torch.zeros(4, 1, 3).log_softmax(2)
    >>> targets, lengths = torch.tensor([[1, 2]]), torch.tensor([4])
    >>> torch.nn.CTCLoss(reduction="sum")(probabilities, targets, lengths, torch.tensor([2]))
    tensor(1.6864)
    """

    __constants__ = ["blank", "reduction"]
    blank: int
    zero_infinity: bool

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor,
        target_lengths: Tensor,
    ) -> Tensor:
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )


SAMPLES = {
    "nn.NLLLoss": "| x, labels; mask + 0.5 | x, labels;"
    " ignore_index=1, reduction='sum' | x, labels;"
    " reduction='none' | line, place[:2].repeat(1, 3)[:, :9]; !reduction='nothing' | x, labels;"
    " !| x, u",
    "nn.NLLLoss2d": "| image, k[:2, :1, None].expand(2, 6, 5);"
    " mask + 0.5, reduction='sum' | image, k[:2, :1, None].expand(2, 6, 5); !| image, labels",
    "nn.CrossEntropyLoss": "| x, labels; mask + 0.5, label_smoothing=0.1 | x, labels;"
    " ignore_index=1 | x, labels; reduction='none' | line, place[:2].repeat(1, 3)[:, :9];"
    " | x, y.softmax(1); !reduction='nothing' | x, labels; !| x, u;"
    " !label_smoothing=2.0 | x, labels",
    "nn.BCELoss": "| unit, truth.float(); mask * 2.0 | unit, truth.float();"
    " reduction='none' | unit, truth.float(); !reduction='nothing' | unit, unit; !| unit, v",
    "nn.BCEWithLogitsLoss": "| x, truth.float(); mask * 2.0, pos_weight=mask + 0.5 | x, unit;"
    " reduction='sum' | big, unit; !reduction='nothing' | x, unit; !| x, v",
    "nn.MultiLabelMarginLoss": "| x, place - 1; reduction='none' | x, k; reduction='sum' | v, k[0];"
    " !| x, labels",
    "nn.MultiLabelSoftMarginLoss": "| x, truth.float(); mask + 0.5 | x, unit;"
    " reduction='none' | x, unit; !| x, tall",
    "nn.MultiMarginLoss": "| x, labels; 2, 0.5 | x, labels;"
    " weight=mask + 0.5, reduction='sum' | x, labels; reduction='none' | v, labels[0]; !3; !| x, u",
    "nn.CTCLoss": "| sequence.log_softmax(2), torch.tensor([[1, 2], [3, 3]]), (5, 4), (2, 1);"
    " 3, 'sum' | sequence.log_softmax(2), torch.tensor([[0, 2], [1, 1]]), (5, 5), (2, 2);"
    " zero_infinity=True, reduction='none' | sequence.log_softmax(2), torch.tensor([[1, 1, 1, 1],"
    " [1, 2, 3, 1]]), (5, 5), (4, 4); !| sequence, torch.tensor([[1, 2], [3, 3]]), (6, 4), (2, 1)",
}
