"""Kills training with SIGKILL at random moments, and looks whether it resumes exactly.

``python benchmarks/kill.py [--kills 100] [--seed 0]`` trains once without a stop; then again and
again, killed and resumed from the last checkpoint, until there were so many kills. After each all
checkpoints are read; at the end of each training parameters and logs are compared with those of the
first run, bit by bit.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def child(folder: Path, epochs: int) -> None:
    """One run in ``folder``: from the last checkpoint there, if there is one."""
    import flambeau as torch
    import flambeau.nn.functional as F
    from flambeau import nn
    from flambeau.trainer import LightningModule, Trainer, seed_everything
    from flambeau.trainer.callbacks import EarlyStopping, ModelCheckpoint
    from flambeau.trainer.loggers import CSVLogger
    from flambeau.utils.data import DataLoader, Dataset

    class Shifted(Dataset):
        """Rows that are changed at random when they are read, by three generators."""

        def __init__(self) -> None:
            self.rows = torch.randn(90, 12)
            self.classes = (self.rows.sum(1) > 0).long()

        def __len__(self) -> int:
            return 90

        def __getitem__(self, index: int):
            noise = 0.1 * random.random() + 0.1 * np.random.rand()
            return self.rows[index] + noise + 0.1 * torch.rand(12), self.classes[index]

    class Net(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2)
            )

        def training_step(self, batch, batch_idx):
            x, y = batch
            out = self.layers(x)
            loss = F.cross_entropy(out, y)
            self.log("loss", loss, on_step=True, on_epoch=True)
            self.log("hits", (out.argmax(1) == y).float().mean(), on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch, batch_idx):
            x, y = batch
            self.log("val_loss", F.cross_entropy(self.layers(x), y))

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 20, 0.9)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    seed_everything(3)
    data = Shifted()
    module = Net()
    often = ModelCheckpoint(folder / "steps", every_n_train_steps=3, save_last=True)
    best = ModelCheckpoint(folder / "best", monitor="val_loss", save_top_k=2)
    trainer = Trainer(
        max_epochs=epochs,
        deterministic=True,
        logger=CSVLogger(folder, name="log", version=0),
        log_every_n_steps=2,
        val_check_interval=0.5,
        callbacks=[EarlyStopping("val_loss", patience=10**6), often, best],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    print("ready", flush=True)
    resume = "last" if list((folder / "steps").glob("last*.ckpt")) else None
    trainer.fit(
        module,
        DataLoader(data, batch_size=8, shuffle=True),
        DataLoader(data, batch_size=30),
        ckpt_path=resume,
    )
    kept = sorted(Path(p).name for p in best.best_k_models)
    torch.save({"state": module.state_dict(), "best": kept}, folder / "final.pt")


def start(folder: Path, epochs: int) -> subprocess.Popen:
    """A run in a process of its own."""
    command = [sys.executable, __file__, "--child", str(folder), "--epochs", str(epochs)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    # It says once that it is ready, and nothing else.
    run.stdout.readline()
    run.stdout.close()
    return run


def read_all(folder: Path) -> int:
    """Reads every checkpoint; how many there are."""
    import flambeau

    files = list(folder.rglob("*.ckpt"))
    for file in files:
        assert "optimizer_states" in flambeau.load(file), file
    return len(files)


def difference(one: Path, other: Path) -> list[str]:
    """What differs between two runs that are over: names of parameters, or of files."""
    import flambeau

    mine, theirs = (flambeau.load(folder / "final.pt") for folder in (one, other))
    found = [
        name
        for name, value in mine["state"].items()
        if value.numpy().tobytes() != theirs["state"][name].numpy().tobytes()
    ]
    if mine["best"] != theirs["best"]:
        found.append("the best checkpoints")
    for log in one.rglob("*.csv"):
        if log.read_bytes() != (other / log.relative_to(one)).read_bytes():
            found.append(log.name)
    return found


def kill(kills: int, seed: int, epochs: int, write=print) -> list[str]:
    """Kills ``kills`` runs; returns what differs in the end from a run that never stopped."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as given:
        whole = Path(given, "whole")
        run = start(whole, epochs)
        begun = time.perf_counter()
        assert run.wait() == 0
        lasts = time.perf_counter() - begun
        done, finished, number = 0, [], 0
        while done < kills:
            folder = Path(given, f"killed{number}")
            run = start(folder, epochs)
            try:
                # Short runs, so that there are many moments in one training.
                run.wait(draw.uniform(0, 0.4 * lasts))
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
                done += 1
                count = read_all(folder)
                write(f"kill {done}: {count} checkpoints read")
                if done < kills:
                    continue
                run = start(folder, epochs)
            assert run.wait() == 0
            finished.append(folder)
            number += 1
        return [
            f"{folder.name}: {what}" for folder in finished for what in difference(whole, folder)
        ]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, options.epochs)
        return 0
    found = kill(options.kills, options.seed, options.epochs)
    print(f"{options.kills} kills: " + ("; ".join(found) or "every resumption exact"))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
