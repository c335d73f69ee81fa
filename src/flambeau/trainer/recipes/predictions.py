"""What a classifier makes of its validation set: the scores, and the images it is wrong about."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import flambeau as torch  # upward: an application, written against the public face like a user's
from flambeau.trainer.data import as_list
from flambeau.trainer.module import LightningModule

__all__ = ["NoClassifierError", "Predictions", "predictions"]

_SHOWN = 48


class NoClassifierError(ValueError):
    """A module that does not say which class an input is of; the message says why not."""


@dataclass
class Predictions:
    """Probabilities of shape (n, classes), the right classes of shape (n,), and images.

    ``wrong`` are the indices of the ``len(images)`` most confident mistakes, ``images`` their
    inputs of shape (m, channels, height, width), as bytes; empty if inputs are no images.
    """

    probabilities: np.ndarray
    targets: np.ndarray
    wrong: np.ndarray
    images: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each."""
        return self.probabilities.argmax(1)

    @property
    def accuracy(self) -> float:
        """Which part is right."""
        return float((self.predicted == self.targets).mean())

    def confusion(self) -> np.ndarray:
        """How often class i was taken for class j, at (i, j)."""
        classes = self.probabilities.shape[1]
        counts = np.bincount(self.targets * classes + self.predicted, minlength=classes**2)
        return counts.reshape(classes, classes)

    def save(self, path: Path) -> None:
        """Writes them as ``.npz``, in one step."""
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **vars(self))
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Reads what :meth:`save` wrote. Nothing in the file is run."""
        with np.load(path, allow_pickle=False) as found:
            return cls(**{name: found[name] for name in cls.__dataclass_fields__})


def predictions(module: Any, loaders: Any) -> Predictions:
    """What ``module`` makes of the first loader's pairs (inputs, classes).

    Raises: ``NoClassifierError`` if there is no loader, batches are no such pairs, or
    ``module(inputs)`` is no score for each class.
    """
    found = as_list(loaders)
    if not found:
        raise NoClassifierError("there is no validation set")
    _check_forward(module)
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            return _collected(module, found[0])
    finally:
        module.train(training)


def _check_forward(module: Any) -> None:
    if type(module).forward is LightningModule.forward:
        raise NoClassifierError("the module has no forward")
    parameters = list(inspect.signature(module.forward).parameters.values())
    needed = [p for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(needed) != 1 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise NoClassifierError(f"forward takes {len(needed)} arguments, not the inputs alone")


def _collected(module: Any, loader: Iterable[Any]) -> Predictions:
    probabilities, targets, kept = [], [], _Kept()
    for batch in loader:
        inputs, classes = _pair(batch)
        if inputs.is_floating_point():
            inputs = inputs.to(module.dtype)
        scores = module(inputs)
        if not isinstance(scores, torch.Tensor) or scores.ndim != 2 or len(scores) != len(classes):
            raise NoClassifierError("the module does not give a score for each class")
        values = scores.float().softmax(1).numpy()
        right = classes.numpy()
        if right.size and not 0 <= right.min() <= right.max() < values.shape[1]:
            raise NoClassifierError("the targets are no classes of the module's scores")
        kept.take(sum(map(len, targets)), inputs, values, right)
        probabilities.append(values)
        targets.append(right)
    if not targets:
        raise NoClassifierError("the validation set is empty")
    wrong, images = kept.arrays()
    return Predictions(
        np.concatenate(probabilities), np.concatenate(targets).astype(np.int64), wrong, images
    )


def _pair(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    if (
        isinstance(batch, list | tuple)
        and len(batch) == 2
        and all(isinstance(part, torch.Tensor) for part in batch)
        and batch[1].ndim == 1
        and not batch[1].is_floating_point()
        and batch[1].dtype != torch.bool
    ):
        return batch[0], batch[1].long()
    raise NoClassifierError("batches are not pairs (inputs, classes)")


class _Kept:
    """The images of the most confident mistakes so far."""

    def __init__(self) -> None:
        self.found: list[tuple[float, int, np.ndarray]] = []

    def take(self, start: int, inputs: torch.Tensor, values: np.ndarray, right: np.ndarray) -> None:
        """Looks at a batch whose first is number ``start``."""
        if inputs.ndim != 4 or inputs.shape[1] not in (1, 3):
            return
        guessed = values.argmax(1)
        for i in np.flatnonzero(guessed != right):
            self.found.append(
                (-float(values[i, guessed[i]]), start + int(i), inputs[int(i)].float().numpy())
            )
        self.found = sorted(self.found, key=lambda one: one[:2])[:_SHOWN]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The indices, and the images as bytes."""
        if not self.found:
            return np.zeros(0, np.int64), np.zeros((0, 1, 1, 1), np.uint8)
        indices = np.array([index for _, index, _ in self.found], np.int64)
        return indices, np.stack([_as_bytes(image) for _, _, image in self.found])


def _as_bytes(image: np.ndarray) -> np.ndarray:
    """An image of any range as bytes; one within [0, 1] keeps its brightness."""
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        image = (image - low) / (high - low or 1)
    return (image * 255).round().astype(np.uint8)
