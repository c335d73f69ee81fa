"""Where a training loop stands, and how far it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flambeau.trainer.evaluation import Evaluation
    from flambeau.trainer.trainer import Trainer

__all__ = ["Position"]


def _limit(name: str) -> property:
    """A limit of the trainer's, as an attribute of its loop; it can be raised between two fits."""

    def get(loop: Position) -> Any:
        return getattr(loop.trainer, name)

    def put(loop: Position, value: int | None) -> None:
        setattr(loop.trainer, name, value)

    return property(get, put, doc=f"The trainer's ``{name}``.")


class Position:
    """What one can ask a training loop; :class:`~flambeau.trainer.loop.FitLoop` counts."""

    trainer: Trainer
    epoch: int
    # Optimizer steps; over all epochs.
    global_step: int
    # Batches whose optimizer stepped, over all epochs: the step that loggers see.
    logged_step: int
    total_batches: int
    batch_idx: int
    is_last_batch: bool
    length: int | None
    validation: Evaluation | None
    resumed: dict[str, Any] | None
    _skip_rest: bool

    max_epochs = _limit("max_epochs")
    min_epochs = _limit("min_epochs")
    max_steps = _limit("max_steps")
    min_steps = _limit("min_steps")

    def follow(self, before: Position) -> None:
        """Counts on from where an earlier loop of the trainer ended."""
        self.epoch, self.global_step = before.epoch, before.global_step
        self.logged_step, self.total_batches = before.logged_step, before.total_batches
        self.is_last_batch = before.is_last_batch

    @property
    def finished(self) -> bool:
        """Whether no further epoch begins."""
        trainer = self.trainer
        if self.length == 0:
            return True
        if trainer.max_epochs != -1 and self.epoch >= trainer.max_epochs:
            return True
        return self.out_of_steps or (trainer.should_stop and self.may_stop)

    @property
    def finished_within_epoch(self) -> bool:
        """Whether the epoch ends before its last batch."""
        return self._skip_rest or self.out_of_steps or (self.trainer.should_stop and self.may_stop)

    @property
    def out_of_steps(self) -> bool:
        """Whether ``max_steps`` were taken."""
        return self.trainer.max_steps != -1 and self.global_step >= self.trainer.max_steps

    @property
    def may_stop(self) -> bool:
        """Whether ``min_epochs`` and ``min_steps`` are done."""
        trainer = self.trainer
        epochs = not trainer.min_epochs or self.epoch >= trainer.min_epochs
        return epochs and (not trainer.min_steps or self.global_step >= trainer.min_steps)

    @property
    def validates_in_this_epoch(self) -> bool:
        """Whether it is one of every ``check_val_every_n_epoch``."""
        every = self.trainer.check_val_every_n_epoch
        return every is None or (self.epoch + 1) % every == 0

    def place(self, index: int) -> str:
        """Where a batch is, in words."""
        return f"step {self.global_step} (epoch {self.epoch}, batch {index})"

    # --- Lightning's names ------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether no further epoch begins."""
        return self.finished

    @property
    def restarting(self) -> bool:
        """Whether a checkpoint's position is still to be taken up."""
        return self.resumed is not None

    @property
    def max_batches(self) -> int | float:
        """How many batches an epoch has."""
        return self.trainer.num_training_batches

    @property
    def total_batch_idx(self) -> int:
        """The number of the last batch over all epochs, from 0; -1 before the first."""
        return self.total_batches - 1

    @property
    def epoch_loop(self) -> Position:
        """The loop over batches: it is in the same object."""
        return self

    @property
    def val_loop(self) -> Evaluation | None:
        """The validation within training."""
        return self.validation
