"""A small model, its data and a trainer that is quiet, for tests of callbacks."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.trainer import Callback, LightningModule, Trainer
from flambeau.trainer import callbacks as cb
from flambeau.trainer.loggers import Logger
from flambeau.utils.data import DataLoader, TensorDataset

ROWS = 40


class Memory(Logger):
    """Keeps what is logged."""

    name, version = "memory", 3

    def __init__(self) -> None:
        self.entries: list[tuple[int | None, dict[str, Any]]] = []

    def log_metrics(self, metrics, step=None):
        self.entries.append((step, dict(metrics)))

    def log_hyperparams(self, params, *args, **kwargs):
        pass

    def of(self, start: str) -> list[tuple[int | None, dict[str, Any]]]:
        """The entries whose names begin so."""
        found = [(s, {k: v for k, v in m.items() if k.startswith(start)}) for s, m in self.entries]
        return [(s, m) for s, m in found if m]


def data(rows: int = ROWS, seed: int = 0) -> TensorDataset:
    generator = flambeau.Generator().manual_seed(seed)
    x = flambeau.randn(rows, 4, generator=generator)
    return TensorDataset(x, (x.sum(1) > 0).long() + (x[:, 0] > 1).long())


class Net(LightningModule):
    """A small classifier."""

    def __init__(self, lr: float = 0.1, batch_size: int = 8, norm: bool = False) -> None:
        super().__init__()
        flambeau.manual_seed(0)
        self.save_hyperparameters()
        self.lr = lr
        self.batch_size = batch_size
        middle = [nn.BatchNorm1d(6)] if norm else []
        self.layers = nn.Sequential(nn.Linear(4, 6), *middle, nn.ReLU(), nn.Linear(6, 3))
        self.seen: list[int] = []

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.seen.append(len(x))
        loss = F.cross_entropy(self(x), y)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]), prog_bar=True)

    def predict_step(self, batch, batch_idx):
        return self(batch[0]).argmax(1)

    def configure_optimizers(self):
        return flambeau.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)

    def train_dataloader(self):
        return DataLoader(data(), batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(data(16, seed=1), batch_size=8)


def trainer(*callbacks: Callback, epochs: int = 2, logger: Any = False, **options: Any) -> Trainer:
    options = {"enable_progress_bar": False, "enable_model_summary": False} | options
    if any(isinstance(c, cb.ProgressBar) for c in callbacks):
        options.pop("enable_progress_bar")
    return Trainer(
        max_epochs=options.pop("max_epochs", epochs),
        logger=logger,
        enable_checkpointing=options.pop("enable_checkpointing", False),
        log_every_n_steps=options.pop("log_every_n_steps", 1),
        callbacks=list(callbacks),
        **options,
    )


def bits(module: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}
