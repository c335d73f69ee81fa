"""Scripts written for Lightning run unmodified under ``flambeau run``, and print the same numbers.

They use it as its README and its "boring model" do; the numbers are what Lightning printed for the
very same scripts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau

AUTOENCODER = """\
import lightning as L
import torch, torch.nn as nn, torch.nn.functional as F, torch.utils.data as data
import torchvision as tv


class Autoencoder(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(28 * 28, 128), nn.ReLU(), nn.Linear(128, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 128), nn.ReLU(), nn.Linear(128, 28 * 28))

    def forward(self, x):
        return self.encoder(x)

    def training_step(self, batch, batch_idx):
        x, _ = batch
        x = x.view(x.size(0), -1)
        loss = F.mse_loss(self.decoder(self.encoder(x)), x)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


dataset = tv.datasets.MNIST(".", download=True, transform=tv.transforms.ToTensor())
train, val = data.random_split(dataset, [55000, 5000])
trainer = L.Trainer()
trainer.fit(Autoencoder(), data.DataLoader(train), data.DataLoader(val))
"""

# Pictures of one grey; after some of them the process is asked to end, long before 1000 epochs.
TORCHVISION = """\
import os, signal, types
import torch


class MNIST(torch.utils.data.Dataset):
    taken = 0

    def __init__(self, root, download=False, transform=None):
        self.transform = transform

    def __len__(self):
        return 60000

    def __getitem__(self, index):
        MNIST.taken += 1
        if MNIST.taken == 120:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.transform(index), index % 10


class ToTensor:
    def __call__(self, index):
        return torch.full((1, 28, 28), index % 7 / 7)


datasets = types.SimpleNamespace(MNIST=MNIST)
transforms = types.SimpleNamespace(ToTensor=ToTensor)
"""

BORING = """\
import os

import torch
from torch.utils.data import DataLoader, Dataset
from {package} import LightningModule, Trainer, seed_everything


class RandomDataset(Dataset):
    def __init__(self, size, length):
        self.data = torch.randn(length, size)

    def __getitem__(self, index):
        return self.data[index]

    def __len__(self):
        return len(self.data)


class BoringModel(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(32, 2)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, batch_idx):
        loss = self(batch).sum()
        self.log("train_loss", loss)
        return {{"loss": loss}}

    def validation_step(self, batch, batch_idx):
        self.log("valid_loss", self(batch).sum())

    def test_step(self, batch, batch_idx):
        self.log("test_loss", self(batch).sum())

    def configure_optimizers(self):
        return torch.optim.SGD(self.layer.parameters(), lr=0.1)


def run():
    seed_everything(7)
    train, val, test = (DataLoader(RandomDataset(32, 64), batch_size=2) for _ in range(3))
    model = BoringModel()
    trainer = Trainer(
        default_root_dir=os.getcwd(),
        limit_train_batches=5,
        limit_val_batches=1,
        limit_test_batches=1,
        num_sanity_val_steps=0,
        max_epochs=2,
        enable_model_summary=False,
    )
    trainer.fit(model, train_dataloaders=train, val_dataloaders=val)
    print("metrics", {{k: round(v.item(), 3) for k, v in sorted(trainer.callback_metrics.items())}})
    print("tested", [round(v, 3) for v in trainer.test(model, dataloaders=test)[0].values()])


if __name__ == "__main__":
    run()
"""

DEMO = """\
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from lightning.pytorch.loggers import CSVLogger

seed_everything(3)
model, saver = BoringModel(), ModelCheckpoint(monitor="x", save_last=True)


class Logs(BoringModel):
    def validation_step(self, batch, batch_idx):
        found = super().validation_step(batch, batch_idx)
        self.log("x", found["x"])
        return found


model = Logs()
trainer = Trainer(max_epochs=3, limit_train_batches=4, limit_val_batches=2, log_every_n_steps=2,
                  callbacks=[saver, LearningRateMonitor()], logger=CSVLogger("logs"),
                  enable_progress_bar=False, enable_model_summary=False)
trainer.fit(model, datamodule=BoringDataModule())
print("score", round(saver.best_model_score.item(), 4), trainer.global_step)
best = Logs.load_from_checkpoint(saver.best_model_path)
print("weight", round(best.layer.weight.sum().item(), 4))
print(open("logs/lightning_logs/version_0/metrics.csv").readline().strip().split(",")[:2])
"""

WANTED_BORING = ["metrics {'train_loss': -13.189, 'valid_loss': -11.269}", "tested [-2.723]"]
WANTED_DEMO = ["score 3.3809 12", "weight 2.3577", "['epoch', 'lr-SGD']"]


def run(script, folder):
    (folder / "main.py").write_text(script)
    source = str(Path(flambeau.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "flambeau", "run", "main.py"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_example_of_the_readme(tmp_path):
    (tmp_path / "torchvision.py").write_text(TORCHVISION)
    found = run(AUTOENCODER, tmp_path)
    # Lightning ends with 143 as well when it is asked to.
    assert found.returncode == 143, found.stderr
    (saved,) = tmp_path.rglob("last.ckpt")
    state = flambeau.load(saved, weights_only=True)
    assert state["global_step"] == 120 and "encoder.0.weight" in state["state_dict"]
    assert list(tmp_path.rglob("events.out.tfevents.*"))


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning", "lightning"])
def test_the_boring_model(package, tmp_path):
    found = run(BORING.format(package=package), tmp_path)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert [x for x in lines if x.startswith(("metrics", "tested"))] == WANTED_BORING
    assert list(tmp_path.glob("lightning_logs/version_0/checkpoints/epoch=1-step=10.ckpt"))


def test_the_boring_model_of_the_package(tmp_path):
    found = run(DEMO, tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-3:] == WANTED_DEMO
    assert list(tmp_path.rglob("last.ckpt"))


def test_other_names_of_lightning(tmp_path):
    found = run("""
import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.core.module import LightningModule
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.types import STEP_OUTPUT
from lightning.pytorch.trainer.states import TrainerFn
import lightning as L
assert L.pytorch is L is pl
assert LightningModule is pl.LightningModule and issubclass(BoringModel, LightningModule)
try:
    import lightning.fabric
except ModuleNotFoundError as error:
    print(error)
""", tmp_path)  # fmt: skip
    assert "No module named 'lightning.fabric'. Flambeau has no" in found.stdout, found.stderr
