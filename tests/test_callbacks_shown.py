"""Callbacks that show and measure: progress, summary, statistics, profiles."""

from __future__ import annotations

import io
import json
import sys

import pytest
import rich.console

import flambeau
from flambeau import nn
from flambeau.run import tier
from flambeau.trainer import Callback, LightningModule
from flambeau.trainer import callbacks as cb
from flambeau.trainer.callbacks.progress.progress_bar import Pass
from flambeau.trainer.callbacks.progress.tqdm_progress import bar
from flambeau.trainer.profilers import PassThroughProfiler, Profiler, SimpleProfiler
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.model_summary import ModelSummary, summarize
from flambeau.utils.data import DataLoader
from small_training import Memory, Net, bits, data, trainer

# --- what is shown ----------------------------------------------------------------------------


def test_progress_in_plain_lines(capsys):
    trainer(cb.RichProgressBar(), logger=Memory(), epochs=2).fit(Net())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for epoch, line in enumerate(lines):
        assert line.startswith(f"Epoch {epoch}/1: 5/5 batches, ")
        assert " it/s, v_num 3, val_loss " in line and ", loss " in line
    trainer(cb.ProgressBar(), epochs=2).validate(Net(), verbose=False)
    assert capsys.readouterr().out.startswith("Validation: 2/2 batches, ")
    trainer(cb.TQDMProgressBar()).predict(Net(), DataLoader(data(), batch_size=10))
    assert capsys.readouterr().out.startswith("Predicting: 4/4 batches, ")
    trainer(cb.TQDMProgressBar(refresh_rate=0)).fit(Net())
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="refresh_rate"):
        cb.ProgressBar(-1)


def test_lines_between_in_long_epochs(capsys):
    class Hasty(cb.ProgressBar):
        lines_interval = 0.0

    trainer(Hasty(), epochs=1, num_sanity_val_steps=0).fit(Net())
    lines = capsys.readouterr().out.splitlines()
    counts = [int(line.split(": ")[1].split("/")[0]) for line in lines if line.startswith("Epoch")]
    assert counts == [1, 2, 3, 4, 5]
    assert all(" left, loss " in line for line in lines if line.startswith("Epoch 0/0: 3"))
    validation = [line for line in lines if line.startswith("Validation")]
    assert [line.split(" batches")[0] for line in validation] == [
        "Validation: 1/2",
        "Validation: 2/2",
    ]


def test_a_bar_drawn_by_rich(monkeypatch):
    out = io.StringIO()
    progress = cb.RichProgressBar(
        leave=True,
        theme=cb.RichProgressBarTheme(metrics_format=".1f"),
        console_kwargs={"file": out, "force_terminal": True, "width": 120},
    )
    monkeypatch.setattr(progress, "drawings_interval", 0.0)

    class Talk(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.print("so", "far", trainer.global_step)

    trainer(progress, Talk(), logger=Memory(), epochs=1).fit(Net())
    text = out.getvalue()
    plain = rich.console.Console(file=io.StringIO()).render_str(text).plain
    assert "Epoch 0/0" in text and "Sanity Checking" in text and "Validation" in text
    for done in range(6):
        assert f"{done}/5 " in plain
    assert "v_num 3" in plain and "loss " in plain and " it/s" in plain
    assert "so far 5" in plain
    assert progress.progress is None


def test_a_bar_of_characters(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    progress = cb.TQDMProgressBar(leave=True)
    progress.drawings_interval = 0.0
    trainer(progress, epochs=1, num_sanity_val_steps=0).fit(Net())
    drawn = out.getvalue().replace("\n", "\r").split("\r")
    epochs = [line for line in drawn if line.startswith("Epoch 0/0:")]
    assert [line.rsplit("| ", 1)[1].split(" ")[0] for line in epochs][:5] == [
        f"{i}/5" for i in range(5)
    ]
    assert epochs[-1].startswith("Epoch 0/0: 100%|") and "loss" in epochs[-1]
    part = Pass("Validation", float("inf"), 0.0, 3)
    assert bar(part, "", 60).startswith("Validation: 3 [")


def test_a_bar_is_taken_away_when_a_run_fails(monkeypatch):
    class Fails(Net):
        def validation_step(self, batch, batch_idx):
            if not self.trainer.sanity_checking:
                raise ZeroDivisionError

    out = io.StringIO()
    progress = cb.RichProgressBar(console_kwargs={"file": out, "force_terminal": True})
    with pytest.raises(ZeroDivisionError):
        trainer(progress).fit(Fails())
    assert progress.progress is None and not progress.open


def test_metrics_are_read_only_when_they_are_drawn():
    class Counting(cb.ProgressBar):
        read = 0

        def is_live(self):
            return True

        def get_metrics(self, trainer, module):
            self.read += 1
            return super().get_metrics(trainer, module)

    progress = Counting()
    progress.drawings_interval = 1e9
    trainer(progress, epochs=1, num_sanity_val_steps=0, limit_val_batches=0).fit(
        Net(), DataLoader(data(), batch_size=1)
    )
    # When the epoch begins, and when it ends: once for the bar, once for the line.
    assert progress.read == 3


class Mixed(LightningModule):
    """Layers in layers, one of them frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4 * 6 * 6, 2)
        self.rnn = nn.LSTM(2, 5, batch_first=True)
        self.head.requires_grad_(False)
        self.example_input_array = flambeau.ones(2, 3, 8, 8)

    def forward(self, x):
        out = self.head(self.body(x).flatten(1))
        return self.rnn(out.unsqueeze(1))[0]


def test_model_summary():
    net = Mixed()
    before = bits(net)
    state = flambeau.get_rng_state().tolist()
    deep = summarize(net, max_depth=-1)
    assert bits(net) == before and flambeau.get_rng_state().tolist() == state
    assert net.training and net.body[1].training
    assert deep.layer_names == ["body", "body.0", "body.1", "body.2", "head", "rnn"]
    assert deep.layer_types[1:3] == ["Conv2d", "BatchNorm2d"]
    rows = {row.name: row for row in deep.layers}
    assert rows["body.0"].in_size == [2, 3, 8, 8] and rows["body.0"].out_size == [2, 4, 6, 6]
    assert rows["rnn"].out_size == [[2, 1, 5], [[1, 2, 5], [1, 2, 5]]]
    assert rows["body.0"].products == 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3)
    assert rows["head"].products == 2 * 2 * (4 * 6 * 6) * 2
    assert rows["rnn"].products == 2 * 2 * 1 * (2 + 5) * 20
    assert rows["body.1"].products == 0 < rows["body.1"].flops
    assert rows["body"].flops == sum(rows[f"body.{i}"].flops for i in range(3))
    assert deep.total_flops >= sum(rows[n].flops for n in ("body", "head", "rnn"))
    parameters = list(net.parameters())
    assert deep.total_parameters == sum(p.numel() for p in parameters)
    frozen = sum(p.numel() for p in net.head.parameters())
    assert deep.trainable_parameters == deep.total_parameters - frozen
    assert deep.model_size == pytest.approx(4e-6 * deep.total_parameters)
    shallow = summarize(net)
    assert shallow.layer_names == ["body", "head", "rnn"]
    assert shallow.total_layer_params == shallow.total_parameters
    net.example_input_array = None
    assert "FLOPs" not in str(ModelSummary(net)) and ModelSummary(net).in_sizes == ["?"] * 3
    with pytest.raises(ValueError, match="max_depth"):
        ModelSummary(net, max_depth=-2)


def test_the_summary_is_printed_before_training(capsys, monkeypatch):
    net = Net()
    net.example_input_array = flambeau.ones(1, 4)
    trainer(cb.ModelSummary(max_depth=2), epochs=1).fit(net)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(" | ")[1].strip() == "Name"
    assert [line.split(" | ")[1].strip() for line in lines[2:6]] == [
        "layers", "layers.0", "layers.1", "layers.2",
    ]  # fmt: skip
    trainer(cb.ModelSummary(max_depth=0), epochs=1).fit(net)
    assert capsys.readouterr().out == ""
    trainer(cb.RichModelSummary(), epochs=1).fit(net)
    plain = capsys.readouterr().out
    assert plain.splitlines()[0].startswith("  | Name")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    trainer(cb.RichModelSummary(), epochs=1).fit(net)
    drawn = capsys.readouterr().out
    assert "┃" in drawn and "Sequential" in drawn and "Total FLOPs" in drawn


# --- what the machine does --------------------------------------------------------------------


def test_device_stats():
    logger = Memory()
    trainer(cb.DeviceStatsMonitor(), logger=logger, epochs=2, log_every_n_steps=5).fit(Net())
    logged = logger.of("DeviceStatsMonitor.on_train_batch_end/")
    assert [s for s, _ in logged] == [4, 9]
    last = {name.partition("/")[2]: value for name, value in logged[-1][1].items()}
    assert last["ram_used"] > 1e6 and last["cpu_percent"] >= 0 and last["seconds_per_batch"] > 0
    assert 1 <= last["flushes_per_batch"] < 4
    assert {"new_programs", "new_calls"} <= last.keys()
    logger = Memory()
    trainer(cb.DeviceStatsMonitor(cpu_stats=False), logger=logger, log_every_n_steps=2).fit(Net())
    assert not any("ram_" in name for _, values in logger.entries for name in values)
    with pytest.raises(MisconfigurationException, match="logger=False"):
        trainer(cb.DeviceStatsMonitor()).fit(Net())


def test_where_the_time_goes(capsys, tmp_path):
    times = SimpleProfiler(dirpath=tmp_path, filename="times")
    net = Net()
    trainer(cb.Profiler(times), cb.LambdaCallback(on_train_start=lambda *_: None)).fit(net)
    rows = {action: (count, total) for action, _, count, total, _ in times.rows()}
    assert rows["run_training_epoch"][0] == 2 and rows["run_training_batch"][0] == 10
    assert rows["[LightningModule]Net.training_step"][0] == 10
    assert rows["[LightningModule]Net.validation_step"][0] == 4 + 2
    assert rows["optimizer_step [SGD]"][0] == rows["train_dataloader_next"][0] == 10
    assert rows["programs"][0] >= 10
    assert rows["[LightningModule]Net.training_step"][1] <= rows["run_training_batch"][1]
    text = (tmp_path / "fit-times.txt").read_text()
    assert text.startswith("Profile of the run") and "training_step" in text
    assert "Mean duration (s)" in SimpleProfiler(extended=False).summary()
    # A second run is not timed by what the first left.
    steps = len(net.seen)
    trainer(epochs=1).fit(net)
    assert len(net.seen) == steps + 5
    assert len(times.recorded_durations["run_training_batch"]) == 10
    with pytest.raises(ValueError, match="already started"):
        times.start("x")
        times.start("x")
    with pytest.raises(ValueError, match="never started"):
        times.stop("y")
    with pytest.raises(ValueError, match="known are"):
        cb.Profiler("best")
    trainer(cb.Profiler(PassThroughProfiler()), epochs=1).fit(Net())
    assert capsys.readouterr().out == ""
    with pytest.raises(NotImplementedError):
        Profiler().start("x")


def test_a_trace_of_some_steps(tmp_path):
    profiler = cb.Profiler("kernels")
    trainer(profiler, epochs=3, default_root_dir=tmp_path).fit(Net())
    (trace,) = profiler.profiler.trace_paths
    with open(trace, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    steps = {e["name"] for e in events if e["name"].startswith("ProfilerStep")}
    assert steps == {f"ProfilerStep#{i}" for i in range(8, 13)}
    ran = "primitive" if tier.chosen() == "interpret" else "kernel"
    assert {e.get("cat") for e in events} >= {"program", ran, "line"}
    text = (tmp_path / "fit-profile.txt").read_text()
    assert "Programs and kernels" in text
    assert "): training_step" in text.partition("\nLines\n")[2]


def test_a_subclass_names_what_goes_on(capsys):
    class Named(cb.ProgressBar):
        train_description = "Round"
        validation_description = property(lambda self: f"Look at {self.total_val_batches}")
        counts = ()

        def on_train_start(self, trainer, pl_module):
            self.counts = self.total_train_batches, self.total_val_batches

    bar = Named()
    run = trainer(bar)
    run.fit(Net())
    run.validate(Net(), verbose=False)
    out = capsys.readouterr().out
    assert out.startswith("Round 0") and f"Look at {bar.counts[1]}: " in out
    assert bar.counts == (run.num_training_batches, sum(run.num_val_batches))
    plain = cb.ProgressBar()
    assert plain.test_description == "Testing" and plain.predict_description == "Predicting"
    assert plain.sanity_check_description == "Sanity Checking"
