"""GradientAccumulationScheduler: over how many batches gradients are summed, by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.exceptions import MisconfigurationException

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["GradientAccumulationScheduler"]


class GradientAccumulationScheduler(Callback):
    """Sets ``accumulate_grad_batches`` from an epoch on: ``{0: 8, 4: 4, 8: 1}``.

    Raises: ``TypeError`` for an empty or wrong dictionary, ``MisconfigurationException`` for epochs
    or numbers that cannot be, with manual optimization, or if the trainer accumulates as well.

    >>> from flambeau.trainer.callbacks import GradientAccumulationScheduler
    >>> schedule = GradientAccumulationScheduler({4: 2})
    >>> schedule.get_accumulate_grad_batches(3), schedule.get_accumulate_grad_batches(5)
    (1, 2)
    """

    def __init__(self, scheduling: dict[int, int]) -> None:
        if not scheduling:
            raise TypeError("Empty dict cannot be interpreted correct")
        for epoch, factor in scheduling.items():
            if not isinstance(epoch, int) or epoch < 0:
                raise MisconfigurationException(
                    f"Epoch should be an int greater than or equal to 0. Got {epoch}."
                )
            if not isinstance(factor, int) or factor < 1:
                raise MisconfigurationException(
                    f"Accumulation factor should be an int greater than 0. Got {factor}."
                )
        self.scheduling = {0: 1, **scheduling}
        self._began = False

    def going_to_accumulate_grad_batches(self) -> bool:
        """Whether any epoch accumulates."""
        return any(factor > 1 for factor in self.scheduling.values())

    def get_accumulate_grad_batches(self, epoch: int) -> int:
        """Over how many batches gradients are summed in an epoch (from 0)."""
        return self.scheduling[max(start for start in self.scheduling if start <= epoch)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks that nothing else accumulates."""
        if not pl_module.automatic_optimization:
            raise MisconfigurationException(
                "Automatic gradient accumulation and manual optimization are not supported "
                "together: count batches in `training_step`."
            )
        if trainer.accumulate_grad_batches != 1:
            raise ValueError(
                "You have set `accumulate_grad_batches` and are using the "
                "`GradientAccumulationScheduler` callback. Either remove "
                "`accumulate_grad_batches` from the Trainer or remove the callback."
            )
        self._began = True
        # A run taken up in the middle of an epoch does not come by its start.
        trainer.accumulate_grad_batches = self.get_accumulate_grad_batches(trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sets the number for the epoch."""
        trainer.accumulate_grad_batches = self.get_accumulate_grad_batches(trainer.current_epoch)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leaves the trainer as it was."""
        self._end(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leaves the trainer as it was."""
        self._end(trainer)

    def _end(self, trainer: Trainer) -> None:
        if self._began:
            trainer.accumulate_grad_batches = 1
            self._began = False
