"""``flambeau bench``: workloads compute the same on both sides, and are counted right."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import flambeau
from flambeau import bench
from flambeau.bench import alone, measure, peers, table
from flambeau.bench.workloads import WORKLOADS, Workload, choose, stepper
from flambeau.cli import main

SMALL = ("quadratic", "two_layer", "mlp", "autoencoder", "lstm", "transformer")
LARGE = tuple(w.name for w in WORKLOADS if w.name not in SMALL)


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads of each library on a busy machine wait for each other."""
    before = {mod: mod.get_num_threads() for mod in (torch, flambeau)}
    for mod in before:
        mod.set_num_threads(1)
    yield
    for mod, threads in before.items():
        mod.set_num_threads(threads)


def one(name: str, batches: int = 2) -> Workload:
    return choose([name])[0].shortened(batches)


@pytest.mark.parametrize("name", [w.name for w in WORKLOADS])
def test_both_sides_train_alike(name):
    workload = one(name)
    arrays = workload.arrays()
    steps = {mod.__name__: stepper(workload, mod, arrays) for mod in (torch, flambeau)}
    number = 2 if name in LARGE else 4
    difference = measure.compare(steps, "torch", number)["flambeau"]
    assert difference < workload.tolerance


@pytest.mark.parametrize("name", SMALL)
def test_a_steady_step_is_one_program(name):
    workload = one(name)
    step = stepper(workload, flambeau, workload.arrays())
    for i in range(2 * workload.batches):
        step(i)
    assert measure.count(step, 0, workload.batches) == measure.Counts(1, 1, 0)


def test_an_epoch_ends_with_a_shorter_batch():
    workload = one("mlp", 3)
    (samples, labels) = workload.arrays()
    assert len(samples) == len(labels) == 2 * 32 + 20
    seen = []
    spy = Workload(**{**workload.__dict__, "build": lambda mod, wrap: lambda x, y: note(x)})

    def note(x):
        seen.append(tuple(x.shape))
        return x.sum()

    step = stepper(spy, flambeau, (samples, labels))
    first, *_, again = [step(i) for i in range(4)]
    assert seen == [(32, 784), (32, 784), (20, 784), (32, 784)]
    assert first == again


def test_a_difference_of_losses_is_seen():
    def losses(values):
        return lambda i: values[i]

    steps = {"torch": losses([1.0, 2.0]), "flambeau": losses([1.0, 2.2])}
    assert measure.compare(steps, "torch", 2) == {"flambeau": pytest.approx(0.1)}
    results = [
        {"name": name, "difference": difference, "tolerance": 1e-3}
        for name, difference in (("x", 0.1), ("y", 1e-7), ("z", math.nan))
    ]
    assert [line.split()[3] for line in bench.doubts(results)] == ["x", "z"]


def test_the_sides_take_turns():
    order: list[str] = []

    def side(name):
        return lambda i: order.append(name) or 0.0

    effort = measure.Effort(steps=6, seconds=9.0, warm_up=0.0, turn=0.0)
    times = measure.alternate({"a": side("a"), "b": side("b")}, one("mlp"), effort)
    # Both shapes of batch, and an epoch; then each turn has an untimed step, and three at least.
    before = 2 * measure.SETTLED + 2
    assert "".join(order) == "a" * before + "b" * before + "aaaabbbb" * 2
    assert times["a"].steps == times["b"].steps == 6


def test_a_process_of_its_own_reports(tmp_path):
    found = alone.fresh_process(one("quadratic"), "flambeau", 0.0, 1, 1, tmp_path)
    assert found["steps"] == 2 * (alone.SETTLED + 2)
    assert all(found[k] > 0 for k in ("first", "steady", "mean", "p99", "longest"))
    assert all(found[k] >= 0 for k in ("lost", "compiling", "waited", "waits", "peak"))
    with pytest.raises(RuntimeError, match="nothing_of_that_name"):
        alone.fresh_process(one("quadratic"), "nothing_of_that_name", 0.0, 1, 1, None)


def test_one_side_alone_does_not_load_the_other():
    code = (
        "import sys; from flambeau.cli import main; "
        "main(['bench', '--only', 'quadratic', '--side', 'flambeau', '--steps', '300']); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("quadratic: ") and "300 steps" in done.stdout


def test_the_command_prints_tables_and_writes_json(tmp_path, capsys):
    file = tmp_path / "out.json"
    arguments = ["--only", "quadratic", "--steps", "3", "--quick", "--threads", "1"]
    arguments += ["--json", str(file)]
    assert main(["bench", *arguments]) == 0
    text = capsys.readouterr().out
    assert "| quadratic regression, 100x1, 1-10-1, SGD |" in text
    assert "| quadratic |" in text  # first steps and memory
    assert "Geometric mean of the ratios" in text
    (result,) = json.loads(file.read_text())["results"]
    assert result["times"]["torch"]["steps"] == 3
    assert result["counts"] == {"programs": 1, "flushes": 1, "misses": 0}
    assert set(result["starts"]) == {"torch", "cold", "warm"}


def test_a_workload_that_is_none_is_named(capsys):
    assert main(["bench", "--only", "nope"]) == 1
    assert "no workload nope; there are quadratic, " in capsys.readouterr().err


def test_without_pytorch_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["bench", "--only", "quadratic"]) == 1
    assert "pip install 'flambeau[test]'" in capsys.readouterr().err


def test_an_absent_peer_says_why(monkeypatch):
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    assert set(peers.absent()) == {"torch.compile", "JAX"}
    assert peers.present() == {}


def test_the_mean_of_ratios_is_geometric():
    assert table.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)


def test_the_script_is_the_command():
    text = (Path(__file__).parent.parent / "benchmarks" / "training.py").read_text()
    assert 'main(["bench", *sys.argv[1:]])' in text
