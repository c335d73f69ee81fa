"""The smallest model and data that use every step: for tests and for reports of faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flambeau
from flambeau import nn
from flambeau.tensor import Tensor
from flambeau.trainer.datamodule import LightningDataModule
from flambeau.trainer.module import LightningModule
from flambeau.utils.data import DataLoader, Dataset, IterableDataset, Subset

__all__ = [
    "BoringDataModule",
    "BoringModel",
    "ManualOptimBoringModel",
    "RandomDataset",
    "RandomIterableDataset",
]


class RandomDataset(Dataset):
    """``length`` rows of ``size`` normal numbers."""

    def __init__(self, size: int, length: int) -> None:
        self.len = length
        self.data = flambeau.randn(length, size)

    def __getitem__(self, index: int) -> Tensor:
        return self.data[index]

    def __len__(self) -> int:
        return self.len


class RandomIterableDataset(IterableDataset):
    """``count`` rows of ``size`` normal numbers, drawn as they are asked for."""

    def __init__(self, size: int, count: int) -> None:
        self.count = count
        self.size = size

    def __iter__(self) -> Iterator[Tensor]:
        for _ in range(self.count):
            yield flambeau.randn(self.size)


class BoringModel(LightningModule):
    """One linear layer, 32 to 2, whose loss is the squared distance of its output from one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The layer."""
        return self.layer(x)

    def loss(self, preds: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean squared distance from one."""
        labels = flambeau.ones_like(preds) if labels is None else labels
        return nn.functional.mse_loss(preds, labels)

    def step(self, batch: Any) -> Tensor:
        """The loss of a batch."""
        return self.loss(self(batch))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """The loss."""
        return {"loss": self.step(batch)}

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """The loss, under another name."""
        return {"x": self.step(batch)}

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        """The loss, under another name."""
        return {"y": self.step(batch)}

    def configure_optimizers(self) -> Any:
        """SGD whose learning rate shrinks by epoch."""
        optimizer = flambeau.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [flambeau.optim.lr_scheduler.StepLR(optimizer, step_size=1)]

    def train_dataloader(self) -> DataLoader:
        """64 single rows."""
        return DataLoader(RandomDataset(32, 64))

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


class ManualOptimBoringModel(BoringModel):
    """The same, calling backward and step itself."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """One update."""
        optimizer = self.optimizers()
        loss = self.step(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss


class BoringDataModule(LightningDataModule):
    """64 random rows for each stage."""

    def setup(self, stage: str) -> None:
        """Draws them."""
        rows = RandomDataset(32, 64 * 4)
        self.parts = [Subset(rows, range(64 * i, 64 * (i + 1))) for i in range(4)]

    def train_dataloader(self) -> DataLoader:
        """The rows for training."""
        return DataLoader(self.parts[0])

    def val_dataloader(self) -> DataLoader:
        """The rows for validation."""
        return DataLoader(self.parts[1])

    def test_dataloader(self) -> DataLoader:
        """The rows for testing."""
        return DataLoader(self.parts[2])

    def predict_dataloader(self) -> DataLoader:
        """The rows to predict."""
        return DataLoader(self.parts[3])
