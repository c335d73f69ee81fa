"""The page of a run: its sections, put together as one HTML file that needs nothing else."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.trainer.report.charts import Series, line_chart, matrix, shown
from flambeau.trainer.report.png import data_uri
from flambeau.trainer.report.reading import Points, RunFiles, finite, read_run
from flambeau.trainer.report.style import STYLE

__all__ = ["page", "write_report"]

_STAGES = {
    "train": ("training", "var(--train)"),
    "training": ("training", "var(--train)"),
    "val": ("validation", "var(--validation)"),
    "valid": ("validation", "var(--validation)"),
    "validation": ("validation", "var(--validation)"),
    "test": ("test", "var(--test)"),
}
_MOST_FILTERS = 128
_MOST_CLASSES = 60
_PAIRS = 8
_NUMERIC = re.compile(r"[\d ,.%–-]*")


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Writes the page of the run in ``folder``, to ``report.html`` in it unless ``out`` says.

    Raises: ``NoRunError`` if there is no run; ``OSError`` if the page cannot be written.
    """
    text = page(read_run(folder))
    out = folder / "report.html" if out is None else out
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(out)
    return out


def page(run: RunFiles) -> str:
    """The whole page."""
    sections = [
        ("curves", "Curves", _curves(run)),
        ("confusion", "Confusion matrix", _confusion(run)),
        ("mistakes", "Wrongly classified", _mistakes(run)),
        ("filters", "First-layer filters", _filters(run)),
        ("model", "Model", _model(run)),
        ("settings", "Settings", _settings(run)),
        ("environment", "Environment", _environment(run)),
    ]
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections)
    body = "".join(
        f'<section id="{key}"><h2>{title}</h2>{content}</section>'
        for key, title, content in sections
    )
    name = escape(run.name)
    started = escape(str(run.record.get("started", "")).replace("T", " "))
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{name}: a run of Flambeau</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>{name}</h1><p>{escape(str(run.folder.resolve()))}"
        f"{' · ' + started if started else ''}</p>{_tiles(run)}<nav>{links}</nav></header>"
        f"{body}</main></body></html>\n"
    )


# --- the head ---------------------------------------------------------------------------------


def _tiles(run: RunFiles) -> str:
    """The few numbers one looks for first."""
    tiles: list[tuple[str, str]] = []
    if run.predictions is not None:
        tiles.append(("validation accuracy", f"{run.predictions.accuracy:.2%}"))
    for name, points in run.metrics.items():
        stage, base, each_step = _parts(name)
        values = [value for _, value in finite(points)]
        if stage == "validation" and base == "loss" and not each_step and values:
            tiles.append(("best validation loss", f"{min(values):.4f}"))
    record = run.record
    if record:
        tiles.append(("status", str(record.get("status", "unknown"))))
        tiles.append(("epochs", str(record.get("epochs", ""))))
        tiles.append(("steps", shown(float(record.get("steps", 0)))))
        tiles.append(("time", _duration(float(record.get("seconds", 0)))))
    layers = record.get("layers")
    if layers:
        tiles.append(("parameters", shown(sum(float(row["parameters"]) for row in layers))))
    return (
        '<dl class="tiles">'
        + "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles
        )
        + "</dl>"
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


# --- curves -----------------------------------------------------------------------------------


def _parts(name: str) -> tuple[str, str, bool]:
    """(stage, metric, is it each step's) of a logged name.

    >>> _parts("train_loss_step"), _parts("lr")
    (('training', 'loss', True), ('', 'lr', False))
    """
    each_step = name.endswith("_step")
    base = name.removesuffix("_step").removesuffix("_epoch")
    found = re.fullmatch(r"(train(?:ing)?|val(?:id|idation)?|test)[_/.](.+)", base)
    if found:
        return _STAGES[found[1]][0], found[2], each_step
    return "", base, each_step


def _curves(run: RunFiles) -> str:
    groups: dict[str, list[Series]] = {}
    for name, points in run.metrics.items():
        stage, base, each_step = _parts(name)
        drawn = finite(points)
        if not drawn:
            continue
        both = each_step and f"{name.removesuffix('_step')}_epoch" in run.metrics
        colour = next((c for s, c in _STAGES.values() if s == stage), "var(--other)")
        label = f"{stage or base}{', each step' if both else ''}"
        groups.setdefault(base, []).append(Series(label, colour, drawn, faint=both))
    if not groups:
        return _note(run.missing.get("curves", "nothing finite was logged."))
    order = sorted(groups, key=lambda base: (base == "lr", "loss" not in base, base))
    return (
        '<div class="charts">'
        + "".join(_chart(base, sorted(groups[base], key=lambda s: s.name)) for base in order)
        + "</div>"
    )


def _chart(base: str, series: list[Series]) -> str:
    title = {"lr": "learning rate"}.get(base, base.replace("_", " "))
    legend = "".join(
        f'<li><i class="{"faint" if one.faint else ""}" style="background:{one.colour}"></i>'
        f"{escape(one.name)} <b>{_last(one.points)}</b></li>"
        for one in series
    )
    return (
        f'<figure class="card"><figcaption>{escape(title)}</figcaption>'
        f'<ul class="legend">{legend}</ul>{line_chart(series, base)}</figure>'
    )


def _last(points: Points | Sequence[tuple[int, float]]) -> str:
    return shown(float(f"{points[-1][1]:.4g}"))


# --- predictions ------------------------------------------------------------------------------


def _classes(run: RunFiles) -> list[str]:
    assert run.predictions is not None
    count = run.predictions.probabilities.shape[1]
    names = [str(name) for name in run.record.get("classes") or ()]
    return names if len(names) == count else [str(i) for i in range(count)]


def _confusion(run: RunFiles) -> str:
    found = run.predictions
    if found is None:
        return _note(run.missing["predictions"])
    names, counts = _classes(run), found.confusion()
    drawn = (
        f'<div class="card">{matrix(counts, names)}</div>'
        if len(names) <= _MOST_CLASSES
        else _note(f"{len(names)} classes are too many to draw.")
    )
    wrong = counts - np.diag(np.diag(counts))
    flat = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(at), len(names)) for at in flat if wrong.flat[at]]
    rows = [
        (names[i], names[j], str(counts[i, j]), f"{counts[i, j] / counts[i].sum():.1%}")
        for i, j in pairs
    ]
    most = (
        "<h3>Most often confused</h3>" + _table(("is", "taken for", "times", "of its class"), rows)
        if rows
        else _note("nothing was taken for anything else.")
    )
    right, said = np.diag(counts), counts.sum(0)
    each = [
        (
            name,
            str(int(counts[i].sum())),
            _percent(right[i], counts[i].sum()),
            _percent(right[i], said[i]),
        )
        for i, name in enumerate(names)
    ]
    by_class = "<h3>Each class</h3>" + _table(("class", "images", "recall", "precision"), each)
    tables = f'<div class="columns"><div>{most}</div><div>{by_class}</div></div>'
    return f'<div class="columns">{drawn}{tables}</div>'


def _percent(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _mistakes(run: RunFiles) -> str:
    found = run.predictions
    if found is None:
        return _note(run.missing["predictions"])
    names = _classes(run)
    count = int((found.predicted != found.targets).sum())
    if not count:
        return _note("none: every validation image is classified rightly.")
    if not len(found.wrong):
        return _note(f"{count} are wrong; the inputs are no images.")
    cells = []
    for index, image in zip(found.wrong, found.images):
        true, said = int(found.targets[index]), int(found.predicted[index])
        sure = float(found.probabilities[index, said])
        cells.append(
            f'<figure><img class="pixels" alt="number {index}" src="{data_uri(image)}">'
            f"<figcaption>{escape(names[true])} → <b>{escape(names[said])}</b>"
            f"<small>{sure:.0%}</small></figcaption></figure>"
        )
    which = f"the {len(cells)} surest, " if len(cells) < count else ""
    head = (
        f"{count} of {len(found.targets)}; {which}the surest first. What it is → "
        "<b>what it was taken for</b>, and how surely."
    )
    return f'<p>{head}</p><div class="images">{"".join(cells)}</div>'


# --- weights ----------------------------------------------------------------------------------


def _filters(run: RunFiles) -> str:
    if not run.weights:
        return _note(run.missing.get("weights", "the checkpoint is empty."))
    found = _first_layer(run)
    if found is None:
        return _note("the first layer does not look at images.")
    name, filters = found
    drawn = filters[:_MOST_FILTERS]
    cells = "".join(
        f'<img class="pixels" alt="filter {i}" src="{data_uri(_as_image(one))}">'
        for i, one in enumerate(drawn)
    )
    many = f"; the first {len(drawn)} of {len(filters)}" if len(drawn) < len(filters) else ""
    shape = "×".join(map(str, filters.shape[1:]))
    return (
        f"<p><code>{escape(name)}</code>: {len(filters)} filters of {shape}{many}. Grey is zero, "
        "light positive, dark negative; each by its own greatest weight. "
        f"From <code>{escape(run.checkpoint)}</code>.</p>"
        f'<div class="filters">{cells}</div>'
    )


def _first_layer(run: RunFiles) -> tuple[str, np.ndarray] | None:
    """The first weight that has an image a unit, of shape (units, channels, height, width)."""
    shape = run.record.get("shape") or ()
    for name, weight in run.weights.items():
        if weight.ndim == 4 and weight.shape[1] in (1, 3):
            return name, weight
        if weight.ndim == 2 and len(shape) == 3 and weight.shape[1] == math.prod(shape):
            return name, weight.reshape(-1, *shape)
        if weight.ndim >= 2:
            return None
    return None


def _as_image(filter: np.ndarray) -> np.ndarray:
    greatest = float(np.abs(filter).max()) or 1.0
    return (127.5 + 127.5 * filter / greatest).round().astype(np.uint8)


def _model(run: RunFiles) -> str:
    layers = run.record.get("layers")
    if layers:
        rows = [
            (
                row["name"],
                row["kind"],
                "×".join(map(str, row["output"][1:])) if row["output"] else "–",
                _count(row["parameters"]),
            )
            for row in layers
        ]
        total = sum(row["parameters"] for row in layers)
        rows.append(("all", "", "", _count(total)))
        return _table(("layer", "kind", "output", "parameters"), rows, last_is_sum=True)
    if run.weights:
        rows = [
            (name, "×".join(map(str, w.shape)) or "scalar", _count(w.size))
            for name, w in run.weights.items()
        ]
        return _table(("tensor", "shape", "values"), rows)
    return _note(run.missing.get("weights", "nothing is known of it."))


def _count(value: int) -> str:
    return f"{value:,}".replace(",", " ")


# --- settings, environment --------------------------------------------------------------------


def _settings(run: RunFiles) -> str:
    settings = run.record.get("settings")
    if not settings:
        return _note("the run has no run.json with its settings.")
    tables = [
        f"<div><h3>{escape(name)}</h3>"
        + _table(("setting", "value"), [(k, _value(v)) for k, v in section.items()])
        + "</div>"
        for name, section in settings.items()
        if isinstance(section, dict)
    ]
    return f'<div class="columns">{"".join(tables)}</div>'


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _environment(run: RunFiles) -> str:
    record = run.record
    facts = dict(record.get("environment") or {})
    for name in ("seed", "started", "resumed_from", "best_checkpoint"):
        if record.get(name) is not None:
            facts[name.replace("_", " ")] = record[name]
    if not facts:
        return _note("the run has no run.json.")
    return _table(("", ""), [(k, str(v)) for k, v in facts.items()])


def _note(text: str) -> str:
    return f'<p class="note">{escape(text[:1].upper() + text[1:])}</p>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], last_is_sum: bool = False) -> str:
    """A table; columns of numbers stand right."""
    rows = [list(row) for row in rows]
    numeric = [
        heads[i] != "value" and i > 0 and all(_NUMERIC.fullmatch(row[i]) for row in rows)
        for i in range(len(heads))
    ]
    mark = [' class="number"' if n else "" for n in numeric]
    head = (
        "<thead><tr>"
        + "".join(f"<th{m}>{escape(h)}</th>" for h, m in zip(heads, mark))
        + "</tr></thead>"
        if any(heads)
        else ""
    )
    body = "".join(
        f"<tr{' class=sum' if last_is_sum and row is rows[-1] else ''}>"
        + "".join(f"<td{m}>{escape(cell)}</td>" for cell, m in zip(row, mark))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'
