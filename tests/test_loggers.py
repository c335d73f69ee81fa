"""Loggers: what they write, and that a resumed run's log equals an unbroken one's."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import types
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import flambeau
from flambeau import nn
from flambeau.trainer.loggers import (
    CSVLogger,
    DummyLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
    rank_zero_experiment,
)
from flambeau.trainer.loggers.hyperparameters import flattened, write_yaml
from flambeau.trainer.utilities.rank_zero import rank_zero_only

FILES = [CSVLogger, TensorBoardLogger]


def rows_of(logger):
    with open(Path(logger.log_dir) / "metrics.csv", newline="") as file:
        return list(csv.reader(file))


def read(folder):
    sizes = {"scalars": 0, "tensors": 0}
    return EventAccumulator(str(folder), size_guidance=sizes).Reload()


def curves_of(folder):
    """All curves of a directory of event files and of those below it."""
    found = {}
    for path in sorted({p.parent for p in Path(folder).rglob("events.out.tfevents.*")}):
        back = read(path)
        for tag in back.Tags()["scalars"]:
            values = [(s.step, s.value) for s in back.Scalars(tag)]
            found[str(path.relative_to(folder)), tag] = values
    return found


def log_of(logger):
    """What a logger of files has written, whatever the times."""
    logger.finalize("success")
    if isinstance(logger, CSVLogger):
        return (Path(logger.log_dir) / "metrics.csv").read_bytes()
    return curves_of(logger.log_dir)


# ------------------------------------------------------------------------------ directories


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


# ---------------------------------------------------------------------------------- the table


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


# -------------------------------------------------------------------------------- TensorBoard


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


# -------------------------------------------------------------------------------- resumption


def train(logger, first, last, kill_at=None, state_at=None):
    """A run of steps, with new metrics on the way; the logger's state after ``state_at``."""
    state = None
    if first == 0:
        logger.log_hyperparams({"lr": 0.1})
    for step in range(first, last):
        metrics = {"loss": 1 / (step + 1)}
        if step % 3 == 0:
            metrics["epoch"] = step // 3
        if step >= 6:
            metrics["accuracy"] = step / 100
        if step >= 8 and isinstance(logger, TensorBoardLogger):
            metrics["pair"] = {"a": step, "b": -step}
        logger.log_metrics(metrics, step)
        if step == state_at:
            # As a checkpoint keeps it.
            state = json.loads(json.dumps(logger.state_dict()))
    return state


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("state_at", [0, 4, 7, 9])
@pytest.mark.parametrize("same", [True, False], ids=["same version", "new version"])
@pytest.mark.parametrize("early", [True, False], ids=["opened before", "opened after"])
def test_a_resumed_log_equals_an_unbroken_one(kind, state_at, same, early, tmp_path):
    options = {"flush_logs_every_n_steps": 2} if kind is CSVLogger else {"max_queue": 3}
    unbroken = kind(tmp_path / "unbroken", **options)
    train(unbroken, 0, 12)
    wanted = log_of(unbroken)

    killed = kind(tmp_path / "killed", **options)
    state = train(killed, 0, 11, state_at=state_at)
    killed.save()  # and then it is gone
    first = Path(killed.log_dir)
    before = {p: p.read_bytes() for p in first.rglob("*") if p.is_file()}

    resumed = kind(tmp_path / "killed", version=killed.version if same else None, **options)
    if early:
        resumed.log_hyperparams({"lr": 0.1})
    resumed.load_state_dict(state)
    if not early:
        resumed.log_hyperparams({"lr": 0.1})
    train(resumed, state_at + 1, 12)
    assert (Path(resumed.log_dir) == first) is same
    assert log_of(resumed) == wanted
    hparams = (Path(resumed.log_dir) / "hparams.yaml").read_bytes()
    assert hparams == (Path(unbroken.log_dir) / "hparams.yaml").read_bytes()
    if not same:
        assert {p: p.read_bytes() for p in first.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("kind", FILES)
def test_a_run_killed_again_and_again(kind, tmp_path):
    unbroken = kind(tmp_path / "unbroken")
    train(unbroken, 0, 12)
    wanted = log_of(unbroken)
    state = None
    for first, last in [(0, 3), (2, 9), (5, 8), (5, 12)]:
        logger = kind(tmp_path / "run", version=0)
        if state is not None:
            logger.load_state_dict(state)
        # The checkpoint that the next one goes on from.
        state = train(logger, first, last, state_at={0: 1, 2: 4}.get(first)) or state
        logger.save()
    assert log_of(logger) == wanted


def test_an_open_tensorboard_is_told(tmp_path):
    killed = TensorBoardLogger(tmp_path, version=0)
    state = train(killed, 0, 9, state_at=4)
    killed.save()
    watching = read(killed.log_dir)
    assert [s.step for s in watching.Scalars("loss")] == list(range(9))
    resumed = TensorBoardLogger(tmp_path, version=0)
    resumed.load_state_dict(state)
    train(resumed, 5, 7)
    resumed.save()
    watching.Reload()
    assert [s.step for s in watching.Scalars("loss")] == list(range(7))
    resumed.finalize("success")


def test_the_graph_is_not_drawn_twice(tmp_path):
    model = nn.Linear(3, 2)
    logger = TensorBoardLogger(tmp_path, version=0, log_graph=True)
    logger.log_graph(model, flambeau.ones(1, 3))
    state = logger.state_dict()
    logger.save()
    resumed = TensorBoardLogger(tmp_path, version=0, log_graph=True)
    resumed.load_state_dict(state)
    resumed.log_graph(model, flambeau.ones(1, 3))
    assert resumed._experiment is None
    assert read(resumed.log_dir).Graph().node


def test_what_lies_beside_the_log_stays(tmp_path):
    """Where the directory is not the version's alone, other runs below it are left alone."""
    other = TensorBoardLogger(tmp_path, name="", version="other")
    other.log_metrics({"x": 1.0}, 0)
    logger = TensorBoardLogger(tmp_path, name="", version="")
    logger.log_metrics({"x": 2.0}, 0)
    state = logger.state_dict()
    other.finalize("success")
    TensorBoardLogger(tmp_path, name="", version="later").log_metrics({"x": 3.0}, 0)
    logger.finalize("success")
    resumed = TensorBoardLogger(tmp_path, name="", version="")
    resumed.load_state_dict(state)
    found = curves_of(tmp_path)
    assert {k: v[0][1] for k, v in found.items()} == {
        (".", "x"): 2.0,
        ("other", "x"): 1.0,
        ("later", "x"): 3.0,
    }


@pytest.mark.parametrize("kind", FILES)
def test_a_log_that_is_gone_or_moved_or_another(kind, tmp_path):
    killed = kind(tmp_path / "a", version=0)
    state = train(killed, 0, 6, state_at=3)
    killed.save()
    os.rename(tmp_path / "a", tmp_path / "b")
    moved = kind(tmp_path / "b", version=0)
    moved.load_state_dict(state)
    train(moved, 4, 8)
    unbroken = kind(tmp_path / "unbroken")
    train(unbroken, 0, 8)
    assert log_of(moved) == log_of(unbroken)
    gone = kind(tmp_path / "c", version=0)
    with pytest.warns(UserWarning, match="begins in the middle"):
        gone.load_state_dict(state)
    train(gone, 4, 6)
    gone.finalize("success")
    another = kind(tmp_path / "d", version=0)
    train(another, 0, 2)
    another.finalize("success")
    os.makedirs(tmp_path / "a/lightning_logs/version_0")
    mixed = kind(tmp_path / "d", version=0)
    before = log_of(another)
    with pytest.warns(UserWarning, match="another run"):
        mixed.load_state_dict(state)
    assert log_of(another) == before


# ------------------------------------------------------------------------- the other packages


class Record:
    """A module, object or function of another package: notes its calls."""

    def __init__(self, calls, name, returns=None, **attributes):
        self.calls, self.name, self.returns = calls, name, returns or {}
        for key, value in attributes.items():
            setattr(self, key, value)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            result = self.returns.get(name)
            return result(*args, **kwargs) if callable(result) else result

        return call


def entity(**fields):
    return types.SimpleNamespace(**fields)


@pytest.fixture
def mlflow(monkeypatch):
    """The interface of ``mlflow`` that is used: a client, its entities."""
    module = types.ModuleType("mlflow")
    module.calls = []
    module.runs = {}

    def create_run(experiment_id, tags):
        run = entity(info=entity(run_id=f"run{len(module.runs)}", experiment_id=experiment_id))
        module.runs[run.info.run_id] = run
        return run

    def client(uri):
        module.uri = uri
        return Record(
            module.calls,
            "client",
            {
                "get_experiment_by_name": lambda name: (
                    entity(experiment_id="7") if name == "known" else None
                ),
                "create_experiment": "8",
                "create_run": create_run,
                "get_run": module.runs.get,
            },
        )

    module.tracking = entity(MlflowClient=client)
    module.entities = entity(Metric=entity, Param=entity)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return module


def called(module, name):
    return [(args, kwargs) for n, args, kwargs in module.calls if n == name]


@dataclass
class Checkpoints:
    """What loggers look at of a checkpoint callback."""

    last_model_path: str
    best_model_path: str
    best_model_score: float
    best_k_models: dict


@pytest.fixture
def checkpoints(tmp_path):
    paths = [str(tmp_path / f"{n}.ckpt") for n in ("best", "second", "last")]
    for i, path in enumerate(paths):
        Path(path).write_text("x")
        os.utime(path, (i, i))
    return Checkpoints(paths[2], paths[0], 0.1, {paths[0]: 0.1, paths[1]: 0.2})


def test_mlflow(mlflow, monkeypatch, checkpoints):
    logger = MLFlowLogger("new", run_name="first", tags={"who": "me"}, prefix="p", log_model=True)
    assert not mlflow.calls and logger.save_dir == "./mlruns" and mlflow.uri == "file:./mlruns"
    logger.log_hyperparams({f"k{i}": "v" * 300 for i in range(120)} | {"net": {"width": 3}})
    assert called(mlflow, "create_experiment") == [((), {"name": "new", "artifact_location": None})]
    (_, kwargs), *others = called(mlflow, "create_run")
    assert not others and kwargs["tags"] == {"who": "me", "mlflow.runName": "first"}
    batches = [kwargs["params"] for _, kwargs in called(mlflow, "log_batch")]
    assert [len(b) for b in batches] == [100, 21]
    assert len(batches[0][0].value) == 250
    assert (batches[1][-1].key, batches[1][-1].value) == ("net/width", "3")
    with pytest.warns(UserWarning, match="string value"):
        logger.log_metrics({"loss": flambeau.tensor(0.5), "text": "x"}, 3)
    with pytest.warns(UserWarning, match="does not take"):
        logger.log_metrics({"a@b": 1}, 4)
    (_, first), (_, second) = called(mlflow, "log_batch")[-2:]
    assert [(m.key, m.value, m.step) for m in first["metrics"]] == [("p-loss", 0.5, 3)]
    assert second["metrics"][0].key == "p-a b" and first["run_id"] == "run0"
    assert (logger.name, logger.version) == ("8", "run0")
    logger.after_save_checkpoint(checkpoints)
    assert not called(mlflow, "log_artifact")
    logger.finalize("success")
    sent = [args[1:] for args, _ in called(mlflow, "log_artifact")]
    assert [(Path(p).stem, folder) for p, folder in sent] == [
        (n, f"model/checkpoints/{n}") for n in ("best", "second", "last")
    ]
    assert called(mlflow, "set_terminated") == [(("run0", "FINISHED"), {})]


def test_mlflow_goes_on_with_its_run(mlflow, monkeypatch, checkpoints):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    logger = MLFlowLogger("known", log_model="all")
    logger.log_metrics({"x": 1}, 0)
    assert mlflow.uri == "http://server" and logger.save_dir is None and logger.name == "7"
    logger.after_save_checkpoint(checkpoints)
    os.utime(checkpoints.last_model_path, (9, 9))
    logger.after_save_checkpoint(checkpoints)
    assert len(called(mlflow, "log_artifact")) == 4
    state = logger.state_dict()
    assert state == {"run_id": "run0"}
    resumed = MLFlowLogger("known")
    resumed.log_metrics({"x": 1}, 0)
    resumed.load_state_dict(state)
    resumed.log_metrics({"x": 2}, 1)
    assert resumed.version == "run0" and resumed.experiment_id == "7"
    assert [k["run_id"] for _, k in called(mlflow, "log_batch")] == ["run0", "run1", "run0"]
    assert called(mlflow, "set_terminated") == [(("run1", "KILLED"), {})]
    resumed.finalize("failed")
    assert called(mlflow, "set_terminated")[-1] == (("run0", "FAILED"), {})
    MLFlowLogger("known").finalize("success")
    assert len(called(mlflow, "create_run")) == 2


@pytest.fixture
def wandb(monkeypatch):
    """The interface of ``wandb`` that is used: ``init``, a run, media, artifacts."""
    module = types.ModuleType("wandb")
    module.calls, module.run, module.begun = [], None, []

    def init(**options):
        module.begun.append(options)
        run_id = options["id"] or f"id{len(module.begun)}"
        return Record(module.calls, "run", id=run_id, config=Record(module.calls, "config"))

    module.init = init
    module.Table = lambda **kwargs: ("table", kwargs)
    for kind in ("Image", "Audio", "Video"):
        setattr(module, kind, lambda value, kind=kind, **options: (kind, value, options))
    module.Artifact = lambda **kwargs: Record(module.calls, "artifact", about=kwargs)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return module


def test_wandb(wandb, tmp_path, checkpoints):
    logger = WandbLogger(
        "first", tmp_path / "w", project="nets", offline=True, prefix="p", log_model="all", tags=[1]
    )
    assert not wandb.begun and logger.version is None and logger.name == "nets"
    logger.log_hyperparams({"net": {"width": 3}, "lr": flambeau.tensor(0.5)})
    (options,) = wandb.begun
    assert options["name"] == "first" and options["mode"] == "offline" and options["tags"] == [1]
    assert options["dir"] == str(tmp_path / "w") and os.path.isdir(options["dir"])
    assert called(wandb, "update") == [(({"net/width": 3, "lr": 0.5},), {"allow_val_change": True})]
    assert [args for args, _ in called(wandb, "define_metric")] == [
        ("trainer/global_step",),
        ("*",),
    ]
    logger.log_metrics({"loss": flambeau.tensor(0.25)}, 3)
    logger.log_metrics({"loss": 1})
    logger.log_image("pictures", ["a", "b"], 5, caption=["x", "y"])
    logger.log_text("words", ["c"], [["d"]], step=6)
    rows = [args[0] for args, _ in called(wandb, "log")]
    assert rows == [
        {"p-loss": 0.25, "trainer/global_step": 3},
        {"p-loss": 1},
        {
            "p-pictures": [("Image", "a", {"caption": "x"}), ("Image", "b", {"caption": "y"})],
            "trainer/global_step": 5,
        },
        {
            "p-words": ("table", {"columns": ["c"], "data": [["d"]], "dataframe": None}),
            "trainer/global_step": 6,
        },
    ]
    with pytest.raises(TypeError, match="images"):
        logger.log_image("x", "not a list")
    with pytest.raises(ValueError, match="Expected 1 items but only found 2"):
        logger.log_audio("x", [1], sample_rate=[1, 2])
    logger.watch("model", log="all")
    assert called(wandb, "watch") == [(("model",), {"log": "all", "log_freq": 100})]
    logger.after_save_checkpoint(checkpoints)
    logger.after_save_checkpoint(checkpoints)
    sent = called(wandb, "log_artifact")
    assert [a[0].about["metadata"]["score"] for a, _ in sent] == [0.1, 0.2, None]
    assert [k["aliases"] for _, k in sent] == [["best"], [], ["latest"]]
    assert logger.version == "id1" and sent[0][0][0].about["name"] == "model-id1"
    logger.finalize("success")
    assert len(called(wandb, "log_artifact")) == 3


def test_wandb_goes_on_with_its_run(wandb, tmp_path, checkpoints):
    logger = WandbLogger(save_dir=tmp_path, log_model=True)
    logger.log_metrics({"x": 1}, 0)
    logger.after_save_checkpoint(checkpoints)
    logger.finalize("failed")
    assert not called(wandb, "log_artifact")
    state = logger.state_dict()
    resumed = WandbLogger(save_dir=tmp_path)
    resumed.log_metrics({"x": 1}, 0)
    assert resumed.version == "id2"
    resumed.load_state_dict(state)
    resumed.log_metrics({"x": 1}, 1)
    assert resumed.version == "id1" and wandb.begun[-1]["resume"] == "allow"
    assert len(called(wandb, "finish")) == 1
    given = WandbLogger(save_dir=tmp_path, id="mine")
    given.load_state_dict(state)
    assert given.version == "mine" == given.experiment.id
    wandb.run = Record(wandb.calls, "run", id="outer")
    assert WandbLogger(save_dir=tmp_path).experiment is wandb.run


@pytest.mark.parametrize("kind", [MLFlowLogger, WandbLogger])
def test_what_is_missing_is_named(kind, monkeypatch):
    package = {MLFlowLogger: "mlflow", WandbLogger: "wandb"}[kind]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=f"pip install {package}"):
        kind()


# ------------------------------------------------------------------------- the rest


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
