"""Callback: what is to happen beside training, at named moments of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flambeau import Tensor
    from flambeau.optim import Optimizer
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["Callback", "Checkpoint"]

Step = Any
"""What a step returned: a tensor, a dictionary, or None."""


class Callback:
    """Base class: a subclass overrides the moments it cares for; the others cost nothing.

    Every hook gets the trainer and the module first. ``state_key`` names the callback's entry in a
    checkpoint; two callbacks of one class that may stand side by side need different ones.

    Reference: Lightning's ``Callback``, the same hooks with the same arguments.

    >>> from flambeau.trainer import Callback
    >>> class Count(Callback):
    ...     batches = 0
    ...     def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
    ...         self.batches += 1
    """

    @property
    def state_key(self) -> str:
        """The callback's key in the ``callbacks`` of a checkpoint."""
        return type(self).__qualname__

    def _generate_state_key(self, **kwargs: Any) -> str:
        """A key made of the class and the arguments that tell two callbacks apart."""
        return f"{type(self).__qualname__}{kwargs!r}"

    # --- a run ------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A run begins; ``stage`` is "fit", "validate", "test" or "predict"."""

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A run has ended."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """``fit`` begins: optimizers are there, their states are not restored yet."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """``fit`` is over."""

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The few validation batches before training begin."""

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The few validation batches before training are over."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training begins."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training is over."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation begins."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation is over; ``trainer.callback_metrics`` holds its means."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test begins."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test is over."""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction begins."""

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A prediction is over."""

    # --- an epoch ---------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training epoch begins."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training epoch is over, its validation included."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The batches of a validation begin."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The batches of a validation are over."""

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The batches of a test begin."""

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The batches of a test are over."""

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The batches of a prediction begin."""

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The batches of a prediction are over."""

    # --- a batch ----------------------------------------------------------------------------

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """A training batch begins."""

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Step,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """A training batch is over; ``outputs`` is what ``training_step`` returned."""

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A validation batch begins."""

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Step,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A validation batch is over."""

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A test batch begins."""

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Step,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A test batch is over."""

    def on_predict_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A prediction batch begins."""

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A prediction batch is over; ``outputs`` is its prediction."""

    # --- the parts of a step ----------------------------------------------------------------

    def on_before_zero_grad(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Gradients are about to be forgotten."""

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """``loss.backward()`` is about to be called."""

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gradients are there, not clipped yet."""

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """The optimizer is about to step; gradients are not clipped yet."""

    # --- errors, saving ---------------------------------------------------------------------

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """The run stops for an exception, Ctrl-C included."""

    def state_dict(self) -> dict[str, Any]:
        """What the callback wants kept in a checkpoint."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned."""

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """A checkpoint is about to be written; may add to it."""

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """A checkpoint was read to go on from."""


class Checkpoint(Callback):
    """Base of callbacks that write checkpoints.

    At every moment they come last, after the module's own hook and after values went to the
    loggers: what they write is the whole of that moment.
    """
