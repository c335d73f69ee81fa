"""Accuracy: the share of predictions that are right."""

from __future__ import annotations

from flambeau import Tensor
from flambeau.trainer.metrics.stat_scores import StatScores, share

__all__ = ["Accuracy"]


class Accuracy(StatScores):
    r"""The share of predictions that are right.

    .. math:: \frac1N \sum_i [\hat y_i = y_i]

    Args:
        task: "binary", "multiclass" (give ``num_classes``) or "multilabel" (give ``num_labels``;
            each label counts for itself).
        threshold: from which probability a label is predicted. Scores outside [0, 1] go through a
            sigmoid first.
        average: "micro" counts all predictions alike; "macro" is the mean over the classes that
            occur (each class's share of its targets that are recognised), "weighted" that mean
            weighted by how often they do, "none" a value for each.
        top_k: a target among the ``k`` best scores counts as right.
        ignore_index: a target that does not count.
        validate_args: whether ``compute`` raises for labels out of range.

    Shapes: binary: both (N, …). Multiclass: target (N, …), predictions (N, …) labels or (N, C, …)
    scores. Multilabel: both (N, labels, …). The value is a scalar; (classes,) with "none".

    Raises: ``ValueError`` for arguments or shapes that do not fit.

    >>> from flambeau.trainer.metrics import Accuracy
    >>> accuracy = Accuracy(task="multiclass", num_classes=3)
    >>> accuracy(tensor([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]), tensor([1, 2]))
    tensor(0.5000)
    """

    def score(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Tensor:
        """Of a class of several: the share of its targets that are recognised."""
        if self.task == "multiclass":
            return share(tp, tp + fn)
        return share(tp + tn, tp + fp + tn + fn)
