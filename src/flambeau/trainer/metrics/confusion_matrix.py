"""ConfusionMatrix: which class was taken for which, how often."""

from __future__ import annotations

from typing import Literal

import flambeau
from flambeau import Tensor
from flambeau.trainer.metrics import inputs
from flambeau.trainer.metrics.counting import count_matrix
from flambeau.trainer.metrics.inputs import Task
from flambeau.trainer.metrics.metric import Metric

__all__ = ["ConfusionMatrix"]


class ConfusionMatrix(Metric):
    """Entry (i, j) says how often class ``i`` was predicted to be ``j``.

    Args:
        task: "binary", "multiclass" (give ``num_classes``) or "multilabel" (give ``num_labels``).
        threshold: from which probability a label is predicted.
        normalize: None for counts; "true" divides rows by their sums, "pred" columns, "all"
            everything; what nothing is counted in is zero.
        ignore_index: a target that does not count.
        validate_args: whether ``compute`` raises for labels out of range.

    Shapes: inputs as for :class:`Accuracy`; the value is (2, 2), (classes, classes) or
    (labels, 2, 2).

    Raises: ``ValueError`` for arguments or shapes that do not fit.

    >>> from flambeau.trainer.metrics import ConfusionMatrix
    >>> matrix = ConfusionMatrix(task="multiclass", num_classes=3)
    >>> matrix(tensor([2, 1, 0, 1]), tensor([2, 1, 0, 0]))
    tensor([[1, 1, 0],
            [0, 1, 0],
            [0, 0, 1]])
    """

    is_differentiable = False

    def __init__(
        self,
        task: Task,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        normalize: Literal["none", "true", "pred", "all"] | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
    ) -> None:
        super().__init__()
        self.number = inputs.check_task(task, num_classes, num_labels)
        if normalize not in ("none", "true", "pred", "all", None):
            raise ValueError(
                "Expected argument `normalize` to be one of ('none', 'true', 'pred', 'all', None), "
                f"but got {normalize!r}"
            )
        self.task = task
        self.threshold = threshold
        self.normalize = normalize
        self.ignore_index = ignore_index
        self.validate_args = validate_args
        shape = (self.number, 2, 2) if task == "multilabel" else (self.number, self.number)
        zeros = flambeau.zeros(shape, dtype=flambeau.long)
        self.add_state("confmat", zeros, dist_reduce_fx="sum")
        self.add_state("invalid", flambeau.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes in predictions (labels, probabilities or logits) and true labels."""
        how = self.task, self.number, self.threshold, self.ignore_index
        self.confmat, self.invalid = count_matrix(preds, target, self.confmat, self.invalid, *how)

    def check(self) -> None:
        """Raises ``ValueError`` for labels out of range."""
        if self.validate_args and (count := int(self.invalid)):
            raise ValueError(
                f"ConfusionMatrix: {count} predictions or targets are no class of {self.number}"
            )

    def compute(self) -> Tensor:
        """The matrix."""
        if self.normalize in ("none", None):
            return self.confmat.clone()
        matrix = self.confmat.to(flambeau.float64)
        dim = {"true": (-1,), "pred": (-2,), "all": (-2, -1)}[self.normalize]
        whole = matrix.sum(dim, keepdim=True)
        shares = matrix / flambeau.where(whole > 0, whole, 1.0)
        return shares.to(flambeau.get_default_dtype())
