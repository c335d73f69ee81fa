"""A resumed run's log equals an unbroken one's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import flambeau
from flambeau import nn
from flambeau.trainer.loggers import CSVLogger, TensorBoardLogger
from logged import FILES, curves_of, log_of, read


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
