"""Commands on modules of the user's, in processes where `import torch` means Flambeau."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from own_folder import SOURCE, own_place, weights  # noqa: F401  (a fixture)

MODULE = """
    import time, torch, lightning as L
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Data(L.LightningDataModule):
        def __init__(self, batch_size: int = 8):
            super().__init__()
            self.batch_size = batch_size
            x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
            self.data = TensorDataset(x, (x.sum(1) > 0).long())
        def train_dataloader(self):
            return DataLoader(self.data, batch_size=self.batch_size, shuffle=True)
        def val_dataloader(self):
            return DataLoader(self.data, batch_size=32)

    class Net(L.LightningModule):
        def __init__(self, width: int = 3, lr: float = 0.1, pause: float = 0.0, fail: bool = False):
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
        def forward(self, x):
            return self.net(x)
        def training_step(self, batch, batch_idx):
            if self.hparams.fail:
                raise RuntimeError("mine")
            time.sleep(self.hparams.pause)
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss
        def validation_step(self, batch, batch_idx):
            self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), self.hparams.lr)
"""
TRAIN = ["train", "net.py:Net", "--datamodule", "net.py:Data"]


def write_module() -> None:
    Path("net.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")


def started(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "flambeau", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )


SEVERAL = """
import contextlib, io, json, os, sys
from flambeau.cli import main
found = []
for arguments in json.load(sys.stdin):
    os.environ.pop("FLAMBEAU_TRACEBACK", None)
    if arguments[0] == "full":
        os.environ["FLAMBEAU_TRACEBACK"] = arguments.pop(0)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    found.append((status, out.getvalue(), err.getvalue()))
json.dump(found, sys.stdout)
"""


def run(*commands: list[str]) -> list[tuple[int, str, str]]:
    """The status, output and errors of each command, all in one process."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert done.returncode == 0, done.stderr
    return [tuple(one) for one in json.loads(done.stdout)]


def test_a_module_of_ones_own_is_trained_evaluated_and_asked():
    write_module()
    settings = ["--set", "width=5", "--set", "trainer.monitor=val_loss", "--epochs", "2"]
    classes = ["--module", "net.py:Net", "--datamodule", "net.py:Data"]
    trained, refused, measured = run(
        [*TRAIN, *settings], ["eval", "runs/net"], ["eval", "runs/net", *classes, "--json"]
    )
    assert (trained[0], trained[2]) == (0, ""), trained[2]
    assert "epoch 2/2  " in trained[1] and "saved runs/net" in trained[1]
    record = json.loads(Path("runs/net/run.json").read_text())
    assert record["target"] == f"{Path('net.py').resolve()}:Net"
    assert record["settings"]["model"]["width"] == 5 and "validation_accuracy" in record
    assert refused[0] == 2 and "whose code is run only if you say so: --module" in refused[2]
    assert measured[0] == 0, measured[2]
    assert json.loads(measured[1])["val_loss"] == pytest.approx(
        record["metrics"]["val_loss"], rel=1e-5
    )


def test_ctrl_c_saves_and_the_run_goes_on_exactly():
    write_module()
    arguments = [*TRAIN, "--epochs", "6", "--out"]
    process = started(*arguments, "stopped", "--set", "pause=0.03")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any(line.startswith("epoch 2/6") for line in lines)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    command = "flambeau train net.py:Net --datamodule net.py:Data --out stopped --resume last"
    assert command in err and "Traceback" not in err
    assert json.loads(Path("stopped/run.json").read_text())["status"] == "interrupted"
    resumed, whole = run(command.split()[1:], [*arguments, "whole", "--set", "pause=0"])
    assert resumed[0] == whole[0] == 0, resumed[2] + whole[2]
    stopped = weights("stopped")
    for name, value in weights("whole").items():
        np.testing.assert_array_equal(value, stopped[name])


def test_errors_of_the_users_files_name_the_line_and_show_no_traceback():
    write_module()
    failing = [*TRAIN, "--set", "fail=true", "--out", "run"]
    quiet, full, missing = run(failing, ["full", *failing], ["train", "net.py:Nut"])
    assert quiet[0] == full[0] == 1
    assert "flambeau train: RuntimeError: mine" in quiet[2] and "net.py" in quiet[2]
    assert "in training_step" in quiet[2] and "Traceback" not in quiet[2]
    assert "Traceback" in full[2] and "loop.py" in full[2]
    assert not Path("run").exists()
    assert missing[0] == 2
    assert "no LightningModule called 'Nut'; did you mean 'Net'?" in missing[2]
