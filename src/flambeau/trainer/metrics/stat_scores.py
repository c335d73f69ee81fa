"""What accuracy, precision, recall and F1 have in common: true and false positives, negatives."""

from __future__ import annotations

from typing import Any, Literal

import flambeau
from flambeau import Tensor
from flambeau.trainer.metrics import inputs
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
        if self.top_k > 1:
            p, t = inputs.ranked(preds, target, self.number, self.top_k)
        else:
            p, t = inputs.labels(self.task, preds, target, self.number, self.threshold)
        counts = inputs.valid(t, self.ignore_index)
        if self.task == "multiclass":
            self._update_classes(p, t, counts)
        else:
            self._update_labels(p, t, counts)

    def _update_classes(self, p: Tensor, t: Tensor, counts: Tensor | None) -> None:
        wrong = (t < 0) | (t >= self.number) | (p < 0) | (p >= self.number)
        number: Any = t.numel()
        if counts is not None:
            wrong = wrong & counts
            number = counts.sum()
        self.invalid = self.invalid + wrong.sum()
        if self.tp.ndim == 0:
            hit = p == t if counts is None else (p == t) & counts
            tp = hit.sum()
            missed = number - tp
            self.tp = self.tp + tp
            self.fp = self.fp + missed
            self.fn = self.fn + missed
            self.tn = self.tn + (self.number - 1) * number - missed
            return
        classes = flambeau.arange(self.number, device=t.device)
        of_p, of_t = p.unsqueeze(1) == classes, t.unsqueeze(1) == classes
        if counts is not None:
            of_p, of_t = of_p & counts.unsqueeze(1), of_t & counts.unsqueeze(1)
        self._add(of_p, of_t, number)

    def _update_labels(self, p: Tensor, t: Tensor, counts: Tensor | None) -> None:
        wrong = ((t != 0) & (t != 1)) | ((p != 0) & (p != 1))
        of_p, of_t = p == 1, t == 1
        number: Any = t.shape[0]
        if counts is not None:
            wrong, of_p, of_t = wrong & counts, of_p & counts, of_t & counts
            number = counts.sum(0)
        self.invalid = self.invalid + wrong.sum()
        self._add(of_p, of_t, number)

    def _add(self, of_p: Tensor, of_t: Tensor, number: Any) -> None:
        tp, predicted, true = (of_p & of_t).sum(0), of_p.sum(0), of_t.sum(0)
        self.tp = self.tp + tp
        self.fp = self.fp + predicted - tp
        self.fn = self.fn + true - tp
        self.tn = self.tn + number - predicted - true + tp

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
