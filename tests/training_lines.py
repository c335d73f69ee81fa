"""A module of one weight, what trains it, a logger that keeps what it is given."""

from __future__ import annotations

import flambeau as torch
from flambeau import nn
from flambeau.trainer import LightningModule
from flambeau.trainer.loggers import Logger
from flambeau.utils.data import DataLoader

QUIET = dict(enable_progress_bar=False, enable_model_summary=False)
BARE = dict(logger=False, enable_checkpointing=False, **QUIET)


class Kept(Logger):
    """Keeps what it was given."""

    name, version = "kept", 0

    def __init__(self):
        super().__init__()
        self.rows, self.hparams = [], {}

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, params, *args, **kwargs):
        self.hparams.update(params)

    def of(self, name):
        return [(step, row[name]) for step, row in self.rows if name in row]


class Line(LightningModule):
    """One weight, whose loss is the mean of its product with the batch: gradients are plain."""

    def __init__(self, lr=0.1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.lr = lr

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def rows(*values, batch_size=1):
    return DataLoader(torch.tensor(values).float().reshape(-1, 1), batch_size=batch_size)
