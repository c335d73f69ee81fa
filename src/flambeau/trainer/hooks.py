"""The moments of a run at which a module or a data module may do something of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.trainer.utilities.transfer import move_data_to_device

if TYPE_CHECKING:
    from flambeau import Tensor
    from flambeau.optim import Optimizer

__all__ = ["DataHooks", "ModelHooks"]


class DataHooks:
    """Where the data come from, and how a batch reaches the device."""

    def prepare_data(self) -> None:
        """Downloads and the like: called once, before ``setup``; do not set attributes here."""

    def setup(self, stage: str) -> None:
        """A run begins; ``stage`` is "fit", "validate", "test" or "predict"."""

    def teardown(self, stage: str) -> None:
        """A run has ended."""

    def train_dataloader(self) -> Any:
        """The batches to train on: anything that can be iterated over again and again."""
        raise NotImplementedError("`train_dataloader` must be implemented to be used with `fit`")

    def val_dataloader(self) -> Any:
        """The batches to validate on, or a list of several such."""
        raise NotImplementedError("`val_dataloader` must be implemented to validate")

    def test_dataloader(self) -> Any:
        """The batches to test on, or a list of several such."""
        raise NotImplementedError("`test_dataloader` must be implemented to be used with `test`")

    def predict_dataloader(self) -> Any:
        """The batches to predict, or a list of several such."""
        raise NotImplementedError("`predict_dataloader` must be implemented to predict")

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """May change a batch before it is moved to the device."""
        return batch

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Moves a batch to the device."""
        return move_data_to_device(batch, device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """May change a batch when it is on the device."""
        return batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint is about to be written; may add to it."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint was read; takes back what :meth:`on_save_checkpoint` added."""


class ModelHooks(DataHooks):
    """Every moment of a run, in the order in which they come."""

    def configure_callbacks(self) -> Any:
        """Callbacks of the module's own; they replace the trainer's of the same class."""
        return []

    def configure_model(self) -> None:
        """Makes layers that ``__init__`` left out; called at the beginning of every run."""

    def configure_sharded_model(self) -> None:
        """The name that :meth:`configure_model` had; called as well."""

    def on_fit_start(self) -> None:
        """``fit`` begins."""

    def on_fit_end(self) -> None:
        """``fit`` is over."""

    def on_train_start(self) -> None:
        """Training begins, after the sanity check."""

    def on_train_end(self) -> None:
        """Training is over."""

    def on_validation_start(self) -> None:
        """A validation begins."""

    def on_validation_end(self) -> None:
        """A validation is over."""

    def on_test_start(self) -> None:
        """A test begins."""

    def on_test_end(self) -> None:
        """A test is over."""

    def on_predict_start(self) -> None:
        """A prediction begins."""

    def on_predict_end(self) -> None:
        """A prediction is over."""

    def on_train_epoch_start(self) -> None:
        """A training epoch begins."""

    def on_train_epoch_end(self) -> None:
        """A training epoch is over, its validation included."""

    def on_validation_epoch_start(self) -> None:
        """The batches of a validation begin."""

    def on_validation_epoch_end(self) -> None:
        """The batches of a validation are over."""

    def on_test_epoch_start(self) -> None:
        """The batches of a test begin."""

    def on_test_epoch_end(self) -> None:
        """The batches of a test are over."""

    def on_predict_epoch_start(self) -> None:
        """The batches of a prediction begin."""

    def on_predict_epoch_end(self) -> None:
        """The batches of a prediction are over."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """A training batch begins; returning -1 skips the rest of the epoch."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A training batch is over; ``outputs`` is ``{"loss": …}`` and what the step returned."""

    def on_validation_batch_start(
        self, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A validation batch begins."""

    def on_validation_batch_end(
        self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A validation batch is over."""

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A test batch begins."""

    def on_test_batch_end(
        self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A test batch is over."""

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A prediction batch begins."""

    def on_predict_batch_end(
        self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A prediction batch is over."""

    def on_validation_model_zero_grad(self) -> None:
        """Before a validation within training: forgets the gradients."""
        self.zero_grad()

    def on_validation_model_eval(self) -> None:
        """Puts the module in evaluation mode for a validation."""
        self.eval()

    def on_validation_model_train(self) -> None:
        """Puts the module back in the modes it had; overridden, it is called instead of that."""
        self.train()

    def on_test_model_eval(self) -> None:
        """Puts the module in evaluation mode for a test."""
        self.eval()

    def on_test_model_train(self) -> None:
        """Puts the module back in the modes it had; overridden, it is called instead of that."""
        self.train()

    def on_predict_model_eval(self) -> None:
        """Puts the module in evaluation mode for a prediction."""
        self.eval()

    def on_before_zero_grad(self, optimizer: Optimizer) -> None:
        """Gradients are about to be forgotten."""

    def on_before_backward(self, loss: Tensor) -> None:
        """``loss.backward()`` is about to be called."""

    def on_after_backward(self) -> None:
        """Gradients are there, not clipped yet."""

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """The optimizer is about to step; gradients are not clipped yet."""
