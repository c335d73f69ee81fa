"""Precision, recall, and their harmonic mean."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor
from flambeau.trainer.metrics.stat_scores import StatScores, share

__all__ = ["F1Score", "FBetaScore", "Precision", "Recall"]


class Precision(StatScores):
    r"""How many of those predicted to be of a class are.

    .. math:: \frac{TP}{TP + FP}, \quad 0 \text{ if nothing is predicted}

    Arguments and shapes are those of :class:`Accuracy`; with ``average="micro"`` classes are
    counted together, so that in a multiclass task it is the accuracy.

    >>> from flambeau.trainer.metrics import Precision
    >>> Precision(task="binary")(tensor([0.9, 0.8, 0.7, 0.1]), tensor([1, 1, 0, 1]))
    tensor(0.6667)
    """

    def score(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Tensor:
        """TP / (TP + FP)."""
        return share(tp, tp + fp)


class Recall(StatScores):
    r"""How many of those that are of a class are predicted to be.

    .. math:: \frac{TP}{TP + FN}, \quad 0 \text{ if there are none}

    Arguments and shapes are those of :class:`Accuracy`.

    >>> from flambeau.trainer.metrics import Recall
    >>> Recall(task="binary")(tensor([0.9, 0.8, 0.7, 0.1]), tensor([1, 1, 0, 1]))
    tensor(0.6667)
    """

    def score(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Tensor:
        """TP / (TP + FN)."""
        return share(tp, tp + fn)


class FBetaScore(StatScores):
    r"""The harmonic mean of precision and recall, where recall counts :math:`\beta` times as much.

    .. math:: \frac{(1 + \beta^2)\, TP}{(1 + \beta^2)\, TP + \beta^2 FN + FP}

    ``beta`` comes behind the task; the other arguments and shapes are those of :class:`Accuracy`.

    Raises: ``ValueError`` unless ``beta`` is positive.

    >>> from flambeau.trainer.metrics import FBetaScore
    >>> FBetaScore("binary", beta=2.0)(tensor([0.9, 0.8, 0.7, 0.1]), tensor([1, 1, 0, 0]))
    tensor(0.9091)
    """

    def __init__(self, task: Any, beta: float = 1.0, *args: Any, **kwargs: Any) -> None:
        if not beta > 0:
            raise ValueError(
                f"Expected argument `beta` to be a float larger than 0, but got {beta}."
            )
        super().__init__(task, *args, **kwargs)
        self.beta = beta

    def score(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Tensor:
        """The score of a class."""
        square = self.beta**2
        hits = (1 + square) * tp.double()
        whole = hits + square * fn.double() + fp.double()
        return hits / whole.clamp(min=min(1.0, square))


class F1Score(FBetaScore):
    r"""The harmonic mean of precision and recall.

    .. math:: \frac{2\, TP}{2\, TP + FN + FP}

    Arguments and shapes are those of :class:`Accuracy`.

    >>> from flambeau.trainer.metrics import F1Score
    >>> F1Score(task="binary")(tensor([0.9, 0.8, 0.7, 0.1]), tensor([1, 1, 0, 0]))
    tensor(0.8000)
    """

    def __init__(self, task: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(task, 1.0, *args, **kwargs)
