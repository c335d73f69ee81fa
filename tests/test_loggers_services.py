"""Loggers of MLflow, Weights & Biases: what they ask of the packages."""

from __future__ import annotations

import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

import flambeau
from flambeau.trainer.loggers import MLFlowLogger, WandbLogger


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
