"""Checkpoints: what is in them, resuming exactly, signals, losses that are not finite."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.trainer import (
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
)
from flambeau.trainer.callbacks import EarlyStopping, ModelCheckpoint, Timer
from flambeau.trainer.demos.boring_classes import BoringModel, RandomDataset
from flambeau.trainer.loggers import CSVLogger
from flambeau.trainer.metrics import AUROC, Accuracy
from flambeau.trainer.utilities.exceptions import MisconfigurationException, NonFiniteLossError
from flambeau.utils.data import DataLoader, IterableDataset, TensorDataset

ROOT = Path(__file__).resolve().parent.parent
QUIET = dict(enable_progress_bar=False, enable_model_summary=False)
BARE = dict(logger=False, enable_checkpointing=False, **QUIET)


@pytest.fixture(autouse=True)
def _deterministic():
    yield
    torch.use_deterministic_algorithms(False)


class Net(LightningModule):
    """Dropout, batch norm, draws of three generators, values logged by step and by epoch."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
        )
        self.hits = Accuracy(task="multiclass", num_classes=2)
        self.area = AUROC(task="binary")

    def training_step(self, batch, batch_idx):
        x, y = batch
        x = x + 0.1 * random.random() + 0.1 * np.random.rand()
        out = self.layers(x)
        loss = F.cross_entropy(out, y)
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.hits.update(out, y)
        self.area.update((out[:, 1] - out[:, 0]).detach().sigmoid(), y)
        self.log("hits", self.hits, on_step=False, on_epoch=True)
        self.log("area", self.area, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val", F.cross_entropy(self.layers(x), y))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.05)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val"}}


class Stream(IterableDataset):
    def __iter__(self):
        for _ in range(40):
            yield torch.rand(6), torch.randint(0, 2, ())


class Killed(BaseException):
    """Stands for the end of the process: nothing of the trainer's catches or saves it."""


class KillAt(Callback):
    def __init__(self, batch):
        self.batch = batch

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.fit_loop.total_batches == self.batch:
            raise Killed


def data(kind):
    if kind == "stream":
        return DataLoader(Stream(), batch_size=4)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(38, 6, generator=generator)
    rows = TensorDataset(x, (x.sum(1) > 0).long())
    own = torch.Generator().manual_seed(7) if kind == "own generator" else None
    return DataLoader(rows, batch_size=4, shuffle=True, generator=own)


def train(folder, kind="shuffled", kill=None, resume=None, **options):
    """One run; returns all its bits: parameters, optimizer, generators, log files."""
    seed_everything(0)
    module = Net()
    loader, validation = data(kind), data("shuffled")
    saver = ModelCheckpoint(
        folder / "steps", every_n_train_steps=options.pop("save", 3), save_top_k=-1, save_last=True
    )
    best = ModelCheckpoint(folder / "best", monitor="val", save_top_k=2)
    callbacks = [EarlyStopping("val", patience=100), best, saver]
    if kill is not None:
        callbacks.append(KillAt(kill))
    trainer = Trainer(
        max_epochs=3, deterministic=True, callbacks=callbacks, log_every_n_steps=2,
        logger=CSVLogger(folder, name="log", version=0), **options, **QUIET,
    )  # fmt: skip
    try:
        trainer.fit(module, loader, validation, ckpt_path=resume)
    except Killed:
        return None
    parts = {k: v.numpy().tobytes() for k, v in module.state_dict().items()}
    for state in trainer.optimizers[0].state_dict()["state"].values():
        parts[str(len(parts))] = [v.numpy().tobytes() for v in state.values()]
    parts["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
    parts["rng"] = (torch.rand(1).item(), random.random(), np.random.rand())
    parts["log"] = (folder / "log" / "version_0" / "metrics.csv").read_text()
    parts["best"] = sorted(Path(p).name for p in best.best_k_models)
    parts["metrics"] = {k: v.item() for k, v in trainer.callback_metrics.items()}
    return parts


@pytest.mark.parametrize(
    ("kind", "kill", "options"),
    [
        ("shuffled", 5, {}),
        ("shuffled", 10, {}),
        ("shuffled", 17, {"val_check_interval": 0.5}),
        ("own generator", 14, {}),
        ("stream", 14, {}),
        ("shuffled", 13, {"accumulate_grad_batches": 3, "save": 1}),
        ("shuffled", 17, {"accumulate_grad_batches": 3, "save": 1, "val_check_interval": 4}),
        ("shuffled", 23, {"val_check_interval": 7, "check_val_every_n_epoch": None}),
        ("shuffled", 21, {"precision": "bf16-mixed", "gradient_clip_val": 0.1}),
    ],
)
def test_a_run_that_was_killed_resumes_exactly(tmp_path, kind, kill, options):
    whole = train(tmp_path / "whole", kind, **options)
    assert train(tmp_path / "killed", kind, kill=kill, **options) is None
    resumed = train(tmp_path / "killed", kind, resume="last", **options)
    for name, value in whole.items():
        assert resumed[name] == value, name


def test_every_checkpoint_leads_to_the_same_end(tmp_path):
    folder, copy = tmp_path / "whole", tmp_path / "copy"
    whole = train(folder, val_check_interval=0.5)
    files = sorted(folder.glob("*/*.ckpt"))
    assert len(files) >= 12
    shutil.copytree(folder, copy)
    for file in files:
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
        resumed = train(folder, resume=file, val_check_interval=0.5)
        for name, value in whole.items():
            assert resumed[name] == value, (file.name, name)


def test_a_checkpoint_has_lightnings_keys_and_runs_no_code(tmp_path):
    module = BoringModel()
    trainer = Trainer(max_epochs=1, limit_train_batches=3, logger=False, enable_checkpointing=False,
                      callbacks=[Timer()], **QUIET)  # fmt: skip
    trainer.fit(module)
    trainer.save_checkpoint(tmp_path / "all.ckpt")
    trainer.save_checkpoint(tmp_path / "weights.ckpt", weights_only=True)
    found = torch.load(tmp_path / "all.ckpt", weights_only=True)
    assert {
        "epoch", "global_step", "pytorch-lightning_version", "state_dict", "loops", "callbacks",
        "optimizer_states", "lr_schedulers",
    } <= set(found)  # fmt: skip
    assert (found["epoch"], found["global_step"], list(found["callbacks"])) == (1, 3, ["Timer"])
    assert list(found["state_dict"]) == ["layer.weight", "layer.bias"]
    weights = torch.load(tmp_path / "weights.ckpt")
    assert "optimizer_states" not in weights
    with pytest.raises(KeyError, match="contains only the model"):
        Trainer(**BARE).fit(BoringModel(), ckpt_path=tmp_path / "weights.ckpt")
    # A finished run goes on from its end.
    longer = Trainer(max_epochs=2, limit_train_batches=3, **BARE)
    longer.fit(BoringModel(), ckpt_path=tmp_path / "all.ckpt")
    assert (longer.global_step, longer.current_epoch) == (6, 2)


def test_hyper_parameters_come_back(tmp_path):
    class Module(BoringModel):
        def __init__(self, width, *, lr=0.1, extra=None, **more):
            super().__init__()
            self.save_hyperparameters(ignore="extra")
            self.layer = nn.Linear(32, width)

    class Child(Module):
        def __init__(self, depth, **given):
            super().__init__(width=2 * depth, **given)
            self.save_hyperparameters()

    module = Module(3, lr=0.5, extra=object(), other=(1, 2))
    assert dict(module.hparams) == {"width": 3, "lr": 0.5, "other": (1, 2)}
    assert module.hparams.lr == module.hparams["lr"] == 0.5
    assert dict(Child(2, lr=0.3).hparams)["depth"] == 2
    trainer = Trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0, **BARE)
    trainer.fit(module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = Module.load_from_checkpoint(tmp_path / "a.ckpt")
    assert dict(loaded.hparams) == dict(module.hparams)
    assert torch.equal(loaded.layer.weight, module.layer.weight)
    assert Module.load_from_checkpoint(tmp_path / "a.ckpt", lr=9.0).hparams.lr == 9.0
    with pytest.raises(RuntimeError, match="size mismatch"):
        Module.load_from_checkpoint(tmp_path / "a.ckpt", width=4)
    module.freeze()
    assert not module.layer.weight.requires_grad and not module.training
    module.unfreeze()
    assert module.layer.weight.requires_grad and module.training


def test_names_and_a_dictionary_of_hyper_parameters():
    class Module(LightningModule):
        def __init__(self, a, b, config=None):
            super().__init__()
            self.save_hyperparameters(*(["a"] if config is None else [config]))

    assert dict(Module(1, 2).hparams) == {"a": 1}
    assert dict(Module(1, 2, {"x": 3}).hparams) == {"x": 3}
    copy = Module(1, 2).hparams_initial
    assert copy == {"a": 1}


def test_hooks_and_a_data_module_keep_their_own(tmp_path):
    class Data(LightningDataModule):
        seen = 0

        def train_dataloader(self):
            return DataLoader(RandomDataset(32, 4))

        def state_dict(self):
            return {"seen": 5}

        def load_state_dict(self, state):
            self.seen = state["seen"]

    class Module(BoringModel):
        def on_save_checkpoint(self, checkpoint):
            checkpoint["mine"] = 1

        def on_load_checkpoint(self, checkpoint):
            self.mine = checkpoint["mine"]

    trainer = Trainer(max_epochs=1, limit_val_batches=0, **BARE)
    trainer.fit(Module(), datamodule=Data())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    module, again = Module(), Data()
    trainer = Trainer(max_epochs=2, limit_val_batches=0, **BARE)
    trainer.fit(module, datamodule=again, ckpt_path=tmp_path / "a.ckpt")
    assert (module.mine, again.seen, trainer.global_step) == (1, 5, 8)


# --- ModelCheckpoint ------------------------------------------------------------------------


class Values(BoringModel):
    def __init__(self, *values):
        super().__init__()
        self.values = values

    def validation_step(self, batch, batch_idx):
        self.log("v", self.values[self.current_epoch])


def saved(folder, *values, **options):
    saver = ModelCheckpoint(folder, **options)
    trainer = Trainer(max_epochs=len(values), limit_train_batches=2, limit_val_batches=1,
                      num_sanity_val_steps=0, logger=False, callbacks=saver, **QUIET)  # fmt: skip
    trainer.fit(Values(*map(float, values)))
    return saver, sorted(p.name for p in Path(folder).iterdir())


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["epoch=3-step=8.ckpt"]),
        (dict(save_top_k=-1, every_n_epochs=2), ["epoch=1-step=4.ckpt", "epoch=3-step=8.ckpt"]),
        (dict(save_top_k=0, save_last=True), ["last.ckpt"]),
        (dict(monitor="v", filename="{v:.1f}"), ["v=1.0.ckpt"]),
        (dict(monitor="v", filename="{v:.1f}", mode="max"), ["v=5.0.ckpt"]),
        (
            dict(monitor="v", save_top_k=2, filename="e{epoch:02d}", auto_insert_metric_name=False),
            ["e01.ckpt", "e03.ckpt"],
        ),
        (
            dict(every_n_train_steps=3, save_top_k=-1),
            ["epoch=1-step=3.ckpt", "epoch=2-step=6.ckpt"],
        ),
        (dict(train_time_interval=timedelta(days=1)), []),
        (dict(filename="same", save_top_k=-1, every_n_epochs=2), ["same-v1.ckpt", "same.ckpt"]),
    ],
)
def test_which_checkpoints_are_kept(tmp_path, options, names):
    tmp_path = tmp_path / "kept"
    tmp_path.mkdir()
    saver, found = saved(tmp_path, 3, 1, 5, 2, **options)
    assert found == names
    if options.get("monitor"):
        best = max(3, 1, 5, 2) if options.get("mode") == "max" else 1
        assert saver.best_model_score.item() == best
        assert os.path.exists(saver.best_model_path)


def test_last_as_a_link(tmp_path):
    saver, names = saved(tmp_path, 1, 2, save_last="link")
    assert names == ["epoch=1-step=4.ckpt", "last.ckpt"]
    assert (tmp_path / "last.ckpt").is_symlink()
    assert torch.load(tmp_path / "last.ckpt")["epoch"] == 1
    assert saver.last_model_path == str(tmp_path / "last.ckpt")


def test_best_and_last_as_ckpt_path(tmp_path):
    saver = ModelCheckpoint(tmp_path, monitor="v", save_last=True)
    trainer = Trainer(max_epochs=3, limit_train_batches=2, limit_val_batches=1,
                      logger=False, callbacks=saver, **QUIET)  # fmt: skip
    trainer.fit(Values(3.0, 1.0, 2.0))
    module = Values(0.0, 0.0, 0.0, 0.0)
    trainer.validate(module, ckpt_path="best", verbose=False)
    best = torch.load(saver.best_model_path)
    assert best["epoch"] == 1
    assert torch.equal(module.layer.weight, best["state_dict"]["layer.weight"])
    trainer.validate(module, ckpt_path="last", verbose=False)
    assert torch.equal(
        module.layer.weight, torch.load(tmp_path / "last.ckpt")["state_dict"]["layer.weight"]
    )
    with pytest.raises(FileNotFoundError, match=r"no.ckpt"):
        trainer.validate(module, ckpt_path=tmp_path / "no.ckpt")
    with pytest.raises(ValueError, match="no checkpoint was saved"):
        Trainer(**BARE).validate(module, ckpt_path="best")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(save_top_k=2), "No quantity"),
        (dict(mode="up"), "mode"),
        (dict(every_n_epochs=1, every_n_train_steps=1), "mutually exclusive"),
        (dict(save_top_k=-2), "save_top_k"),
    ],
)
def test_options_that_make_no_sense(options, says):
    with pytest.raises(MisconfigurationException, match=says):
        ModelCheckpoint(**options)


def test_a_monitored_value_must_be_logged(tmp_path):
    with pytest.raises(MisconfigurationException, match="could not find the monitored key"):
        saved(tmp_path, 1, monitor="w")


# --- signals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "error", "when"),
    [
        (signal.SIGTERM, SystemExit, "on_train_batch_end"),
        (signal.SIGINT, KeyboardInterrupt, "on_train_batch_start"),
        (signal.SIGTERM, SystemExit, "on_validation_batch_start"),
    ],
)
def test_a_signal_saves_before_it_stops(tmp_path, capsys, number, error, when):
    class Signals(Callback):
        stopped = None

        def on_exception(self, trainer, module, exception):
            self.stopped = exception

    def send(trainer, *rest):
        if trainer.fit_loop.total_batches == 13 and not trainer.received_sigterm:
            os.kill(os.getpid(), number)

    whole = train(tmp_path / "whole", val_check_interval=0.5, accumulate_grad_batches=2, save=100)
    callback = Signals()
    setattr(callback, when, send)
    if when == "on_validation_batch_start":
        # The validation after the second epoch's last batch.
        callback.on_validation_batch_start = lambda trainer, *rest: (
            os.kill(os.getpid(), number)
            if trainer.fit_loop.total_batches == 20 and rest[2] == 1
            else None
        )
    before = signal.getsignal(number)
    seed_everything(0)
    module, folder = Net(), tmp_path / "stopped"
    saver = ModelCheckpoint(folder / "steps", every_n_train_steps=100, save_last=True)
    best = ModelCheckpoint(folder / "best", monitor="val", save_top_k=2)
    trainer = Trainer(
        max_epochs=3, deterministic=True, log_every_n_steps=2, val_check_interval=0.5,
        accumulate_grad_batches=2, logger=CSVLogger(folder, name="log", version=0),
        callbacks=[EarlyStopping("val", patience=100), saver, best, callback], **QUIET,
    )  # fmt: skip
    with pytest.raises(error):
        trainer.fit(module, data("shuffled"), data("shuffled"))
    assert isinstance(callback.stopped, error) and trainer.interrupted
    assert signal.getsignal(number) is before
    assert "last.ckpt" in capsys.readouterr().out
    resumed = train(folder, resume="last", val_check_interval=0.5, accumulate_grad_batches=2,
                    save=100)  # fmt: skip
    for name, value in whole.items():
        assert resumed[name] == value, name


def load_kill():
    spec = importlib.util.spec_from_file_location("kill", ROOT / "benchmarks" / "kill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_dozen_kills():
    assert load_kill().kill(12, seed=1, epochs=8, write=lambda line: None) == []


# --- losses that are not finite -------------------------------------------------------------


class Explodes(LightningModule):
    def __init__(self, at=3, where="scale"):
        super().__init__()
        self.first, self.scale = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.at, self.where = at, where

    def training_step(self, batch, batch_idx):
        if batch_idx == self.at and self.where == "scale":
            with torch.no_grad():
                self.scale[0].weight[0, 0] = float("nan")
        loss = self.scale(self.first(batch)).square().mean()
        if batch_idx == self.at and self.where == "step":
            loss = loss + torch.log(loss - loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def explode(module, rows, **options):
    with pytest.raises(NonFiniteLossError) as caught:
        Trainer(max_epochs=1, **options, **BARE).fit(module, DataLoader(rows))
    return str(caught.value)


def test_a_nan_loss_stops_with_its_place():
    rows = torch.ones(8, 2)
    said = explode(Explodes(), rows, detect_anomaly=True)
    assert "step 3 (epoch 0, batch 3)" in said
    assert "'scale.0' (Linear), whose parameter 'weight' holds NaN/inf" in said
    said = explode(Explodes(where="step"), rows, detect_anomaly=True)
    assert "batch 3" in said and "Explodes.training_step" in said
    rows[5] = float("inf")
    assert "batch 5): the batch itself" in explode(Explodes(at=-1), rows)
    # Looked at after the update, what is not finite may come from that.
    said = explode(Explodes(), torch.ones(8, 2))
    assert "batch 3" in said and "detect_anomaly=True" in said


def test_a_gradient_that_is_not_finite():
    class Module(Explodes):
        def training_step(self, batch, batch_idx):
            return self.first(batch).square().sum().sqrt()

    module = Module()
    with torch.no_grad():
        module.first.weight.zero_(), module.first.bias.zero_()
    said = explode(module, torch.ones(2, 2), detect_anomaly=True)
    assert "the gradient of 'first.bias'" in said


# --- collections of loaders -----------------------------------------------------------------


class Pairs(LightningModule):
    """Two loaders of different lengths, the shorter begins again; one has its own generator."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.seen = nn.Linear(3, 1), []

    def training_step(self, batch, batch_idx):
        self.seen.append((batch["a"].sum().item(), batch["b"].sum().item()))
        return self.layer(batch["a"]).square().mean() + self.layer(batch["b"]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        own = torch.Generator().manual_seed(4)
        a, b = torch.arange(30.0).reshape(10, 3) / 30, torch.arange(21.0).reshape(7, 3) / 21
        return {
            "a": DataLoader(a, batch_size=2, shuffle=True),
            "b": DataLoader(b, batch_size=2, shuffle=True, generator=own),
        }


@pytest.mark.parametrize("step", [3, 5, 7])
def test_several_loaders_go_on_where_they_were(step, tmp_path):
    torch.use_deterministic_algorithms(True)
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=-1, filename="{step}")
    whole, part = Pairs(), Pairs()
    torch.manual_seed(0)
    Trainer(max_epochs=2, logger=False, callbacks=saver, **QUIET).fit(whole)
    torch.manual_seed(99)
    Trainer(max_epochs=2, **BARE).fit(part, ckpt_path=tmp_path / f"step={step}.ckpt")
    assert part.seen == whole.seen[step:] and len(whole.seen) == 10
    assert torch.equal(part.layer.weight, whole.layer.weight)
