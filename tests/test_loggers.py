"""Loggers of files: what they write."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import pytest

import flambeau
from flambeau import nn
from flambeau.trainer.loggers import (
    CSVLogger,
    DummyLogger,
    Logger,
    TensorBoardLogger,
    rank_zero_experiment,
)
from flambeau.trainer.loggers.hyperparameters import flattened, write_yaml
from flambeau.trainer.utilities.rank_zero import rank_zero_only
from logged import FILES, curves_of, read, rows_of


@pytest.mark.parametrize("kind", FILES)
def test_versions_are_counted(kind, tmp_path):
    for i in range(3):
        logger = kind(tmp_path)
        assert logger.version == i
        logger.log_metrics({"x": 1.0}, 0)
        logger.finalize("success")
        assert os.path.isdir(tmp_path / "lightning_logs" / f"version_{i}")
    os.makedirs(tmp_path / "lightning_logs" / "version_41")
    os.makedirs(tmp_path / "lightning_logs" / "version_x")
    assert kind(tmp_path).version == 42
    named = kind(tmp_path, name="net", version="first", prefix="p")
    assert (named.name, named.version, named.save_dir) == ("net", "first", str(tmp_path))
    assert named.root_dir == str(tmp_path / "net")
    assert named.log_dir == str(tmp_path / "net" / "first")
    assert kind(tmp_path, name="", version=3).log_dir == os.path.join(tmp_path, "", "version_3")
    assert not os.path.exists(tmp_path / "net")


def test_a_sub_directory_and_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNS", str(tmp_path))
    logger = TensorBoardLogger("$RUNS", name="n", version=0, sub_dir="fold")
    assert logger.log_dir == str(tmp_path / "n" / "version_0" / "fold")
    assert logger.sub_dir == "fold"
    logger.log_metrics({"x": 1.0}, 0)
    logger.finalize("success")
    assert curves_of(logger.log_dir) == {(".", "x"): [(0, 1.0)]}


@dataclass
class Width:
    inner: int = 3


PARAMS = {
    "lr": 1e-05,
    "big": 1e300,
    "epochs": 3,
    "name": "a net",
    "odd": "yes",
    "text": 'x: "y" # z',
    "number": "12",
    "flag": True,
    "none": None,
    "far": float("inf"),
    "tensor": flambeau.tensor(2.0),
    "layer": nn.Linear,
    "sizes": [1, 2.5, [3, "four"], {"five": 5}],
    "nothing": [],
    "void": {},
    "width": Width(),
    "space": Namespace(a=1, b={"c": 2}),
}


@pytest.mark.parametrize("kind", FILES)
def test_hyperparameters_are_yaml(kind, tmp_path):
    logger = kind(tmp_path)
    logger.log_hyperparams(PARAMS)
    logger.log_hyperparams(Namespace(more=1))
    logger.finalize("success")
    text = (Path(logger.log_dir) / "hparams.yaml").read_text()
    assert text.splitlines() == [
        "lr: 1.0e-05",
        "big: 1.0e+300",
        "epochs: 3",
        "name: a net",
        'odd: "yes"',
        r'text: "x: \"y\" # z"',
        'number: "12"',
        "flag: true",
        "none: null",
        "far: .inf",
        "tensor: 2.0",
        "layer: Linear",
        "sizes:",
        "  - 1",
        "  - 2.5",
        "  -",
        "    - 3",
        "    - four",
        "  -",
        "    five: 5",
        "nothing: []",
        "void: {}",
        "width:",
        "  inner: 3",
        "space:",
        "  a: 1",
        "  b:",
        "    c: 2",
        "more: 1",
    ]


def test_what_is_no_hyperparameter_yet_is_an_empty_mapping(tmp_path):
    write_yaml(str(tmp_path / "h.yaml"), {})
    assert (tmp_path / "h.yaml").read_text() == "{}\n"
    assert flattened({"a": {"b": {"c": nn.ReLU()}}, "d": None}) == {"a/b/c": "ReLU()", "d": None}


def test_the_table_has_a_column_for_each_metric(tmp_path):
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=2, prefix="p")
    logger.log_metrics({"loss": flambeau.tensor(0.5, requires_grad=True), "b": 1}, 1)
    assert rows_of(logger) == [["p-b", "p-loss", "step"], ["1", "0.5", "1"]]
    logger.log_metrics({"loss": flambeau.tensor(0.25, dtype=flambeau.bfloat16)}, 2)
    assert len(rows_of(logger)) == 2
    logger.log_metrics({"b": 2}, 3)
    assert rows_of(logger)[1:] == [["1", "0.5", "1"], ["", "0.25", "2"], ["2", "", "3"]]
    logger.log_metrics({"a": 1.5, "epoch": 7}, 5)
    assert rows_of(logger) == [
        ["p-a", "p-b", "p-epoch", "p-loss", "step"],
        ["", "1", "", "0.5", "1"],
        ["", "", "", "0.25", "2"],
        ["", "2", "", "", "3"],
        ["1.5", "", "7", "", "5"],
    ]
    names = sorted(p.name for p in Path(logger.log_dir).iterdir())
    assert names == ["hparams.yaml", "metrics.csv"]
    assert (Path(logger.log_dir) / "hparams.yaml").read_text() == "{}\n"


def test_rows_without_a_step_are_numbered(tmp_path):
    logger = CSVLogger(tmp_path)
    for i in range(3):
        logger.log_metrics({"x": i})
    logger.finalize("success")
    assert rows_of(logger) == [["step", "x"], ["0", "0"], ["1", "1"], ["2", "2"]]


def test_a_logger_that_logged_nothing_leaves_nothing(tmp_path):
    CSVLogger(tmp_path).finalize("success")
    TensorBoardLogger(tmp_path).finalize("success")
    assert not list(tmp_path.iterdir())


def test_a_version_that_is_there_is_written_over_with_a_warning(tmp_path):
    for i in range(2):
        logger = CSVLogger(tmp_path, version=0)
        logger.log_metrics({"x": i}, 1)
        if i == 0:
            logger.save()
        else:
            with pytest.warns(UserWarning, match="written over"):
                logger.save()
    assert rows_of(logger) == [["step", "x"], ["1", "1"]]


def test_a_kill_leaves_whole_rows(tmp_path):
    code = (
        "from flambeau.trainer.loggers import CSVLogger\n"
        f"logger = CSVLogger({str(tmp_path)!r}, flush_logs_every_n_steps=1)\n"
        "i = 0\n"
        "while True:\n"
        "    logger.log_metrics({'x': i, 'y': i / 7, **({'z': 1} if i > 20 else {})}, i)\n"
        "    i += 1\n"
        "    if i == 40: print('go', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "go\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with open(tmp_path / "lightning_logs/version_0/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 40
    assert [float(r["y"]) for r in rows] == [i / 7 for i in range(len(rows))]


def test_a_row_cut_short_is_dropped_when_the_run_goes_on(tmp_path):
    logger = CSVLogger(tmp_path, version=0, flush_logs_every_n_steps=1)
    logger.log_metrics({"x": 1}, 0)
    state = logger.state_dict()
    path = Path(logger.log_dir) / "metrics.csv"
    path.write_bytes(path.read_bytes() + b"1,")
    assert logger.experiment.read() == [{"step": "0", "x": "1"}]
    again = CSVLogger(tmp_path, version=0)
    again.load_state_dict(state)
    again.log_metrics({"x": 2}, 1)
    again.finalize("success")
    assert rows_of(again) == [["step", "x"], ["0", "1"], ["1", "2"]]


def test_metrics_are_curves(tmp_path):
    logger = TensorBoardLogger(tmp_path, prefix="p")
    for i in range(5):
        logger.log_metrics(
            {"loss": flambeau.tensor(float(i), requires_grad=True), "two": {"a": i, "b": -i}}, i
        )
    with pytest.raises(ValueError, match="'p-bad'"):
        logger.log_metrics({"bad": "text"}, 5)
    with pytest.raises(ValueError, match="'p-bad'"):
        logger.log_metrics({"bad": [1, 2]}, 5)
    logger.save()
    assert curves_of(logger.log_dir) == {
        (".", "p-loss"): [(i, float(i)) for i in range(5)],
        ("p-two_a", "p-two"): [(i, float(i)) for i in range(5)],
        ("p-two_b", "p-two"): [(i, float(-i)) for i in range(5)],
    }
    logger.finalize("success")


def test_hyperparameters_are_listed_with_their_metric(tmp_path):
    logger = TensorBoardLogger(tmp_path, version="a")
    logger.log_hyperparams({"lr": 0.1, "net": {"width": 3}})
    logger.finalize("success")
    assert curves_of(logger.log_dir) == {(".", "hp_metric"): [(0, -1.0)]}
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = read(logger.log_dir).PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(content["_hparams_/session_start_info"])
    found = {k: v.number_value for k, v in start.session_start_info.hparams.items()}
    assert found == {"lr": 0.1, "net/width": 3.0}
    for metrics, wanted in [(0.5, {"hp_metric": [(2, 0.5)]}), ({"acc": 1}, {"acc": [(2, 1.0)]})]:
        logger = TensorBoardLogger(tmp_path)
        logger.log_hyperparams({"lr": 0.1}, metrics, step=2)
        logger.finalize("success")
        assert curves_of(logger.log_dir) == {(".", k): v for k, v in wanted.items()}
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)
    logger.log_hyperparams({"lr": 0.1})
    logger.finalize("success")
    assert not logger._experiment


def test_the_graph_is_drawn_if_it_is_wanted(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2))
    logger = TensorBoardLogger(tmp_path, log_graph=True)
    with pytest.warns(UserWarning, match="example_input_array"):
        logger.log_graph(model)
    model.example_input_array = flambeau.ones(4, 3)
    logger.log_graph(model)
    logger.finalize("success")
    names = [n.name for n in read(logger.log_dir).Graph().node]
    assert "Sequential/Linear[0]/weight" in names
    quiet = TensorBoardLogger(tmp_path)
    quiet.log_graph(model)
    assert quiet._experiment is None


def test_options_of_the_writer_are_handed_on(tmp_path):
    logger = TensorBoardLogger(tmp_path, max_queue=3, filename_suffix=".tail")
    logger.log_metrics({"x": 1.0}, 0)
    logger.finalize("success")
    assert [p.suffix for p in Path(logger.log_dir).glob("events*")] == [".tail"]
    logger.log_metrics({"x": 2.0}, 1)
    logger.finalize("success")
    assert curves_of(logger.log_dir) == {(".", "x"): [(0, 1.0), (1, 2.0)]}


def test_a_logger_of_ones_own():
    class Mine(Logger):
        name, version = "mine", 1

        def __init__(self):
            self.saved = 0

        def log_metrics(self, metrics, step=None):
            pass

        def log_hyperparams(self, params, *args, **kwargs):
            pass

        def save(self):
            self.saved += 1

    mine = Mine()
    mine.finalize("success")
    assert mine.saved == 1
    mine.log_graph(None)
    mine.after_save_checkpoint(None)
    mine.load_state_dict(mine.state_dict())
    assert (mine.save_dir, mine.log_dir, mine.root_dir, mine.group_separator) == (
        (None, None, None, "/")
    )
    mine.experiment.anything(1, a=2)
    with pytest.raises(TypeError, match="abstract"):
        Logger()


def test_a_dummy_takes_everything():
    dummy = DummyLogger()
    dummy.log_metrics({"x": 1}, step=1)
    dummy.log_hyperparams({})
    dummy.watch("anything")
    dummy.experiment.add_scalar("x", 1)
    dummy.experiment["x"] = 1
    assert dummy.experiment[0] is dummy.experiment and dummy[0] is dummy
    assert (dummy.name, dummy.version, dummy.state_dict()) == ("", "", {})
    assert not hasattr(dummy, "__len__")


def test_only_the_first_process_logs(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    for kind in FILES:
        logger = kind(tmp_path)
        logger.log_hyperparams({"lr": 0.1})
        logger.log_metrics({"x": 1.0}, 0)
        logger.experiment.add_scalar("x", 1.0)
        logger.load_state_dict(logger.state_dict())
        logger.save()
        logger.finalize("success")
    assert not list(tmp_path.iterdir())
    assert rank_zero_experiment(lambda self: 1 / 0)(None).anything() is None
