"""The form of Lightning's first years, as the lecture shows it: steps return dictionaries, ends get
what all steps returned.
"""

from __future__ import annotations

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.trainer import LightningModule, Trainer
from flambeau.trainer.loggers import Logger
from flambeau.utils.data import DataLoader, TensorDataset

QUIET = dict(enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False)


class Kept(Logger):
    name, version = "kept", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append(dict(metrics))

    def log_hyperparams(self, params, *args, **kwargs):
        pass


def loader():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 4, generator=generator)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=8)


class Classifier(LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(4, 2)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_nb):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        return {"loss": loss, "log": {"train_loss": loss}, "progress_bar": {"shown": loss}}

    def validation_step(self, batch, batch_nb):
        x, y = batch
        out = self(x)
        return {"val_loss": F.cross_entropy(out, y), "hits": (out.argmax(1) == y).float().mean()}

    def validation_end(self, outputs):
        loss = torch.stack([o["val_loss"] for o in outputs]).mean()
        hits = torch.stack([o["hits"] for o in outputs]).mean()
        return {"val_loss": loss, "log": {"val_loss": loss, "val_hits": hits},
                "progress_bar": {"val_hits": hits}}  # fmt: skip

    def test_step(self, batch, batch_nb):
        return self.validation_step(batch, batch_nb)

    def test_epoch_end(self, outputs):
        return {"log": {"test_hits": torch.stack([o["hits"] for o in outputs]).mean()}}

    def configure_optimizers(self):
        return [torch.optim.Adam(self.parameters(), lr=0.1)]

    def train_dataloader(self):
        return loader()

    def val_dataloader(self):
        return [loader()]

    def test_loader(self):
        return loader()


def test_the_lectures_form_trains_logs_and_tests():
    logger, module = Kept(), Classifier()
    trainer = Trainer(max_epochs=8, logger=logger, log_every_n_steps=1, **QUIET)
    trainer.fit(module)
    losses = [row["train_loss"] for row in logger.rows if "train_loss" in row]
    assert len(losses) == 32 and losses[-1] < losses[0] / 2
    logged = [row for row in logger.rows if "val_hits" in row]
    assert len(logged) == 8 and logged[-1]["val_hits"] > 0.9
    assert not any("shown" in row for row in logger.rows)
    assert set(trainer.progress_bar_metrics) == {"shown", "val_hits"}
    x, y = next(iter(DataLoader(loader().dataset, batch_size=32)))
    right = F.cross_entropy(module(x), y).item()
    assert abs(trainer.callback_metrics["val_loss"].item() - right) < 1e-5
    found = trainer.test(module, verbose=False)
    assert found == [{"test_hits": logged[-1]["val_hits"]}]


def test_the_end_of_training_gets_all_outputs():
    class Module(Classifier):
        def training_epoch_end(self, outputs):
            self.outputs = outputs
            return {"log": {"mean": torch.stack([o["loss"] for o in outputs]).mean()}}

    module, logger = Module(), Kept()
    trainer = Trainer(
        max_epochs=1, logger=logger, log_every_n_steps=1, limit_val_batches=0, **QUIET
    )
    trainer.fit(module)
    assert len(module.outputs) == 4 and not module.outputs[0]["loss"].requires_grad
    losses = [row["train_loss"] for row in logger.rows if "train_loss" in row]
    (mean,) = [row["mean"] for row in logger.rows if "mean" in row]
    assert abs(mean - sum(losses) / 4) < 1e-6


def test_several_loaders_give_lists_of_lists():
    class Module(Classifier):
        def validation_step(self, batch, batch_nb, dataloader_idx):
            return dataloader_idx

        def validation_epoch_end(self, outputs):
            self.outputs = outputs

        def val_dataloader(self):
            return [loader(), loader()]

        validation_end = None

    module = Module()
    Trainer(logger=False, limit_val_batches=2, **QUIET).validate(module, verbose=False)
    assert module.outputs == [[0, 0], [1, 1]]
