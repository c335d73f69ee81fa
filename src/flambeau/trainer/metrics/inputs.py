"""Predictions and targets of classification, brought to one form without looking at values."""

from __future__ import annotations

from typing import Literal

import flambeau
from flambeau import Tensor

__all__ = ["Task", "check_task", "labels", "probabilities", "ranked", "scores", "valid"]

Task = Literal["binary", "multiclass", "multilabel"]


def check_task(task: str, num_classes: int | None, num_labels: int | None) -> int:
    """How many classes (or labels) a task has; 2 for a binary one.

    Raises: ``ValueError`` for another task, or if the number is missing or less than two.
    """
    if task == "binary":
        return 2
    if task not in ("multiclass", "multilabel"):
        raise ValueError(
            f"Invalid Classification: expected one of ['binary', 'multiclass', 'multilabel'], but "
            f"got {task!r}"
        )
    name, number = (
        ("num_classes", num_classes) if task == "multiclass" else ("num_labels", num_labels)
    )
    if not isinstance(number, int) or isinstance(number, bool) or number < 2:
        raise ValueError(
            f'`{name}` must be an integer larger than 1 for task="{task}", got {number!r}'
        )
    return number


def check_target(target: Tensor) -> None:
    """Raises ``ValueError`` if targets are floating-point numbers."""
    if target.is_floating_point():
        raise ValueError(
            "Expected argument `target` to be an int or long tensor with ground truth labels but "
            f"got tensor with dtype {target.dtype}"
        )


def same_shape(preds: Tensor, target: Tensor) -> None:
    """Raises ``RuntimeError`` unless predictions and targets have the same shape."""
    if preds.shape != target.shape:
        raise RuntimeError(
            "Predictions and targets are expected to have the same shape, but got "
            f"{tuple(preds.shape)} and {tuple(target.shape)}."
        )


def probabilities(preds: Tensor) -> Tensor:
    """Scores as probabilities: themselves if all lie in [0, 1], else their sigmoids."""
    inside = ((preds >= 0) & (preds <= 1)).all()
    return flambeau.where(inside, preds, preds.sigmoid())


def _last(t: Tensor) -> Tensor:
    """(N, C, …) as (N·…, C)."""
    return t.movedim(1, -1).reshape(-1, t.shape[1])


def check_classes(preds: Tensor, target: Tensor, number: int) -> None:
    """Raises ``ValueError`` unless ``preds`` is (N, C, …) and ``target`` (N, …), C the number."""
    if (
        preds.ndim != target.ndim + 1
        or preds.shape[2:] != target.shape[1:]
        or (preds.shape[0] != target.shape[0])
    ):
        raise ValueError(
            "Either `preds` and `target` both should have the (same) shape (N, ...), or `target` "
            f"should be (N, ...) and `preds` should be (N, C, ...); got {list(preds.shape)} and "
            f"{list(target.shape)}."
        )
    if preds.shape[1] != number:
        raise ValueError(
            "If `preds` have one dimension more than `target`, `preds.shape[1]` should be equal to "
            f"`num_classes`; got {preds.shape[1]}, and {number} classes."
        )


def labels(
    task: Task, preds: Tensor, target: Tensor, number: int, threshold: float
) -> tuple[Tensor, Tensor]:
    """Predicted and true labels: (N,) for a binary or multiclass task, (N, labels) else.

    Raises: ``ValueError`` or ``RuntimeError`` for shapes or dtypes that do not fit.
    """
    check_target(target)
    if task == "multiclass":
        if preds.is_floating_point():
            check_classes(preds, target, number)
            preds = preds.argmax(1)
        same_shape(preds, target)
        return preds.reshape(-1).long(), target.reshape(-1).long()
    same_shape(preds, target)
    if preds.is_floating_point():
        preds = probabilities(preds) > threshold
    if task == "binary":
        return preds.reshape(-1).long(), target.reshape(-1).long()
    check_labels(preds, number)
    return _last(preds).long(), _last(target).long()


def check_labels(preds: Tensor, number: int) -> None:
    """Raises ``ValueError`` unless ``preds`` is (N, labels, …)."""
    if preds.ndim < 2 or preds.shape[1] != number:
        raise ValueError(
            "Expected both `target.shape[1]` and `preds.shape[1]` to be equal to the number of "
            f"labels ({number}), got shape {list(preds.shape)}"
        )


def scores(task: Task, preds: Tensor, target: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Probabilities and true labels: (N,) and (N,); (N, C) and (N,); (N, labels) twice.

    Scores of a multiclass task that are no probabilities go through a softmax.

    Raises: ``ValueError`` or ``RuntimeError`` for shapes or dtypes that do not fit.
    """
    check_target(target)
    if not preds.is_floating_point():
        raise ValueError(
            "Expected argument `preds` to be a floating tensor with probability/logit scores, but "
            f"got tensor with dtype {preds.dtype}"
        )
    if task == "multiclass":
        check_classes(preds, target, number)
        preds = _last(preds)
        inside = ((preds >= 0) & (preds <= 1)).all()
        preds = flambeau.where(inside, preds, preds.softmax(1))
        return preds, target.reshape(-1).long()
    same_shape(preds, target)
    preds = probabilities(preds)
    if task == "binary":
        return preds.reshape(-1), target.reshape(-1).long()
    check_labels(preds, number)
    return _last(preds), _last(target).long()


def ranked(preds: Tensor, target: Tensor, number: int, k: int) -> tuple[Tensor, Tensor]:
    """Labels of a multiclass task where a target among the ``k`` best scores counts as predicted.

    Raises: ``ValueError`` if ``preds`` holds no scores, or fewer than ``k`` classes.
    """
    check_target(target)
    if not preds.is_floating_point():
        raise ValueError("Expected argument `preds` to be scores (N, C, ...) where `top_k` > 1")
    check_classes(preds, target, number)
    preds, target = _last(preds), target.reshape(-1).long()
    best = preds.topk(k, dim=1).indices
    hit = (best == target.unsqueeze(1)).any(1)
    return flambeau.where(hit, target, best[:, 0]), target


def valid(target: Tensor, ignore_index: int | None) -> Tensor | None:
    """Which targets count; None for all."""
    return None if ignore_index is None else target != ignore_index
