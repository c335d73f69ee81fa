"""LearningRateFinder: the learning rate at which the loss falls fastest, from a short trial."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from flambeau.trainer.callback import Callback
from flambeau.trainer.rehearsal import (
    Rehearsal,
    attribute_owner,
    configure_again,
    set_attribute,
)
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["LRFinder", "LearningRateFinder"]


class LRFinder:
    """What a trial found: ``results`` has learning rates (``lr``) and smoothed losses (``loss``).

    >>> from flambeau.trainer.callbacks.lr_finder import LRFinder
    >>> finder = LRFinder("linear", 0.0, 1.0, 4)
    >>> finder.results.update(lr=[0.2, 0.4, 0.6, 0.8], loss=[5.0, 4.5, 2.0, 1.9])
    >>> finder.suggestion(skip_begin=0, skip_end=0)
    0.4
    """

    def __init__(
        self,
        mode: Literal["exponential", "linear"],
        lr_min: float,
        lr_max: float,
        num_training: int,
    ) -> None:
        if mode not in ("exponential", "linear"):
            raise ValueError("mode should be either 'exponential' or 'linear'")
        self.mode = mode
        self.lr_min = lr_min
        self.lr_max = lr_max
        self.num_training = num_training
        self.results: dict[str, list[float]] = {"lr": [], "loss": []}
        self._optimal_idx: int | None = None

    def rate(self, step: int) -> float:
        """The learning rate of a step of the trial, from 0."""
        done = step / max(1, self.num_training - 1)
        if self.mode == "linear":
            return self.lr_min + done * (self.lr_max - self.lr_min)
        return self.lr_min * (self.lr_max / self.lr_min) ** done

    def suggestion(self, skip_begin: int = 10, skip_end: int = 1) -> float | None:
        """The rate where the loss falls fastest, at the steepest slope of the curve [Smith 2017].

        None (and a warning) if too few points are left.
        """
        stop = len(self.results["loss"]) - skip_end
        losses = np.asarray(self.results["loss"][skip_begin:stop], dtype=np.float64)
        places = np.flatnonzero(np.isfinite(losses))
        if len(places) < 2:
            rank_zero_warn(
                "Failed to compute suggestion for learning rate because there are not enough "
                "points. Increase the loop iteration limits or the size of your dataset/dataloader."
            )
            self._optimal_idx = None
            return None
        steepest = int(np.argmin(np.gradient(losses[places])))
        self._optimal_idx = int(places[steepest]) + skip_begin
        return self.results["lr"][self._optimal_idx]

    def plot(self, suggest: bool = False, show: bool = False, ax: Any = None) -> Any:
        """The losses over the rates, drawn by Matplotlib (``ImportError`` without it); returns the
        figure.
        """
        from matplotlib import pyplot

        fig = None
        if ax is None:
            fig, ax = pyplot.subplots()
        ax.plot(self.results["lr"], self.results["loss"])
        if self.mode == "exponential":
            ax.set_xscale("log")
        ax.set_xlabel("Learning rate")
        ax.set_ylabel("Loss")
        if suggest and self.suggestion() is not None:
            at = self._optimal_idx
            ax.plot(self.results["lr"][at], self.results["loss"][at], "o", color="red")
        if show:
            pyplot.show()
        return fig


class _Trial(Callback):
    """Sets the rate of each step, and notes the loss."""

    smoothing = 0.98

    def __init__(self, finder: LRFinder, threshold: float | None) -> None:
        self.finder = finder
        self.threshold = threshold
        self.mean = 0.0
        self.best = math.inf
        self.steps = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.finder.rate(trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        step = trainer.global_step
        if outputs is None or step == self.steps:
            return
        self.steps = step
        loss = float(outputs["loss"])
        self.mean = self.smoothing * self.mean + (1 - self.smoothing) * loss
        # Without the bias of the zero it began with.
        smoothed = self.mean / (1 - self.smoothing**step)
        self.finder.results["lr"].append(self.finder.rate(step - 1))
        self.finder.results["loss"].append(smoothed)
        if self.threshold is not None and step > 1 and smoothed > self.threshold * self.best:
            trainer.should_stop = True
        if smoothed < self.best or step == 1:
            self.best = smoothed


class LearningRateFinder(Callback):
    """Tries rising learning rates before training, and takes the one where the loss falls fastest.

    Args:
        min_lr, max_lr: the first and the last rate tried.
        num_training_steps: how many are tried.
        mode: "exponential" or "linear" steps between them.
        early_stop_threshold: ends the trial when the smoothed loss is above this multiple of the
            best; None: never.
        update_attr: writes the suggestion to the module (``lr`` or ``learning_rate``, or the
            attribute ``attr_name``, also in ``hparams``); the optimizers are then configured anew.

    ``optimal_lr`` is an :class:`LRFinder` with the curve. Training begins from exactly the state
    that it would have begun from without the trial.

    Raises: ``MisconfigurationException`` without such an attribute, or with several optimizers.

    Reference: Lightning's callback of this name; the method is that of [Smith 2017].

    >>> from flambeau.trainer.callbacks import LearningRateFinder
    >>> finder = LearningRateFinder(max_lr=0.1, num_training_steps=50)
    """

    SUPPORTED_MODES = ("linear", "exponential")

    def __init__(
        self,
        min_lr: float = 1e-8,
        max_lr: float = 1,
        num_training_steps: int = 100,
        mode: Literal["exponential", "linear"] = "exponential",
        early_stop_threshold: float | None = 4.0,
        update_attr: bool = True,
        attr_name: str = "",
    ) -> None:
        if mode not in self.SUPPORTED_MODES:
            raise ValueError(f"`mode` should be one of {self.SUPPORTED_MODES}.")
        self._range = (mode, min_lr, max_lr, num_training_steps)
        self._early_stop_threshold = early_stop_threshold
        self._update_attr = update_attr
        self._attr_name = attr_name
        self.optimal_lr: LRFinder | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Runs the trial."""
        self.lr_find(trainer, pl_module)

    def lr_find(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The trial; afterwards ``optimal_lr`` is there."""
        if trainer.fast_dev_run:
            rank_zero_warn("Skipping learning rate finder since `fast_dev_run` is enabled.")
            return
        if len(trainer.optimizers) != 1:
            raise MisconfigurationException(
                f"The learning-rate finder works with one optimizer; there are "
                f"{len(trainer.optimizers)}"
            )
        name = self._attribute(trainer) if self._update_attr else ""
        finder = LRFinder(*self._range)
        rehearsal = Rehearsal(trainer)
        trial = _Trial(finder, self._early_stop_threshold)
        with rehearsal.apart():
            rehearsal.run(finder.num_training, trial, schedules=lambda optimizers: [])
        self.optimal_lr = finder
        if not name:
            return
        rate = finder.suggestion()
        if rate is None:
            return
        set_attribute(attribute_owner(trainer, name), name, rate)
        configure_again(trainer)
        rank_zero_info(f"Learning rate set to {rate}")

    def _attribute(self, trainer: Trainer) -> str:
        names = [self._attr_name] if self._attr_name else ["lr", "learning_rate"]
        for name in names:
            if attribute_owner(trainer, name) is not None:
                return name
        raise MisconfigurationException(
            "When using the learning rate finder, either `model` or `model.hparams` should have "
            f"one of these fields: {names}. If your model has a different name for the learning "
            "rate, set it with `attr_name`."
        )
