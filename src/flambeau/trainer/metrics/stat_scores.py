"""What accuracy, precision, recall and F1 have in common: true and false positives, negatives."""

from __future__ import annotations

from typing import Literal

import flambeau
from flambeau import Tensor
from flambeau.trainer.metrics import inputs
from flambeau.trainer.metrics.counting import count_classes, count_labels
from flambeau.trainer.metrics.inputs import Task
from flambeau.trainer.metrics.metric import Metric

__all__ = ["Average", "StatScores", "share"]

Average = Literal["micro", "macro", "weighted", "none"] | None


def share(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole``, zero where the whole is."""
    return part.double() / whole.clamp(min=1).double()


class StatScores(Metric):
    r"""Counts of true positives, false positives, true negatives, false negatives and targets.

    Shapes: scalars for a binary task, or where all classes are counted together
    (``average="micro"``); one for each class or label else.

    ``compute()`` gives the five, stacked in the last dimension.

    >>> from flambeau.trainer.metrics import StatScores
    >>> counts = StatScores(task="multiclass", num_classes=3, average="none")
    >>> counts(tensor([2, 1, 0, 1]), tensor([2, 1, 0, 0]))
    tensor([[1, 0, 2, 1, 2],
            [1, 1, 2, 0, 1],
            [1, 0, 3, 0, 1]])
    """

    is_differentiable = False
    higher_is_better: bool | None = True

    def __init__(
        self,
        task: Task,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: Average = "micro",
        top_k: int = 1,
        ignore_index: int | None = None,
        validate_args: bool = True,
    ) -> None:
        super().__init__()
        self.number = inputs.check_task(task, num_classes, num_labels)
        if average not in ("micro", "macro", "weighted", "none", None):
            raise ValueError(
                "Expected argument `average` to be one of ('micro', 'macro', 'weighted', 'none', "
                f"None), but got {average!r}"
            )
        if not 0 <= threshold <= 1:
            raise ValueError(
                f"Expected argument `threshold` to be a float in the [0,1] range, but got "
                f"{threshold}."
            )
        if not isinstance(top_k, int) or top_k < 1:
            raise ValueError(
                f"Expected argument `top_k` to be an integer larger than or equal to 1, but got "
                f"{top_k}"
            )
        if top_k > 1 and (task != "multiclass" or top_k > self.number):
            raise ValueError(
                f"`top_k` must be 1 but in a multiclass task, and at most the number of classes; "
                f'got {top_k} with task="{task}"'
            )
        self.task = task
        self.threshold = threshold
        self.average = average
        self.top_k = top_k
        self.ignore_index = ignore_index
        self.validate_args = validate_args
        together = task == "binary" or (average == "micro" and task == "multiclass")
        shape = () if together else (self.number,)
        for name in ("tp", "fp", "tn", "fn"):
            self.add_state(name, flambeau.zeros(shape, dtype=flambeau.long), dist_reduce_fx="sum")
        self.add_state("invalid", flambeau.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes in predictions (labels, probabilities or logits) and true labels.

        Shapes: binary: both (N, …). Multiclass: target (N, …), predictions (N, …) labels or
        (N, C, …) scores. Multilabel: both (N, labels, …).
        """
        counts = self.tp, self.fp, self.tn, self.fn, self.invalid
        if self.task == "multiclass":
            counts = count_classes(
                preds, target, *counts, self.number, self.top_k, self.ignore_index
            )
        else:
            how = self.task, self.number, self.threshold, self.ignore_index
            counts = count_labels(preds, target, *counts, *how)
        self.tp, self.fp, self.tn, self.fn, self.invalid = counts

    def check(self) -> None:
        """Raises ``ValueError`` for labels out of range."""
        if self.validate_args and (count := int(self.invalid)):
            known = "0 and 1" if self.task != "multiclass" else f"0 to {self.number - 1}"
            raise ValueError(
                f"{type(self).__name__}: {count} predictions or targets are not among the labels "
                f"{known}"
            )

    def compute(self) -> Tensor:
        """The counts, or what a subclass makes of them."""
        tp, fp, tn, fn = self.tp, self.fp, self.tn, self.fn
        if self.average == "micro" and tp.ndim:
            tp, fp, tn, fn = tp.sum(), fp.sum(), tn.sum(), fn.sum()
        value = self.score(tp, fp, tn, fn)
        if tp.ndim and self.average in ("macro", "weighted"):
            value = self._averaged(value)
        return value.to(flambeau.get_default_dtype()) if value.is_floating_point() else value

    def score(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Tensor:
        """The value of each class from its counts."""
        return flambeau.stack([tp, fp, tn, fn, tp + fn], -1)

    def _averaged(self, value: Tensor) -> Tensor:
        """The mean over classes; classes that neither occur nor are predicted do not count."""
        if self.average == "weighted":
            weight = (self.tp + self.fn).double()
        elif self.task == "multilabel":
            weight = flambeau.ones(self.number, dtype=flambeau.float64)
        else:
            weight = (self.tp + self.fp + self.fn > 0).double()
        if value.ndim > 1:
            weight = weight.unsqueeze(1)
        total = weight.sum(0)
        return (value.double() * weight).sum(0) / flambeau.where(total > 0, total, 1.0)
