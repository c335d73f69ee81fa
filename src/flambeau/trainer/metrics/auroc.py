"""AUROC: the area under the receiver operating characteristic."""

from __future__ import annotations

from typing import Any, Literal

import flambeau
from flambeau import Tensor
from flambeau.trainer.metrics import inputs
from flambeau.trainer.metrics.counting import count_scores, prepared, sides
from flambeau.trainer.metrics.inputs import Task
from flambeau.trainer.metrics.metric import Metric

__all__ = ["AUROC"]


class AUROC(Metric):
    r"""The probability that a positive scores higher than a negative, ties counting half.

    .. math:: \frac{1}{P N} \sum_{i:\, y_i = 1}\ \sum_{j:\, y_j = 0}
              [s_i > s_j] + \tfrac12 [s_i = s_j]

    which is the area under the curve of true over false positives [Hanley, McNeil 1982]. In a
    multiclass task each class is compared with all others. Where there are no positives or no
    negatives the value is NaN.

    Args:
        task: "binary", "multiclass" (give ``num_classes``) or "multilabel" (give ``num_labels``).
        thresholds: None is exact, and keeps all scores; a number of thresholds between 0 and 1, a
            list or a tensor of them keeps counts between the thresholds only.
        average: "macro" is the mean over the classes whose value is a number, "weighted" that mean
            weighted by their positives, "none" a value for each; "micro" (multilabel) takes all
            labels together.
        max_fpr: only the part of the curve up to this rate of false positives counts, corrected so
            that chance is 1/2 and a perfect order 1 [McClish 1989]; for binary and multilabel
            tasks.
        ignore_index: a target that does not count.
        validate_args: whether ``compute`` raises for labels out of range.

    Scores that do not all lie in [0, 1] go through a sigmoid, or the classes' softmax.

    Shapes: binary: both (N, …). Multiclass: target (N, …), scores (N, C, …). Multilabel: both
    (N, labels, …). The value is a scalar; (classes,) with "none".

    Raises: ``ValueError`` for arguments or shapes that do not fit.

    >>> from flambeau.trainer.metrics import AUROC
    >>> AUROC(task="binary")(tensor([0.1, 0.4, 0.35, 0.8]), tensor([0, 0, 1, 1]))
    tensor(0.7500)
    """

    is_differentiable = False
    higher_is_better = True

    def __init__(
        self,
        task: Task,
        thresholds: int | list[float] | Tensor | None = None,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: Literal["macro", "weighted", "none", "micro"] | None = "macro",
        max_fpr: float | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
    ) -> None:
        super().__init__()
        self.number = inputs.check_task(task, num_classes, num_labels)
        known = ("macro", "weighted", "none", None, *(["micro"] if task == "multilabel" else []))
        if task != "binary" and average not in known:
            raise ValueError(
                f"Expected argument `average` to be one of {known}, but got {average!r}"
            )
        if max_fpr is not None and not 0 < max_fpr <= 1:
            raise ValueError(f"Argument `max_fpr` should be in (0, 1], but got: {max_fpr}")
        if max_fpr not in (None, 1.0) and task == "multiclass":
            raise ValueError(
                "Partial AUC computation not available in multiclass setting, 'max_fpr' must be "
                f"set to `None`, received `max_fpr={max_fpr}` instead"
            )
        self.max_fpr = max_fpr
        self.task = task
        self.average = average
        self.ignore_index = ignore_index
        self.validate_args = validate_args
        self.thresholds = _as_thresholds(thresholds)
        self.add_state("invalid", flambeau.tensor(0), dist_reduce_fx="sum")
        if self.thresholds is None:
            self.add_state("preds", [], dist_reduce_fx="cat")
            self.add_state("target", [], dist_reduce_fx="cat")
        else:
            columns = 1 if task == "binary" else self.number
            zeros = flambeau.zeros(columns, len(self.thresholds) + 1, dtype=flambeau.long)
            self.add_state("positives", zeros, dist_reduce_fx="sum")
            self.add_state("negatives", zeros, dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes in scores and true labels."""
        how = self.task, self.number, self.ignore_index
        if self.thresholds is None:
            s, t, self.invalid = prepared(preds, target, self.invalid, *how)
            self.preds, self.target = [*self.preds, s], [*self.target, t]
            return
        counts = self.positives, self.negatives, self.invalid
        self.positives, self.negatives, self.invalid = count_scores(
            preds, target, self.thresholds, *counts, *how
        )

    def check(self) -> None:
        """Raises ``ValueError`` for labels out of range."""
        if self.validate_args and (count := int(self.invalid)):
            top = self.number if self.task == "multiclass" else 2
            raise ValueError(f"AUROC: {count} targets are not among the labels 0 to {top - 1}")

    def compute(self) -> Tensor:
        """The area, averaged over classes."""
        together = self.task == "multilabel" and self.average == "micro"
        if self.thresholds is not None:
            positives, negatives = self.positives, self.negatives
            if together:
                positives, negatives = (
                    positives.sum(0, keepdim=True),
                    negatives.sum(0, keepdim=True),
                )
            p = positives.sum(1)
            areas = self._of_counts(positives, negatives)
        else:
            areas, p = self._exact(together)
        if self.task == "binary" or together:
            return areas.reshape(()).to(flambeau.get_default_dtype())
        if self.average in ("macro", "weighted"):
            known = ~areas.isnan()
            weight = (p * known if self.average == "weighted" else known).double()
            areas = (flambeau.where(known, areas, 0.0) * weight).sum() / weight.sum()
        return areas.to(flambeau.get_default_dtype())

    def _of_counts(self, positives: Tensor, negatives: Tensor) -> Tensor:
        """The area for each row of counts by score, lowest first; equal scores are ties."""
        if self.max_fpr not in (None, 1.0):
            return _partial_areas(positives.flip(1), negatives.flip(1), self.max_fpr)
        wins = positives * (2 * negatives.cumsum(1) - negatives)
        return _areas(wins.sum(1), positives.sum(1), negatives.sum(1))

    def _exact(self, together: bool) -> tuple[Tensor, Tensor]:
        """The areas from all scores, and the number of positives."""
        columns = 1 if self.task == "binary" else self.number
        if not self.preds:
            nothing = flambeau.zeros(columns, dtype=flambeau.long)
            return _areas(nothing, nothing, nothing)[: 1 if together else columns], nothing
        s, t = flambeau.cat(self.preds), flambeau.cat(self.target)
        positive, negative = sides(t, t != -1, self.task, self.number)
        if together:
            s, positive, negative = (
                s.reshape(-1, 1),
                positive.reshape(-1, 1),
                negative.reshape(-1, 1),
            )
        p = positive.sum(0)
        s = s.reshape(len(s), -1).T.contiguous()
        if self.max_fpr not in (None, 1.0):
            rows = zip(s, positive.T, negative.T, strict=True)
            counts = [_counts_by_score(*row) for row in rows]
            return flambeau.cat([self._of_counts(*pair) for pair in counts]), p
        ordered, order = s.sort(dim=1)
        within = flambeau.arange(len(s)).unsqueeze(1) * s.shape[1] + order
        losers = negative.T.reshape(-1).long()[within.reshape(-1)].reshape(s.shape).cumsum(1)
        losers = flambeau.nn.functional.pad(losers, (1, 0))
        base = flambeau.arange(len(s)).unsqueeze(1) * losers.shape[1]
        wins = sum(
            losers.reshape(-1)[
                (base + flambeau.searchsorted(ordered, s, right=right)).reshape(-1)
            ].reshape(s.shape)
            for right in (False, True)
        )
        return _areas((wins * positive.T.long()).sum(1), p, negative.sum(0)), p


def _as_thresholds(given: Any) -> Tensor | None:
    if given is None:
        return None
    if isinstance(given, int):
        if given < 2:
            raise ValueError(
                f"If argument `thresholds` is an integer, expected it to be larger than 1, but got "
                f"{given}"
            )
        return flambeau.linspace(0, 1, given)
    values = flambeau.as_tensor(given, dtype=flambeau.get_default_dtype())
    if values.ndim != 1 or not bool(((values >= 0) & (values <= 1)).all()):
        raise ValueError(
            "Expected argument `thresholds` to be an integer, or a list or 1d tensor of floats in "
            f"the [0,1] range, but got {given}"
        )
    return values.sort().values


def _areas(twice_wins: Tensor, p: Tensor, n: Tensor) -> Tensor:
    return twice_wins.double() / (2.0 * p.double() * n.double())


def _counts_by_score(scores: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """How many positives and negatives have each score that occurs, lowest first; one row each."""
    known, places = scores.unique(return_inverse=True)
    zeros = flambeau.zeros(len(known), dtype=flambeau.long)
    found = [zeros.index_add(0, places, side.long()) for side in (positive, negative)]
    return found[0].unsqueeze(0), found[1].unsqueeze(0)


def _partial_areas(positives: Tensor, negatives: Tensor, max_fpr: float) -> Tensor:
    """The corrected areas under the beginning of each curve; counts are by score, highest first."""

    def curve(counts: Tensor) -> Tensor:
        rates = counts.cumsum(1).double() / counts.sum(1, keepdim=True).double()
        return flambeau.nn.functional.pad(rates, (1, 0))

    fpr, tpr = curve(negatives), curve(positives)
    left, right = fpr[:, :-1], fpr[:, 1:]
    low, width = tpr[:, :-1], right - left
    inside = right.clamp(max=max_fpr) - left.clamp(max=max_fpr)
    # Where a segment is cut off, its end is between its two points.
    share = flambeau.where(width > 0, inside / width, 1.0)
    high = low + share * (tpr[:, 1:] - low)
    area = (inside * (low + high) / 2).sum(1)
    least = max_fpr**2 / 2
    return (1 + (area - least) / (max_fpr - least)) / 2
