"""train, eval, predict, info: settings, data, runs, resumption, messages."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import urllib.error
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
import yaml

import flambeau
from flambeau.cli import main
from flambeau.trainer.recipes import files
from flambeau.trainer.recipes.data import Digits, Images
from flambeau.trainer.recipes.predictions import Predictions
from flambeau.trainer.recipes.settings import (
    Range,
    SettingError,
    from_text,
    read_yaml,
    resolve,
    settings_of,
)
from own_folder import SOURCE, own_place, weights  # noqa: F401  (a fixture)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, train: int = 400, test: int = 60) -> None:
    """Easy pictures in MNIST's four files: a bright row for each class."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for name, count in (("train", train), ("t10k", test)):
        labels = generator.integers(0, 10, count).astype(np.uint8)
        images = generator.integers(0, 120, (count, 28, 28)).astype(np.uint8)
        for i, label in enumerate(labels):
            images[i, 2 * label + 3] = 255
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))


@pytest.fixture(scope="module")
def mnist_run(tmp_path_factory):
    """A run of two epochs on easy pictures, and what it printed."""
    folder = tmp_path_factory.mktemp("mnist")
    write_mnist(folder / "data")
    before = flambeau.are_deterministic_algorithms_enabled(), dict(os.environ)
    status = main(
        ["train", "mnist", "--data", str(folder / "data"), "--out", str(folder / "run")]
        + ["--epochs", "4", "--batch-size", "25", "--set", "data.validation=100"]
        + ["--set", "width=4", "--set", "log_every_n_steps=2", "--set", "trainer.tensorboard=true"]
    )
    flambeau.use_deterministic_algorithms(before[0])
    os.environ.clear()
    os.environ.update(before[1])
    assert status == 0
    return folder / "run"


class Thing:
    def __init__(
        self,
        width: Annotated[int, Range(least=1)] = 3,
        lr: Annotated[float, Range(above=0)] = 0.1,
        kind: Literal["a", "b"] = "a",
        names: list[str] | None = None,
        flag: bool = False,
    ) -> None:
        pass


SCHEMA = {"one": settings_of(Thing), "two": settings_of(lambda lr=1, size=2: None)}


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("one.width=7", "width", 7),
        ("width=7", "width", 7),
        ("one.lr=1e-3", "lr", 0.001),
        ("one.lr=2", "lr", 2.0),
        ("kind=b", "kind", "b"),
        ("names=[x, y]", "names", ["x", "y"]),
        ("names=null", "names", None),
        ("flag=true", "flag", True),
    ],
)
def test_a_setting_is_read(text, key, value):
    found = resolve(SCHEMA, [from_text(text, "--set")])["one"][key]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one.widht=7", "no setting 'one.widht' (given 7); did you mean 'one.width'?"),
        ("colour=1", "no setting 'colour' (given 1). There are: one.width, one.lr"),
        ("width=0", "one.width = 0 is not allowed: an integer at least 1 was expected"),
        ("width=true", "one.width = true is not allowed: an integer"),
        ("width=1.5", "one.width = 1.5 is not allowed: an integer"),
        ("one.lr=-1", "one.lr = -1 is not allowed: a number greater than 0"),
        ("one.lr=.nan", "one.lr = nan is not allowed: a number greater than 0"),
        ("one.lr=fast", "one.lr = 'fast' is not allowed: a number"),
        ("kind=c", "one.kind = 'c' is not allowed: one of 'a', 'b' was expected"),
        ("names=[1]", "one.names = [1] is not allowed: a list of text, or null"),
        ("flag=1", "one.flag = 1 is not allowed: true or false"),
        ("lr=1", "'lr' may mean one.lr or two.lr"),
        ("one=3", "one = 3: a mapping of its settings was expected (width, lr"),
        ("width", "key=value was expected"),
        ("width=[", "no YAML at line 1"),
    ],
)
def test_a_wrong_setting_says_key_value_and_what_is_allowed(text, said):
    with pytest.raises(SettingError) as error:
        resolve(SCHEMA, [from_text(text, "--set")])
    assert said in str(error.value) and str(error.value).startswith("--set")


def test_later_settings_win_and_files_have_sections(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("one:\n  width: 5\n  kind: b\ntwo: {size: 9}\n", encoding="utf-8")
    found = resolve(SCHEMA, [*read_yaml(path), from_text("width=6", "--set")])
    assert found["one"]["width"] == 6 and found["one"]["kind"] == "b"
    assert found["two"] == {"lr": 1, "size": 9}
    path.write_text("- 1\n", encoding="utf-8")
    with pytest.raises(SettingError, match="a mapping of settings was expected"):
        read_yaml(path)


def test_a_setting_without_default_must_be_given():
    schema = {"model": settings_of(lambda width: None)}
    with pytest.raises(SettingError, match=r"model\.width: no value was given"):
        resolve(schema, [])
    assert resolve(schema, [from_text("width=2", "--set")]) == {"model": {"width": 2}}


def test_idx_files_are_read(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a").write_bytes(idx(array))
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("a", "a.gz"):
        np.testing.assert_array_equal(files.read_idx(tmp_path / name), array)
    wide = np.array([[1, -2], [70000, 4]], ">i4")
    (tmp_path / "b").write_bytes(struct.pack(">HBBII", 0, 12, 2, 2, 2) + wide.tobytes())
    np.testing.assert_array_equal(files.read_idx(tmp_path / "b"), wide)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no file of the format IDX"),
        (b"PK\3\4....", "no file of the format IDX"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], "6 bytes were expected"),
        (idx(np.zeros((2, 3), np.uint8))[:6], "cut short"),
        (gzip.compress(b"x" * 100, mtime=0)[:20], "damaged"),
    ],
)
def test_damaged_idx_files_say_so(tmp_path, content, said):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(files.DataError, match=said):
        files.read_idx(tmp_path / "a")


def test_downloads_are_compared_with_their_checksum(tmp_path, monkeypatch):
    content = b"what was wanted"
    source = files.Source("a.gz", ("https://a.invalid/a", "https://b.invalid/a"), "")
    source = source._replace(sha256=hashlib.sha256(content).hexdigest())
    answers = {"https://a.invalid/a": b"something else", "https://b.invalid/a": content}
    monkeypatch.setattr(
        files.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(answers[url])
    )
    assert files.fetch(source, tmp_path / "new").read_bytes() == content
    del answers["https://b.invalid/a"]
    answers["https://b.invalid/a"] = b""
    with pytest.raises(files.DataError, match="does not have the checksum"):
        files.fetch(source, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def no_network(url, timeout):
    raise urllib.error.URLError("no network here")


def test_without_a_network_it_says_which_files_to_put_where(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files.urllib.request, "urlopen", no_network)
    assert main(["train", "mnist", "--data", str(tmp_path / "data"), "--out", "run"]) == 1
    err = capsys.readouterr().err
    assert "no network here" in err and str(tmp_path / "data") in err and "Traceback" not in err
    for pair in files.MNIST.values():
        for source in pair:
            assert source.name in err and source.sha256 in err
    assert not Path("run").exists()
    assert main(["train", "cifar10", "--data", str(tmp_path / "data"), "--out", "run"]) == 1
    assert "cifar-10-binary.tar.gz" in capsys.readouterr().err


def cifar_rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, 3072)).astype(np.uint8), generator.integers(
        0, 10, count
    )


def test_cifar10_is_read_from_all_its_forms(tmp_path):
    """The binary version, unpacked or not, and the pickles of the version for Python."""
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    batches = {name: cifar_rows(4, i) for i, name in enumerate(names)}
    binary, packed, python = (tmp_path / name for name in ("binary", "packed", "python"))
    (binary / "cifar-10-batches-bin").mkdir(parents=True)
    (python / "cifar-10-batches-py").mkdir(parents=True)
    for name, (pixels, labels) in batches.items():
        rows = np.concatenate([labels[:, None].astype(np.uint8), pixels], 1)
        (binary / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(rows.tobytes())
        content = {b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"one"}
        (python / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(content, protocol=2))
    packed.mkdir()
    with tarfile.open(packed / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.add(binary / "cifar-10-batches-bin", "cifar-10-batches-bin")
    wanted = np.concatenate([batches[name][0] for name in names[:5]]).reshape(-1, 3, 32, 32)
    for folder in (binary, packed, python):
        images, labels = files.read_cifar10(folder, "train")
        np.testing.assert_array_equal(images, wanted)
        np.testing.assert_array_equal(labels, np.concatenate([batches[n][1] for n in names[:5]]))
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(
            files.read_cifar10(folder, "test")[1], batches["test_batch"][1]
        )
    (binary / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(files.DataError, match=r"not data_batch_3\.bin"):
        files.read_cifar10(binary, "train")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_pickles_of_cifar10_run_nothing(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": Bomb(), b"labels": []}))
    with pytest.raises(files.DataError, match="is not allowed"):
        files.read_cifar10(tmp_path, "test")
    assert not Path("exploded").exists()


def test_shifts_and_flips_move_pictures_and_keep_their_pixels():
    picture = np.zeros((1, 1, 5, 5), np.uint8)
    picture[0, 0, 2, 1] = 255
    data = Images(picture.repeat(200, 0), np.zeros(200, np.int64), shift=1, flip=True)
    flambeau.manual_seed(0)
    images, labels = data.__getitems__(list(range(200)))
    places = {tuple(np.argwhere(one[0])[0]) for one in images.numpy()}
    assert places == {(i, j) for i in (1, 2, 3) for j in (0, 1, 2, 3, 4)}
    assert float(images.sum()) == 200 and labels.shape == (200,)


def test_digits_are_those_of_the_demonstration():
    from flambeau.trainer import digits

    mine, theirs = Digits(), digits._load(0)
    mine.setup("fit")
    images, labels = next(iter(mine.val_dataloader()))
    assert len(mine.train) == len(theirs[0]) and len(mine.validation) == 360
    np.testing.assert_array_equal(images.numpy(), theirs[1].tensors[0][: len(images)].numpy())
    np.testing.assert_array_equal(labels.numpy(), theirs[1].tensors[1][: len(images)].numpy())


def test_a_run_leaves_a_folder_that_says_everything(mnist_run):
    record = json.loads((mnist_run / "run.json").read_text())
    assert record["status"] == "finished" and record["target"] == "mnist"
    assert (record["epochs"], record["steps"]) == (4, 48)
    assert record["environment"]["flambeau"] and record["environment"]["processor"]
    config = yaml.safe_load((mnist_run / "config.yaml").read_text())
    assert config == record["settings"] and config["model"]["width"] == 4
    assert yaml.safe_load((mnist_run / "hparams.yaml").read_text())["width"] == 4
    found = Predictions.load(mnist_run / "predictions.npz")
    assert len(found.targets) == 100 and found.accuracy == record["validation_accuracy"]
    assert found.accuracy > 0.9
    assert found.confusion().sum() == 100
    assert np.trace(found.confusion()) == round(found.accuracy * 100)
    layers = {row["name"]: row for row in record["layers"]}
    assert layers["net.0"] == {
        "name": "net.0", "kind": "Conv2d", "output": [1, 4, 28, 28], "parameters": 36
    }  # fmt: skip
    assert (mnist_run / "checkpoints" / "last.ckpt").exists()
    assert list(mnist_run.glob("events.out.tfevents*"))


def test_eval_measures_the_test_set(mnist_run, capsys):
    assert main(["eval", str(mnist_run), "--json"]) == 0
    test = json.loads(capsys.readouterr().out)
    assert set(test) == {"test_loss", "test_accuracy"} and test["test_accuracy"] > 0.9
    best = next((mnist_run / "checkpoints").glob("epoch*.ckpt"))
    assert main(["eval", str(best), "--split", "validation"]) == 0
    lines = dict(line.split() for line in capsys.readouterr().out.splitlines())
    record = json.loads((mnist_run / "run.json").read_text())
    assert float(lines["val_accuracy"]) == pytest.approx(record["validation_accuracy"], abs=1e-5)


def test_predict_takes_pictures_and_arrays(mnist_run, tmp_path, capsys):
    from PIL import Image

    picture = np.zeros((28, 28), np.uint8)
    picture[2 * 7 + 3] = 255
    Image.fromarray(picture).save("grey.png")
    Image.fromarray(np.stack([picture] * 3, 2)).save("colour.png")
    Image.fromarray(255 - picture).save("inverted.png")
    np.save("bytes.npy", picture)
    np.save("floats.npy", picture[None] / np.float32(255))
    answers = []
    for name, more in [
        ("grey.png", []),
        ("colour.png", []),
        ("inverted.png", ["--invert"]),
        ("bytes.npy", []),
        ("floats.npy", []),
    ]:
        assert main(["predict", str(mnist_run), name, "--json", "--top", "2", *more]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for answer in answers:
        assert [one["class"] for one in answer] == [one["class"] for one in answers[0]]
        # Programs are compiled on the way: the same to rounding.
        assert answer[0]["probability"] == pytest.approx(answers[0][0]["probability"], rel=1e-4)
    assert len(answers[0]) == 2 and answers[0][0]["class"] == "7"
    assert answers[0][0]["probability"] > answers[0][1]["probability"] >= 0
    assert main(["predict", str(mnist_run), "grey.png"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[0] == "7"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "No such file"),
        (lambda p: p.write_text("x"), "no picture"),
        (lambda p: np.save(p.with_suffix(".npy"), np.full((28, 28), 16.0)), "floats from 0 to 1"),
        (lambda p: np.save(p.with_suffix(".npy"), np.zeros((2, 28, 28))), "shape"),
        (lambda p: np.save(p.with_suffix(".npy"), np.array([{}], object)), "no array of numbers"),
        (lambda p: np.save(p.with_suffix(".npy"), np.zeros((28, 28), np.int32)), "not int32"),
    ],
)
def test_predict_says_what_is_wrong_with_a_picture(mnist_run, tmp_path, capsys, make, said):
    path = tmp_path / "picture.png"
    make(path)
    path = path.with_suffix(".npy") if path.with_suffix(".npy").exists() else path
    assert main(["predict", str(mnist_run), str(path)]) == 1
    err = capsys.readouterr().err
    assert said in err and str(path) in err and "Traceback" not in err


def test_info_says_what_is_in_a_checkpoint(mnist_run, capsys):
    assert main(["info", str(mnist_run), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    record = json.loads((mnist_run / "run.json").read_text())
    assert facts["parameters"] == sum(row["parameters"] for row in record["layers"])
    assert facts["target"] == "mnist" and facts["can be resumed"] is True
    assert facts["hyper_parameters"]["width"] == 4
    assert facts["metrics"]["val_accuracy"] > 0.9
    assert facts["versions"]["flambeau"] == record["environment"]["flambeau"]
    assert {"name": "net.0.weight", "shape": [4, 1, 3, 3], "dtype": "float32"} in facts["tensors"]
    assert main(["info", str(mnist_run / "checkpoints" / "last.ckpt")]) == 0
    out = capsys.readouterr().out
    assert "epoch: 3\n" in out and "global_step: 48\n" in out and "4x1x3x3  float32" in out


def test_info_runs_nothing_of_a_file(tmp_path, capsys):
    import torch

    torch.save({"state_dict": {"w": torch.ones(2)}, "more": Bomb()}, "bad.ckpt")
    assert main(["info", "bad.ckpt"]) == 1
    err = capsys.readouterr().err
    assert "mkdir" in err and "Traceback" not in err
    assert not Path("exploded").exists()
    torch.save({"w": torch.ones(2, 3), "b": torch.ones(())}, "weights.pt")
    assert main(["info", "weights.pt"]) == 0
    out = capsys.readouterr().out
    assert "parameters: 7\n" in out and "2x3  float32" in out and "scalar" in out
    torch.save([1, 2], "list.pt")
    assert main(["info", "list.pt"]) == 1
    assert "no tensors by name in it: it is a list" in capsys.readouterr().err


def test_a_resumed_run_gives_the_bits_of_one_that_never_stopped(capsys):
    same = ["--set", "schedule=constant", "--set", "width=2", "--seed", "3"]
    assert main(["train", "digits", "--out", "whole", "--epochs", "3", *same]) == 0
    assert main(["train", "digits", "--out", "part", "--epochs", "1", *same]) == 0
    assert main(["train", "digits", "--out", "part", "--resume", "last", "--epochs", "3"]) == 0
    whole, part = weights("whole"), weights("part")
    assert whole.keys() == part.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(value, part[name])
    assert Path("whole/metrics.csv").read_text() == Path("part/metrics.csv").read_text()
    assert json.loads(Path("part/run.json").read_text())["settings"]["model"]["width"] == 2


def test_config_repeats_a_run(mnist_run, capsys):
    config = yaml.safe_load((mnist_run / "config.yaml").read_text())
    assert main(["train", "mnist", "--config", str(mnist_run / "config.yaml"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    shown, _, rest = out.partition("300 to learn from, 100 held out")
    assert yaml.safe_load(shown) == config
    assert "nothing was written" in rest and not Path("runs").exists()


def test_the_demonstration_can_be_evaluated_and_asked(capsys):
    assert main(["train", "digits", "--epochs", "2", "--out", "demo.pt"]) == 0
    out = capsys.readouterr().out
    accuracy = float(out.splitlines()[-1].removeprefix("test accuracy ").partition("%")[0]) / 100
    assert main(["eval", "demo.pt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test_accuracy"] == pytest.approx(accuracy, abs=1e-4)
    assert main(["info", "demo.pt"]) == 0
    assert "parameters: 19,338\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mnits"], "did you mean 'mnist'? There are digits, mnist, cifar10, and PATH.py:Module"),
        (["no.py:Net"], "there is no file no.py"),
        (["digits", "--set", "modle.lr=1"], "did you mean 'model.lr'?"),
        (["digits", "--set", "model.net=rnn"], "one of 'cnn', 'mlp' was expected"),
        (["digits", "--set", "trainer.max_epochs=x"], "an integer at least 1 was expected"),
        (["digits", "--config", "no.yaml"], "--config no.yaml: No such file"),
        (["digits", "--resume", "no.ckpt"], "--resume no.ckpt: there is no such checkpoint"),
        (["digits", "--resume", "last"], "has no last*.ckpt"),
        (["digits", "--datamodule", "a.py:B"], "has its own data"),
        (["digits", "--data", "x"], "no setting 'data.folder'"),
        (["mnist", "--set", "monitor=null", "--set", "precision=8"], "'32-true'"),
    ],
)
def test_what_makes_no_sense_ends_with_2_and_a_hint(capsys, arguments, said):
    assert main(["train", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err and err.startswith("flambeau train: ") and "Traceback" not in err
    assert not Path("runs").exists()


def test_a_folder_with_a_run_is_not_written_over(mnist_run, capsys):
    before = (mnist_run / "run.json").read_text()
    assert main(["train", "mnist", "--out", str(mnist_run)]) == 2
    assert "--resume last goes on with it" in capsys.readouterr().err
    assert main(["train", "digits", "--out", str(mnist_run), "--resume", "last"]) == 2
    assert "that is a checkpoint of mnist, not of digits" in capsys.readouterr().err
    assert (mnist_run / "run.json").read_text() == before


@pytest.mark.parametrize("command", ["eval", "info", "predict"])
def test_a_checkpoint_that_is_not_there(command, capsys):
    more = ["x.png"] if command == "predict" else []
    assert main([command, "none.ckpt", *more]) == 1
    assert "none.ckpt: there is no such checkpoint" in capsys.readouterr().err
