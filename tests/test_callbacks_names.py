"""Callbacks that average, prune, freeze, watch and save; and where the others are tried.

Numbers that are written out are what Lightning's callbacks gave for the same run.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.trainer import LightningModule, Trainer, callbacks, profilers
from flambeau.trainer.callbacks.spike import TrainingSpikeException
from flambeau.trainer.callbacks.throughput_monitor import Throughput
from flambeau.trainer.loggers import Logger
from flambeau.trainer.profilers import AdvancedProfiler, PassThroughProfiler, SimpleProfiler
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.utils.data import DataLoader

HERE = Path(__file__).parent
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def trained(module, *found, **options):
    trainer = Trainer(
        **{"max_epochs": 2, "callbacks": list(found), "num_sanity_val_steps": 0, **QUIET, **options}
    )
    trainer.fit(module)
    return trainer


# --- averages -----------------------------------------------------------------------------------


class Batched(LightningModule):
    """A small net with statistics; notes its weights after batches, its outputs in validation."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
        self.weights, self.outputs = [], []

    def training_step(self, batch, batch_idx):
        return self.head(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        if batch_idx == 0:
            self.outputs.append(round(self.head(batch).sum().item(), 4))

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.weights.append(self.head[2].weight.detach().numpy().copy())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(torch.arange(48.0).reshape(16, 3) / 10, batch_size=2)

    val_dataloader = train_dataloader


def sums(module):
    return [round(v.double().sum().item(), 4) for v in module.state_dict().values()]


@pytest.mark.parametrize(
    ("callback", "outputs", "last"),
    [
        (callbacks.WeightAveraging(), [-0.0553, 0.0645], [1.9955, 0.009, -0.539, 0.8752, 9.0]),
        (
            callbacks.EMAWeightAveraging(decay=0.9),
            [-0.1449, -0.0303],
            [1.996, 0.0076, -0.3423, 1.1439, 5.0],
        ),
        (
            callbacks.EMAWeightAveraging(
                decay=0.9, update_every_n_steps=3, update_starting_at_step=2
            ),
            [0.1037, 0.1147],
            [1.9952, 0.0097, -0.7542, 0.8278, 8.0],
        ),
        (
            callbacks.EMAWeightAveraging(
                decay=0.5, update_every_n_steps=100, update_starting_at_epoch=1
            ),
            [-0.2003, -0.2003],
            [1.996, 0.0078, -0.5295, 1.0014, 9.0],
        ),
        (
            callbacks.WeightAveraging(use_buffers=False),
            [0.0632, 0.3063],
            [1.9955, 0.009, -1.0747, 0.3806, 16.0],
        ),
    ],
)
def test_averages_of_weights(callback, outputs, last):
    module = Batched()
    trained(module, callback, accumulate_grad_batches=2)
    np.testing.assert_allclose(module.outputs, outputs, atol=2e-4)
    np.testing.assert_allclose(sums(module)[2:7], last, atol=2e-4)


def test_the_mean_is_the_mean_and_training_goes_on_without_it():
    plain, averaged = Batched(), Batched()
    trained(plain)
    trained(averaged, callbacks.WeightAveraging())
    np.testing.assert_allclose(plain.weights, averaged.weights, rtol=1e-5)
    mean = np.mean(plain.weights, axis=0)
    np.testing.assert_allclose(averaged.head[2].weight.detach().numpy(), mean, rtol=1e-5)


def test_averages_go_on_from_a_checkpoint(tmp_path):
    whole, first, second = Batched(), Batched(), Batched()
    options = {"deterministic": True}
    try:
        trained(whole, callbacks.WeightAveraging(), **options)
        saver = callbacks.ModelCheckpoint(tmp_path, filename="run")
        trained(first, callbacks.WeightAveraging(), saver, max_epochs=1, **options,
                enable_checkpointing=True)  # fmt: skip
        kept = torch.load(tmp_path / "run.ckpt", weights_only=True)
        # The file's weights are the mean; the run's own are beside it.
        assert kept["averaging_state"]["n_averaged"] == 8
        assert not torch.equal(
            kept["state_dict"]["head.0.weight"], kept["current_model_state"]["head.0.weight"]
        )
        trainer = Trainer(max_epochs=2, callbacks=callbacks.WeightAveraging(), **options, **QUIET)
        trainer.fit(second, ckpt_path=tmp_path / "run.ckpt")
    finally:
        torch.use_deterministic_algorithms(False)
    assert sums(second) == sums(whole)


def test_a_run_that_fails_in_validation_keeps_its_own_weights():
    class Fails(Batched):
        def validation_step(self, batch, batch_idx):
            raise ZeroDivisionError

    module = Fails()
    with pytest.raises(ZeroDivisionError):
        trained(module, callbacks.EMAWeightAveraging())
    np.testing.assert_array_equal(module.head[2].weight.detach().numpy(), module.weights[-1])


# --- freezing -----------------------------------------------------------------------------------


class Backboned(LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
        self.head = nn.Linear(4, 1)
        self.groups = []

    def training_step(self, batch, batch_idx):
        return self.head(self.backbone(batch)).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.head.parameters(), lr=0.1, momentum=0.5)

    def train_dataloader(self):
        return DataLoader(torch.arange(24.0).reshape(8, 3) / 10, batch_size=4)

    def on_train_epoch_end(self):
        (optimizer,) = self.trainer.optimizers
        self.groups.append([(g["lr"], len(g["params"])) for g in optimizer.param_groups])


@pytest.mark.parametrize(("train_bn", "count"), [(True, 4), (False, 2)])
def test_a_backbone_is_freed(train_bn, count):
    module = Backboned()
    callback = callbacks.BackboneFinetuning(unfreeze_backbone_at_epoch=2, train_bn=train_bn)
    trained(module, callback, max_epochs=6)
    assert module.groups[:2] == [[(0.1, 2)]] * 2
    rates = [group[1] for group in module.groups[2:]]
    np.testing.assert_allclose(
        rates, [(rate, count) for rate in (0.01, 0.02, 0.04, 0.08)], rtol=1e-6
    )
    late = callbacks.BackboneFinetuning(1, lambda epoch: 100.0, backbone_initial_lr=0.05)
    trained(module := Backboned(), late, max_epochs=3)
    assert [group[1][0] for group in module.groups[1:]] == [0.05, 0.1]


def test_groups_are_made_again_from_a_checkpoint(tmp_path):
    saver = callbacks.ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}")
    whole, part = Backboned(), Backboned()
    torch.manual_seed(0)
    trained(whole, callbacks.BackboneFinetuning(1), saver, max_epochs=4, enable_checkpointing=True)
    again = Trainer(max_epochs=4, callbacks=callbacks.BackboneFinetuning(1), **QUIET)
    again.fit(part, ckpt_path=tmp_path / "epoch=2.ckpt")
    assert part.groups == whole.groups[3:] and part.backbone[0].weight.requires_grad
    for mine, theirs in zip(part.parameters(), whole.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=1e-5)


def test_freezing_by_hand():
    class Late(callbacks.BaseFinetuning):
        def freeze_before_training(self, pl_module):
            self.freeze([pl_module.backbone, [pl_module.head]], train_bn=False)
            self.make_trainable(pl_module.head)

        def finetune_function(self, pl_module, epoch, optimizer):
            if epoch == 1:
                self.unfreeze_and_add_param_group(pl_module.backbone[0], optimizer)
                with pytest.warns(UserWarning, match="already exist"):
                    self.unfreeze_and_add_param_group(pl_module.backbone[0], optimizer)

    module = Backboned()
    trained(module, Late())
    assert module.groups == [[(0.1, 2)], [(0.1, 2), (0.01, 2)]]
    assert not module.backbone[1].weight.requires_grad
    assert not module.backbone[1].track_running_stats
    with pytest.raises(MisconfigurationException, match="backbone"):
        trained(Batched(), type("B", (callbacks.BackboneFinetuning,), {
            "freeze_before_training": lambda *_: None})())  # fmt: skip


# --- pruning ------------------------------------------------------------------------------------


class Pruned(LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 1)
        self.zeros = []

    def training_step(self, batch, batch_idx):
        return self.b(self.a(batch).relu()).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(torch.arange(24.0).reshape(8, 3) / 10, batch_size=4)

    def on_train_epoch_start(self):
        tensors = (self.a.weight, self.a.bias, self.b.weight)
        self.zeros.append([int((p == 0).sum()) for p in tensors])


@pytest.mark.parametrize(
    ("options", "zeros"),
    [
        ({"amount": 0.3}, [[0, 0, 0], [8, 2, 1], [12, 4, 4]]),
        (
            {"amount": 2, "use_global_unstructured": False, "parameter_names": ["weight"]},
            [[0, 0, 0], [2, 0, 2], [4, 0, 4]],
        ),
        ({"amount": 0.5, "apply_pruning": lambda epoch: epoch == 1}, [[0] * 3, [0] * 3, None]),
    ],
)
def test_pruning(options, zeros, tmp_path):
    module = Pruned()
    callback = callbacks.ModelPruning(
        "l1_unstructured", use_lottery_ticket_hypothesis=False, **options
    )
    trainer = trained(module, callback, max_epochs=3)
    assert all(mine == theirs for mine, theirs in zip(module.zeros, zeros, strict=True) if theirs)
    assert set(module.state_dict()) == {"a.weight", "a.bias", "b.weight", "b.bias"}
    trainer.save_checkpoint(tmp_path / "pruned.ckpt")
    kept = torch.load(tmp_path / "pruned.ckpt", weights_only=True)["state_dict"]
    assert int((kept["a.weight"] == 0).sum()) == int((module.a.weight == 0).sum()) > 0


def test_a_lottery_ticket_begins_again(caplog):
    module = Pruned()
    began = {name: p.detach().clone() for name, p in module.named_parameters()}
    callback = callbacks.ModelPruning("l1_unstructured", amount=0.4, verbose=2)
    with caplog.at_level("INFO"):
        trained(module, callback)
    for name, p in module.named_parameters():
        assert torch.equal(p.detach(), torch.where(p == 0, 0.0, began[name]))
    assert "Pruned: 0/41 (0.00%) -> 16/41" in caplog.text
    structured = callbacks.ModelPruning(
        "ln_structured", [(module.a, "weight")], amount=0.5, pruning_dim=0, pruning_norm=1,
        use_global_unstructured=False, make_pruning_permanent=False,
    )  # fmt: skip
    trained(module, structured, max_epochs=1)
    assert (module.a.weight_mask.sum(1) == 0).sum() == 4
    callback.make_pruning_permanent(module)
    assert "a.weight" in dict(module.named_parameters())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"pruning_fn": "none"}, "isn't available"),
        ({"pruning_fn": 3}, "expected to be a str"),
        ({"parameter_names": ["x"]}, "parameter_names"),
        ({"amount": "x"}, "amount"),
        ({"verbose": 4}, "verbose"),
        ({"pruning_fn": "ln_structured"}, "pruning_dim"),
        ({"pruning_fn": "ln_structured", "pruning_dim": 0}, "pruning_norm"),
        ({"pruning_fn": "random_structured", "pruning_dim": 0}, "use_global_unstructured"),
    ],
)
def test_pruning_complains(arguments, says):
    with pytest.raises(MisconfigurationException, match=says):
        callbacks.ModelPruning(**{"pruning_fn": "l1_unstructured", **arguments})


# --- watching, saving ---------------------------------------------------------------------------


class Given(LightningModule):
    """Its losses are those that were given."""

    def __init__(self, losses=(1.0, 1.0)):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.losses = losses

    def training_step(self, batch, batch_idx):
        return self.weight.sum() * 0 + self.losses[batch_idx]

    def test_step(self, batch, batch_idx):
        """Nothing is looked at."""

    def predict_step(self, batch, batch_idx):
        return batch

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(torch.zeros(len(self.losses), 1), batch_size=1)

    test_dataloader = predict_dataloader = train_dataloader


@pytest.mark.parametrize(
    ("losses", "options", "at"),
    [
        ([1, 1, 1, 5, 1], {}, 3),
        ([1, 1, 2.9, 1, 3.2], {}, None),
        ([1, 9, 1, 1], {}, 1),
        ([1, 9, 1, 1], {"warmup": 3}, None),
        ([5, 5, 5, 1], {"mode": "max", "rtol": 0.5}, 3),
        ([5, 5, 5, 2.6, 5], {"mode": "max", "rtol": 0.5}, None),
        ([1, 1, 1, 2, 1], {"rtol": None, "atol": 0.9}, 3),
        ([1, 1, 1, 2, 1], {"rtol": None, "atol": 1.1}, None),
        ([1, 1, 1, 2, 3, 4, 8, 9], {"window": 2}, None),
        ([1, 1, 1, 4, 1], {"atol": 5.0}, None),
        ([10, 20, 29, 28, 50], {"rtol": 1.0}, 1),
    ],
)
def test_spikes(losses, options, at, tmp_path):
    callback = callbacks.SpikeDetection(exclude_batches_path=tmp_path, **options)
    path = tmp_path / "skip_batches.json"
    module = Given([float(loss) for loss in losses])
    if at is None:
        trained(module, callback, max_epochs=1)
        assert not path.exists()
        return
    with pytest.raises(TrainingSpikeException, match=f"batch {at}") as raised:
        trained(module, callback, max_epochs=1)
    assert raised.value.batch_idx == at and json.loads(path.read_text()) == [at - 1, at]


class Kept(Logger):
    name, version = "kept", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, params, *args, **kwargs):
        """Nothing is kept."""


def test_throughput():
    module, logger = Given([1.0] * 6), Kept()
    module.flops_per_batch = 100
    monitor = callbacks.ThroughputMonitor(len, length_fn=lambda batch: 7, window_size=4)
    trainer = trained(module, monitor, logger=logger, log_every_n_steps=3)
    rows = [(step, row) for step, row in logger.rows if "train/batches" in row]
    assert [step for step, _ in rows] == [2, 5, 8, 11]
    assert [row["train/samples"] for _, row in rows] == [3, 6, 9, 12]
    assert "train/device/samples_per_sec" not in rows[0][1]
    last = rows[-1][1]
    assert last["train/lengths"] == 84
    rate = last["train/device/batches_per_sec"]
    np.testing.assert_allclose(last["train/device/flops_per_sec"], 100 * rate)
    np.testing.assert_allclose(last["train/device/items_per_sec"], 7 * rate)
    logger.rows.clear()
    trainer.test(module, verbose=False)
    trainer.predict(module)
    assert [next(iter(row)).partition("/")[0] for _, row in logger.rows] == [
        "test", "test", "predict", "predict",
    ]  # fmt: skip


def test_rates_of_a_window():
    rates = Throughput(available_flops=1e6, window_size=3)
    for i in range(5):
        rates.update(time=0.5 * i + 0.25, batches=i, samples=4 * i, lengths=12 * i, flops=100)
    assert rates.compute() == {
        "time": 2.25, "batches": 4, "samples": 16, "lengths": 48, "device/batches_per_sec": 2.0,
        "device/samples_per_sec": 8.0, "device/items_per_sec": 24.0, "device/flops_per_sec": 200.0,
        "device/mfu": 2e-4,
    }  # fmt: skip
    with pytest.raises(ValueError, match="time"):
        rates.update(time=0.0, batches=9, samples=99)


@pytest.mark.parametrize("kind", ["on_exception", "model"])
def test_an_exception_is_saved(kind, tmp_path):
    saver = (
        callbacks.OnExceptionCheckpoint(tmp_path)
        if kind == "on_exception"
        else callbacks.ModelCheckpoint(tmp_path, save_on_exception=True)
    )
    with pytest.raises(IndexError):
        trained(type("F", (Given,), {"train_dataloader": lambda self: DataLoader(range(9))})(),
                saver, enable_checkpointing=True)  # fmt: skip
    (path,) = tmp_path.iterdir()
    assert path.name == {"on_exception": "on_exception.ckpt", "model": "epoch=0-step=2.ckpt"}[kind]
    assert torch.load(path, weights_only=True)["global_step"] == 2
    with pytest.raises(ValueError, match="filename"):
        callbacks.OnExceptionCheckpoint(tmp_path, "")


def test_the_best_of_a_checkpoint_callback(tmp_path):
    class Logs(Given):
        def training_step(self, batch, batch_idx):
            self.log("x", float(self.current_epoch))
            return super().training_step(batch, batch_idx)

    saver = callbacks.ModelCheckpoint(tmp_path, monitor="x", save_top_k=2)
    trainer = trained(Logs(), saver, max_epochs=3, enable_checkpointing=True)
    assert saver.check_monitor_top_k(trainer, 0.5) and not saver.check_monitor_top_k(trainer, 2.0)
    assert saver.file_exists(saver.best_model_path, trainer)
    saver.to_yaml()
    lines = (tmp_path / "best_k_models.yaml").read_text().splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["0.0", "1.0"]


def test_profilers_of_actions(tmp_path, capsys):
    profiler = AdvancedProfiler(tmp_path, "times", line_count_restriction=3, dump_stats=True)
    with profiler.profile("outer"), profiler.profile("inner"):
        sorted(range(3))
    text = profiler.summary()
    assert "Profile stats for: outer" in text and "Profile stats for: inner" in text
    assert {p.name for p in tmp_path.iterdir()} == {"outer.prof", "inner.prof"}
    with pytest.raises(ValueError, match="never started"):
        profiler.stop("other")
    trained(Given(), profiler="advanced")
    assert "run_training_batch" in capsys.readouterr().out
    # What it writes is in test_callbacks_shown.py: it is Lightning's name of `KernelProfiler`.
    pytorch = callbacks.Profiler("pytorch").profiler
    assert type(pytorch) is profilers.PyTorchProfiler is profilers.KernelProfiler
    nothing = PassThroughProfiler()
    with nothing.profile("a"):
        assert nothing.summary() == "" and nothing.local_rank == 0
    simple = SimpleProfiler()
    with simple.profile("a"):
        pass
    assert len(simple.recorded_durations["a"]) == 1


# --- the whole ----------------------------------------------------------------------------------

# Name: the file without `test_`, and the beginning of the test's own name without it.
ELSEWHERE = {
    "callbacks.BasePredictionWriter": "callbacks predictions_are_written",
    "callbacks.BatchSizeFinder": "callbacks batch_size_finder_doubles_or_searches",
    "callbacks.Callback": "trainer_names _states_of_callbacks",
    "callbacks.Checkpoint": "trainer callbacks_come_before_the_module_and",
    "callbacks.DeviceStatsMonitor": "callbacks_shown device_stats",
    "callbacks.EarlyStopping": "trainer_logging early_stopping",
    "callbacks.GradientAccumulationScheduler": "callbacks gradient_accumulation_by_epoch",
    "callbacks.LambdaCallback": "trainer the_sanity_check_leaves_no_trace",
    "callbacks.LearningRateFinder": "callbacks the_suggested_rate_is_where_the_loss",
    "callbacks.LearningRateMonitor": "callbacks learning_rates_by_epoch_under_a_name",
    "callbacks.ModelSummary": "callbacks_shown the_summary_is_printed_before_training",
    "callbacks.ProgressBar": "callbacks_shown progress_in_plain_lines",
    "callbacks.RichModelSummary": "callbacks_shown the_summary_is_printed_before_training",
    "callbacks.RichProgressBar": "callbacks_shown a_bar_drawn_by_rich",
    "callbacks.StochasticWeightAveraging": "callbacks stochastic_weight_averaging_takes_the",
    "callbacks.TQDMProgressBar": "callbacks_shown a_bar_of_characters",
    "callbacks.Timer": "trainer time_ends_training",
    "loggers.CSVLogger": "loggers the_table_has_a_column_for_each_metric",
    "loggers.Logger": "loggers a_logger_of_ones_own",
    "loggers.MLFlowLogger": "loggers_services mlflow",
    "loggers.TensorBoardLogger": "loggers metrics_are_curves",
    "loggers.WandbLogger": "loggers_services wandb",
}
HERE_TRIED = {
    "callbacks.BackboneFinetuning", "callbacks.BaseFinetuning", "callbacks.EMAWeightAveraging",
    "callbacks.ModelCheckpoint", "callbacks.ModelPruning", "callbacks.OnExceptionCheckpoint",
    "callbacks.SpikeDetection", "callbacks.ThroughputMonitor", "callbacks.WeightAveraging",
    "profilers.AdvancedProfiler", "profilers.PassThroughProfiler", "profilers.Profiler",
    "profilers.SimpleProfiler", "profilers.PyTorchProfiler",
}  # fmt: skip


def test_every_supported_name_is_tried():
    path = HERE.parent / "tools" / "lightning_coverage.py"
    spec = importlib.util.spec_from_file_location("lightning_coverage", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    packages = ("callbacks.", "loggers.", "profilers.")
    wanted = {n for n in tool.supported() if n.startswith(packages) and "(" not in n}
    assert wanted == {*ELSEWHERE, *HERE_TRIED}
    mine = Path(__file__).read_text(encoding="utf-8")
    assert all(re.search(rf"\b{n.partition('.')[2]}\b", mine) for n in HERE_TRIED)
    for name, where in ELSEWHERE.items():
        file, test = where.split()
        text = (HERE / f"test_{file}.py").read_text(encoding="utf-8")
        assert re.search(rf"^def (test_)?{test}", text, re.M), name
        assert name.partition(".")[2] in text, name
