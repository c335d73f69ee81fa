"""What loggers of files have written, read back."""

from __future__ import annotations

import csv
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from flambeau.trainer.loggers import CSVLogger, TensorBoardLogger

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
