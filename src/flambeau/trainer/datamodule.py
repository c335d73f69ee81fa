"""LightningDataModule: the loaders of all stages, with their preparation, in one object."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flambeau.trainer.hooks import DataHooks
from flambeau.trainer.hparams import HyperparametersMixin
from flambeau.trainer.loading import load_module

if TYPE_CHECKING:
    from flambeau.trainer.trainer import Trainer

__all__ = ["LightningDataModule"]


class LightningDataModule(DataHooks, HyperparametersMixin):
    """The loaders of all stages, with their preparation, in one object.

    A subclass writes ``train_dataloader`` and its like, and as it needs them ``prepare_data``,
    ``setup``, ``teardown``, ``state_dict`` and ``load_state_dict``.

    Reference: Lightning's ``LightningDataModule``.

    >>> from flambeau.trainer import LightningDataModule
    >>> data = LightningDataModule.from_datasets(list(range(4)), batch_size=2)
    >>> list(data.train_dataloader())[0].shape
    torch.Size([2])
    """

    CHECKPOINT_HYPER_PARAMS_KEY = "datamodule_hyper_parameters"
    CHECKPOINT_HYPER_PARAMS_NAME = "datamodule_hparams_name"
    CHECKPOINT_HYPER_PARAMS_TYPE = "datamodule_hparams_type"

    trainer: Trainer | None = None
    name: str | None = None
    prepare_data_per_node = True
    allow_zero_length_dataloader_with_multiple_devices = False

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def from_datasets(
        cls,
        train_dataset: Any = None,
        val_dataset: Any = None,
        test_dataset: Any = None,
        predict_dataset: Any = None,
        batch_size: int = 1,
        num_workers: int = 0,
        **datamodule_kwargs: Any,
    ) -> LightningDataModule:
        """A data module of datasets, or of lists of them for all but training.

        The training data are shuffled, unless they are an ``IterableDataset``.
        """
        from flambeau.utils.data import DataLoader, IterableDataset

        def loaders(given: Any, shuffle: bool) -> Any:
            if isinstance(given, list) and given and hasattr(given[0], "__getitem__"):
                return [loaders(one, shuffle) for one in given]
            shuffle = shuffle and not isinstance(given, IterableDataset)
            return DataLoader(
                given, batch_size=batch_size, shuffle=shuffle, num_workers=num_workers
            )

        made = cls(**datamodule_kwargs)
        if train_dataset is not None:
            made.train_dataloader = lambda: loaders(train_dataset, True)
        if val_dataset is not None:
            made.val_dataloader = lambda: loaders(val_dataset, False)
        if test_dataset is not None:
            made.test_dataloader = lambda: loaders(test_dataset, False)
        if predict_dataset is not None:
            made.predict_dataloader = lambda: loaders(predict_dataset, False)
        return made

    def state_dict(self) -> dict[str, Any]:
        """What the data module wants kept in a checkpoint."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned."""

    def on_exception(self, exception: BaseException) -> None:
        """The run stops for an exception."""

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """The data module whose hyper-parameters are in a checkpoint."""
        return load_module(
            cls, checkpoint_path, map_location, hparams_file, None, weights_only, kwargs
        )
