"""What a run left behind: its record, metrics, predictions and weights."""

from __future__ import annotations

import csv
import json
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.serialization import load
from flambeau.trainer.recipes.predictions import Predictions
from flambeau.utils.extras import require

__all__ = ["NoRunError", "RunFiles", "read_run"]

Points = list[tuple[int, float]]
"""(step, value), in the order they were logged."""

_NO_METRICS = {"step", "epoch", "hp_metric"}


class NoRunError(ValueError):
    """A folder that no run wrote; the message says what was looked for."""


@dataclass
class RunFiles:
    """A run: what could be read of its folder; what is missing says why in ``missing``."""

    folder: Path
    record: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Points] = field(default_factory=dict)
    predictions: Predictions | None = None
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    checkpoint: str = ""
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What was trained, or else the folder."""
        target = str(self.record.get("target") or self.folder.resolve().name)
        return os.path.basename(target)


def read_run(folder: Path) -> RunFiles:
    """What is in a run's folder: ``flambeau train``'s, or one of a logger.

    Nothing of it is run.

    Raises: ``NoRunError`` if there are neither metrics nor a ``run.json``.
    """
    if not folder.is_dir():
        raise NoRunError(f"{folder}: there is no such folder")
    run = RunFiles(folder)
    if (folder / "run.json").exists():
        run.record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if (folder / "metrics.csv").exists():
        run.metrics = _from_csv(folder / "metrics.csv")
    elif events := sorted(folder.glob("events.out.tfevents*")):
        run.metrics = _from_events(events)
    elif not (folder / "run.json").exists():
        raise NoRunError(
            f"{folder}: no run: it has none of run.json, metrics.csv, events.out.tfevents*"
        )
    else:
        run.missing["curves"] = "the run logged nothing: it has no metrics.csv and no event file."
    if (folder / "predictions.npz").exists():
        run.predictions = Predictions.load(folder / "predictions.npz")
    else:
        why = run.record.get("no_predictions")
        run.missing["predictions"] = (
            f"there are no predictions: {why}."
            if why
            else "there is no predictions.npz; `flambeau train` writes it when a run has finished."
        )
    _read_weights(run)
    return run


def _read_weights(run: RunFiles) -> None:
    """The weights of the best checkpoint, or of the newest."""
    named = run.record.get("best_checkpoint")
    found = sorted((run.folder / "checkpoints").glob("*.ckpt"), key=lambda p: p.stat().st_mtime)
    if named and (run.folder / named).exists():
        path = run.folder / named
    elif found:
        path = found[-1]
    else:
        run.missing["weights"] = "there is no checkpoint."
        return
    state = load(path, map_location="cpu", weights_only=True)["state_dict"]
    run.weights = {name: tensor.float().numpy() for name, tensor in state.items()}
    run.checkpoint = str(path.relative_to(run.folder))


def _from_csv(path: Path) -> dict[str, Points]:
    """Each column as points over the column ``step``."""
    found: dict[str, Points] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            step = _number(row.get("step"))
            for name, text in row.items():
                value = _number(text)
                if name not in _NO_METRICS and value is not None:
                    at = number if step is None else int(step)
                    found.setdefault(str(name), []).append((at, value))
    return found


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _from_events(paths: list[Path]) -> dict[str, Points]:
    """The scalars of TensorBoard's event files."""
    proto = require("tensorboardX.proto.event_pb2", "train", "reading TensorBoard's event files")
    found: dict[str, Points] = {}
    for path in paths:
        for content in _records(path.read_bytes()):
            event = proto.Event.FromString(content)
            for value in event.summary.value:
                if value.HasField("simple_value") and value.tag not in _NO_METRICS:
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def _records(content: bytes) -> Iterator[bytes]:
    """The records of TensorFlow's format: length, its checksum, contents, their checksum.

    A last one that is cut short, by a kill, is left out.
    """
    at = 0
    while at + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        end = at + 12 + length
        if end + 4 > len(content):
            return
        yield content[at + 12 : end]
        at = end + 4


def finite(points: Points) -> Points:
    """Those that can be drawn."""
    return [(step, value) for step, value in points if math.isfinite(value)]
