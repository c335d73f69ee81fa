"""flambeau report: the page of a run, its charts, and how it looks in a browser."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flambeau
from flambeau.cli import main
from flambeau.trainer.loggers import TensorBoardLogger
from flambeau.trainer.recipes.predictions import Predictions
from flambeau.trainer.report import NoRunError, charts, page, png, read_run
from flambeau.trainer.report.page import _as_image, _first_layer

SECTIONS = ("curves", "confusion", "mistakes", "filters", "model", "settings", "environment")
VOID = {"meta", "img", "br", "line", "circle", "rect", "polyline"}


class Page(HTMLParser):
    """The elements of a page, each (tag, attributes, section, text); fails if tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict] = []
        self.open: list[dict] = []
        self.section = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "section":
            self.section = dict(attrs)["id"]
        element = {"tag": tag, "attrs": dict(attrs), "section": self.section, "text": ""}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.append(
            {"tag": tag, "attrs": dict(attrs), "section": self.section, "text": ""}
        )

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> within {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element["text"] += data

    def of(self, section: str, tag: str) -> list[dict]:
        return [e for e in self.elements if e["section"] == section and e["tag"] == tag]

    def text(self, section: str) -> str:
        return next(e["text"] for e in self.of(section, "section"))


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """The folder of a short run on the digits, its report in it."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    before, environment = flambeau.are_deterministic_algorithms_enabled(), dict(os.environ)
    settings = ["--epochs", "3", "--set", "log_every_n_steps=4", "--set", "width=8"]
    assert main(["train", "digits", "--out", str(folder), *settings]) == 0
    flambeau.use_deterministic_algorithms(before)
    os.environ.clear()
    os.environ.update(environment)
    assert main(["report", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def digits_page(digits_run):
    return Page((digits_run / "report.html").read_text(encoding="utf-8"))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# --- the page ---------------------------------------------------------------------------------


def test_the_page_needs_nothing_else(digits_run, digits_page):
    text = (digits_run / "report.html").read_text(encoding="utf-8")
    assert "http" not in text and "<script" not in text and "@import" not in text
    for element in digits_page.elements:
        for name in ("src", "href"):
            value = element["attrs"].get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), value
    assert "url(" not in text
    assert "prefers-color-scheme:dark" in text and 'lang="en"' in text


def test_every_section_is_there_and_linked(digits_page):
    assert [e["attrs"]["id"] for e in digits_page.elements if e["tag"] == "section"] == list(
        SECTIONS
    )
    linked = [e["attrs"]["href"] for e in digits_page.elements if e["tag"] == "a"]
    assert linked == [f"#{name}" for name in SECTIONS]


def test_the_curves_are_the_logged_values(digits_run, digits_page):
    captions = [e["text"] for e in digits_page.of("curves", "figcaption")]
    assert captions == ["loss", "accuracy", "learning rate"]
    titles = [e["text"] for e in digits_page.of("curves", "title")]
    logged = rows(digits_run)
    for column, name in [
        ("val_loss", "validation"),
        ("train_loss_epoch", "training"),
        ("train_loss_step", "training, each step"),
        ("val_accuracy", "validation"),
        ("lr", "lr"),
    ]:
        for row in logged:
            if row[column]:
                assert f"{name}, step {row['step']}: {float(row[column]):.6g}" in titles
    assert len(titles) == sum(
        bool(v) for row in logged for k, v in row.items() if k not in ("step", "epoch")
    )
    lines = digits_page.of("curves", "polyline")
    assert len(lines) == 6
    for line in lines:
        places = [tuple(map(float, p.split(","))) for p in line["attrs"]["points"].split()]
        assert all(0 <= x <= 560 and 0 <= y <= 260 for x, y in places)
        assert [x for x, _ in places] == sorted(x for x, _ in places)


def test_the_matrix_the_mistakes_and_the_tables_count_the_same(digits_run, digits_page):
    found = Predictions.load(digits_run / "predictions.npz")
    counts = found.confusion()
    cells = [e["text"] for e in digits_page.of("confusion", "title")]
    assert len(cells) == 100
    for i in range(10):
        for j in range(10):
            assert cells[10 * i + j].startswith(
                f"{i} taken for {j}: {counts[i, j]} of {counts[i].sum()}"
            )
    mistakes = int(counts.sum() - np.trace(counts))
    images = digits_page.of("mistakes", "img")
    assert mistakes > 0 and len(images) == min(mistakes, 48)
    assert f"{mistakes} of 360" in digits_page.text("mistakes")
    first = int(found.wrong[0])
    said = found.probabilities[first]
    caption = digits_page.of("mistakes", "figcaption")[0]["text"]
    assert caption == f"{found.targets[first]} → {said.argmax()}{said.max():.0%}"
    sure = found.probabilities[found.wrong].max(1)
    assert (np.diff(sure) <= 0).all()


def test_filters_layers_and_environment(digits_run, digits_page):
    record = json.loads((digits_run / "run.json").read_text())
    assert len(digits_page.of("filters", "img")) == 8
    model = digits_page.of("model", "tr")
    assert len(model) == len(record["layers"]) + 2
    total = sum(row["parameters"] for row in record["layers"])
    assert model[-1]["text"] == f"all{total:,}".replace(",", " ")
    environment = digits_page.text("environment")
    for key in ("command", "processor", "python", "numpy", "flambeau"):
        assert record["environment"][key] in environment
    assert "seed0" in environment
    assert "label_smoothing0.1" in digits_page.text("settings")


# --- other folders ----------------------------------------------------------------------------


def test_a_loggers_folder_says_what_is_missing(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,a<b,val_loss\n0,1,0.5,\n0,2,nan,3.0\n1,4,inf,0.01\n", encoding="utf-8"
    )
    text = page(read_run(tmp_path))
    found = Page(text)
    assert "a<b" not in text and "a&lt;b" in text
    assert len(found.of("curves", "polyline")) == 2
    titles = [e["text"] for e in found.of("curves", "title")]
    assert titles == ["validation, step 2: 3", "validation, step 4: 0.01", "a<b, step 1: 0.5"]
    for section in ("confusion", "mistakes", "filters", "model", "settings", "environment"):
        assert len(found.text(section)) > 20
    assert "There is no checkpoint." in found.text("model")


def test_event_files_of_tensorboard_are_read(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="", version="")
    for step in range(5):
        logger.log_metrics({"val_loss": 1 / (step + 1), "lr": 0.5}, step)
    logger.finalize("success")
    metrics = read_run(tmp_path).metrics
    assert [step for step, _ in metrics["val_loss"]] == list(range(5))
    np.testing.assert_allclose([v for _, v in metrics["val_loss"]], 1 / np.arange(1, 6), rtol=1e-6)
    # A file that was cut short by a kill: what is whole of it counts.
    path = next(tmp_path.glob("events*"))
    path.write_bytes(path.read_bytes()[:-9])
    cut = read_run(tmp_path).metrics
    assert cut["val_loss"] == metrics["val_loss"][: len(cut["val_loss"])]
    assert sum(map(len, cut.values())) == 9
    assert Page(page(read_run(tmp_path))).of("curves", "polyline")


def test_what_is_no_run_is_said(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(NoRunError):
            read_run(folder)
        assert main(["report", str(folder)]) == 1
        assert str(folder) in capsys.readouterr().err


def test_a_run_without_mistakes_and_one_with_many_classes(tmp_path):
    right = np.arange(70)
    probabilities = np.eye(70, dtype=np.float32)
    none = np.zeros((0, 1, 1, 1), np.uint8)
    (tmp_path / "run.json").write_text("{}")
    Predictions(probabilities, right, right[:0], none).save(tmp_path / "predictions.npz")
    found = Page(page(read_run(tmp_path)))
    assert "None: every validation image" in found.text("mistakes")
    assert "70 classes are too many to draw" in found.text("confusion")
    assert "nothing was taken" in found.text("confusion").lower()
    assert not found.of("confusion", "svg")


# --- parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1)])
def test_pngs_are_read_by_pillow(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    with Image.open(io.BytesIO(png.encode(pixels))) as image:
        image.load()
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("wrong", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.uint8([1])])
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(ValueError, match="were expected"):
        png.encode(wrong)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.4831, 0.9889), (-3, 12), (1e-7, 3e-7), (0, 12345), (0.65, 1.72)]
)
def test_ticks_are_round_and_within(low, high):
    found = charts.ticks(low, high)
    assert 3 <= len(found) <= 9
    assert all(low - 1e-9 * abs(high) <= v <= high * (1 + 1e-9) for v in found)
    steps = np.diff(found)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert f"{steps[0]:.0e}"[0] in "125"


def test_a_loss_over_decades_has_a_logarithmic_axis():
    points = [(i, 10.0**-i) for i in range(5)]
    text = charts.line_chart([charts.Series("x", "red", points)], "loss")
    line = re.search(r'points="([^"]+)"', text)
    assert line is not None
    heights = [float(p.split(",")[1]) for p in line[1].split()]
    np.testing.assert_allclose(np.diff(heights), heights[1] - heights[0], atol=0.11)
    linear = charts.line_chart([charts.Series("x", "red", points)], "accuracy")
    assert linear.count('class="grid"') != text.count('class="grid"')


def test_one_point_and_equal_values_can_be_drawn():
    for points in ([(3, 0.5)], [(1, 2.0), (2, 2.0)], [(0, 0.0)]):
        text = charts.line_chart([charts.Series("x", "red", points)], "loss")
        assert "nan" not in text and text.count("<title>") == len(points)


def test_long_curves_are_thinned_to_means():
    points = [(i, float(i)) for i in range(10_000)]
    found = charts.thinned(points)
    assert len(found) == 300 and found[-1] == (9999, 9999.0)
    assert charts.thinned(points[:300]) == points[:300]
    np.testing.assert_allclose(found[0][1], 16.5, atol=1)


def test_the_first_layer_is_found_for_networks_that_look_at_images(tmp_path):
    run = read_run_with({"a.weight": np.ones((4, 3, 5, 5)), "b.weight": np.ones((2, 4))})
    assert _first_layer(run)[1].shape == (4, 3, 5, 5)
    run = read_run_with({"a.bias": np.ones(4), "a.weight": np.ones((4, 12))}, shape=[3, 2, 2])
    assert _first_layer(run)[1].shape == (4, 3, 2, 2)
    assert _first_layer(read_run_with({"a.weight": np.ones((4, 12))})) is None
    image = _as_image(np.array([[[-2.0, 0.0, 1.0, 2.0]]]))
    assert image.tolist() == [[[0, 128, 191, 255]]]


def read_run_with(weights: dict[str, np.ndarray], shape: list[int] | None = None):
    from flambeau.trainer.report import RunFiles

    return RunFiles(Path("."), {"shape": shape or []}, weights=weights)


# --- in a browser -----------------------------------------------------------------------------


def screenshot(path: Path, out: Path, *options: str) -> np.ndarray:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed: the page is not looked at")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--window-size=1200,1800", f"--screenshot={out}", *options, path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert out.exists(), done.stderr
    with Image.open(out) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def near(pixels: np.ndarray, colour: str) -> int:
    """How many pixels are of a colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(2) <= 6).sum())


def test_the_page_shows_its_curves_in_a_browser_light_and_dark(digits_run, tmp_path):
    light = screenshot(digits_run / "report.html", tmp_path / "light.png")
    dark = screenshot(
        digits_run / "report.html",
        tmp_path / "dark.png",
        "--force-dark-mode",
        "--blink-settings=preferredColorScheme=0",
    )
    assert light.shape == dark.shape == (1800, 1200, 3)
    # Background, training, validation, the matrix's diagonal: in the colours of each scheme.
    for pixels, colours in [
        (light, {"#f6f5f1": 400_000, "#1f6fd0": 500, "#d4570f": 500, "#fffffe": 100_000}),
        (dark, {"#121211": 400_000, "#5a9cf0": 500, "#f08a4b": 500, "#1b1b1a": 100_000}),
    ]:
        for colour, least in colours.items():
            assert near(pixels, colour) > least, (colour, near(pixels, colour))
    # Nothing sticks out of the page to the right.
    assert (light[:, -8:] == light[0, -1]).all()
