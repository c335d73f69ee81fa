"""TensorBoard: the same calls leave the same events as PyTorch's; TensorBoard itself reads them."""

from __future__ import annotations

import inspect
import io
import os
import re
import subprocess
import sys
import wave
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.mesh.plugin_data_pb2 import MeshPluginData
from torch.utils.tensorboard import SummaryWriter as TorchWriter

import flambeau
from events import array_of, events_of, read
from flambeau.utils.extras import MissingExtraError
from flambeau.utils.tensorboard import FileWriter, RecordWriter, SummaryWriter
from flambeau.utils.tensorboard.event_file import _EventFile

rng = np.random.default_rng(0)
VALUES = rng.standard_normal(200).astype(np.float32)
PICTURE = rng.random((3, 6, 8), dtype=np.float32) * 1.4 - 0.2
BATCH = rng.random((5, 3, 6, 6), dtype=np.float32)
LABELS = rng.integers(0, 2, 40)
SCORES = rng.random(40).astype(np.float32)
POINTS = rng.standard_normal((1, 4, 3)).astype(np.float32)
COLORS = rng.integers(0, 255, (1, 4, 3))
FACES = np.array([[[0, 2, 3], [0, 3, 1]]])


CASES = {
    "scalar": lambda w, t: [w.add_scalar("a b/c", t(VALUES[i]), i) for i in range(3)],
    "scalar without a step": lambda w, t: w.add_scalar("x", 3),
    "scalar of numpy": lambda w, t: w.add_scalar("x", np.float64(0.1), 2),
    "scalar at a time": lambda w, t: w.add_scalar("x", t(VALUES[:1]), np.int64(4), 1.7e9),
    "scalar as tensor": lambda w, t: w.add_scalar("x", 0.1, 1, new_style=True),
    "scalar in 64 bits": lambda w, t: w.add_scalar(
        "x", 0.1, 1, new_style=True, double_precision=True
    ),
    "scalars": lambda w, t: w.add_scalars("m/n", {"sin": t(VALUES[0]), "cos": 0.5}, 7),
    "histogram": lambda w, t: w.add_histogram("h", t(VALUES), 1),
    "histogram with bins": lambda w, t: w.add_histogram("h", t(VALUES), 1, bins="auto"),
    "histogram with few bins": lambda w, t: w.add_histogram("h", VALUES, 1, max_bins=64),
    "raw histogram": lambda w, t: w.add_histogram_raw(
        "h", -1.0, 2.5, 6, 3.0, 9.5, [0.0, 1.0, 3.0], [1, 2, 3], 5
    ),
    "image": lambda w, t: w.add_image("i", t(PICTURE), 1),
    "image of bytes": lambda w, t: w.add_image("i", t((BATCH[0] * 255).astype(np.uint8)), 1),
    "image of one channel": lambda w, t: w.add_image("i", t(PICTURE[:1]), 1),
    "image last": lambda w, t: w.add_image(
        "i", t(PICTURE.transpose(1, 2, 0).copy()), 1, dataformats="HWC"
    ),
    "image flat": lambda w, t: w.add_image("i", t(PICTURE[0]), 1, dataformats="HW"),
    "images": lambda w, t: w.add_images("i", t(BATCH), 1),
    "image with boxes": lambda w, t: w.add_image_with_boxes(
        "i", t(np.full((3, 40, 60), 0.5)), t(np.array([[5, 5, 30, 30]])), 2, labels="dog"
    ),
    "image scaled": lambda w, t: w.add_image_with_boxes(
        "i", t(PICTURE), t(np.array([[1, 1, 3, 4], [0, 0, 2, 2]])), 2, rescale=2, labels=["one"]
    ),
    "audio": lambda w, t: w.add_audio("s", t(np.clip(VALUES, -1, 1)[None]), 3, 8000),
    "text": lambda w, t: w.add_text("t", "# naïve **text**", 2),
    "pr curve": lambda w, t: w.add_pr_curve("p", t(LABELS), t(SCORES), 1),
    "pr curve with weights": lambda w, t: w.add_pr_curve(
        "p", LABELS, SCORES, 1, num_thresholds=20, weights=SCORES
    ),
    "raw pr curve": lambda w, t: w.add_pr_curve_raw(
        "p", *[np.arange(5) + k for k in range(4)], *[np.linspace(0, 1, 5)] * 2, 1, 5
    ),
    "mesh": lambda w, t: w.add_mesh(
        "m", t(POINTS), t(COLORS), t(FACES), {"camera": {"cls": "PerspectiveCamera"}}, 3
    ),
    "points": lambda w, t: w.add_mesh("m", t(POINTS), global_step=1),
    "hparams": lambda w, t: w.add_hparams(
        {"lr": 0.1, "layers": 3, "name": "net", "bias": True, "none": None},
        {"hparam/accuracy": t(VALUES[0]), "hparam/loss": 0.5},
        {"layers": [1, 2, 3], "name": ["net", "mlp"]},
        run_name="run",
        global_step=4,
    ),
    "custom scalars": lambda w, t: w.add_custom_scalars(
        {"A": {"all": ["Multiline", ["a", "b"]], "band": ["Margin", ["a", "b", "c"]]}}
    ),
    "custom lines": lambda w, t: w.add_custom_scalars_multilinechart(["a", "b"], "cat", "title"),
    "custom margin": lambda w, t: w.add_custom_scalars_marginchart(["a", "b", "c"]),
}


def tensors_in(library):
    return lambda array: library.from_numpy(np.array(array))


@pytest.mark.parametrize("case", CASES)
def test_the_same_events_as_pytorch(case, tmp_path):
    for name, writer, library in (
        ("ours", SummaryWriter, flambeau),
        ("theirs", TorchWriter, torch),
    ):
        with writer(str(tmp_path / name)) as opened:
            CASES[case](opened, tensors_in(library))
    ours, theirs = events_of(tmp_path / "ours"), events_of(tmp_path / "theirs")
    assert [len(e) for e in ours] == [len(e) for e in theirs]
    folders = [
        sorted(p.parent.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("events*"))
        for n in ("ours", "theirs")
    ]
    assert folders[0] == folders[1]
    for mine, wanted in zip(chain(*ours), chain(*theirs)):
        for value in mine.summary.value:
            _parse_content(value)
        for value in wanted.summary.value:
            _parse_content(value)
        assert mine == wanted
    assert any(e.HasField("summary") for e in chain(*ours))


def _parse_content(value):
    """Maps and the order of fields make the bytes of plugins differ: compares what they say."""
    data = value.metadata.plugin_data
    kind = {"hparams": HParamsPluginData, "mesh": MeshPluginData}.get(data.plugin_name)
    if kind is not None:
        message = kind.FromString(data.content)
        data.content = message.SerializeToString(deterministic=True)


def test_embeddings_are_the_files_of_pytorch(tmp_path):
    header = ["word", "count"]
    for name, writer, library in (
        ("ours", SummaryWriter, flambeau),
        ("theirs", TorchWriter, torch),
    ):
        t = tensors_in(library)
        with writer(str(tmp_path / name)) as w:
            w.add_embedding(t(POINTS[0]), ["a", "b", "c", "d"], t(BATCH[:4]), 3, "we/ird%")
            w.add_embedding(t(POINTS[0]), [["a", 1]] * 4, metadata_header=header)
            w.add_embedding(t(BATCH.reshape(5, -1)), label_img=t(BATCH), global_step=1)
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    def files(name):
        found = {}
        for path in sorted((tmp_path / name).rglob("*")):
            if path.is_file() and not path.name.startswith("events"):
                content = path.read_bytes()
                if path.suffix == ".pbtxt":
                    content = text_format.Parse(content.decode(), ProjectorConfig())
                if path.suffix == ".png":
                    content = np.asarray(Image.open(path)).tolist()
                found[str(path.relative_to(tmp_path / name))] = content
        return found

    ours, theirs = files("ours"), files("theirs")
    assert len(ours) == 8 and ours == theirs


def test_the_signatures_are_those_of_pytorch():
    for name, theirs in vars(TorchWriter).items():
        if name.startswith("_") or not callable(theirs):
            continue
        ours = inspect.signature(getattr(SummaryWriter, name)).parameters
        wanted = inspect.signature(theirs).parameters
        assert list(ours) == list(wanted), name
        assert [p.default for p in ours.values()] == [p.default for p in wanted.values()], name
    init = [inspect.signature(w).parameters for w in (SummaryWriter, TorchWriter)]
    assert [(n, p.default) for n, p in init[0].items()] == [
        (n, p.default) for n, p in init[1].items()
    ]


def test_curves_are_read_back(tmp_path):
    with SummaryWriter(tmp_path) as w:
        for i in range(50):
            w.add_scalar("loss", flambeau.tensor(VALUES[i]), i)
            w.add_scalars("both", {"a": float(VALUES[i]), "b": i}, i)
    back = read(tmp_path)
    assert [(s.step, np.float32(s.value)) for s in back.Scalars("loss")] == [
        (i, VALUES[i]) for i in range(50)
    ]
    assert [s.value for s in read(tmp_path / "both_b").Scalars("both")] == list(range(50))


def test_pictures_sounds_and_histograms_are_read_back(tmp_path):
    with SummaryWriter(tmp_path) as w:
        w.add_image("picture", flambeau.tensor(BATCH[0]), 1)
        w.add_audio("sound", flambeau.sin(flambeau.arange(100) / 10), 1, 8000)
        w.add_histogram("values", flambeau.tensor(VALUES), 1)
        w.add_text("text", "hello", 1)
        w.add_pr_curve("curve", LABELS, SCORES, 1)
    back = read(tmp_path)
    picture = back.Images("picture")[0]
    pixels = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
    assert (picture.width, picture.height) == (6, 6)
    np.testing.assert_array_equal(pixels, (BATCH[0] * 255).astype(np.uint8).transpose(1, 2, 0))
    sound = back.Audio("sound")[0]
    with wave.open(io.BytesIO(sound.encoded_audio_string)) as heard:
        samples = np.frombuffer(heard.readframes(100), "<i2")
        assert heard.getframerate() == sound.sample_rate == 8000
    np.testing.assert_allclose(samples / 32767, np.sin(np.arange(100) / 10), atol=1e-4)
    histogram = back.Histograms("values")[0].histogram_value
    assert (histogram.num, histogram.min) == (200, VALUES.min())
    np.testing.assert_allclose(histogram.sum, VALUES.astype(float).sum())
    assert sum(histogram.bucket) == 200
    assert array_of(back, "text/text_summary").tolist() == [b"hello"]
    curve = array_of(back, "curve")
    assert curve.shape == (6, 127) and curve[0, 0] == LABELS.sum()


def test_a_figure_is_a_picture_of_it(tmp_path):
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    figure, axes = pyplot.subplots(figsize=(2, 1), dpi=50)
    axes.set_facecolor("red")
    axes.set_position([0, 0, 1, 1])
    with SummaryWriter(tmp_path) as w:
        w.add_figure("one", figure, 1, close=False)
        w.add_figure("two", [figure, figure], 1)
    assert not pyplot.fignum_exists(figure.number)
    back = read(tmp_path)
    one, two = (back.Images(tag)[0] for tag in ("one", "two"))
    assert (one.width, one.height) == (100, 50) and (two.width, two.height) == (200, 50)
    pixels = np.asarray(Image.open(io.BytesIO(one.encoded_image_string)))
    assert pixels[20, 50].tolist() == [255, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_video_is_an_animation(tmp_path, channels):
    frames = np.zeros((2, 4, channels, 8, 8), np.float32)
    for i in range(4):
        frames[:, i] = i / 4
    frames[1] = 1 - frames[1]
    with SummaryWriter(tmp_path) as w:
        w.add_video("film", flambeau.tensor(frames), 1, fps=10)
    film = read(tmp_path).Images("film")[0]
    assert (film.width, film.height) == (16, 8)
    shown = Image.open(io.BytesIO(film.encoded_image_string))
    assert shown.n_frames == 4 and shown.info["duration"] == 100
    for i in range(4):
        shown.seek(i)
        pixels = np.asarray(shown.convert("RGB"))
        np.testing.assert_allclose(pixels[:, :8] / 255, i / 4, atol=0.01)
        np.testing.assert_allclose(pixels[:, 8:] / 255, 1 - i / 4, atol=0.01)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool"]
)
def test_a_tensor_is_read_back_whole(tmp_path, dtype):
    x = (flambeau.arange(6).reshape(2, 3) - 2).to(getattr(flambeau, dtype))
    with SummaryWriter(tmp_path) as w:
        w.add_tensor("x", x, 1)
        w.add_tensor("one", x.sum())
    back = read(tmp_path)
    found = array_of(back, "x")
    assert found.dtype == x.numpy().dtype
    np.testing.assert_array_equal(found, x.numpy())
    assert array_of(back, "one").shape == ()


def test_every_kind_of_tensor_is_taken(tmp_path):
    x = flambeau.tensor([1.0, 2.0, 300.0], requires_grad=True)
    pending = (x * 2).sum()
    brain = x.detach().to(flambeau.bfloat16)
    with SummaryWriter(tmp_path) as w:
        w.add_scalar("pending", pending, flambeau.tensor(3))
        w.add_scalar("brain", brain[2] * 1e30)
        w.add_histogram("brain", brain)
        w.add_histogram_raw("raw", x.min(), x.max(), 3, x.sum(), (x * x).sum(), x, x)
        w.add_tensor("brain", brain)
        w.add_hparams({"lr": x[0]}, {"loss": x[1]}, run_name="r")
    pending.backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    back = read(tmp_path)
    assert (back.Scalars("pending")[0].step, back.Scalars("pending")[0].value) == (3, 606.0)
    assert back.Scalars("brain")[0].value == float(np.float32(brain[2].item() * 1e30)) or (
        back.Scalars("brain")[0].value == float((brain[2] * 1e30).item())
    )
    assert back.Histograms("raw")[0].histogram_value.bucket_limit == [1.0, 2.0, 300.0]
    assert array_of(back, "brain").tolist() == brain.tolist()


def test_flush_writes_what_waits(tmp_path):
    w = SummaryWriter(tmp_path, max_queue=1000)
    for i in range(20):
        w.add_scalar("x", i, i)
    assert "x" not in read(tmp_path).Tags()["scalars"]
    w.flush()
    assert [s.value for s in read(tmp_path).Scalars("x")] == list(range(20))
    w.close()


def test_a_full_queue_is_written(tmp_path):
    w = SummaryWriter(tmp_path, max_queue=4)
    for i in range(10):
        w.add_scalar("x", i, i)
    # The version of the file is an event, too.
    assert [s.value for s in read(tmp_path).Scalars("x")] == list(range(7))
    w.close()


def test_what_waits_is_written_after_a_while(tmp_path):
    w = SummaryWriter(tmp_path, max_queue=1000, flush_secs=0.05)
    w.add_scalar("x", 1.0, 0)
    waiting = w.file_writer._file.waiting
    for _ in range(200):
        if not waiting:
            break
        w.file_writer._file.wake.wait(0.05)
    assert [s.value for s in read(tmp_path).Scalars("x")] == [1.0]
    w.close()


def test_a_writer_that_is_forgotten_and_the_end_of_a_script_write_everything(tmp_path):
    w = SummaryWriter(tmp_path / "gone")
    w.add_scalar("x", 1.0, 0)
    del w
    assert [s.value for s in read(tmp_path / "gone").Scalars("x")] == [1.0]
    code = (
        "from flambeau.utils.tensorboard import SummaryWriter\n"
        f"w = SummaryWriter({str(tmp_path / 'end')!r})\n"
        "w.add_scalar('x', 2.0, 0)\n"
        "import os\n"
        "if os.fork() == 0:\n"
        "    w.add_scalar('child', 1.0); w.flush(); w.close()\n"
        "else:\n"
        "    os.wait()\n"
        "    import sys; assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    back = read(tmp_path / "end")
    assert [s.value for s in back.Scalars("x")] == [2.0] and back.Tags()["scalars"] == ["x"]


def test_after_close_a_writer_goes_on_in_another_file(tmp_path):
    w = SummaryWriter(tmp_path, filename_suffix=".tail")
    w.add_scalar("x", 1.0, 0)
    w.close()
    w.close()
    w.add_scalar("x", 2.0, 1)
    w.close()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 2 and all(n.endswith(".tail") for n in names)
    assert [s.value for s in read(tmp_path).Scalars("x")] == [1.0, 2.0]
    file = FileWriter(tmp_path / "file")
    file.close()
    file.reopen()
    assert file.get_logdir() == str(tmp_path / "file")
    file.close()
    assert len(list((tmp_path / "file").iterdir())) == 2


def test_files_are_read_in_the_order_they_were_made(tmp_path):
    (tmp_path / "events.out.tfevents.5000000000.host.1.0").touch()
    made = []
    for _ in range(12):
        writer = FileWriter(tmp_path)
        made.append(os.path.basename(writer._file.path))
        writer.close()
    assert sorted(os.listdir(tmp_path))[1:] == made


def test_purge_step_hides_what_came_after(tmp_path):
    with SummaryWriter(tmp_path) as w:
        for i in range(10):
            w.add_scalar("x", i, i)
    with SummaryWriter(tmp_path, purge_step=5) as w:
        for i in range(5, 8):
            w.add_scalar("x", 10 * i, i)
    found = [(s.step, s.value) for s in read(tmp_path).Scalars("x")]
    assert found == [(i, i) for i in range(5)] + [(i, 10 * i) for i in range(5, 8)]


def test_the_default_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SummaryWriter(comment="-note") as w:
        w.add_scalar("x", 1.0)
    assert re.fullmatch(r"runs/\w{3}\d\d_\d\d-\d\d-\d\d_.*-note", str(w.get_logdir()))
    assert os.listdir(tmp_path / w.log_dir)


def test_records_are_what_tensorboard_reads(tmp_path):
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    w = RecordWriter(str(tmp_path / "records"))
    for data in (b"one", b"", b"three" * 100):
        w.write(data)
    w.close()
    assert list(RawEventFileLoader(str(tmp_path / "records")).Load()) == [
        b"one",
        b"",
        b"three" * 100,
    ]


def test_refusals_name_what_was_given(tmp_path):
    with SummaryWriter(tmp_path) as w:
        with pytest.raises(AssertionError, match=r"\[2\]"):
            w.add_scalar("x", flambeau.ones(2))
        with pytest.raises(NotImplementedError, match="list"):
            w.add_scalar("x", [1.0])
        with pytest.raises(ValueError, match="3 bucket_limits for 2"):
            w.add_histogram_raw("x", 0, 1, 1, 1, 1, [1, 2, 3], [1, 2])
        with pytest.raises(ValueError):
            w.add_histogram("x", flambeau.ones(0))
        with pytest.raises(AssertionError):
            w.add_image("x", flambeau.ones(3, 3))
        with pytest.raises(AssertionError):
            w.add_audio("x", flambeau.ones(2, 3))
        with pytest.warns(UserWarning, match="clipped"):
            w.add_audio("x", flambeau.ones(1, 3) * 2)
        with pytest.raises(AssertionError, match="3 labels for 4"):
            w.add_embedding(flambeau.ones(4, 2), ["a", "b", "c"])
        with pytest.raises(AssertionError, match="two dimensions"):
            w.add_embedding(flambeau.ones(4))
        with pytest.raises(AssertionError, match="2 images for 4"):
            w.add_embedding(flambeau.ones(4, 2), label_img=flambeau.ones(2, 3, 4, 4))
        with pytest.raises(AssertionError, match="got 2"):
            w.add_custom_scalars_marginchart(["a", "b"])
        with pytest.raises(TypeError):
            w.add_hparams([], {})
        with pytest.raises(ValueError, match="lr"):
            w.add_hparams({"lr": [1]}, {})
        with pytest.raises(TypeError, match="layers"):
            w.add_hparams({"layers": 1}, {}, {"layers": ["two"]})
        with pytest.raises(ValueError, match="VERTEX"):
            w.add_mesh("x", flambeau.ones(4, 3))
        with pytest.raises(ValueError, match="unsupported"):
            w.add_tensor("x", np.array(["text"]))


def test_without_the_package_the_error_names_the_extra(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "tensorboardX"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match=r"flambeau\[train\]"):
        SummaryWriter(tmp_path)


def test_a_script_for_pytorch_finds_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\n"
        "from torch.utils.tensorboard import SummaryWriter\n"
        "import torch.utils.tensorboard as board\n"
        "assert board.SummaryWriter is SummaryWriter\n"
        "from torch.utils.tensorboard.summary import hparams\n"
        "with SummaryWriter('runs/a') as w:\n"
        "    w.add_scalar('x', torch.tensor(4.0, requires_grad=True) * 2, 1)\n"
        "print(torch.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "flambeau", "run", "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "flambeau" in done.stdout
    assert read(tmp_path / "runs/a").Scalars("x")[0].value == 8.0


def test_a_file_in_a_forked_child_is_the_parents(tmp_path, monkeypatch):
    file = _EventFile(str(tmp_path), 10, 120, "")
    file.add(b"parent")
    monkeypatch.setattr(file, "process", os.getpid() + 1)
    file.add(b"child")
    file.flush()
    file.close()
    assert file.waiting == [b"parent"] and not file.closed
    monkeypatch.undo()
    file.close()
    assert file.closed
