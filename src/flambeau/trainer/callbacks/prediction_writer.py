"""BasePredictionWriter: where predictions go as they come."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.utils.data import SequentialSampler

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["BasePredictionWriter", "WriteInterval"]


class WriteInterval(StrEnum):
    """When predictions are written."""

    BATCH = "batch"
    EPOCH = "epoch"
    BATCH_AND_EPOCH = "batch_and_epoch"

    @property
    def on_batch(self) -> bool:
        """Whether each batch is written."""
        return self in (self.BATCH, self.BATCH_AND_EPOCH)

    @property
    def on_epoch(self) -> bool:
        """Whether all are written at the end."""
        return self in (self.EPOCH, self.BATCH_AND_EPOCH)


class BasePredictionWriter(Callback):
    """Base of callbacks that write predictions: a subclass says how.

    ``write_interval`` is "batch", "epoch" or "batch_and_epoch". ``batch_indices`` are the places of
    a batch's samples in the data set, or None where the loader draws them itself.

    Raises: ``MisconfigurationException`` for another interval.

    >>> from flambeau.trainer.callbacks import BasePredictionWriter
    >>> class Printer(BasePredictionWriter):
    ...     def write_on_batch_end(self, trainer, module, prediction, batch_indices, *batch):
    ...         print(batch_indices, prediction)
    >>> Printer().interval.value
    'batch'
    """

    def __init__(self, write_interval: str = "batch") -> None:
        if write_interval not in list(WriteInterval):
            raise MisconfigurationException(
                f"`write_interval` should be one of {[str(i.value) for i in WriteInterval]}."
            )
        self.interval = WriteInterval(write_interval)
        self._predictions: list[list[Any]] = []
        self._indices: list[list[Any]] = []

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Writes the prediction of a batch."""
        raise NotImplementedError(f"{type(self).__name__} has no `write_on_batch_end`")

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Writes all predictions: a list of batches, or such a list for each loader."""
        raise NotImplementedError(f"{type(self).__name__} has no `write_on_epoch_end`")

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins anew."""
        loaders = _listed(trainer.predict_dataloaders)
        self._predictions = [[] for _ in loaders]
        self._indices = [[] for _ in loaders]

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes a batch, or keeps it for the end."""
        indices = _places(_listed(trainer.predict_dataloaders)[dataloader_idx], batch_idx)
        if self.interval.on_batch:
            self.write_on_batch_end(
                trainer, pl_module, outputs, indices, batch, batch_idx, dataloader_idx
            )
        if self.interval.on_epoch:
            self._predictions[dataloader_idx].append(outputs)
            self._indices[dataloader_idx].append(indices)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes all batches."""
        if not self.interval.on_epoch:
            return
        one = len(self._predictions) == 1
        predictions: Any = self._predictions[0] if one else self._predictions
        self.write_on_epoch_end(trainer, pl_module, predictions, self._indices)
        self._predictions, self._indices = [], []


def _listed(loaders: Any) -> list[Any]:
    return loaders if isinstance(loaders, list) else [loaders]


def _places(loader: Any, batch_idx: int) -> list[int] | None:
    """Where in its data set a batch of a loader that goes through it in order lies."""
    size = getattr(loader, "batch_size", None)
    if size is None or not isinstance(getattr(loader, "sampler", None), SequentialSampler):
        return None
    first = batch_idx * size
    return list(range(first, min(first + size, len(loader.dataset))))
