"""Counting predictions, each kind as one recorded call: a metric costs a step some microseconds.

Nothing is read: what cannot be (a class out of range) is counted as well, and told later.
"""

from __future__ import annotations

from typing import Any

from flambeau import Tensor, float32, long
from flambeau.ir import scattering  # noqa: F401  (declares the primitive)
from flambeau.record.macro import function, ops
from flambeau.trainer.metrics import inputs
from flambeau.trainer.metrics.inputs import Task

__all__ = ["count_classes", "count_labels", "count_matrix", "count_scores", "prepared", "sides"]

# Up to so many classes pairs are counted by a product, whose float32 numbers are exact below this.
_FEW, _EXACT = 64, 1 << 24


def rows_of(labels: Tensor, number: int) -> Tensor:
    """(N,) labels as (N, number): which is which."""
    classes = ops.iota(shape=(1, number), dim=1, dtype=long)
    return labels.unsqueeze(1) == classes


def _added(
    counts: tuple[Tensor, ...], of_p: Tensor, of_t: Tensor, number: Any
) -> tuple[Tensor, ...]:
    """True and false positives, true and false negatives with those of a batch."""
    tp, fp, tn, fn = counts
    hits, predicted, true = (of_p & of_t).sum(0), of_p.sum(0), of_t.sum(0)
    return (
        tp + hits,
        fp + (predicted - hits),
        tn + (number - predicted - true + hits),
        fn + (true - hits),
    )


@function
def count_classes(
    preds: Tensor,
    target: Tensor,
    tp: Tensor,
    fp: Tensor,
    tn: Tensor,
    fn: Tensor,
    invalid: Tensor,
    number: int,
    top_k: int,
    ignore_index: int | None,
) -> tuple[Tensor, ...]:
    """The counts of a multiclass task with a batch: scalars, or one for each class."""
    if top_k > 1:
        p, t = inputs.ranked(preds, target, number, top_k)
    else:
        p, t = inputs.labels("multiclass", preds, target, number, 0.5)
    wrong = (t < 0) | (t >= number)
    if not preds.is_floating_point():
        wrong = wrong | (p < 0) | (p >= number)
    kept = inputs.valid(t, ignore_index)
    n: Any = t.numel()
    if kept is not None:
        wrong = wrong & kept
        n = kept.sum()
    invalid = invalid + wrong.sum()
    if tp.ndim == 0:
        hits = (p == t if kept is None else (p == t) & kept).sum()
        missed = n - hits
        return tp + hits, fp + missed, tn + (number - 1) * n - missed, fn + missed, invalid
    of_p, of_t = rows_of(p, number), rows_of(t, number)
    if kept is not None:
        of_p, of_t = of_p & kept.unsqueeze(1), of_t & kept.unsqueeze(1)
    return (*_added((tp, fp, tn, fn), of_p, of_t, n), invalid)


@function
def count_labels(
    preds: Tensor,
    target: Tensor,
    tp: Tensor,
    fp: Tensor,
    tn: Tensor,
    fn: Tensor,
    invalid: Tensor,
    task: Task,
    number: int,
    threshold: float,
    ignore_index: int | None,
) -> tuple[Tensor, ...]:
    """The counts of a binary task (scalars) or of several labels (one for each) with a batch."""
    p, t = inputs.labels(task, preds, target, number, threshold)
    wrong = ((t != 0) & (t != 1)) | ((p != 0) & (p != 1))
    of_p, of_t = p == 1, t == 1
    kept = inputs.valid(t, ignore_index)
    n: Any = t.shape[0]
    if kept is not None:
        wrong, of_p, of_t = wrong & kept, of_p & kept, of_t & kept
        n = kept.sum(0)
    return (*_added((tp, fp, tn, fn), of_p, of_t, n), invalid + wrong.sum())


def _tallied(counts: Tensor, place: Tensor, which: Tensor) -> Tensor:
    """``counts`` with one more at each of ``place`` where ``which`` says.

    Places are in range by the way they were made: none is looked at.
    """
    if not place.numel():
        return counts.clone()
    flat = ops.scatter_add(counts.reshape(-1), place.reshape(-1), which.reshape(-1).to(long), dim=0)
    return flat.reshape(counts.shape)


@function
def count_matrix(
    preds: Tensor,
    target: Tensor,
    counts: Tensor,
    invalid: Tensor,
    task: Task,
    number: int,
    threshold: float,
    ignore_index: int | None,
) -> tuple[Tensor, Tensor]:
    """A confusion matrix with a batch; one for each label of several."""
    p, t = inputs.labels(task, preds, target, number, threshold)
    classes = 2 if task == "multilabel" else number
    wrong = (t < 0) | (t >= classes) | (p < 0) | (p >= classes)
    kept = inputs.valid(t, ignore_index)
    if kept is not None:
        wrong = wrong & kept
    which = ~wrong if kept is None else kept & ~wrong
    if task != "multilabel" and number <= _FEW and t.numel() < _EXACT:
        # A product, which has a kernel.
        true = (rows_of(t, number) & which.unsqueeze(1)).to(float32)
        pairs = true.T @ rows_of(p, number).to(float32)
        return counts + pairs.to(long), invalid + wrong.sum()
    place = t.clamp(0, classes - 1) * classes + p.clamp(0, classes - 1)
    if task == "multilabel":
        place = place + 4 * ops.iota(shape=(1, number), dim=1, dtype=long)
    return _tallied(counts, place, which), invalid + wrong.sum()


@function
def sides(t: Tensor, kept: Tensor | None, task: Task, number: int) -> tuple[Tensor, Tensor]:
    """Which targets are positive and which negative, a column for each class."""
    if task == "multiclass":
        positive = rows_of(t, number)
        negative = ~positive
    else:
        positive, negative = t == 1, t == 0
        if t.ndim == 1:
            positive, negative = positive.unsqueeze(1), negative.unsqueeze(1)
    if kept is None:
        return positive, negative
    kept = kept.unsqueeze(1) if kept.ndim == 1 else kept
    return positive & kept, negative & kept


def _wrong(task: Task, t: Tensor, number: int, kept: Tensor | None) -> Tensor:
    """How many targets are no labels."""
    wrong = (t < 0) | (t >= (number if task == "multiclass" else 2))
    return (wrong if kept is None else wrong & kept).sum()


@function
def count_scores(
    preds: Tensor,
    target: Tensor,
    thresholds: Tensor,
    positives: Tensor,
    negatives: Tensor,
    invalid: Tensor,
    task: Task,
    number: int,
    ignore_index: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """How many positives and negatives lie between which thresholds, with a batch."""
    s, t = inputs.scores(task, preds, target, number)
    kept = inputs.valid(t, ignore_index)
    positive, negative = sides(t, kept, task, number)
    s = s.unsqueeze(1) if s.ndim == 1 else s
    bins = thresholds.shape[0] + 1
    # The bin says how many thresholds a score reaches.
    place = ops.searchsorted(thresholds.to(s.dtype), s, right=True, dtype=long)
    place = place + bins * ops.iota(shape=(1, s.shape[1]), dim=1, dtype=long)
    return (
        _tallied(positives, place, positive),
        _tallied(negatives, place, negative),
        invalid + _wrong(task, t, number, kept),
    )


@function
def prepared(
    preds: Tensor,
    target: Tensor,
    invalid: Tensor,
    task: Task,
    number: int,
    ignore_index: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores and labels to keep (-1 for what does not count), and the count of wrong ones."""
    s, t = inputs.scores(task, preds, target, number)
    kept = inputs.valid(t, ignore_index)
    invalid = invalid + _wrong(task, t, number, kept)
    if kept is not None:
        t = t * kept - (~kept).to(long)
    return s.detach().clone(), t.clone(), invalid
