"""What each attribute, method and argument of Lightning's ``Trainer`` does here."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.trainer import Callback, LightningDataModule, LightningModule, Trainer, callbacks
from flambeau.trainer.loggers import CSVLogger
from flambeau.trainer.profilers import PassThroughProfiler, SimpleProfiler
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.utils.data import DataLoader

QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
CHECKS = {}
pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step`")


def checks(*names):
    """Says which names a function tries: attributes, ``(argument)``, ``method(argument)``."""

    def note(function):
        for name in " ".join(names).split():
            CHECKS[f"Trainer{name}" if name.startswith("(") else f"Trainer.{name}"] = function
        return function

    return note


class Net(LightningModule):
    """A line through the origin, which counts the batches that each step saw."""

    def __init__(self, value=1.0):
        super().__init__()
        self.layer = nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            self.layer.weight.fill_(value)
        self.seen = {"train": 0, "val": 0, "test": 0, "predict": 0}

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, batch_idx):
        self.seen["train"] += 1
        return self(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        self.seen["val"] += 1
        self.log("val_loss", self(batch).square().mean(), prog_bar=True)

    def test_step(self, batch, batch_idx):
        self.seen["test"] += 1
        self.log("found", self(batch).mean())

    def predict_step(self, batch, batch_idx):
        self.seen["predict"] += 1
        return self(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Looks(Callback):
    """Calls a function with the trainer at one moment."""

    def __init__(self, moment, look):
        self.found = []
        setattr(self, moment, lambda trainer, *_: self.found.append(look(trainer)))


def rows(batches=4, value=1.0):
    return DataLoader(torch.full((2 * batches, 3), value), batch_size=2)


def trained(module=None, train=None, val=None, **options):
    trainer = Trainer(**{"max_epochs": 1, "num_sanity_val_steps": 0, **QUIET, **options})
    trainer.fit(module or Net(), rows() if train is None else train, val)
    return trainer


# --- how long, on how much ----------------------------------------------------------------------


@checks(
    "(max_epochs) max_epochs current_epoch global_step fit_loop (min_epochs) min_epochs "
    "(max_steps) max_steps (min_steps) min_steps should_stop"
)
def _how_long():
    trainer = trained(max_epochs=3)
    assert (trainer.max_epochs, trainer.current_epoch, trainer.global_step) == (3, 3, 12)
    trainer.fit_loop.max_epochs = 4
    trainer.fit(Net(), rows())
    assert (trainer.max_epochs, trainer.current_epoch, trainer.fit_loop.done) == (4, 4, True)
    trainer = trained(max_steps=6, max_epochs=-1)
    assert (trainer.max_steps, trainer.global_step) == (6, 6)

    class Stops(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = True

    assert trained(max_epochs=9, callbacks=Stops()).global_step == 1
    trainer = trained(max_epochs=9, min_epochs=2, callbacks=Stops())
    assert trainer.min_epochs == trainer.current_epoch == 2 and trainer.should_stop
    trainer = trained(max_epochs=9, min_steps=6, callbacks=Stops())
    assert trainer.min_steps == trainer.global_step == 6


@checks("(max_time)")
def _time():
    trainer = trained(max_epochs=-1, max_time={"seconds": 0})
    assert trainer.should_stop and trainer.global_step == 1


@checks(
    *(
        f"{name}"
        for n in ("train", "val", "test", "predict")
        for name in (f"(limit_{n}_batches)", f"limit_{n}_batches")
    ),
    "num_training_batches",
    "num_val_batches",
    "num_test_batches",
    "num_predict_batches",
)
def _limits():
    limits = {f"limit_{n}_batches": v for n, v in
              {"train": 3, "val": 0.5, "test": 1, "predict": 1.0}.items()}  # fmt: skip
    module, trainer = Net(), Trainer(max_epochs=1, num_sanity_val_steps=0, **QUIET, **limits)
    trainer.fit(module, rows(), rows())
    trainer.test(module, rows(), verbose=False)
    trainer.predict(module, rows())
    assert module.seen == {"train": 3, "val": 2, "test": 1, "predict": 4}
    assert {name: getattr(trainer, name) for name in limits} == limits
    assert trainer.num_training_batches == 3 and trainer.num_val_batches == [2]
    assert (trainer.num_test_batches, trainer.num_predict_batches) == ([1], [4])


@checks("(overfit_batches) overfit_batches")
def _overfitting():
    module = Net()
    with pytest.warns(UserWarning, match="shuffling"):
        trainer = trained(module, DataLoader(torch.ones(8, 3), batch_size=2, shuffle=True), rows(),
                          overfit_batches=2, max_epochs=2)  # fmt: skip
    assert module.seen["train"] == 4 and module.seen["val"] == 4 and trainer.overfit_batches == 2


@checks("(fast_dev_run) fast_dev_run")
def _rehearsal():
    module = Net()
    trainer = trained(module, rows(), rows(), fast_dev_run=2, max_epochs=9)
    assert module.seen["train"] == module.seen["val"] == trainer.fast_dev_run == 2
    assert trainer.loggers == [] and trainer.max_epochs == 1


@checks(
    "(val_check_interval) val_check_interval (check_val_every_n_epoch) check_val_every_n_epoch "
    "val_check_batch enable_validation"
)
def _when_validation_is():
    module = Net()
    trainer = trained(module, rows(), rows(1), val_check_interval=0.5)
    assert module.seen["val"] == 2 == trainer.val_check_batch and trainer.val_check_interval == 0.5
    module = Net()
    trainer = trained(module, rows(), rows(1), max_epochs=4, check_val_every_n_epoch=2)
    assert module.seen["val"] == trainer.check_val_every_n_epoch == 2
    look = Looks("on_train_start", lambda trainer: trainer.enable_validation)
    trained(Net(), rows(), rows(1), callbacks=look)
    trained(Net(), rows(), callbacks=look)
    trained(Net(), rows(), rows(1), limit_val_batches=0, callbacks=look)
    assert look.found == [True, False, False]


@checks("(num_sanity_val_steps) num_sanity_val_steps num_sanity_val_batches sanity_checking")
def _sanity():
    look = Looks("on_validation_batch_end", lambda trainer: trainer.sanity_checking)
    trainer = trained(Net(), rows(), rows(2), num_sanity_val_steps=1, callbacks=look)
    assert look.found == [True, False, False] and not trainer.sanity_checking
    assert trainer.num_sanity_val_steps == 1 and trainer.num_sanity_val_batches == [1]


@checks("estimated_stepping_batches is_last_batch")
def _estimates():
    look = Looks("on_train_batch_end", lambda t: (t.is_last_batch, t.estimated_stepping_batches))
    trained(callbacks=look, max_epochs=3, limit_train_batches=3, accumulate_grad_batches=2)
    assert look.found == [(False, 6), (False, 6), (True, 6)] * 3
    trainer = trained(max_epochs=-1, max_steps=5)
    assert trainer.estimated_stepping_batches == 5


@checks("(reload_dataloaders_every_n_epochs) reload_dataloaders_every_n_epochs")
def _loaders_anew():
    class Asks(Net):
        asked = 0

        def train_dataloader(self):
            self.asked += 1
            return rows()

    trainer = Trainer(max_epochs=4, reload_dataloaders_every_n_epochs=2, **QUIET)
    module = Asks()
    trainer.fit(module)
    assert module.asked == trainer.reload_dataloaders_every_n_epochs == 2


# --- the step -----------------------------------------------------------------------------------


@checks("(accumulate_grad_batches) accumulate_grad_batches")
def _accumulation():
    trainer = trained(accumulate_grad_batches=3)
    assert trainer.global_step == 2 and trainer.accumulate_grad_batches == 3


@checks("(gradient_clip_val) gradient_clip_val (gradient_clip_algorithm) gradient_clip_algorithm")
def _clipping():
    module = Net(value=100.0)
    trainer = trained(module, max_steps=1, gradient_clip_val=0.5, gradient_clip_algorithm="value")
    np.testing.assert_allclose(module.layer.weight.detach().numpy(), 100.0 - 0.005, rtol=1e-6)
    assert (trainer.gradient_clip_val, trainer.gradient_clip_algorithm) == (0.5, "value")


@checks("(precision) precision precision_plugin init_module scaler")
def _precision():
    module = Net()
    trainer = trained(module, precision="64-true")
    assert module.dtype == torch.float64 and trainer.precision == trainer.precision_plugin.name
    assert trainer.precision == "64-true" and trainer.scaler is None
    with trainer.init_module():
        assert nn.Linear(1, 1).weight.dtype == torch.float64
    assert nn.Linear(1, 1).weight.dtype == torch.float32


@checks("(deterministic) (benchmark)")
def _same_bits():
    try:
        runs = []
        for _ in range(2):
            module = Net()
            trained(module, deterministic=True, benchmark=False)
            runs.append(module.layer.weight.detach().numpy().tobytes())
        assert torch.are_deterministic_algorithms_enabled() and runs[0] == runs[1]
    finally:
        torch.use_deterministic_algorithms(False)


@checks("(detect_anomaly)")
def _anomalies():
    class Bad(Net):
        def training_step(self, batch, batch_idx):
            # The loss is finite, its gradient is not.
            return (self(batch).sum() * 0).abs().sqrt()

    with pytest.raises(ValueError, match=r"gradient of 'layer\.weight'"):
        trained(Bad(), detect_anomaly=True)


@checks("(inference_mode)")
def _inference_mode():
    def look(trainer):
        return trainer.test_loop.inference_mode, torch.is_grad_enabled()

    looks = Looks("on_test_batch_end", look)
    for mode in (True, False):
        Trainer(inference_mode=mode, callbacks=looks, **QUIET).test(Net(), rows(1), verbose=False)
    assert looks.found == [(True, False), (False, False)]


@checks("optimizers lr_scheduler_configs")
def _optimizers():
    class Scheduled(Net):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    trainer = trained(Scheduled())
    (optimizer,), (config,) = trainer.optimizers, trainer.lr_scheduler_configs
    assert isinstance(optimizer, torch.optim.SGD) and config.interval == "epoch"
    np.testing.assert_allclose(config.scheduler.get_last_lr(), [0.001])


# --- what it is doing ---------------------------------------------------------------------------


@checks("state training validating testing predicting evaluating interrupted received_sigterm")
def _stages():
    def look(trainer):
        return [n for n in ("training", "validating", "testing", "predicting", "evaluating")
                if getattr(trainer, n)], trainer.state.fn.value  # fmt: skip

    looks = [Looks(f"on_{kind}_batch_end", look) for kind in
             ("train", "validation", "test", "predict")]  # fmt: skip
    trainer = trained(Net(), rows(1), rows(1), callbacks=looks)
    trainer.test(dataloaders=rows(1), verbose=False)
    trainer.predict(dataloaders=rows(1))
    assert [one for each in looks for one in each.found] == [
        (["training"], "fit"), (["validating", "evaluating"], "fit"),
        (["testing", "evaluating"], "test"), (["predicting"], "predict"),
    ]  # fmt: skip
    assert trainer.state.finished and not trainer.training and not trainer.received_sigterm

    class Interrupts(Net):
        def training_step(self, batch, batch_idx):
            raise KeyboardInterrupt

    last = Looks("on_exception", lambda trainer: trainer.interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(Interrupts(), callbacks=last)
    assert last.found == [True]


@checks(
    "callback_metrics logged_metrics progress_bar_metrics (log_every_n_steps) log_every_n_steps "
    "(logger) logger loggers log_dir"
)
def _metrics(tmp_path):
    class Logs(Net):
        def training_step(self, batch, batch_idx):
            self.log("index", float(batch_idx))
            return super().training_step(batch, batch_idx)

    logger = CSVLogger(tmp_path, name="runs")
    trainer = trained(Logs(value=0.0), rows(), rows(1), logger=logger, log_every_n_steps=2)
    assert trainer.callback_metrics == {"index": 3.0, "val_loss": 0.0}
    assert trainer.progress_bar_metrics == {"val_loss": 0.0}
    assert trainer.logged_metrics == {"index": 3.0, "val_loss": 0.0, "epoch": 0.0}
    rowset = Path(logger.log_dir, "metrics.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in rowset[1:]] == ["1.0", "3.0", ""]
    assert trainer.logger is logger and trainer.loggers == [logger]
    assert trainer.log_dir == logger.log_dir and trainer.log_every_n_steps == 2
    trainer.logger = None
    assert trainer.loggers == [] and trainer.log_dir == trainer.default_root_dir


@checks("(enable_autolog_hparams) enable_autolog_hparams")
def _hyperparameters_are_logged(tmp_path):
    class Keeps(Net):
        def __init__(self, rate=0.5):
            super().__init__()
            self.save_hyperparameters()

    for logs in (True, False):
        logger = CSVLogger(tmp_path, name=str(logs))
        trained(Keeps(), logger=logger, enable_autolog_hparams=logs)
        kept = Path(logger.log_dir, "hparams.yaml")
        assert (kept.exists() and "rate: 0.5" in kept.read_text()) == logs


@checks("print (enable_progress_bar) progress_bar_callback (enable_model_summary)")
def _what_is_shown(capsys):
    trainer = trained(enable_progress_bar=True, enable_model_summary=True)
    out = capsys.readouterr().out
    assert "Epoch 0" in out and "Total params" in out
    assert isinstance(trainer.progress_bar_callback, callbacks.ProgressBar)
    trainer.print("a", 1)
    trainer = trained()
    assert capsys.readouterr().out == "a 1\n" and trainer.progress_bar_callback is None


# --- its parts ----------------------------------------------------------------------------------


@checks(
    "(callbacks) callbacks checkpoint_callback checkpoint_callbacks early_stopping_callback "
    "early_stopping_callbacks (enable_checkpointing)"
)
def _callbacks(tmp_path):
    stop = [callbacks.EarlyStopping("a"), callbacks.EarlyStopping("b")]
    saver = callbacks.ModelCheckpoint(tmp_path)
    trainer = Trainer(
        max_epochs=1, callbacks=[saver, *stop], **QUIET | {"enable_checkpointing": True}
    )
    # Those that save come last.
    assert trainer.callbacks == [*stop, saver]
    assert trainer.checkpoint_callbacks == [saver] and trainer.checkpoint_callback is saver
    assert trainer.early_stopping_callbacks == stop and trainer.early_stopping_callback is stop[0]
    bare = Trainer(max_epochs=1, **QUIET)
    assert (bare.callbacks, bare.checkpoint_callback, bare.early_stopping_callback) == (
        [],
        None,
        None,
    )
    by_default = Trainer(max_epochs=1, **QUIET | {"enable_checkpointing": None})
    assert isinstance(by_default.checkpoint_callback, callbacks.ModelCheckpoint)
    with pytest.raises(MisconfigurationException, match="enable_checkpointing"):
        Trainer(callbacks=saver, **QUIET)


@checks("(default_root_dir) default_root_dir")
def _where_files_go(tmp_path):
    trainer = trained(default_root_dir=tmp_path, enable_checkpointing=True)
    assert trainer.default_root_dir == str(tmp_path)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["epoch=0-step=4.ckpt"]


@checks(
    "lightning_module model datamodule train_dataloader val_dataloaders test_dataloaders "
    "predict_dataloaders fit validate test predict"
)
def _data_and_module():
    loaders = {name: rows(n + 1) for n, name in enumerate(("train", "val", "test", "predict"))}

    class Data(LightningDataModule):
        train_dataloader = staticmethod(lambda: loaders["train"])
        val_dataloader = staticmethod(lambda: loaders["val"])
        test_dataloader = staticmethod(lambda: loaders["test"])
        predict_dataloader = staticmethod(lambda: loaders["predict"])

    module, data, trainer = Net(), Data(), Trainer(max_epochs=1, num_sanity_val_steps=0, **QUIET)
    trainer.fit(module, datamodule=data)
    (validated,) = trainer.validate(datamodule=data, verbose=False)
    (tested,) = trainer.test(datamodule=data, verbose=False)
    predicted = trainer.predict(datamodule=data)
    assert module.seen == {"train": 1, "val": 4, "test": 3, "predict": 4}
    weight = module.layer.weight.detach().sum().item()
    np.testing.assert_allclose([validated["val_loss"], tested["found"]], [weight**2, weight], 1e-6)
    np.testing.assert_allclose(torch.cat(predicted).numpy(), weight, 1e-6)
    assert trainer.model is trainer.lightning_module is module and trainer.datamodule is data
    assert trainer.train_dataloader is loaders["train"]
    assert trainer.val_dataloaders is loaders["val"]
    assert trainer.test_dataloaders is loaders["test"]
    assert trainer.predict_dataloaders is loaders["predict"]


@checks(
    *(
        f"{method}({name})"
        for method in ("validate", "test", "predict")
        for name in ("model", "dataloaders", "datamodule", "ckpt_path", "weights_only")
    ),
    "fit(model)",
    "fit(train_dataloaders)",
    "fit(val_dataloaders)",
    "fit(datamodule)",
    "fit(ckpt_path)",
    "fit(weights_only)",
    "ckpt_path",
    "save_checkpoint",
    "save_checkpoint(filepath)",
    "save_checkpoint(weights_only)",
    "save_checkpoint(storage_options)",
)
def _checkpoints(tmp_path):
    path, weights = tmp_path / "run.ckpt", tmp_path / "weights.ckpt"
    module, trainer = Net(), Trainer(max_epochs=1, **QUIET)
    with pytest.raises(AttributeError, match="attached"):
        trainer.save_checkpoint(path)
    trainer.fit(model=module, train_dataloaders=rows(), val_dataloaders=rows(1))
    trainer.save_checkpoint(filepath=path, weights_only=False, storage_options=None)
    trainer.save_checkpoint(weights, weights_only=True)
    kept = module.layer.weight.detach().sum().item()
    assert "optimizer_states" not in torch.load(weights) and "optimizer_states" in torch.load(path)
    for step, name in (("validate", "val_loss"), ("test", "found")):
        fresh = Trainer(**QUIET)
        (found,) = getattr(fresh, step)(
            model=Net(),
            dataloaders=rows(1),
            ckpt_path=weights,
            verbose=False,
            datamodule=None,
            weights_only=True,
        )
        np.testing.assert_allclose(found[name], kept ** (2 if step == "validate" else 1), rtol=1e-6)
        assert fresh.ckpt_path == str(weights)
    (found,) = Trainer(**QUIET).predict(model=Net(), dataloaders=rows(1), datamodule=None,
                                        ckpt_path=path, weights_only=True)  # fmt: skip
    np.testing.assert_allclose(found.numpy(), kept, rtol=1e-6)
    more = Trainer(max_epochs=2, **QUIET)
    data = LightningDataModule.from_datasets(torch.ones(8, 3), batch_size=2)
    more.fit(Net(), datamodule=data, ckpt_path=path, weights_only=True)
    assert (more.global_step, more.ckpt_path) == (8, str(path))
    with pytest.raises(FileNotFoundError):
        more.fit(Net(), rows(), ckpt_path=tmp_path / "gone.ckpt")
    with pytest.raises(TypeError, match="LightningModule"):
        more.fit(nn.Linear(1, 1), rows())


@checks(
    "validate(verbose) test(verbose) predict(return_predictions) validate_loop test_loop "
    "predict_loop"
)
def _results(capsys):
    trainer, module = Trainer(limit_test_batches=1, **QUIET), Net()
    trainer.validate(module, rows(2), verbose=True)
    assert "val_loss" in capsys.readouterr().out
    trainer.test(module, [rows(2), rows(3)], verbose=False)
    assert "found" not in capsys.readouterr().out
    assert trainer.predict(module, rows(3), return_predictions=False) is None
    assert len(trainer.predict(module, rows(3), return_predictions=True)) == 3
    assert trainer.validate_loop.max_batches == [2] and trainer.validate_loop.verbose
    assert (trainer.test_loop.num_dataloaders, trainer.test_loop.verbose) == (2, False)
    assert trainer.test_loop.max_batches == [1, 1] and trainer.predict_loop.inference_mode
    assert len(trainer.predict_loop.predictions[0]) == 3


@checks("(profiler) profiler")
def _profilers(capsys):
    assert isinstance(Trainer(**QUIET).profiler, PassThroughProfiler)
    profiler = SimpleProfiler()
    trainer = trained(profiler=profiler)
    assert trainer.profiler is profiler
    assert len(profiler.recorded_durations["run_training_batch"]) == 4
    assert "run_training_batch" in capsys.readouterr().out
    with pytest.raises(MisconfigurationException, match="simple"):
        Trainer(profiler="none such", **QUIET)


@checks("(barebones) barebones")
def _barebones():
    trainer = Trainer(max_epochs=1, barebones=True)
    trainer.fit(Net(), rows(), rows(1))
    assert trainer.barebones and trainer.loggers == [] and trainer.callbacks == []
    assert trainer.num_sanity_val_steps == 0


# --- one processor ------------------------------------------------------------------------------


@checks(
    "(accelerator) accelerator (strategy) strategy (devices) num_devices device_ids (num_nodes) "
    "num_nodes world_size global_rank local_rank node_rank is_global_zero "
    "distributed_sampler_kwargs (use_distributed_sampler) (sync_batchnorm)"
)
def _one_processor():
    trainer = trained(accelerator="cpu", strategy="auto", devices=1, num_nodes=1,
                      use_distributed_sampler=False, sync_batchnorm=True)  # fmt: skip
    assert trainer.accelerator == "cpu" and trainer.strategy.root_device == torch.device("cpu")
    assert trainer.strategy.broadcast(3) == 3 and trainer.strategy.is_global_zero
    counts = trainer.num_devices, trainer.num_nodes, trainer.world_size, len(trainer.device_ids)
    assert counts == (1, 1, 1, 1)
    assert (trainer.global_rank, trainer.local_rank, trainer.node_rank) == (0, 0, 0)
    assert trainer.is_global_zero and trainer.distributed_sampler_kwargs is None
    assert not math.isinf(trainer.num_training_batches)
    for wrong in ({"accelerator": "gpu"}, {"strategy": "ddp"}, {"devices": 2}, {"num_nodes": 2}):
        with pytest.raises(MisconfigurationException, match=next(iter(wrong))):
            Trainer(**wrong)


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_name(name, request):
    check = CHECKS[name]
    wanted = check.__code__.co_varnames[: check.__code__.co_argcount]
    check(**{fixture: request.getfixturevalue(fixture) for fixture in wanted})


def test_every_supported_name_is_tried():
    path = Path(__file__).parent.parent / "tools" / "lightning_coverage.py"
    spec = importlib.util.spec_from_file_location("lightning_coverage", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    wanted = {name for name in tool.supported() if name.startswith("Trainer")}
    assert wanted == set(CHECKS)


@pytest.mark.parametrize(
    ("argument", "says"), [("plugins", "plugins"), ("model_registry", "remote"), ("other", "name")]
)
def test_other_arguments_are_refused(argument, says):
    with pytest.raises(TypeError, match=says):
        Trainer(**{argument: "x"})
